"""What the venue knows of an account: cash, positions, leverage, orders and their history.

    cash            dollars of the cross account; buying lowers it by the whole notional, so leverage makes it negative
    lots, cost      a position: signed lots, and signed entry notional (lots times the price they were entered at)
    isolated_raw    the same kind of cash, set apart for one isolated position

Account value is cash plus signed position values; unrealised profit is ``lots * mark - cost``.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from latentspeed.tools.venues.hyperliquid.orders import Fill, Order, OrderRow

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.twap import Twap

DEFAULT_LEVERAGE_CAP = 20


class Holding:
    """One account's position and settings in one market. Flat when `lots` is zero."""

    __slots__ = (
        "cost",
        "funding_all",
        "funding_change",
        "funding_open",
        "is_cross",
        "isolated_raw",
        "leverage",
        "lots",
    )

    def __init__(self, leverage: int, is_cross: bool) -> None:
        self.lots = 0
        self.cost = 0
        self.leverage = leverage
        self.is_cross = is_cross
        self.isolated_raw = 0
        self.funding_all = 0
        self.funding_open = 0
        self.funding_change = 0

    def move(self, signed_lots: int, price: int) -> tuple[int, str]:
        """Trade into or out of the position; returns the realised profit before fees and the fill's `dir` text.

        A partial close realises its proportional part of the entry cost, so that realised plus unrealised profit is
        exact at every step.
        """
        start = self.lots
        size = abs(signed_lots)
        self.lots = start + signed_lots
        self.funding_change = 0
        if not start or (start > 0) == (signed_lots > 0):
            self.cost += signed_lots * price
            if not start:
                self.funding_open = 0
            return 0, "Open Long" if signed_lots > 0 else "Open Short"
        held = abs(start)
        side = 1 if signed_lots > 0 else -1
        closing = min(size, held)
        closed_cost = self.cost * closing // held if self.cost >= 0 else -(-self.cost * closing // held)
        profit = -side * closing * price - closed_cost
        self.cost += side * (size - closing) * price - closed_cost
        if size <= held:
            return profit, "Close Long" if start > 0 else "Close Short"
        self.funding_open = 0
        return profit, "Long > Short" if start > 0 else "Short > Long"


class Balance:
    """What an account has of one spot token.

    Attributes:
        total: token units, 10^-weiDecimals.
        entry: what was paid for it, in 10^-8 of the quote token; nothing for what was sent in.
    """

    __slots__ = ("entry", "total")

    def __init__(self) -> None:
        self.total = 0
        self.entry = 0


class Clearing:
    """Cash and positions of one account on one dex; positions share nothing with those on another dex."""

    __slots__ = ("cash", "holdings")

    def __init__(self, cash: int = 0) -> None:
        self.cash = cash
        self.holdings: dict[int, Holding] = {}

    def holding(self, asset: int, max_leverage: int, only_isolated: bool = False) -> Holding:
        """The position record of a market, flat at first, at the default leverage (the maximum, up to 20)."""
        found = self.holdings.get(asset)
        if found is None:
            leverage = min(max_leverage, DEFAULT_LEVERAGE_CAP)
            found = self.holdings[asset] = Holding(leverage, not only_isolated)
        return found

    def trade(self, holding: Holding, signed_lots: int, price: int, fee: int) -> tuple[int, str]:
        """Book one fill: position, cash and fee; returns realised profit before the fee and the `dir` text."""
        self.cash -= fee
        if holding.is_cross:
            self.cash -= signed_lots * price
        else:
            self._trade_isolated(holding, signed_lots, price)
        return holding.move(signed_lots, price)

    def _trade_isolated(self, holding: Holding, signed_lots: int, price: int) -> None:
        """Move cash between the account and the position: closing releases its share, opening sets margin aside."""
        start, side, size = holding.lots, (1 if signed_lots > 0 else -1), abs(signed_lots)
        closing = min(size, abs(start)) if start and (start > 0) != (side > 0) else 0
        opening = size - closing
        if closing:
            held = abs(start)
            kept = holding.isolated_raw * (held - closing) // held
            self.cash += holding.isolated_raw - side * closing * price - kept
            holding.isolated_raw = kept
        if opening:
            notional = opening * price
            margin = -(-notional // holding.leverage)
            self.cash -= margin
            holding.isolated_raw += margin - side * notional


class Account(Clearing):
    """One address that trades, or one of the outside market's two; itself its clearing on the main dex."""

    __slots__ = (
        "abstraction",
        "actions_used",
        "address",
        "approved_builders",
        "balances",
        "cloids",
        "dexs",
        "fills",
        "finished",
        "fundings",
        "history",
        "is_outside",
        "known",
        "ledger",
        "open_orders",
        "orders_retained",
        "reduce_only",
        "reserved_weight",
        "scheduled_cancel_ms",
        "scheduled_cancels",
        "twap_history",
        "twaps",
        "volume",
    )

    def __init__(self, address: str, cash: int, orders_retained: int, is_outside: bool = False) -> None:
        super().__init__(cash)
        self.address = address
        self.abstraction = "default"
        self.balances: dict[int, Balance] = {}
        self.dexs: dict[str, Clearing] = {}
        self.is_outside = is_outside
        self.orders_retained = orders_retained
        self.open_orders: OrderedDict[int, Order] = OrderedDict()
        self.reduce_only: dict[int, OrderedDict[int, Order]] = {}
        self.known: dict[int, Order] = {}
        self.cloids: dict[str, Order] = {}
        self.finished: deque[Order] = deque()
        self.history: deque[OrderRow] = deque(maxlen=orders_retained)
        self.fills: list[Fill] = []
        self.fundings: list[dict[str, Any]] = []
        self.ledger: list[dict[str, Any]] = []
        self.volume = 0
        self.actions_used = 0
        self.approved_builders: dict[str, int] = {}
        self.scheduled_cancel_ms: int | None = None
        self.scheduled_cancels: deque[int] = deque(maxlen=10)
        self.reserved_weight = 0
        self.twaps: dict[int, Twap] = {}
        self.twap_history: list[dict[str, Any]] = []

    def balance(self, token: int) -> Balance:
        """The balance of a spot token by its index, nothing at first."""
        found = self.balances.get(token)
        if found is None:
            found = self.balances[token] = Balance()
        return found

    def clearing(self, dex: str) -> Clearing:
        """Cash and positions on a dex; those on the main one are the account itself."""
        if not dex:
            return self
        found = self.dexs.get(dex)
        if found is None:
            found = self.dexs[dex] = Clearing()
        return found

    def clearings(self) -> list[Clearing]:
        """Cash and positions on every dex that the account has used, the main one first."""
        return [self, *self.dexs.values()]

    def remember(self, order: Order) -> None:
        """Keep a new order findable by id and by client id."""
        self.known[order.oid] = order
        if order.cloid is not None:
            self.cloids[order.cloid] = order

    def live_cloid(self, cloid: str) -> Order | None:
        """The open order that has this client id."""
        order = self.cloids.get(cloid)
        return order if order is not None and order.oid in self.open_orders else None

    def is_open(self, order: Order) -> bool:
        """Whether an order is on the book or waits for something."""
        return order.oid in self.open_orders

    def opened(self, order: Order) -> None:
        """List an order as open."""
        self.open_orders[order.oid] = order
        if order.reduce_only:
            self.reduce_only.setdefault(order.market.instrument.asset, OrderedDict())[order.oid] = order

    def closed(self, order: Order) -> None:
        """Take an order off the open list; it is kept among the finished ones as long as they are retained."""
        self.open_orders.pop(order.oid, None)
        if order.reduce_only:
            siblings = self.reduce_only.get(order.market.instrument.asset)
            if siblings is not None:
                siblings.pop(order.oid, None)
        self.finished.append(order)
        self.forget()

    def forget(self) -> None:
        """Forget the oldest finished orders beyond what is retained."""
        while len(self.finished) > self.orders_retained:
            oldest = self.finished.popleft()
            self.known.pop(oldest.oid, None)
            if oldest.cloid is not None and self.cloids.get(oldest.cloid) is oldest:
                del self.cloids[oldest.cloid]
