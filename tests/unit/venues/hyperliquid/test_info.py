"""Info requests: shapes, row orders, absent and null keys, paging, retention, and what is a 422."""

from __future__ import annotations

import contextlib
import json

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentspeed.tools.venues.hyperliquid.wire import WireError


@pytest.fixture
def trader(desk):
    desk.rest_both_sides(desk.trader())
    return desk.trader()


def ask(desk, kind, **more):
    """One info request, as it would look on the wire."""
    return json.loads(orjson.dumps(desk.venue.info.answer({"type": kind, **more})))


def test_meta_lists_the_markets_with_the_keys_of_the_real_one(desk):
    meta = ask(desk, "meta", dex="")
    assert set(meta) == {"universe", "marginTables", "collateralToken"}
    by_name = {row["name"]: row for row in meta["universe"]}
    assert by_name["BTC"] == {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 40}
    assert "isDelisted" not in by_name["BTC"]
    assert by_name["OLDX"]["isDelisted"] is True
    assert by_name["THIN"]["marginMode"] == "strictIsolated"


def test_recorded_metadata_can_be_served_instead(make_desk, reference):
    path = reference / "payloads" / "hyperliquid" / "http_meta_testnet_2026.json"
    desk = make_desk(meta_file=path)
    assert ask(desk, "meta") == json.loads(path.read_text())
    assert desk.venue.market("BTC").instrument.asset == 3


def test_margin_tiers_lower_the_leverage_of_large_positions(make_desk, reference):
    desk = make_desk(meta_file=reference / "payloads" / "hyperliquid" / "http_meta_testnet_2026.json")
    instrument = desk.venue.market("BTC").instrument
    dollars = 10**6
    assert instrument.maintenance(8_000 * dollars) == 100 * dollars
    assert instrument.maintenance(20_000 * dollars) == (400 - 75) * dollars
    assert ask(desk, "marginTable", id=54)["marginTiers"][1]["maxLeverage"] == 25
    assert ask(desk, "marginTable", id=10)["marginTiers"] == [{"lowerBound": "0.0", "maxLeverage": 10}]


def test_a_market_without_a_two_sided_book_has_null_prices_and_its_last_as_mid(desk):
    context = ask(desk, "metaAndAssetCtxs")[1][0]
    assert (context["premium"], context["midPx"], context["impactPxs"]) == (None, None, None)
    assert ask(desk, "allMids")["BTC"] == "64000.0"


def test_a_book_snapshot_has_levels_with_counts_and_is_null_for_an_unknown_coin(desk, trader):
    trader.order("BTC", "buy", "0.5", "63990")
    book = ask(desk, "l2Book", coin="BTC")
    assert set(book) == {"coin", "time", "levels"}
    assert book["levels"][0] == [{"px": "63990.0", "sz": "1.5", "n": 2}]
    assert ask(desk, "l2Book", coin="btc") is None
    coarse = ask(desk, "l2Book", coin="BTC", nSigFigs=3)
    assert [side[0]["px"] for side in coarse["levels"]] == ["63900.0", "64100.0"]
    assert coarse["spread"] == "20.0"


def test_open_orders_come_newest_first_and_the_long_form_has_every_key(trader):
    oids = [trader.order("BTC", "buy", "0.01", price)["resting"]["oid"] for price in ("60000", "60001", "60002")]
    assert [row["oid"] for row in trader.info("openOrders", dex="")] == oids[::-1]
    row = trader.info("frontendOpenOrders")[0]
    assert row["cloid"] is None
    assert (row["tif"], row["orderType"], row["triggerCondition"], row["triggerPx"]) == ("Gtc", "Limit", "N/A", "0.0")
    assert set(row) == {
        *("coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz", "triggerCondition", "isTrigger"),
        *("triggerPx", "children", "isPositionTpsl", "reduceOnly", "orderType", "tif", "cloid"),
    }


def test_an_unknown_order_is_unknown_for_everybody_else_too(desk, trader):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    assert trader.info("orderStatus", oid=oid + 1) == {"status": "unknownOid"}
    assert trader.info("orderStatus", oid="0x" + "00" * 16) == {"status": "unknownOid"}
    assert desk.trader().info("orderStatus", oid=oid) == {"status": "unknownOid"}


def test_history_has_a_row_per_status_newest_first(trader):
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    trader.cancel("BTC", oid)
    assert [row["status"] for row in trader.info("historicalOrders")] == ["canceled", "open"]


def test_finished_orders_are_forgotten_by_count_but_their_fills_are_not(make_desk):
    desk = make_desk(orders_retained=5)
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    cloid = "0x" + "0f" * 16
    first = trader.order("BTC", "buy", "0.01", "64010", "Ioc", cloid=cloid)["filled"]["oid"]
    for _ in range(5):
        assert "order" in trader.info("orderStatus", oid=first)
        trader.order("BTC", "buy", "0.001", "64010", "Ioc")
    assert trader.info("orderStatus", oid=first) == {"status": "unknownOid"}
    assert trader.info("orderStatus", oid=cloid) == {"status": "unknownOid"}
    assert trader.info("userFills")[-1]["cloid"] == cloid


def test_an_open_order_is_never_forgotten(make_desk):
    desk = make_desk(orders_retained=2)
    trader = desk.trader()
    oid = trader.order("BTC", "buy", "0.01", "60000")["resting"]["oid"]
    for _ in range(10):
        trader.order("BTC", "buy", "0.0001", "60000")
    assert trader.status_of(oid) == "open"


def test_fills_come_newest_first_and_by_time_oldest_first(desk, trader):
    for _ in range(3):
        trader.order("BTC", "buy", "0.01", "64010", "Ioc")
        desk.venue.clock.advance(10)
    newest_first = trader.info("userFills")
    assert [row["tid"] for row in trader.info("userFillsByTime", startTime=0)] == [
        row["tid"] for row in reversed(newest_first)
    ]
    assert trader.info("userFillsByTime", startTime=0, reversed=True) == newest_first
    middle = newest_first[1]["time"]
    assert trader.info("userFillsByTime", startTime=middle, endTime=middle) == [newest_first[1]]
    row = newest_first[0]
    assert row["feeToken"] == "USDC"
    assert row["twapId"] is None
    assert not {"cloid", "builderFee", "liquidation"} & set(row)


def test_pages_of_fills_read_until_nothing_is_new_are_complete(make_desk):
    desk = make_desk(fills_page=20)
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    for index in range(90):
        trader.order("BTC", "buy", "0.001", "64010", "Ioc")
        if index % 7 == 0:
            desk.venue.clock.advance(3)
    seen, start = {}, 0
    while True:
        page = trader.info("userFillsByTime", startTime=start)
        assert len(page) <= 20
        new = [row for row in page if row["tid"] not in seen]
        if not new:
            break
        seen.update((row["tid"], row) for row in new)
        start = page[-1]["time"]
    assert list(seen.values()) == desk.venue.fills(trader.address)
    assert len(seen) == 90
    assert len(trader.info("userFills")) == 20


def test_fills_of_one_order_can_be_merged(desk):
    maker, trader = desk.trader(), desk.trader()
    for price in ("64000", "64002"):
        maker.order("BTC", "sell", "0.1", price)
    trader.order("BTC", "buy", "0.2", "64010", "Ioc")
    (row,) = trader.info("userFills", aggregateByTime=True)
    assert (row["px"], row["sz"], row["fee"]) == ("64001.0", "0.2", "5.76009")


def test_budgets_and_fees_are_told(desk, trader):
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    assert trader.info("userRateLimit") == {
        "cumVlm": "640.1",
        "nRequestsUsed": 1,
        "nRequestsCap": 10640,
        "nRequestsSurplus": 0,
    }
    fees = trader.info("userFees")
    assert (fees["userCrossRate"], fees["userAddRate"]) == ("0.00045", "0.00015")


def test_candles_add_up_trades(desk, trader):
    start = desk.venue.clock.now_ms() // 60_000 * 60_000
    for size in ("0.1", "0.2"):
        trader.order("BTC", "buy", size, "64010", "Ioc")
    desk.venue.clock.advance(60_000)
    trader.order("BTC", "sell", "0.1", "63990", "Ioc")
    minutes = ask(desk, "candleSnapshot", req={"coin": "BTC", "interval": "1m", "startTime": start})
    assert [(row["t"], row["o"], row["c"], row["v"], row["n"]) for row in minutes] == [
        (start, "64010.0", "64010.0", "0.3", 2),
        (start + 60_000, "63990.0", "63990.0", "0.1", 1),
    ]
    assert minutes[0]["T"] == start + 59_999
    (day,) = ask(desk, "candleSnapshot", req={"coin": "BTC", "interval": "1d", "startTime": start, "endTime": None})
    assert (day["h"], day["l"], day["n"]) == ("64010.0", "63990.0", 3)


def test_funding_is_paid_at_the_hour_and_told_in_both_histories(make_desk):
    desk = make_desk(funding_rate="0.0001")
    desk.rest_both_sides(desk.trader())
    trader = desk.trader()
    trader.order("BTC", "buy", "0.5", "64010", "Ioc")
    before = trader.account.cash
    desk.venue.clock.advance(3_600_000)
    desk.venue.tick()
    assert trader.account.cash == before - 3_200_000
    (row,) = trader.info("userFunding", startTime=0)
    assert row["time"] % 3_600_000 < 100, "some milliseconds past the hour"
    assert row["delta"] == {
        "type": "funding",
        "coin": "BTC",
        "usdc": "-3.2",
        "szi": "0.5",
        "fundingRate": "0.0001",
        "nSamples": None,
    }
    assert ask(desk, "fundingHistory", coin="BTC", startTime=0)[0]["fundingRate"] == "0.0001"
    position = trader.info("clearinghouseState")["assetPositions"][0]["position"]
    assert position["cumFunding"] == {"allTime": "3.2", "sinceOpen": "3.2", "sinceChange": "3.2"}


BAD_REQUESTS = [
    None,
    [],
    {},
    {"type": "unheardOf"},
    {"type": 5},
    {"type": "openOrders"},
    {"type": "openOrders", "user": "0x12"},
    {"type": "openOrders", "user": 5},
    {"type": "orderStatus", "user": "0x" + "11" * 20},
    {"type": "orderStatus", "user": "0x" + "11" * 20, "oid": -1},
    {"type": "orderStatus", "user": "0x" + "11" * 20, "oid": True},
    {"type": "userFillsByTime", "user": "0x" + "11" * 20, "startTime": -1},
    {"type": "userFillsByTime", "user": "0x" + "11" * 20, "startTime": 0, "endTime": "soon"},
    {"type": "l2Book"},
    {"type": "l2Book", "coin": "BTC", "nSigFigs": 6},
    {"type": "l2Book", "coin": "BTC", "nSigFigs": 4, "mantissa": 2},
    {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "7m", "startTime": 0}},
]


@pytest.mark.parametrize("request_", BAD_REQUESTS, ids=str)
def test_a_request_of_the_wrong_shape_is_refused(desk, request_):
    with pytest.raises(WireError):
        desk.venue.info.answer(request_)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**64),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from(["BTC", "0x" + "11" * 20, "1m", ""]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.sampled_from(["coin", "interval", "startTime"]), st.sampled_from(["BTC", "1m", 0, -1]), max_size=3
    ),
)
keys = st.sampled_from(
    ["user", "coin", "oid", "startTime", "endTime", "req", "dex", "nSigFigs", "mantissa", "id", "builder"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), body=st.dictionaries(keys, values, max_size=5))
def test_no_request_whatever_breaks_the_venue(desk, data, body):
    kinds = sorted(desk.venue.info._handlers)
    body["type"] = data.draw(st.sampled_from(kinds))
    with contextlib.suppress(WireError):
        orjson.dumps(desk.venue.info.answer(body))


EMPTY_KINDS = ["userTwapSliceFills", "delegations", "userVaultEquities", "twapHistory", "perpsAtOpenInterestCap"]


def test_what_clients_ask_at_start_is_answered(desk, trader):
    assert ask(desk, "perpDexs")[0] is None
    assert ask(desk, "spotMeta")["tokens"][0]["name"] == "USDC"
    meta, contexts = ask(desk, "spotMetaAndAssetCtxs")
    assert [row["name"] for row in meta["universe"]] == [row["coin"] for row in contexts]
    assert ask(desk, "exchangeStatus")["specialStatuses"] is None
    assert trader.info("subAccounts") is None
    assert trader.info("userAbstraction") == "default"
    assert trader.info("userRole") == {"role": "user"}
    assert len(trader.info("portfolio")) == 8
    assert trader.info("referral")["referredBy"] is None
    for kind in EMPTY_KINDS:
        assert trader.info(kind) == []
