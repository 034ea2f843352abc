"""What a gateway's connector can do with orders, as its row in the segment says it: a bit per order type."""

from __future__ import annotations

from collections.abc import Iterable

from latentspeed.connectors.order_params import OrderLimits
from latentspeed.connectors.types import ConnectorType, OrderType, PositionAction
from latentspeed.engine.records import Connector


class AnyKey(frozenset[str]):
    """Lets every key of extra_params pass: which there are is the gateway's to say."""

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str)


UNTOLD = OrderLimits(extra_param_keys=AnyKey())
"""What is assumed until the row tells more."""


def write_limits(row: Connector, limits: OrderLimits) -> None:
    """Put a connector's limits into its row."""
    row.order_types = _bits(limits.order_types)
    row.replaceable_types = _bits(limits.replaceable_types)
    row.has_brackets = limits.has_brackets
    row.extra_param_keys = ",".join(sorted(limits.extra_param_keys))


def read_limits(row: Connector | None) -> OrderLimits:
    """The limits that a row tells; the rest is checked by the gateway."""
    if row is None or not row.order_types:
        return UNTOLD
    is_spot = row.connector_type == ConnectorType.SPOT
    return OrderLimits(
        order_types=_types(row.order_types),
        position_actions=frozenset({PositionAction.NIL}) if is_spot else UNTOLD.position_actions,
        has_leverage=not is_spot,
        extra_param_keys=UNTOLD.extra_param_keys,
        replaceable_types=_types(row.replaceable_types),
        has_brackets=bool(row.has_brackets),
    )


def _bits(types: Iterable[OrderType]) -> int:
    return sum(1 << order_type for order_type in types)


def _types(bits: int) -> frozenset[OrderType]:
    return frozenset(order_type for order_type in OrderType if bits >> order_type & 1)
