"""What the chain lets an account send per so many blocks, counted here before it is refused there."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from latentspeed.connectors.rate_limit import RateLimit


class Limit(NamedTuple):
    """So many in so many blocks."""

    blocks: int
    most: int


class BlockBudget:
    """One counter with the limits that must all hold. Attempts count, also those that were refused."""

    def __init__(self, name: str, limits: Sequence[Limit], *, reserve: float = 0.0) -> None:
        """Nothing is used yet; `reserve` is the fraction that only cancels may use."""
        self.name = name
        self.limits = tuple(limits)
        self.refused = 0
        """How often a node has said that too much was sent."""
        self._reserve = reserve
        self._sent: deque[tuple[int, int]] = deque()
        self._total = 0
        """Everything in `_sent`: no fewer than were sent in the blocks of any limit."""
        self._least_room = min((most - int(most * reserve) for _, most in limits), default=0)
        self._blocked_until = 0

    def wait_blocks(self, height: int, weight: int = 1, *, is_cancel: bool = False) -> int:
        """How many blocks until there is room; 0 when there is room at this height."""
        if self._total + weight <= self._least_room and self._blocked_until <= height:
            return 0
        wait = max(0, self._blocked_until - height)
        for blocks, most in self.limits:
            room = most if is_cancel else most - int(most * self._reserve)
            excess = self.used(height, blocks) + weight - room
            for sent_at, sent in self._sent:
                if excess <= 0:
                    break
                if height - blocks < sent_at <= height:
                    excess -= sent
                    wait = max(wait, sent_at + blocks - height)
            if excess > 0:
                wait = max(wait, blocks)  # It never fits.
        return wait

    def take(self, height: int, weight: int = 1) -> None:
        """Counts an attempt."""
        self._total += weight
        if self._sent and self._sent[-1][0] == height:
            # One entry for each block: thousands of orders in a block are still counted at once.
            self._sent[-1] = (height, self._sent[-1][1] + weight)
            return
        while self._sent and self._sent[-1][0] >= height:
            # A height that was wrong, or of a chain that was begun anew.
            sent_at, sent = self._sent.pop()
            if sent_at == height:
                weight += sent
            else:
                self._total -= sent
        self._sent.append((height, weight))
        longest = max((blocks for blocks, _ in self.limits), default=0)
        while self._sent and self._sent[0][0] <= height - longest:
            self._total -= self._sent.popleft()[1]

    def refuse(self, height: int) -> None:
        """A node says that too much was sent: it counts blocks that nobody here has heard of yet, or other programs."""
        self.refused += 1
        self._blocked_until = height + 1

    def used(self, height: int, blocks: int) -> int:
        """What was sent in the last so many blocks."""
        return sum(weight for sent_at, weight in self._sent if height - blocks < sent_at <= height)

    def rate_limits(self, height: int) -> list[RateLimit]:
        """What is used now, for each limit."""
        return [
            RateLimit(
                f"{self.name}_per_{blocks}_blocks" if blocks > 1 else f"{self.name}_per_block",
                self.used(height, blocks),
                most,
                reserve=int(most * self._reserve),
                refused=self.refused,
            )
            for blocks, most in self.limits
        ]
