"""Spot: what a pair demands of an order, what a trade moves, what a fee leaves behind."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PURR, HYPE, HYPE_USDH, USDH = 10_000, 10_001, 10_107, 10_005
OK = {"status": "ok", "response": {"type": "default"}}


def wire(asset, side, size, price, tif="Gtc", **more):
    return {"a": asset, "b": side == "buy", "p": price, "s": size, "r": False, "t": {"limit": {"tif": tif}}, **more}


def place(trader, *args, **more):
    return trader.orders([wire(*args, **more)])[0]


def balances(trader):
    return {row["coin"]: row for row in trader.info("spotClearinghouseState")["balances"]}


def total(trader, coin):
    return Decimal(balances(trader)[coin]["total"])


@pytest.fixture
def desk(make_desk):
    return make_desk(initial_spot={"USDC": "10000", "PURR": "5000", "HYPE": "100", "USDH": "10000"})


@pytest.fixture
def trader(desk):
    return desk.trader()


@pytest.fixture
def maker(desk):
    return desk.trader()


def test_a_resting_order_holds_what_it_may_pay(trader):
    assert "resting" in place(trader, PURR, "buy", "100", "0.2")
    assert balances(trader)["USDC"]["hold"] == "20.0"
    assert "resting" in place(trader, PURR, "sell", "300", "0.25")
    assert balances(trader)["PURR"]["hold"] == "300.0"
    orders = trader.info("openOrders")
    assert [(row["coin"], row["limitPx"], row["sz"]) for row in orders] == [
        ("PURR/USDC", "0.25", "300.0"),
        ("PURR/USDC", "0.2", "100.0"),
    ]
    oid = orders[1]["oid"]
    assert trader.act({"type": "cancel", "cancels": [{"a": PURR, "o": oid}]})["status"] == "ok"
    assert balances(trader)["USDC"]["hold"] == "0.0"


def test_a_buy_pays_its_fee_in_the_base_token_and_a_sell_in_the_quote_token(trader, maker):
    place(maker, HYPE, "sell", "2", "31.5")
    place(trader, HYPE, "buy", "2", "31.5", "Ioc")
    (bought,) = trader.info("userFills")
    assert (bought["coin"], bought["dir"], bought["feeToken"]) == ("@1", "Buy", "HYPE")
    assert (bought["fee"], bought["startPosition"], bought["closedPnl"]) == ("0.0014", "100.0", "0.0")
    (sold,) = maker.info("userFills")
    assert (sold["dir"], sold["feeToken"], sold["fee"], sold["crossed"]) == ("Sell", "USDC", "0.0252", False)
    assert total(trader, "HYPE") == Decimal("101.9986")
    assert total(trader, "USDC") == Decimal("9937")
    assert total(maker, "HYPE") == 98
    assert total(maker, "USDC") == Decimal("10062.9748")


def test_the_fee_of_a_buy_leaves_dust_that_no_lot_can_sell(trader, maker):
    place(maker, HYPE, "sell", "2", "31.5")
    place(trader, HYPE, "buy", "2", "31.5", "Ioc")
    error = place(trader, HYPE, "sell", "102", "40")["error"]
    assert error == "Insufficient spot balance asset=10001"
    assert "resting" in place(trader, HYPE, "sell", "101.99", "40")
    refused = trader.info("historicalOrders")[1]
    assert refused["status"] == "insufficientSpotBalanceRejected"


def test_a_sell_realises_what_it_brought_over_what_it_cost(trader, maker):
    buyer = trader.desk.agent(trader)
    buyer.master = buyer.address
    trader.desk.venue.give(buyer.address, "USDC", "1000")
    place(maker, HYPE, "sell", "10", "30")
    place(buyer, HYPE, "buy", "10", "30", "Ioc")
    assert balances(buyer)["HYPE"]["entryNtl"] == "300.0"
    place(maker, HYPE, "buy", "5", "33")
    place(buyer, HYPE, "sell", "4", "33", "Ioc")
    newest = buyer.info("userFills")[0]
    assert float(newest["closedPnl"]) == pytest.approx(4 * 33 - 4 * 300 / 9.993, abs=2e-8)
    assert newest["startPosition"] == "9.993"


@pytest.mark.parametrize(
    ("args", "error", "status"),
    [
        ((PURR, "buy", "40", "0.2"), "Order must have minimum value of 10 USDC.", "minTradeSpotNtlRejected"),
        ((HYPE_USDH, "buy", "0.1", "31.5"), "Order must have minimum value of 10 USDH.", "minTradeSpotNtlRejected"),
        ((HYPE, "buy", "1000", "31.5"), "Insufficient spot balance", "insufficientSpotBalanceRejected"),
        ((PURR, "buy", "1000", "0.2100001"), "Price must be divisible by tick size.", "tickRejected"),
        ((PURR, "buy", "1000", "0.001"), "Order price cannot be more than 95%", "oracleRejected"),
    ],
    ids=str,
)
def test_an_order_that_breaks_a_rule_is_told_which(trader, args, error, status):
    assert place(trader, *args)["error"].startswith(error)
    assert trader.info("historicalOrders")[0]["status"] == status


def test_a_price_may_have_eight_decimals_less_those_of_the_size(trader):
    assert "resting" in place(trader, PURR, "buy", "1000", "0.19995")
    assert "error" in place(trader, PURR, "buy", "1000", "0.199951")
    assert "resting" in place(trader, HYPE, "buy", "1", "30.123")


def test_reduce_only_and_triggers_mean_nothing_on_spot(trader):
    order = wire(PURR, "sell", "1000", "0.2")
    assert "error" in trader.orders([{**order, "r": True}])[0]
    trigger = {"isMarket": True, "triggerPx": "0.19", "tpsl": "sl"}
    assert "error" in trader.orders([{**order, "t": {"trigger": trigger}}])[0]
    assert trader.info("openOrders") == []


def test_leverage_and_margin_mean_nothing_on_spot(trader):
    for action in (
        {"type": "updateLeverage", "asset": PURR, "isCross": True, "leverage": 1},
        {"type": "updateIsolatedMargin", "asset": PURR, "isBuy": True, "ntli": 1_000_000},
    ):
        assert trader.act(action)["status"] == "err"


def test_a_modify_may_use_what_the_old_order_holds(trader):
    oid = place(trader, HYPE, "buy", "300", "31")["resting"]["oid"]
    moved = {"type": "batchModify", "modifies": [{"oid": oid, "order": wire(HYPE, "buy", "305", "31.2")}]}
    (status,) = trader.act(moved)["response"]["data"]["statuses"]
    assert "resting" in status
    assert balances(trader)["USDC"]["hold"] == "9516.0"


def test_an_own_resting_order_is_cancelled_instead_of_traded(trader):
    oid = place(trader, HYPE, "sell", "1", "31")["resting"]["oid"]
    place(trader, HYPE, "buy", "1", "31.5")
    assert trader.status_of(oid) == "selfTradeCanceled"
    assert trader.info("userFills") == []


def test_a_stable_pair_costs_a_fifth(trader, maker):
    place(maker, USDH, "sell", "100", "1")
    place(trader, USDH, "buy", "100", "1", "Ioc")
    assert trader.info("userFills")[0]["fee"] == "0.014"


def test_a_builder_is_paid_on_spot_sells_alone(trader, maker):
    builder, nonce = "0x" + "bb" * 20, trader.desk.next_nonce()
    approval = {"type": "approveBuilderFee", "maxFeeRate": "1%", "builder": builder, "nonce": nonce}
    trader.act({**approval, "signatureChainId": "0x66eee", "hyperliquidChain": "Testnet"}, nonce=nonce)
    for side, other in (("sell", "buy"), ("buy", "sell")):
        place(maker, HYPE, side, "2", "31.5")
        order = wire(HYPE, other, "2", "31.5", "Ioc")
        action = {"type": "order", "orders": [order], "grouping": "na", "builder": {"b": builder, "f": 1000}}
        assert "filled" in trader.act(action)["response"]["data"]["statuses"][0]
    sold, bought = trader.info("userFills")
    assert "builderFee" not in bought
    assert (sold["builderFee"], sold["fee"]) == ("0.63", "0.6741")


def test_perpetual_and_spot_orders_of_one_account_are_listed_together_on_the_main_dex(trader):
    trader.order("BTC", "buy", "0.01", "60000")
    place(trader, PURR, "buy", "100", "0.2")
    assert [row["coin"] for row in trader.info("frontendOpenOrders", dex="")] == ["PURR/USDC", "BTC"]
    assert trader.info("openOrders", dex="xyz") == []


sides = st.sampled_from(["buy", "sell"])
steps = st.lists(
    st.tuples(st.integers(0, 1), sides, st.integers(1, 400), st.integers(200, 220), st.sampled_from(["Gtc", "Ioc"])),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_no_token_is_made_or_lost_and_no_balance_goes_below_zero(make_desk, sequence):
    desk = make_desk(initial_spot={"USDC": "300", "PURR": "900"}, spot_maker_fee="-0.00003")
    traders = [desk.trader(), desk.trader()]
    state = desk.venue.state

    def sums():
        accounts = state.accounts.values()
        return [sum(a.balance(t).total for a in accounts) + state.spot.fees.get(t, 0) for t in (0, 1)]

    start = sums()
    for who, side, size, price, tif in sequence:
        place(traders[who], PURR, side, str(size), f"0.{price}", tif)
        for account in state.accounts.values():
            for index, balance in account.balances.items():
                assert 0 <= state.spot.held(account, state.spot.token(index)) <= balance.total
    assert sums() == start
