"""The official client, unmodified, trades spot and builder-deployed perpetuals on the local venue."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info

from latentspeed.tools.venues.hyperliquid.process import venue_process

TIMEOUT_S = 60
GTC, IOC = {"limit": {"tif": "Gtc"}}, {"limit": {"tif": "Ioc"}}
OK = {"status": "ok", "response": {"type": "default"}}
DEXS = ["", "xyz", "hed"]


@pytest.fixture(scope="module")
def venue():
    spot = ("--spot", "USDC=10000", "--spot", "USDH=5000", "--no-volume-needed")
    with venue_process("--seed", "7", *spot) as running:
        yield running


@pytest.fixture
def client(venue):
    wallet = Account.create()
    client = Exchange(wallet, venue.url, perp_dexs=DEXS, timeout=TIMEOUT_S)
    client.info.user_state(wallet.address)
    return client


def only(reply):
    assert reply["status"] == "ok", reply
    (status,) = reply["response"]["data"]["statuses"]
    return status


def balance(client, coin):
    rows = client.info.spot_user_state(client.wallet.address)["balances"]
    return next((Decimal(row["total"]) for row in rows if row["coin"] == coin), Decimal(0))


def token(client, name):
    row = next(row for row in client.info.spot_meta()["tokens"] if row["name"] == name)
    return f"{row['name']}:{row['tokenId']}"


def dex_value(client, dex):
    return Decimal(client.info.user_state(client.wallet.address, dex)["marginSummary"]["accountValue"])


def test_ids_follow_from_places_although_a_dex_between_them_is_not_asked_for(client):
    ids = {
        name: client.info.name_to_asset(name) for name in ("BTC", "xyz:SILVER", "hed:COPPER", "PURR/USDC", "HYPE/USDH")
    }
    expected = {"BTC": 0, "xyz:SILVER": 110000, "hed:COPPER": 130000, "PURR/USDC": 10000, "HYPE/USDH": 10107}
    assert ids == expected


def test_spot_is_bought_sold_and_its_dust_stays(client):
    before = balance(client, "USDC")
    filled = only(client.market_open("HYPE/USDC", True, 2))["filled"]
    assert filled["totalSz"] == "2.0"
    fills = client.info.user_fills(client.wallet.address)
    assert {(fill["coin"], fill["dir"], fill["feeToken"]) for fill in fills} == {("@1", "Buy", "HYPE")}
    fee = sum(Decimal(fill["fee"]) for fill in fills)
    assert balance(client, "HYPE") == 2 - fee
    assert balance(client, "USDC") == before - sum(Decimal(fill["px"]) * Decimal(fill["sz"]) for fill in fills)
    error = only(client.order("HYPE/USDC", False, 2, 20, IOC))["error"]
    assert error.startswith("Insufficient spot balance asset=10001")
    assert only(client.order("HYPE/USDC", False, 1.99, 20, IOC))["filled"]["totalSz"] == "1.99"
    assert 0 < balance(client, "HYPE") < Decimal("0.01")


def test_a_pair_in_another_quote_token_trades_in_it(client):
    before = balance(client, "USDH")
    only(client.market_open("HYPE/USDH", True, 1))
    assert balance(client, "USDH") < before - 20
    assert balance(client, "USDC") == 10_000


def test_spot_orders_rest_are_modified_and_cancelled(client):
    address = client.wallet.address
    oid = only(client.order("PURR/USDC", True, 100, 0.15, GTC))["resting"]["oid"]
    (row,) = client.info.open_orders(address)
    assert (row["coin"], row["limitPx"], row["sz"]) == ("PURR/USDC", "0.15", "100.0")
    moved = only(client.modify_order(oid, "PURR/USDC", True, 200, 0.16, GTC))["resting"]["oid"]
    held = client.info.spot_user_state(address)["balances"][0]
    assert (held["coin"], held["hold"]) == ("USDC", "32.0")
    assert only(client.cancel("PURR/USDC", moved)) == "success"


def test_tokens_are_sent_and_usdc_changes_sides(client):
    friend = Account.create().address
    assert client.spot_transfer(12.5, friend, token(client, "USDH")) == OK
    assert client.info.spot_user_state(friend)["balances"][0]["total"] == "12.5"
    assert client.spot_transfer(99_999, friend, token(client, "USDH"))["response"].startswith("Insufficient balance")
    assert client.usd_class_transfer(100, True) == OK
    assert balance(client, "USDC") == 9_900
    deltas = [row["delta"] for row in client.info.user_non_funding_ledger_updates(client.wallet.address, 0)]
    assert [delta["type"] for delta in deltas] == ["deposit", "spotTransfer", "accountClassTransfer"]


def test_sub_accounts_hold_tokens_too(client):
    sub = client.create_sub_account("desk")["response"]["data"]
    assert client.sub_account_spot_transfer(sub, True, token(client, "USDH"), 40.0) == OK
    (row,) = client.info.query_sub_accounts(client.wallet.address)
    assert row["spotState"]["balances"][0]["total"] == "40.0"
    assert client.sub_account_spot_transfer(sub, False, token(client, "USDH"), 41.0)["status"] == "err"


def test_a_builder_dex_is_traded_with_the_collateral_sent_there(client):
    address = client.wallet.address
    assert "error" in only(client.order("xyz:SILVER", True, 1, 70, GTC))
    assert client.send_asset(address, "", "xyz", token(client, "USDC"), 1_000) == OK
    assert only(client.market_open("xyz:SILVER", True, 3))["filled"]["totalSz"] == "3.0"
    resting = only(client.order("xyz:SILVER", True, 1, 70, GTC))["resting"]["oid"]
    assert [row["oid"] for row in client.info.open_orders(address, "xyz")] == [resting]
    assert client.info.open_orders(address) == []
    (position,) = client.info.user_state(address, "xyz")["assetPositions"]
    assert (position["position"]["coin"], position["position"]["szi"]) == ("xyz:SILVER", "3.0")
    fill = client.info.user_fills(address)[0]
    twice = Decimal(fill["px"]) * Decimal(fill["sz"]) * Decimal("0.0009")
    assert Decimal(fill["fee"]) == pytest.approx(twice, abs=Decimal("0.000001"))
    assert client.update_leverage(5, "xyz:SILVER") == OK
    assert only(client.market_close("xyz:SILVER"))["filled"]["totalSz"] == "3.0"
    assert only(client.cancel("xyz:SILVER", resting)) == "success"
    assert client.send_asset(address, "xyz", "spot", token(client, "USDC"), 100) == OK
    assert balance(client, "USDC") == 10_100


def test_a_dex_with_another_collateral_takes_that_one_alone(client):
    address = client.wallet.address
    assert client.send_asset(address, "", "hed", token(client, "USDC"), 10) == {
        "status": "err",
        "response": "Invalid send",
    }
    assert client.send_asset(address, "spot", "hed", token(client, "USDH"), 500) == OK
    only(client.market_open("hed:COPPER", False, 20))
    assert client.info.user_fills(address)[0]["feeToken"] == "USDH"
    assert 499 < dex_value(client, "hed") < 501


def test_the_clients_spot_rounding_breaks_the_tick_of_a_builder_market(client):
    """It counts every id above 10000 as spot, and so allows two decimals too many."""
    assert client.send_asset(client.wallet.address, "", "xyz", token(client, "USDC"), 100) == OK
    error = only(client.market_open("xyz:YEN", True, 500, px=0.067123))["error"]
    assert error == "Price must be divisible by tick size. asset=110002"
    assert "filled" in only(client.order("xyz:YEN", True, 500, 0.07, IOC))


def test_abstraction_modes_are_kept_and_a_unified_account_cannot_move_between_sides(client):
    address = client.wallet.address
    read = client.info.query_user_abstraction_state
    assert read(address) == "default"
    assert client.user_set_abstraction(address, "unifiedAccount") == OK
    assert read(address) == "unifiedAccount"
    refused = client.usd_class_transfer(1, True)
    assert refused == {"status": "err", "response": "Action disabled when unified account is active."}
    assert client.agent_set_abstraction("i") == OK
    assert read(address) == "disabled"
    assert client.user_dex_abstraction(address, True) == OK
    assert client.info.query_user_dex_abstraction_state(address) is True
    assert client.agent_enable_dex_abstraction() == OK


def test_spot_and_dex_streams_arrive_on_their_own_channels(venue, client):
    info, messages = Info(venue.url, perp_dexs=DEXS, timeout=TIMEOUT_S), []
    try:
        for subscription in (
            {"type": "activeAssetCtx", "coin": "@1"},
            {"type": "activeAssetCtx", "coin": "xyz:SILVER"},
            {"type": "l2Book", "coin": "PURR/USDC"},
            {"type": "bbo", "coin": "xyz:SILVER"},
            {"type": "userFills", "user": client.wallet.address},
        ):
            info.subscribe(subscription, messages.append)
        only(client.market_open("PURR/USDC", True, 100))
        deadline = time.monotonic() + TIMEOUT_S
        wanted = {"activeSpotAssetCtx", "activeAssetCtx", "l2Book", "bbo"}

        def is_done():
            live = [
                m["data"]["fills"] for m in messages if m["channel"] == "userFills" and not m["data"].get("isSnapshot")
            ]
            return wanted <= {m["channel"] for m in messages} and live

        while not is_done():
            assert time.monotonic() < deadline, {m["channel"] for m in messages}
            time.sleep(0.01)
    finally:
        info.disconnect_websocket()
    context = next(m["data"] for m in messages if m["channel"] == "activeSpotAssetCtx")
    assert context["coin"] == "@1"
    assert {"circulatingSupply", "markPx", "midPx"} <= set(context["ctx"])
