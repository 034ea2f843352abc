"""What a strategy and the inspector see of the market through a real gateway: candles, staleness, budgets, listings."""

from __future__ import annotations

import time

import pytest
from support.polling import poll_until
from support.real_gateway import RealGateway

from latentspeed.connectors import MarketDataListener, OrderParams, OrderRefused, OrderState, OrderType, VenueRejected
from latentspeed.tools.inspector.read import Inspector
from latentspeed.tools.venues.hyperliquid.process import venue_process

OPTIONS = """
candle_intervals = ["1m"]
stale_after_s = 2.0
quote_max_age_s = 1.0
rules_every_s = 1.0
limit_requests = true
"""


class Tape(MarketDataListener):
    def __init__(self):
        self.candles, self.quotes, self.fundings, self.books = [], [], [], []

    def on_candle(self, candle):
        self.candles.append(candle.copy())

    def on_quote(self, quote):
        self.quotes.append((quote.trading_pair, quote.is_stale))

    def on_book(self, book):
        self.books.append((book.trading_pair, book.is_stale))

    def on_funding(self, payment):
        self.fundings.append(payment)


@pytest.fixture
def gateway(tmp_path):
    with venue_process("--seed", "7") as venue:
        gateway = RealGateway(tmp_path, venue, options=OPTIONS)
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.close()


@pytest.fixture
def attached(gateway):
    connector = gateway.attach("BTC-USD", background=False)
    connector.tape = Tape()
    connector.set_market_data_listener(connector.tape)
    yield connector
    connector.disconnect().result(60)


def inspect(gateway):
    with Inspector(gateway.engine) as inspector:
        return inspector.snapshot().segments[0]


def test_candles_and_funding_reach_a_strategy_and_the_inspector(gateway, attached):
    tape = attached.tape
    bought = attached.get_order(attached.buy(OrderParams("BTC-USD", 0.01, None, OrderType.MARKET)))
    poll_until(attached, lambda: bought.state is OrderState.FILLED, timeout_s=60)
    poll_until(attached, lambda: tape.candles and tape.candles[-1].trade_count, timeout_s=60)
    candle = attached.get_candle("BTC-USD", "1m")
    assert (candle.trading_pair, candle.interval) == ("BTC-USD", "1m")
    assert candle.low <= candle.close <= candle.high
    gateway.control("advance_clock", ms=3_600_000)
    poll_until(attached, lambda: tape.fundings, timeout_s=60)
    (payment,) = tape.fundings
    assert (payment.trading_pair, payment.asset, payment.position_amount) == ("BTC-USD", "USDC", 0.01)
    seen = inspect(gateway)
    (shown,) = [found for found in seen.candles if found.trading_pair == "BTC-USD"]
    assert (shown.interval, shown.open > 0) == ("1m", True)
    (total,) = seen.fundings
    assert (total.count, total.total, total.rate) == (1, payment.amount, payment.rate)


def test_a_silent_stall_is_seen_channel_by_channel_and_marks_the_prices_stale(gateway, attached):
    tape = attached.tape
    gateway.control("silent_sockets", channels=["l2Book", "bbo"])
    # While the gateway takes no orders prices are not told, so that a slow reader sees the mark in the cells alone.
    poll_until(attached, lambda: attached.get_quote("BTC-USD").is_stale, timeout_s=60)
    poll_until(attached, lambda: attached.get_book("BTC-USD").is_stale, timeout_s=60)
    gateway.control("reset_faults")
    poll_until(attached, lambda: tape.quotes[-1] == ("BTC-USD", False) and attached.is_ready, timeout_s=60)
    codes = {error.code for error in inspect(gateway).errors}
    assert codes & {"market_data_stalled", "market_data_silent"}


def test_a_strategy_reads_the_venues_store_of_candles_through_its_gateway(gateway, attached):
    bought = attached.get_order(attached.buy(OrderParams("BTC-USD", 0.01, None, OrderType.MARKET)))
    poll_until(attached, lambda: bought.state is OrderState.FILLED, timeout_s=60)
    stored = gateway.info(type="candleSnapshot", req={"coin": "BTC", "interval": "1m", "startTime": 0})
    found = attached.fetch_candles("BTC-USD", "1m", 0).result(30)
    assert [candle.start_utc_ns // 10**6 for candle in found][: len(stored)] == [row["t"] for row in stored]
    last = {candle.start_utc_ns // 10**6: candle for candle in found}[stored[-1]["t"]]
    assert (last.trading_pair, last.interval, last.open) == ("BTC-USD", "1m", float(stored[-1]["o"]))
    assert last.high >= float(stored[-1]["h"])
    assert last.trade_count >= stored[-1]["n"] > 0
    assert attached.fetch_candles("ETH-USD", "1h", 1, 2).result(30) == []
    with pytest.raises(VenueRejected, match="interval"):
        attached.fetch_candles("BTC-USD", "2m", 0).result(30)
    with pytest.raises(OrderRefused):
        attached.fetch_candles("NOPE-USD", "1m", 0)


def test_the_inspector_shows_every_channel_and_every_budget(gateway, attached):
    deadline = time.monotonic() + 60
    while True:
        seen = inspect(gateway)
        states = {(channel.name, channel.trading_pair): channel.state for channel in seen.channels}
        budgets = {limit.name: limit for limit in seen.limits}
        is_complete = states.get(("l2Book", "BTC-USD")) == "LIVE" and "address_actions" in budgets
        if is_complete or time.monotonic() > deadline:
            break
    for pair in ("BTC-USD", "ETH-USD"):
        for name in ("bbo", "l2Book", "activeAssetCtx"):
            assert states[name, pair] == "LIVE"
    assert states["orderUpdates", ""] in ("WAITING", "LIVE")
    assert 0 < budgets["request_weight"].used <= budgets["request_weight"].capacity == 1200
    assert budgets["request_weight"].reserve == 200
    assert budgets["address_actions"].capacity >= 10_000
    assert budgets["address_cancels"].capacity == 2 * budgets["address_actions"].capacity
    assert budgets["subscriptions"].used == 4 + 2 * 5
    assert {"open_posts", "socket_openings", "socket_messages"} <= set(budgets)


def test_a_market_listed_while_running_is_traded_by_a_strategy_without_a_restart(gateway, attached):
    gateway.control("list_market", coin="kNEW", sz_decimals=1, price="12.5")
    poll_until(attached, lambda: attached.get_trading_rule("kNEW-USD") is not None, timeout_s=60)
    assert float(attached.get_trading_rule("kNEW-USD").lot_size) == 0.1
    attached.subscribe("kNEW-USD")
    poll_until(attached, lambda: (attached.get_quote("kNEW-USD") or Unknown).mark > 0, timeout_s=60)
    order = attached.get_order(attached.buy(OrderParams("kNEW-USD", 2.0, 11.0, OrderType.LIMIT)))
    poll_until(attached, lambda: order.state is OrderState.OPEN, timeout_s=60)
    gateway.control("delist_market", coin="kNEW")
    poll_until(attached, lambda: not attached.get_trading_rule("kNEW-USD").is_active, timeout_s=60)


class Unknown:
    mark = 0.0
