"""The shipped suite on a connector that latentspeed has never heard of: `pytest` in the package's folder."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import ClassVar

from latentspeed_paper.connector import PaperConnector
from latentspeed_paper.exchange import FEE_UNITS_A_LOT, RULE, PaperExchange, PaperOrder

from latentspeed.connectors import ClientOrderIdGenerator, TradeType
from latentspeed.tools.conformance import (
    Ability,
    ConformanceHarness,
    Fault,
    VenueBook,
    VenueFill,
    VenueOrder,
    VenueState,
)
from latentspeed.tools.conformance.suite import ConnectorConformance

STATES = {
    "": VenueState.OPEN,
    "filled": VenueState.FILLED,
    "cancelled": VenueState.CANCELLED,
    "unfilled": VenueState.LAPSED,
}


class PaperHarness(ConformanceHarness):
    """An exchange for each case, two accounts on it."""

    name = "paper"
    pair = RULE.trading_pair
    price = 100.0
    abilities = frozenset({Ability.LIMIT, Ability.IOC, Ability.LASTING, Ability.POSITIONS})
    faults: ClassVar[frozenset[Fault]] = frozenset()
    patience_s = 5.0

    def __init__(self) -> None:
        self._exchange = PaperExchange()
        self._incarnations = itertools.count(1000)

    async def start(self) -> None:
        """It is there already."""

    async def stop(self) -> None:
        """It goes with the case."""

    def new_connector(self, account: str, *, engine: int = 1, stale_after_s: float = 0.0) -> PaperConnector:
        """A connector on this exchange."""
        return PaperConnector(self._exchange, account, ids=ClientOrderIdGenerator(next(self._incarnations)))

    async def order_fault(self, fault: Fault) -> None:
        """None can be ordered."""

    async def clear_faults(self) -> None:
        """None can be ordered."""

    async def book(self, account: str) -> VenueBook:
        """From the exchange's own lists."""
        exchange = self._exchange
        orders = tuple(self._order(order) for order in exchange.orders if order.account == account)
        fills = tuple(
            VenueFill(
                str(fill.number),
                str(fill.order.number),
                fill.order.name,
                RULE.trading_pair,
                TradeType.BUY if fill.order.is_buy else TradeType.SELL,
                fill.price_units * RULE.tick_size,
                fill.lots * RULE.lot_size,
                Decimal(fill.lots * FEE_UNITS_A_LOT).scaleb(-8),
                "USD",
            )
            for fill in exchange.fills
            if fill.order.account == account
        )
        position = exchange.position_lots(account) * RULE.lot_size
        return VenueBook(orders, fills, {RULE.trading_pair: position}, {"USD": exchange.cash(account)})

    @staticmethod
    def _order(order: PaperOrder) -> VenueOrder:
        filled = order.filled * RULE.lot_size
        state = STATES[order.ending]
        if state is VenueState.LAPSED and filled:
            state = VenueState.CANCELLED
        return VenueOrder(order.name, str(order.number), state, filled)


class TestPaperConnector(ConnectorConformance):
    harness = PaperHarness
