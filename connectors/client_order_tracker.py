"""The reducer: every report about an order comes here, and any order and repetition of them has one outcome.

`in_flight_order` has the rule that derives a state from evidence; this module collects the evidence and emits the
events. One report makes, in this order and each with its own revision:

    on_order_created            at the first sign that the venue accepted the order (open, filled, a fill, the venue's
                                cancelled), while the order is live; so before anything below, and at most once
    on_trade, then              for a fill that was not counted before; `filled` when it completes the order
      on_order_partially_filled
      or on_order_filled
    on_order_completed          right after on_order_filled
    on_order_cancelled          when the state becomes CANCELLED, EXPIRED or FAILED
      or _expired or _failed
    on_order_updated            when something visible changed and none of the above showed it

Everything runs in the connector's loop thread, except `start_tracking_order` for an order that was just created and the
reading of orders. A report that a listener feeds in is reduced after the current one.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.held_reports import HeldReports
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import OrderState, ReportSource

_END_EVENTS = {
    OrderState.CANCELLED: "on_order_cancelled",
    OrderState.EXPIRED: "on_order_expired",
    OrderState.FAILED: "on_order_failed",
}
_ACCEPTED = frozenset({OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL, OrderState.FILLED})
_GIVEN_UP_FILLS = 10_000


class ClientOrderTracker:
    """The orders of one connector, live and lately finished."""

    def __init__(
        self,
        events: EventDispatcher | None = None,
        *,
        finished_capacity: int = 10_000,
        finished_age_s: float = 3600.0,
        held_capacity: int = 1_000,
        held_age_s: float = 10.0,
        never_accepted_margin_s: float = 10.0,
        clock_mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`never_accepted_margin_s`: how long after its venue expiry an order's absence at the venue is proof."""
        self.events = events if events is not None else EventDispatcher()
        self.fills_missing_handler: Callable[[InFlightOrder], None] | None = None
        self.duplicate_fills = 0
        self.late_fills = 0
        self.overfills = 0
        self.unmatched_fills = 0
        self.contradictions = 0
        self._finished_capacity = finished_capacity
        self._finished_age_ns = int(finished_age_s * 1e9)
        self._never_accepted_margin_ns = int(never_accepted_margin_s * 1e9)
        self._clock_mono_ns = clock_mono_ns
        self._orders: dict[str, InFlightOrder] = {}
        self._active: dict[str, InFlightOrder] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()
        self._awaiting_fills: dict[str, InFlightOrder] = {}
        self._by_exchange_id: dict[str, InFlightOrder] = {}
        self._held_fills: HeldReports[TradeUpdate] = HeldReports(held_capacity, int(held_age_s * 1e9))
        self._held_updates: HeldReports[OrderUpdate] = HeldReports(held_capacity, int(held_age_s * 1e9))
        self._given_up_fills: OrderedDict[tuple[str | None, str | None, str], None] = OrderedDict()
        self._known_fills: frozenset[str | tuple[str, str]] = frozenset()
        self._counted_until_utc_ns = 0
        self._queue: deque[OrderUpdate | TradeUpdate] = deque()
        self._is_busy = False

    # Which orders there are. These may be read from any thread.

    def get_order(self, client_order_id: str) -> InFlightOrder | None:
        """The order of a client order id, live or lately finished."""
        return self._orders.get(client_order_id)

    def get_order_by_exchange_id(self, exchange_order_id: str) -> InFlightOrder | None:
        """The order that the venue calls, or once called, by this id."""
        return self._by_exchange_id.get(exchange_order_id)

    @property
    def active_orders(self) -> list[InFlightOrder]:
        """Orders that are not finished, oldest first."""
        return list(self._active.values())

    @property
    def fillable_orders(self) -> list[InFlightOrder]:
        """Every order whose fills are still counted: the live ones and the lately finished."""
        return list(self._orders.values())

    @property
    def unknown_orders(self) -> list[InFlightOrder]:
        """Live orders of which nobody knows whether the venue has them."""
        return [order for order in self._active.values() if order.is_unknown]

    @property
    def orders_awaiting_fills(self) -> list[InFlightOrder]:
        """Orders of which the venue says that more was filled than has arrived."""
        return list(self._awaiting_fills.values())

    @property
    def held_count(self) -> int:
        """How many reports of untracked orders are held."""
        return len(self._held_fills) + len(self._held_updates)

    # Beginning and end of tracking.

    def start_tracking_order(self, order: InFlightOrder) -> None:
        """Makes an order known, before its request leaves; emits nothing unless reports of it were held.

        Raises ValueError when another order has its client order id.
        """
        known = self._orders.get(order.client_order_id)
        if known is order:
            return
        if known is not None:
            raise ValueError(f"client order id {order.client_order_id} is taken by {known!r}")
        self._orders[order.client_order_id] = order
        for exchange_order_id in order.exchange_order_ids:
            self._by_exchange_id.setdefault(exchange_order_id, order)
        if order.is_done:
            self._finished[order.client_order_id] = self._clock_mono_ns()
            self._trim_finished()
        else:
            self._active[order.client_order_id] = order
        self._note_awaiting(order)
        self._release_held(order)
        self._drain()

    def stop_tracking_order(self, client_order_id: str) -> None:
        """Forgets an order; reports of it are then those of an unknown order."""
        order = self._orders.pop(client_order_id, None)
        if order is None:
            return
        self._active.pop(client_order_id, None)
        self._finished.pop(client_order_id, None)
        self._awaiting_fills.pop(client_order_id, None)
        for exchange_order_id in order.exchange_order_ids:
            if self._by_exchange_id.get(exchange_order_id) is order:
                del self._by_exchange_id[exchange_order_id]

    def recover_orders(
        self,
        orders: Iterable[InFlightOrder],
        *,
        known_trade_ids: Iterable[str | tuple[str, str]] = (),
        fills_since_utc_ns: int = 0,
    ) -> None:
        """Takes over orders of an earlier process, made by `InFlightOrder.restore`.

        What was never signed ends FAILED `never_sent`; what was signed and not acknowledged is unknown until the venue
        has answered. `known_trade_ids` are fills that were counted already, as trade ids or as pairs of client order id
        and trade id; so are all fills before `fills_since_utc_ns`. Neither applies to orders made in this process.
        """
        self.ignore_fills(known_trade_ids, fills_since_utc_ns)
        for order in orders:
            self.start_tracking_order(order)
            if order.is_done:
                continue
            if not order.is_submitted:
                self.process_order_update(
                    OrderUpdate(
                        order.client_order_id, state=OrderState.FAILED, reason="never_sent", source=ReportSource.LOCAL
                    )
                )
            elif not order.is_acknowledged:
                self.mark_unknown(order.client_order_id, "recovered")

    def ignore_fills(self, known_trade_ids: Iterable[str | tuple[str, str]], before_utc_ns: int) -> None:
        """Fills that an earlier process counted, or that are history: not counted for restored or unknown orders."""
        self._known_fills = frozenset(known_trade_ids)
        self._counted_until_utc_ns = before_utc_ns

    # What happens here, without the venue.

    def mark_signed(
        self, order: InFlightOrder, *, nonce: int = 0, venue_expiry_ms: int = 0, signed_mono_ns: int = 0
    ) -> bool:
        """PENDING_CREATE to PENDING_SUBMIT, to be called after signing and before the first byte is written.

        False, and nothing changed, when the order has ended meanwhile: it must not be sent.
        """
        if order.is_done:
            return False
        order.nonce = nonce
        order.venue_expiry_ms = venue_expiry_ms
        order.signed_mono_ns = signed_mono_ns or self._clock_mono_ns()
        order.is_submitted = True
        self._set_state(order, order.derived_state())
        self.events.order_event("on_order_updated", order)
        return True

    def mark_unknown(self, client_order_id: str, reason: str) -> bool:
        """The order may have reached the venue and nobody has said so: it stays live until the venue has answered."""
        order = self._orders.get(client_order_id)
        if order is None or order.is_done or order.is_acknowledged:
            return False
        before = _visible(order)
        order.is_submitted = True
        order.unknown_reason = reason
        return self._show(order, before, order.revision)

    def mark_cancel_requested(self, order: InFlightOrder) -> bool:
        """A cancel is about to be sent; False when there is nothing left to cancel."""
        if order.is_done:
            return False
        before = _visible(order)
        order.cancel_requested = True
        order.cancel_in_flight = True
        order.cancel_rejected = False
        order.cancel_sent_mono_ns = self._clock_mono_ns()
        self._show(order, before, order.revision)
        return True

    def process_cancel_failed(self, client_order_id: str, reason: str, *, is_answer: bool = True) -> bool:
        """A cancel was refused, or with `is_answer=False` got no answer. Neither says what the order is.

        The order stays PENDING_CANCEL. After a refusal, a later report of source SNAPSHOT that the order is open makes
        it live again; a cancel without an answer is to be repeated.
        """
        order = self._orders.get(client_order_id)
        if order is None or order.is_done:
            return False
        order.cancel_in_flight = False
        order.cancel_rejected = is_answer
        self.events.error(
            "cancel_rejected" if is_answer else "cancel_unanswered",
            f"cancel of {client_order_id}: {reason}",
            trading_pair=order.trading_pair,
            client_order_id=client_order_id,
        )
        return True

    # Reports.

    def process_order_update(self, update: OrderUpdate) -> bool:
        """Reduces a report about an order's state; True when something visible changed.

        A report of an order that is not tracked is held for a while, and False is returned.
        """
        return self._process(update)

    def process_trade_update(self, trade: TradeUpdate) -> bool:
        """Counts a fill, once; True when it was counted. A fill of an order that is not tracked is held for a while."""
        return self._process(trade)

    def process_order_not_found(
        self, client_order_id: str, *, now_utc_ns: int | None = None, is_absent: bool = False
    ) -> bool:
        """The venue does not know the order, which on its own fails no order; True when it settled this one.

        An order that the venue has accepted is settled only when `is_absent`: fills and a list of open orders that were
        asked for before do not have it either. Its record has aged out, and it ends CANCELLED `aged_out`. One without
        any sign of acceptance ends FAILED `never_accepted` once its venue expiry and a margin have passed at
        `now_utc_ns` (the venue's time, if known). Without a venue expiry it stays unknown.
        """
        order = self._orders.get(client_order_id)
        if order is None or order.is_done or not order.is_submitted:
            return False
        if order.is_acknowledged:
            if not is_absent:
                return False
            state, reason = OrderState.CANCELLED, "aged_out"
        else:
            now = time.time_ns() if now_utc_ns is None else now_utc_ns
            deadline = order.venue_expiry_ms * 1_000_000 + self._never_accepted_margin_ns
            if not order.venue_expiry_ms or now < deadline:
                return False
            state, reason = OrderState.FAILED, "never_accepted"
        return self.process_order_update(
            OrderUpdate(client_order_id, state=state, reason=reason, source=ReportSource.INFERRED)
        )

    def process_foreign_trade(self, trade: TradeUpdate) -> bool:
        """A fill of an order that is certainly not ours: listeners hear of it once, without an order."""
        if self._is_history(trade) or not self._give_up(trade):
            return False
        self.events.trade_event(None, trade)
        return True

    def sweep(self) -> None:
        """Gives up held reports whose time is up and forgets old finished orders; call it about once a second."""
        now = self._clock_mono_ns()
        self._give_up_fills(self._held_fills.pop_expired(now))
        self._held_updates.pop_expired(now)
        self._trim_finished()

    # The reducer.

    def _process(self, report: OrderUpdate | TradeUpdate) -> bool:
        if self._is_busy:
            self._queue.append(report)
            return True
        self._is_busy = True
        try:
            changed = self._reduce(report)
            while self._queue:
                self._reduce(self._queue.popleft())
        finally:
            self._is_busy = False
        return changed

    def _drain(self) -> None:
        if self._queue and not self._is_busy:
            self._process(self._queue.popleft())

    def _reduce(self, report: OrderUpdate | TradeUpdate) -> bool:
        order = self._orders.get(report.client_order_id) if report.client_order_id is not None else None
        if order is None and report.exchange_order_id is not None:
            order = self._by_exchange_id.get(report.exchange_order_id)
        if isinstance(report, TradeUpdate):
            return self._hold_fill(report) if order is None else self._reduce_fill(order, report)
        if order is None:
            self._held_updates.add(report, self._clock_mono_ns())
            return False
        return self._reduce_update(order, report)

    def _reduce_update(self, order: InFlightOrder, update: OrderUpdate) -> bool:
        before, revision = _visible(order), order.revision
        self._learn(order, update.exchange_order_id, update.venue_utc_ns)
        state, reason, filled_lots = update.state, update.reason, update.filled_lots
        if state is OrderState.FILLED:
            if filled_lots is None:
                filled_lots = order.amount_lots
            elif filled_lots < order.amount_lots:
                state, reason = OrderState.CANCELLED, reason or "reduced"
        if filled_lots is not None and filled_lots > order.expected_filled_lots:
            order.expected_filled_lots = filled_lots
            self._note_awaiting(order)
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
        return self._show(order, before, revision)

    def _reduce_fill(self, order: InFlightOrder, trade: TradeUpdate) -> bool:
        before, revision = _visible(order), order.revision
        self._learn(order, trade.exchange_order_id, trade.venue_utc_ns)
        if self._is_counted(order, trade):
            self.duplicate_fills += 1
            self._show(order, before, revision)
            return False
        if trade.trading_pair != order.trading_pair or trade.amount_lots <= 0:
            self.events.error(
                "impossible_fill",
                f"fill {trade.trade_id} of {trade.amount_lots} lots {trade.trading_pair} does not fit {order!r}",
                trading_pair=trade.trading_pair,
                client_order_id=order.client_order_id,
            )
            return False
        self._acknowledge(order)
        if order.is_done:
            self.late_fills += 1
        was_complete = order.filled_lots >= order.amount_lots
        order.add_fill(trade)
        completes = order.filled_lots >= order.amount_lots and not was_complete
        self._set_state(order, order.derived_state())
        self._note_awaiting(order)
        self.events.fill_event("on_order_filled" if completes else "on_order_partially_filled", order, trade)
        if completes:
            self.events.order_event("on_order_completed", order)
        if order.filled_lots > order.amount_lots:
            self.overfills += 1
            self.events.error(
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
        owner = self._by_exchange_id.setdefault(exchange_order_id, order)
        if owner is not order:
            self.events.error(
                "exchange_id_conflict",
                f"exchange order id {exchange_order_id} of {owner!r} was reported for {order!r}",
                trading_pair=order.trading_pair,
                client_order_id=order.client_order_id,
            )
            return
        order.add_exchange_id(exchange_order_id)
        order.settle_exchange_id_waiters()
        self._release_held(order)

    def _release_held(self, order: InFlightOrder) -> None:
        """Queues the reports that waited for this order."""
        self._queue.extend(self._held_updates.take(order.client_order_id, order.exchange_order_ids))
        self._queue.extend(self._held_fills.take(order.client_order_id, order.exchange_order_ids))

    def _acknowledge(self, order: InFlightOrder) -> None:
        """Records that the venue has accepted the order; the first time, while it is live, that is an event."""
        if order.is_acknowledged:
            return
        order.is_acknowledged = order.is_submitted = True
        order.acknowledged_mono_ns = self._clock_mono_ns()
        state = order.derived_state()
        if state.is_final:
            return
        self._set_state(order, state)
        if not order.has_created_event:
            order.has_created_event = True
            self.events.order_event("on_order_created", order)

    def _show(self, order: InFlightOrder, before: tuple[object, ...], revision: int) -> bool:
        """Brings the state up to the evidence and emits what that shows; True when anything was emitted."""
        state = order.derived_state()
        if state is not order.state:
            self._set_state(order, state)
            self.events.order_event(_END_EVENTS.get(state, "on_order_updated"), order)
        elif order.revision == revision and _visible(order) != before:
            self.events.order_event("on_order_updated", order)
        return order.revision != revision

    def _set_state(self, order: InFlightOrder, state: OrderState) -> None:
        if state is order.state:
            return
        was_done, order.state = order.is_done, state
        if state.is_final:
            order.cancel_in_flight = False
        if state.is_final is was_done or order.client_order_id not in self._orders:
            return
        if state.is_final:
            self._active.pop(order.client_order_id, None)
            self._finished[order.client_order_id] = self._clock_mono_ns()
            order.settle_exchange_id_waiters()
            self._trim_finished()
        else:
            self._finished.pop(order.client_order_id, None)
            self._active[order.client_order_id] = order

    # Fills that have no order, or whose order lacks fills.

    def _note_awaiting(self, order: InFlightOrder) -> None:
        if not order.is_awaiting_fills:
            if self._awaiting_fills:
                self._awaiting_fills.pop(order.client_order_id, None)
            return
        if order.client_order_id not in self._awaiting_fills:
            order.awaiting_since_mono_ns = self._clock_mono_ns()
            self._awaiting_fills[order.client_order_id] = order
        if self.fills_missing_handler is not None:
            self.fills_missing_handler(order)

    def _is_counted(self, order: InFlightOrder, trade: TradeUpdate) -> bool:
        if trade.trade_id in order.trade_ids:
            return True
        if not order.is_restored:
            return False
        return self._is_history(trade) or (order.client_order_id, trade.trade_id) in self._known_fills

    def _is_history(self, trade: TradeUpdate) -> bool:
        return 0 < trade.venue_utc_ns < self._counted_until_utc_ns or trade.trade_id in self._known_fills

    def _hold_fill(self, trade: TradeUpdate) -> bool:
        key = (trade.client_order_id, trade.exchange_order_id, trade.trade_id)
        if self._is_history(trade) or key in self._given_up_fills or key[::2] in self._known_fills:
            return False
        self._give_up_fills(self._held_fills.add(trade, self._clock_mono_ns()))
        return False

    def _give_up_fills(self, trades: list[TradeUpdate]) -> None:
        for trade in trades:
            if not self._give_up(trade):
                continue
            self.unmatched_fills += 1
            self.events.error(
                "fill_of_unknown_order",
                f"fill {trade.trade_id} of {trade.amount} {trade.trading_pair} @ {trade.price} names client order id "
                f"{trade.client_order_id} and exchange order id {trade.exchange_order_id}, which nobody tracks",
                trading_pair=trade.trading_pair,
                client_order_id=trade.client_order_id,
            )
            self.events.trade_event(None, trade)

    def _give_up(self, trade: TradeUpdate) -> bool:
        """Remembers a fill without an order, so that repetitions of it are silent; False when it is remembered."""
        key = (trade.client_order_id, trade.exchange_order_id, trade.trade_id)
        if key in self._given_up_fills:
            return False
        self._given_up_fills[key] = None
        if len(self._given_up_fills) > _GIVEN_UP_FILLS:
            self._given_up_fills.popitem(last=False)
        return True

    def _trim_finished(self) -> None:
        oldest = self._clock_mono_ns() - self._finished_age_ns
        while self._finished:
            client_order_id, finished_mono_ns = next(iter(self._finished.items()))
            if len(self._finished) <= self._finished_capacity and finished_mono_ns > oldest:
                return
            self.stop_tracking_order(client_order_id)


def _visible(order: InFlightOrder) -> tuple[object, ...]:
    """What a listener can see of an order besides its fills."""
    return order.state, order.exchange_order_id, order.is_unknown, order.is_awaiting_fills, order.reason
