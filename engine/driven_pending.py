"""A result that whoever waits for it may have to fetch: where no other thread reads the rings, `result` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from latentspeed.connectors.pending import Pending

T = TypeVar("T")
Drive = Callable[[Callable[[], bool], float | None], bool]


class DrivenPending(Pending[T]):
    """A Pending of a connector whose events somebody has to read.

    `drive(is_done, timeout_s)` reads until `is_done()` or the time is up and returns True; it returns False at once
    where another thread does the reading.
    """

    __slots__ = ("_drive",)

    def __init__(self, drive: Drive) -> None:
        super().__init__()
        self._drive = drive

    def result(self, timeout_s: float | None = None) -> T:
        """Waits for the outcome, reading for it where nobody else does. Raises TimeoutError after `timeout_s`."""
        if not self.done() and self._drive(self.done, timeout_s) and not self.done():
            raise TimeoutError(f"no outcome within {timeout_s} s")
        return super().result(timeout_s)
