"""Sequences of transactions that the chain counts: those of stateful orders and their cancels.

A sequence from 2^40 on is a time in milliseconds, which the account's counter does not bind. The chain takes one within
30 seconds of its last block's time that was not used before, and remembers twenty. So a sequence here is the chain's
time, or one more than the last; it needs no question and lets transactions leave side by side. A chain that does not
know times says which number it expects, and is counted for from then on: one transaction at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

NONCE_WINDOW_MS: Final = 30_000
_EXPECTED = re.compile(r"account sequence mismatch, expected (\d+)")
_TIMESTAMP = "timestamp nonce"


class Sequences:
    """Makes the sequences of one account. Used from one thread."""

    def __init__(
        self, chain_ms: Callable[[], int], *, last: int = 0, store: Callable[[int], None] = lambda nonce: None
    ) -> None:
        """Makes times.

        Args:
            chain_ms: The chain's clock in milliseconds since the epoch.
            last: The highest that may have been used before.
            store: Called with each before it is handed out; what it keeps is the next process's `last`.
        """
        self.last = last
        self.counter: int | None = None
        """The next sequence of a chain that is counted for; None where times are used."""
        self.refused = 0
        """How often the chain has refused one."""
        self._chain_ms = chain_ms
        self._store = store

    def next(self) -> int:
        """A sequence that was not used before."""
        if self.counter is not None:
            self.counter += 1
            return self.counter - 1
        now_ms = self._chain_ms()
        # One that far ahead was never taken by this chain: it was made by a clock that was wrong, or for another chain.
        last = self.last if self.last < now_ms + NONCE_WINDOW_MS else 0
        nonce = max(now_ms, last + 1)
        self._store(nonce)
        self.last = nonce
        return nonce

    def count_from(self, sequence: int) -> None:
        """Counts from now on, from the account's next sequence."""
        self.counter = sequence

    def learn(self, refusal: str) -> bool:
        """Takes in why a sequence was refused; whether another one is worth a try."""
        self.refused += 1
        expected = _EXPECTED.search(refusal)
        if expected is not None:
            self.counter = int(expected[1])
            return True
        return _TIMESTAMP in refusal

    def is_void(self, nonce: int, chain_ms: int, margin_ms: int) -> bool:
        """Whether a transaction of this sequence can be in no block from this time on; only of times it can be said."""
        return nonce >= 1 << 40 and chain_ms > nonce + NONCE_WINDOW_MS + margin_ms
