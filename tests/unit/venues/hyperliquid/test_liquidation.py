"""Liquidation: when, of what, at which price, and that no money is made or lost by it."""

from __future__ import annotations

from decimal import Decimal

import pytest

ZERO_HASH = "0x" + "0" * 64


@pytest.fixture
def desk(make_desk):
    desk = make_desk(liquidations=True)
    deep = desk.trader()
    for side, price in (("buy", "55000"), ("buy", "50000"), ("sell", "64000"), ("sell", "75000")):
        assert "resting" in deep.order("BTC", side, "20", price)
    return desk


@pytest.fixture
def trader(desk):
    """Somebody with a thousand dollars."""
    trader = desk.trader()
    desk.venue.state.deposit(trader.account, -99_000_000_000)
    return trader


def everything(desk):
    """All the money there is."""
    state = desk.venue.state
    total = state.fees
    for account in (*state.accounts.values(), state.outside_maker, state.outside_taker):
        total += account.cash + sum(holding.isolated_raw for holding in account.holdings.values())
        total += sum(holding.lots * state.markets[asset].mark for asset, holding in account.holdings.items())
    return total


def leverage(trader, value, is_cross=True, asset=0):
    assert (
        trader.act({"type": "updateLeverage", "asset": asset, "isCross": is_cross, "leverage": value})["status"] == "ok"
    )


def price(desk, value, coin="BTC"):
    desk.venue.set_price(coin, value)


def test_a_cross_account_below_maintenance_is_closed_in_the_book(desk, trader):
    leverage(trader, 40)
    trader.order("BTC", "buy", "0.2", "64000", "Ioc")
    resting = trader.order("BTC", "buy", "0.01", "40000")["resting"]["oid"]
    armed = {"a": 0, "b": False, "p": "30000", "s": "0.2", "r": True}
    armed["t"] = {"trigger": {"isMarket": True, "triggerPx": "40000", "tpsl": "sl"}}
    trader.orders([armed])
    price(desk, "59800")
    assert trader.info("clearinghouseState")["assetPositions"], "value 155 against maintenance 149.5: not yet"
    price(desk, "59760")
    assert trader.info("clearinghouseState")["assetPositions"] == []
    assert trader.info("openOrders") == []
    assert trader.status_of(resting) == "liquidatedCanceled"
    fill = trader.info("userFills")[0]
    assert (fill["px"], fill["sz"], fill["dir"], fill["crossed"]) == ("55000.0", "0.2", "Close Long", True)
    assert fill["liquidation"] == {"liquidatedUser": trader.address, "markPx": "59760.0", "method": "market"}
    assert fill["hash"] != ZERO_HASH
    assert trader.info("orderStatus", oid=fill["oid"]) == {"status": "unknownOid"}
    assert fill["oid"] not in {row["order"]["oid"] for row in trader.info("historicalOrders")}


def test_the_counterparty_carries_the_same_object_about_the_other(desk, trader):
    leverage(trader, 40)
    trader.order("BTC", "buy", "0.2", "64000", "Ioc")
    price(desk, "59760")
    (deep,) = [a for a in desk.venue.state.accounts.values() if a.address != trader.address]
    fill = deep.fills[-1].row()
    assert fill["liquidation"]["liquidatedUser"] == trader.address
    assert (
        (fill["dir"], fill["crossed"]) == ("Open Long", False)
        if fill["startPosition"] != "-0.2"
        else ("Close Short", False)
    )
    assert list(fill)[-3:] == ["liquidation", "feeToken", "twapId"]


def test_a_large_position_goes_in_two_steps(desk):
    trader = desk.trader()
    desk.venue.state.deposit(trader.account, -92_000_000_000)
    leverage(trader, 40)
    trader.order("BTC", "buy", "4", "64000", "Ioc")
    price(desk, "62700")
    assert trader.info("userFills")[0]["sz"] == "0.8"
    assert trader.info("userFills")[0]["liquidation"]["method"] == "market"


def test_far_below_maintenance_the_liquidator_takes_all_at_the_mark(desk, trader):
    before = everything(desk)
    leverage(trader, 40)
    trader.order("BTC", "buy", "0.2", "64000", "Ioc")
    price(desk, "59400")
    fill = trader.info("userFills")[0]
    assert (fill["px"], fill["dir"]) == ("59400.0", "Liquidated Cross Long")
    assert fill["liquidation"]["method"] == "backstop"
    state = trader.info("clearinghouseState")
    assert (state["assetPositions"], state["marginSummary"]["accountValue"]) == ([], "0.0")
    assert everything(desk) == before


def test_what_is_lost_beyond_the_margin_is_not_the_accounts(desk, trader):
    leverage(trader, 40)
    trader.order("BTC", "buy", "0.5", "64000", "Ioc")
    before = everything(desk)
    price(desk, "62740")
    assert trader.info("userFills")[0]["px"] == "55000.0"
    assert trader.info("clearinghouseState")["marginSummary"]["accountValue"] == "0.0"
    price(desk, "64000")
    desk.venue.state.block.touched.clear()
    assert everything(desk) == before


def test_an_isolated_position_falls_alone(desk, trader):
    desk.trader().order("ETH", "sell", "5", "3100")
    leverage(trader, 40, is_cross=False)
    trader.order("BTC", "buy", "0.1", "64000", "Ioc")
    trader.order("ETH", "buy", "0.1", "3100", "Ioc")
    eth, btc = (
        trader.order(coin, "buy", "0.01", p)["resting"]["oid"] for coin, p in (("ETH", "2900"), ("BTC", "50001"))
    )
    price(desk, "63100")
    (position,) = trader.info("clearinghouseState")["assetPositions"]
    assert position["position"]["coin"] == "ETH"
    assert [trader.status_of(oid) for oid in (eth, btc)] == ["open", "liquidatedCanceled"]
    lost = Decimal(1000) - Decimal(trader.info("clearinghouseState")["marginSummary"]["accountValue"])
    assert lost < Decimal("170"), "the isolated margin of 160 and fees, though the book closed 900 lower"
    delta = trader.info("userNonFundingLedgerUpdates")[-1]["delta"]
    assert (delta["type"], delta["leverageType"]) == ("liquidation", "Isolated")
    assert delta["liquidatedPositions"] == [{"coin": "BTC", "szi": "0.1"}]


def test_an_isolated_position_that_is_taken_over_says_so(desk, trader):
    leverage(trader, 40, is_cross=False)
    trader.order("BTC", "buy", "0.1", "64000", "Ioc")
    price(desk, "62900")
    fill = trader.info("userFills")[0]
    assert fill["dir"] == "Liquidated Isolated Long"


def test_a_short_is_liquidated_upwards(desk, trader):
    leverage(trader, 40)
    trader.order("BTC", "sell", "0.2", "55000", "Ioc")
    price(desk, "59300")
    fill = trader.info("userFills")[0]
    assert (fill["px"], fill["dir"]) == ("64000.0", "Close Short")


def test_without_the_switch_nobody_is_liquidated(make_desk):
    desk = make_desk()
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    trader.order("BTC", "buy", "1", "64010", "Ioc")
    price(desk, "100")
    assert trader.info("clearinghouseState")["assetPositions"]


def test_a_twap_in_the_market_ends_with_the_position(desk, trader):
    leverage(trader, 40)
    trader.order("BTC", "buy", "0.2", "64000", "Ioc")
    terms = {"a": 0, "b": True, "s": "0.01", "r": False, "m": 5, "t": False}
    assert "running" in trader.act({"type": "twapOrder", "twap": terms})["response"]["data"]["status"]
    price(desk, "59760")
    assert trader.info("twapHistory")[0]["status"] == {"status": "terminated"}
