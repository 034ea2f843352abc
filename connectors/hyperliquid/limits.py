"""The action budget of an address: one action for each dollar ever traded, and ten thousand to begin with.

    used < cap                  orders and cancels go
    cap <= used < cancel cap    one order every ten seconds; cancels go
    cancel cap <= used          one request every ten seconds

The venue tells where an address stands (`userRateLimit`); meanwhile it is counted here. When the venue refuses an
action for this reason, its own numbers count. Nothing is retried: what waits too long for its turn expires unsent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from latentspeed.connectors.hyperliquid.messages import Message, decoder
from latentspeed.connectors.rate_limit import RateLimit

TRICKLE_S = 10.5
"""The venue lets one action through every ten seconds; about eleven were measured."""
CANCEL_HEADROOM = 100_000
EXPIRED_COST = 5
"""What an action costs that arrives after its expiry."""
ALMOST_USED = 0.9

_NUMBERS = re.compile(r"\((\d+) > (\d+)\)")


class UserRateLimit(Message):
    """Where an address stands; older venues do not say what surplus it has bought."""

    nRequestsUsed: int  # noqa: N815
    nRequestsCap: int  # noqa: N815
    nRequestsSurplus: int = 0  # noqa: N815
    cumVlm: str = "0.0"  # noqa: N815


USER_RATE_LIMIT = decoder(UserRateLimit)


class AddressBudget:
    """The actions of one address; knows of no limit until the venue has told of one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.used = 0.0
        self.cap = 0.0
        """0 while it is not known."""
        self.refused = 0
        self._clock = clock
        self._refused_at = -TRICKLE_S
        self._last_sent = -TRICKLE_S
        self._is_refusing_cancels = False

    @property
    def cancel_cap(self) -> float:
        """How many actions may be used when the last ones are cancels."""
        return min(self.cap + CANCEL_HEADROOM, 2 * self.cap)

    @property
    def is_over(self) -> bool:
        """Whether orders have to wait for their turns."""
        return 0 < self.cap <= self.used

    @property
    def is_close(self) -> bool:
        """Whether little is left, so that it should be asked for more often."""
        return 0 < self.cap * ALMOST_USED <= self.used

    def most(self, count: int) -> int:
        """How many of so many orders may go in one request."""
        if not self.cap:
            return count
        return max(1, min(count, int(self.cap - self.used)))

    def wait_s(self, *, is_cancel: bool) -> float:
        """Seconds until the next request may go; 0 when now."""
        is_over_for_cancels = self._is_refusing_cancels or 0 < self.cancel_cap <= self.used
        if not (is_over_for_cancels if is_cancel else self.is_over):
            return 0.0
        return max(0.0, max(self._last_sent, self._refused_at) + TRICKLE_S - self._clock())

    def take(self, count: int) -> None:
        """Counts a request with so many orders or cancels."""
        self.used += count
        self._last_sent = self._clock()

    def traded(self, dollars: float) -> None:
        """A fill has earned as many actions as dollars."""
        if self.cap:
            self.cap += dollars

    def refresh(self, answer: UserRateLimit) -> None:
        """Takes what the venue says."""
        self.used = max(0, answer.nRequestsUsed - answer.nRequestsSurplus)
        self.cap = max(1, answer.nRequestsCap)
        self._is_refusing_cancels = self.used >= self.cancel_cap

    def refuse(self, text: str, *, is_cancel: bool) -> None:
        """The venue has refused an action, with the numbers in its text."""
        self.refused += 1
        self._refused_at = self._clock()
        found = _NUMBERS.search(text)
        if is_cancel:
            self._is_refusing_cancels = True
        elif found is not None:
            self.used, self.cap = float(found[1]), float(max(1, int(found[2])))
        else:
            self.cap = max(self.cap, 1.0)
        self.used = max(self.used, self.cap)

    def rate_limits(self) -> list[RateLimit]:
        """What is used now, for orders and for cancels."""
        if not self.cap:
            return []
        return [
            RateLimit(
                "address_actions", self.used, self.cap, refused=self.refused, blocked_s=self.wait_s(is_cancel=False)
            ),
            RateLimit("address_cancels", self.used, self.cancel_cap, blocked_s=self.wait_s(is_cancel=True)),
        ]
