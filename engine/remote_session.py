"""One claimed session at work: its queue, its orders, its books, and the two rings that it reads.

    poll    100 ms: locks, states, what a restart or a lap left open
            events ring: command results, own orders and fills; after each event the books are committed
            market ring: what changed; then the cells that did, each after whatever own events have come meanwhile

A connector makes one of these when it connects and drops it when it disconnects. Only the thread that polls may touch
it, except for sending, which the connector's lock orders.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.errors import VenueRejected, VenueUnreachable
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.types import ConnectorState, OrderState, ReportSource
from latentspeed.engine.candle_history import HistoryAnswer, encode_terms
from latentspeed.engine.command_writer import CommandWriter
from latentspeed.engine.gateway_link import GatewayLink
from latentspeed.engine.market_feed import MarketFeed
from latentspeed.engine.order_block import OrderBlock
from latentspeed.engine.order_reports import OrderReports
from latentspeed.engine.own_books import OwnBooks
from latentspeed.engine.records import PLACING, CommandKind, OrderEvent, OrderEventKind, ReaderStatus
from latentspeed.engine.session_audit import SessionAudit
from latentspeed.ipc import IpcError, Lapped, RecordKind, SegmentState

if TYPE_CHECKING:
    from latentspeed.connectors.client_order_tracker import ClientOrderTracker
    from latentspeed.engine.market_view import MarketView

WATCH_NS = 100_000_000
SWEEP_NS = 1_000_000_000
CANCEL_RETRY_NS = 1_000_000_000
# For so long the answer to a command may come after a lap, if it was not among what was overwritten.
ANSWER_GRACE_NS = 5_000_000_000
# What a gateway answers to a cancel that came too late: no failure, the order's own end is on its way.
ALREADY_FINISHED = "already_finished"


class RemoteSession:
    """What exists from claim to release.

    Parameters: `link` attached, with a session claimed; `view` the market tables; `tracker` and `events` the
    connector's; `lock` orders the threads that send; `on_state(state)` is told what the way to the venue is like, 10
    times a second; `on_rules_changed()` when instruments changed.
    """

    def __init__(
        self,
        link: GatewayLink,
        view: MarketView,
        tracker: ClientOrderTracker,
        events: EventDispatcher,
        lock: threading.RLock,
        on_state: Callable[[ConnectorState], object],
        on_rules_changed: Callable[[], object],
    ) -> None:
        self.view = view
        self._link = link
        self._tracker = tracker
        self._dispatcher = events
        self._on_state = on_state
        session, reader, sizes = link.session, link.reader, link.sizes
        self.slot = session.slot
        self.generation = session.generation
        self.incarnation = session.incarnation
        # Readers are made after the claim: from then on they carry the bell that a parked strategy sleeps on.
        self._ring = reader.ring("events").reader()
        self._market_ring = reader.ring("market").reader()
        self.readers = (self._ring, self._market_ring)
        """What an idle strategy sleeps on."""
        self.block = OrderBlock(reader.table("orders"), session.slot, session.incarnation, sizes.orders_per_session)
        self.writer = CommandWriter(session, link.claimed.tag, self.block.id_of_no_order, lock)
        self.books = OwnBooks(session.table("book"), session.generation)
        self.reports = OrderReports(tracker, reader.table("orders"), self.block, self.books)
        self._audit = SessionAudit(reader.table("ledger"), session.slot, sizes, self.books)
        self.feed = MarketFeed(self._market_ring, view, events, self._take_waiting_orders, on_rules_changed)
        self._reader_table = session.table("reader")
        self._reader_status = ReaderStatus(generation=session.generation)
        self._event = OrderEvent()
        self._read_ahead: deque[tuple[int, OrderEvent]] = deque()
        self._predecessors: list[tuple[OrderBlock, OrderReports]] = []
        self._resyncs: list[Pending[None]] = []
        self._lapped = 0
        self._commit_from = 0
        self._are_books_held = False
        self._is_restart_open = False
        self._are_answers_lost = False
        self._overwritten_answers: tuple[int, int] | None = None
        self._next_watch_mono_ns = 0
        self._next_look_mono_ns = 0
        self._next_sweep_mono_ns = 0
        self.laps = 0
        self.lost = 0

    # Sending

    def place(self, order: InFlightOrder, instrument: int) -> None:
        """Write a tracked order to the queue.

        Its id is spent before it is written, so that nothing that interrupts this, not even a KeyboardInterrupt, can
        have it used twice. After an exception `block.holds(order)` tells whether the order may have been written.
        """
        self.writer.prepare_place(order, instrument)
        self.block.occupy(order)
        self.reports.expect(order, self.writer.next_index, instrument)
        try:
            self.writer.push_place()
        except IpcError:
            self.block.vacate(order)
            self.reports.forget(order)
            raise

    def place_group(self, orders: Sequence[InFlightOrder], instrument: int) -> None:
        """Write tracked orders that belong together as one command, so that the gateway reads all or none."""
        self.writer.prepare_bracket(orders, instrument)
        for order in orders:
            self.block.occupy(order)
            self.reports.expect(order, self.writer.next_index, instrument)
        try:
            self.writer.push_place()
        except IpcError:
            for order in orders:
                self.block.vacate(order)
                self.reports.forget(order)
            raise

    def fetch_candles(
        self, instrument: int, interval: str, start_utc_ns: int, end_utc_ns: int, result: Pending[list[Candle]]
    ) -> None:
        """Write a question for history; `result` is resolved with the answer. Raises OrderRefused for its terms."""
        terms = encode_terms(interval, start_utc_ns, end_utc_ns)
        requester, ring = self.block.id_of_no_order, self._link.reader.ring("history")
        answer = HistoryAnswer(ring, requester, self.view.pair(instrument), interval)
        self.writer.fetch_candles(instrument, terms, answer, result)

    def is_cancel_overdue(self, order: InFlightOrder) -> bool:
        """Whether a cancel that is on its way has been so long that it may be repeated."""
        return monotonic_ns() - order.cancel_sent_mono_ns > CANCEL_RETRY_NS

    # Reading

    def poll(self, limit: int) -> int:
        """Read and tell up to about `limit` changes; returns how many there were.

        Raises SegmentRetired, SessionFenced, ForkedSession: this session has ended.
        """
        self._link.session.beat()
        now = monotonic_ns()
        if now >= self._next_watch_mono_ns or self.feed.has_state_change:
            self._watch(now)
        done = self._take_orders(limit)
        if self._are_books_held:
            return done
        done += self.feed.read(limit)
        return done + self.feed.tell(self._link.is_taking_orders)

    def read_ahead(self) -> None:
        """Resolve command results and keep everything else for the next poll: for one who waits inside a callback.

        Raises SegmentRetired, SessionFenced, ForkedSession: nobody will answer this session any more.
        """
        self._link.session.beat()
        while True:
            try:
                kind = self._ring.read(self._event)
            except Lapped as lapped:
                self._lapped += lapped.lost
                self._note_overwritten_answers()
                continue
            if kind == 0:
                break
            if kind == RecordKind.EPOCH:
                self._note_restart()
            elif self.block.is_own(self._event.client_order_id):
                if self._event.event == OrderEventKind.COMMAND_RESULT:
                    self._take_result(self._event)
                else:
                    self._read_ahead.append((self._ring.cursor, self._event.copy()))
        now = monotonic_ns()
        if now >= self._next_look_mono_ns:
            self._look(now)

    def hold_books(self) -> None:
        """Commit nothing more and tell nothing of the market: a callback has raised, its fill was not taken in."""
        self._are_books_held = True

    @property
    def are_orders_read(self) -> bool:
        """Whether every order event that was published has been taken in."""
        return not self._read_ahead and not self._lapped and not self._ring.available

    @property
    def is_idle(self) -> bool:
        """Whether every command was read and every event taken in."""
        return self.are_orders_read and self.writer.read_index == self.writer.next_index

    def succeed(self, predecessor: RemoteSession) -> None:
        """Go on telling of an earlier session's orders, whose books are closed."""
        self._predecessors = [*predecessor._predecessors, (predecessor.block, predecessor.reports)]
        predecessor.books.close()
        predecessor.reports.suspect_all()

    def request_resync(self, done: Pending[None]) -> None:
        """Compare every order with its row once the gateway is live and its events are read; then `done`."""
        self.reports.suspect_all()
        self._resyncs.append(done)

    def fail_waiters(self, error: BaseException) -> None:
        """The session has ended: nobody will answer any more."""
        self.writer.fail_all(error)
        while self._resyncs:
            self._resyncs.pop().set_exception(error)

    def _take_waiting_orders(self) -> None:
        if self._ring.available:
            self._take_orders(64)

    def _take_orders(self, limit: int) -> int:
        taken = 0
        if self._lapped:
            lost, self._lapped = self._lapped, 0
            self._on_lapped(lost)
        while self._read_ahead and taken < limit:
            cursor, event = self._read_ahead.popleft()
            self._take(event, cursor)
            taken += 1
        while taken < limit:
            try:
                kind = self._ring.read(self._event)
            except Lapped as lapped:
                self._on_lapped(lapped.lost)
                taken += 1
                continue
            if kind == 0:
                break
            taken += 1
            if kind == RecordKind.EPOCH:
                self._note_restart()
            else:
                self._take(self._event, self._ring.cursor)
        return taken

    def _take(self, event: OrderEvent, cursor: int) -> None:
        if not self.block.is_own(event.client_order_id):
            self._take_of_predecessor(event)
            return
        if event.event == OrderEventKind.COMMAND_RESULT:
            self._take_result(event)
            return
        self.reports.apply(event)
        self._commit(cursor)

    def _take_of_predecessor(self, event: OrderEvent) -> None:
        for block, reports in self._predecessors:
            if block.is_own(event.client_order_id) and event.event != OrderEventKind.COMMAND_RESULT:
                reports.apply(event)

    def _commit(self, cursor: int) -> None:
        # Rows that were read after a lap may be ahead of the ring; until it has caught up, a cursor would be a lie.
        if not self._are_books_held and cursor >= self._commit_from:
            self.books.commit(cursor)

    def _take_result(self, event: OrderEvent) -> None:
        if event.command_kind == CommandKind.CANCEL:
            if not event.command_ok:
                self._cancel_failed(event)
        elif event.command_kind in PLACING:
            self._place_refused(event)
        else:
            self.writer.resolve(event)

    def _cancel_failed(self, event: OrderEvent) -> None:
        """The gateway did not cancel: the order has ended, which an event tells, or the row is to be asked."""
        order = self.reports.order(event.client_order_id)
        if order is not None and order.is_active:
            order.cancel_in_flight = False
            self.reports.suspect(event.client_order_id)
            if event.reason != ALREADY_FINISHED:
                self._tracker.process_cancel_failed(order.client_order_id, event.reason)

    def _place_refused(self, event: OrderEvent) -> None:
        order = self.reports.order(event.client_order_id)
        if order is not None and not event.command_ok:
            self._tracker.process_order_update(
                OrderUpdate(
                    order.client_order_id, state=OrderState.FAILED, reason=event.reason, source=ReportSource.INFERRED
                )
            )

    # Laps, restarts, liveness

    def _on_lapped(self, lost: int) -> None:
        """The reader stands at the tail already; rows that are read now hold all that the lost events told."""
        self.laps += 1
        self.lost += lost
        self.reports.resync()
        self._commit_from = self._ring.tail
        self._commit(self._ring.cursor)
        self._audit.is_due = True
        self._note_overwritten_answers()
        self._dispatcher.error("events_lapped", f"{lost} order events were overwritten before they were read")

    def _note_restart(self) -> None:
        self._is_restart_open = self._are_answers_lost = True

    def _note_overwritten_answers(self) -> None:
        if self._overwritten_answers is None:
            self._overwritten_answers = monotonic_ns() + ANSWER_GRACE_NS, self.writer.read_index

    def _look(self, now: int) -> ConnectorState:
        """Is this session still ours, is the gateway alive, is it another one; gives up answers that will not come."""
        self._next_look_mono_ns = now + WATCH_NS
        link = self._link
        link.check()
        state = link.observe()
        if link.reader.epoch != link.epoch:
            link.epoch = link.reader.epoch
            self._note_restart()
        if self._are_answers_lost and self._is_gateway_live and not self._ring.available:
            self._are_answers_lost = False
            error = VenueUnreachable("the gateway was restarted before it answered: the outcome is not known")
            self.writer.fail_below(self.writer.read_index, error)
        if self._overwritten_answers is not None and now >= self._overwritten_answers[0]:
            _, end = self._overwritten_answers
            self._overwritten_answers = None
            error = VenueUnreachable(
                "the gateway's answer was overwritten before it was read: the outcome is not known"
            )
            self.writer.fail_below(end, error)
        return state

    @property
    def _is_gateway_live(self) -> bool:
        return self._link.reader.state == SegmentState.LIVE and self._link.is_writer_alive

    def _watch(self, now: int) -> None:
        self._next_watch_mono_ns = now + WATCH_NS
        self.feed.has_state_change = False
        self._on_state(self._look(now))
        self._write_status(now)
        self._commit(self._ring.cursor)
        if self._is_gateway_live and self.are_orders_read:
            self._settle()
        if now >= self._next_sweep_mono_ns:
            self._next_sweep_mono_ns = now + SWEEP_NS
            self._tracker.sweep()

    def _write_status(self, now: int) -> None:
        self._reader_status.set(
            events_cursor=self._ring.cursor,
            market_cursor=self._market_ring.cursor,
            events_laps=self.laps,
            market_laps=self.feed.laps,
            records_lost=self.lost + self.feed.lost,
            updated_mono_ns=now,
        )
        self._reader_table.write(0, self._reader_status)

    def _settle(self) -> None:
        """The gateway is live and all its events are read: what the ring did not tell, the rows do."""
        if self._is_restart_open:
            self._is_restart_open = False
            self.reports.suspect_all()
            for order in self._tracker.active_orders:
                order.cancel_in_flight = False
            for instrument in self.feed.subscribed:
                self.subscribe(instrument)
        for _, reports in self._predecessors:
            reports.settle_suspects(0)
        if self.reports.has_suspects:
            self.reports.settle_suspects(self.writer.read_index)
            self._commit(self._ring.cursor)
        if self._audit.is_due:
            self._adopt_missed()
        while self._resyncs:
            self._resyncs.pop().set_result(None)

    def _adopt_missed(self) -> None:
        """Fills that no event and no row tells of any more: the books take them in, and the strategy is told."""
        for instrument, missed in self._audit.missed(self._ring.cursor):
            self.books.adopt(instrument, missed)
            self._commit(self._ring.cursor)
            pair = self.view.pair(instrument)
            self._dispatcher.error(
                "fills_missed",
                f"{missed.fill_count} late fills of orders that had ended: bought {missed.bought_lots} lots, sold "
                f"{missed.sold_lots}; they are in the session's position",
                trading_pair=pair,
            )

    def subscribe(self, instrument: int) -> None:
        """Ask the gateway for an instrument's data and tell its changes."""
        self.feed.subscribe(instrument)
        result: Pending[None] = Pending()
        result.add_done_callback(self._on_subscribed)
        self.writer.subscribe(instrument, result)

    def _on_subscribed(self, result: Pending[None]) -> None:
        error = result.exception()
        if isinstance(error, VenueRejected):
            self._dispatcher.error("subscribe_failed", str(error))
