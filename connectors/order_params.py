"""What a user asks for in an order, and every check that needs no venue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderType, PositionAction, TimeInForce, TradeType

TWAP_KEYS = frozenset({"minutes", "randomize"})
"""The keys of `extra_params` that a TWAP order takes: over how many minutes, and whether at random moments."""


@dataclass(frozen=True, slots=True)
class OrderParams:
    """An order as the user states it; which side it takes is said by calling `buy` or `sell`.

    `price` is None for MARKET. `position_action` CLOSE makes it reduce-only. `leverage` is applied and acknowledged by
    the venue before the order is sent. `trigger_price` belongs to the STOP and TAKE_PROFIT types and is on the
    tick as a price is. `extra_params` are keys that the connector declares.
    """

    trading_pair: str
    amount: float
    price: float | None = None
    order_type: OrderType = OrderType.LIMIT
    position_action: PositionAction = PositionAction.NIL
    leverage: int | None = None
    trigger_price: float | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    extra_params: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """What a connector can do at all; each connector states its own.

    `replaceable_types` can be modified while they rest. `has_brackets`: the venue takes an entry together with its
    take-profit and stop-loss, and exits that follow a position.
    """

    order_types: frozenset[OrderType] = frozenset({OrderType.LIMIT, OrderType.MARKET, OrderType.LIMIT_MAKER})
    times_in_force: frozenset[TimeInForce] = frozenset(TimeInForce)
    position_actions: frozenset[PositionAction] = frozenset(PositionAction)
    has_leverage: bool = True
    extra_param_keys: frozenset[str] = frozenset()
    replaceable_types: frozenset[OrderType] = frozenset()
    has_brackets: bool = False


class ExactOrder(NamedTuple):
    """An order's numbers as integers: the amount in lots, price and trigger price in units, 0 where there is none."""

    amount_lots: int
    price_units: int
    trigger_units: int = 0


def check_order(trade_type: TradeType, params: OrderParams, rule: TradingRule, limits: OrderLimits) -> ExactOrder:
    """The numbers of an order that keeps every rule but the minimum notional.

    Raises OrderRefused for the first rule that is broken.
    """
    _check_kinds(trade_type, params, limits)
    if not rule.is_active:
        raise OrderRefused("trading_pair", params.trading_pair, "the market is not active")
    amount_lots = rule.amount_lots(_number("amount", params.amount))
    if amount_lots <= 0:
        raise OrderRefused("amount", params.amount, "an amount is above zero; the side is said by buy or sell")
    if amount_lots < rule.min_amount_lots:
        minimum = rule.amount_text(rule.min_amount_lots)
        raise OrderRefused("amount", params.amount, f"below the minimum amount {minimum} of {rule.trading_pair}")
    price_units = _check_price(params, rule)
    trigger_units = _check_trigger(params, rule)
    _check_leverage(params, rule, limits)
    _check_extra(params, limits)
    _check_twap(params)
    return ExactOrder(amount_lots, price_units, trigger_units)


def check_notional(params: OrderParams, rule: TradingRule, amount_lots: int, price_units: int) -> None:
    """Refuses an order whose price times amount is below the market's minimum; exact."""
    if price_units * amount_lots < rule.min_notional_units:
        value = rule.notional(price_units * amount_lots)
        minimum = format(rule.min_notional.normalize(), "f")
        raise OrderRefused(
            "amount",
            params.amount,
            f"its value {value} is below the minimum notional {minimum} {rule.quote_asset}".rstrip()
            + f" of {rule.trading_pair}",
        )


def check_market_notional(params: OrderParams, rule: TradingRule, price: float) -> None:
    """The same for an order without a price, at the price that the market shows."""
    if price * params.amount < float(rule.min_notional):
        minimum = format(rule.min_notional.normalize(), "f")
        raise OrderRefused(
            "amount",
            params.amount,
            f"its value {price * params.amount} at the market's {price} is below the minimum notional {minimum} "
            f"{rule.quote_asset}".rstrip()
            + f" of {rule.trading_pair}",
        )


def check_margin_change(amount: float) -> None:
    """Raises OrderRefused unless the amount is a number other than zero."""
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not math.isfinite(amount) or amount == 0:
        raise OrderRefused("amount", amount, "a number of the collateral: above zero adds, below zero takes out")


def check_leverage(trading_pair: str, leverage: object, rule: TradingRule) -> int:
    """The leverage, if the market allows it; raises OrderRefused otherwise."""
    if isinstance(leverage, bool) or not isinstance(leverage, int):
        raise OrderRefused("leverage", leverage, "a whole number is required")
    if not 1 <= leverage <= rule.max_leverage:
        raise OrderRefused("leverage", leverage, f"{trading_pair} allows 1 to {rule.max_leverage}")
    return leverage


def _check_kinds(trade_type: TradeType, params: OrderParams, limits: OrderLimits) -> None:
    if trade_type is not TradeType.BUY and trade_type is not TradeType.SELL:
        raise OrderRefused("trade_type", trade_type, "TradeType.BUY or TradeType.SELL is required")
    if not isinstance(params.order_type, OrderType):
        raise OrderRefused("order_type", params.order_type, "an OrderType is required")
    if not isinstance(params.time_in_force, TimeInForce):
        raise OrderRefused("time_in_force", params.time_in_force, "a TimeInForce is required")
    if not isinstance(params.position_action, PositionAction):
        raise OrderRefused("position_action", params.position_action, "a PositionAction is required")
    if params.order_type not in limits.order_types:
        supported = ", ".join(sorted(item.name for item in limits.order_types))
        raise OrderRefused("order_type", params.order_type.name, f"this connector supports {supported}")
    if params.time_in_force not in limits.times_in_force:
        supported = ", ".join(sorted(item.name for item in limits.times_in_force))
        raise OrderRefused("time_in_force", params.time_in_force.name, f"this connector supports {supported}")
    if params.position_action not in limits.position_actions:
        supported = ", ".join(sorted(item.name for item in limits.position_actions))
        raise OrderRefused("position_action", params.position_action.name, f"this connector supports {supported}")
    if params.order_type is OrderType.LIMIT_MAKER and params.time_in_force is TimeInForce.IOC:
        raise OrderRefused("time_in_force", "IOC", "a LIMIT_MAKER order only rests, an IOC order never does")
    if params.order_type.has_trigger and params.time_in_force is TimeInForce.IOC:
        kind = params.order_type.name
        raise OrderRefused("time_in_force", "IOC", f"a {kind} order waits for its trigger, an IOC order never does")


def _check_price(params: OrderParams, rule: TradingRule) -> int:
    if not params.order_type.has_price:
        if params.price is not None:
            raise OrderRefused("price", params.price, f"a {params.order_type.name} order has no price: leave it None")
        return 0
    if params.price is None:
        raise OrderRefused("price", None, f"a {params.order_type.name} order needs a price")
    return rule.price_units(_number("price", params.price))


def _check_trigger(params: OrderParams, rule: TradingRule) -> int:
    if not params.order_type.has_trigger:
        if params.trigger_price is not None:
            kind = params.order_type.name
            raise OrderRefused("trigger_price", params.trigger_price, f"a {kind} order has no trigger: leave it None")
        return 0
    if params.trigger_price is None:
        raise OrderRefused("trigger_price", None, f"a {params.order_type.name} order needs a trigger price")
    trigger = _number("trigger_price", params.trigger_price)
    if not rule.is_price_valid(trigger):
        raise OrderRefused("trigger_price", trigger, f"off the tick; nearest valid is {rule.quantize_price(trigger)}")
    return rule.price_units(trigger)


def _check_leverage(params: OrderParams, rule: TradingRule, limits: OrderLimits) -> None:
    if params.leverage is None:
        return
    if not limits.has_leverage:
        raise OrderRefused("leverage", params.leverage, "this connector has no leverage: leave it None")
    check_leverage(rule.trading_pair, params.leverage, rule)


def _check_extra(params: OrderParams, limits: OrderLimits) -> None:
    if params.extra_params is None:
        return
    if not isinstance(params.extra_params, Mapping):
        raise OrderRefused("extra_params", params.extra_params, "a mapping is required")
    for key, value in params.extra_params.items():
        if key not in limits.extra_param_keys:
            known = ", ".join(sorted(limits.extra_param_keys)) or "none"
            raise OrderRefused(f"extra_params[{key!r}]", value, f"keys that this connector knows: {known}")


def _check_twap(params: OrderParams) -> None:
    """A TWAP says over how many minutes it is traded, and nothing else does."""
    extra = params.extra_params or {}
    if params.order_type is not OrderType.TWAP:
        for key in TWAP_KEYS & extra.keys():
            raise OrderRefused(f"extra_params[{key!r}]", extra[key], "only a TWAP order takes it")
        return
    if params.time_in_force is TimeInForce.IOC:
        raise OrderRefused("time_in_force", "IOC", "a TWAP order takes its time, an IOC order never does")
    minutes, randomize = extra.get("minutes"), extra.get("randomize", False)
    if isinstance(minutes, bool) or not isinstance(minutes, int) or minutes <= 0:
        raise OrderRefused("minutes", minutes, "a whole number above zero is required")
    if not isinstance(randomize, bool):
        raise OrderRefused("randomize", randomize, "True or False is required")


def _number(field: str, value: object) -> float:
    """A finite float of a real number; bools and strings are none."""
    if type(value) is float or (isinstance(value, Real) and not isinstance(value, bool)):
        number = float(value)
        if math.isfinite(number):
            return number
    raise OrderRefused(field, value, "a finite number is required")
