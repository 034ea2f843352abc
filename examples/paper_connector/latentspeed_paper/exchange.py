"""The exchange: one market, orders that rest by price and time, fills at the resting price, one unit of fee a lot."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from latentspeed.connectors import TradingRule

RULE = TradingRule(
    "PAPER-USD", "PAPER", 0, Decimal("0.01"), Decimal("0.01"), None, Decimal("0.01"), Decimal("1"), 1, True, "USD",
    "PAPER",
)  # fmt: skip
FEE_UNITS_A_LOT = 100
START_USD = Decimal(1_000_000)


@dataclass(slots=True)
class PaperOrder:
    """An order; `ending` is empty while it is open."""

    number: int
    account: str
    name: str
    is_buy: bool
    price_units: int
    lots: int
    filled: int = 0
    ending: str = ""


@dataclass(frozen=True, slots=True)
class PaperFill:
    """One side of a trade."""

    number: int
    order: PaperOrder
    price_units: int
    lots: int
    is_taker: bool
    utc_ns: int


Listener = Callable[[PaperOrder, PaperFill | None], None]


@dataclass(slots=True)
class PaperExchange:
    """Keeps everything; tells each account's listeners of every change of its orders."""

    orders: list[PaperOrder] = field(default_factory=list)
    fills: list[PaperFill] = field(default_factory=list)
    listeners: dict[str, list[Listener]] = field(default_factory=dict)

    def place(self, account: str, name: str, *, is_buy: bool, price_units: int, lots: int, rests: bool) -> PaperOrder:
        """Take an order, trade what crosses, and let the rest stay or end as `unfilled`."""
        order = PaperOrder(len(self.orders) + 1, account, name, is_buy, price_units, lots)
        self.orders.append(order)
        self._tell(order)
        for other in self._crossing(order):
            self._trade(other, order)
            if order.ending:
                break
        if not order.ending and not rests:
            order.ending = "unfilled"
            self._tell(order)
        return order

    def cancel(self, account: str, name: str) -> bool:
        """End an open order; False where there is none of that name."""
        for order in self.orders:
            if (order.account, order.name) == (account, name) and not order.ending:
                order.ending = "cancelled"
                self._tell(order)
                return True
        return False

    def position_lots(self, account: str) -> int:
        """Bought less sold."""
        own = (fill for fill in self.fills if fill.order.account == account)
        return sum(fill.lots if fill.order.is_buy else -fill.lots for fill in own)

    def cash(self, account: str) -> Decimal:
        """Dollars, with what was paid, received and taken as fees."""
        total = START_USD
        for fill in self.fills:
            if fill.order.account == account:
                paid = fill.price_units * RULE.tick_size * fill.lots * RULE.lot_size
                total += (-paid if fill.order.is_buy else paid) - Decimal(fill.lots * FEE_UNITS_A_LOT).scaleb(-8)
        return total

    def _crossing(self, order: PaperOrder) -> list[PaperOrder]:
        sign = 1 if order.is_buy else -1
        others = [one for one in self.orders if not one.ending and one.is_buy != order.is_buy]
        crossing = [one for one in others if sign * (order.price_units - one.price_units) >= 0]
        return sorted(crossing, key=lambda one: (sign * one.price_units, one.number))

    def _trade(self, maker: PaperOrder, taker: PaperOrder) -> None:
        lots = min(maker.lots - maker.filled, taker.lots - taker.filled)
        for order in (maker, taker):
            order.filled += lots
            if order.filled == order.lots:
                order.ending = "filled"
            number, now_ns = len(self.fills) + 1, time.time_ns()
            self.fills.append(PaperFill(number, order, maker.price_units, lots, order is taker, now_ns))
            self._tell(order, self.fills[-1])

    def _tell(self, order: PaperOrder, fill: PaperFill | None = None) -> None:
        for listener in self.listeners.get(order.account, ()):
            listener(order, fill)


EXCHANGES: dict[str, PaperExchange] = {}
"""The exchanges of this process, by the connector's domain."""
