"""Every rule that refuses an order, with the venue's own text, and the status under which the order is remembered."""

from __future__ import annotations

import pytest


@pytest.fixture
def trader(desk):
    desk.rest_both_sides(desk.trader())
    return desk.trader()


def test_a_limit_order_rests_and_is_told_as_open(trader):
    status = trader.order("BTC", "buy", "0.01", "60000", cloid="0x" + "ab" * 16)
    assert set(status["resting"]) == {"oid", "cloid"}
    assert status["resting"]["oid"] > 2**32
    (row,) = trader.info("openOrders")
    assert row == {
        "coin": "BTC",
        "side": "B",
        "limitPx": "60000.0",
        "sz": "0.01",
        "oid": status["resting"]["oid"],
        "timestamp": row["timestamp"],
        "origSz": "0.01",
        "cloid": "0x" + "ab" * 16,
    }


def test_a_marketable_order_fills_at_the_makers_price(trader):
    status = trader.order("BTC", "buy", "0.5", "65000")["filled"]
    assert status["totalSz"] == "0.5"
    assert status["avgPx"] == "64010.0"
    assert trader.status_of(status["oid"]) == "filled"


def test_a_partly_marketable_order_rests_with_what_is_left(trader):
    status = trader.order("BTC", "buy", "1.5", "64010")
    assert "resting" in status
    assert trader.info("openOrders")[0]["sz"] == "0.5"
    assert trader.info("openOrders")[0]["origSz"] == "1.5"


@pytest.mark.parametrize(("switch", "status"), [("canceled", "canceled"), ("filled", "filled")])
def test_an_ioc_order_that_fills_in_part_ends_by_the_switch(make_desk, switch, status):
    desk = make_desk(partial_ioc_status=switch)
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    filled = trader.order("BTC", "buy", "1.5", "64010", "Ioc")["filled"]
    assert filled["totalSz"] == "1.0"
    order = trader.info("orderStatus", oid=filled["oid"])["order"]
    assert (order["status"], order["order"]["sz"]) == (status, "0.5")


REFUSALS = [
    ("tick too fine", ("BTC", "buy", "0.01", "60000.5"), "Price must be divisible by tick size.", "tickRejected"),
    ("finer than any tick", ("BTC", "buy", "0.01", "6000.55"), "Price must be divisible by tick size.", "tickRejected"),
    ("too small", ("BTC", "buy", "0.0001", "60000"), "Order must have minimum value of $10.", "minTradeNtlRejected"),
    ("no margin", ("BTC", "buy", "60", "64000"), "Insufficient margin to place order.", "perpMarginRejected"),
    (
        "nothing to reduce",
        ("BTC", "buy", "0.01", "60000", "Gtc", True),
        "Reduce only order would increase position.",
        "reduceOnlyRejected",
    ),
    (
        "post-only would trade",
        ("BTC", "buy", "0.01", "64010", "Alo"),
        "Post only order would have immediately matched, bbo was 63990@64010.",
        "badAloPxRejected",
    ),
    (
        "ioc finds nothing",
        ("BTC", "buy", "0.01", "64000", "Ioc"),
        "Order could not immediately match against any resting orders.",
        "iocCancelRejected",
    ),
    (
        "market order without a book",
        ("ETH", "buy", "0.1", "3200", "FrontendMarket"),
        "No liquidity available for market order.",
        "marketOrderNoLiquidityRejected",
    ),
    ("delisted", ("OLDX", "buy", "10", "1.5"), "Trading is halted.", "rejected"),
]


@pytest.mark.parametrize(("order", "text", "status"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_refused_order_carries_the_venues_text_and_is_remembered(desk, trader, wire, order, text, status):
    reply = trader.orders([wire(*order)])[0]
    asset = wire(*order)["a"]
    assert reply == {"error": f"{text} asset={asset}"}
    (row,) = trader.info("historicalOrders")
    assert row["status"] == status
    assert row["order"]["sz"] == row["order"]["origSz"]
    assert trader.info("openOrders") == []


WITHOUT_SUFFIX = [
    ("too far", ("BTC", "buy", "0.01", "3000"), "Order price cannot be more than 95% away from the reference price"),
    ("too far above", ("BTC", "sell", "0.01", "130000"), "Order price cannot be more than 95% away from the reference"),
    ("too large", ("BTC", "buy", "300", "64000", "Ioc"), "Order value too large. Max is $15000000."),
]


@pytest.mark.parametrize(("order", "text"), [row[1:] for row in WITHOUT_SUFFIX], ids=[row[0] for row in WITHOUT_SUFFIX])
def test_some_refusals_have_no_asset_suffix(trader, wire, order, text):
    reply = trader.orders([wire(*order)])[0]["error"]
    assert reply.startswith(text)
    assert "asset=" not in reply


@pytest.mark.parametrize(
    ("size", "price", "text"),
    [
        ("0.000001", "60000", "Order has invalid size."),
        ("-1", "60000", "Order has invalid size."),
        ("0.01", "0", "Order has invalid price."),
        ("0.01", "-5", "Order has invalid price."),
        ("0", "60000", "Order has zero size."),
    ],
)
def test_numbers_that_mean_nothing_never_become_an_order(trader, size, price, text):
    assert trader.order("BTC", "buy", size, price) == {"error": f"{text} asset=0"}
    assert trader.info("historicalOrders") == []


def test_the_asset_suffix_can_be_switched_off(make_desk):
    trader = make_desk(error_suffix=False).trader()
    assert trader.order("BTC", "buy", "0.0001", "60000") == {"error": "Order must have minimum value of $10."}


def test_after_a_network_upgrade_only_post_only_orders_are_taken(make_desk):
    trader = make_desk(network_upgrade=True).trader()
    text = "Only post-only orders allowed immediately after a network upgrade"
    assert trader.order("BTC", "buy", "0.01", "60000") == {"error": text}
    assert "resting" in trader.order("BTC", "buy", "0.01", "60000", "Alo")


def test_a_client_id_may_be_used_again_only_when_its_order_is_finished(trader):
    cloid = "0x" + "01" * 16
    first = trader.order("BTC", "buy", "0.01", "60000", cloid=cloid)["resting"]["oid"]
    assert trader.order("BTC", "buy", "0.01", "60000", cloid=cloid) == {
        "error": "Client order id is in use by a live order. asset=0"
    }
    assert trader.cancel("BTC", first) == "success"
    second = trader.order("BTC", "buy", "0.01", "60000", cloid=cloid)["resting"]["oid"]
    assert trader.info("orderStatus", oid=cloid)["order"]["order"]["oid"] == second


def test_a_live_client_id_can_be_accepted_by_the_switch(make_desk):
    trader = make_desk(cloid_reuse="accept").trader()
    for _ in range(2):
        assert "resting" in trader.order("BTC", "buy", "0.01", "60000", cloid="0x" + "01" * 16)


def test_too_many_open_orders_are_refused(trader, wire):
    prices = [str(30_000 + index) for index in range(1000)]
    for start in range(0, 1000, 200):
        batch = [wire("BTC", "buy", "0.001", price) for price in prices[start : start + 200]]
        assert all("resting" in status for status in trader.orders(batch))
    assert trader.order("BTC", "buy", "0.001", "29999") == {"error": "Too many open orders. asset=0"}


def test_one_bad_order_of_a_batch_does_not_stop_the_others(trader, wire):
    batch = [wire("BTC", "buy", "0.01", price) for price in ("60000", "60000.5", "60001")]
    assert [next(iter(status)) for status in trader.orders(batch)] == ["resting", "error", "resting"]


def test_a_self_trade_cancels_the_resting_order_and_prints_nothing(desk):
    trader = desk.trader()
    oid = trader.order("ETH", "sell", "1", "3000")["resting"]["oid"]
    assert "resting" in trader.order("ETH", "buy", "1", "3000")
    assert trader.status_of(oid) == "selfTradeCanceled"
    assert trader.info("userFills") == []
    assert len(trader.info("openOrders")) == 1


def test_a_maker_that_can_no_longer_afford_its_order_is_cancelled_at_the_match(desk):
    maker, taker = desk.trader(), desk.trader()
    first = maker.order("BTC", "buy", "25", "64000")["resting"]["oid"]
    second = maker.order("BTC", "buy", "25", "63999")["resting"]["oid"]
    assert taker.order("BTC", "sell", "25", "64000", "Ioc")["filled"]["totalSz"] == "25.0"
    assert maker.status_of(first) == "filled"
    assert "error" in desk.trader().order("BTC", "sell", "10", "63999", "Ioc")
    assert maker.status_of(second) == "marginCanceled"


def test_the_default_leverage_bounds_what_can_be_opened(desk):
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    assert trader.order("ETH", "buy", "600", "3100") == {"resting": {"oid": trader.account.history[-1].order.oid}}
    assert trader.order("ETH", "buy", "700", "3100") == {"error": "Insufficient margin to place order. asset=1"}
