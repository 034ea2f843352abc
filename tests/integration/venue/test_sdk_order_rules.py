"""The official client on a quiet venue: reduce-only, self-trade, minimum value, margin at the match, batches."""

from __future__ import annotations

import pytest
from support.venue_sdk import SdkTrader, control, eventually, order_request

from latentspeed.tools.venues.hyperliquid.process import venue_process

CLOIDS = ["0x" + f"{n:032x}" for n in range(1, 9)]


@pytest.fixture(scope="module", params=["0", "20"], ids=["at once", "in blocks"])
def venue(request):
    with venue_process("--quiet", "--block-ms", request.param) as running:
        yield running


@pytest.fixture
def make_trader(venue):
    traders = []

    def make() -> SdkTrader:
        traders.append(SdkTrader(venue))
        return traders[-1]

    yield make
    for trader in traders:
        trader.exchange.bulk_cancel(
            [{"coin": row["coin"], "oid": row["oid"]} for row in trader.info.open_orders(trader.user)]
            or [{"coin": "ETH", "oid": 1}]
        )
        trader.close()


@pytest.fixture
def maker(make_trader):
    """Quotes ten ETH on both sides of 3100, the mark."""
    maker = make_trader()
    quotes = [(True, 3_099), (True, 3_000), (False, 3_101), (False, 3_200)]
    assert all("resting" in s for s in maker.place([order_request("ETH", b, 10, p, "Alo") for b, p in quotes]))
    return maker


@pytest.fixture
def trader(make_trader, maker):
    return make_trader()


def one(trader, *order, **more):
    """Place one order and return its status."""
    return trader.place([order_request("ETH", *order, **more)])[0]


def test_a_reduce_only_order_larger_than_the_position_is_cut_to_it(trader):
    one(trader, True, 1, 3_101, "Ioc")
    assert one(trader, False, 3, 3_099, "Ioc", reduce=True)["filled"]["totalSz"] == "1.0"
    assert trader.position("ETH") is None


def test_a_resting_reduce_only_order_shrinks_with_the_position(trader):
    one(trader, True, 3, 3_101, "Ioc")
    one(trader, False, 3, 3_150, cloid=CLOIDS[0], reduce=True)
    one(trader, False, 1, 3_099, "Ioc")
    row = trader.order(CLOIDS[0])
    assert (row["status"], row["order"]["sz"]) == ("open", "2.0")
    eventually(lambda: trader.updates(CLOIDS[0]) == ["open", "open"])


@pytest.mark.parametrize("size", [3, 4], ids=["closed", "flipped"])
def test_closing_tells_the_fill_and_the_reduce_only_cancel_in_one_message(trader, size):
    one(trader, True, 3, 3_101, "Ioc")
    one(trader, False, 3, 3_150, cloid=CLOIDS[0], reduce=True)
    oid = trader.order(CLOIDS[0])["order"]["oid"]
    one(trader, False, size, 3_099, "Ioc", cloid=CLOIDS[1])
    trader.told(CLOIDS[0], "open", "reduceOnlyCanceled")
    last = trader.of("orderUpdates")[-1]
    assert {row["status"] for row in last} == {"open", "filled", "reduceOnlyCanceled"}
    eventually(lambda: oid in trader.cancelled_by_venue())


def test_of_two_reduce_only_orders_that_are_too_much_together_the_older_one_goes(trader):
    one(trader, True, 3, 3_101, "Ioc")
    for cloid, price in zip(CLOIDS[:2], (3_150, 3_160), strict=True):
        assert "resting" in one(trader, False, 2, price, cloid=cloid, reduce=True)
    assert [trader.status(cloid) for cloid in CLOIDS[:2]] == ["reduceOnlyCanceled", "open"]


@pytest.mark.parametrize("side", [True, False], ids=["flat", "same side"])
def test_a_reduce_only_order_that_reduces_nothing_is_refused(trader, side):
    if not side:
        one(trader, False, 1, 3_099, "Ioc")
    status = one(trader, side, 1, 3_101 if side else 3_099, "Ioc", reduce=True)
    assert status == {"error": "Reduce only order would increase position. asset=1"}


def test_a_self_trade_ends_the_resting_order_and_prints_nothing(trader):
    one(trader, False, 1, 3_100.5, cloid=CLOIDS[0])
    assert one(trader, True, 1, 3_101, "Ioc", cloid=CLOIDS[1])["filled"]["avgPx"] == "3101.0"
    trader.told(CLOIDS[0], "open", "selfTradeCanceled")
    fills = trader.info.user_fills(trader.user)
    assert [(fill["cloid"], fill["px"]) for fill in fills] == [(CLOIDS[1], "3101.0")]
    trades = trader.info.post("/info", {"type": "recentTrades", "coin": "ETH"})
    own = [row for row in trades if trader.user.lower() in row["users"]]
    assert [(row["px"], row["side"]) for row in own] == [("3101.0", "B")]


def test_the_minimum_value_spares_only_what_closes_the_whole_position(trader):
    least = {"error": "Order must have minimum value of $10. asset=1"}
    one(trader, True, 0.0066, 3_101, "Ioc")
    one(trader, False, 0.0036, 3_099, "Ioc")
    assert trader.position("ETH") == "0.003"
    assert one(trader, False, 0.002, 3_099, "Ioc") == least
    assert one(trader, False, 0.002, 3_099, "Ioc", reduce=True) == least
    assert one(trader, False, 0.003, 3_099, "Ioc")["filled"]["totalSz"] == "0.003"
    one(trader, True, 0.0066, 3_101, "Ioc")
    one(trader, False, 0.0036, 3_099, "Ioc")
    assert one(trader, False, 0.0031, 3_099, "Ioc", reduce=True)["filled"]["totalSz"] == "0.003"


def test_margin_is_asked_for_when_an_order_is_placed_and_again_when_it_trades(trader, make_trader):
    assert one(trader, True, 1_000, 3_100) == {"error": "Insufficient margin to place order. asset=1"}
    assert "resting" in one(trader, True, 600, 3_100, "Alo", cloid=CLOIDS[0])
    assert "resting" in one(trader, True, 600, 3_099.5, "Alo", cloid=CLOIDS[1])
    sellers = [make_trader() for _ in range(3)]
    for seller in sellers:
        one(seller, False, 400, 3_099.5, "Ioc")
    trader.told(CLOIDS[1], "open", "marginCanceled")
    assert trader.status(CLOIDS[0]) == "filled"
    oid = trader.order(CLOIDS[1])["order"]["oid"]
    eventually(lambda: oid in trader.cancelled_by_venue())


def test_an_ioc_order_that_finds_too_little_reports_what_it_got(trader):
    filled = one(trader, True, 25, 3_200, "Ioc", cloid=CLOIDS[0])["filled"]
    assert (filled["totalSz"], filled["avgPx"]) == ("20.0", "3150.5")
    trader.told(CLOIDS[0], "open", "canceled")
    fills = trader.info.user_fills(trader.user)
    assert [(fill["sz"], fill["startPosition"]) for fill in reversed(fills)] == [("10.0", "0.0"), ("10.0", "10.0")]
    assert len({fill["tid"] for fill in fills}) == 2
    assert len({fill["hash"] for fill in fills}) == 1


def test_every_item_of_a_batch_answers_for_itself(trader):
    orders = [(True, 1, 3_000), (True, 1, 3_000.05), (True, 0.001, 3_000), (False, 1, 3_099, "Ioc"), (True, 1, 3_001)]
    statuses = trader.place([order_request("ETH", *order) for order in orders])
    assert [next(iter(status)) for status in statuses] == ["resting", "error", "error", "filled", "resting"]
    oids = [statuses[0]["resting"]["oid"], 1, statuses[4]["resting"]["oid"]]
    reply = trader.exchange.bulk_cancel([{"coin": "ETH", "oid": oid} for oid in oids])
    first, failed, last = reply["response"]["data"]["statuses"]
    assert (first, last) == ("success", "success")
    assert failed == {"error": "Order was never placed, already canceled, or filled. asset=1"}


def test_a_batch_of_more_than_two_hundred_is_refused_whole(trader):
    reply = trader.exchange.bulk_cancel([{"coin": "ETH", "oid": oid} for oid in range(201)])
    assert reply == {"status": "err", "response": "Signed action over weight limit of 200."}


def test_every_item_of_a_batch_of_modifies_answers_for_itself(trader):
    oids = [one(trader, True, 1, price)["resting"]["oid"] for price in (3_000, 3_001, 3_002)]
    prices = [2_999, 3_101, 2_997]
    kinds = ["Gtc", "Gtc", "Alo"]
    modifies = [
        {"oid": oid, "order": order_request("ETH", True, 1, price, kind)}
        for oid, price, kind in zip([oids[0], oids[1], 12345], prices, kinds, strict=True)
    ]
    reply = trader.exchange.bulk_modify_orders_new(modifies)
    replaced, crossing, unknown = reply["response"]["data"]["statuses"]
    assert replaced["resting"]["oid"] > oids[2]
    assert crossing == {"error": "Attempted to modify to invalid new order"}
    assert unknown == {"error": "Cannot modify canceled or filled order"}
    assert {row["limitPx"] for row in trader.info.open_orders(trader.user)} == {"2999.0", "3001.0", "3002.0"}


@pytest.mark.parametrize(("kind", "left"), [("Alo", []), ("Gtc", ["3000.0"])])
def test_a_modify_that_would_trade_loses_only_a_post_only_order(trader, kind, left):
    oid = one(trader, True, 1, 3_000, kind)["resting"]["oid"]
    reply = trader.exchange.modify_order(oid, "ETH", True, 1, 3_101, {"limit": {"tif": kind}})
    assert "error" in reply["response"]["data"]["statuses"][0]
    assert [row["limitPx"] for row in trader.info.open_orders(trader.user)] == left


# -- what a test may order ---------------------------------------------------------------------------------------------

REFUSED = [
    ("openInterestIncreaseRejected", "Order would increase open interest too quickly"),
    ("oracleRejected", "Price too far from oracle"),
    ("tooAggressiveAtOpenInterestCapRejected", "Order rejected due to price more aggressive than oracle"),
    ("perpMaxPositionRejected", "Order would cause position to exceed margin tier limit"),
]


@pytest.mark.parametrize(("status", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_the_next_order_can_be_refused_for_any_reason(venue, trader, status, text):
    control(venue, "refuse_orders", status=status)
    assert one(trader, True, 1, 3_000, cloid=CLOIDS[0])["error"].startswith(text)
    trader.told(CLOIDS[0], status)
    assert "resting" in one(trader, True, 1, 3_000)


@pytest.mark.parametrize("status", ["marginCanceled", "liquidatedCanceled", "internalCancel", "scheduledCancel"])
def test_open_orders_can_be_ended_with_any_status(venue, trader, status):
    one(trader, True, 1, 3_000, cloid=CLOIDS[0])
    oid = trader.order(CLOIDS[0])["order"]["oid"]
    assert control(venue, "cancel_orders", user=trader.user, status=status, coin="ETH")["cancelled"] == 1
    trader.told(CLOIDS[0], "open", status)
    eventually(lambda: oid in trader.cancelled_by_venue())
    assert trader.info.open_orders(trader.user) == []


def test_a_capped_market_takes_only_what_reduces(venue, trader):
    one(trader, True, 1, 3_101, "Ioc")
    control(venue, "cap_open_interest", coin="ETH")
    try:
        increase = "Order would increase open interest while open interest is capped asset=1"
        flip = "Cannot flip position when open interest is at cap. asset=1"
        assert one(trader, True, 1, 3_000, cloid=CLOIDS[0]) == {"error": increase}
        assert one(trader, False, 3, 3_200) == {"error": flip}
        assert one(trader, False, 1, 3_099, "Ioc")["filled"]["totalSz"] == "1.0"
        trader.told(CLOIDS[0], "positionIncreaseAtOpenInterestCapRejected")
        assert trader.info.post("/info", {"type": "perpsAtOpenInterestCap"}) == ["ETH"]
    finally:
        control(venue, "cap_open_interest", coin="ETH", on=False)
