"""Recorded messages decode, malformed ones are told apart row by row, and unknown keys do no harm."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.decimal_text import decimal_units
from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.statuses import order_state
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.types import OrderState


def unexpected(text):
    pytest.fail(f"reported as malformed: {text}")


@pytest.fixture(scope="module")
def payloads(reference):
    return reference / "payloads" / "hyperliquid"


def frames(payloads, name):
    for row in json.loads((payloads / name).read_text()):
        yield row["name"], messages.ENVELOPE.decode(row["raw"])


def test_recorded_market_messages_decode(payloads):
    found = {}
    for _, envelope in frames(payloads, "ws_market_messages_2026.json"):
        found[envelope.channel] = envelope.data
    book = messages.L2_BOOK.decode(found["l2Book"])
    assert (book.coin, book.levels[0][0].px, book.levels[1][19].sz) == ("BTC", 111065.0, 5.18286)
    bbo = messages.BBO.decode(found["bbo"])
    assert (bbo.bbo[0].px, bbo.bbo[1].sz) == (128.5, 18.7)
    context = messages.ACTIVE_ASSET_CONTEXT.decode(found["activeAssetCtx"])
    assert (context.coin, context.ctx.funding, context.ctx.oraclePx, context.ctx.midPx) == (
        "SOL",
        0.0000125,
        128.41,
        128.48,
    )


def test_recorded_account_messages_decode(payloads):
    statuses = []
    for name, envelope in frames(payloads, "ws_account_messages_2026.json"):
        if envelope.channel == "orderUpdates":
            rows = messages.ORDER_STATUS_ROWS.decode(envelope.data, unexpected)
            assert rows, name
            statuses += [row.status for row in rows]
        elif envelope.channel == "userFills":
            push = messages.USER_FILLS.decode(envelope.data)
            fills = messages.FILL_ROWS.decode_each(push.fills, unexpected)
            assert push.isSnapshot
            assert {fill.coin for fill in fills} == {"BTC", "@151", "xyz:SILVER"}
            assert sum(fill.tid == 0 for fill in fills) == 1
            assert [fill.oid for fill in fills if fill.liquidation] == [308800014194]
    assert [order_state(status) for status in statuses] == [
        OrderState.OPEN,
        OrderState.OPEN,
        OrderState.FILLED,
        OrderState.FAILED,
        OrderState.CANCELLED,
    ]


def test_recorded_control_and_post_messages_decode(payloads):
    channels = []
    for _, envelope in frames(payloads, "ws_control_and_post_2026.json"):
        channels.append(envelope.channel)
        if envelope.channel == "post":
            assert messages.POST_REPLY.decode(envelope.data).response.type == "action"
        elif envelope.channel == "subscriptionResponse":
            assert messages.SUBSCRIPTION_RESPONSE.decode(envelope.data).subscription["coin"] == "SOL"
    assert set(channels) == {"subscriptionResponse", "error", "pong", "post"}


@pytest.mark.parametrize(
    "name",
    [
        "http_userFills_2023_first160.json",
        "http_userFills_dust_conversion_2026.json",
        "http_userFills_hip3_liquidation_2026.json",
    ],
)
def test_recorded_fills_of_every_schema_decode_exactly(payloads, name):
    body = (payloads / name).read_bytes()
    fills = messages.FILL_ROWS.decode(body, unexpected)
    rows = json.loads(body)
    assert len(fills) == len(rows)
    for fill, row in zip(fills, rows, strict=True):
        assert (fill.coin, fill.px, fill.sz, fill.oid, fill.fee) == tuple(
            row[k] for k in ("coin", "px", "sz", "oid", "fee")
        )
        assert isinstance(decimal_units(fill.fee, 8), int)


@pytest.mark.parametrize(
    "name",
    ["http_openOrders_196_2023.json", "http_openOrders_cloid_2026.json", "http_frontendOpenOrders_tpsl_2023.json"],
)
def test_recorded_open_orders_of_every_schema_decode(payloads, name):
    body = (payloads / name).read_bytes()
    orders = messages.ORDER_ROWS.decode(body, unexpected)
    assert [order.oid for order in orders] == [row["oid"] for row in json.loads(body)]


def test_triggers_are_told_from_limits(payloads):
    body = (payloads / "http_frontendOpenOrders_tpsl_2023.json").read_bytes()
    kinds = [(row.orderType, row.isTrigger, row.tif) for row in messages.ORDER_ROWS.decode(body, unexpected)]
    assert kinds == [("Take Profit Market", True, None), ("Stop Market", True, None), ("Limit", False, "Gtc")]


@pytest.mark.parametrize(
    ("name", "positions"),
    [("http_clearinghouseState_one_cross_2026.json", 1), ("http_clearinghouseState_12_positions_2023.json", 12)],
)
def test_recorded_account_states_decode(payloads, name, positions):
    state = messages.CLEARINGHOUSE_STATE.decode((payloads / name).read_bytes())
    assert len(state.assetPositions) == positions
    assert float(state.marginSummary.accountValue) > 0


def test_other_recorded_answers_decode(payloads):
    assert messages.USER_ROLE.decode((payloads / "http_userRole_vault.json").read_bytes()).role == "vault"
    spot = messages.SPOT_CLEARINGHOUSE_STATE.decode((payloads / "http_spotClearinghouseState_2026.json").read_bytes())
    assert [balance.coin for balance in spot.balances] == ["USDC", "USDH"]


def test_a_negative_raw_balance_is_understood():
    summary = '{"accountValue":"10.0","totalMarginUsed":"5.0","totalNtlPos":"100.0","totalRawUsd":"-90.0"}'
    text = f'{{"marginSummary":{summary},"crossMarginSummary":{summary},"assetPositions":[],"time":1}}'
    assert messages.CLEARINGHOUSE_STATE.decode(text).marginSummary.totalRawUsd == "-90.0"


def test_an_unknown_order_is_an_answer_without_a_row():
    reply = messages.ORDER_STATUS_REPLY.decode(b'{"status":"unknownOid"}')
    assert (reply.status, reply.order) == ("unknownOid", None)


def test_unknown_keys_and_directions_do_no_harm():
    body = b'[{"coin":"BTC","px":"1","sz":"2","side":"B","time":3,"oid":4,"tid":5,"dir":"Teleported","new":{"a":[1]}}]'
    assert messages.FILL_ROWS.decode(body, unexpected)[0].dir == "Teleported"


def test_a_malformed_row_does_not_take_the_others_with_it():
    good = '{"coin":"BTC","px":"1","sz":"2","side":"B","time":3,"oid":%d}'
    problems = []
    rows = messages.FILL_ROWS.decode(f"[{good % 1},{{}},17,{good % 2}]".encode(), problems.append)
    assert [row.oid for row in rows] == [1, 2]
    assert len(problems) == 2


def test_large_and_textual_order_numbers_are_kept():
    body = b'[{"coin":"BTC","px":"1","sz":"2","side":"B","time":3,"oid":"59534923953","tid":1125899906842623}]'
    fill = messages.FILL_ROWS.decode(body, unexpected)[0]
    assert (fill.oid, fill.tid) == (59534923953, 1125899906842623)


DECODERS = [
    messages.ENVELOPE,
    messages.BBO,
    messages.L2_BOOK,
    messages.ACTIVE_ASSET_CONTEXT,
    messages.USER_FILLS,
    messages.ORDER_STATUS_REPLY,
    messages.CLEARINGHOUSE_STATE,
    messages.META,
    messages.POST_REPLY,
    messages.SUBSCRIPTION_RESPONSE,
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["coin", "time", "bbo", "levels", "px", "data", "channel", "universe", "fills"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=100) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_a_decoder_raise_anything_but_malformed(body):
    for decoder in DECODERS:
        with contextlib.suppress(*MalformedMessage):
            decoder.decode(body)
    with contextlib.suppress(*MalformedMessage):
        messages.FILL_ROWS.decode(body, lambda text: None)
