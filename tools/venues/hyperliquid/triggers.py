"""Armed trigger orders: when the mark reaches one, it fires and trades like any other order."""

from __future__ import annotations

from latentspeed.tools.venues.hyperliquid.margin import affords
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.placing import Placing
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.trigger_terms import TriggerTerms


class Triggers:
    """Fires trigger orders."""

    def __init__(self, state: VenueState, placing: Placing) -> None:
        self.state = state
        self.placing = placing

    def fire_due(self) -> None:
        """Fire every armed order whose price the mark has reached, the oldest of a market first."""
        for market in list(self.state.armed):
            for order in list(self.state.armed.get(market, {}).values()):
                trigger = order.trigger
                # One that fired before it may have ended it.
                if trigger is not None and order.waits == "trigger" and trigger.is_reached(market.mark):
                    self._fire(order, trigger)

    def _fire(self, order: Order, trigger: TriggerTerms) -> None:
        """Cut a reduce-only order to the position, say that it fired, and match it.

        A market trigger drops what it cannot fill; a limit trigger rests with it, its status still `triggered`.
        """
        state, account, market = self.state, order.account, order.market
        state.block.next_action()
        state.disarm(order)
        trigger.has_fired = True
        holding = state.holding(account, market)
        if order.reduce_only:
            closable = max(0, -holding.lots if order.is_buy else holding.lots)
            if not closable:
                state.cancel_unasked(order, "reduceOnlyCanceled")
                return
            if not order.lots or order.lots > closable:
                order.lots = order.orig_lots = closable
        state.set_status(order, "triggered")
        signed = order.lots if order.is_buy else -order.lots
        if not order.reduce_only and not affords(account, state.markets, market, holding, signed, order.price):
            state.cancel_unasked(order, "marginCanceled")
            return
        if market.book.crosses(order.is_buy, order.price):
            self.placing.match(order)
        if not order.lots:
            state.finish(order, "filled")
        elif not trigger.is_market:
            state.rest(order)
        elif order.lots < order.orig_lots:
            state.finish(order, state.config.partial_ioc_status)
        else:
            is_empty = not market.book.side(not order.is_buy).keys
            state.finish(order, "marketOrderNoLiquidityRejected" if is_empty else "iocCancelRejected")
        self.placing.hold_to_position(account, market)
