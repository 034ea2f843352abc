"""The reducer: every report about an order comes here, and any order and repetition of them has one outcome.

`in_flight_order` has the rule that derives a state from evidence, `order_reducer` the events that a report makes. This
module knows which orders there are, what happened to them on this side of the wire, and holds what comes too early.

Everything runs in the connector's loop thread, except `start_tracking_order` for an order that was just created and the
reading of orders. A report that a listener feeds in is reduced after the current one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from latentspeed.connectors.counted_before import CountedBefore, ForgottenFills
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.held_reports import HeldReports
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_reducer import OrderReducer, visible
from latentspeed.connectors.order_registry import OrderRegistry
from latentspeed.connectors.types import OrderState, ReportSource
from latentspeed.connectors.unmatched_fills import UnmatchedFills


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
        self._never_accepted_margin_ns = int(never_accepted_margin_s * 1e9)
        self._clock_mono_ns = clock_mono_ns
        self._registry = OrderRegistry(finished_capacity, int(finished_age_s * 1e9), clock_mono_ns)
        self._counted_before = CountedBefore()
        self._unmatched_fills = UnmatchedFills(self.events, self._counted_before, held_capacity, int(held_age_s * 1e9))
        self._held_updates: HeldReports[OrderUpdate] = HeldReports(held_capacity, int(held_age_s * 1e9))
        self.reducer = OrderReducer(
            self.events, self._registry, self._unmatched_fills, self._counted_before, self._held_updates, clock_mono_ns
        )
        self._is_busy = False

    # Which orders there are. These may be read from any thread.

    def get_order(self, client_order_id: str) -> InFlightOrder | None:
        """The order of a client order id, live or lately finished."""
        return self._registry.by_client_id(client_order_id)

    def get_order_by_exchange_id(self, exchange_order_id: str) -> InFlightOrder | None:
        """The order that the venue calls, or once called, by this id."""
        return self._registry.by_exchange_id(exchange_order_id)

    def finished_mono_ns(self, client_order_id: str) -> int | None:
        """When an order finished; None for one that is live or forgotten."""
        return self._registry.finished_mono_ns(client_order_id)

    @property
    def active_orders(self) -> list[InFlightOrder]:
        """Orders that are not finished, oldest first."""
        return self._registry.active()

    @property
    def fillable_orders(self) -> list[InFlightOrder]:
        """Every order whose fills are still counted: the live ones and the lately finished."""
        return self._registry.all()

    @property
    def unknown_orders(self) -> list[InFlightOrder]:
        """Live orders of which nobody knows whether the venue has them."""
        return [order for order in self._registry.active() if order.is_unknown]

    @property
    def orders_awaiting_fills(self) -> list[InFlightOrder]:
        """Orders of which the venue says that more was filled than has arrived."""
        return list(self.reducer.awaiting_fills.values())

    @property
    def orders_in_doubt(self) -> list[InFlightOrder]:
        """Restored orders with a fill that waits until all their fills have been told, see `counted_before`."""
        orders = map(self._registry.by_client_id, self._counted_before.orders_in_doubt)
        return [order for order in orders if order is not None]

    @property
    def held_count(self) -> int:
        """How many reports of untracked orders are held."""
        return len(self._unmatched_fills) + len(self._held_updates)

    @property
    def unmatched_fills(self) -> int:
        """How many fills were given up because no order came for them."""
        return self._unmatched_fills.given_up_count

    # Beginning and end of tracking.

    def start_tracking_order(self, order: InFlightOrder) -> None:
        """Makes an order known, before its request leaves; emits nothing unless reports of it were held.

        Raises ValueError when another order has its client order id.
        """
        if not self._registry.add(order):
            return
        self._link(order)
        self.reducer.note_awaiting(order)
        if self.reducer.release_held(order) and not self._is_busy:
            self._process(self.reducer.released.popleft())

    def _link(self, order: InFlightOrder) -> None:
        """Lets an order and the one that replaces it know of each other, whichever comes first."""
        if order.replaces and (old := self._registry.by_client_id(order.replaces)) is not None:
            old.replaced_by = order.client_order_id

    def stop_tracking_order(self, client_order_id: str) -> None:
        """Forgets an order; reports of it are then those of an unknown order."""
        self.reducer.forget(client_order_id)

    def recover_orders(
        self,
        orders: Iterable[InFlightOrder],
        *,
        known_trade_ids: Iterable[str | tuple[str, str]] = (),
        counted_until_utc_ns: int = 0,
        forgotten: Mapping[str, ForgottenFills] | None = None,
    ) -> None:
        """Takes over orders of an earlier process, made by `restore_order`.

        What was never signed ends FAILED `never_sent`; what was signed and not acknowledged is unknown until the venue
        has answered. `known_trade_ids` are fills that were counted already, as trade ids or as pairs of an order's id,
        ours or the venue's, and trade id; so are all fills before `counted_until_utc_ns`, except that of an order in
        `forgotten`, by client order id, only those are that it forgot. None of this applies to orders made here.
        """
        self._counted_before.take_over(known_trade_ids, counted_until_utc_ns, forgotten)
        orders = list(orders)
        for order in orders:
            self.start_tracking_order(order)
        for order in orders:
            self._link(order)
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
        self._counted_before.take_over(known_trade_ids, before_utc_ns)

    # What happens here, without the venue.

    def mark_signed(
        self, order: InFlightOrder, *, nonce: int = 0, venue_expiry_ms: int = 0, signed_mono_ns: int = 0
    ) -> bool:
        """PENDING_CREATE to PENDING_SUBMIT, to be called after signing and before the first byte is written.

        False, and nothing changed, when the order has ended meanwhile or was signed before: it must not be sent.
        """
        if order.is_done or order.is_submitted:
            return False
        order.nonce = nonce
        order.venue_expiry_ms = venue_expiry_ms
        order.signed_mono_ns = signed_mono_ns or self._clock_mono_ns()
        order.is_submitted = True
        self.reducer.set_state(order, order.derived_state())
        self.events.order_event("on_order_updated", order)
        return True

    def mark_unknown(self, client_order_id: str, reason: str) -> bool:
        """The order may have reached the venue and nobody has said so: it stays live until the venue has answered."""
        order = self._registry.by_client_id(client_order_id)
        if order is None or order.is_done or order.is_acknowledged:
            return False
        before = visible(order)
        order.is_submitted = True
        order.unknown_reason = reason
        return self.reducer.show(order, before, order.revision)

    def mark_cancel_requested(self, order: InFlightOrder) -> bool:
        """A cancel is about to be sent; False when there is nothing left to cancel."""
        if order.is_done:
            return False
        before = visible(order)
        order.cancel_requested = True
        order.cancel_in_flight = True
        order.cancel_rejected = False
        order.cancel_sent_mono_ns = self._clock_mono_ns()
        self.reducer.show(order, before, order.revision)
        return True

    def process_cancel_failed(self, client_order_id: str, reason: str, *, is_answer: bool = True) -> bool:
        """A cancel was refused, or with `is_answer=False` got no answer. Neither says what the order is.

        The order stays PENDING_CANCEL. After a refusal, a later report of source SNAPSHOT that the order is open makes
        it live again; a cancel without an answer is to be repeated.
        """
        order = self._registry.by_client_id(client_order_id)
        if order is None or order.is_done:
            return False
        order.cancel_in_flight = False
        order.cancel_rejected = is_answer and order.cancel_requested
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
        asked for before do not have it either. Its record has aged out, and it ends CANCELLED `aged_out`, unless the
        venue has said before that it was filled: then its fills are still to come. One without any sign of acceptance
        ends FAILED `never_accepted` once its venue expiry and a margin have passed at `now_utc_ns` (the venue's time,
        if known). Without a venue expiry it stays unknown.
        """
        order = self._registry.by_client_id(client_order_id)
        if order is None or order.is_done or not order.is_submitted:
            return False
        if order.is_acknowledged:
            if not is_absent or order.expected_filled_lots >= order.amount_lots:
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
        return self._unmatched_fills.report_foreign(trade)

    def sweep(self) -> None:
        """Gives up held reports whose time is up and forgets old finished orders; call it about once a second."""
        now = self._clock_mono_ns()
        self._unmatched_fills.sweep(now)
        self._held_updates.pop_expired(now)
        self.reducer.trim_finished()

    def _process(self, report: OrderUpdate | TradeUpdate) -> bool:
        if self._is_busy:
            self.reducer.released.append(report)
            return True
        self._is_busy = True
        try:
            changed = self._reduce(report)
            while self.reducer.released:
                self._reduce(self.reducer.released.popleft())
        finally:
            self._is_busy = False
        return changed

    def _reduce(self, report: OrderUpdate | TradeUpdate) -> bool:
        order = None
        if report.client_order_id is not None:
            order = self._registry.by_client_id(report.client_order_id)
        if order is None and report.exchange_order_id is not None:
            order = self._registry.by_exchange_id(report.exchange_order_id)
        if isinstance(report, TradeUpdate):
            if order is not None:
                return self.reducer.reduce_fill(order, report)
            self._unmatched_fills.hold(report, self._clock_mono_ns())
            return False
        if order is not None:
            return self.reducer.reduce_update(order, report)
        self._held_updates.add(report, self._clock_mono_ns())
        return False
