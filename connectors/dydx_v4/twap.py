"""TWAP orders: the chain itself makes a slice of what is left each interval, and fills of slices are the order's own.

A TWAP is kept by the chain under the order's id. Each slice is good for three seconds, at the oracle price and a
tolerance. When all slices are over and something is left, nobody tells of it: then a block that is later than the last
slice could live is the proof.
"""

from __future__ import annotations

from typing import Final

from latentspeed.connectors.dydx_v4.margins import PPM
from latentspeed.connectors.dydx_v4.wire import Twap
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import OrderParams
from latentspeed.connectors.types import OrderType

MINUTES, RANDOMIZE, INTERVAL, TOLERANCE = "minutes", "randomize", "interval_s", "price_tolerance"
OWN_KEYS: Final = frozenset({INTERVAL, TOLERANCE})
"""The keys of `extra_params` that a TWAP takes on this chain only."""
USUAL_INTERVAL_S: Final = 60
SHORTEST_MINUTES, LONGEST_MINUTES = 5, 1440
SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 30, 3600
GRACE_S: Final = 90
"""How long after its minutes the last slice may still live: the block that begins it, the slice, and the clocks."""


def terms_of(order: InFlightOrder, tolerance: float) -> Twap:
    """How an order is sliced; `tolerance` is how far from the oracle price unless the order says it, a fraction."""
    own = order.extra_params or {}
    asked = own.get(TOLERANCE)
    fraction = float(asked) if isinstance(asked, (int, float)) else tolerance
    return Twap(duration_s(order), _interval_s(own.get(INTERVAL)), min(round(fraction * PPM), PPM - 1))


def duration_s(order: InFlightOrder) -> int:
    """For how many seconds an order is sliced; the longest there is where that was forgotten."""
    minutes = (order.extra_params or {}).get(MINUTES)
    return 60 * (minutes if isinstance(minutes, int) else LONGEST_MINUTES)


def check_twap(params: OrderParams) -> None:
    """Refuses what this chain's TWAPs cannot be."""
    own = params.extra_params or {}
    if params.order_type is not OrderType.TWAP:
        for key in OWN_KEYS & own.keys():
            raise OrderRefused(f"extra_params[{key!r}]", own[key], "only a TWAP order takes it")
        return
    interval, tolerance, minutes = own.get(INTERVAL), own.get(TOLERANCE, 0.0), own.get(MINUTES)
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0.0 <= tolerance < 1.0:
        raise OrderRefused(TOLERANCE, tolerance, "a fraction from 0 to 1")
    if not isinstance(minutes, int):
        raise OrderRefused(MINUTES, minutes, "a whole number is required")
    if not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        raise OrderRefused(MINUTES, minutes, f"{SHORTEST_MINUTES} to {LONGEST_MINUTES}")
    if own.get(RANDOMIZE):
        raise OrderRefused(RANDOMIZE, True, "the chain slices at even intervals")
    if isinstance(interval, bool) or not isinstance(interval, int | None):
        raise OrderRefused(INTERVAL, interval, "a whole number of seconds")
    seconds = _interval_s(interval)
    if not SHORTEST_INTERVAL_S <= seconds <= LONGEST_INTERVAL_S or minutes * 60 % seconds:
        rule = f"{SHORTEST_INTERVAL_S} to {LONGEST_INTERVAL_S} seconds that divide {minutes} minutes"
        raise OrderRefused(INTERVAL, seconds, rule)


def check_slices(order: InFlightOrder) -> None:
    """Refuses an order whose slices are less than a lot."""
    own = order.extra_params or {}
    slices = duration_s(order) // _interval_s(own.get(INTERVAL))
    if order.amount_lots < slices:
        raise OrderRefused(
            "amount", order.amount, f"{slices} slices of less than a lot; a longer {INTERVAL} makes fewer"
        )


def _interval_s(own: object) -> int:
    return own if isinstance(own, int) else USUAL_INTERVAL_S
