"""What a MARKET order may cost: an IOC limit at a bounded distance from the touch."""

from __future__ import annotations

import math

from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import OrderParams
from latentspeed.connectors.quote import Quote
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderType


def check_slippage(params: OrderParams) -> None:
    """Refuses an extra parameter `slippage` that is not a fraction, or that is given for an order with a price."""
    if params.extra_params is None or "slippage" not in params.extra_params:
        return
    slippage = params.extra_params["slippage"]
    name = "extra_params['slippage']"
    if params.order_type is not OrderType.MARKET:
        raise OrderRefused(name, slippage, "only a MARKET order takes one")
    if isinstance(slippage, bool) or not isinstance(slippage, (int, float)) or not 0.0 < slippage < 1.0:
        raise OrderRefused(name, slippage, "a fraction between 0 and 1 is required")


def market_limit_units(order: InFlightOrder, quote: Quote, slippage: float) -> int:
    """The limit in price units: at most `slippage` beyond the touch, but the touch itself at least.

    An order's own `slippage` parameter counts instead. 0 when the side it would trade against is empty.
    """
    own = (order.extra_params or {}).get("slippage")
    if isinstance(own, (int, float)):
        slippage = own
    touch = quote.ask if order.is_buy else quote.bid
    if not 0.0 < touch < math.inf:
        return 0
    if order.is_buy:
        return max(_floor_units(order.rule, touch * (1.0 + slippage)), _ceiling_units(order.rule, touch))
    return max(1, min(_ceiling_units(order.rule, touch * (1.0 - slippage)), _floor_units(order.rule, touch)))


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
