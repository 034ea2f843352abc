"""Take-profit and stop groups: legs that protect an order or a position, and end each other.

    normalTpsl     parent open       legs wait for its fill      reply waitingForFill
                   parent filled     legs are armed              reply waitingForTrigger
                   parent cancelled  legs are cancelled, unless margin or an empty book ended a partly filled parent:
                                     then they are armed for what was filled
    positionTpsl   legs are armed and end with the position

When one leg has filled, the others end as `siblingFilledCanceled`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from latentspeed.tools.venues.hyperliquid.actions import OrderWire
from latentspeed.tools.venues.hyperliquid.order_rules import TAKING
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.state import VenueState


def group_flaw(legs: Sequence[OrderWire], parent: OrderWire | None) -> str | None:
    """What makes a group impossible as a whole: a leg that is no trigger, not reduce-only, or on its parent's side."""
    for leg in legs:
        if leg.t.trigger is UNSET or not leg.r:
            return "Trigger order is not reduce only."
        if parent is not None and (leg.b == parent.b or leg.a != parent.a):
            return "Trigger order has unexpected side."
    return None


class Groups:
    """Reacts when an order of a group has ended."""

    def __init__(self, state: VenueState) -> None:
        self.state = state

    def react(self) -> None:
        """Arm, cut or cancel the legs of every order that has ended since the last time."""
        ended = self.state.ended
        while ended:
            order = ended.popleft()
            if order.children:
                self._parent_ended(order)
            if order.siblings and order.status == "filled" and not order.lots:
                self._leg_filled(order)

    def _parent_ended(self, parent: Order) -> None:
        filled = parent.orig_lots - parent.lots
        is_armed = parent.status == "filled" or (
            filled > 0 and (parent.status == "marginCanceled" or parent.tif in TAKING)
        )
        for leg in [leg for leg in parent.children if leg.waits == "fill"]:
            if not is_armed:
                self.state.pull_unasked(leg, "canceled")
                continue
            if parent.lots and leg.lots > filled:
                leg.lots = leg.orig_lots = filled
                self.state.set_status(leg, "open", recorded=False)
            self.state.arm(leg)

    def _leg_filled(self, leg: Order) -> None:
        account = leg.account
        others = [other for other in leg.siblings if other is not leg]
        if leg.is_position_tpsl and not self.state.holding(account, leg.market).lots:
            protecting = account.reduce_only.get(leg.market.instrument.asset)
            others += [other for other in (protecting or {}).values() if other.is_position_tpsl and other not in others]
        for other in others:
            if account.is_open(other):
                self.state.pull_unasked(other, "siblingFilledCanceled")
