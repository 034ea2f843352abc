"""A venue in memory that outlives the gateways of a test, and a connector that trades on it without a socket.

Every "write to the socket" is a call, so a test sees exactly what left the process and how often.
"""

from __future__ import annotations

import time
from decimal import Decimal

from latentspeed.connectors import (
    ConnectorState,
    InFlightOrder,
    OrderLimits,
    OrderState,
    OrderType,
    OrderUpdate,
    Pending,
    PerpetualDerivativeBase,
    TradeType,
    TradeUpdate,
    TradingRule,
)
from latentspeed.connectors.types import ReportSource

RULE = TradingRule(
    "BTC-USD", "BTC", 0, Decimal("0.00001"), Decimal("0.1"), 5, Decimal("0.00001"), Decimal("10"), 50,
    True, "USD", "BTC",
)  # fmt: skip


class VenueOrder:
    """An order as the venue has it."""

    def __init__(self, order: InFlightOrder, number: int) -> None:
        self.client_order_id = order.client_order_id
        self.exchange_order_id = str(7_000_000_000 + number)
        self.trade_type = order.trade_type
        self.amount_lots = order.amount_lots
        self.price_units = order.price_units or order.trigger_units
        self.is_cancelled = False
        self.fills: list[TradeUpdate] = []

    @property
    def filled_lots(self) -> int:
        return sum(fill.amount_lots for fill in self.fills)

    @property
    def is_open(self) -> bool:
        return not self.is_cancelled and self.filled_lots < self.amount_lots

    @property
    def state(self) -> OrderState:
        if self.filled_lots >= self.amount_lots:
            return OrderState.FILLED
        if self.is_cancelled:
            return OrderState.CANCELLED
        return OrderState.PARTIALLY_FILLED if self.fills else OrderState.OPEN


class MemoryVenue:
    """Orders and fills; `received` counts how often each order arrived."""

    def __init__(self) -> None:
        self.orders: dict[str, VenueOrder] = {}
        self.received: dict[str, int] = {}
        self.trades = 0

    def place(self, order: InFlightOrder) -> VenueOrder:
        self.received[order.client_order_id] = self.received.get(order.client_order_id, 0) + 1
        return self.orders.setdefault(order.client_order_id, VenueOrder(order, len(self.orders)))

    def cancel(self, client_order_id: str) -> bool:
        order = self.orders.get(client_order_id)
        if order is None or not order.is_open:
            return False
        order.is_cancelled = True
        return True

    def fill(self, client_order_id: str, lots: int) -> TradeUpdate | None:
        """Trade some of an open order; None where there is nothing to trade."""
        order = self.orders.get(client_order_id)
        if order is None or not order.is_open:
            return None
        lots = min(lots, order.amount_lots - order.filled_lots)
        self.trades += 1
        trade = TradeUpdate(
            trade_id=str(self.trades),
            client_order_id=client_order_id,
            exchange_order_id=order.exchange_order_id,
            trading_pair=RULE.trading_pair,
            trade_type=TradeType(order.trade_type),
            price=RULE.price_from_units(order.price_units),
            amount=RULE.amount_from_lots(lots),
            price_units=order.price_units,
            amount_lots=lots,
            fee=0.01,
            fee_units=1_000_000,
            fee_asset="USDC",
            venue_utc_ns=time.time_ns(),
        )
        order.fills.append(trade)
        return trade


class MemoryConnector(PerpetualDerivativeBase):
    """Trades on a MemoryVenue; `burn` is called just before and just after everything that leaves the process."""

    def __init__(self, venue: MemoryVenue, burn) -> None:
        super().__init__()
        self._venue = venue
        self._burn = burn
        self._set_trading_rules([RULE])

    order_limits = OrderLimits(
        order_types=frozenset(OrderType) - {OrderType.UNKNOWN},
        replaceable_types=frozenset({OrderType.LIMIT, OrderType.LIMIT_MAKER}),
        has_brackets=True,
    )
    name = "memory"
    domain = "memory"
    signer_address = "0xmemory"

    def initialize(self):
        return Pending.resolved(None)

    def connect(self):
        self._set_authenticated(True)
        self.reconcile()
        self._set_connection_state(ConnectorState.LIVE)
        return Pending.resolved(None)

    def disconnect(self):
        self._set_connection_state(ConnectorState.DISCONNECTED)
        return Pending.resolved(None)

    def resync(self):
        self.reconcile()
        return Pending.resolved(None)

    def subscribe(self, trading_pair):
        self._rule(trading_pair)

    def set_leverage(self, trading_pair, leverage, margin_mode=None):
        self._check_leverage(trading_pair, leverage)
        self.update_leverage(trading_pair, leverage)
        return Pending.resolved(leverage)

    def fill(self, client_order_id, lots):
        """A fill at the venue, reported at once."""
        trade = self._venue.fill(client_order_id, lots)
        self._burn()
        if trade is not None:
            self._tracker.process_trade_update(trade)

    def reconcile(self):
        """Fills first, then orders; what the venue never had is settled as after its expiry."""
        for theirs in self._venue.orders.values():
            for trade in theirs.fills:
                self._tracker.process_trade_update(trade)
        for order in self._tracker.active_orders:
            theirs = self._venue.orders.get(order.client_order_id)
            if theirs is None:
                self._tracker.process_order_not_found(order.client_order_id, now_utc_ns=time.time_ns() + 3600 * 10**9)
            else:
                self._report(theirs, ReportSource.SNAPSHOT)

    def _schedule_place(self, order):
        if not self._tracker.mark_signed(order, nonce=time.time_ns(), venue_expiry_ms=time.time_ns() // 10**6 + 5000):
            return
        self._burn()
        if order.replaces and not self._venue.cancel(order.replaces):
            self._fail(order, "modifyTooLate")
            return
        theirs = self._venue.place(order)
        order.sent_mono_ns = time.monotonic_ns()
        self._burn()
        self._report(theirs, ReportSource.REPLY)
        if order.replaces:
            self._report(self._venue.orders[order.replaces], ReportSource.REPLY)

    def _fail(self, order, reason):
        self._tracker.process_order_update(
            OrderUpdate(order.client_order_id, state=OrderState.FAILED, reason=reason, source=ReportSource.REPLY)
        )

    def _schedule_cancel(self, order):
        if not self._tracker.mark_cancel_requested(order):
            return
        self._burn()
        self._venue.cancel(order.client_order_id)
        self._burn()
        theirs = self._venue.orders.get(order.client_order_id)
        if theirs is not None:
            self._report(theirs, ReportSource.REPLY)

    def _report(self, theirs, source):
        self._tracker.process_order_update(
            OrderUpdate(
                theirs.client_order_id, theirs.exchange_order_id, theirs.state, "", time.time_ns(), source,
                filled_lots=theirs.filled_lots if theirs.state is OrderState.CANCELLED else None,
            )
        )  # fmt: skip

    def _place_order(self, order):
        raise AssertionError("orders are placed by _schedule_place")

    _place_order_and_process_update = _cancel_order = _place_order
