"""The market and account tables as a strategy sees them: validated copies into objects that are made once and reused.

A cell that was never written, or that a restarted gateway has emptied, is shown as None, never as zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.order_book import OrderBook
from latentspeed.connectors.position import Balance, Position
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import MarginMode
from latentspeed.engine import records
from latentspeed.engine.candle_cells import CandleReader
from latentspeed.engine.instruments import rule_from_record
from latentspeed.engine.record_fields import BOOK_DEPTH

if TYPE_CHECKING:
    from latentspeed.connectors.quote import Quote
    from latentspeed.ipc import SegmentReader


class _BookView:
    """One instrument's book: the record that is read into, and an order book whose arrays are the record's own."""

    __slots__ = ("book", "record")

    def __init__(self, trading_pair: str) -> None:
        self.record = records.Book()
        self.book = OrderBook(trading_pair, BOOK_DEPTH)
        self.book.bids = np.asarray(self.record.bids)
        self.book.asks = np.asarray(self.record.asks)

    def refresh(self) -> OrderBook:
        """The book with what the record now holds."""
        record, book = self.record, self.book
        book.bid_count = record.bid_count
        book.ask_count = record.ask_count
        book.venue_utc_ns = record.venue_utc_ns
        book.received_mono_ns = record.received_mono_ns
        book.is_stale = record.is_stale
        return book


class MarketView:
    """Reads one segment's instruments, quotes, books, positions and balances."""

    def __init__(self, reader: SegmentReader) -> None:
        self.reader = reader
        self._instruments = reader.table("instruments")
        self._quotes = reader.table("quotes")
        self._books = reader.table("books")
        self._positions = reader.table("positions")
        self._balances = reader.table("balances")
        self._fundings = reader.table("fundings")
        self._funding = records.Funding()
        self._candles = CandleReader(reader.table("candles"))
        self._instrument = records.Instrument()
        self._position = records.Position()
        self._balance = records.Balance()
        self._pairs: list[str] = []
        self._numbers: dict[str, int] = {}
        self._rules: list[tuple[bytes, TradingRule]] = []
        self._quote_records: dict[int, records.Quote] = {}
        self._book_views: dict[int, _BookView] = {}
        self._position_objects: dict[int, Position] = {}
        self._balance_rows: dict[str, int] = {}
        self._balance_objects: dict[str, Balance] = {}

    # Instruments

    def load_rules(self) -> list[TradingRule]:
        """Every instrument's rule; those whose record is as it was are not made anew.

        Numbers are given out in order and kept for the life of the segment.
        """
        number = 0
        record = self._instrument
        while number < len(self._instruments) and self._instruments.read(number, record):
            content = bytes(record)
            if number == len(self._pairs):
                rule = rule_from_record(record)
                self._pairs.append(rule.trading_pair)
                self._numbers[rule.trading_pair] = number
                self._rules.append((content, rule))
            elif self._rules[number][0] != content:
                self._rules[number] = (content, rule_from_record(record))
            number += 1
        return [rule for _, rule in self._rules]

    def number(self, trading_pair: str) -> int | None:
        """The number of a pair, None for an unknown one."""
        return self._numbers.get(trading_pair)

    def pair(self, number: int) -> str:
        """The pair of an instrument number that has been loaded."""
        return self._pairs[number]

    def rule(self, number: int) -> TradingRule:
        """The rule of an instrument number that has been loaded."""
        return self._rules[number][1]

    def funding_asset(self, number: int) -> str:
        """What funding of an instrument is paid in; empty before the first payment."""
        return str(self._funding.asset) if self._fundings.read(number, self._funding) else ""

    def __len__(self) -> int:
        return len(self._pairs)

    # Market data

    def quote(self, number: int) -> Quote | None:
        """The latest quote, in a record with the fields of `Quote`; None while nothing is known."""
        record = self._quote_records.get(number)
        if record is None:
            record = self._quote_records[number] = records.Quote()
        if not self._quotes.read(number, record) or not record.received_mono_ns:
            return None
        return cast("Quote", record)

    def book(self, number: int) -> OrderBook | None:
        """The latest book; None while nothing is known."""
        view = self._book_views.get(number)
        if view is None:
            view = self._book_views[number] = _BookView(self._pairs[number])
        if not self._books.read(number, view.record) or not view.record.received_mono_ns:
            return None
        return view.refresh()

    def candle(self, number: int, code: int) -> Candle | None:
        """The candle in a cell of an instrument; None while nothing is known."""
        return self._candles.read(number, code)

    def latest_candle(self, number: int, interval: str) -> Candle | None:
        """The newest candle of an interval; None for one that the connector does not have."""
        return self._candles.latest(number, interval)

    # Account

    def position(self, number: int) -> Position | None:
        """The account's position; None where the gateway has never published one."""
        record = self._position
        if not self._positions.read(number, record) or not record.received_mono_ns:
            return None
        position = self._position_objects.get(number)
        if position is None:
            position = self._position_objects[number] = Position(self._pairs[number])
        position.amount = record.amount
        position.entry_price = record.entry_price
        position.leverage = record.leverage
        position.margin_mode = MarginMode(record.margin_mode)
        position.unrealized_pnl = record.unrealized_pnl
        position.liquidation_price = record.liquidation_price
        position.margin_used = record.margin_used
        position.venue_utc_ns = record.venue_utc_ns
        position.received_mono_ns = record.received_mono_ns
        return position

    def balance(self, asset: str) -> Balance | None:
        """The account's balance of an asset; None for one that it does not hold."""
        row = self._balance_rows.get(asset)
        if row is None:
            self._find_balances()
            row = self._balance_rows.get(asset)
        return self.balance_at(row) if row is not None else None

    def balance_at(self, row: int) -> Balance | None:
        """The balance in a row of the table."""
        record = self._balance
        if not self._balances.read(row, record):
            return None
        asset = record.asset
        self._balance_rows[asset] = row
        balance = self._balance_objects.get(asset)
        if balance is None:
            balance = self._balance_objects[asset] = Balance(asset)
        balance.total = record.total
        balance.available = record.available
        balance.venue_utc_ns = record.venue_utc_ns
        balance.received_mono_ns = record.received_mono_ns
        return balance

    def balances(self) -> list[Balance]:
        """Every balance in the table."""
        self._find_balances()
        return [balance for row in self._balance_rows.values() if (balance := self.balance_at(row)) is not None]

    def _find_balances(self) -> None:
        for row in range(len(self._balances)):
            if not self._balances.read(row, self._balance):
                return
            self._balance_rows[self._balance.asset] = row

    # Whole tables

    def read_many(self, table: str, out: npt.NDArray[Any], start: int = 0) -> npt.NDArray[Any]:
        """Copy rows of a table from `start` on into `out`, each validated; rows never written are zero."""
        return self.reader.table(table).read_many(out, start)

    def empty(self, table: str, count: int) -> npt.NDArray[Any]:
        """A structured array fit for `read_many`."""
        return np.zeros(count, dtype=self.reader.table(table).record_type.dtype)

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return len(self.reader.table(table))

    def used(self, table: str) -> int:
        """How many rows of a table mean something: those of known instruments or assets, else all."""
        if table in ("instruments", "quotes", "books", "positions"):
            return len(self._pairs)
        if table == "balances":
            self._find_balances()
            return len(self._balance_rows)
        return self.count(table)
