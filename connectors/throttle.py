"""A weighted budget that refills over time, with a part kept for what must not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class WeightBudget:
    """A token bucket: `capacity` weight at once, `capacity` again over `period_s`.

    Ordinary use leaves `reserve` untouched; urgent use, a cancel, may take all of it.
    """

    __slots__ = ("_clock", "_level", "_rate", "_reserve", "_updated", "capacity")

    def __init__(
        self, capacity: float, period_s: float, reserve: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity = capacity
        self._rate = capacity / period_s
        self._reserve = reserve
        self._clock = clock
        self._level = capacity
        self._updated = clock()

    @property
    def level(self) -> float:
        """The weight that is left; below zero after use that could not wait."""
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._updated) * self._rate)
        self._updated = now
        return self._level

    def wait_s(self, weight: float, *, urgent: bool = False) -> float:
        """Seconds until the weight may be taken; 0 when now."""
        floor = 0.0 if urgent else self._reserve
        missing = min(weight, self.capacity - floor) + floor - self.level
        return max(0.0, missing / self._rate)

    def take(self, weight: float) -> None:
        """Takes the weight, whatever is left."""
        self._level = self.level - weight

    def exhaust(self) -> None:
        """Empties the budget: the venue said that it is used up."""
        self._level = min(self.level, 0.0)

    async def acquire(self, weight: float, *, urgent: bool = False) -> None:
        """Waits until the weight may be taken, and takes it."""
        while (wait_s := self.wait_s(weight, urgent=urgent)) > 0:
            await asyncio.sleep(wait_s)
        self.take(weight)
