"""A weighted budget that refills over time, with a part kept for what must not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from latentspeed.connectors.transport import BackOff

FIRST_BLOCK_S, LONGEST_BLOCK_S, LONGEST_URGENT_BLOCK_S = 1.0, 30.0, 1.0
SHORTEST_SLEEP_S = 0.001
FORGOTTEN_AFTER_S = 60.0
"""After so long without a refusal the waits begin anew."""


class WeightBudget:
    """A token bucket: `capacity` weight at once, `capacity` again over `period_s`.

    Ordinary use leaves `reserve` untouched; urgent use, a cancel, may take all of it. Each time that the venue says
    that it is used up all the same, everything waits, twice as long as before; urgent use waits a second at most.
    """

    __slots__ = (
        "_back_off",
        "_blocked_until",
        "_clock",
        "_level",
        "_rate",
        "_refused_at",
        "_reserve",
        "_updated",
        "_urgent_until",
        "capacity",
        "refused",
    )

    def __init__(
        self, capacity: float, period_s: float, reserve: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity = capacity
        self._rate = capacity / period_s
        self._reserve = reserve
        self._clock = clock
        self._level = capacity
        self._updated = clock()
        self._back_off = BackOff(FIRST_BLOCK_S, LONGEST_BLOCK_S)
        self._blocked_until = self._urgent_until = self._refused_at = 0.0
        self.refused = 0
        """How often the venue has said that it is used up."""

    @property
    def level(self) -> float:
        """The weight that is left; below zero after use that could not wait."""
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._updated) * self._rate)
        self._updated = now
        return self._level

    @property
    def used(self) -> float:
        """The weight that is taken now."""
        return self.capacity - self.level

    @property
    def reserve(self) -> float:
        """What is kept for urgent use."""
        return self._reserve

    @property
    def blocked_s(self) -> float:
        """For how long ordinary use waits because the venue has refused."""
        return max(0.0, self._blocked_until - self._clock())

    def wait_s(self, weight: float, *, urgent: bool = False) -> float:
        """Seconds until the weight may be taken; 0 when now."""
        floor = 0.0 if urgent else self._reserve
        missing = min(weight, self.capacity - floor) + floor - self.level
        blocked_s = (self._urgent_until if urgent else self._blocked_until) - self._clock()
        return max(0.0, missing / self._rate, blocked_s)

    def take(self, weight: float) -> None:
        """Takes the weight, whatever is left."""
        self._level = self.level - weight

    def exhaust(self) -> None:
        """Empties the budget: the venue said that it is used up.

        Refusals of requests that were on their way already do not make the wait longer.
        """
        self._level = min(self.level, 0.0)
        self.refused += 1
        now = self._clock()
        if now < self._blocked_until:
            return
        if now - self._refused_at > FORGOTTEN_AFTER_S:
            self._back_off.reset()
        self._refused_at = now
        block_s = self._back_off.next_s()
        self._blocked_until = now + block_s
        self._urgent_until = now + min(block_s, LONGEST_URGENT_BLOCK_S)

    async def acquire(self, weight: float, *, urgent: bool = False) -> None:
        """Waits until the weight may be taken, and takes it; after a refusal urgent use waits as long as others."""
        while (wait_s := max(self.wait_s(weight, urgent=urgent), self.blocked_s)) > 0:
            await asyncio.sleep(max(wait_s, SHORTEST_SLEEP_S))
        self.take(weight)
