"""The official client, unmodified, places stops, take-profits and groups, and is told over its socket what they do."""

from __future__ import annotations

import pytest
from support.venue_sdk import SdkTrader, control, eventually, order_request

from latentspeed.tools.venues.hyperliquid.process import venue_process

ENTRY, TAKE, STOP = ("0x" + digit * 32 for digit in "abc")


@pytest.fixture(scope="module", params=["0", "20"], ids=["at once", "in blocks"])
def venue(request):
    with venue_process("--seed", "7", "--block-ms", request.param) as running:
        yield running


@pytest.fixture
def trader(venue):
    control(venue, "set_price", coin="ETH", price="3000")
    trader = SdkTrader(venue)
    yield trader
    trader.close()


def move(trader, price):
    control(trader.venue, "set_price", coin="ETH", price=price)


def leg(tpsl, trigger_price, cloid, size=0.5, *, is_market=True, price=None):
    price = price or (2_000 if is_market else trigger_price)
    return order_request("ETH", False, size, price, (tpsl, trigger_price, is_market), cloid=cloid, reduce=True)


def test_a_stop_fires_when_the_mark_gets_there(trader):
    trader.exchange.market_open("ETH", True, 0.5)
    assert trader.place([leg("sl", 2_900, STOP)]) == ["waitingForTrigger"]
    (row,) = trader.info.frontend_open_orders(trader.user)
    assert (row["orderType"], row["triggerCondition"], row["tif"]) == ("Stop Market", "Price below 2900", None)
    assert trader.info.open_orders(trader.user)[0]["reduceOnly"] is True
    move(trader, "2890")
    trader.told(STOP, "open", "triggered", "filled")
    assert trader.position("ETH") is None
    fill = trader.info.user_fills(trader.user)[0]
    assert (fill["oid"], fill["dir"], fill["cloid"]) == (row["oid"], "Close Long", STOP)
    eventually(lambda: any(f["oid"] == row["oid"] for data in trader.of("userFills") for f in data["fills"]))


def test_a_limit_take_profit_that_fires_out_of_reach_rests(trader):
    trader.exchange.market_open("ETH", True, 0.5)
    assert trader.place([leg("tp", 3_100, TAKE, is_market=False, price=3_300)]) == ["waitingForTrigger"]
    move(trader, "3150")
    trader.told(TAKE, "open", "triggered")
    (row,) = trader.info.frontend_open_orders(trader.user)
    assert (row["triggerCondition"], row["limitPx"]) == ("Triggered", "3300.0")
    move(trader, "3400")
    eventually(lambda: trader.status(TAKE) == "filled")
    eventually(lambda: trader.updates(TAKE)[-1] == "filled")


def test_a_trigger_on_the_wrong_side_of_the_mark_is_refused(trader):
    trader.exchange.market_open("ETH", True, 0.5)
    assert trader.place([leg("sl", 3_100, STOP)]) == [{"error": "Invalid TP/SL price. asset=1"}]
    trader.told(STOP, "badTriggerPxRejected")


@pytest.mark.parametrize(("price", "fills", "ends"), [("3150", TAKE, STOP), ("2850", STOP, TAKE)])
def test_a_market_entry_with_both_legs_ends_by_one_of_them(trader, price, fills, ends):
    entry = order_request("ETH", True, 0.5, 3_200, "Ioc", cloid=ENTRY)
    statuses = trader.place([entry, leg("tp", 3_100, TAKE), leg("sl", 2_900, STOP)], "normalTpsl")
    assert statuses[0]["filled"]["totalSz"] == "0.5"
    assert statuses[1:] == ["waitingForTrigger", "waitingForTrigger"]
    other = trader.order(ends)["order"]["oid"]
    move(trader, price)
    trader.told(fills, "open", "triggered", "filled")
    trader.told(ends, "open", "siblingFilledCanceled")
    eventually(lambda: other in trader.cancelled_by_venue())
    assert trader.position("ETH") is None


def test_a_resting_entry_keeps_its_legs_waiting_until_it_fills(trader):
    entry = order_request("ETH", True, 0.5, 2_950, cloid=ENTRY)
    statuses = trader.place([entry, leg("tp", 3_100, TAKE), leg("sl", 2_900, STOP)], "normalTpsl")
    assert "resting" in statuses[0]
    assert statuses[1:] == ["waitingForFill", "waitingForFill"]
    parent = next(row for row in trader.info.frontend_open_orders(trader.user) if row["cloid"] == ENTRY)
    assert [child["cloid"] for child in parent["children"]] == [TAKE, STOP]
    move(trader, "2930")
    trader.told(ENTRY, "open", "filled")
    assert [trader.status(cloid) for cloid in (TAKE, STOP)] == ["open", "open"]
    move(trader, "2890")
    trader.told(STOP, "open", "triggered", "filled")
    trader.told(TAKE, "open", "siblingFilledCanceled")


def test_cancelling_the_entry_ends_its_legs_so_that_cancelling_them_fails(trader):
    entry = order_request("ETH", True, 0.5, 2_950, cloid=ENTRY)
    trader.place([entry, leg("tp", 3_100, TAKE), leg("sl", 2_900, STOP)], "normalTpsl")
    oids = [trader.order(cloid)["order"]["oid"] for cloid in (ENTRY, TAKE, STOP)]
    reply = trader.exchange.bulk_cancel([{"coin": "ETH", "oid": oid} for oid in oids])
    first, *others = reply["response"]["data"]["statuses"]
    assert first == "success"
    assert others == [{"error": "Order was never placed, already canceled, or filled. asset=1"}] * 2
    trader.told(STOP, "open", "canceled")


def test_legs_on_the_position_close_what_it_has_become(trader):
    trader.exchange.market_open("ETH", True, 0.5)
    statuses = trader.place([leg("tp", 3_100, TAKE, 0), leg("sl", 2_900, STOP, 0)], "positionTpsl")
    assert statuses == ["waitingForTrigger", "waitingForTrigger"]
    row = trader.order(STOP)["order"]
    assert (row["sz"], row["origSz"], row["isPositionTpsl"]) == ("0.0", "0.0", True)
    trader.exchange.market_open("ETH", True, 0.25)
    move(trader, "2890")
    trader.told(STOP, "open", "triggered", "filled")
    trader.told(TAKE, "open", "siblingFilledCanceled")
    assert trader.position("ETH") is None
    sold = [fill for fill in trader.info.user_fills(trader.user) if fill["side"] == "A"]
    assert sum(float(fill["sz"]) for fill in sold) == 0.75


def test_closing_by_hand_ends_the_legs_on_the_position(trader):
    trader.exchange.market_open("ETH", True, 0.5)
    trader.place([leg("tp", 3_100, TAKE, 0), leg("sl", 2_900, STOP, 0)], "positionTpsl")
    trader.exchange.market_close("ETH")
    for cloid in (TAKE, STOP):
        trader.told(cloid, "open", "reduceOnlyCanceled")


def test_a_group_with_a_leg_that_is_not_reduce_only_is_one_error(trader):
    entry = order_request("ETH", True, 0.5, 2_950, cloid=ENTRY)
    bad = {**leg("tp", 3_100, TAKE), "reduce_only": False}
    statuses = trader.place([entry, bad, leg("sl", 2_900, STOP)], "normalTpsl")
    assert statuses == [{"error": "Trigger order is not reduce only. asset=1"}]
    assert trader.info.open_orders(trader.user) == []


def test_the_client_cannot_modify_into_a_trigger_and_the_old_one_stays(trader):
    trader.exchange.market_open("ETH", True, 0.5)
    trader.place([leg("sl", 2_900, STOP)])
    kind = {"trigger": {"isMarket": True, "triggerPx": 2_800, "tpsl": "sl"}}
    oid = trader.order(STOP)["order"]["oid"]
    reply = trader.exchange.modify_order(oid, "ETH", False, 0.5, 2_000, kind, reduce_only=True)
    assert reply["response"]["data"]["statuses"] == [{"error": "Attempted to modify to invalid new order"}]
    assert trader.status(STOP) == "open"
    assert [row["triggerPx"] for row in trader.info.frontend_open_orders(trader.user)] == ["2900.0"]
