"""Quotes and books follow the venue's messages, in the venue's time, and forget what is not fresh."""

from __future__ import annotations

import json
import math
import time

import msgspec
import pytest

from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import MarketDataListener
from latentspeed.connectors.hyperliquid.market_data import MarketFeed
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.types import TradeType


class Listener(MarketDataListener):
    def __init__(self):
        self.trades = []
        self.books = 0

    def on_market_trade(self, trade):
        self.trades.append((trade.trade_id, trade.price, trade.amount, trade.side))

    def on_book(self, book):
        self.books += 1


class Feed:
    """A feed of two pairs that keeps what it told."""

    def __init__(self):
        events = EventDispatcher()
        self.listener = events.market_data_listener = Listener()
        self.market = MarketState(events)
        self.quotes = []
        self.problems = []
        self.marks = []
        self.feed = MarketFeed(
            self.market,
            publish_quote=lambda quote: self.quotes.append((quote.trading_pair, quote.bid, quote.ask)),
            on_mark=lambda pair, mark: self.marks.append((pair, mark)),
            on_problem=lambda code, text: self.problems.append((code, text)),
        )
        self.feed.add("BTC-USD", "BTC")
        self.feed.add("kPEPE-USD", "kPEPE")

    def push(self, channel, data):
        raw = msgspec.json.decode(json.dumps(data), type=msgspec.Raw)
        self.feed.handlers[channel](raw, time.monotonic_ns())

    def bbo(self, bid, ask, venue_ms=1000, coin="BTC"):
        def side(level):
            return None if level is None else {"px": str(level[0]), "sz": str(level[1]), "n": 1}

        self.push("bbo", {"coin": coin, "time": venue_ms, "bbo": [side(bid), side(ask)]})

    def book(self, bids, asks, venue_ms=1000):
        levels = [[{"px": str(price), "sz": str(size), "n": 1} for price, size in side] for side in (bids, asks)]
        self.push("l2Book", {"coin": "BTC", "time": venue_ms, "levels": levels})


@pytest.fixture
def feed():
    return Feed()


def test_the_touch_is_kept_with_its_times(feed):
    feed.bbo((100.0, 2.5), (101.0, 3.5))
    quote = feed.market.quotes["BTC-USD"]
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size, quote.mid) == (100.0, 2.5, 101.0, 3.5, 100.5)
    assert quote.venue_utc_ns == 1_000_000_000
    assert quote.received_mono_ns > 0
    assert feed.quotes == [("BTC-USD", 100.0, 101.0)]


def test_names_keep_their_case(feed):
    feed.bbo((0.01, 1), (0.02, 1), coin="KPEPE")
    assert feed.quotes == []
    feed.bbo((0.01, 1), (0.02, 1), coin="kPEPE")
    assert feed.quotes == [("kPEPE-USD", 0.01, 0.02)]


def test_an_empty_side_is_no_price(feed):
    feed.bbo(None, (101.0, 1))
    quote = feed.market.quotes["BTC-USD"]
    assert math.isnan(quote.bid)
    assert quote.ask == 101.0
    feed.bbo(None, None)
    assert math.isnan(quote.ask)


def test_an_older_message_does_not_undo_a_newer_one(feed):
    feed.book([(100.0, 1)], [(101.0, 1)], venue_ms=2000)
    feed.bbo((90.0, 1), (91.0, 1), venue_ms=1999)
    feed.book([(80.0, 1)], [(81.0, 1)], venue_ms=1998)
    assert feed.market.quotes["BTC-USD"].bid == 100.0
    assert feed.market.books["BTC-USD"].best_bid == 100.0


def test_every_book_replaces_the_one_before(feed):
    feed.book([(100.0, 1), (99.0, 2)], [(101.0, 1)])
    feed.book([(98.0, 5)], [], venue_ms=1001)
    book = feed.market.books["BTC-USD"]
    assert (book.bid_count, book.ask_count, book.best_bid) == (1, 0, 98.0)
    assert feed.listener.books == 2


def test_after_a_reconnect_nothing_is_fresh_and_any_time_is_taken(feed):
    feed.book([(100.0, 1)], [(101.0, 1)], venue_ms=5000)
    assert feed.feed.is_fresh("BTC-USD", 10.0)
    feed.feed.invalidate()
    assert not feed.feed.is_fresh("BTC-USD", 10.0)
    assert feed.market.quotes["BTC-USD"].received_mono_ns == 0
    # The touch last changed before the book of the earlier connection was made.
    feed.bbo((100.0, 1), (101.0, 1), venue_ms=4000)
    assert feed.feed.is_fresh("BTC-USD", 10.0)
    assert feed.market.quotes["BTC-USD"].received_mono_ns > 0


@pytest.mark.parametrize("price", ["nan", "inf", "-1", "0"])
def test_a_price_that_is_none_is_reported_and_changes_nothing(feed, price):
    feed.bbo((100.0, 1), (101.0, 1))
    feed.bbo((price, 1), (102.0, 1), venue_ms=2000)
    feed.book([(price, 1)], [(102.0, 1)], venue_ms=2000)
    assert feed.market.quotes["BTC-USD"].bid == 100.0
    assert [code for code, _ in feed.problems] == ["malformed_message"] * 2


def test_trades_are_told_once_with_the_aggressors_side(feed):
    rows = [
        {"coin": "BTC", "side": side, "px": "100.0", "sz": "0.5", "time": 1, "tid": tid, "hash": "0x", "users": []}
        for tid, side in [(1, "B"), (2, "A"), (1, "B")]
    ]
    feed.push("trades", rows)
    feed.push("trades", rows[:1])
    assert feed.listener.trades == [("1", 100.0, 0.5, TradeType.BUY), ("2", 100.0, 0.5, TradeType.SELL)]
    assert feed.market.quotes["BTC-USD"].last == 100.0


def test_a_malformed_trade_does_not_hide_the_others(feed):
    feed.push("trades", [{"coin": "BTC"}, {"coin": "BTC", "side": "B", "px": "1", "sz": "1", "time": 1, "tid": 9}])
    assert len(feed.listener.trades) == 1
    assert len(feed.problems) == 1


def test_the_context_gives_mark_index_and_funding(feed):
    context = {"funding": "0.0000125", "openInterest": "5.5", "oraclePx": "128.41", "markPx": "128.45", "midPx": None}
    feed.push("activeAssetCtx", {"coin": "BTC", "ctx": context | {"premium": None, "impactPxs": None}})
    quote = feed.market.quotes["BTC-USD"]
    assert (quote.mark, quote.index, quote.oracle, quote.funding_rate, quote.open_interest) == (
        128.45,
        128.41,
        128.41,
        0.0000125,
        5.5,
    )
    assert time.time_ns() < quote.next_funding_utc_ns <= time.time_ns() + 3_600_000_000_000
    assert feed.marks == [("BTC-USD", 128.45)]


def test_a_pair_that_falls_silent_is_named(feed):
    assert feed.feed.silent_pairs(0.0) == []
    feed.bbo((100.0, 1), (101.0, 1))
    assert feed.feed.silent_pairs(0.0) == ["BTC-USD"]
    assert feed.feed.silent_pairs(60.0) == []
