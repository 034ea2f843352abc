"""Candles, fundings, staleness and the connector's vitals on their way through shared memory to a strategy."""

from __future__ import annotations

import os
import time
import uuid
from decimal import Decimal

import pytest

from latentspeed.connectors import (
    Candle,
    Channel,
    ChannelState,
    FundingPayment,
    MarketDataListener,
    OrderBook,
    Quote,
    RateLimit,
    TradingRule,
)
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.engine import records
from latentspeed.engine.candle_cells import CELLS
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.market_feed import MarketFeed
from latentspeed.engine.market_publisher import MarketPublisher
from latentspeed.engine.market_view import MarketView
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.engine.vitals import VitalsPublisher
from latentspeed.ipc import SegmentReader, SegmentWriter

SIZES = SharedMemorySettings(
    sessions=1, orders_per_session=8, queue_capacity=8, event_ring=64, market_ring=64, instruments=4, balances=2
)
RULES = [
    TradingRule(
        pair, pair[:3], number, Decimal("0.001"), Decimal("0.1"), 5, Decimal("0.001"), Decimal(10), 40, True, "USD"
    )
    for number, pair in enumerate(("BTC-USD", "ETH-USD"))
]
MINUTE_NS = 60 * 10**9


class Told(MarketDataListener):
    def __init__(self):
        self.candles, self.fundings, self.quotes, self.books = [], [], [], []

    def on_candle(self, candle):
        self.candles.append(candle.copy())

    def on_funding(self, payment):
        self.fundings.append(payment)

    def on_quote(self, quote):
        self.quotes.append((quote.trading_pair, quote.bid, quote.is_stale))

    def on_book(self, book):
        self.books.append((book.trading_pair, book.is_stale))


class Wire:
    """A publisher on one side of a segment, a strategy's feed on the other."""

    def __init__(self, writer, reader):
        self.writer, self.reader = writer, reader
        self.problems = []
        self.publisher = self.new_publisher()
        view = MarketView(reader)
        view.load_rules()
        self.view = view
        events = EventDispatcher()
        self.told = events.market_data_listener = Told()
        self.feed = MarketFeed(reader.ring("market").reader(), view, events, lambda: None, lambda: None)

    def new_publisher(self):
        instruments = Instruments(self.writer.table("instruments"), SIZES.instruments)
        instruments.publish(RULES, frozenset())
        publisher = MarketPublisher(self.writer, instruments, SIZES.balances)
        publisher.use_rules(RULES)
        publisher.on_problem = lambda code, text: self.problems.append(code)
        return publisher

    def tell(self):
        while self.feed.read(64):
            pass
        self.feed.tell(True)
        return self.told


@pytest.fixture
def wire():
    name = f"candles-{os.getpid()}-{uuid.uuid4().hex[:6]}.x"
    writer = SegmentWriter.open(name, engine_layout(SIZES))
    try:
        with SegmentReader.attach(name, engine_layout(SIZES)) as reader:
            yield Wire(writer, reader)
    finally:
        writer.unlink()
        writer.close()


def candle(start=1, close=100.0, *, is_closed=False, interval="1m", pair="BTC-USD"):
    made = Candle(pair, interval)
    made.start_utc_ns, made.end_utc_ns = start * MINUTE_NS, (start + 1) * MINUTE_NS
    made.open, made.high, made.low, made.close = 90.0, 110.0, 80.0, close
    made.volume, made.trade_count, made.is_closed, made.received_mono_ns = 1.5, 7, is_closed, 5
    return made


def test_a_strategy_is_told_of_candles_of_its_pairs_with_every_field(wire):
    wire.feed.subscribe(0)
    wire.publisher.on_candle(candle())
    wire.publisher.on_candle(candle(pair="ETH-USD"))
    (got,) = wire.tell().candles
    assert repr(got) == repr(candle())
    assert (got.volume, got.trade_count, got.end_utc_ns, got.received_mono_ns) == (1.5, 7, 2 * MINUTE_NS, 5)


def test_the_closed_candle_is_told_before_the_one_that_follows_it(wire):
    wire.feed.subscribe(0)
    wire.publisher.on_candle(candle(1, 100.0))
    wire.publisher.on_candle(candle(1, 101.0, is_closed=True))
    wire.publisher.on_candle(candle(2, 102.0))
    assert [(c.close, c.is_closed) for c in wire.tell().candles] == [(101.0, True), (102.0, False)]


def test_a_strategy_that_comes_later_hears_what_is_known(wire):
    wire.publisher.on_candle(candle(1, 101.0, is_closed=True))
    wire.publisher.on_candle(candle(2, 102.0))
    wire.publisher.on_candle(candle(2, 103.0, interval="1h"))
    wire.feed.subscribe(0)
    assert [(c.interval, c.close) for c in wire.tell().candles] == [("1m", 101.0), ("1m", 102.0), ("1h", 103.0)]
    assert wire.view.latest_candle(0, "1m").close == 102.0
    assert wire.view.latest_candle(0, "5m") is None
    assert wire.view.latest_candle(1, "1m") is None


def test_the_latest_candle_is_the_final_form_of_one_that_was_closed(wire):
    wire.publisher.on_candle(candle(1, 100.0))
    wire.publisher.on_candle(candle(1, 101.0, is_closed=True))
    assert (wire.view.latest_candle(0, "1m").close, wire.view.latest_candle(0, "1m").is_closed) == (101.0, True)


def test_one_interval_too_many_is_told_once_and_left_out(wire):
    for interval in ("1m", "5m", "15m", "1h", "4h", "4h"):
        wire.publisher.on_candle(candle(interval=interval))
    assert wire.problems == ["candles_full"]
    wire.feed.subscribe(0)
    assert {c.interval for c in wire.tell().candles} == {"1m", "5m", "15m", "1h"}


def test_a_restarted_gateway_shows_no_candles_of_the_one_before(wire):
    wire.publisher.on_candle(candle())
    wire.new_publisher().void_market_data()
    wire.feed.subscribe(0)
    assert wire.tell().candles == []
    rows = wire.reader.table("candles").read_many(wire.view.empty("candles", CELLS))
    assert not rows["received_mono_ns"].any()


def payment(hour, amount=-0.25, position=-0.5):
    return FundingPayment("BTC-USD", "USDC", amount, round(amount * 10**8), 0.0000125, position, hour * 3600 * 10**9)


def test_every_funding_payment_is_told_whole_and_added_up(wire):
    for hour, amount in ((1, -0.25), (2, 0.1), (3, -0.01)):
        wire.publisher.on_funding(payment(hour, amount))
    assert wire.tell().fundings == [payment(1, -0.25), payment(2, 0.1), payment(3, -0.01)]
    row = records.Funding()
    wire.reader.table("fundings").read(0, row)
    assert (row.count, row.total_units, row.amount, row.asset) == (3, -16_000_000, -0.01, "USDC")


def test_a_payment_that_an_earlier_gateway_has_published_is_not_counted_again(wire):
    wire.publisher.on_funding(payment(5))
    successor = wire.new_publisher()
    successor.on_funding(payment(5))
    successor.on_funding(payment(6))
    row = records.Funding()
    wire.reader.table("fundings").read(0, row)
    assert row.count == 2
    assert [found.venue_utc_ns // (3600 * 10**9) for found in wire.tell().fundings] == [5, 6]


def test_stale_prices_reach_a_strategy_as_stale(wire):
    wire.feed.subscribe(0)
    quote, book = Quote("BTC-USD"), OrderBook("BTC-USD")
    quote.bid, quote.received_mono_ns, book.received_mono_ns = 100.0, 5, 5
    for is_stale in (False, True):
        quote.is_stale = book.is_stale = is_stale
        wire.publisher.on_quote(quote)
        wire.publisher.on_book(book)
        wire.tell()
    assert wire.told.quotes == [("BTC-USD", 100.0, False), ("BTC-USD", 100.0, True)]
    assert wire.told.books == [("BTC-USD", False), ("BTC-USD", True)]
    assert wire.view.quote(0).is_stale


class Patient:
    """A connector with vitals."""

    def __init__(self):
        self.shown = [(Channel("bbo", "BTC-USD"), ChannelState.LIVE), (Channel("userFills"), ChannelState.WAITING)]
        self.limits = [RateLimit("request_weight", 40.0, 1200.0, 200.0, 3, 1.5)]

    def channels(self):
        return self.shown

    def rate_limits(self):
        return self.limits


def channels(wire):
    found = wire.reader.table("channels").read_many(wire.view.empty("channels", 4 * SIZES.instruments + 16))
    return [(row["name"], ChannelState(int(row["state"])), int(row["messages"])) for row in found if row["name"]]


def test_channels_and_budgets_are_published_and_follow_the_connector(wire, monkeypatch):
    monkeypatch.setattr("latentspeed.engine.vitals.EVERY_NS", 0)
    patient = Patient()
    vitals = VitalsPublisher(wire.writer, SIZES.instruments, patient, lambda code, text: wire.problems.append(code))
    patient.shown[0][0].heard(time.monotonic_ns())
    vitals.publish()
    assert channels(wire) == [(b"bbo", ChannelState.LIVE, 1), (b"userFills", ChannelState.WAITING, 0)]
    limit = records.Limit()
    wire.reader.table("limits").read(0, limit)
    assert (limit.name, limit.used, limit.capacity, limit.reserve, limit.refused, limit.blocked_s) == (
        "request_weight", 40.0, 1200.0, 200.0, 3, 1.5,
    )  # fmt: skip
    patient.shown = [(patient.shown[1][0], ChannelState.DOWN)]
    patient.limits = []
    vitals.publish()
    assert channels(wire) == [(b"userFills", ChannelState.DOWN, 0)]
    wire.reader.table("limits").read(0, limit)
    assert limit.name == ""


def test_more_channels_than_rows_are_told_once(wire, monkeypatch):
    monkeypatch.setattr("latentspeed.engine.vitals.EVERY_NS", 0)
    patient = Patient()
    patient.shown = [(Channel("bbo", f"X{n}"), ChannelState.LIVE) for n in range(99)]
    vitals = VitalsPublisher(wire.writer, SIZES.instruments, patient, lambda code, text: wire.problems.append(code))
    vitals.publish()
    vitals.publish()
    assert wire.problems == ["channels_full"]
    assert len(channels(wire)) == 4 * SIZES.instruments + 16


def test_vitals_are_written_at_a_pace_and_not_at_every_heartbeat(wire):
    patient = Patient()
    asked = []
    patient.channels = lambda: asked.append(1) or []
    vitals = VitalsPublisher(wire.writer, SIZES.instruments, patient, lambda code, text: None)
    for _ in range(50):
        vitals.publish()
    assert len(asked) == 1
