"""Rows of every source reach the reducer: every status, every family of names, own, foreign and other markets."""

from __future__ import annotations

import json
import time

import msgspec
import pytest

from latentspeed.connectors.client_order_id import format_client_order_id, join
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import TradeEventListener
from latentspeed.connectors.hyperliquid.account_reports import AccountReports
from latentspeed.connectors.hyperliquid.fills import SeenFills
from latentspeed.connectors.hyperliquid.messages import AssetMeta
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.hyperliquid.statuses import ORDER_STATUSES, order_state
from latentspeed.connectors.hyperliquid.wire import encode_cloid
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.types import OrderState, OrderType, TradeType

INSTANCE = 99
ACCOUNT = "0x" + "ab" * 20


class Desk(TradeEventListener):
    """One order of each market, and everything that was told."""

    def __init__(self):
        events = EventDispatcher()
        events.set_trade_listener(self)
        self.tracker = ClientOrderTracker(events)
        market = MarketState(events)
        market.set_rules(
            perpetual_rule(AssetMeta(name=name, szDecimals=decimals), index)
            for index, (name, decimals) in enumerate([("BTC", 5), ("kPEPE", 0)])
        )
        self.trades = []
        self.new_fills = []
        self.problems = []
        self.awaits_twap = False
        self.market = market
        self.reports = AccountReports(
            self.tracker,
            market,
            account=ACCOUNT,
            engine_instance=INSTANCE,
            seen_fills=SeenFills(),
            awaits_twap=lambda: self.awaits_twap,
            on_new_fill=lambda row, rule: self.new_fills.append(row.tid),
            on_problem=lambda code, text: self.problems.append(code),
        )
        self.numbers = iter(range(1, 1000))

    def on_trade(self, order, trade):
        self.trades.append((order, trade))

    def order(self, coin="BTC", lots=1000):
        rule = self.market.rules_by_symbol[coin]
        order = InFlightOrder(
            format_client_order_id(join(5, 255, next(self.numbers))), rule, TradeType.BUY, OrderType.LIMIT, lots, 1000
        )
        self.tracker.start_tracking_order(order)
        self.tracker.mark_signed(order, nonce=1, venue_expiry_ms=int(time.time() * 1000) + 5000)
        return order

    def cloid(self, order, instance=INSTANCE):
        return encode_cloid(instance, order.strategy_tag, order.id64)

    def push(self, channel, data):
        raw = msgspec.json.decode(json.dumps(data), type=msgspec.Raw)
        self.reports.handlers[channel](raw, time.monotonic_ns())

    def status(self, order, status, remaining="0.01", **changes):
        row = {
            "coin": order.rule.symbol,
            "side": "B",
            "limitPx": "100.0",
            "sz": remaining,
            "oid": 7_000_000_000 + order.id64 % 1000,
            "timestamp": 1,
            "origSz": "0.01",
            "cloid": self.cloid(order),
        }
        self.push("orderUpdates", [{"order": row | changes, "status": status, "statusTimestamp": 2}])

    def fill(self, coin, oid, tid, size="0.004", cloid=None, time_ms=3, **changes):
        row = {
            "coin": coin,
            "px": "100.0",
            "sz": size,
            "side": "B",
            "time": time_ms,
            "oid": oid,
            "tid": tid,
            "fee": "0.01",
            "feeToken": "USDC",
            "dir": "Open Long",
            "startPosition": "0.0",
        }
        if cloid is not None:
            row["cloid"] = cloid
        return row | changes

    def fills(self, *rows, **more):
        self.push("userFills", {"user": ACCOUNT, "fills": list(rows)} | more)


@pytest.fixture
def desk():
    return Desk()


@pytest.mark.parametrize("status", [*ORDER_STATUSES, "brandNewRejected", "brandNewCanceled", "somethingElse"])
def test_every_status_is_reduced_and_the_stream_goes_on(desk, status):
    order, next_order = desk.order(), desk.order()
    expected = order_state(status)
    desk.status(order, status, remaining="0.0" if status == "filled" else "0.01")
    desk.status(next_order, "open")
    assert next_order.state is OrderState.OPEN
    if expected is OrderState.UNKNOWN:
        assert order.state is OrderState.PENDING_SUBMIT
        assert desk.problems == ["unknown_status"]
    elif expected is OrderState.FILLED:
        # FILLED once the fills add up.
        assert (order.state, order.is_awaiting_fills) == (OrderState.OPEN, True)
        desk.fills(desk.fill("BTC", 1, 5, size="0.01", cloid=desk.cloid(order)))
        assert order.state is OrderState.FILLED
    else:
        assert order.state is expected
        assert order.reason == (status if expected.is_final else "")


def test_fills_are_matched_by_cloid_and_else_by_the_venues_number(desk):
    order = desk.order()
    desk.fills(desk.fill("BTC", 70, 1, cloid=desk.cloid(order)))
    desk.fills(desk.fill("BTC", 70, 2))
    assert (order.fill_count, order.filled_lots) == (2, 800)
    assert desk.new_fills == [1, 2]


def test_a_fill_before_its_order_number_is_known_waits(desk):
    order = desk.order()
    desk.fills(desk.fill("BTC", 7_000_000_000 + order.id64 % 1000, 1))
    assert order.fill_count == 0
    desk.status(order, "open")
    assert order.fill_count == 1


def test_a_snapshot_repeats_nothing_and_misses_nothing(desk):
    order = desk.order()
    rows = [desk.fill("BTC", 70, tid, size="0.002", cloid=desk.cloid(order), time_ms=tid) for tid in (1, 2, 3)]
    desk.fills(rows[0])
    desk.fills(*reversed(rows), isSnapshot=True)
    desk.fills(*rows, isSnapshot=True)
    assert (order.fill_count, order.filled_lots, order.fee_units) == (3, 600, 3_000_000)
    assert desk.reports.newest_fill_ms == 3


def test_the_fill_of_a_forgotten_order_does_not_count_again(desk):
    order = desk.order()
    row = desk.fill("BTC", 70, 1, size="0.01", cloid=desk.cloid(order))
    desk.fills(row)
    assert order.state is OrderState.FILLED
    desk.tracker.stop_tracking_order(order.client_order_id)
    desk.fills(row, isSnapshot=True)
    assert desk.tracker.held_count == 0
    assert len(desk.trades) == 1


def test_names_keep_their_case_and_other_markets_are_counted(desk):
    order = desk.order("kPEPE", lots=4)
    desk.fills(
        desk.fill("kPEPE", 70, 1, size="3.0", cloid=desk.cloid(order)),
        desk.fill("KPEPE", 70, 2, size="1.0", cloid=desk.cloid(order)),
        desk.fill("xyz:SILVER", 71, 3, size="1.0"),
        desk.fill("@151", 72, 0, size="0.5", dir="Spot Dust Conversion"),
    )
    assert order.filled_lots == 3
    assert desk.reports.other_market_rows == 3


def test_two_system_fills_are_both_counted(desk):
    order = desk.order()
    desk.status(order, "open")
    oid = int(order.exchange_order_id)
    rows = [desk.fill("BTC", oid, 0, size=size, hash="0x0") for size in ("0.001", "0.002")]
    desk.fills(*rows)
    desk.fills(*rows)
    assert (order.fill_count, order.filled_lots) == (2, 300)


def test_a_foreign_fill_is_shown_once_without_an_order(desk):
    order = desk.order()
    row = desk.fill("BTC", 70, 1, cloid=desk.cloid(order, INSTANCE + 1))
    desk.fills(row)
    desk.fills(row, isSnapshot=True)
    assert order.fill_count == 0
    assert [(owner, trade.trade_id) for owner, trade in desk.trades] == [(None, "1")]


def test_foreign_orders_are_kept_while_they_are_open(desk):
    order = desk.order()
    for cloid in (None, desk.cloid(order, INSTANCE + 1), "0x00030050c6301a2b00000100000000d2"):
        desk.status(order, "open", cloid=cloid, oid=80)
        assert list(desk.reports.foreign_orders) == [80]
        desk.status(order, "canceled", cloid=cloid, oid=80)
        assert desk.reports.foreign_orders == {}
    assert order.state is OrderState.PENDING_SUBMIT


def test_an_open_that_comes_after_the_end_does_not_revive(desk):
    order = desk.order()
    desk.status(order, "canceled")
    desk.status(order, "open")
    assert order.state is OrderState.CANCELLED
    desk.fills(desk.fill("BTC", 70, 1, cloid=desk.cloid(order)))
    assert (order.state, order.filled_lots) == (OrderState.CANCELLED, 400)


def test_fills_of_another_account_are_refused(desk):
    order = desk.order()
    desk.push("userFills", {"user": "0x" + "cd" * 20, "fills": [desk.fill("BTC", 70, 1, cloid=desk.cloid(order))]})
    assert order.fill_count == 0
    assert desk.problems == ["wrong_account"]


def test_malformed_rows_are_reported_and_the_others_counted(desk):
    order = desk.order()
    good = desk.fill("BTC", 70, 1, cloid=desk.cloid(order))
    desk.fills({}, 17, good | {"sz": "0.0000001", "tid": 2}, good | {"px": "free", "tid": 3}, good)
    assert order.fill_count == 1
    assert desk.problems == ["malformed_message"] * 4
