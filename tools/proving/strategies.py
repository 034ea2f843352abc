"""Strategies whose books can be checked: a maker that quotes both sides and a taker that crosses the spread.

Each keeps its own book of fills in a file, one line a fill, written before the fill is committed in shared memory; a
strategy that is killed leaves the file, and how far it had committed is read from shared memory.
"""

from __future__ import annotations

import os
from io import FileIO
from math import isinf
from pathlib import Path
from time import monotonic

import orjson

from latentspeed import OrderParams, OrderRefused, OrderType, PositionAction, Strategy, TimeInForce, TradeType
from latentspeed.connectors import PerpetualDerivativeBase, Quote, TradeUpdate
from latentspeed.engine.order_reports import CatchUpTrade
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.ipc import CommandQueueFull
from latentspeed.tools.proving.stop_time import read_stop_time

REFUSALS = (OrderRefused, CommandQueueFull)


class ProvenStrategy(Strategy):
    """Runs until the deadline, then takes its orders off the book, waits for the last fills and ends."""

    def on_start(self) -> None:
        """Open the book of fills and learn when to stop."""
        self.pair = os.environ["LATENTSPEED_PROVING_PAIR"]
        self.clip = float(os.environ["LATENTSPEED_PROVING_CLIP"])
        self.folder = Path(os.environ["LATENTSPEED_PROVING_FOLDER"])
        self.stop_at = read_stop_time(self.folder)
        connector = self.connector(os.environ["LATENTSPEED_PROVING_CONNECTOR"])
        assert isinstance(connector, RemoteConnector)
        self.venue = connector
        self.refused = 0
        self.is_finishing = False
        self.books: dict[PerpetualDerivativeBase, FileIO] = {}
        self.open_book(self.venue, os.environ["LATENTSPEED_PROVING_CONNECTOR"], self.pair)
        self.every(0.05, self.learn_stop_time)
        self.every(0.05, self.check_time)

    def open_book(self, venue: RemoteConnector, name: str, pair: str) -> None:
        """Begin the book of fills of one connector, by its name in the engine, and listen to its pair."""
        path = self.folder / f"{self.name}-{os.getpid()}.{name}.fills.jsonl"
        self.books[venue] = FileIO(path, "wb")
        self._write_line(venue, slot=venue.session_slot, generation=venue.session_generation, pid=os.getpid())
        self.subscribe(venue, pair)

    def on_fill(self, connector: PerpetualDerivativeBase, fill: TradeUpdate) -> None:
        """Write the fill into this strategy's own book."""
        self._write_line(
            connector,
            trading_pair=fill.trading_pair,
            trade_id=fill.trade_id,
            order_id=fill.exchange_order_id or "",
            side=int(fill.trade_type),
            price_units=fill.price_units,
            amount_lots=fill.amount_lots,
            fee_units=fill.fee_units,
            **({"fill_count": fill.fill_count} if isinstance(fill, CatchUpTrade) else {}),
        )

    def on_stop(self) -> None:
        """Leave a summary beside the book."""
        summary = {"name": self.name, "refused": self.refused, "position": self.venue.session_position(self.pair)}
        (self.folder / f"{self.name}-{os.getpid()}.summary.json").write_bytes(orjson.dumps(summary))
        for book in self.books.values():
            book.close()

    def learn_stop_time(self) -> None:
        """The deadline is told when every strategy of the run trades."""
        if isinf(self.stop_at):
            self.stop_at = read_stop_time(self.folder)

    def check_time(self) -> None:
        """After the deadline: cancel, wait until nothing is open, end."""
        if monotonic() < self.stop_at:
            return
        if self.cancel_open_orders():
            self.stop()

    def cancel_open_orders(self) -> bool:
        """From now on nothing new: take every order off the book; returns whether none is left."""
        open_orders = self.venue.get_open_orders()
        if not self.is_finishing or any(not order.cancel_requested for order in open_orders):
            self.is_finishing = True
            for order in open_orders:
                self.cancel(order.client_order_id)
        return not open_orders

    def place(self, side: TradeType, params: OrderParams, venue: RemoteConnector | None = None) -> str | None:
        """Place an order, on another connector than the first if one is given; a refusal is counted, and is None."""
        venue = venue or self.venue
        try:
            return venue.buy(params) if side is TradeType.BUY else venue.sell(params)
        except REFUSALS as error:
            self.refused += 1
            self.log.warning("%s", error)
            return None

    def cancel(self, client_order_id: str) -> None:
        """Ask for a cancel. A queue that is full, as of a stopped gateway, is counted: the next turn asks again."""
        try:
            self.venue.cancel(client_order_id)
        except CommandQueueFull as error:
            self.refused += 1
            self.log.warning("%s", error)

    def _write_line(self, connector: PerpetualDerivativeBase, **values: object) -> None:
        self.books[connector].write(orjson.dumps(values) + b"\n")


class Maker(ProvenStrategy):
    """Keeps one post-only order a side near the best prices and moves them when the market moves."""

    def on_start(self) -> None:
        """Start with no quotes."""
        super().on_start()
        self.quotes: dict[TradeType, str | None] = {TradeType.BUY: None, TradeType.SELL: None}

    def on_quote(self, connector: PerpetualDerivativeBase, quote: Quote) -> None:
        """Place what is missing; cancel what is no longer at the best price."""
        if self.is_finishing or monotonic() >= self.stop_at or not (quote.bid and quote.ask):
            return
        for side, touch in ((TradeType.BUY, quote.bid), (TradeType.SELL, quote.ask)):
            order_id = self.quotes[side]
            order = connector.get_order(order_id) if order_id else None
            if order is None or not order.is_active:
                price = connector.quantize_order_price(self.pair, touch)
                self.quotes[side] = self.place(side, OrderParams(self.pair, self.clip, price, OrderType.LIMIT_MAKER))
            elif order.exchange_order_id and not order.cancel_requested and order.price != touch:
                self.cancel(order.client_order_id)


class Taker(ProvenStrategy):
    """Takes at a steady pace, one side after the other."""

    def on_start(self) -> None:
        """Start the clock of orders."""
        super().on_start()
        self.side = TradeType.BUY
        self.every(float(os.environ.get("LATENTSPEED_PROVING_TAKER_PERIOD", "0.1")), self.take)

    def take(self) -> None:
        """Cross the spread, and leave a limit far behind the market until the next turn."""
        if self.is_finishing or monotonic() >= self.stop_at or not self.venue.is_ready:
            return
        quote = self.venue.get_quote(self.pair)
        if quote is None or not (quote.bid and quote.ask):
            return
        for order in self.venue.get_open_orders():
            self.cancel(order.client_order_id)
        self.side = TradeType.SELL if self.side is TradeType.BUY else TradeType.BUY
        away = quote.bid * 0.99 if self.side is TradeType.BUY else quote.ask * 1.01
        price = self.venue.quantize_order_price(self.pair, away)
        self.place(self.side, OrderParams(self.pair, self.clip, price, OrderType.LIMIT))
        reach = quote.ask * 1.001 if self.side is TradeType.BUY else quote.bid * 0.999
        price = self.venue.quantize_order_price(self.pair, reach)
        self.place(
            self.side,
            OrderParams(
                self.pair,
                self.clip,
                price,
                OrderType.LIMIT,
                PositionAction.NIL,
                time_in_force=TimeInForce.IOC,
            ),
        )
