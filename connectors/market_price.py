"""What a market order may cost: a limit at a bounded distance from the touch, or from its trigger price."""

from __future__ import annotations

import math

from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import OrderParams
from latentspeed.connectors.quote import Quote
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderType

TRIGGERED_SLIPPAGE = 0.1
"""How far beyond its trigger price a market order may trade, unless it says otherwise: the venue's own."""
_MARKET_TYPES = (OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)


def check_slippage(params: OrderParams) -> None:
    """Refuses an extra parameter `slippage` that is not a fraction, or that is given for an order with a price."""
    if params.extra_params is None or "slippage" not in params.extra_params:
        return
    slippage = params.extra_params["slippage"]
    name = "extra_params['slippage']"
    if params.order_type not in _MARKET_TYPES:
        raise OrderRefused(name, slippage, "only a market order takes one: MARKET, STOP_MARKET, TAKE_PROFIT_MARKET")
    if isinstance(slippage, bool) or not isinstance(slippage, (int, float)) or not 0.0 < slippage < 1.0:
        raise OrderRefused(name, slippage, "a fraction between 0 and 1 is required")


def market_limit_units(order: InFlightOrder, quote: Quote, slippage: float) -> int:
    """The limit in price units: at most `slippage` beyond the touch, but the touch itself at least.

    An order's own `slippage` parameter counts instead. 0 when the side it would trade against is empty.
    """
    slippage = _own_slippage(order, slippage)
    touch = quote.ask if order.is_buy else quote.bid
    if not 0.0 < touch < math.inf:
        return 0
    if order.is_buy:
        return max(_floor_units(order.rule, touch * (1.0 + slippage)), _ceiling_units(order.rule, touch))
    return max(1, min(_ceiling_units(order.rule, touch * (1.0 - slippage)), _floor_units(order.rule, touch)))


def triggered_limit_units(order: InFlightOrder) -> int:
    """The worst price of an order that takes the market once it is triggered, in price units."""
    assert order.trigger_price is not None, "an order that waits for a trigger has one"
    slippage = _own_slippage(order, TRIGGERED_SLIPPAGE)
    if order.is_buy:
        return _floor_units(order.rule, order.trigger_price * (1.0 + slippage))
    return max(1, _ceiling_units(order.rule, order.trigger_price * (1.0 - slippage)))


def _own_slippage(order: InFlightOrder, otherwise: float) -> float:
    own = (order.extra_params or {}).get("slippage")
    return float(own) if isinstance(own, (int, float)) else otherwise


def _scaled(rule: TradingRule, price: float) -> float:
    """The price in units, with the noise of the float removed: what is within a billionth of a unit is that unit."""
    scaled = price / float(rule.tick_size)
    nearest = round(scaled)
    return float(nearest) if abs(scaled - nearest) <= 1e-9 * max(1.0, abs(scaled)) else scaled


def _floor_units(rule: TradingRule, price: float) -> int:
    """The highest valid price that is not above, in units."""
    units = math.floor(_scaled(rule, price))
    return units - units % rule.price_step(units)


def _ceiling_units(rule: TradingRule, price: float) -> int:
    """The lowest valid price that is not below, in units."""
    units = math.ceil(_scaled(rule, price))
    return units + -units % rule.price_step(units)
