"""What one report does to one order: evidence in, state and events out.

`in_flight_order` has the rule that derives a state from evidence. One report makes, in this order and each with its own
revision:

    on_order_created            at the first sign that the venue accepted the order (open, filled, a fill, the venue's
                                cancelled), while the order is live; so before anything below, and at most once
    on_trade, then              for a fill that was not counted before; `filled` when it completes the order
      on_order_partially_filled
      or on_order_filled
    on_order_completed          right after on_order_filled
    on_order_cancelled          when the state becomes CANCELLED, EXPIRED or FAILED
      or _expired or _failed
    on_order_updated            when something visible changed and none of the above showed it
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from latentspeed.connectors.counted_before import CountedBefore
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.held_reports import HeldReports
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_registry import OrderRegistry
from latentspeed.connectors.types import OrderState, ReportSource
from latentspeed.connectors.unmatched_fills import UnmatchedFills

_END_EVENTS = {
    OrderState.CANCELLED: "on_order_cancelled",
    OrderState.EXPIRED: "on_order_expired",
    OrderState.FAILED: "on_order_failed",
}
# A report completes an order only where nothing but a report tells its size; otherwise the last fill does.
_SHOWN_BY = {**_END_EVENTS, OrderState.FILLED: "on_order_completed"}
_ACCEPTED = frozenset({OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL, OrderState.FILLED})
Visible = tuple[object, ...]


class OrderReducer:
    """Joins reports into orders and emits what that shows. Loop thread only, one report at a time."""

    def __init__(
        self,
        events: EventDispatcher,
        registry: OrderRegistry,
        unmatched_fills: UnmatchedFills,
        counted_before: CountedBefore,
        held_updates: HeldReports[OrderUpdate],
        clock_mono_ns: Callable[[], int],
    ) -> None:
        self.fills_missing_handler: Callable[[InFlightOrder], None] | None = None
        self.released: deque[OrderUpdate | TradeUpdate] = deque()
        self.awaiting_fills: dict[str, InFlightOrder] = {}
        self.duplicate_fills = 0
        self.late_fills = 0
        self.overfills = 0
        self.contradictions = 0
        self._events = events
        self._registry = registry
        self._unmatched_fills = unmatched_fills
        self._counted_before = counted_before
        self._held_updates = held_updates
        self._clock_mono_ns = clock_mono_ns

    def forget(self, client_order_id: str) -> None:
        """Ends the tracking of an order."""
        self._registry.remove(client_order_id)
        self.awaiting_fills.pop(client_order_id, None)

    def reduce_update(self, order: InFlightOrder, update: OrderUpdate) -> bool:
        """Joins a report about the order's state; True when anything was emitted."""
        before, revision = visible(order), order.revision
        self._learn(order, update.exchange_order_id, update.venue_utc_ns)
        state, reason, filled_lots = update.state, update.reason, update.filled_lots
        if state is OrderState.FILLED and order.has_open_size:
            order.is_said_filled = True
        elif state is OrderState.FILLED:
            if filled_lots is None:
                filled_lots = order.amount_lots
            elif filled_lots < order.amount_lots:
                state, reason = OrderState.CANCELLED, reason or "reduced"
        if filled_lots is not None and filled_lots > order.expected_filled_lots:
            order.expected_filled_lots = filled_lots
            self.note_awaiting(order)
        is_local = update.source is ReportSource.LOCAL
        if state in _ACCEPTED or filled_lots or (state is OrderState.CANCELLED and not is_local):
            self._acknowledge(order)
        if state in _END_EVENTS:
            if state is OrderState.FAILED and update.source is ReportSource.INFERRED:
                order.inferred_failure = max(order.inferred_failure or "", reason)
            else:
                order.add_final_evidence(state, reason)
        elif state is OrderState.PENDING_SUBMIT:
            order.is_submitted = True
        elif update.source is ReportSource.SNAPSHOT and order.cancel_rejected and state in _ACCEPTED:
            order.cancel_requested = order.cancel_rejected = False
        elif order.is_done and state is not OrderState.FILLED and state in _ACCEPTED:
            self.contradictions += 1
        return self.show(order, before, revision)

    def reduce_fill(self, order: InFlightOrder, trade: TradeUpdate) -> bool:
        """Counts a fill of the order; False when it was counted before or cannot be this order's."""
        before, revision = visible(order), order.revision
        self._learn(order, trade.exchange_order_id, trade.venue_utc_ns)
        if not self._is_new(order, trade):
            self.duplicate_fills += 1
            self.show(order, before, revision)
            return False
        if trade.trading_pair != order.trading_pair or trade.amount_lots <= 0:
            self._events.error(
                "impossible_fill",
                f"fill {trade.trade_id} of {trade.amount_lots} lots {trade.trading_pair} does not fit {order!r}",
                trading_pair=trade.trading_pair,
                client_order_id=order.client_order_id,
            )
            return False
        self._acknowledge(order)
        if order.is_done:
            self.late_fills += 1
        was_complete = order.state is OrderState.FILLED
        order.add_fill(trade)
        self.set_state(order, order.derived_state())
        completes = order.state is OrderState.FILLED and not was_complete
        self.note_awaiting(order)
        self._events.fill_event("on_order_filled" if completes else "on_order_partially_filled", order, trade)
        if completes:
            self._events.order_event("on_order_completed", order)
        if order.filled_lots > order.amount_lots:
            self.overfills += 1
            self._events.error(
                "overfilled",
                f"fills of {order!r} exceed its amount",
                trading_pair=order.trading_pair,
                client_order_id=order.client_order_id,
            )
        return True

    def _learn(self, order: InFlightOrder, exchange_order_id: str | None, venue_utc_ns: int) -> None:
        """Takes the venue's id and time from a report."""
        if venue_utc_ns > order.last_update_utc_ns:
            order.last_update_utc_ns = venue_utc_ns
        if exchange_order_id is None or exchange_order_id in order.exchange_order_ids:
            return
        owner = self._registry.name(exchange_order_id, order)
        if owner is not order:
            self._events.error(
                "exchange_id_conflict",
                f"exchange order id {exchange_order_id} of {owner!r} was reported for {order!r}",
                trading_pair=order.trading_pair,
                client_order_id=order.client_order_id,
            )
            return
        order.add_exchange_id(exchange_order_id)
        order.settle_exchange_id_waiters()
        self.release_held(order)

    def release_held(self, order: InFlightOrder) -> bool:
        """Queues the reports that waited for this order; whether there were any."""
        if not self._held_updates and not self._unmatched_fills:
            return False
        updates = self._held_updates.take(order.client_order_id, order.exchange_order_ids)
        fills = self._unmatched_fills.take(order)
        self.released.extend(updates)
        self.released.extend(fills)
        return bool(updates or fills)

    def _acknowledge(self, order: InFlightOrder) -> None:
        """Records that the venue has accepted the order; the first time, while it is live, that is an event."""
        if order.is_acknowledged:
            return
        order.is_acknowledged = order.is_submitted = True
        order.acknowledged_mono_ns = self._clock_mono_ns()
        state = order.derived_state()
        if state.is_final:
            return
        self.set_state(order, state)
        if not order.has_created_event:
            order.has_created_event = True
            self._events.order_event("on_order_created", order)

    def show(self, order: InFlightOrder, before: Visible, revision: int) -> bool:
        """Brings the state up to the evidence and emits what that shows; True when anything was emitted."""
        state = order.derived_state()
        if state is not order.state:
            self.set_state(order, state)
            self._events.order_event(_SHOWN_BY.get(state, "on_order_updated"), order)
        elif order.revision == revision and visible(order) != before:
            self._events.order_event("on_order_updated", order)
        return order.revision != revision

    def set_state(self, order: InFlightOrder, state: OrderState) -> None:
        """Shows a state that was derived, and files the order with the live or the finished ones."""
        if state is order.state:
            return
        was_done, order.state = order.is_done, state
        if state.is_final:
            order.cancel_in_flight = False
        if state.is_final is was_done or order.client_order_id not in self._registry:
            return
        self._registry.file(order)
        if state.is_final:
            order.settle_exchange_id_waiters()
            self.trim_finished()

    def note_awaiting(self, order: InFlightOrder) -> None:
        """Keeps the list of orders whose fills do not add up to what the venue says, and asks for their fills."""
        if not order.is_awaiting_fills:
            if self.awaiting_fills:
                self.awaiting_fills.pop(order.client_order_id, None)
        elif order.client_order_id not in self.awaiting_fills:
            order.awaiting_since_mono_ns = self._clock_mono_ns()
            self.awaiting_fills[order.client_order_id] = order
            if self.fills_missing_handler is not None:
                self.fills_missing_handler(order)

    def _is_new(self, order: InFlightOrder, trade: TradeUpdate) -> bool:
        """Whether a fill is to be counted now; queues those of which that has become clear by this one."""
        if trade.trade_id in order.trade_ids:
            return False
        if not (order.is_restored or order.is_adopted):
            return True
        before = self._counted_before
        new = (before.sift_adopted if order.is_adopted else before.sift)(order.client_order_id, trade)
        self.released.extend(fill for fill in new if fill is not trade)
        return trade in new

    def trim_finished(self) -> None:
        """Forgets the finished orders that are too many or too old."""
        for client_order_id in self._registry.overdue():
            self.forget(client_order_id)


def visible(order: InFlightOrder) -> Visible:
    """What a listener can see of an order besides its fills."""
    return order.state, order.exchange_order_id, order.is_unknown, order.is_awaiting_fills, order.reason
