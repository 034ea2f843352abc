"""Whatever the venue says of a TWAP is taken in, counted as malformed, or leaves its fate open; nothing is raised."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors import TradeType, VenueRejected
from latentspeed.connectors.hyperliquid.messages import AssetMeta, FillRow
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.hyperliquid.replies import parse_twap_reply
from latentspeed.connectors.hyperliquid.twap import TwapOrder, Twaps, TwapState
from latentspeed.connectors.transport import TransportError

BTC = perpetual_rule(AssetMeta(name="BTC", szDecimals=5, maxLeverage=40), 3)
SENT_MS = 1_700_000_000_000
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
        self.twaps = Twaps(
            act=None,
            rest=None,
            venue_now_ms=lambda: SENT_MS,
            life_ms=5000,
            margin_ms=1000,
            start=None,
            on_problem=lambda code, text: self.problems.append(code),
        )

    def order(self, lots=1000, minutes=5, side=TradeType.BUY):
        order = TwapOrder(BTC, side, lots, minutes, False, False)
        order.sent_ms, order.expiry_ms = SENT_MS, SENT_MS + 5000
        self.twaps.orders.append(order)
        return order


def row(status="activated", twap_id=7, **terms):
    state = {"coin": "BTC", "side": "B", "sz": "0.01", "minutes": 5, "timestamp": SENT_MS + 50, "user": "0x00"}
    return {"time": 1, "state": state | terms, "status": {"status": status}, "twapId": twap_id}


def history(*rows):
    return json.dumps(rows).encode()


def fill(tid=1, twap_id=7, px="64000.0", sz="0.001"):
    return FillRow(coin="BTC", px=px, sz=sz, side="B", time=SENT_MS, oid=5, tid=tid, twapId=twap_id)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_understood_or_leaves_the_fate_open(body):
    with suppress(VenueRejected, TransportError):
        assert isinstance(parse_twap_reply(body), int)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_history_is_taken_or_counted_as_malformed(body):
    desk = Desk()
    order = desk.order()
    desk.twaps.take_history(body)
    assert order.state is TwapState.UNKNOWN


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
    assert (order.state, order.twap_id) == (TwapState.UNKNOWN, 0)


def test_two_alike_whose_answers_were_lost_get_a_number_each():
    desk = Desk()
    orders = [desk.order(), desk.order()]
    desk.twaps.take_history(history(row(twap_id=7), row(twap_id=8), row("finished", twap_id=7)))
    assert sorted(order.twap_id for order in orders) == [7, 8]
    assert [order.state for order in orders] == [TwapState.FINISHED, TwapState.RUNNING]


def test_fills_that_come_before_the_number_are_added_once_it_is_known():
    desk = Desk()
    order = desk.order()
    for tid in (1, 2, 2):
        desk.twaps.take_fill(fill(tid))
    desk.twaps.take_fill(fill(3, twap_id=99))
    desk.twaps.take_history(history(row()))
    desk.twaps.take_fill(fill(1))
    assert (order.fill_count, order.filled_amount, order.average_price) == (2, 0.002, 64000.0)
    assert order.started.result(0) == 7


def test_what_is_final_stays_and_an_unknown_status_is_reported():
    desk = Desk()
    order = desk.order()
    desk.twaps.take_history(history(row("paused"), row()))
    assert desk.problems == ["unknown_status"]
    desk.twaps.take_history(history(row("terminated"), row("activated")))
    assert order.ended.result(0) is TwapState.TERMINATED
    desk.twaps.take_history(history(row("finished")))
    assert order.state is TwapState.TERMINATED
