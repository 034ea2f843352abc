"""The market and the account as a fake gateway publishes them: the cell first, then the ring entry that names it."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import numpy as np

from latentspeed.connectors import TradingRule
from latentspeed.connectors.types import ConnectorState, TradeType
from latentspeed.engine import records
from latentspeed.engine.records import MarketChange
from latentspeed.ipc import SegmentWriter

RULES = {
    "BTC-USD": TradingRule(
        "BTC-USD",
        "BTC",
        0,
        Decimal("0.00001"),
        Decimal("0.1"),
        5,
        Decimal("0.00001"),
        Decimal("10"),
        50,
        True,
        "USD",
        "BTC",
    ),
    "ETH-USD": TradingRule(
        "ETH-USD",
        "ETH",
        1,
        Decimal("0.0001"),
        Decimal("0.01"),
        5,
        Decimal("0.0001"),
        Decimal("10"),
        25,
        True,
        "USD",
        "ETH",
    ),
}
NUMBERS = {pair: number for number, pair in enumerate(RULES)}


class FakeMarket:
    """What a gateway says of the market; the gateway has the `writer` and the `lock`."""

    connector: str
    lock: threading.RLock

    @property
    def writer(self) -> SegmentWriter:
        raise AssertionError("the gateway has it")

    def quote(self, pair: str, bid: float, ask: float, **fields: float) -> None:
        """New best prices."""
        self._publish_cell(
            "quotes", records.Quote(trading_pair=pair, bid=bid, ask=ask, bid_size=1.0, ask_size=2.0, **fields), pair
        )
        self._announce(MarketChange.QUOTE, NUMBERS[pair])

    def book(self, pair: str, bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> None:
        """A new book."""
        record = records.Book(trading_pair=pair, bid_count=len(bids), ask_count=len(asks))
        np.asarray(record.bids)[: len(bids)] = bids
        np.asarray(record.asks)[: len(asks)] = asks
        self._publish_cell("books", record, pair)
        self._announce(MarketChange.BOOK, NUMBERS[pair])

    def trade(self, pair: str, price: float, amount: float, side: TradeType, trade_id: int) -> None:
        """Somebody traded."""
        self._announce(MarketChange.TRADE, NUMBERS[pair], price=price, amount=amount, side=side, trade_id=trade_id)

    def position(self, pair: str, amount: float, **fields: float) -> None:
        """The account's position."""
        self._publish_cell("positions", records.Position(trading_pair=pair, amount=amount, **fields), pair)
        self._announce(MarketChange.POSITION, NUMBERS[pair])

    def balance(self, row: int, asset: str, total: float, available: float) -> None:
        """The account's balance."""
        record = records.Balance(asset=asset, total=total, available=available, received_mono_ns=time.monotonic_ns())
        with self.lock:
            self.writer.table("balances").write(row, record)
        self._announce(MarketChange.BALANCE, row)

    def venue(self, state: ConnectorState, is_ready: bool | None = None) -> None:
        """The connection to the venue."""
        record = records.Connector(
            name=self.connector,
            domain="hyperliquid_perpetual_local",
            state=state,
            is_ready=state is ConnectorState.LIVE if is_ready is None else is_ready,
            instrument_count=len(RULES),
            extra_param_keys="grouping,note",
        )
        with self.lock:
            self.writer.table("connector").write(0, record)
        self._announce(MarketChange.STATE, 0)

    def void_market(self) -> None:
        """What a restarted gateway does first."""
        with self.lock:
            for number, pair in enumerate(RULES):
                self.writer.table("quotes").write(number, records.Quote(trading_pair=pair))
                self.writer.table("books").write(number, records.Book(trading_pair=pair))

    def _publish_cell(self, table: str, record: object, pair: str) -> None:
        record.received_mono_ns = record.published_mono_ns = time.monotonic_ns()
        with self.lock:
            self.writer.table(table).write(NUMBERS[pair], record)

    def _announce(self, change: MarketChange, number: int, **fields: object) -> None:
        event = records.MarketEvent(instrument=number, change=change, received_mono_ns=time.monotonic_ns(), **fields)
        with self.lock:
            self.writer.ring("market").publish(event)
