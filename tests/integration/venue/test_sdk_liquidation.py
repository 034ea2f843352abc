"""The official client is liquidated, and watches somebody else being liquidated against its own order."""

from __future__ import annotations

import pytest
from support.venue_sdk import SdkTrader, control, eventually, order_request

from latentspeed.tools.venues.hyperliquid.process import venue_process

CLOID = "0x" + "ab" * 16


@pytest.fixture(scope="module")
def venue():
    with venue_process("--quiet", "--liquidations", "--balance", "1000") as running:
        yield running


@pytest.fixture
def traders(venue):
    control(venue, "set_price", coin="ETH", price="3100")
    pair = SdkTrader(venue), SdkTrader(venue)
    control(venue, "fund", user=pair[0].user, usd="100000")
    quotes = [(True, 2_900), (False, 3_100)]
    pair[0].place([order_request("ETH", is_buy, 20, price) for is_buy, price in quotes])
    yield pair
    for trader in pair:
        orders = [{"coin": row["coin"], "oid": row["oid"]} for row in trader.info.open_orders(trader.user)]
        if orders:
            trader.exchange.bulk_cancel(orders)
        trader.close()


def test_below_maintenance_orders_end_the_position_is_sold_and_both_sides_are_told(venue, traders):
    maker, trader = traders
    trader.exchange.update_leverage(25, "ETH")
    trader.place([order_request("ETH", True, 4, 3_100, "Ioc")])
    trader.place([order_request("ETH", True, 0.1, 2_000, cloid=CLOID)])
    control(venue, "set_price", coin="ETH", price="2908")
    trader.told(CLOID, "open", "liquidatedCanceled")
    own = eventually(lambda: [f for d in trader.of("userFills") for f in d["fills"] if "liquidation" in f])
    other = eventually(lambda: [f for d in maker.of("userFills") for f in d["fills"] if "liquidation" in f])
    about = {"liquidatedUser": trader.user.lower(), "markPx": "2908.0", "method": "market"}
    assert [fill["liquidation"] for fill in own + other] == [about, about]
    assert (own[0]["dir"], own[0]["px"], own[0]["tid"]) == ("Close Long", "2900.0", other[0]["tid"])
    (event,) = eventually(lambda: [d["liquidation"] for d in trader.of("user") if "liquidation" in d])
    assert event["liquidated_user"] == trader.user.lower()
    assert event["liquidated_ntl_pos"] == "11632.0"
    assert set(event) == {
        "lid", "liquidator", "liquidated_user", "liquidated_ntl_pos", "liquidated_account_value",
    }  # fmt: skip
    assert trader.position("ETH") is None
    assert trader.info.query_order_by_oid(trader.user, own[0]["oid"]) == {"status": "unknownOid"}
    ledger = trader.info.user_non_funding_ledger_updates(trader.user, 0)
    assert ledger[-1]["delta"]["type"] == "liquidation"


@pytest.mark.parametrize(("method", "direction"), [("market", "Close Long"), ("backstop", "Liquidated Cross Long")])
def test_a_healthy_position_can_be_liquidated_on_request(venue, traders, method, direction):
    _, trader = traders
    trader.place([order_request("ETH", True, 1, 3_100, "Ioc")])
    control(venue, "liquidate", user=trader.user, coin="ETH", method=method)
    fill = eventually(lambda: [f for d in trader.of("userFills") for f in d["fills"] if "liquidation" in f])[0]
    assert (fill["dir"], fill["liquidation"]["method"]) == (direction, method)
    assert trader.position("ETH") is None
