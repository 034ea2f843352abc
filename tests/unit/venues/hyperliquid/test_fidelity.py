"""Row by row: what trading messages must hold, where keys are absent, where null, and the text of every refusal."""

from __future__ import annotations

import re

import pytest

from latentspeed.tools.venues.hyperliquid.refusals import CANCELLATIONS, ORDER_REFUSALS

CLOID = "0x" + "0c" * 16


@pytest.fixture
def trader(desk):
    desk.rest_both_sides(desk.trader())
    return desk.trader()


@pytest.fixture
def tables(reference):
    """Every table row of the protocol reference as a list of cells."""
    text = (reference / "hyperliquid.md").read_text()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_every_refusal_has_the_text_that_the_reference_gives_its_status(tables):
    checked = set()
    for row in tables:
        if len(row) == 3 and row[1] in ORDER_REFUSALS and row[0].startswith("`"):
            texts = [re.sub(r" asset=n$", "", text) for text in re.findall(r"`([^`]+)`", row[0])]
            patterns = [re.escape(text).replace(r"\{", "{").replace(r"\}", "}") for text in texts]
            patterns = [re.sub(r"\{\w+\}", r"\\S+", pattern) for pattern in patterns]
            given = ORDER_REFUSALS[row[1]]
            assert any(re.match(pattern, given) for pattern in patterns), (row[1], given, texts)
            checked.add(row[1])
    assert len(checked) >= 14, checked


def test_every_status_of_the_reference_can_be_brought_about(tables):
    rows = [row for row in tables if len(row) == 4 and row[1] == "yes"]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert len(named) > 25
    assert named - {"filled"} <= set(ORDER_REFUSALS) | set(CANCELLATIONS)


@pytest.mark.parametrize("cloid", [None, CLOID], ids=["without", "with client id"])
def test_a_client_id_is_absent_or_given_in_replies_and_lists_and_null_in_long_ones(trader, cloid):
    resting = trader.order("BTC", "buy", "0.01", "60000", cloid=cloid)["resting"]
    filled = trader.order("ETH", "buy", "0.01", "3100", cloid=None)
    assert "resting" in filled
    took = trader.order("BTC", "buy", "0.01", "64010", "Ioc", cloid=cloid and CLOID.replace("c", "d"))["filled"]
    row = next(row for row in trader.info("openOrders") if row["oid"] == resting["oid"])
    long = next(row for row in trader.info("frontendOpenOrders") if row["oid"] == resting["oid"])
    fill = trader.info("userFills")[0]
    for found in (resting, took, row, fill):
        assert ("cloid" in found) == (cloid is not None)
    assert long["cloid"] == cloid


def test_reduce_only_is_told_only_where_it_is_true(trader):
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    trader.order("BTC", "sell", "0.01", "65000", reduce_only=True)
    trader.order("BTC", "sell", "0.01", "66000")
    plain, reducing = trader.info("openOrders")
    assert reducing["reduceOnly"] is True
    assert "reduceOnly" not in plain
    assert [row["reduceOnly"] for row in trader.info("frontendOpenOrders")] == [False, True]


def test_an_ordinary_fill_has_a_null_twap_and_neither_builder_nor_liquidation(trader):
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    fill = trader.info("userFills")[0]
    assert fill["twapId"] is None
    assert not {"builderFee", "liquidation", "cloid"} & set(fill)


def test_a_position_that_nothing_can_liquidate_has_a_null_price(trader):
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    assert trader.info("clearinghouseState")["assetPositions"][0]["position"]["liquidationPx"] is None


@pytest.mark.parametrize(
    ("coin", "size", "price", "shown"),
    [("kPEPE", "1000000", "0.012345", ("1000000.0", "0.012345")), ("BTC", "0.00100", "60000.0", ("0.001", "60000.0"))],
)
def test_numbers_are_shortest_decimals_with_a_point(trader, coin, size, price, shown):
    trader.order(coin, "buy", size, price)
    row = trader.info("openOrders")[0]
    assert (row["sz"], row["limitPx"]) == shown


@pytest.mark.parametrize("suffix", [True, False])
def test_the_asset_suffix_of_every_kind_of_error_follows_the_switch(make_desk, wire, suffix):
    trader = make_desk(error_suffix=suffix).trader()
    end = " asset=0" if suffix else ""
    assert trader.order("BTC", "buy", "0.0001", "60000") == {"error": f"Order must have minimum value of $10.{end}"}
    assert trader.cancel("BTC", 1) == {"error": f"Order was never placed, already canceled, or filled.{end}"}
    leg = {
        **wire("BTC", "sell", "1", "60000"),
        "t": {"trigger": {"isMarket": True, "triggerPx": "60000", "tpsl": "sl"}},
    }
    group = {"type": "order", "orders": [wire("BTC", "buy", "1", "60000"), leg], "grouping": "normalTpsl"}
    assert trader.act(group)["response"]["data"]["statuses"] == [{"error": f"Trigger order is not reduce only.{end}"}]
    terms = {"a": 0, "b": True, "s": "1", "r": True, "m": 5, "t": False}
    status = trader.act({"type": "twapOrder", "twap": terms})["response"]["data"]["status"]
    assert status == {"error": "Reduce-only TWAP order would increase position."}, "never a suffix here"


def test_order_ids_are_beyond_32_bits_and_trade_ids_within_50(trader):
    taken = trader.order("BTC", "buy", "0.01", "64010", "Ioc")["filled"]["oid"]
    rested = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    assert 2**32 < taken < rested
    fill = trader.info("userFills")[0]
    assert 0 < fill["tid"] < 2**50
    assert re.fullmatch("0x[0-9a-f]{64}", fill["hash"])


def test_an_action_of_the_venues_own_class_comes_before_cancels_and_those_before_takers(make_desk, wire):
    desk = make_desk(block_interval_ms=100)
    maker, trader = desk.trader(), desk.trader()
    replies = {}

    def queue(name, who, action):
        replies[name] = []
        desk.venue.submit(desk.envelope(who.body(action)), replies[name].append)

    queue("quote", maker, {"type": "order", "orders": [wire("BTC", "sell", "1", "64000")], "grouping": "na"})
    desk.venue.make_block()
    oid = replies["quote"][0]["response"]["data"]["statuses"][0]["resting"]["oid"]
    stop = {
        **wire("BTC", "buy", "1", "70000"),
        "t": {"trigger": {"isMarket": True, "triggerPx": "66000", "tpsl": "sl"}},
    }
    queue("take", trader, {"type": "order", "orders": [wire("BTC", "buy", "1", "64000", "Ioc")], "grouping": "na"})
    queue("cancel", maker, {"type": "cancel", "cancels": [{"a": 0, "o": oid}]})
    queue("arm", trader, {"type": "order", "orders": [stop], "grouping": "na"})
    queue(
        "both", maker, {"type": "order", "orders": [wire("BTC", "sell", "1", "64000", "Alo"), stop], "grouping": "na"}
    )
    desk.venue.make_block()
    found = {name: reply[0]["response"]["data"]["statuses"][0] for name, reply in replies.items()}
    assert found["cancel"] == "success"
    assert "filled" in found["take"], "it met the post-only order that came later but went first"
    assert found["arm"] == "waitingForTrigger"
    assert trader.info("historicalOrders")[-1]["order"]["isTrigger"] is True
