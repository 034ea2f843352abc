"""Nonces: one source per signer, never the same twice, stored before use.

The venue keeps the hundred highest nonces of each signing address and takes a new one only if it is unused, above the
lowest of those, and within two days behind or one day ahead of its clock. So a nonce is the time in milliseconds, or
one more than the last when that is not later, and the last is stored where it outlives the process.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

FURTHEST_AHEAD_MS = 24 * 3600 * 1000
"""How far ahead of its clock the venue takes a nonce."""
_LEAST = re.compile(r"nonce too low \d{1,16} < (\d{1,13})\b")


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class NonceSource:
    """Makes the nonces of one signer. Used from one thread."""

    __slots__ = ("_clock_ms", "_store", "last")

    def __init__(
        self,
        last: int = 0,
        store: Callable[[int], None] | None = None,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        """Continues after `last`.

        Args:
            last: The highest nonce that this signer may have used before.
            store: Called with each nonce before it is handed out; what it keeps is the next process's `last`.
            clock_ms: Milliseconds since the epoch.
        """
        self.last = last
        self._store = store
        self._clock_ms = clock_ms

    def next(self) -> int:
        """A nonce above all before it."""
        nonce = max(self._clock_ms(), self.last + 1)
        if self._store is not None:
            self._store(nonce)
        self.last = nonce
        return nonce

    def learn(self, text: str) -> None:
        """Takes what follows from the venue's refusal of a nonce, so that a clock that was wrong costs one request.

        The least nonce that it takes, where it says so, is below the next one. And where the last one was more than a
        day ahead, a clock that was days ahead has been set right: the venue took none of that time, and never will.
        """
        now_ms = self._clock_ms()
        if self.last > now_ms + FURTHEST_AHEAD_MS:
            self.last = now_ms
        found = _LEAST.search(text)
        if found is not None:
            self.last = max(self.last, int(found[1]))
