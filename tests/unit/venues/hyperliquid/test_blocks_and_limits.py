"""Blocks: inner order and one time. Budgets: by IP and by address. Settings: refused when they cannot work."""

from __future__ import annotations

import pytest

from latentspeed.tools.venues.hyperliquid import VenueConfig
from latentspeed.tools.venues.hyperliquid.clock import VenueClock
from latentspeed.tools.venues.hyperliquid.limits import IpBudget, action_weight, info_weight
from latentspeed.tools.venues.hyperliquid.metadata import load_universe
from latentspeed.tools.venues.hyperliquid.wire import units_from_text


def queue(desk, trader, action):
    """Queue an action for the next block; its reply appears in the list."""
    replies = []
    desk.venue.submit(desk.envelope(trader.body(action)), replies.append)
    return replies


def order_action(wire, *order):
    return {"type": "order", "orders": [wire(*order)], "grouping": "na"}


@pytest.mark.parametrize("in_block_order", [True, False])
def test_a_cancel_beats_a_taker_that_came_earlier_in_the_block(make_desk, wire, in_block_order):
    desk = make_desk(block_interval_ms=100, block_order=in_block_order)
    maker, taker = desk.trader(), desk.trader()
    placed = queue(desk, maker, order_action(wire, "BTC", "sell", "0.1", "64000"))
    desk.venue.make_block()
    oid = placed[0]["response"]["data"]["statuses"][0]["resting"]["oid"]
    took = queue(desk, taker, order_action(wire, "BTC", "buy", "0.1", "64000", "Ioc"))
    cancelled = queue(desk, maker, {"type": "cancel", "cancels": [{"a": 0, "o": oid}]})
    post_only = queue(desk, taker, order_action(wire, "BTC", "buy", "0.1", "63000", "Alo"))
    assert [took, cancelled, post_only] == [[], [], []], "nothing is answered before the block"
    desk.venue.make_block()
    assert "resting" in post_only[0]["response"]["data"]["statuses"][0]
    if in_block_order:
        assert cancelled[0]["response"]["data"]["statuses"] == ["success"]
        assert "error" in took[0]["response"]["data"]["statuses"][0]
    else:
        assert "filled" in took[0]["response"]["data"]["statuses"][0]
        assert "error" in cancelled[0]["response"]["data"]["statuses"][0]


def test_everything_in_a_block_has_one_time(make_desk, wire):
    desk = make_desk(block_interval_ms=100)
    maker, taker = desk.trader(), desk.trader()
    desk.venue.clock.resume()
    queue(desk, maker, order_action(wire, "BTC", "sell", "0.1", "64000", "Alo"))
    queue(desk, taker, order_action(wire, "BTC", "buy", "0.1", "64000", "Ioc"))
    desk.venue.make_block()
    times = {row["time"] for row in maker.info("userFills") + taker.info("userFills")}
    times |= {row["statusTimestamp"] for row in maker.info("historicalOrders") + taker.info("historicalOrders")}
    assert len(times) == 1


def test_ip_weight_is_spent_and_comes_back_after_a_minute():
    clock = VenueClock()
    clock.freeze(1_000_000)
    budget = IpBudget(clock)
    for _ in range(60):
        assert not budget.is_exhausted("1.2.3.4")
        budget.spend("1.2.3.4", 20)
    assert budget.is_exhausted("1.2.3.4")
    assert not budget.is_exhausted("5.6.7.8")
    clock.advance(60_000)
    assert not budget.is_exhausted("1.2.3.4")


@pytest.mark.parametrize(
    ("kind", "rows", "weight"),
    [("l2Book", 0, 2), ("userRole", 0, 60), ("meta", 0, 20), ("userFills", 2000, 120), ("candleSnapshot", 120, 22)],
)
def test_info_requests_weigh_what_is_documented(kind, rows, weight):
    assert info_weight(kind, rows) == weight


@pytest.mark.parametrize(("count", "weight"), [(1, 1), (39, 1), (40, 2), (200, 6)])
def test_batches_weigh_one_more_for_every_forty(desk, wire, count, weight):
    action = {"type": "order", "orders": [wire("BTC", "buy", "0.001", "60000")] * count, "grouping": "na"}
    assert action_weight(desk.envelope(desk.trader().body(action))) == weight


def test_an_address_over_its_budget_is_told_so_and_may_still_cancel(make_desk):
    desk = make_desk(address_limits=True)
    trader = desk.trader()
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    trader.account.actions_used = 10_000
    noop = {"type": "noop"}
    assert trader.act(noop)["status"] == "ok", "one action every ten seconds passes"
    reply = trader.act(noop)
    assert reply == {
        "status": "err",
        "response": "Too many cumulative requests sent (10001 > 10000) for cumulative volume traded $0.0."
        " Place taker orders to free up 1 request per USDC traded.",
    }
    assert trader.cancel("BTC", oid) == "success"
    desk.venue.clock.advance(10_000)
    assert trader.act(noop)["status"] == "ok"


def test_failed_cancels_cost_and_refused_actions_do_not(desk, wire):
    trader = desk.trader()
    trader.act({"type": "cancel", "cancels": [{"a": 0, "o": 1}, {"a": 0, "o": 2}]})
    assert trader.info("userRateLimit")["nRequestsUsed"] == 2
    trader.act({"type": "setReferrer", "code": "X"})
    assert trader.info("userRateLimit")["nRequestsUsed"] == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"taker_fee": "much"},
        {"initial_balance": "1.0000001"},
        {"balances": {"0x12": "1"}},
        {"balances": {"0x" + "11" * 20: "x"}},
        {"block_interval_ms": -1},
        {"market_interval_ms": 0},
        {"speed": 0.0},
        {"fills_page": 0},
        {"tapes": ("/nowhere/tape.gz",)},
        {"meta_file": "/nowhere/meta.json"},
    ],
    ids=str,
)
def test_a_setting_that_cannot_work_is_refused_by_name(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=name):
        VenueConfig(**settings)


def test_prices_and_sizes_follow_the_published_rules(reference):
    import json

    ticks = json.loads((reference / "vectors" / "hyperliquid_ticks.json").read_text())
    by_decimals = {i.sz_decimals: i for i in load_universe(None, {}).instruments}

    def instrument(row):
        return by_decimals.get(row["szDecimals"]) if row["market"] == "perp" else None

    checked = 0
    for row in ticks["price_valid"]:
        if (market := instrument(row)) is not None:
            units = units_from_text(row["price"], market.price_decimals)
            assert (units is not None and market.price_is_valid(units)) == row["valid"], row
            checked += 1
    for row in ticks["tick_at_price"]:
        if (market := instrument(row)) is not None:
            units = units_from_text(row["price"], market.price_decimals)
            assert market.tick(units) == units_from_text(row["tick"], market.price_decimals), row
            checked += 1
    for row in ticks["round_to_valid"]:
        if (market := instrument(row)) is not None:
            whole, _, part = row["in"].partition(".")
            floor = int(whole + part[: market.price_decimals].ljust(market.price_decimals, "0"))
            inexact = len(part) > market.price_decimals
            assert market.round_price(floor, up=False) == units_from_text(row["down"], market.price_decimals), row
            assert market.round_price(floor + inexact, up=True) == units_from_text(row["up"], market.price_decimals), (
                row
            )
            checked += 1
    assert checked > 30
