"""An order of ours as the entry of a signed action: its kind, prices, size and client id in the venue's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_price import triggered_limit_units
from latentspeed.connectors.types import OrderType, TimeInForce


class OrderForms:
    """Makes wire entries of orders."""

    def __init__(
        self, cloid_of: Callable[[InFlightOrder], str], market_price_units: Callable[[InFlightOrder], int]
    ) -> None:
        """Keeps what it needs.

        Args:
            cloid_of: The venue-side client id of an order.
            market_price_units: The limit of a MARKET order, in price units; 0 when no quote is fresh.
        """
        self.cloid_of = cloid_of
        self._market_price_units = market_price_units

    def entry(self, order: InFlightOrder) -> dict[str, Any] | None:
        """The wire form of an order; None for a MARKET order without a fresh quote."""
        if order.order_type is OrderType.TWAP:
            return _twap_entry(order)
        if order.order_type.has_trigger:
            return self._trigger_entry(order)
        if order.order_type is OrderType.MARKET:
            price_units, time_in_force = self._market_price_units(order), "Ioc"
            if price_units == 0:
                return None
        else:
            price_units, time_in_force = order.price_units, _time_in_force(order)
        return wire.limit_order(
            order.rule.asset_id,
            order.is_buy,
            order.rule.price_text(price_units),
            order.rule.amount_text(order.amount_lots),
            order.is_reduce_only,
            time_in_force,
            self.cloid_of(order),
        )

    def _trigger_entry(self, order: InFlightOrder) -> dict[str, Any]:
        rule = order.rule
        is_market = not order.order_type.has_price
        return wire.trigger_order(
            rule.asset_id,
            order.is_buy,
            rule.price_text(triggered_limit_units(order) if is_market else order.price_units),
            "0" if order.has_open_size else rule.amount_text(order.amount_lots),
            order.is_reduce_only,
            wire.TriggerTerms(
                "tp" if order.order_type.is_take_profit else "sl", rule.price_text(order.trigger_units), is_market
            ),
            self.cloid_of(order),
        )


def _twap_entry(order: InFlightOrder) -> dict[str, Any]:
    terms = order.extra_params or {}
    return wire.twap_order(
        order.rule.asset_id,
        order.is_buy,
        order.rule.amount_text(order.amount_lots),
        order.is_reduce_only,
        int(str(terms["minutes"])),
        terms.get("randomize") is True,
    )


def _time_in_force(order: InFlightOrder) -> str:
    if order.order_type is OrderType.LIMIT_MAKER:
        return "Alo"
    return "Ioc" if order.time_in_force is TimeInForce.IOC else "Gtc"
