"""A weighted budget that refills over time, with a part kept for what must not wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from latentspeed.connectors.transport import BackOff

FIRST_BLOCK_S, LONGEST_BLOCK_S, LONGEST_URGENT_BLOCK_S = 1.0, 30.0, 1.0
SHORTEST_SLEEP_S = 0.001
AT_ONCE = 0.25
"""The share of a budget that may go at once."""
LONGEST_PACE_S = 1.0
"""How long anything waits for its turn while the budget is not used up."""
SLOTS = 100
"""Into how many a period is cut: what is kept does not grow with how often something is taken."""
FORGOTTEN_AFTER_S = 60.0
"""After so long without a refusal the waits begin anew."""


class WeightBudget:
    """At most `capacity` weight in any `period_s`: what was taken comes back a whole period later.

    A bucket that refills steadily would let twice as much through in the first period, and be refused for it. A
    quarter may go at once; what follows is paced so that the rest lasts, instead of a burst and a long silence.
    Ordinary use leaves `reserve` untouched; urgent use, a cancel, may take all of it, paced in the same way once
    nothing else is left. Each time that the venue says that it is used up all the same, everything waits, twice as
    long as before; urgent use waits a second at most.
    """

    __slots__ = (
        "_back_off",
        "_blocked_until",
        "_clock",
        "_paced_until",
        "_period_s",
        "_refused_at",
        "_reserve",
        "_taken",
        "_total",
        "_urgent_paced_until",
        "_urgent_until",
        "capacity",
        "refused",
    )

    def __init__(
        self, capacity: float, period_s: float, reserve: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity = capacity
        self._period_s = period_s
        self._reserve = reserve
        self._clock = clock
        self._taken: deque[tuple[float, float]] = deque()
        """When what was taken comes back, and how much."""
        self._total = 0.0
        self._paced_until = self._urgent_paced_until = 0.0
        self._back_off = BackOff(FIRST_BLOCK_S, LONGEST_BLOCK_S)
        self._blocked_until = self._urgent_until = self._refused_at = 0.0
        self.refused = 0
        """How often the venue has said that it is used up."""

    @property
    def level(self) -> float:
        """The weight that is left; none while the venue's refusal is waited for, below zero after urgent use."""
        left = self.capacity - self._used(self._clock())
        return min(left, 0.0) if self.blocked_s else left

    def _used(self, now: float) -> float:
        taken = self._taken
        while taken and taken[0][0] <= now:
            self._total -= taken.popleft()[1]
        if not taken:
            self._total = 0.0  # Sums of fractions leave nothing behind.
        return self._total

    @property
    def used(self) -> float:
        """The weight that was taken in the last period."""
        return self._used(self._clock())

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
        now = self._clock()
        floor = 0.0 if urgent else self._reserve
        missing = min(weight, self.capacity - floor) + floor - (self.capacity - self._used(now))
        if urgent:
            until = max(self._urgent_until, self._urgent_paced_until)
        else:
            until = max(self._blocked_until, self._paced_until)
        if missing > 0.0:
            for back_at, amount in self._taken:
                missing -= amount
                if missing <= 0.0:
                    until = max(until, back_at)
                    break
        return max(0.0, until - now)

    def take(self, weight: float) -> None:
        """Takes the weight, whatever is left."""
        now, taken = self._clock(), self._taken
        slot_s = self._period_s / SLOTS
        # What is taken in one slot comes back together, with the slot's end.
        back_at = (now // slot_s + 1) * slot_s + self._period_s
        if taken and taken[-1][0] >= back_at:
            taken[-1] = (taken[-1][0], taken[-1][1] + weight)
        else:
            taken.append((back_at, weight))
        self._total += weight
        used, ordinary = self._used(now), self.capacity - self._reserve
        at_once = ordinary * AT_ONCE
        if used > at_once:
            self._paced_until = now + min(LONGEST_PACE_S, weight * self._period_s / (ordinary - at_once))
        if self._reserve and self.capacity - used < self._reserve:
            self._urgent_paced_until = now + min(LONGEST_PACE_S, weight * self._period_s / self._reserve)

    def exhaust(self) -> None:
        """Empties the budget: the venue said that it is used up.

        Refusals of requests that were on their way already do not make the wait longer.
        """
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
