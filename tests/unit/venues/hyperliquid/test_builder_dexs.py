"""Builder dexs: ids that follow from the place in `perpDexs`, collateral of their own, fees by their scale."""

from __future__ import annotations

from decimal import Decimal

import pytest

from latentspeed.tools.venues.hyperliquid.builder_dexs import fee_rate_scale
from latentspeed.tools.venues.hyperliquid.wire import WireError

SILVER, GOLD, YEN, NVDA, TEA, COPPER = 110_000, 110_001, 110_002, 110_003, 120_000, 130_000
OK = {"status": "ok", "response": {"type": "default"}}


def wire(asset, side, size, price, tif="Gtc", reduce_only=False):
    return {"a": asset, "b": side == "buy", "p": price, "s": size, "r": reduce_only, "t": {"limit": {"tif": tif}}}


def place(trader, *args, **more):
    return trader.orders([wire(*args, **more)])[0]


def ask(desk, kind, **more):
    return desk.venue.info.answer({"type": kind, **more})


def token_name(desk, name):
    return next(f"{row['name']}:{row['tokenId']}" for row in ask(desk, "spotMeta")["tokens"] if row["name"] == name)


def send(trader, source, target, token, amount, to=None, sub=""):
    nonce = trader.desk.next_nonce()
    action = {
        "type": "sendAsset",
        "destination": to or trader.address,
        "sourceDex": source,
        "destinationDex": target,
        "token": token_name(trader.desk, token),
        "amount": amount,
        "fromSubAccount": sub,
        "nonce": nonce,
        "signatureChainId": "0x66eee",
        "hyperliquidChain": "Testnet",
    }
    return trader.act(action, nonce=nonce)


def funded(desk, dex="xyz", token="USDC", amount="5000"):
    trader = desk.trader()
    desk.venue.give(trader.address, token, amount, dex)
    return trader


def test_the_list_of_dexs_begins_with_null_and_places_decide_the_ids(desk):
    rows = ask(desk, "perpDexs")
    assert [row and row["name"] for row in rows] == [None, "xyz", "gone", "hed"]
    assert [market.instrument.asset for market in desk.venue.state.markets.of_dex("hed")] == [130_000, 130_001]
    assert ask(desk, "meta", dex="hed")["collateralToken"] == 7
    assert [meta["universe"][0]["name"] for meta in ask(desk, "allPerpMetas")] == [
        "BTC",
        "xyz:SILVER",
        "gone:TEA",
        "hed:COPPER",
    ]


def test_every_read_takes_a_dex_and_a_name_that_no_dex_has_is_null(desk):
    trader = funded(desk)
    place(trader, SILVER, "buy", "1", "80")
    assert ask(desk, "meta", dex="") == ask(desk, "meta") == ask(desk, "meta", dex=None)
    meta, contexts = ask(desk, "metaAndAssetCtxs", dex="xyz")
    assert len(meta["universe"]) == len(contexts) == 4
    assert set(ask(desk, "allMids", dex="xyz")) == {"xyz:SILVER", "xyz:GOLD", "xyz:YEN", "xyz:NVDA"}
    mids = ask(desk, "allMids", dex="")
    assert {"BTC", "PURR/USDC", "@1", "@107"} <= set(mids)
    assert not any(":" in coin for coin in mids)
    assert [row["coin"] for row in trader.info("openOrders", dex="xyz")] == ["xyz:SILVER"]
    assert trader.info("openOrders") == []
    assert trader.info("clearinghouseState", dex="xyz")["withdrawable"] == "5000.0"
    assert trader.info("clearinghouseState")["withdrawable"] == "100000.0"
    for kind in ("meta", "metaAndAssetCtxs", "allMids", "perpDexLimits", "marginTable", "perpsAtOpenInterestCap"):
        assert ask(desk, kind, dex="XYZ", id=10) is None
    for kind in ("clearinghouseState", "openOrders", "frontendOpenOrders"):
        assert trader.info(kind, dex="XYZ") is None
    with pytest.raises(WireError):
        ask(desk, "meta", dex=7)


def test_positions_and_cash_of_a_dex_are_apart_from_every_other(desk):
    maker, trader = funded(desk), funded(desk, amount="1000")
    place(maker, SILVER, "sell", "10", "80.5")
    assert "filled" in place(trader, SILVER, "buy", "10", "80.5", "Ioc")
    state = trader.info("clearinghouseState", dex="xyz")
    assert [row["position"]["coin"] for row in state["assetPositions"]] == ["xyz:SILVER"]
    assert trader.info("clearinghouseState")["assetPositions"] == []
    (fill,) = trader.info("userFills")
    assert (fill["coin"], fill["feeToken"], fill["fee"]) == ("xyz:SILVER", "USDC", "0.7245")
    assert Decimal(state["marginSummary"]["accountValue"]) == Decimal("999.2755")
    assert trader.info("activeAssetData", coin="xyz:SILVER")["leverage"]["value"] == 10
    assert "error" in place(trader, SILVER, "buy", "200", "80.5")
    sub_states = dict(trader.desk.venue.info.accounts.clearinghouses(trader.account))
    assert list(sub_states) == ["", "xyz", "gone", "hed"]


def test_without_collateral_on_the_dex_nothing_is_placed(desk):
    trader = desk.trader()
    assert place(trader, SILVER, "buy", "1", "80")["error"] == "Insufficient margin to place order. asset=110000"


@pytest.mark.parametrize(
    ("asset", "size", "price", "dex", "token", "fee", "fee_token"),
    [
        (SILVER, "10", "80", "xyz", "USDC", "0.72", "USDC"),
        (GOLD, "0.2", "4000", "xyz", "USDC", "0.072", "USDC"),
        (COPPER, "160", "5", "hed", "USDH", "0.54", "USDH"),
    ],
    ids=["twice", "in growth mode", "half again"],
)
def test_fees_follow_the_scale_of_the_dex(desk, asset, size, price, dex, token, fee, fee_token):
    maker, trader = funded(desk, dex, token), funded(desk, dex, token)
    place(maker, asset, "sell", size, price)
    place(trader, asset, "buy", size, price, "Ioc")
    (fill,) = trader.info("userFills")
    assert (fill["fee"], fill["feeToken"]) == (fee, fee_token)


def test_a_deployers_scale_doubles_from_one_on():
    assert [fee_rate_scale(text) for text in ("0.0", "0.5", "1.0", "1.5")] == [10_000, 15_000, 20_000, 30_000]


def test_a_delisted_dex_keeps_its_place_and_trades_nothing(desk):
    trader = funded(desk, "gone")
    assert place(trader, TEA, "buy", "10", "12")["error"].startswith("Trading is halted.")


def test_prices_have_six_decimals_less_those_of_the_size_although_the_id_is_above_ten_thousand(desk):
    trader = funded(desk)
    assert "resting" in place(trader, YEN, "buy", "1000", "0.06671")
    assert place(trader, YEN, "buy", "1000", "0.066712")["error"].startswith("Price must be divisible by tick size.")


def test_an_isolated_only_market_of_a_dex_takes_its_margin_from_that_dex(desk):
    maker, trader = funded(desk), funded(desk)
    place(maker, NVDA, "sell", "10", "187.3")
    place(trader, NVDA, "buy", "10", "187.3", "Ioc")
    (position,) = trader.info("clearinghouseState", dex="xyz")["assetPositions"]
    assert position["position"]["leverage"]["type"] == "isolated"
    assert trader.act({"type": "updateIsolatedMargin", "asset": NVDA, "isBuy": True, "ntli": 50_000_000}) == OK
    assert trader.info("clearinghouseState")["withdrawable"] == "100000.0"


def test_collateral_moves_between_main_dex_builder_dex_and_spot(desk):
    trader = desk.trader()
    assert send(trader, "", "xyz", "USDC", "250.5") == OK
    assert send(trader, "xyz", "spot", "USDC", "50.25") == OK
    assert send(trader, "spot", "", "USDC", "0.25") == OK
    assert trader.info("clearinghouseState", dex="xyz")["withdrawable"] == "200.25"
    assert trader.info("clearinghouseState")["withdrawable"] == "99749.75"
    assert trader.info("spotClearinghouseState")["balances"][0]["total"] == "50.0"
    delta = trader.info("userNonFundingLedgerUpdates")[1]["delta"]
    assert (delta["type"], delta["sourceDex"], delta["destinationDex"]) == ("send", "", "xyz")


@pytest.mark.parametrize(
    ("source", "target", "token", "amount", "text"),
    [
        ("", "hed", "USDC", "5", "Invalid send"),
        ("", "nowhere", "USDC", "5", "Invalid send"),
        ("", "xyz", "USDC", "0.0000001", "Invalid send"),
        ("", "xyz", "USDC", "-5", "Invalid send"),
        ("", "", "USDC", "5", "Invalid send"),
        ("", "xyz", "USDC", "100000.01", "Insufficient balance for token transfer"),
        ("spot", "hed", "USDH", "5", "Insufficient balance for token transfer"),
    ],
    ids=str,
)
def test_a_send_that_cannot_be_is_refused(desk, source, target, token, amount, text):
    trader = desk.trader()
    assert send(trader, source, target, token, amount) == {"status": "err", "response": text}
    assert trader.info("clearinghouseState")["withdrawable"] == "100000.0"


def test_an_agent_moves_assets_inside_the_user_alone(make_desk):
    desk = make_desk(sub_account_volume=0)
    trader = desk.trader()
    sub = trader.act({"type": "createSubAccount", "name": "s"})["response"]["data"]

    def agent_send(to, **more):
        action = {"type": "agentSendAsset", "destination": to, "sourceDex": "", "destinationDex": "xyz"}
        nonce = desk.next_nonce()
        action |= {"token": token_name(desk, "USDC"), "amount": "10", "fromSubAccount": "", "nonce": nonce}
        return trader.act({**action, **more}, nonce=nonce)

    assert agent_send(trader.address) == OK
    assert agent_send(sub) == OK
    assert agent_send(trader.address, sourceDex="xyz", destinationDex="", fromSubAccount=sub) == OK
    text = "Agent can only send asset to same user or their sub-accounts."
    assert agent_send(desk.trader().address) == {"status": "err", "response": text}


def test_funding_of_a_dex_is_paid_from_its_own_cash(desk):
    maker, trader = funded(desk), funded(desk)
    place(maker, SILVER, "sell", "10", "80.5")
    place(trader, SILVER, "buy", "10", "80.5", "Ioc")
    before = [trader.account.clearing(dex).cash for dex in ("", "xyz")]
    desk.venue.clock.advance(3_600_000)
    desk.venue.tick()
    after = [trader.account.clearing(dex).cash for dex in ("", "xyz")]
    assert after[0] == before[0]
    assert before[1] - after[1] == 10_062
    (row,) = trader.info("userFunding", startTime=0)
    assert (row["delta"]["coin"], row["delta"]["usdc"]) == ("xyz:SILVER", "-0.010062")


def test_the_markets_of_a_dex_can_be_recorded_ones_and_a_dex_that_is_not_listed_is_refused(make_desk, tmp_path):
    path = tmp_path / "meta.json"
    path.write_text('{"universe": [{"name": "gone:X", "szDecimals": 2, "maxLeverage": 5}], "collateralToken": 0}')
    desk = make_desk(dex_meta_files={"gone": path})
    assert desk.venue.market("gone:X").instrument.asset == TEA
    assert desk.venue.market("xyz:SILVER").instrument.asset == SILVER
    with pytest.raises(ValueError, match="no dex nowhere"):
        make_desk(dex_meta_files={"nowhere": path})
