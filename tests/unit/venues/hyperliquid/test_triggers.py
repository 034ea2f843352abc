"""Stop and take-profit orders: what they wait for, how they fire, and what clients see of them."""

from __future__ import annotations

import pytest

WAITING = "waitingForTrigger"


@pytest.fixture
def trader(desk):
    """Somebody with a long position of 0.5 BTC at 64010, a book around 64000, and a mark of 64000."""
    maker = desk.trader()
    for side, price in (("buy", "63990"), ("buy", "60000"), ("sell", "64010"), ("sell", "68000")):
        assert "resting" in maker.order("BTC", side, "1", price)
    trader = desk.trader()
    trader.order("BTC", "buy", "0.5", "64010", "Ioc")
    return trader


def trigger(wire, side, price, trigger_price, tpsl, *, market=True, size="0.5", reduce_only=True, cloid=None):
    """One trigger order as it travels."""
    kind = {"trigger": {"isMarket": market, "triggerPx": trigger_price, "tpsl": tpsl}}
    return {**wire("BTC", side, size, price, reduce_only=reduce_only, cloid=cloid), "t": kind}


def history(trader, oid):
    """Every status that an order went through, oldest first."""
    rows = [row for row in trader.info("historicalOrders") if row["order"]["oid"] == oid]
    return [row["status"] for row in reversed(rows)]


def move(desk, price):
    """Move the mark."""
    desk.venue.set_price("BTC", price)


KINDS = [
    ("sell", "sl", "63000", "Price below 63000", "Stop"),
    ("sell", "tp", "65000", "Price above 65000", "Take Profit"),
    ("buy", "sl", "65000", "Price above 65000", "Stop"),
    ("buy", "tp", "63000", "Price below 63000", "Take Profit"),
]


@pytest.mark.parametrize("market", [True, False], ids=["market", "limit"])
@pytest.mark.parametrize(("side", "tpsl", "trigger_price", "condition", "kind"), KINDS, ids=[row[3] for row in KINDS])
def test_an_armed_order_is_listed_with_its_condition(desk, wire, side, tpsl, trigger_price, condition, kind, market):
    trader = desk.trader()
    cloid = "0x" + "0a" * 16
    limit = "58000" if side == "sell" else "70000"
    order = trigger(wire, side, limit, trigger_price, tpsl, market=market, reduce_only=False, cloid=cloid)
    assert trader.orders([order]) == [WAITING]
    (row,) = trader.info("frontendOpenOrders")
    assert row == {
        "coin": "BTC",
        "side": "A" if side == "sell" else "B",
        "limitPx": f"{limit}.0",
        "sz": "0.5",
        "oid": row["oid"],
        "timestamp": row["timestamp"],
        "triggerCondition": condition,
        "isTrigger": True,
        "triggerPx": f"{trigger_price}.0",
        "children": [],
        "isPositionTpsl": False,
        "reduceOnly": False,
        "orderType": f"{kind} {'Market' if market else 'Limit'}",
        "origSz": "0.5",
        "tif": None,
        "cloid": cloid,
    }
    status = trader.info("orderStatus", oid=cloid)["order"]
    assert (status["status"], status["order"]) == ("open", row)


def test_the_short_list_shows_it_as_a_plain_reduce_only_limit(trader, wire):
    assert trader.orders([trigger(wire, "sell", "62000", "63000", "sl")]) == [WAITING]
    (row,) = trader.info("openOrders")
    assert set(row) == {"coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz", "reduceOnly"}
    assert (row["limitPx"], row["reduceOnly"]) == ("62000.0", True)


def test_a_market_stop_fires_on_the_mark_and_closes_the_position(desk, trader, wire):
    trader.orders([trigger(wire, "sell", "58000", "63000", "sl")])
    oid = trader.info("openOrders")[0]["oid"]
    move(desk, "63000.1")
    assert trader.status_of(oid) == "open"
    move(desk, "63000")
    assert history(trader, oid) == ["open", "triggered", "filled"]
    assert trader.info("openOrders") == []
    fill = trader.info("userFills")[0]
    assert (fill["oid"], fill["px"], fill["sz"], fill["dir"]) == (oid, "63990.0", "0.5", "Close Long")
    assert trader.info("clearinghouseState")["assetPositions"] == []


def test_all_that_firing_does_has_one_time(desk, trader, wire):
    trader.orders([trigger(wire, "sell", "58000", "63000", "sl")])
    desk.venue.clock.resume()
    move(desk, "62000")
    rows = trader.info("historicalOrders")[:2]
    assert {row["status"] for row in rows} == {"triggered", "filled"}
    assert {row["statusTimestamp"] for row in rows} == {trader.info("userFills")[0]["time"]}


def test_a_limit_take_profit_rests_when_it_fires_and_stays_triggered(desk, trader, wire):
    trader.orders([trigger(wire, "sell", "65500", "65000", "tp", market=False)])
    oid = trader.info("openOrders")[0]["oid"]
    move(desk, "65200")
    assert trader.status_of(oid) == "triggered"
    (row,) = trader.info("frontendOpenOrders")
    assert (row["oid"], row["triggerCondition"], row["isTrigger"]) == (oid, "Triggered", True)
    assert desk.trader().order("BTC", "buy", "0.7", "65500", "Ioc")["filled"]["totalSz"] == "0.7"
    assert trader.status_of(oid) == "open"
    assert trader.info("userFills")[0]["px"] == "65500.0"
    assert trader.cancel("BTC", oid) == "success"
    assert history(trader, oid) == ["open", "triggered", "canceled"]


def test_a_market_stop_without_room_in_its_price_may_slip_a_tenth(trader, wire):
    trader.orders([trigger(wire, "sell", "63000", "63000", "sl")])
    assert trader.info("openOrders")[0]["limitPx"] == "56700.0"


def test_a_market_stop_never_trades_beyond_its_own_limit_price(desk, trader, wire):
    desk.trader().order("BTC", "sell", "1", "63990", "Ioc")
    trader.orders([trigger(wire, "sell", "62000", "63000", "sl")])
    oid = trader.info("openOrders")[0]["oid"]
    move(desk, "62500")
    assert history(trader, oid) == ["open", "triggered", "iocCancelRejected"]
    assert trader.info("clearinghouseState")["assetPositions"][0]["position"]["szi"] == "0.5"


def test_a_market_stop_that_finds_no_book_ends_as_such(desk, trader, wire):
    trader.orders([trigger(wire, "sell", "58000", "63000", "sl")])
    oid = trader.info("openOrders")[0]["oid"]
    desk.trader().order("BTC", "sell", "2", "60000", "Ioc")
    move(desk, "62500")
    assert history(trader, oid) == ["open", "triggered", "marketOrderNoLiquidityRejected"]


def test_a_market_stop_that_fills_in_part_drops_the_rest(desk, trader, wire):
    desk.trader().order("BTC", "sell", "0.8", "63990", "Ioc")
    trader.orders([trigger(wire, "sell", "62000", "63000", "sl")])
    oid = trader.info("openOrders")[0]["oid"]
    move(desk, "62500")
    assert history(trader, oid) == ["open", "triggered", "canceled"]
    order = trader.info("orderStatus", oid=oid)["order"]["order"]
    assert (order["sz"], order["origSz"]) == ("0.3", "0.5")


def test_a_stop_larger_than_the_position_is_cut_when_it_fires(desk, trader, wire):
    assert trader.orders([trigger(wire, "sell", "58000", "63000", "sl", size="2")]) == [WAITING]
    oid = trader.info("openOrders")[0]["oid"]
    assert trader.info("openOrders")[0]["sz"] == "2.0"
    move(desk, "62000")
    assert trader.info("userFills")[0]["sz"] == "0.5"
    assert history(trader, oid) == ["open", "triggered", "filled"]


@pytest.mark.parametrize("size", ["0.5", "0.8"], ids=["closed", "flipped"])
def test_a_reduce_only_stop_ends_with_its_position(desk, trader, wire, size):
    trader.orders([trigger(wire, "sell", "58000", "63000", "sl")])
    oid = trader.info("openOrders")[0]["oid"]
    trader.order("BTC", "sell", size, "63000", "Ioc")
    assert trader.status_of(oid) == "reduceOnlyCanceled"
    move(desk, "62000")
    assert history(trader, oid) == ["open", "reduceOnlyCanceled"]


def test_a_stop_entry_opens_a_position_when_the_account_can_afford_it(desk, wire):
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    trader.orders([trigger(wire, "buy", "66000", "65000", "sl", reduce_only=False, size="0.2")])
    move(desk, "65000")
    assert trader.info("userFills")[0]["dir"] == "Open Long"


def test_a_stop_entry_that_the_account_can_no_longer_afford_is_cancelled(desk, wire):
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    trader.orders([trigger(wire, "buy", "66000", "65000", "sl", reduce_only=False, size="0.2")])
    oid = trader.info("openOrders")[0]["oid"]
    desk.venue.state.deposit(trader.account, -99_999_000_000)
    move(desk, "65000")
    assert history(trader, oid) == ["open", "triggered", "marginCanceled"]


REFUSALS = [
    ("reached", ("sell", "62000", "64100", "sl"), {}, "Invalid TP/SL price. asset=0", "badTriggerPxRejected"),
    ("profit reached", ("sell", "62000", "63900", "tp"), {}, "Invalid TP/SL price. asset=0", "badTriggerPxRejected"),
    (
        "off tick",
        ("sell", "62000", "63000.5", "sl"),
        {},
        "Price must be divisible by tick size. asset=0",
        "tickRejected",
    ),
    (
        "finer than any tick",
        ("sell", "62000", "6300.55", "sl"),
        {},
        "Price must be divisible by tick size. asset=0",
        "tickRejected",
    ),
    (
        "nothing to reduce",
        ("buy", "66000", "65000", "sl"),
        {},
        "Reduce only order would increase position. asset=0",
        "reduceOnlyRejected",
    ),
    (
        "too small",
        ("sell", "62000", "63000", "sl"),
        {"size": "0.0001"},
        "Order must have minimum value of $10. asset=0",
        "minTradeNtlRejected",
    ),
    (
        "no margin",
        ("buy", "66000", "65000", "sl"),
        {"reduce_only": False, "size": "100"},
        "Insufficient margin to place order. asset=0",
        "perpMarginRejected",
    ),
]


@pytest.mark.parametrize(
    ("order", "more", "text", "status"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_a_trigger_order_that_breaks_a_rule_is_refused(trader, wire, order, more, text, status):
    assert trader.orders([trigger(wire, *order, **more)]) == [{"error": text}]
    assert trader.info("historicalOrders")[0]["status"] == status
    assert trader.info("openOrders") == []


def test_an_armed_order_is_cancelled_but_not_by_a_fast_cancel(trader, wire):
    trader.orders([trigger(wire, "sell", "62000", "63000", "sl")])
    oid = trader.info("openOrders")[0]["oid"]
    fast = trader.act({"type": "cancel", "cancels": [{"a": 0, "o": oid}], "f": True})
    assert "error" in fast["response"]["data"]["statuses"][0]
    assert trader.status_of(oid) == "open"
    assert trader.cancel("BTC", oid) == "success"
    assert trader.status_of(oid) == "canceled"


def test_a_modify_arms_a_trigger_only_when_told_to_place_always(desk, trader, wire):
    trader.orders([trigger(wire, "sell", "62000", "63000", "sl")])
    oid = trader.info("openOrders")[0]["oid"]
    replacement = trigger(wire, "sell", "61000", "62000", "sl")
    modify = {"type": "modify", "oid": oid, "order": replacement}
    assert trader.act(modify) == {"status": "err", "response": "Attempted to modify to invalid new order"}
    assert trader.status_of(oid) == "open"
    assert trader.act({**modify, "a": True})["status"] == "ok"
    assert trader.status_of(oid) == "canceled"
    (row,) = trader.info("frontendOpenOrders")
    assert row["triggerPx"] == "62000.0"
    move(desk, "62500")
    assert trader.info("userFills")[0]["dir"] == "Open Long"
    move(desk, "62000")
    assert trader.info("userFills")[0]["oid"] == row["oid"]


def test_a_trigger_fired_by_a_synthetic_market_trades_with_it(make_desk, wire):
    desk = make_desk(market="synthetic")
    for source in desk.venue.sources:
        source.open(desk.venue.outside)
    trader = desk.trader()
    trader.order("BTC", "buy", "0.1", "64100", "Ioc")
    assert trader.orders([trigger(wire, "sell", "58000", "63000", "sl", size="0.1")]) == [WAITING]
    move(desk, "62900")
    fill = trader.info("userFills")[0]
    assert fill["dir"] == "Close Long"
    assert 62_000 < float(fill["px"]) < 63_000
