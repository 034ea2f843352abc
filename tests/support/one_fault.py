"""An exception that nobody foresaw, raised once in the middle of something."""

from __future__ import annotations

import functools
from typing import Any


class Unforeseen(Exception):
    """What no code expects."""


class OneFault:
    """Makes a function of a class, module or object raise once; `has_struck` says that it did.

    `after` lets it do its work first, as when the last line of a function raises. `when(*arguments)` chooses the call.
    """

    def __init__(self, monkeypatch: Any, owner: Any, name: str, *, after: bool = False, when: Any = None) -> None:
        self.has_struck = False
        self.is_armed = False
        found = getattr(owner, name)

        @functools.wraps(found)
        def faulty(*arguments: Any, **named: Any) -> Any:
            if not self.is_armed or self.has_struck or (when is not None and not when(*arguments, **named)):
                return found(*arguments, **named)
            self.has_struck = True
            if after:
                found(*arguments, **named)
            raise Unforeseen(name)

        monkeypatch.setattr(owner, name, faulty)

    def arm(self) -> None:
        """The next call raises."""
        self.is_armed = True
