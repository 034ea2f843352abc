"""The official Hyperliquid client, unmodified, does a trader's everyday work on the local venue."""

from __future__ import annotations

import time

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

from latentspeed.tools.venues.hyperliquid.process import venue_process

DEADLINE_S = 10


@pytest.fixture(scope="module")
def venue():
    with venue_process("--seed", "7") as running:
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


def eventually(condition):
    """Wait until the condition holds and return what it found."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come true in time")


def test_the_client_finds_markets_and_their_number_rules(exchange):
    assert exchange.info.asset_to_sz_decimals[exchange.info.name_to_asset("BTC")] == 5
    assert exchange.info.asset_to_sz_decimals[exchange.info.name_to_asset("ETH")] == 4
    mids = exchange.info.all_mids()
    assert {"BTC", "ETH", "SOL", "kPEPE"} <= set(mids)


def test_a_limit_order_rests_is_found_by_both_ids_and_is_cancelled(exchange, wallet):
    cloid = Cloid.from_int(41)
    resting = only(exchange.order("BTC", True, 0.01, 50_000, {"limit": {"tif": "Gtc"}}, cloid=cloid))["resting"]
    assert resting["cloid"] == cloid.to_raw()
    by_oid = exchange.info.query_order_by_oid(wallet.address, resting["oid"])
    by_cloid = exchange.info.query_order_by_cloid(wallet.address, cloid)
    assert by_oid == by_cloid
    assert by_oid["order"]["status"] == "open"
    assert [row["oid"] for row in exchange.info.open_orders(wallet.address)] == [resting["oid"]]
    assert only(exchange.cancel("BTC", resting["oid"])) == "success"
    assert exchange.info.query_order_by_oid(wallet.address, resting["oid"])["order"]["status"] == "canceled"
    assert exchange.info.open_orders(wallet.address) == []


def test_a_market_order_opens_a_position_and_market_close_flattens_it(exchange, wallet):
    opened = only(exchange.market_open("ETH", True, 0.5))["filled"]
    assert opened["totalSz"] == "0.5"
    (position,) = exchange.info.user_state(wallet.address)["assetPositions"]
    assert position["position"]["szi"] == "0.5"
    assert only(exchange.market_close("ETH"))["filled"]["totalSz"] == "0.5"
    assert exchange.info.user_state(wallet.address)["assetPositions"] == []
    sizes = [fill["sz"] for fill in exchange.info.user_fills(wallet.address)]
    assert sum(float(size) for size in sizes) == pytest.approx(1.0)


def test_streams_tell_of_quotes_trades_orders_and_fills(venue, exchange, wallet):
    info = Info(venue.url, timeout=DEADLINE_S)
    messages = []
    try:
        for subscription in (
            {"type": "bbo", "coin": "BTC"},
            {"type": "l2Book", "coin": "BTC"},
            {"type": "trades", "coin": "BTC"},
            {"type": "orderUpdates", "user": wallet.address},
            {"type": "userFills", "user": wallet.address},
            {"type": "userEvents", "user": wallet.address},
        ):
            info.subscribe(subscription, messages.append)
        eventually(lambda: [m for m in messages if m["channel"] == "userFills" and m["data"].get("isSnapshot")])
        oid = only(exchange.market_open("BTC", True, 0.01))["filled"]["oid"]

        def channels():
            fills = [m for m in messages if m["channel"] == "userFills" and not m["data"].get("isSnapshot")]
            updates = [m for m in messages if m["channel"] == "orderUpdates"]
            seen = {m["channel"] for m in messages}
            return fills and updates and {"bbo", "l2Book", "trades", "user"} <= seen and (fills, updates)

        fills, updates = eventually(channels)
        assert {fill["oid"] for fill in fills[0]["data"]["fills"]} == {oid}
        assert [row["status"] for row in updates[0]["data"]] == ["open", "filled"]
    finally:
        info.disconnect_websocket()
