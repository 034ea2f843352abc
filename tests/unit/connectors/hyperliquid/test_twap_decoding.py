"""Whatever the venue says of a TWAP is taken in, counted as malformed, or leaves its fate open; nothing is raised."""

from __future__ import annotations

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.client_order_id import format_client_order_id, join
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.hyperliquid.fills import trade_update
from latentspeed.connectors.hyperliquid.messages import AssetMeta, FillRow
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.hyperliquid.twap import Twaps
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import OrderState, OrderType, ReportSource, TradeType

BTC = perpetual_rule(AssetMeta(name="BTC", szDecimals=5, maxLeverage=40), 3)
SENT_MS = 1_700_000_000_000
LIFE_MS = 5000
TERMS = {"minutes": 5, "randomize": False}
WORDS = st.sampled_from(
    ["status", "response", "data", "running", "twapId", "error", "state", "coin", "side", "sz", "minutes", "timestamp"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)


class Desk:
    """TWAPs without a venue."""

    def __init__(self):
        self.problems = []
        self.tracker = ClientOrderTracker(EventDispatcher())
        self._numbers = count(1)
        self.twaps = Twaps(
            None,
            self.tracker,
            venue_now_ms=lambda: SENT_MS,
            life_ms=LIFE_MS,
            margin_ms=1000,
            cancel_again=None,
            start=None,
            on_problem=lambda code, text: self.problems.append(code),
        )

    def order(self, lots=1000, terms=TERMS, side=TradeType.BUY):
        name = format_client_order_id(join(5, 255, next(self._numbers)))
        order = InFlightOrder(name, BTC, side, OrderType.TWAP, lots, extra_params=terms)
        self.tracker.start_tracking_order(order)
        self.tracker.mark_signed(order, nonce=1, venue_expiry_ms=SENT_MS + LIFE_MS)
        return order

    def fill(self, tid=1, twap_id=7, px="64000.0", sz="0.001"):
        row = FillRow(coin="BTC", px=px, sz=sz, side="B", time=SENT_MS, oid=5, tid=tid, twapId=twap_id)
        self.tracker.process_trade_update(trade_update(row, BTC, None, ReportSource.STREAM))


def row(status="activated", twap_id=7, description=None, **terms):
    state = {"coin": "BTC", "side": "B", "sz": "0.01", "minutes": 5, "timestamp": SENT_MS + 50, "user": "0x00"}
    said = {"status": status} | ({} if description is None else {"description": description})
    return {"time": 1, "state": state | terms, "status": said, "twapId": twap_id}


def history(*rows):
    return json.dumps(rows).encode()


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_history_is_taken_or_counted_as_malformed(body):
    desk = Desk()
    order = desk.order()
    desk.twaps.take_history(body)
    assert order.state is OrderState.PENDING_SUBMIT


@given(
    st.sampled_from(["activated", "finished", "terminated", "error", "new"]),
    st.fixed_dictionaries(
        {}, optional={"executedSz": st.text(max_size=4) | st.just("0.01"), "sz": st.text(max_size=4)}
    ),
)
def test_any_terms_and_sizes_leave_an_order_that_can_be_read(status, terms):
    desk = Desk()
    order = desk.order()
    desk.twaps.take_history(history(row(status, **terms)))
    assert order.state in OrderState
    assert order.filled_lots == 0


@pytest.mark.parametrize(
    "terms",
    [
        {"coin": "ETH"},
        {"side": "A"},
        {"sz": "0.02"},
        {"sz": "much"},
        {"minutes": 6},
        {"reduceOnly": True},
        {"randomize": True},
        {"timestamp": SENT_MS - 60_000},
        {"timestamp": SENT_MS + 60_000},
    ],
)
def test_a_twap_of_somebody_else_is_not_taken_for_ours(terms):
    desk = Desk()
    order = desk.order()
    desk.twaps.take_history(history(row(**terms)))
    assert (order.state, order.exchange_order_id) == (OrderState.PENDING_SUBMIT, None)


def test_one_of_an_earlier_process_is_found_without_its_minutes():
    desk = Desk()
    order = desk.order(terms=None)
    desk.twaps.take_history(history(row(minutes=30, randomize=True)))
    assert (order.state, order.exchange_order_id) == (OrderState.OPEN, "twap7")


def test_two_alike_whose_answers_were_lost_get_a_number_each():
    desk = Desk()
    orders = [desk.order(), desk.order()]
    done = row("finished", twap_id=7, executedSz="0.004")
    desk.twaps.take_history(history(row(twap_id=7), row(twap_id=8), done))
    assert [order.exchange_order_id for order in orders] == ["twap7", "twap8"]
    assert [order.state for order in orders] == [OrderState.CANCELLED, OrderState.OPEN]
    assert (orders[0].reason, orders[0].expected_filled_lots) == ("finished", 400)


def test_fills_that_come_before_the_number_are_added_once_it_is_known():
    desk = Desk()
    order = desk.order()
    for tid in (1, 2, 2):
        desk.fill(tid)
    desk.fill(3, twap_id=99)
    assert desk.twaps.awaits_number
    desk.twaps.take_history(history(row()))
    desk.fill(1)
    assert (order.fill_count, order.filled_amount, order.average_price) == (2, 0.002, 64000.0)
    assert not desk.twaps.awaits_number


def test_a_finished_one_is_filled_when_its_last_fill_has_come():
    desk = Desk()
    order = desk.order()
    desk.twaps.take_history(history(row(), row("finished", executedSz="0.01")))
    assert order.state is OrderState.OPEN
    assert order.is_awaiting_fills
    desk.fill(sz="0.01")
    assert order.state is OrderState.FILLED


def test_what_is_final_stays_and_an_unknown_status_is_reported():
    desk = Desk()
    order = desk.order()
    desk.twaps.take_history(history(row("paused"), row()))
    assert desk.problems == ["unknown_status"]
    desk.twaps.take_history(history(row("error", description="Insufficient margin"), row("activated")))
    assert (order.state, order.reason) == (OrderState.CANCELLED, "error: Insufficient margin")
    desk.twaps.take_history(history(row("finished")))
    assert order.state is OrderState.CANCELLED
