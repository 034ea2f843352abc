"""Request budgets: weight per minute and IP, actions per address. Each is enforced only when the config says so."""

from __future__ import annotations

from collections import deque

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.actions import BatchModify, Cancel, CancelByCloid, Envelope, PlaceOrders
from latentspeed.tools.venues.hyperliquid.clock import VenueClock
from latentspeed.tools.venues.hyperliquid.placing import volume_text
from latentspeed.tools.venues.hyperliquid.wire import USD

IP_WEIGHT_PER_MINUTE = 1200
ADDRESS_BASE = 10_000
CANCEL_HEADROOM = 100_000
TRICKLE_MS = 10_000
SOCKETS = 10
NEW_SOCKETS_PER_MINUTE = 30
MESSAGES_PER_MINUTE = 2000

LIGHT_INFO = frozenset(
    ("l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus")
)
ROWS_PER_WEIGHT = {
    "recentTrades": 20,
    "historicalOrders": 20,
    "userFills": 20,
    "userFillsByTime": 20,
    "fundingHistory": 20,
    "userFunding": 20,
    "userNonFundingLedgerUpdates": 20,
    "twapHistory": 20,
    "userTwapSliceFills": 20,
    "userTwapSliceFillsByTime": 20,
    "candleSnapshot": 60,
}


def info_weight(kind: str, rows: int) -> int:
    """Weight of one info request whose reply has so many rows."""
    base = 2 if kind in LIGHT_INFO else 60 if kind == "userRole" else 20
    return base + rows // ROWS_PER_WEIGHT.get(kind, 10**9)


def action_weight(envelope: Envelope) -> int:
    """Weight of one exchange request: one, and one more for every forty orders or cancels in it."""
    action = envelope.action
    if isinstance(action, PlaceOrders):
        return 1 + len(action.orders) // 40
    if isinstance(action, Cancel | CancelByCloid):
        return 1 + len(action.cancels) // 40
    if isinstance(action, BatchModify):
        return 1 + len(action.modifies) // 40
    return 1


class IpBudget:
    """The weight that one IP has spent in the last minute."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._spent: dict[str, deque[tuple[int, int]]] = {}
        self._sums: dict[str, int] = {}
        self._exhausted_until_ms = 0

    def is_exhausted(self, ip: str) -> bool:
        """Whether this IP has no weight left."""
        if self._clock.now_ms() < self._exhausted_until_ms:
            return True
        spent = self._spent.get(ip)
        if spent is None:
            return False
        cutoff = self._clock.now_ms() - 60_000
        while spent and spent[0][0] <= cutoff:
            self._sums[ip] -= spent.popleft()[1]
        return self._sums[ip] >= IP_WEIGHT_PER_MINUTE

    def exhaust(self, on: bool = True) -> None:
        """Let every IP have no weight left for a minute, or end that."""
        self._exhausted_until_ms = self._clock.now_ms() + 60_000 if on else 0

    def spend(self, ip: str, weight: int) -> None:
        """Count a request."""
        self._spent.setdefault(ip, deque()).append((self._clock.now_ms(), weight))
        self._sums[ip] = self._sums.get(ip, 0) + weight


class SocketBudget:
    """Sockets, new sockets a minute and messages a minute of each IP."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._opened: dict[str, deque[int]] = {}
        self._messages: dict[str, deque[int]] = {}

    def may_open(self, ip: str, open_now: int) -> bool:
        """Whether an IP that has so many sockets may open another; counts it if so."""
        return open_now < SOCKETS and self._count(self._opened, ip, NEW_SOCKETS_PER_MINUTE)

    def may_send(self, ip: str) -> bool:
        """Whether the venue still takes a message from this IP; counts it if so."""
        return self._count(self._messages, ip, MESSAGES_PER_MINUTE)

    def _count(self, seen: dict[str, deque[int]], ip: str, most: int) -> bool:
        now = self._clock.now_ms()
        times = seen.setdefault(ip, deque())
        while times and times[0] <= now - 60_000:
            times.popleft()
        if len(times) >= most:
            return False
        times.append(now)
        return True


class AddressBudget:
    """One action per dollar of lifetime volume on top of the first ten thousand; cancels get more room."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._trickled_ms: dict[str, int] = {}

    @staticmethod
    def cap(account: Account) -> int:
        """Actions that the account may have used."""
        return ADDRESS_BASE + account.volume // USD

    def refusal(self, account: Account, is_cancel: bool) -> str | None:
        """The venue's refusal when the account is over its cap; one action every ten seconds still passes."""
        cap = self.cap(account)
        allowed = min(cap + CANCEL_HEADROOM, 2 * cap) if is_cancel else cap
        used = account.actions_used - account.reserved_weight
        if used < allowed:
            return None
        now = self._clock.now_ms()
        if now - self._trickled_ms.get(account.address, 0) >= TRICKLE_MS:
            self._trickled_ms[account.address] = now
            return None
        return (
            f"Too many cumulative requests sent ({used} > {allowed}) for cumulative volume traded"
            f" ${volume_text(account.volume)}. Place taker orders to free up 1 request per USDC traded."
        )
