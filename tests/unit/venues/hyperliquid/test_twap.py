"""TWAP orders: what starts one, how its slices go, how it ends, and what is remembered of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

ZERO_HASH = "0x" + "0" * 64
SLICE_MS = 30_000


@pytest.fixture
def trader(desk):
    """Somebody flat beside a deep book around 64000."""
    maker = desk.trader()
    for side, price in (("buy", "63990"), ("sell", "64010")):
        assert "resting" in maker.order("BTC", side, "20", price)
    return desk.trader()


def start(trader, size="0.1", minutes=5, *, buy=True, reduce_only=False, randomize=False, **more):
    """Send a `twapOrder` and return its status."""
    terms = {"a": 0, "b": buy, "s": size, "r": reduce_only, "m": minutes, "t": randomize}
    reply = trader.act({"type": "twapOrder", "twap": terms, **more})
    assert reply["response"]["type"] == "twapOrder"
    return reply["response"]["data"]["status"]


def cancel(trader, twap_id, asset=0):
    """Send a `twapCancel` and return its status."""
    reply = trader.act({"type": "twapCancel", "a": asset, "t": twap_id})
    assert reply["response"]["type"] == "twapCancel"
    return reply["response"]["data"]["status"]


def run(desk, milliseconds):
    """Let the venue's time pass."""
    desk.venue.clock.advance(milliseconds)
    desk.venue.tick()


def statuses(trader):
    """The statuses of the history, oldest first."""
    return [row["status"]["status"] for row in reversed(trader.info("twapHistory"))]


def test_a_twap_trades_its_size_in_equal_slices_half_a_minute_apart(desk, trader):
    twap_id = start(trader)["running"]["twapId"]
    for count in range(1, 11):
        desk.venue.tick()
        assert len(trader.info("userFills")) == count
        desk.venue.clock.advance(SLICE_MS - 1)
        desk.venue.tick()
        assert len(trader.info("userFills")) == count, "a slice came early"
        desk.venue.clock.advance(1)
    fills = trader.info("userFills")
    assert {fill["sz"] for fill in fills} == {"0.01"}
    assert {(fill["hash"], fill["twapId"]) for fill in fills} == {(ZERO_HASH, twap_id)}
    assert len({fill["oid"] for fill in fills}) == len({fill["tid"] for fill in fills}) == 10
    assert statuses(trader) == ["activated", "finished"]


def test_its_state_counts_what_is_done_and_the_history_keeps_it(desk, trader):
    twap_id = start(trader)["running"]["twapId"]
    run(desk, 2 * SLICE_MS)
    ((found, state),) = desk.venue.info.twaps.states(trader.account)
    assert found == twap_id
    assert state == {
        "coin": "BTC",
        "user": trader.address,
        "side": "B",
        "sz": "0.1",
        "executedSz": "0.03",
        "executedNtl": "1920.3",
        "minutes": 5,
        "reduceOnly": False,
        "randomize": False,
        "timestamp": state["timestamp"],
    }
    (row,) = trader.info("twapHistory")
    assert row["time"] == state["timestamp"] // 1000, "the history counts seconds"
    assert row["state"] == {**state, "executedSz": "0.0", "executedNtl": "0.0"}
    assert row["twapId"] == twap_id


def test_slices_are_orders_of_their_own(desk, trader):
    start(trader)
    desk.venue.tick()
    row = trader.info("historicalOrders")[0]
    assert (row["order"]["orderType"], row["order"]["tif"], row["status"]) == ("Twap Slice", "Ioc", "filled")
    assert trader.info("openOrders") == []


def test_slice_fills_are_listed_newest_first_and_by_time(desk, trader):
    twap_id = start(trader)["running"]["twapId"]
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    for _ in range(3):
        run(desk, SLICE_MS)
    rows = trader.info("userTwapSliceFills")
    assert [row["twapId"] for row in rows] == [twap_id] * 4
    times = [row["fill"]["time"] for row in rows]
    assert times == sorted(times, reverse=True)
    later = trader.info("userTwapSliceFillsByTime", startTime=times[1])
    assert [row["fill"]["time"] for row in later] == times[1::-1]


def test_a_twap_catches_up_with_at_most_three_slices_at_once(desk, trader):
    blocker = desk.venue.market("BTC").book.best_ask()
    assert blocker is not None
    maker = desk.venue.market("BTC").book.asks.best()
    (order,) = maker.orders.values()
    desk.venue.exchange.placing.cancel(order, "canceled")
    start(trader)
    for _ in range(6):
        desk.venue.tick()
        desk.venue.clock.advance(SLICE_MS)
    assert trader.info("userFills") == []
    desk.trader().order("BTC", "sell", "5", "64010")
    sizes = []
    for _ in range(4):
        run(desk, 0)
        sizes.append(trader.info("userFills")[0]["sz"])
        desk.venue.clock.advance(SLICE_MS)
    assert sizes == ["0.03", "0.03", "0.03", "0.01"]
    assert statuses(trader) == ["activated", "finished"]


def test_a_twap_that_found_no_counterparty_finishes_when_its_time_is_over(desk):
    trader = desk.trader()
    start(trader)
    run(desk, 5 * 60_000)
    assert statuses(trader) == ["activated", "finished"]
    assert trader.info("twapHistory")[0]["state"]["executedSz"] == "0.0"


def test_a_slice_goes_no_further_than_three_percent(desk):
    desk.trader().order("BTC", "sell", "5", "65921")
    trader = desk.trader()
    start(trader)
    desk.venue.tick()
    assert trader.info("userFills") == []
    desk.trader().order("BTC", "sell", "5", "65920")
    run(desk, SLICE_MS)
    assert trader.info("userFills")[0]["px"] == "65920.0"


def test_a_randomised_twap_moves_its_slices_and_still_does_all(desk, trader):
    start(trader, randomize=True)
    for _ in range(330):
        run(desk, 1_000)
    times = [fill["time"] for fill in trader.info("userFills")][::-1]
    gaps = {later - earlier for earlier, later in pairwise(times)}
    assert len(times) == 10
    assert gaps != {SLICE_MS}
    assert trader.info("twapHistory")[0]["state"]["executedSz"] == "0.1"


def test_a_cancelled_twap_stops_and_cannot_be_cancelled_again(desk, trader):
    twap_id = start(trader)["running"]["twapId"]
    desk.venue.tick()
    never = {"error": "TWAP was never placed, already canceled, or filled."}
    assert cancel(trader, twap_id, asset=1) == never
    assert cancel(desk.trader(), twap_id) == never
    assert cancel(trader, twap_id) == "success"
    assert cancel(trader, twap_id) == never
    run(desk, 60_000)
    assert len(trader.info("userFills")) == 1
    assert statuses(trader) == ["activated", "terminated"]


def test_a_reduce_only_twap_stops_at_a_flat_position(desk, trader):
    trader.order("BTC", "buy", "0.05", "64010", "Ioc")
    start(trader, buy=False, reduce_only=True)
    run(desk, 5 * 60_000)
    assert trader.info("clearinghouseState")["assetPositions"] == []
    last = trader.info("twapHistory")[0]
    assert last["status"] == {"status": "error", "description": "Reduce only order would increase position."}
    assert last["state"]["executedSz"] == "0.05"


def test_a_twap_that_the_account_can_no_longer_afford_ends_in_an_error(desk, trader):
    start(trader, size="10")
    desk.venue.tick()
    desk.venue.state.deposit(trader.account, -96_000_000_000)
    run(desk, SLICE_MS)
    assert trader.info("twapHistory")[0]["status"]["description"] == "Insufficient margin to place order."
    assert trader.info("historicalOrders")[0]["status"] == "perpMarginRejected"


REFUSALS = [
    ({"minutes": 1}, "Invalid TWAP duration: 1 min(s)"),
    ({"minutes": 1441}, "Invalid TWAP duration: 1441 min(s)"),
    ({"minutes": 120, "size": "0.01"}, "TWAP order value too small. Min is $1200, which is $10 per minute."),
    ({"reduce_only": True, "buy": False}, "Reduce-only TWAP order would increase position."),
    ({"size": "0.000001"}, "Order has invalid size."),
    ({"details": {"t": {"p": "65000.0", "a": True}, "s": None}}, "TWAP conditions are not traded on this venue."),
]


@pytest.mark.parametrize(("change", "text"), REFUSALS, ids=[text[:25] for _, text in REFUSALS])
def test_a_twap_that_breaks_a_rule_is_refused_in_its_status(trader, change, text):
    assert start(trader, **change) == {"error": text}
    assert trader.info("twapHistory") == []


def test_empty_conditions_are_as_good_as_none(trader):
    assert "running" in start(trader, details={"t": None, "s": None})


def test_a_spot_twap_trades_slices_and_ends_without_balance(make_desk):
    desk = make_desk(initial_spot={"USDC": "1000", "PURR": "5000"})
    maker, trader = desk.trader(), desk.trader()
    purr = {"a": 10_000, "b": False, "s": "4000", "p": "0.2", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    assert "resting" in maker.orders([purr])[0]
    terms = {"a": 10_000, "b": True, "s": "4000", "r": False, "m": 5, "t": False}
    desk.venue.market("PURR/USDC").mark = next(iter(desk.venue.market("PURR/USDC").book.asks.levels.values())).price
    reply = trader.act({"type": "twapOrder", "twap": terms})["response"]["data"]["status"]
    desk.venue.tick()
    fill = trader.info("userTwapSliceFills")[0]["fill"]
    assert (fill["coin"], fill["sz"], fill["hash"], fill["feeToken"]) == ("PURR/USDC", "400.0", ZERO_HASH, "PURR")
    assert fill["twapId"] == reply["running"]["twapId"]
    trader.account.balance(0).total = 0
    run(desk, SLICE_MS)
    last = trader.info("twapHistory")[0]
    assert (last["status"]["description"], last["state"]["executedNtl"]) == ("Insufficient spot balance", "80.0")
