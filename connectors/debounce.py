"""One call for all that happens within a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Debounce:
    """Calls back a little after something has happened, once for all that happens till then. Used in one loop."""

    def __init__(self, call: Callable[[], None], *, after_s: float, every_s: float = 0.0) -> None:
        """Calls nothing yet.

        Args:
            call: What is called, in the loop.
            after_s: How long after the first of what happens.
            every_s: How long after one call the next one is made at the earliest.
        """
        self._call = call
        self._after_s = after_s
        self._every_s = every_s
        self._due_mono_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_waiting(self) -> bool:
        """Whether a call is due that has not been made."""
        return self._timer is not None

    def soon(self) -> None:
        """Something has happened."""
        if self._timer is None and not self._is_closed:
            delay_s = max(self._after_s, self._due_mono_s - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._run)

    def close(self) -> None:
        """Makes no call any more, also not the one that is due."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        self._due_mono_s = time.monotonic() + self._every_s
        self._call()
