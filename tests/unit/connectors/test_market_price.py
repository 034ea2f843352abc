"""A MARKET order's limit is a valid price between the touch and the bound, for any market."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.client_order_id import format_client_order_id
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.hyperliquid.messages import AssetMeta
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_price import check_slippage, market_limit_units
from latentspeed.connectors.order_params import OrderParams
from latentspeed.connectors.quote import Quote
from latentspeed.connectors.types import OrderType, TradeType


def market_order(size_decimals, side, extra_params=None):
    rule = perpetual_rule(AssetMeta(name="BTC", szDecimals=size_decimals), 0)
    return InFlightOrder(
        format_client_order_id(1 << 32 | 1), rule, side, OrderType.MARKET, 1, extra_params=extra_params
    )


def quote_at(bid, ask):
    quote = Quote("BTC-USD")
    quote.bid, quote.ask = bid, ask
    return quote


@given(
    st.integers(0, 6),
    st.sampled_from([TradeType.BUY, TradeType.SELL]),
    st.floats(1e-4, 2e5),
    st.floats(1e-4, 0.5),
)
def test_the_limit_is_valid_and_between_touch_and_bound(size_decimals, side, price, slippage):
    order = market_order(size_decimals, side)
    touch = order.rule.quantize_price(price)
    limit = order.rule.price_from_units(market_limit_units(order, quote_at(touch, touch), slippage))
    assert order.rule.is_price_valid(limit)
    if side is TradeType.BUY:
        assert touch <= limit <= max(touch, touch * (1 + slippage) * (1 + 1e-9))
    else:
        assert touch >= limit >= min(touch, touch * (1 - slippage) * (1 - 1e-9))


@pytest.mark.parametrize(
    ("side", "touch", "slippage", "limit"),
    [
        (TradeType.BUY, 64000.0, 0.05, "67200"),
        (TradeType.SELL, 64000.0, 0.05, "60800"),
        (TradeType.BUY, 9999.9, 0.0005, "10004"),
        (TradeType.SELL, 10001.0, 0.0005, "9996"),
        (TradeType.BUY, 9.9, 0.001, "9.9"),
    ],
)
def test_the_limit_is_rounded_towards_the_touch(side, touch, slippage, limit):
    order = market_order(5, side)
    units = market_limit_units(order, quote_at(touch, touch), slippage)
    assert order.rule.price_text(units) == limit
    assert Fraction(limit) > 0


@pytest.mark.parametrize("touch", [math.nan, 0.0, -1.0, math.inf])
def test_without_a_touch_there_is_no_limit(touch):
    assert market_limit_units(market_order(5, TradeType.BUY), quote_at(100.0, touch), 0.05) == 0
    assert market_limit_units(market_order(5, TradeType.SELL), quote_at(touch, 100.0), 0.05) == 0


def test_an_orders_own_slippage_counts_instead():
    order = market_order(5, TradeType.BUY, {"slippage": 0.01})
    assert order.rule.price_text(market_limit_units(order, quote_at(99.0, 100.0), 0.05)) == "101"


@pytest.mark.parametrize("slippage", [0, 1.0, -0.1, math.nan, "0.1", True, None])
def test_a_slippage_that_is_no_fraction_is_refused(slippage):
    params = OrderParams("BTC-USD", 1.0, order_type=OrderType.MARKET, extra_params={"slippage": slippage})
    with pytest.raises(OrderRefused, match="slippage"):
        check_slippage(params)


def test_a_slippage_on_a_priced_order_is_refused():
    with pytest.raises(OrderRefused, match="only a market order"):
        check_slippage(OrderParams("BTC-USD", 1.0, 100.0, extra_params={"slippage": 0.1}))
    check_slippage(OrderParams("BTC-USD", 1.0, 100.0))
