"""What became of an order, as the chain's own books have it."""

from __future__ import annotations

from latentspeed.tools.conformance import VenueState
from latentspeed.tools.venues.dydx_v4.orders import Removal

_REFUSED = frozenset(
    {
        Removal.UNDERCOLLATERALIZED,
        Removal.SELF_TRADE_ERROR,
        Removal.POST_ONLY_WOULD_CROSS_MAKER_ORDER,
        Removal.VIOLATES_ISOLATED_SUBACCOUNT_CONSTRAINTS,
    }
)
_LAPSED = frozenset({Removal.EXPIRED, Removal.IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK})


def order_state(
    *, quantums: int, confirmed: int, matched: int, is_over: bool, is_immediate: bool, reason: Removal | None
) -> VenueState:
    """The state of a short-term order.

    `confirmed` is what blocks say was filled of its `quantums`, `matched` what the node has matched, `is_over` whether
    its last block has passed, and `reason` why it was removed, if it was.
    """
    if confirmed >= quantums:
        return VenueState.FILLED
    if not is_over and (reason is None or matched > confirmed):
        return VenueState.OPEN
    if reason in _REFUSED and not confirmed:
        return VenueState.REFUSED
    if (reason is None or reason in _LAPSED) and not confirmed:
        return VenueState.LAPSED
    is_lapsed = reason in (None, Removal.EXPIRED) and not is_immediate
    return VenueState.LAPSED if is_lapsed else VenueState.CANCELLED
