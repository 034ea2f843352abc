"""What segments and sessions share: the end of a `with` block, and the end of the object, close them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """Closes at the end of a `with` block, and with the object. `close` may be called again, and in a fork's child."""

    _opened = False
    """Set by a class once there is something to close: an object that was never whole is left alone."""

    @abstractmethod
    def close(self) -> None:
        """Give up what this holds."""

    def __del__(self) -> None:
        if self._opened:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
