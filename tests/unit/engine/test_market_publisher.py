"""Market and account data on their way into shared memory: the cell has the latest, the ring says what changed."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from decimal import Decimal

import pytest

from latentspeed.connectors import (
    Balance,
    ConnectorState,
    MarketTrade,
    OrderBook,
    Position,
    Quote,
    TradeType,
    TradingRule,
)
from latentspeed.engine import records
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.market_publisher import MarketPublisher, trade_number
from latentspeed.engine.records import MarketChange
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.ipc import RecordKind, SegmentReader, SegmentWriter

SIZES = SharedMemorySettings(
    sessions=1, orders_per_session=8, queue_capacity=8, event_ring=64, market_ring=64, instruments=4, balances=2
)
RULE = TradingRule(
    trading_pair="BTC-USD",
    symbol="BTC",
    asset_id=0,
    lot_size=Decimal("0.001"),
    tick_size=Decimal("0.1"),
    significant_figures=5,
    min_amount=Decimal("0.001"),
    min_notional=Decimal(10),
    max_leverage=40,
    is_active=True,
    quote_asset="USDC",
    base_asset="BTC",
    only_isolated=False,
)


class Published:
    """A publisher on a segment of its own, and what a reader of the segment sees."""

    def __init__(self, writer: SegmentWriter, reader: SegmentReader) -> None:
        self.writer = writer
        instruments = Instruments(writer.table("instruments"), SIZES.instruments)
        instruments.publish([RULE], frozenset({"BTC-USD"}))
        self.publisher = MarketPublisher(writer, instruments, SIZES.balances)
        self.publisher.use_rules([RULE])
        self.reader = reader
        self.ring = reader.ring("market").reader()

    def cell(self, table: str, record):
        assert self.reader.table(table).read(0, record) > 0
        return record

    def entries(self) -> list[records.MarketEvent]:
        found = []
        while True:
            event = records.MarketEvent()
            if self.ring.read(event) != RecordKind.DATA:
                return found
            found.append(event)


@pytest.fixture
def published():
    name = f"market-{os.getpid()}-{uuid.uuid4().hex[:6]}.x"
    writer = SegmentWriter.open(name, engine_layout(SIZES))
    try:
        with SegmentReader.attach(name, engine_layout(SIZES)) as reader:
            yield Published(writer, reader)
    finally:
        writer.unlink()


def test_a_quote_is_in_its_cell_and_announced(published):
    quote = Quote("BTC-USD")
    quote.bid, quote.ask, quote.venue_utc_ns, quote.received_mono_ns = 60_000.0, 60_001.0, 5, 7
    published.publisher.on_quote(quote)
    cell = published.cell("quotes", records.Quote())
    assert (cell.trading_pair, cell.bid, cell.ask, cell.received_mono_ns) == ("BTC-USD", 60_000.0, 60_001.0, 7)
    (entry,) = published.entries()
    assert (entry.change, entry.instrument, entry.venue_utc_ns, entry.received_mono_ns) == (MarketChange.QUOTE, 0, 5, 7)


def test_a_book_is_in_its_cell_and_announced(published):
    book = OrderBook("BTC-USD")
    book.set_levels([(60_000.0, 1.0), (59_999.0, 2.0)], [(60_001.0, 3.0)])
    published.publisher.on_book(book)
    cell = published.cell("books", records.Book())
    assert (cell.bid_count, cell.ask_count) == (2, 1)
    assert [entry.change for entry in published.entries()] == [MarketChange.BOOK]


def test_a_public_trade_is_in_the_ring_whole(published):
    published.publisher.on_market_trade(
        MarketTrade("BTC-USD", 60_000.5, 0.25, TradeType.SELL, "1118290090991419", 5, 7)
    )
    (entry,) = published.entries()
    assert (entry.change, entry.instrument, entry.side) == (MarketChange.TRADE, 0, TradeType.SELL)
    assert (entry.price, entry.amount, entry.trade_id) == (60_000.5, 0.25, 1118290090991419)
    assert (entry.venue_utc_ns, entry.received_mono_ns) == (5, 7)


def test_what_a_trade_said_is_not_left_in_the_next_entry(published):
    published.publisher.on_market_trade(MarketTrade("BTC-USD", 60_000.5, 0.25, TradeType.SELL, "7", 5, 7))
    published.publisher.on_quote(Quote("BTC-USD"))
    _, entry = published.entries()
    assert (entry.side, entry.price, entry.amount, entry.trade_id) == (0, 0.0, 0.0, 0)


def test_a_trade_id_that_is_no_number_is_published_as_a_fingerprint_of_it():
    assert trade_number("7") == 7
    assert trade_number("a-1") == trade_number("a-1") != trade_number("a-2")
    assert 0 < trade_number("99999999999999999999") < 2**64


def test_a_position_is_published_in_lots_too_and_keeps_its_opening(published):
    published.publisher.on_position(Position("BTC-USD", -0.25, 60_000.0, leverage=20))
    published.publisher.record_opening_positions(lambda number: 0)
    published.publisher.on_position(Position("BTC-USD", 0.5, 60_100.0, leverage=20))
    cell = published.cell("positions", records.Position())
    assert (cell.amount, cell.amount_lots, cell.opening_lots, cell.leverage) == (0.5, 500, -250, 20)
    assert [entry.change for entry in published.entries()] == [MarketChange.POSITION] * 2


def test_a_flat_position_is_published_as_zero(published):
    published.publisher.on_position(Position("BTC-USD", 0.25, 60_000.0))
    published.publisher.on_position(Position("BTC-USD"))
    cell = published.cell("positions", records.Position())
    assert (cell.amount, cell.amount_lots) == (0.0, 0)


def test_each_asset_has_a_row_and_one_too_many_is_told_once_with_the_setting_to_raise(published):
    told = []
    published.publisher.on_problem = lambda code, text: told.append((code, text))
    for asset, total in (("USDC", 100.0), ("HYPE", 2.0), ("USDC", 90.0), ("BTC", 1.0), ("BTC", 2.0)):
        published.publisher.on_balance(Balance(asset, total, total))
    assert published.cell("balances", records.Balance()).total == 90.0
    assert published.publisher.balance_count == 2
    assert told == [("balances_full", "asset BTC does not fit shared_memory.balances = 2")]


def test_an_asset_whose_name_no_row_holds_is_told_once_and_left_out(published):
    told = []
    published.publisher.on_problem = lambda code, text: told.append((code, text))
    for _ in range(2):
        published.publisher.on_balance(Balance("É" * 7, 1.0, 1.0))
    published.publisher.on_trading_rule(replace(RULE, trading_pair="Y" * 25, symbol="Y"))
    published.publisher.on_balance(Balance("É" * 6, 2.0, 2.0))
    assert published.cell("balances", records.Balance()).asset == "É" * 6
    assert [code for code, _ in told] == ["balance_left_out", "instrument_left_out"]


def test_positions_and_balances_carry_the_venues_time(published):
    published.publisher.on_position(Position("BTC-USD", 0.25, 60_000.0, venue_utc_ns=11, received_mono_ns=12))
    published.publisher.on_balance(Balance("USDC", 100.0, 100.0, venue_utc_ns=13, received_mono_ns=14))
    position, balance = (
        published.cell("positions", records.Position()),
        published.cell("balances", records.Balance()),
    )
    assert (position.venue_utc_ns, position.received_mono_ns) == (11, 12)
    assert (balance.venue_utc_ns, balance.received_mono_ns) == (13, 14)
    assert [(entry.venue_utc_ns, entry.received_mono_ns) for entry in published.entries()] == [(11, 12), (13, 14)]


def test_a_position_closed_while_no_gateway_ran_is_shown_flat_by_the_next(published):
    published.publisher.on_position(Position("BTC-USD", 0.25, 60_000.0, leverage=7))
    published.publisher.record_opening_positions(lambda number: 0)
    instruments = Instruments(published.writer.table("instruments"), SIZES.instruments)
    successor = MarketPublisher(published.writer, instruments, SIZES.balances)
    successor.use_rules([RULE])
    successor.flatten_absent({}.get)
    cell = published.cell("positions", records.Position())
    assert (cell.amount, cell.amount_lots, cell.opening_lots, cell.leverage) == (0.0, 0, 250, 7)


def test_a_market_that_does_not_fit_is_told_once_and_its_data_is_left_out(published):
    told = []
    published.publisher.on_problem = lambda code, text: told.append((code, text))
    rules = [replace(RULE, trading_pair=f"X{number}-USD", symbol=f"X{number}") for number in range(SIZES.instruments)]
    for rule in [*rules, *rules]:
        published.publisher.on_trading_rule(rule)
    assert told == [("instruments_full", "5 trading pairs do not fit shared_memory.instruments = 4")]
    announced = len(published.entries())
    left_out = rules[-1].trading_pair
    published.publisher.on_quote(Quote(left_out))
    published.publisher.on_book(OrderBook(left_out))
    published.publisher.on_position(Position(left_out, 1.0))
    published.publisher.on_market_trade(MarketTrade(left_out, 1.0, 1.0, TradeType.BUY, "1", 5, 7))
    assert announced > 0
    assert published.entries() == []


def test_the_state_is_shown_before_it_is_announced(published):
    seen = []
    published.publisher.on_state_changed = lambda: seen.append(
        (published.publisher.connection_state, len(published.entries()))
    )
    published.publisher.on_connection_state(ConnectorState.LIVE)
    assert seen == [(ConnectorState.LIVE, 0)]
    assert len(published.entries()) == 1


def test_the_connections_state_is_announced(published):
    published.publisher.on_connection_state(ConnectorState.STALE)
    assert published.publisher.connection_state is ConnectorState.STALE
    assert [entry.change for entry in published.entries()] == [MarketChange.STATE]


def test_a_restarted_gateway_shows_no_old_prices_and_no_other_rows_for_known_assets(published):
    quote = Quote("BTC-USD")
    quote.bid, quote.ask = 60_000.0, 60_001.0
    published.publisher.on_quote(quote)
    published.publisher.on_balance(Balance("USDC", 100.0, 100.0))
    instruments = Instruments(published.writer.table("instruments"), SIZES.instruments)
    successor = MarketPublisher(published.writer, instruments, SIZES.balances)
    successor.void_market_data()
    cell = published.cell("quotes", records.Quote())
    assert (cell.trading_pair, cell.bid, cell.ask) == ("BTC-USD", 0.0, 0.0)
    assert successor.balance_count == 1
