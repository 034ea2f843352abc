"""What trading answers and tells has the names, order and kinds of what was recorded on the real venue."""

from __future__ import annotations

import json
import re

import pytest

CLOID = "0x" + "0c" * 16


@pytest.fixture
def folder(reference):
    return reference / "payloads" / "hyperliquid"


@pytest.fixture
def messages(folder):
    """Recorded socket messages by name."""
    return {row["name"]: json.loads(row["raw"]) for row in load(folder, "ws_account_messages_2026")}


@pytest.fixture
def trader(desk):
    desk.rest_both_sides(desk.trader())
    return desk.trader()


def load(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def kinds(value):
    """A message with every value reduced to its kind, and every list to its first item."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    if isinstance(value, str):
        return "decimal" if re.fullmatch(r"-?\d+\.\d+", value) else "hex" if value.startswith("0x") else "text"
    return type(value).__name__


def same(found, recorded):
    """The same keys in the same order, and values of the same kind."""
    assert list(found) == list(recorded)
    assert kinds(found) == kinds(recorded)


def updates(trader, oid):
    """What `orderUpdates` told of an order."""
    return [row.update() for row in trader.account.history if row.order.oid == oid]


def test_order_updates_of_a_resting_and_a_cancelled_order(trader, messages):
    oid = trader.order("BTC", "buy", "0.01", "60000", cloid=CLOID)["resting"]["oid"]
    trader.cancel("BTC", oid)
    placed, ended = updates(trader, oid)
    for found, name in ((placed, "order_updates.create_resting"), (ended, "order_updates.cancel")):
        (recorded,) = messages[name]["data"]
        same(found, recorded)
        same(found["order"], recorded["order"])
        assert found["status"] == recorded["status"]
    assert (ended["order"]["sz"], ended["order"]["origSz"]) == ("0.01", "0.01")


def test_order_updates_of_an_order_that_fills_at_once(trader, messages):
    oid = trader.order("BTC", "buy", "0.01", "64010", cloid=CLOID)["filled"]["oid"]
    recorded = messages["order_updates.create_filled"]["data"]
    found = updates(trader, oid)
    assert [row["status"] for row in found] == [row["status"] for row in recorded]
    for mine, theirs in zip(found, recorded, strict=True):
        same(mine["order"], theirs["order"])
    assert [row["order"]["sz"] for row in found] == ["0.01", "0.0"]
    assert found[0]["statusTimestamp"] == found[1]["statusTimestamp"] == found[0]["order"]["timestamp"]


def test_order_updates_of_an_order_without_margin(trader, messages):
    trader.order("BTC", "buy", "60", "64000", cloid=CLOID)
    (recorded,) = messages["order_updates.create_failure_"]["data"]
    found = trader.account.history[-1].update()
    same(found["order"], recorded["order"])
    assert found["status"] == recorded["status"]
    assert found["statusTimestamp"] == found["order"]["timestamp"]


def test_a_funding_event(make_desk, messages):
    desk = make_desk()
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    trader.order("BTC", "buy", "0.5", "64010", "Ioc")
    recorded = messages["user.funding"]["data"]["funding"]
    desk.venue.clock.advance(3_600_000)
    desk.venue.state.begin_block()
    desk.venue.funding.settle_due(desk.venue.clock.now_ms())
    (found,) = desk.venue.state.block.fundings[trader.account]
    same(found, recorded)
    assert found["time"] % 3_600_000 < 100
    assert recorded["time"] % 3_600_000 < 100


def test_a_liquidation_fill(desk, trader, folder):
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    desk.venue.trading.liquidate(trader.address, "BTC")
    recorded = load(folder, "http_userFills_hip3_liquidation_2026")[0]
    found = trader.info("userFills")[0]
    same(found, recorded)
    assert (found["dir"], found["liquidation"]["method"]) == (recorded["dir"], recorded["liquidation"]["method"])


def test_a_fill_with_a_builder_fee(trader, folder):
    builder = "0x" + "ab" * 20
    trader.account.approved_builders[builder] = 10
    wire = {"a": 0, "b": True, "p": "64010", "s": "0.01", "r": False, "t": {"limit": {"tif": "Ioc"}}}
    trader.act({"type": "order", "orders": [wire], "grouping": "na", "builder": {"b": builder, "f": 10}})
    cases = {row["case"]: row["payload"] for row in load(folder, "ccxt_recorded_responses")}
    recorded = cases["userFills: builder fee, HIP-3 with USDH fee, liquidation"][0]
    found = trader.info("userFills")[0]
    assert list(found) == list(recorded)
    assert (found["fee"], found["builderFee"]) == ("0.352055", "0.06401")


def test_a_bracket_in_the_long_list(trader, folder):
    """Recorded in 2023 without `cloid` and with sorted keys: a limit parent, its take-profit and its stop."""
    take_recorded, stop_recorded, parent_recorded = load(folder, "http_frontendOpenOrders_tpsl_2023")
    parent = {"a": 0, "b": True, "p": "63500", "s": "0.5", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    legs = [
        {"a": 0, "b": False, "p": "58000", "s": "0.5", "r": True,
         "t": {"trigger": {"isMarket": True, "triggerPx": price, "tpsl": tpsl}}}
        for tpsl, price in (("tp", "65000"), ("sl", "63000"))
    ]  # fmt: skip
    trader.act({"type": "order", "orders": [parent, *legs], "grouping": "normalTpsl"})
    rows = {row["orderType"]: row for row in trader.info("frontendOpenOrders")}
    for recorded in (take_recorded, stop_recorded, parent_recorded):
        found = rows[recorded["orderType"]]
        assert set(found) == set(recorded) | {"cloid"}
        assert {key: kinds(value) for key, value in found.items() if key not in ("children", "cloid")} == {
            key: kinds(value) for key, value in recorded.items() if key != "children"
        }
        for key in ("isTrigger", "isPositionTpsl", "reduceOnly", "side", "tif"):
            assert found[key] == recorded[key], key
        assert found["triggerCondition"].split(" ")[:2] == recorded["triggerCondition"].split(" ")[:2]
    assert {child["orderType"] for child in rows["Limit"]["children"]} == {
        child["orderType"] for child in parent_recorded["children"]
    }


def test_a_bracket_around_a_market_order_answers_as_recorded(trader, folder):
    cases = {row["case"]: row["payload"] for row in load(folder, "ccxt_recorded_responses")}
    recorded = cases["market parent with TP and SL children (normalTpsl)"]
    parent = {"a": 0, "b": True, "p": "64010", "s": "0.5", "r": False, "t": {"limit": {"tif": "Ioc"}}}
    legs = [
        {"a": 0, "b": False, "p": "58000", "s": "0.5", "r": True,
         "t": {"trigger": {"isMarket": True, "triggerPx": price, "tpsl": tpsl}}}
        for tpsl, price in (("tp", "65000"), ("sl", "63000"))
    ]  # fmt: skip
    reply = trader.act({"type": "order", "orders": [parent, *legs], "grouping": "normalTpsl"})
    first, *others = reply["response"]["data"]["statuses"]
    first_recorded, *others_recorded = recorded["response"]["data"]["statuses"]
    assert list(first["filled"]) == list(first_recorded["filled"])
    assert others == others_recorded


def test_order_status_and_history_rows(trader, folder):
    cases = {row["case"]: row["payload"] for row in load(folder, "ccxt_recorded_responses")}
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    trader.cancel("BTC", oid)
    found = trader.info("orderStatus", oid=oid)
    recorded = cases["orderStatus, spot, canceled"]
    assert list(found) == list(recorded)
    assert list(found["order"]) == list(recorded["order"])
    assert list(found["order"]["order"]) == list(recorded["order"]["order"])
    rows = trader.info("historicalOrders")
    theirs = cases["historicalOrders returns the same oid once per status"]
    assert [row["status"] for row in rows] == [row["status"] for row in theirs]
    assert [list(row) for row in rows] == [list(row) for row in theirs]


def test_recorded_replies_are_given_word_for_word(desk, trader, folder):
    """Each case of an experiment log: the same action in the same situation, ids and prices aside."""
    recorded = {row["case"]: json.loads(row["raw"]) for row in load(folder, "http_exchange_responses_testnet_2026-09")}

    def place(side, size, price, tif="Gtc", reduce_only=False, trigger=None, grouping="na"):
        kind = {"limit": {"tif": tif}} if trigger is None else {"trigger": trigger}
        wire = {"a": 0, "b": side == "buy", "p": price, "s": size, "r": reduce_only, "t": kind}
        return trader.act({"type": "order", "orders": [wire], "grouping": grouping})

    found = {
        "reduce-only IOC with no position": place("sell", "0.01", "63990", "Ioc", True),
        "IOC filled": place("buy", "0.01", "64010", "Ioc"),
        "reduce-only IOC sell of 0.0003 against a 0.00015 long is cut to the position": place(
            "sell", "0.02", "63990", "Ioc", True
        ),
    }
    place("buy", "0.01", "64010", "Ioc")
    found["resting reduce-only GTC"] = place("sell", "0.01", "66000", "Gtc", True)
    stop = {"isMarket": True, "triggerPx": "60000", "tpsl": "sl"}
    found["positionTpsl stop loss"] = place("sell", "0", "55000", None, True, stop, "positionTpsl")
    oid = place("buy", "0.01", "50000")["response"]["data"]["statuses"][0]["resting"]["oid"]
    found["cancel"] = trader.act({"type": "cancel", "cancels": [{"a": 0, "o": oid}]})
    wire = {"a": 0, "b": True, "p": "50001", "s": "0.01", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    found["modify of an order that was cancelled"] = trader.act({"type": "modify", "oid": oid, "order": wire})
    isolated = {"type": "updateLeverage", "asset": 0, "isCross": False, "leverage": 5}
    found["switch margin mode with a position"] = trader.act(isolated)
    more = {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True, "ntli": 1_000_000}
    found["isolated margin on a cross position"] = trader.act(more)
    terms = {"a": 1, "b": True, "s": "1", "r": True, "m": 5, "t": False}
    found["twapOrder reduce-only without a position"] = trader.act({"type": "twapOrder", "twap": terms})
    found["expiresAfter in the past"] = trader.act({"type": "noop"}, expiresAfter=1)

    def plain(reply):
        text = re.sub(r'"(totalSz|avgPx)": ?"[0-9.]+"', r'"\1": "n"', json.dumps(reply))
        return re.sub(r"asset=\d+", "asset=n", re.sub(r'"oid": \d+', '"oid": n', text))

    for case, reply in found.items():
        assert plain(reply) == plain(recorded[case]), case
