"""What two real clients send, replayed: the venue verifies every signature and understands every frame."""

from __future__ import annotations

import json

import pytest

from latentspeed.tools.venues.hyperliquid.subscriptions import parse_subscription


@pytest.fixture
def folder(reference):
    return reference / "payloads" / "hyperliquid"


@pytest.fixture
def captures(folder):
    return json.loads((folder / "client_traffic_local_capture.json").read_text())


def test_recorded_actions_are_executed_for_their_signer(make_desk, folder, captures):
    desk = make_desk(
        enrol="mentioned",
        lenient_network=True,
        prices={"BTC": "43000"},
        meta_file=folder / "http_meta_testnet_2026.json",
    )
    replies = {}
    for capture in captures:
        if "verified" not in capture:
            continue
        body = json.loads(capture["raw"])
        body = body["request"]["payload"] if capture["channel"] == "ws" else body
        desk.venue.state.mentioned(capture["verified"]["signer"])
        desk.venue.clock.freeze(body["nonce"])
        replies[f"{capture['client'].split()[0]}: {capture['case']}: {body['action']['type']}"] = desk.send(body)
    for case, reply in replies.items():
        assert "does not exist" not in str(reply), case
        assert "Must deposit" not in str(reply), case
    assert len(desk.venue.state.accounts) == 1, "some signature recovered a stranger"
    (placed,) = replies["hyperliquid-python-sdk: order GTC with cloid: order"]["response"]["data"]["statuses"]
    assert placed["resting"]["cloid"] == "0x1234567890abcdef1234567890abcdef"
    assert replies["hyperliquid-python-sdk: approve_agent unnamed: approveAgent"]["status"] == "ok"
    assert replies["ccxt: load_markets with credentials: approveBuilderFee"]["status"] == "ok"
    assert "resting" in replies["ccxt: createOrder limit: order"]["response"]["data"]["statuses"][0]


def test_recorded_reads_and_subscriptions_are_understood(desk, captures):
    for capture in captures:
        body = json.loads(capture["raw"])
        if capture["channel"] == "info":
            desk.venue.info.answer(body)
        elif body.get("method") in ("subscribe", "unsubscribe"):
            parse_subscription(body["subscription"], desk.venue.state)


def key_tree(value):
    """The nested key names of a message, lists reduced to their first item."""
    if isinstance(value, dict):
        return {key: key_tree(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [key_tree(value[0])] if value else []
    return type(value).__name__


def test_messages_have_the_keys_and_types_of_recorded_ones(desk, folder):
    """Fills, order updates, open orders, margin summaries, books and contexts: the same names, the same kinds."""
    maker, trader = desk.trader(), desk.trader()
    maker.order("BTC", "sell", "1", "64010")
    maker.order("BTC", "buy", "1", "63990")
    resting = trader.order("BTC", "buy", "0.01", "60000", cloid="0x" + "0c" * 16)["resting"]["oid"]
    trader.order("BTC", "buy", "0.01", "64010", "Ioc", cloid="0x" + "0d" * 16)

    recorded = {
        row["name"]: json.loads(row["raw"])
        for name in ("ws_account_messages_2026", "ws_market_messages_2026")
        for row in json.loads((folder / f"{name}.json").read_text())
    }
    update = recorded["order_updates.create_resting"]["data"][0]
    row = next(row for row in trader.account.history if row.order.oid == resting)
    assert key_tree(row.update()) == key_tree(update)
    fill = recorded["user.fills"]["data"]["fills"][0]
    assert key_tree(trader.info("userFills")[0]) == key_tree(fill)
    assert list(trader.info("userFills")[0]) == list(fill)
    book = recorded["l2_book.simple"]["data"]
    assert key_tree(desk.venue.info.answer({"type": "l2Book", "coin": "BTC"})) == key_tree(book)
    context = recorded["active_asset_ctx.simple"]["data"]["ctx"]
    assert key_tree(desk.venue.market("BTC").context()) == key_tree(context)
    assert key_tree(desk.venue.market("BTC").bbo()) == key_tree(recorded["bbo.simple"]["data"]["bbo"])
    state = json.loads((folder / "http_clearinghouseState_one_cross_2026.json").read_text())
    assert key_tree(trader.info("clearinghouseState")) == key_tree(state)
    orders = json.loads((folder / "http_openOrders_cloid_2026.json").read_text())
    assert key_tree(trader.info("openOrders")) == key_tree(orders)
    frontend = json.loads((folder / "http_frontendOpenOrders_tpsl_2023.json").read_text())[0]
    assert set(frontend) | {"cloid"} == set(trader.info("frontendOpenOrders")[0])
