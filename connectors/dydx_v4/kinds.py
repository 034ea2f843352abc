"""Which kind of the chain's orders an order of ours is, and for how long it is good.

| our order | on the chain | good until |
|---|---|---|
| MARKET, or LIMIT that is IOC | short-term (0) | a block soon |
| LIMIT, LIMIT_MAKER | short-term (0) or long-term (64), as asked | a block within the window, or a time |
| STOP and TAKE_PROFIT types | conditional (32) | a time |
| TWAP | sliced by the chain (128) | its slices are over |

Long-term, conditional and TWAP orders are stateful: the chain keeps them, so they have a sequence, which an order shows
as its nonce. That tells the kinds apart when an order comes back after a restart, whatever is configured then.
"""

from __future__ import annotations

from typing import Final

from latentspeed.connectors.dydx_v4.reports import is_immediate
from latentspeed.connectors.dydx_v4.wire import OrderFlags
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import OrderParams
from latentspeed.connectors.types import OrderType, TimeInForce

LONGEST_S: Final = 95 * 86_400 - 60
"""How long a stateful order may live: the chain's 95 days, less what clocks may differ by."""
WINDOW: Final = 20
"""Blocks ahead that every version of the chain lets a short-term order live."""
_GOOD_TIL_S, _GOOD_TIL_BLOCKS = "good_til_s", "good_til_blocks"


def flags_of(order: InFlightOrder, *, is_long_term: bool) -> OrderFlags:
    """The kind of an order; `is_long_term` decides for one that may be either and was not sent yet."""
    if order.order_type.has_trigger:
        return OrderFlags.CONDITIONAL
    if order.order_type is OrderType.TWAP:
        return OrderFlags.TWAP
    if order.is_submitted:
        return OrderFlags.LONG_TERM if order.nonce else OrderFlags.SHORT_TERM
    own = order.extra_params or {}
    if is_immediate(order) or _GOOD_TIL_BLOCKS in own:
        return OrderFlags.SHORT_TERM
    return OrderFlags.LONG_TERM if is_long_term or _GOOD_TIL_S in own else OrderFlags.SHORT_TERM


def is_stateful(order: InFlightOrder) -> bool:
    """Whether an order that was signed is kept by the chain."""
    return order.order_type.has_trigger or order.nonce != 0


def good_til_s(order: InFlightOrder, otherwise: float) -> float:
    """For how many seconds a stateful order is good."""
    own = (order.extra_params or {}).get(_GOOD_TIL_S)
    return float(own) if isinstance(own, (int, float)) else otherwise


def good_til_blocks(order: InFlightOrder, otherwise: int) -> int:
    """For how many blocks a short-term order is good."""
    if not order.extra_params:
        return otherwise
    own = order.extra_params.get(_GOOD_TIL_BLOCKS)
    return own if isinstance(own, int) else otherwise


def check_lifetime(params: OrderParams) -> None:
    """Refuses a `good_til_s` or `good_til_blocks` that an order of its kind cannot have."""
    own = params.extra_params or {}
    seconds, blocks = own.get(_GOOD_TIL_S), own.get(_GOOD_TIL_BLOCKS)
    name, value = (_GOOD_TIL_S, seconds) if seconds is not None else (_GOOD_TIL_BLOCKS, blocks)
    where = f"extra_params[{name!r}]"
    if seconds is not None and blocks is not None:
        raise OrderRefused(where, value, "an order is good until a block or until a time, not both")
    if seconds is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 1 <= seconds <= LONGEST_S:
            raise OrderRefused(where, value, f"1 to {LONGEST_S} seconds")
        if params.order_type is OrderType.TWAP:
            raise OrderRefused(where, value, "a TWAP order is over with its minutes")
        if params.order_type is OrderType.MARKET or params.time_in_force is TimeInForce.IOC:
            raise OrderRefused(where, value, "an order that never rests is good until a block")
    if blocks is not None:
        if isinstance(blocks, bool) or not isinstance(blocks, int) or not 1 <= blocks <= WINDOW:
            raise OrderRefused(where, value, f"1 to {WINDOW} blocks")
        if params.order_type is OrderType.TWAP:
            raise OrderRefused(where, value, "a TWAP order is over with its minutes")
        if params.order_type.has_trigger:
            raise OrderRefused(where, value, "an order that waits for a trigger is good until a time")
