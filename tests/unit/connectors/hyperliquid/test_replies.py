"""Every form of reply is understood, and what is not understood leaves the order's fate open."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.hyperliquid.replies import (
    ActionRefused,
    ItemStatus,
    Outcome,
    UnexpectedReply,
    parse_reply,
)


def order_reply(*statuses):
    return json.dumps({"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}).encode()


def test_each_status_form_is_read_in_request_order():
    body = order_reply(
        {"resting": {"oid": 311642020084, "cloid": "0x00"}},
        {"filled": {"totalSz": "0.00015", "avgPx": "79449.2", "oid": 59534788967}},
        {"error": "Order has zero size."},
        "waitingForTrigger",
        "waitingForFill",
        "success",
    )
    assert parse_reply(body, 6) == [
        ItemStatus(Outcome.RESTING, 311642020084),
        ItemStatus(Outcome.FILLED, 59534788967, "0.00015"),
        ItemStatus(Outcome.ERROR, text="Order has zero size."),
        ItemStatus(Outcome.WAITING, text="waitingForTrigger"),
        ItemStatus(Outcome.WAITING, text="waitingForFill"),
        ItemStatus(Outcome.SUCCESS),
    ]


def test_one_error_for_many_orders_is_the_error_of_each():
    found = parse_reply(order_reply({"error": "Price must be divisible by tick size. asset=3"}), 3)
    assert [status.outcome for status in found] == [Outcome.ERROR] * 3


def test_one_success_for_many_orders_says_nothing():
    with pytest.raises(UnexpectedReply, match="1 statuses for 3"):
        parse_reply(order_reply({"resting": {"oid": 1}}), 3)


def test_an_err_reply_carries_the_venues_text():
    body = b'{"status":"err","response":"Cannot switch leverage type with open position."}'
    with pytest.raises(ActionRefused, match="Cannot switch leverage type"):
        parse_reply(body, 1)


def test_an_err_reply_that_is_not_text_is_still_a_refusal():
    with pytest.raises(ActionRefused, match="code"):
        parse_reply(b'{"status":"err","response":{"code":1}}', 1)


def test_a_default_reply_needs_no_statuses():
    assert parse_reply(b'{"status":"ok","response":{"type":"default"}}', 0) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>502 Bad Gateway</html>",
        b'{"status":"ok"}',
        b'{"status":"maybe","response":null}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[]}}}',
        b'{"status":"ok","response":{"type":"default"}}',
    ],
)
def test_a_body_that_is_no_answer_is_told_apart_from_a_refusal(body):
    with pytest.raises(UnexpectedReply):
        parse_reply(body, 1)


@pytest.mark.parametrize("status", ['"newWord"', '{"parked":{"oid":3}}', "17", "null", '{"resting":{}}'])
def test_a_status_form_that_is_not_known_leaves_the_order_unknown(status):
    body = b'{"status":"ok","response":{"type":"order","data":{"statuses":[%s]}}}' % status.encode()
    assert parse_reply(body, 1)[0].outcome is Outcome.UNKNOWN


@given(st.binary(max_size=200), st.integers(0, 3))
def test_no_bytes_raise_anything_else(body, count):
    with contextlib.suppress(ActionRefused, UnexpectedReply):
        parse_reply(body, count)


def test_recorded_replies_are_understood(reference):
    folder = reference / "payloads" / "hyperliquid"
    rows = json.loads((folder / "http_exchange_responses_2026.json").read_text())
    rows += json.loads((folder / "http_exchange_responses_testnet_2026-09.json").read_text())
    for row in rows:
        response = json.loads(row["raw"])["response"]
        kind = response["type"] if isinstance(response, dict) else "refused"
        if kind == "refused":
            with pytest.raises(ActionRefused) as refused:
                parse_reply(row["raw"].encode(), 1)
            assert str(refused.value) == response, row
            continue
        found = parse_reply(row["raw"].encode(), 0 if kind == "default" else 1)
        assert all(status.outcome is not Outcome.UNKNOWN for status in found), row


def twap_reply(status, kind="twapOrder"):
    return json.dumps({"status": "ok", "response": {"type": kind, "data": {"status": status}}}).encode()


def test_a_twap_is_running_ended_or_refused():
    assert parse_reply(twap_reply({"running": {"twapId": 77738308}}), 1) == [ItemStatus(Outcome.RUNNING, 77738308)]
    assert parse_reply(twap_reply("success", "twapCancel"), 1) == [ItemStatus(Outcome.SUCCESS)]
    text = "Invalid TWAP duration: 1 min(s)"
    assert parse_reply(twap_reply({"error": text}), 1) == [ItemStatus(Outcome.ERROR, text=text)]
    with pytest.raises(ActionRefused, match="Must deposit"):
        parse_reply(b'{"status":"err","response":"Must deposit before performing actions."}', 1)


@pytest.mark.parametrize("status", [{}, None, "later", [1], {"running": {}}, {"running": {"twapId": "many"}}])
def test_a_status_of_a_twap_that_is_not_known_leaves_its_fate_open(status):
    assert parse_reply(twap_reply(status), 1)[0].outcome is Outcome.UNKNOWN
