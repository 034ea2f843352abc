"""A cross-venue hedge as a process: quotes rest on one venue, and what fills is hedged on another at once.

The hedge is an order that does not rest, for what was filled here and not yet there; what it does not get, the next one
takes. Less than a lot of the other venue stays open.
"""

from __future__ import annotations

import os
from time import monotonic

from latentspeed import OrderParams, OrderType, TimeInForce, TradeType, run
from latentspeed.connectors import PerpetualDerivativeBase, Quote, TradeUpdate
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.tools.proving.strategies import Maker

HEDGE_PERIOD_S = 0.05
REACH = 0.002
"""How far beyond the touch a hedge may trade, as a fraction."""


class Hedger(Maker):
    """A maker whose fills are hedged elsewhere."""

    def on_start(self) -> None:
        """Open both books."""
        super().on_start()
        self.hedge_pair = os.environ["LATENTSPEED_PROVING_HEDGE_PAIR"]
        name = os.environ["LATENTSPEED_PROVING_HEDGE_CONNECTOR"]
        connector = self.connector(name)
        assert isinstance(connector, RemoteConnector)
        self.hedge_venue = connector
        self.open_book(connector, name, self.hedge_pair)
        self.hedge_order: str | None = None
        self.every(HEDGE_PERIOD_S, self.hedge)

    def on_quote(self, connector: PerpetualDerivativeBase, quote: Quote) -> None:
        """Quote on the first venue only, and only while what fills can be hedged."""
        if connector is self.venue and self.hedge_venue.is_ready:
            super().on_quote(connector, quote)

    def on_fill(self, connector: PerpetualDerivativeBase, fill: TradeUpdate) -> None:
        """Hedge what was filled."""
        super().on_fill(connector, fill)
        if connector is self.venue:
            self.hedge()

    def hedge(self) -> None:
        """Bring both positions together to nothing, as far as lots go; one order at a time."""
        amount = self.unhedged_amount()
        quote = self.hedge_venue.get_quote(self.hedge_pair)
        if not amount or quote is None or not (quote.bid and quote.ask) or not self.hedge_venue.is_ready:
            return
        order = self.hedge_venue.get_order(self.hedge_order) if self.hedge_order is not None else None
        if order is not None and order.is_active:
            return
        side = TradeType.BUY if amount > 0 else TradeType.SELL
        price = quote.ask * (1 + REACH) if amount > 0 else quote.bid * (1 - REACH)
        price = self.hedge_venue.quantize_order_price(self.hedge_pair, price)
        params = OrderParams(self.hedge_pair, abs(amount), price, OrderType.LIMIT, time_in_force=TimeInForce.IOC)
        self.hedge_order = self.place(side, params, self.hedge_venue)

    def unhedged_amount(self) -> float:
        """What must be bought, or sold if negative, on the second venue, in whole lots of it."""
        net = self.venue.session_position(self.pair) + self.hedge_venue.session_position(self.hedge_pair)
        amount = self.hedge_venue.quantize_order_amount(self.hedge_pair, abs(net))
        return -amount if net > 0 else amount

    def check_time(self) -> None:
        """After the deadline: no quotes any more, the last fills hedged, and then the end."""
        if monotonic() < self.stop_at or not self.cancel_open_orders():
            return
        if not self.unhedged_amount() and not self.hedge_venue.get_open_orders():
            self.stop()


if __name__ == "__main__":
    run(Hedger, start_timeout_s=60.0)
