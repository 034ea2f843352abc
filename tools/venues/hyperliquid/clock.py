"""The venue's one clock: block times, nonce windows, funding and candles all read it."""

from __future__ import annotations

import time


class VenueClock:
    """Wall-clock milliseconds that a test can move forward or stop."""

    __slots__ = ("_frozen_ms", "_offset_ms")

    def __init__(self) -> None:
        self._offset_ms = 0
        self._frozen_ms: int | None = None

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as the venue sees it."""
        if self._frozen_ms is not None:
            return self._frozen_ms
        return time.time_ns() // 1_000_000 + self._offset_ms

    def advance(self, milliseconds: int) -> None:
        """Move the venue's time by so much; negative moves it back."""
        if self._frozen_ms is not None:
            self._frozen_ms += milliseconds
        else:
            self._offset_ms += milliseconds

    def freeze(self, at_ms: int | None = None) -> None:
        """Stop the clock, at the given time or where it is."""
        self._frozen_ms = self.now_ms() if at_ms is None else at_ms

    def resume(self) -> None:
        """Let the clock run on from where it stands."""
        if self._frozen_ms is not None:
            self._offset_ms = self._frozen_ms - time.time_ns() // 1_000_000
            self._frozen_ms = None
