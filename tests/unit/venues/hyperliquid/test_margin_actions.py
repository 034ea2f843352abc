"""Leverage, isolated margin, reduce-only: what a position allows."""

from __future__ import annotations

import pytest

OK = {"status": "ok", "response": {"type": "default"}}


def leverage(trader, asset, value, is_cross=True):
    return trader.act({"type": "updateLeverage", "asset": asset, "isCross": is_cross, "leverage": value})


def refusal(text):
    return {"status": "err", "response": text}


@pytest.fixture
def trader(desk):
    desk.rest_both_sides(desk.trader())
    return desk.trader()


def test_leverage_is_told_by_the_asset_data_even_when_flat(trader):
    assert trader.info("activeAssetData", coin="BTC")["leverage"] == {"type": "cross", "value": 20}
    assert leverage(trader, 0, 5) == OK
    assert trader.info("activeAssetData", coin="BTC")["leverage"] == {"type": "cross", "value": 5}
    assert trader.order("BTC", "buy", "10", "60000") == {"error": "Insufficient margin to place order. asset=0"}


def test_leverage_has_bounds_and_some_markets_are_isolated_only(trader):
    assert leverage(trader, 0, 41)["status"] == "err"
    assert leverage(trader, 0, 0)["status"] == "err"
    assert leverage(trader, 8, 2) == refusal("Cross margin is not allowed for this asset.")
    assert leverage(trader, 8, 2, is_cross=False) == OK


def test_the_margin_mode_cannot_change_under_a_position(trader):
    trader.order("BTC", "buy", "0.1", "64010", "Ioc")
    assert leverage(trader, 0, 20, is_cross=False) == refusal("Cannot switch leverage type with open position.")
    assert leverage(trader, 0, 25) == OK


def test_leverage_cannot_fall_below_what_the_margin_carries(trader):
    trader.order("BTC", "buy", "1", "64010", "Ioc")
    leverage(trader, 1, 20)
    assert "resting" in trader.order("ETH", "buy", "600", "3000")
    assert leverage(trader, 0, 1) == OK
    trader.order("BTC", "buy", "1", "64010", "Ioc")
    assert trader.info("clearinghouseState")["marginSummary"]["totalMarginUsed"] == "64000.0"


def test_lowering_leverage_beyond_the_account_is_refused(make_desk):
    desk = make_desk(initial_balance="10000")
    desk.venue.fund("0x" + "0" * 38 + "99", "1")
    maker = desk.trader()
    desk.venue.fund(maker.address, "1000000")
    desk.rest_both_sides(maker)
    trader = desk.trader()
    trader.order("BTC", "buy", "1", "64010", "Ioc")
    text = "Cross position does not have sufficient margin available to decrease leverage."
    assert leverage(trader, 0, 2) == refusal(text)


def test_isolated_margin_can_be_added_and_taken_back(trader):
    leverage(trader, 0, 10, is_cross=False)
    trader.order("BTC", "buy", "0.1", "64010", "Ioc")

    def used():
        return trader.info("clearinghouseState")["assetPositions"][0]["position"]["marginUsed"]

    assert used() == "639.1"
    move = {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True}
    assert trader.act({**move, "ntli": 100_000_000}) == OK
    assert used() == "739.1"
    assert trader.act({**move, "ntli": -90_000_000}) == OK
    assert used() == "649.1"
    assert trader.act({**move, "ntli": -90_000_000})["status"] == "err"


def test_isolated_margin_needs_an_isolated_position(trader):
    trader.order("BTC", "buy", "0.1", "64010", "Ioc")
    action = {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True, "ntli": 1_000_000}
    assert trader.act(action) == refusal("Position does not use isolated margin.")


def test_closing_an_isolated_position_brings_its_margin_home(trader):
    leverage(trader, 0, 10, is_cross=False)
    trader.order("BTC", "buy", "0.1", "64010", "Ioc")
    trader.order("BTC", "sell", "0.1", "63990", "Ioc")
    state = trader.info("clearinghouseState")
    assert state["assetPositions"] == []
    assert state["marginSummary"]["accountValue"] == state["withdrawable"] == "99992.24"


def test_a_reduce_only_order_is_cut_to_the_position(trader):
    trader.order("BTC", "buy", "0.2", "64010", "Ioc")
    filled = trader.order("BTC", "sell", "0.5", "63990", "Ioc", reduce_only=True)["filled"]
    assert filled["totalSz"] == "0.2"
    order = trader.info("orderStatus", oid=filled["oid"])["order"]
    assert (order["status"], order["order"]["origSz"]) == ("filled", "0.2")


def test_a_reduce_only_order_of_size_zero_means_the_whole_position(trader):
    trader.order("BTC", "buy", "0.2", "64010", "Ioc")
    assert trader.order("BTC", "sell", "0", "63990", "Ioc", reduce_only=True)["filled"]["totalSz"] == "0.2"


def test_closing_the_whole_position_may_be_below_the_minimum_value(trader):
    trader.order("BTC", "buy", "0.0002", "64010", "Ioc")
    trader.order("BTC", "sell", "0.0001", "63990", "Ioc")
    minimum = {"error": "Order must have minimum value of $10. asset=0"}
    assert trader.order("BTC", "sell", "0.0001", "63990", "Ioc") == minimum
    trader.order("BTC", "buy", "0.0004", "64010", "Ioc")
    assert trader.order("BTC", "sell", "0.0001", "63990", "Ioc", reduce_only=True) == minimum
    assert "filled" in trader.order("BTC", "sell", "0.0006", "63990", "Ioc", reduce_only=True)


def test_resting_reduce_only_orders_go_when_the_position_goes(trader):
    trader.order("BTC", "buy", "0.2", "64010", "Ioc")
    resting = trader.order("BTC", "sell", "0.1", "66000", reduce_only=True)["resting"]["oid"]
    trader.order("BTC", "sell", "0.2", "63990", "Ioc")
    assert trader.status_of(resting) == "reduceOnlyCanceled"
    assert trader.info("openOrders") == []


def test_the_older_of_two_reduce_only_orders_that_together_exceed_the_position_is_cancelled(trader):
    trader.order("BTC", "buy", "0.2", "64010", "Ioc")
    older = trader.order("BTC", "sell", "0.15", "66000", reduce_only=True)["resting"]["oid"]
    newer = trader.order("BTC", "sell", "0.1", "66001", reduce_only=True)["resting"]["oid"]
    assert trader.status_of(older) == "reduceOnlyCanceled"
    assert trader.status_of(newer) == "open"
    assert trader.info("openOrders")[0]["reduceOnly"] is True


def test_a_resting_reduce_only_order_shrinks_with_the_position(trader):
    trader.order("BTC", "buy", "0.2", "64010", "Ioc")
    resting = trader.order("BTC", "sell", "0.2", "66000", reduce_only=True)["resting"]["oid"]
    trader.order("BTC", "sell", "0.15", "63990", "Ioc")
    (row,) = trader.info("openOrders")
    assert (row["oid"], row["sz"], row["origSz"]) == (resting, "0.05", "0.05")


def test_transfers_move_money_between_spot_and_perp(desk, trader):
    def transfer(amount, to_perp):
        nonce = desk.next_nonce()
        action = {"type": "usdClassTransfer", "amount": amount, "toPerp": to_perp, "nonce": nonce}
        return trader.act({**action, "signatureChainId": "0x66eee", "hyperliquidChain": "Testnet"}, nonce=nonce)

    assert transfer("12.5", False) == OK
    assert trader.info("spotClearinghouseState")["balances"][0]["total"] == "12.5"
    assert trader.info("clearinghouseState")["withdrawable"] == "99987.5"
    assert transfer("13", True) == refusal("Insufficient balance for token transfer")
    assert transfer("0.0000001", True) == refusal("Invalid send")
    assert transfer("12.5", True) == OK
    kinds = [row["delta"]["type"] for row in trader.info("userNonFundingLedgerUpdates", startTime=0)]
    assert kinds == ["deposit", "accountClassTransfer", "accountClassTransfer"]
