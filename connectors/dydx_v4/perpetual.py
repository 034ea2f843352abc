"""DydxV4PerpetualConnector: perpetual futures of dYdX v4.

commands:  Outbox (outbox.py), StatefulOutbox (stateful_outbox.py)
               -> TransactionSigner (transactions.py) -> Delivery (delivery.py) -> Nodes (nodes.py) -> tracker
everything else of a session: session.py
"""

from __future__ import annotations

from latentspeed.connectors.dydx_v4.kinds import check_lifetime, is_stateful
from latentspeed.connectors.dydx_v4.margin import MarginSession
from latentspeed.connectors.dydx_v4.markets import POST_ONLY
from latentspeed.connectors.dydx_v4.outbox import Outbox
from latentspeed.connectors.dydx_v4.reports import is_immediate
from latentspeed.connectors.dydx_v4.stateful_outbox import StatefulOutbox
from latentspeed.connectors.dydx_v4.twap import OWN_KEYS, check_slices, check_twap
from latentspeed.connectors.dydx_v4.wire import OrderFlags
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import TWAP_KEYS, OrderLimits, OrderParams
from latentspeed.connectors.types import OrderType


class DydxV4PerpetualConnector(MarginSession):
    """Trades perpetual futures on dYdX v4, its test network, or a local venue that speaks the same protocols.

    Orders without a trigger are short-term unless configured otherwise: they live in the nodes' memory for at most
    `good_til_blocks` blocks and end EXPIRED then. Long-term orders and those with a trigger are kept by the chain until
    a time, for `long_term_s`; it takes few of them.

    `extra_params` of an order: `slippage`, a fraction, for orders without a price; `good_til_blocks` makes an order
    short-term and says for how long, `good_til_s` long-term, and is how long one with a trigger is good. A TWAP takes
    `minutes`, `interval_s` from one slice to the next, and `price_tolerance`, a fraction of the oracle price.
    """

    order_limits = OrderLimits(
        order_types=frozenset(
            {
                OrderType.LIMIT,
                OrderType.MARKET,
                OrderType.LIMIT_MAKER,
                OrderType.STOP_LIMIT,
                OrderType.STOP_MARKET,
                OrderType.TAKE_PROFIT_LIMIT,
                OrderType.TAKE_PROFIT_MARKET,
                OrderType.TWAP,
            }
        ),
        extra_param_keys=frozenset({"slippage", "good_til_s", "good_til_blocks"}) | TWAP_KEYS | OWN_KEYS,
    )

    # Orders

    def _check_order(self, order: InFlightOrder) -> None:
        if order.is_reduce_only and not is_immediate(order):
            rule = "reduce-only orders are IOC, MARKET, STOP_MARKET or TAKE_PROFIT_MARKET on this venue"
            raise OrderRefused("position_action", "CLOSE", rule)
        is_crossing = order.order_type is not OrderType.LIMIT_MAKER
        if is_crossing and self._terms[order.trading_pair].status == POST_ONLY:
            raise OrderRefused("order_type", order.order_type.name, f"{order.trading_pair} is POST_ONLY: LIMIT_MAKER")
        self._subaccounts.check(order.rule)
        if order.order_type is OrderType.TWAP:
            check_slices(order)
        super()._check_order(order)

    def _check_extra_params(self, params: OrderParams) -> None:
        super()._check_extra_params(params)
        check_lifetime(params)
        check_twap(params)

    def _can_send(self) -> bool:
        # Commands for an earlier gateway's orders come before the account's number, which every signature needs.
        return self._can_sign

    def _flush_outbox(self, cancels: list[InFlightOrder], places: list[InFlightOrder]) -> None:
        self._check_open()
        stateful = [order for order in cancels if is_stateful(order)]
        if len(stateful) < len(cancels):
            self._outbox.send_cancels([order for order in cancels if not is_stateful(order)])
        self._stateful_outbox.send_cancels(stateful)
        for order in places:
            self._outbox_of(order).send_place(order)

    def _outbox_of(self, order: InFlightOrder) -> Outbox | StatefulOutbox:
        return self._outbox if self._forms.flags(order) is OrderFlags.SHORT_TERM else self._stateful_outbox
