"""Cancels and modifies: what they answer, and what is left on the book."""

from __future__ import annotations

import pytest

NEVER = "Order was never placed, already canceled, or filled. asset=0"
CLOID = "0x" + "0c" * 16


@pytest.fixture
def trader(desk):
    desk.rest_both_sides(desk.trader())
    return desk.trader()


def modify(trader, oid, wire, always=None):
    """Send one modify."""
    action = {"type": "modify", "oid": oid, "order": wire}
    return trader.act({**action, "a": always} if always is not None else action)


def batch_modify(trader, *pairs):
    """Send a batch of modifies and return its statuses."""
    action = {"type": "batchModify", "modifies": [{"oid": oid, "order": wire} for oid, wire in pairs]}
    return trader.act(action)["response"]["data"]["statuses"]


def test_a_cancel_ends_the_order_and_a_second_one_finds_nothing(trader):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    assert trader.cancel("BTC", oid) == "success"
    assert trader.cancel("BTC", oid) == {"error": NEVER}
    assert trader.status_of(oid) == "canceled"
    assert trader.info("orderStatus", oid=oid)["order"]["order"]["sz"] == "0.01"


def test_a_cancel_of_the_right_order_on_the_wrong_asset_finds_nothing(trader):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    assert trader.cancel("ETH", oid) == {"error": NEVER.replace("asset=0", "asset=1")}
    assert trader.status_of(oid) == "open"


def test_a_cancel_of_somebody_elses_order_finds_nothing(desk, trader):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    assert desk.trader().cancel("BTC", oid) == {"error": NEVER}


def test_a_cancel_by_client_id_takes_either_case(trader):
    trader.order("BTC", "buy", "0.01", "60000", cloid=CLOID)
    reply = trader.act({"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": CLOID.upper().replace("X", "x")}]})
    assert reply == {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success"]}}}


def test_a_batch_of_cancels_answers_each_in_order(trader):
    oids = [trader.order("BTC", "buy", "0.01", price)["resting"]["oid"] for price in ("60000", "60001")]
    cancels = [{"a": 0, "o": oid} for oid in (oids[0], 12345, oids[1])]
    reply = trader.act({"type": "cancel", "cancels": cancels, "f": True})
    assert reply["response"]["data"]["statuses"] == ["success", {"error": NEVER}, "success"]


def test_a_modify_gives_a_new_id_keeps_the_client_id_and_ends_the_old_order(trader, wire):
    old = trader.order("BTC", "buy", "0.01", "60000", cloid=CLOID)["resting"]["oid"]
    (status,) = batch_modify(trader, (old, wire("BTC", "buy", "0.02", "60001", cloid=CLOID)))
    new = status["resting"]["oid"]
    assert new != old
    assert trader.status_of(old) == "canceled"
    assert [(row["oid"], row["sz"], row["cloid"]) for row in trader.info("openOrders")] == [(new, "0.02", CLOID)]


def test_a_modify_cannot_take_the_client_id_of_another_live_order(trader, wire):
    other = "0x" + "0d" * 16
    trader.order("BTC", "buy", "0.01", "59000", cloid=other)
    oid = trader.order("BTC", "buy", "0.01", "60000", cloid=CLOID)["resting"]["oid"]
    (status,) = batch_modify(trader, (oid, wire("BTC", "buy", "0.02", "60001", cloid=other)))
    assert status == {"error": "Client order id is in use by a live order. asset=0"}
    assert trader.status_of(oid) == "open"


def test_a_single_modify_answers_default(trader, wire):
    trader.order("BTC", "buy", "0.01", "60000", cloid=CLOID)
    assert modify(trader, CLOID, wire("BTC", "buy", "0.02", "60001")) == {
        "status": "ok",
        "response": {"type": "default"},
    }


def test_a_modify_of_a_finished_order_is_refused(trader, wire):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    trader.cancel("BTC", oid)
    replacement = wire("BTC", "buy", "0.02", "60001")
    text = "Cannot modify canceled or filled order"
    assert modify(trader, oid, replacement) == {"status": "err", "response": text}
    assert batch_modify(trader, (oid, replacement)) == [{"error": text}]


@pytest.mark.parametrize(
    "change",
    [
        ("BTC", "sell", "0.01", "66000"),
        ("ETH", "buy", "0.1", "3000"),
        ("BTC", "buy", "0.01", "64010"),
        ("BTC", "buy", "0.01", "60001", "Ioc"),
    ],
    ids=["other side", "other market", "would trade", "takes"],
)
def test_an_invalid_replacement_leaves_the_order_alone(trader, wire, change):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    assert batch_modify(trader, (oid, wire(*change))) == [{"error": "Attempted to modify to invalid new order"}]
    assert trader.status_of(oid) == "open"


def test_a_replacement_that_breaks_a_rule_leaves_the_order_alone(trader, wire):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    (status,) = batch_modify(trader, (oid, wire("BTC", "buy", "0.0001", "60001")))
    assert status == {"error": "Order must have minimum value of $10. asset=0"}
    assert trader.status_of(oid) == "open"


def test_a_post_only_replacement_that_would_trade_loses_the_order(trader, wire):
    oid = trader.order("BTC", "buy", "0.01", "60000", "Alo")["resting"]["oid"]
    (status,) = batch_modify(trader, (oid, wire("BTC", "buy", "0.01", "64010", "Alo")))
    assert status["error"].startswith("Post only order would have immediately matched")
    assert trader.status_of(oid) == "canceled"
    assert trader.info("openOrders") == []


def test_always_place_replaces_even_what_is_gone_and_may_trade(trader, wire):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    trader.cancel("BTC", oid)
    assert modify(trader, oid, wire("BTC", "buy", "0.01", "64010"), always=True)["status"] == "ok"
    assert [fill["sz"] for fill in trader.info("userFills")] == ["0.01"]


def test_a_scheduled_cancel_needs_volume_and_then_cancels_everything(make_desk):
    desk = make_desk(schedule_cancel_volume=0)
    trader = desk.trader()
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    now = desk.venue.clock.now_ms()
    assert trader.act({"type": "scheduleCancel", "time": now + 4_999})["status"] == "err"
    assert trader.act({"type": "scheduleCancel", "time": now + 6_000})["status"] == "ok"
    desk.venue.clock.advance(5_999)
    desk.venue.tick()
    assert trader.status_of(oid) == "open"
    desk.venue.clock.advance(1)
    desk.venue.tick()
    assert trader.status_of(oid) == "scheduledCancel"


def test_a_scheduled_cancel_without_volume_names_what_was_traded(trader):
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    assert trader.act({"type": "scheduleCancel"}) == {
        "status": "err",
        "response": "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $640.1.",
    }
