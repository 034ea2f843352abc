"""The official Hyperliquid client, unmodified, does a trader's everyday work on the local venue."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid
from support.venue_sdk import eventually

from latentspeed.tools.venues.hyperliquid.process import venue_process

DEADLINE_S = 60


@pytest.fixture(scope="module", params=["0", "20"], ids=["at once", "in blocks"])
def venue(request):
    with venue_process("--seed", "7", "--block-ms", request.param) as running:
        yield running


@pytest.fixture
def wallet():
    return Account.create()


@pytest.fixture
def exchange(venue, wallet):
    return Exchange(wallet, venue.url, timeout=DEADLINE_S)


def only(reply):
    """The one status of an accepted batch of one."""
    assert reply["status"] == "ok", reply
    statuses = reply["response"]["data"]["statuses"]
    assert len(statuses) == 1, reply
    return statuses[0]


def positions(exchange, wallet):
    """Positions by coin."""
    rows = exchange.info.user_state(wallet.address)["assetPositions"]
    return {row["position"]["coin"]: row["position"] for row in rows}


def test_the_client_finds_markets_and_their_number_rules(exchange):
    info = exchange.info
    assert info.asset_to_sz_decimals[info.name_to_asset("BTC")] == 5
    assert info.asset_to_sz_decimals[info.name_to_asset("ETH")] == 4
    assert {"BTC", "ETH", "SOL", "kPEPE"} <= set(info.all_mids())
    meta, contexts = info.meta_and_asset_ctxs()
    assert len(meta["universe"]) == len(contexts)
    assert info.spot_meta()["tokens"][0]["name"] == "USDC"
    book = info.l2_snapshot("BTC")
    assert float(book["levels"][0][0]["px"]) < float(book["levels"][1][0]["px"])


@pytest.mark.parametrize("tif", ["Gtc", "Alo"])
def test_an_order_rests_is_found_by_both_ids_and_is_cancelled(exchange, wallet, tif):
    cloid = Cloid.from_int(41)
    resting = only(exchange.order("BTC", True, 0.01, 50_000, {"limit": {"tif": tif}}, cloid=cloid))["resting"]
    assert resting["cloid"] == cloid.to_raw()
    by_oid = exchange.info.query_order_by_oid(wallet.address, resting["oid"])
    assert by_oid == exchange.info.query_order_by_cloid(wallet.address, cloid)
    assert (by_oid["order"]["status"], by_oid["order"]["order"]["tif"]) == ("open", tif)
    assert [row["oid"] for row in exchange.info.open_orders(wallet.address)] == [resting["oid"]]
    assert exchange.info.frontend_open_orders(wallet.address)[0]["cloid"] == cloid.to_raw()
    assert only(exchange.cancel("BTC", resting["oid"])) == "success"
    assert exchange.info.query_order_by_oid(wallet.address, resting["oid"])["order"]["status"] == "canceled"
    assert exchange.info.open_orders(wallet.address) == []


def test_an_order_is_cancelled_by_its_client_id(exchange):
    cloid = Cloid.from_int(42)
    only(exchange.order("ETH", False, 0.5, 5_000, {"limit": {"tif": "Gtc"}}, cloid=cloid))
    assert only(exchange.cancel_by_cloid("ETH", cloid)) == "success"
    assert "error" in only(exchange.cancel_by_cloid("ETH", cloid))


def test_an_order_is_modified_by_either_id(exchange, wallet):
    cloid = Cloid.from_int(43)
    gtc = {"limit": {"tif": "Gtc"}}
    first = only(exchange.order("BTC", True, 0.01, 50_000, gtc, cloid=cloid))["resting"]["oid"]
    second = only(exchange.modify_order(first, "BTC", True, 0.02, 50_001, gtc, cloid=cloid))["resting"]["oid"]
    third = only(exchange.modify_order(cloid, "BTC", True, 0.03, 50_002, gtc, cloid=cloid))["resting"]["oid"]
    assert len({first, second, third}) == 3
    (row,) = exchange.info.open_orders(wallet.address)
    assert (row["oid"], row["sz"], row["limitPx"]) == (third, "0.03", "50002.0")


def test_an_ioc_order_takes_what_there_is_or_says_so(exchange, wallet):
    ioc = {"limit": {"tif": "Ioc"}}
    assert only(exchange.order("BTC", True, 0.01, 90_000, ioc))["filled"]["totalSz"] == "0.01"
    error = only(exchange.order("BTC", True, 0.01, 50_000, ioc))["error"]
    assert error == "Order could not immediately match against any resting orders. asset=0"
    fill = exchange.info.user_fills(wallet.address)[0]
    assert (fill["dir"], fill["crossed"], fill["feeToken"]) == ("Open Long", True, "USDC")
    exact = Decimal(fill["px"]) * Decimal(fill["sz"]) * Decimal("0.00045")
    assert exact - Decimal("0.000001") < Decimal(fill["fee"]) <= exact


def test_a_market_order_opens_a_position_and_market_close_flattens_it(exchange, wallet):
    opened = only(exchange.market_open("ETH", True, 0.5))["filled"]
    assert opened["totalSz"] == "0.5"
    assert positions(exchange, wallet)["ETH"]["szi"] == "0.5"
    assert only(exchange.market_close("ETH"))["filled"]["totalSz"] == "0.5"
    assert positions(exchange, wallet) == {}
    fills = exchange.info.user_fills_by_time(wallet.address, 0)
    assert sum(Decimal(fill["sz"]) for fill in fills) == 1
    state = exchange.info.user_state(wallet.address)
    spent = sum(Decimal(fill["fee"]) - Decimal(fill["closedPnl"]) for fill in fills)
    assert Decimal(state["marginSummary"]["accountValue"]) == 100_000 - spent


def test_leverage_is_set_and_bounds_the_next_order(exchange, wallet):
    assert exchange.update_leverage(3, "SOL")["status"] == "ok"
    assert exchange.update_leverage(4, "SOL", is_cross=False)["status"] == "ok"
    only(exchange.market_open("SOL", True, 10))
    position = positions(exchange, wallet)["SOL"]
    assert (position["leverage"]["type"], position["leverage"]["value"]) == ("isolated", 4)
    assert exchange.update_isolated_margin(25.5, "SOL")["status"] == "ok"
    grown = positions(exchange, wallet)["SOL"]["leverage"]["rawUsd"]
    assert Decimal(grown) - Decimal(position["leverage"]["rawUsd"]) == Decimal("25.5")


def test_a_batch_is_placed_and_cancelled_at_once(exchange, wallet):
    requests = [
        {"coin": "BTC", "is_buy": True, "sz": 0.01, "limit_px": 50_000 + n, "order_type": {"limit": {"tif": "Gtc"}},
         "reduce_only": False}
        for n in range(5)
    ]  # fmt: skip
    statuses = exchange.bulk_orders(requests)["response"]["data"]["statuses"]
    oids = [status["resting"]["oid"] for status in statuses]
    reply = exchange.bulk_cancel([{"coin": "BTC", "oid": oid} for oid in oids])
    assert reply["response"]["data"]["statuses"] == ["success"] * 5
    assert len(exchange.info.historical_orders(wallet.address)) == 10


def test_an_agent_trades_for_its_master(venue, exchange, wallet):
    reply, key = exchange.approve_agent("desk")
    assert reply["status"] == "ok"
    agent = Account.from_key(key)
    trading = Exchange(agent, venue.url, account_address=wallet.address, timeout=DEADLINE_S)
    oid = only(trading.order("BTC", True, 0.01, 50_000, {"limit": {"tif": "Gtc"}}))["resting"]["oid"]
    assert [row["oid"] for row in exchange.info.open_orders(wallet.address)] == [oid]
    assert exchange.info.open_orders(agent.address) == []
    assert exchange.info.user_role(agent.address) == {"role": "agent", "data": {"user": wallet.address.lower()}}
    assert [row["name"] for row in exchange.info.extra_agents(wallet.address)] == ["desk"]
    assert only(trading.market_open("ETH", True, 0.1))["filled"]["totalSz"] == "0.1"
    assert only(trading.market_close("ETH"))["filled"]["totalSz"] == "0.1"


def test_an_unnamed_agent_and_expiring_orders_are_accepted(venue, exchange, wallet):
    reply, key = exchange.approve_agent()
    assert reply["status"] == "ok"
    trading = Exchange(Account.from_key(key), venue.url, account_address=wallet.address, timeout=DEADLINE_S)
    trading.set_expires_after(int(time.time() * 1000) + 60_000)
    assert "resting" in only(trading.order("BTC", True, 0.01, 50_000, {"limit": {"tif": "Gtc"}}))
    trading.set_expires_after(int(time.time() * 1000) - 60_000)
    refused = trading.order("BTC", True, 0.01, 50_000, {"limit": {"tif": "Gtc"}})
    assert refused == {"status": "err", "response": "Action already expired"}


def test_money_and_scheduling_actions_answer(exchange, wallet):
    assert exchange.usd_class_transfer(12.5, False)["status"] == "ok"
    assert exchange.info.spot_user_state(wallet.address)["balances"][0]["total"] == "12.5"
    assert exchange.schedule_cancel(None)["response"].startswith("Cannot set scheduled cancel time until enough volume")
    assert exchange.noop(int(time.time() * 1000))["status"] == "ok"
    assert exchange.approve_builder_fee("0x" + "ab" * 20, "0.01%")["status"] == "ok"


def test_every_read_that_the_client_offers_is_answered(exchange, wallet):
    info, user = exchange.info, wallet.address
    now = int(time.time() * 1000)
    for read in (
        *(info.user_fees, info.user_rate_limit, info.portfolio, info.query_sub_accounts, info.query_referral_state),
        *(info.user_twap_slice_fills, info.user_vault_equities, info.user_staking_delegations, info.user_role),
        *(info.query_user_abstraction_state, info.historical_orders),
    ):
        read(user)
    assert info.user_funding_history(user, 0) == []
    assert info.user_non_funding_ledger_updates(user, 0)[0]["delta"]["type"] == "deposit"
    assert info.funding_history("BTC", now) == []
    assert isinstance(info.candles_snapshot("BTC", "1m", 0, now), list)
    assert info.perp_dexs()[0] is None


def test_streams_tell_of_quotes_trades_orders_and_fills(venue, exchange, wallet):
    info = Info(venue.url, timeout=DEADLINE_S)
    messages = []

    def of(channel, condition=lambda data: True):
        return [m["data"] for m in messages if m["channel"] == channel and condition(m["data"])]

    subscriptions = [
        {"type": "allMids"},
        {"type": "bbo", "coin": "BTC"},
        {"type": "l2Book", "coin": "BTC"},
        {"type": "trades", "coin": "BTC"},
        {"type": "candle", "coin": "BTC", "interval": "1m"},
        {"type": "activeAssetCtx", "coin": "BTC"},
        {"type": "activeAssetData", "coin": "BTC", "user": wallet.address},
        {"type": "orderUpdates", "user": wallet.address},
        {"type": "userFills", "user": wallet.address},
        {"type": "userEvents", "user": wallet.address},
        {"type": "userFundings", "user": wallet.address},
        {"type": "userNonFundingLedgerUpdates", "user": wallet.address},
        {"type": "webData2", "user": wallet.address},
    ]
    try:
        for subscription in subscriptions:
            info.subscribe(subscription, messages.append)
        eventually(lambda: of("userFills", lambda data: data.get("isSnapshot")) and of("webData2"))
        oid = only(exchange.market_open("BTC", True, 0.01))["filled"]["oid"]
        (fills,) = eventually(lambda: of("userFills", lambda data: not data.get("isSnapshot")))
        assert {fill["oid"] for fill in fills["fills"]} == {oid}
        (updates,) = eventually(lambda: of("orderUpdates"))
        assert [row["status"] for row in updates] == ["open", "filled"]
        assert eventually(lambda: of("user", lambda data: "fills" in data))[0]["fills"] == fills["fills"]
        wanted = {"bbo", "l2Book", "trades", "candle", "activeAssetCtx", "activeAssetData", "allMids", "userFundings"}
        eventually(lambda: wanted <= {m["channel"] for m in messages})
    finally:
        info.disconnect_websocket()
