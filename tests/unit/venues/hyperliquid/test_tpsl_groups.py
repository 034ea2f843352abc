"""Take-profit and stop groups: legs wait for their parent, follow what it filled, and end each other."""

from __future__ import annotations

import pytest

CLOIDS = ["0x" + f"{n:02x}" * 16 for n in range(1, 4)]


@pytest.fixture
def trader(desk):
    """Somebody flat, a book around 64000 and a mark of 64000."""
    maker = desk.trader()
    for side, price in (("buy", "63990"), ("buy", "60000"), ("sell", "64010"), ("sell", "68000")):
        assert "resting" in maker.order("BTC", side, "1", price)
    return desk.trader()


def leg(wire, side, trigger_price, tpsl, cloid, size="0.5", reduce_only=True):
    """One leg, at market."""
    limit = "50000" if side == "sell" else "80000"
    kind = {"trigger": {"isMarket": True, "triggerPx": trigger_price, "tpsl": tpsl}}
    return {**wire("BTC", side, size, limit, reduce_only=reduce_only, cloid=cloid), "t": kind}


def bracket(wire, price="64010", tif="Gtc", size="0.5"):
    """A long entry with a take-profit at 65000 and a stop at 63000."""
    parent = wire("BTC", "buy", size, price, tif, cloid=CLOIDS[0])
    return [parent, leg(wire, "sell", "65000", "tp", CLOIDS[1]), leg(wire, "sell", "63000", "sl", CLOIDS[2])]


def send(trader, orders, grouping="normalTpsl"):
    """Place a group and return its statuses."""
    reply = trader.act({"type": "order", "orders": orders, "grouping": grouping})
    assert reply["status"] == "ok", reply
    return reply["response"]["data"]["statuses"]


def states(trader):
    """The status of parent, take-profit and stop."""
    found = [trader.info("orderStatus", oid=cloid) for cloid in CLOIDS]
    return [row["order"]["status"] if row["status"] == "order" else None for row in found]


def sizes(trader):
    """The open size of take-profit and stop."""
    return [trader.info("orderStatus", oid=cloid)["order"]["order"]["sz"] for cloid in CLOIDS[1:]]


def test_legs_of_a_filled_parent_are_armed_at_once(trader, wire):
    filled, *legs = send(trader, bracket(wire))
    assert filled["filled"]["totalSz"] == "0.5"
    assert legs == ["waitingForTrigger", "waitingForTrigger"]
    assert states(trader) == ["filled", "open", "open"]


def test_legs_of_a_resting_parent_wait_and_are_listed_in_it_and_beside_it(desk, trader, wire):
    statuses = send(trader, bracket(wire, "63500"))
    assert "resting" in statuses[0]
    assert statuses[1:] == ["waitingForFill", "waitingForFill"]
    stop, take, parent = trader.info("frontendOpenOrders")
    assert [row["orderType"] for row in (parent, take, stop)] == ["Limit", "Take Profit Market", "Stop Market"]
    assert parent["children"] == [take, stop]
    assert parent["oid"] < take["oid"] < stop["oid"]
    assert [row["oid"] for row in trader.info("openOrders")] == [stop["oid"], take["oid"], parent["oid"]]


def test_waiting_legs_do_not_fire_and_are_armed_when_the_parent_fills(desk, trader, wire):
    send(trader, bracket(wire, "63500"))
    desk.venue.set_price("BTC", "65500")
    assert states(trader) == ["open", "open", "open"]
    desk.venue.set_price("BTC", "64000")
    desk.trader().order("BTC", "sell", "1.2", "63500", "Ioc")
    assert states(trader) == ["open", "open", "open"], "a part of the parent is not enough"
    desk.trader().order("BTC", "sell", "0.3", "63500", "Ioc")
    assert states(trader) == ["filled", "open", "open"]
    assert trader.info("frontendOpenOrders")[0]["children"] == []
    desk.venue.set_price("BTC", "65500")
    assert states(trader) == ["filled", "filled", "siblingFilledCanceled"]


def test_a_leg_that_the_mark_has_passed_meanwhile_fires_when_the_parent_fills(desk, trader, wire):
    send(trader, bracket(wire, "63500"))
    desk.venue.set_price("BTC", "62900")
    assert states(trader) == ["open", "open", "open"]
    desk.trader().order("BTC", "sell", "1.5", "63500", "Ioc")
    assert states(trader) == ["filled", "siblingFilledCanceled", "filled"]


@pytest.mark.parametrize(("price", "fired", "ended"), [("65000", 1, 2), ("63000", 2, 1)], ids=["profit", "stop"])
def test_a_leg_that_fills_ends_the_other(desk, trader, wire, price, fired, ended):
    send(trader, bracket(wire))
    desk.venue.set_price("BTC", price)
    found = states(trader)
    assert (found[fired], found[ended]) == ("filled", "siblingFilledCanceled")
    assert trader.info("openOrders") == []
    assert trader.info("clearinghouseState")["assetPositions"] == []


def test_a_parent_cancelled_in_part_takes_its_legs_with_it(desk, trader, wire):
    statuses = send(trader, bracket(wire, "63995"))
    desk.trader().order("BTC", "sell", "0.2", "63995", "Ioc")
    oids = [row["oid"] for row in reversed(trader.info("openOrders"))]
    assert oids[0] == statuses[0]["resting"]["oid"]
    reply = trader.act({"type": "cancel", "cancels": [{"a": 0, "o": oid} for oid in oids]})
    first, *others = reply["response"]["data"]["statuses"]
    assert first == "success"
    assert all(other["error"].startswith("Order was never placed") for other in others)
    assert states(trader) == ["canceled", "canceled", "canceled"]


def test_a_modified_parent_takes_its_legs_with_it(trader, wire):
    oid = send(trader, bracket(wire, "63500"))[0]["resting"]["oid"]
    order = wire("BTC", "buy", "0.5", "63501")
    assert (
        "resting"
        in trader.act({"type": "batchModify", "modifies": [{"oid": oid, "order": order}]})["response"]["data"][
            "statuses"
        ][0]
    )
    assert states(trader) == ["canceled", "canceled", "canceled"]


def test_a_parent_that_margin_ends_in_part_leaves_legs_of_what_it_filled(desk, trader, wire):
    send(trader, bracket(wire, "63995"))
    desk.trader().order("BTC", "sell", "0.2", "63995", "Ioc")
    desk.venue.state.deposit(trader.account, -99_300_000_000)
    desk.trader().order("BTC", "sell", "0.2", "63995", "Ioc")
    assert states(trader) == ["marginCanceled", "open", "open"]
    assert sizes(trader) == ["0.2", "0.2"]
    desk.venue.set_price("BTC", "63000")
    assert states(trader) == ["marginCanceled", "siblingFilledCanceled", "filled"]


def test_a_parent_that_takes_only_a_part_leaves_legs_of_that_part(desk, trader, wire):
    desk.trader().order("BTC", "buy", "0.7", "64010", "Ioc")
    statuses = send(trader, bracket(wire, tif="Ioc"))
    assert statuses[0]["filled"]["totalSz"] == "0.3"
    assert statuses[1:] == ["waitingForTrigger", "waitingForTrigger"]
    assert sizes(trader) == ["0.3", "0.3"]


def test_legs_of_a_parent_that_only_closed_a_position_have_nothing_to_protect(desk, trader, wire):
    trader.order("BTC", "sell", "0.5", "63990", "Ioc")
    filled, *legs = send(trader, bracket(wire))
    assert filled["filled"]["totalSz"] == "0.5"
    assert legs == [{"error": "Reduce only order would increase position. asset=0"}] * 2


def test_legs_of_a_resting_parent_that_only_closes_a_position_end_when_it_fills(desk, trader, wire):
    trader.order("BTC", "sell", "0.5", "63990", "Ioc")
    send(trader, bracket(wire, "63500"))
    desk.trader().order("BTC", "sell", "1", "63500", "Ioc")
    assert states(trader) == ["filled", "reduceOnlyCanceled", "reduceOnlyCanceled"]


def test_a_refused_parent_is_one_status_for_all(trader, wire):
    assert send(trader, bracket(wire, "63000.5")) == [{"error": "Price must be divisible by tick size. asset=0"}]
    assert trader.info("openOrders") == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"r": False}, "Trigger order is not reduce only."),
        ({"b": True}, "Trigger order has unexpected side."),
        ({"t": {"limit": {"tif": "Gtc"}}}, "Trigger order is not reduce only."),
    ],
    ids=["not reduce-only", "same side", "no trigger"],
)
def test_an_impossible_leg_refuses_the_whole_group_in_one_status(trader, wire, change, text):
    parent, take, stop = bracket(wire)
    assert send(trader, [parent, take, {**stop, **change}]) == [{"error": f"{text} asset=0"}]
    assert trader.info("historicalOrders") == []


def test_a_leg_with_a_bad_trigger_price_is_refused_alone(trader, wire):
    parent, take, _ = bracket(wire, "63500")
    statuses = send(trader, [parent, take, leg(wire, "sell", "63600", "sl", CLOIDS[2])])
    assert statuses[1] == "waitingForFill"
    assert statuses[2] == {"error": "Invalid TP/SL price. asset=0"}
    assert states(trader) == ["open", "open", "badTriggerPxRejected"]


def test_a_bracket_around_a_stop_entry_arms_its_legs_when_the_entry_has_filled(desk, trader, wire):
    parent, *legs = bracket(wire)
    legs = [leg(wire, "sell", "67000", "tp", CLOIDS[1]), leg(wire, "sell", "63500", "sl", CLOIDS[2])]
    entry = {**parent, "p": "66000", "t": {"trigger": {"isMarket": True, "triggerPx": "64500", "tpsl": "sl"}}}
    assert send(trader, [entry, *legs]) == ["waitingForTrigger", "waitingForFill", "waitingForFill"]
    desk.venue.set_price("BTC", "64500")
    assert states(trader) == ["filled", "open", "open"]
    desk.venue.set_price("BTC", "63500")
    assert states(trader) == ["filled", "siblingFilledCanceled", "filled"]


def test_a_scheduled_cancel_ends_parent_and_legs_alike(make_desk, wire):
    desk = make_desk(schedule_cancel_volume=0)
    trader = desk.trader()
    send(trader, bracket(wire, "63500"))
    trader.act({"type": "scheduleCancel", "time": desk.venue.clock.now_ms() + 5_000})
    desk.venue.clock.advance(5_000)
    desk.venue.tick()
    assert states(trader) == ["scheduledCancel"] * 3


# -- positionTpsl ------------------------------------------------------------------------------------------------------


def protect(trader, wire, size="0"):
    """A long of half a coin with a take-profit and a stop on the position."""
    trader.order("BTC", "buy", "0.5", "64010", "Ioc")
    orders = [leg(wire, "sell", "65000", "tp", CLOIDS[1], size), leg(wire, "sell", "63000", "sl", CLOIDS[2], size)]
    assert send(trader, orders, "positionTpsl") == ["waitingForTrigger", "waitingForTrigger"]


def test_position_legs_of_size_zero_are_listed_so(trader, wire):
    protect(trader, wire)
    row = trader.info("frontendOpenOrders")[0]
    assert (row["sz"], row["origSz"], row["isPositionTpsl"], row["reduceOnly"]) == ("0.0", "0.0", True, True)


@pytest.mark.parametrize(("side", "left"), [("buy", "0.7"), ("sell", "0.3")], ids=["grown", "shrunk"])
def test_position_legs_close_whatever_the_position_has_become(desk, trader, wire, side, left):
    protect(trader, wire)
    trader.order("BTC", side, "0.2", "64010" if side == "buy" else "63990", "Ioc")
    desk.venue.set_price("BTC", "63000")
    assert trader.info("userFills")[0]["sz"] == left
    assert states(trader)[1:] == ["siblingFilledCanceled", "filled"]
    assert trader.info("clearinghouseState")["assetPositions"] == []


def test_position_legs_of_a_given_size_close_just_that(desk, trader, wire):
    protect(trader, wire, "0.2")
    desk.venue.set_price("BTC", "63000")
    assert trader.info("userFills")[0]["sz"] == "0.2"
    assert trader.info("clearinghouseState")["assetPositions"][0]["position"]["szi"] == "0.3"


def test_position_legs_placed_one_by_one_end_each_other(desk, trader, wire):
    trader.order("BTC", "buy", "0.5", "64010", "Ioc")
    for name, price, cloid in (("tp", "65000", CLOIDS[1]), ("sl", "63000", CLOIDS[2])):
        assert send(trader, [leg(wire, "sell", price, name, cloid, "0")], "positionTpsl") == ["waitingForTrigger"]
    desk.venue.set_price("BTC", "65000")
    assert states(trader)[1:] == ["filled", "siblingFilledCanceled"]


def test_position_legs_end_with_the_position(trader, wire):
    protect(trader, wire)
    trader.order("BTC", "sell", "0.5", "63990", "Ioc")
    assert states(trader)[1:] == ["reduceOnlyCanceled", "reduceOnlyCanceled"]


def test_position_legs_need_a_position_to_reduce(trader, wire):
    orders = [leg(wire, "sell", "65000", "tp", CLOIDS[1], "0")]
    assert send(trader, orders, "positionTpsl") == [{"error": "Reduce only order would increase position. asset=0"}]


def test_a_paid_priority_is_refused_for_want_of_a_stake(trader, wire):
    action = {"type": "order", "orders": [wire("BTC", "buy", "0.5", "64010", "Ioc")], "grouping": {"p": 5}}
    assert trader.act(action) == {"status": "err", "response": "Insufficient delegatable balance for priority order"}
