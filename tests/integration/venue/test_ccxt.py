"""ccxt, unmodified, trades perpetuals and spot on the local venue."""

from __future__ import annotations

import time

import ccxt
import pytest
import requests
from eth_account import Account
from hyperliquid.exchange import Exchange
from support.ccxt_client import ccxt_client

from latentspeed.tools.venues.hyperliquid.process import venue_process

BTC, ETH, SOL, LINK = "BTC/USDC:USDC", "ETH/USDC:USDC", "SOL/USDC:USDC", "LINK/USDC:USDC"
SILVER, COPPER = "XYZ-SILVER/USDC:USDC", "HED-COPPER/USDH:USDH"


@pytest.fixture(scope="module")
def venue():
    spot = ("--spot", "USDC=10000", "--spot", "PURR=5000", "--spot", "USDH=2000")
    with venue_process("--seed", "7", "--no-volume-needed", *spot) as running:
        yield running


@pytest.fixture
def client(venue):
    client = ccxt_client(ccxt.hyperliquid, venue.url, venue.ws_url)
    client.load_markets()
    return client


def price_of(client, symbol):
    return client.fetch_ticker(symbol)["last"]


def open_orders(client, symbol=None):
    return {order["id"]: order for order in client.fetch_open_orders(symbol)}


# -- markets -----------------------------------------------------------------------------------------------------------


def test_markets_are_loaded_with_ids_of_perpetuals_spot_and_builder_dexs(client):
    ids = {symbol: int(client.market(symbol)["baseId"]) for symbol in (BTC, ETH, SILVER, COPPER)}
    assert ids == {BTC: 0, ETH: 1, SILVER: 110000, COPPER: 130000}
    assert [client.market(symbol)["id"] for symbol in ("PURR/USDC", "HYPE/USDC")] == ["PURR/USDC", "@1"]
    assert client.market(BTC)["precision"]["amount"] == 0.00001
    assert client.market(BTC)["limits"]["leverage"]["max"] == 40
    assert client.market("KPEPE/USDC:USDC")["info"]["name"] == "kPEPE"
    assert client.market("OLDX/USDC:USDC")["active"] is False


def test_loading_markets_approves_the_builder_of_ccxt(client):
    assert client.options["approvedBuilderFee"] is True
    builder = client.options.get("builder", "0x6530512A6c89C7cfCEbC3BA7fcD9aDa5f30827a6")
    approved = client.publicPostInfo({"type": "maxBuilderFee", "user": client.walletAddress, "builder": builder})
    assert int(approved) > 0


@pytest.mark.parametrize(
    "read",
    [
        lambda c: c.fetch_time(),
        lambda c: c.fetch_status()["status"] == "ok",
        lambda c: c.fetch_currencies()["PURR"],
        lambda c: c.fetch_tickers()[BTC]["bid"],
        lambda c: c.fetch_tickers(None, {"hip3": True})[SILVER]["last"],
        lambda c: c.fetch_order_book("PURR/USDC")["bids"],
        lambda c: c.fetch_order_book(SILVER)["asks"],
        lambda c: c.fetch_funding_rates()[BTC]["fundingRate"],
        lambda c: c.fetch_open_interests()[BTC],
        lambda c: c.fetch_trading_fee(BTC)["taker"] == 0.00045,
        lambda c: c.fetch_deposits()[0]["amount"] == 100_000,
        lambda c: c.fetch_ledger(),
    ],
)
def test_public_and_account_reads_are_understood(client, read):
    assert read(client)


def test_candles_trades_and_funding_history_come_once_there_are_any(client):
    deadline = time.monotonic() + 60
    while not client.fetch_ohlcv(BTC, "1m") or not client.fetch_trades(BTC):
        client.create_order(BTC, "market", "buy", 0.001, price_of(client, BTC))
        assert time.monotonic() < deadline
    assert client.fetch_funding_rate_history(BTC) == []
    assert client.fetch_funding_history(BTC) == []


# -- perpetuals --------------------------------------------------------------------------------------------------------


def test_a_limit_order_is_placed_fetched_edited_and_cancelled(client):
    order = client.create_order(BTC, "limit", "buy", 0.01, 50_000)
    fetched = client.fetch_order(order["id"], BTC)
    assert (fetched["status"], fetched["price"], fetched["amount"], fetched["side"]) == ("open", 50_000, 0.01, "buy")
    edited = client.edit_order(order["id"], BTC, "limit", "buy", 0.02, 50_001)
    assert open_orders(client, BTC)[edited["id"]]["amount"] == 0.02
    client.cancel_order(edited["id"], BTC)
    assert client.fetch_order(edited["id"], BTC)["status"] == "canceled"
    assert open_orders(client) == {}
    assert {order["id"], edited["id"]} <= {row["id"] for row in client.fetch_canceled_orders()}


def test_a_client_order_id_finds_and_cancels_an_order(client):
    cloid = "0x" + "ab" * 16
    client.create_order(ETH, "limit", "sell", 0.5, 5_000, {"clientOrderId": cloid})
    assert client.fetch_order(None, ETH, {"clientOrderId": cloid})["clientOrderId"] == cloid
    client.cancel_order(None, ETH, {"clientOrderId": cloid})
    with pytest.raises(ccxt.OrderNotFound):
        client.fetch_order("1", ETH)
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(None, ETH, {"clientOrderId": cloid})


def test_post_only_and_fill_or_nothing_orders_say_why_they_failed(client):
    with pytest.raises(ccxt.ExchangeError, match="Post only order would have immediately matched"):
        client.create_order(BTC, "limit", "buy", 0.01, 70_000, {"postOnly": True})
    with pytest.raises(ccxt.InvalidOrder, match="could not immediately match"):
        client.create_order(BTC, "limit", "buy", 0.01, 50_000, {"timeInForce": "IOC"})
    with pytest.raises(ccxt.InvalidOrder, match="minimum value"):
        client.create_order(BTC, "limit", "buy", 0.0001, 50_000)
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order(BTC, "limit", "buy", 50, 50_000)


def test_a_market_order_opens_a_position_pays_the_builder_and_is_closed(client):
    order = client.create_order(ETH, "market", "buy", 0.5, price_of(client, ETH))
    assert order["filled"] == 0.5
    (position,) = client.fetch_positions([ETH])
    assert (position["contracts"], position["side"], position["marginMode"]) == (0.5, "long", "cross")
    trades = client.fetch_my_trades(ETH)
    assert sum(trade["amount"] for trade in trades) == pytest.approx(0.5)
    assert {trade["order"] for trade in trades} == {order["id"]}
    assert trades[0]["fee"]["currency"] == "USDC"
    assert float(trades[0]["info"]["builderFee"]) > 0  # which ccxt counts twice: the venue's `fee` includes it
    client.create_order(ETH, "market", "sell", 0.5, price_of(client, ETH), {"reduceOnly": True})
    assert client.fetch_positions([ETH]) == []
    balance = client.fetch_balance()["USDC"]
    rows = [trade["info"] for trade in client.fetch_my_trades(ETH)]
    assert balance["total"] == pytest.approx(100_000 - sum(float(row["fee"]) - float(row["closedPnl"]) for row in rows))


def test_stops_and_take_profits_protect_a_position(client):
    price = price_of(client, ETH)
    client.create_order(ETH, "market", "buy", 0.2, price)
    stop = {"stopLossPrice": round(price * 0.9, 1), "reduceOnly": True}
    client.create_order(ETH, "market", "sell", 0.2, price, stop)
    target = {"takeProfitPrice": round(price * 1.1, 1), "reduceOnly": True}
    client.create_order(ETH, "limit", "sell", 0.2, round(price * 1.11, 1), target)
    waiting = list(open_orders(client, ETH).values())
    assert sorted(order["info"]["orderType"] for order in waiting) == ["Stop Market", "Take Profit Limit"]
    assert {order["triggerPrice"] for order in waiting} == {stop["stopLossPrice"], target["takeProfitPrice"]}
    client.cancel_orders([order["id"] for order in waiting], ETH)
    assert open_orders(client, ETH) == {}
    client.create_order(ETH, "market", "sell", 0.2, price, {"reduceOnly": True})


def test_an_entry_takes_its_stop_and_its_target_with_it(client):
    price = price_of(client, SOL)
    attached = {
        "stopLoss": {"triggerPrice": round(price * 0.8, 2)},
        "takeProfit": {"triggerPrice": round(price * 1.2, 2)},
    }
    entry = client.create_order(SOL, "limit", "buy", 1, round(price * 0.9, 2), attached)
    assert len(open_orders(client, SOL)) == 3
    client.cancel_order(entry["id"], SOL)
    assert open_orders(client, SOL) == {}


def test_leverage_and_margin_mode_are_set_and_isolated_margin_is_added(client):
    client.set_leverage(5, SOL)
    client.set_margin_mode("isolated", LINK, {"leverage": 3})
    client.create_order(LINK, "market", "buy", 10, price_of(client, LINK))
    (position,) = client.fetch_positions([LINK])
    assert (position["marginMode"], position["leverage"]) == ("isolated", 3)
    client.add_margin(LINK, 5)
    grown = client.fetch_positions([LINK])[0]["initialMargin"]
    assert grown > position["initialMargin"] + 4
    client.reduce_margin(LINK, 4)
    client.create_order(LINK, "market", "sell", 10, price_of(client, LINK), {"reduceOnly": True})


def test_a_batch_is_placed_and_cancelled(client):
    wanted = [{"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": 50_000 + n} for n in range(3)]
    placed = client.create_orders(wanted)
    assert set(open_orders(client, BTC)) == {order["id"] for order in placed}
    client.cancel_orders([order["id"] for order in placed], BTC)
    assert open_orders(client, BTC) == {}


# -- spot --------------------------------------------------------------------------------------------------------------


def spot_total(client, coin):
    return client.fetch_balance({"type": "spot"})[coin]["total"]


def test_spot_is_bought_and_sold_and_the_balance_shows_the_fee(client):
    order = client.create_order("PURR/USDC", "market", "buy", 1_000, price_of(client, "PURR/USDC"))
    assert order["filled"] == 1_000
    trades = client.fetch_my_trades("PURR/USDC")
    assert {trade["fee"]["currency"] for trade in trades} == {"PURR"}
    fee = sum(trade["fee"]["cost"] for trade in trades)
    assert spot_total(client, "PURR") == pytest.approx(6_000 - fee)
    assert spot_total(client, "USDC") == pytest.approx(10_000 - sum(trade["cost"] for trade in trades))
    client.create_order("PURR/USDC", "market", "sell", 999, price_of(client, "PURR/USDC"))
    assert client.fetch_my_trades("PURR/USDC")[-1]["fee"]["currency"] == "USDC"


def test_a_spot_order_rests_holds_and_is_cancelled(client):
    order = client.create_order("PURR/USDC", "limit", "buy", 500, 0.15)
    assert client.fetch_balance({"type": "spot"})["USDC"]["used"] == 75
    assert open_orders(client, "PURR/USDC")[order["id"]]["price"] == 0.15
    client.cancel_order(order["id"], "PURR/USDC")
    assert client.fetch_balance({"type": "spot"})["USDC"]["used"] == 0
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order("PURR/USDC", "limit", "buy", 5_000_000, 0.15)


def test_a_pair_named_by_its_number_trades(client):
    client.create_order("HYPE/USDC", "market", "buy", 2, price_of(client, "HYPE/USDC"))
    assert client.fetch_my_trades("HYPE/USDC")[0]["info"]["coin"] == "@1"
    assert 1.99 < spot_total(client, "HYPE") < 2


# -- money and accounts ------------------------------------------------------------------------------------------------


def test_money_moves_between_perpetuals_and_spot_and_out(client):
    client.transfer("USDC", 25, "swap", "spot")
    assert spot_total(client, "USDC") == 10_025
    client.transfer("USDC", 5, "spot", "swap")
    client.withdraw("USDC", 10, "0x" + "11" * 20)
    assert client.fetch_balance()["USDC"]["total"] == 99_970
    assert client.fetch_withdrawals()[0]["amount"] == 10


def test_sub_accounts_and_vaults_are_traded_by_address(venue):
    """A vault has approved no builder, so ccxt must not ask for its own."""
    client = ccxt_client(ccxt.hyperliquid, venue.url, venue.ws_url, options={"builderFee": False})
    vault = client.create_vault("Steady", "Buys low, sells high.", 500)["response"]["data"]
    client.create_order(BTC, "limit", "buy", 0.001, 50_000, {"vaultAddress": vault})
    assert len(client.fetch_open_orders(BTC, None, None, {"user": vault})) == 1
    assert client.fetch_open_orders(BTC) == []
    sub = client.create_sub_account("desk")["response"]["data"]
    client.transfer("USDC", 100, "main", sub)
    assert client.fetch_balance({"user": sub})["USDC"]["total"] == 100


def test_an_agents_key_trades_for_its_master(client, venue):
    master = Exchange(Account.from_key(client.privateKey), venue.url)
    key = master.approve_agent("ccxt")[1]
    agent = ccxt_client(ccxt.hyperliquid, venue.url, venue.ws_url, key, options={"builderFee": False})
    agent.walletAddress = client.walletAddress
    order = agent.create_order(BTC, "limit", "buy", 0.01, 50_000)
    assert set(open_orders(client, BTC)) == {order["id"]}
    agent.cancel_order(order["id"], BTC)
    assert open_orders(client, BTC) == {}
    with pytest.raises(ccxt.ExchangeError, match="Must deposit before performing actions"):
        agent.withdraw("USDC", 10, "0x" + "11" * 20)


def test_a_builder_dex_is_traded_with_collateral_that_was_sent_there(client, venue):
    give = {"do": "give", "user": client.walletAddress, "token": "USDC", "amount": "1000", "place": "xyz"}
    assert requests.post(venue.control_url, json=give, timeout=60).json() == {"ok": True}
    order = client.create_order(SILVER, "market", "buy", 2, price_of(client, SILVER))
    assert order["filled"] == 2
    (position,) = client.fetch_positions([SILVER], {"dex": "xyz"})
    assert position["contracts"] == 2
    resting = client.create_order(SILVER, "limit", "buy", 1, 70)
    assert [row["id"] for row in client.fetch_open_orders(SILVER)] == [resting["id"]]
    client.cancel_order(resting["id"], SILVER)


def test_a_cancel_is_scheduled(client):
    assert client.cancel_all_orders_after(60_000)["status"] == "ok"
