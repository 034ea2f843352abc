"""From the command queues to the connector: each command is copied once, validated, and disposed of exactly once.

A place goes: copy, PENDING_CREATE in the order table, head advances, then the connector signs (PENDING_SUBMIT in the
table) and writes the socket. So a gateway killed at any point leaves either a command still in the queue, or an order
in the table whose fate its successor settles, and never signs a command twice.

Cancels do not wait behind places: those of a queue that is longer than one budget are looked for and carried out before
their turn comes, and a place whose cancel was seen first is never sent. Whatever a strategy writes, nothing is raised.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from latentspeed.connectors import (
    Candle,
    ConnectorError,
    InFlightOrder,
    Pending,
    format_client_order_id,
)
from latentspeed.engine.candle_history import HistoryWriter, decode_terms
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.live_session import LiveSession
from latentspeed.engine.margin_commands import MARGIN_KINDS, start_margin_command
from latentspeed.engine.order_rows import OrderContext, OrderRows
from latentspeed.engine.place_command import (
    PLACE_LIFETIME_NS,
    CommandRefused,
    is_fresh_id,
    make_orders,
    new_context,
    place_legs,
)
from latentspeed.engine.publisher import OrderPublisher
from latentspeed.engine.records import PLACING, Command, CommandKind
from latentspeed.ipc import SessionRevoked

if TYPE_CHECKING:
    from latentspeed.connectors import ConnectorBase

DRAIN_BUDGET = 64
LOOK_AHEAD_BUDGET = 1024
NEVER_SENT = "never_sent"
REFUSALS = (CommandRefused, ConnectorError, ValueError, ArithmeticError)

log = logging.getLogger(__name__)


class CommandProcessor:
    """Drains the queues of live sessions into the connector.

    Parameters: `connector` carries the commands out; `rows`, `publisher`, `history` and `instruments` are the
    gateway's; `why_no_places` says why no place can be taken now, or an empty string; `revoke(live, reason)` ends a
    session that broke the rules; `on_problem(code, text)` is told of a command that failed in an unforeseen way.
    """

    def __init__(
        self,
        connector: ConnectorBase,
        rows: OrderRows,
        publisher: OrderPublisher,
        history: HistoryWriter,
        instruments: Instruments,
        why_no_places: Callable[[], str],
        revoke: Callable[[LiveSession, str], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        self._connector = connector
        self._rows = rows
        self._publisher = publisher
        self._history = history
        self._instruments = instruments
        self._why_no_places = why_no_places
        self._revoke = revoke
        self._on_problem = on_problem
        self._command = Command()
        self._ahead = Command()
        self.places = 0
        self.cancels = 0
        self.refusals = 0

    def drain(self, live: LiveSession, budget: int = DRAIN_BUDGET) -> int:
        """Carry out up to `budget` commands of a session; returns how many were read."""
        command, queue = self._command, live.queue
        done = 0
        try:
            self._serve_cancel_all(live)
            while done < budget and queue.peek(command):
                self._dispose(live, command)
                done += 1
            if done == budget:
                self._look_ahead(live)
            if live.cancel_all_begun != live.cancel_all_served:
                self._serve_cancel_all(live)
        except SessionRevoked as error:
            self._revoke(live, str(error))
        return done

    def has_work(self, live: LiveSession) -> bool:
        """True where a session's queue holds a command or a new cancel-all, or cannot be trusted any more."""
        try:
            return bool(live.queue.depth) or live.session.read_cancel_all()[0] != live.cancel_all_served
        except SessionRevoked:
            return True

    def dispose_unread(self, live: LiveSession, reason: str) -> None:
        """Give every command that waits its disposition: cancels are carried out, everything else fails."""
        command = self._command
        try:
            while live.queue.peek(command):
                self._dispose(live, command, reason)
        except SessionRevoked:
            return  # its cursors are not to be trusted; what it wrote behind them was never a command

    def cancel_orders_of(self, live: LiveSession) -> None:
        """Cancel every live order that a session placed."""
        for order in self._connector.get_open_orders():
            context = self._rows.context(order.id64)
            if context is not None and context.slot == live.slot and context.generation == live.generation:
                self._cancel_order(order, context)

    def _dispose(self, live: LiveSession, command: Command, unread: str = "") -> None:
        """Dispose of the command at head; with `unread` only cancels are carried out. Raises SessionRevoked only."""
        try:
            if command.generation != live.generation:
                raise CommandRefused("stale_generation")
            if command.kind in PLACING:
                self._place(live, command, unread)
            elif command.kind == CommandKind.CANCEL:
                self._cancel(live, command)
            elif unread:
                raise CommandRefused(unread)
            else:
                self._carry_out(live, command)
        except REFUSALS as error:
            self._refuse_for_sure(live, command, str(error))
        except Exception as error:
            self._report_failure(command, error)
            self._refuse_for_sure(live, command, f"internal error: {type(error).__name__}")
        if live.queue.head == command.command_index:
            live.queue.advance()

    def _carry_out(self, live: LiveSession, command: Command) -> None:
        if command.kind in MARGIN_KINDS:
            self._change_margin(live, command)
        elif command.kind == CommandKind.SUBSCRIBE:
            self._subscribe(command)
            self._publisher.publish_result(command, live.generation, live.no_order_id, ok=True)
        elif command.kind == CommandKind.CANDLES:
            self._fetch_candles(live, command)
        else:
            raise CommandRefused(f"command kind {command.kind} is not known")

    def _refuse_for_sure(self, live: LiveSession, command: Command, reason: str) -> None:
        """Refuses a command; one that cannot even be refused is told of, and must not stand in the way for ever."""
        try:
            self._refuse(live, command, reason)
        except Exception as error:
            self._report_failure(command, error)

    def _refuse(self, live: LiveSession, command: Command, reason: str) -> None:
        """Dispose of a command that is not carried out; a place whose id is fresh becomes an order that FAILED."""
        if command.kind != CommandKind.CANCEL:  # one that comes too late is nothing out of the ordinary
            self.refusals += 1
        if command.kind in PLACING and command.generation == live.generation:
            is_told = False
            for leg in place_legs(command):
                if is_fresh_id(live, self._rows, leg.client_order_id):
                    self._publisher.publish_refusal(leg, new_context(live, self._rows, leg), reason)
                    is_told = True
            if is_told:
                return
            # An id of somebody else, or of an order that was: no event may look like that order's own.
            self._publisher.publish_result(command, live.generation, live.no_order_id, ok=False, reason=reason)
            return
        order_id = command.client_order_id if live.made(command.client_order_id) else live.no_order_id
        self._publisher.publish_result(command, live.generation, order_id, ok=False, reason=reason)

    def _report_failure(self, command: Command, error: Exception) -> None:
        log.error("a command of kind %d failed", command.kind, exc_info=error)
        self._on_problem("command_failed", f"kind {command.kind}: {error!r}")

    # Places

    def _place(self, live: LiveSession, command: Command, unread: str) -> None:
        """Make the orders of a PLACE, MODIFY or BRACKET: all of them, or none."""
        legs = place_legs(command)
        if unread and any(self._rows.is_recorded(leg.client_order_id, leg.command_index) for leg in legs):
            return  # an earlier gateway has read it: its orders' rows are its disposition
        if reason := unread or self._why_no_places():
            raise CommandRefused(reason)
        contexts = [new_context(live, self._rows, leg) for leg in legs]
        self._check_rows(contexts)
        if self._is_cancelled(live, command, contexts):
            for leg, context in zip(legs, contexts, strict=True):
                self._publisher.publish_annihilation(leg, context, NEVER_SENT)
            return
        read_mono_ns = contexts[0].read_mono_ns
        expire_mono_ns = command.expire_mono_ns or read_mono_ns + PLACE_LIFETIME_NS
        if read_mono_ns >= expire_mono_ns:
            for leg, context in zip(legs, contexts, strict=True):
                self._publisher.publish_expiry(leg, context, NEVER_SENT)
            return
        old = self._replaced_order(live, command) if command.kind == CommandKind.MODIFY else None
        orders = make_orders(self._connector, legs, old, self._pair(command), live.tag, expire_mono_ns)
        for order, context in zip(orders, contexts, strict=True):
            self._rows.take(context)
            self._publisher.publish_row(order, context)
        live.queue.advance()
        try:
            if orders[0].group:
                self._connector.submit_bracket(orders)
            else:
                self._connector.submit_order(orders[0])
            self.places += len(orders)
        except Exception as error:
            self.refusals += 1
            if not isinstance(error, ConnectorError):
                self._report_failure(command, error)
            for leg, context in zip(legs, contexts, strict=True):
                self._publisher.publish_refusal(leg, context, str(error) or type(error).__name__)

    def _check_rows(self, contexts: list[OrderContext]) -> None:
        """Raises CommandRefused unless each order of a command has a row of its own that is free."""
        if not contexts:
            raise CommandRefused("a bracket without an order")
        for context in contexts:
            if context.row < 0:
                raise CommandRefused(f"the order row of {format_client_order_id(context.client_order_id)} is in use")
        if len({context.row for context in contexts}) < len(contexts):
            raise CommandRefused("two orders of a bracket share a row")

    def _is_cancelled(self, live: LiveSession, command: Command, contexts: list[OrderContext]) -> bool:
        """Whether the cancel of a command's orders was seen before it; that of an exit alone comes in its turn."""
        if command.command_index < live.cancel_all_below:
            return True
        needed = contexts[:1] if command.order_type else contexts
        return all(context.client_order_id in live.cancelled_ahead for context in needed)

    def _replaced_order(self, live: LiveSession, command: Command) -> InFlightOrder:
        context = self._rows.context(command.replaces_order_id)
        if context is None or context.slot != live.slot:
            raise CommandRefused(f"order {command.replaces_order_id} is not of this session")
        order = self._connector.get_order(format_client_order_id(command.replaces_order_id))
        if order is None:
            raise CommandRefused("already_finished")
        return order

    # Cancels

    def _cancel(self, live: LiveSession, command: Command) -> None:
        self.cancels += 1
        order_id = command.client_order_id
        live.cancelled_ahead.discard(order_id)
        context = self._rows.context(order_id)
        if context is None or context.slot != live.slot:
            is_used = live.made(order_id) and not is_fresh_id(live, self._rows, order_id)
            raise CommandRefused("already_finished" if is_used else "unknown_order")
        order = self._connector.get_order(format_client_order_id(order_id))
        if order is None or not self._cancel_order(order, context):
            raise CommandRefused("already_finished")
        self._publisher.publish_result(command, live.generation, order_id, ok=True)

    def _cancel_order(self, order: InFlightOrder, context: OrderContext) -> bool:
        """Ask for an order's cancel, for good: it is in the order's row when this returns. False for a finished one."""
        if not self._connector.cancel(order.client_order_id):
            return False
        if not (order.cancel_requested or order.is_done):
            self._publisher.publish_cancel_due(order, context)
        return True

    def _look_ahead(self, live: LiveSession) -> None:
        """Carry out the cancels of a queue that is too long for one turn; each gets its disposition in its turn."""
        command, queue = self._ahead, live.queue
        head = queue.head
        index = max(live.scanned, head)
        last = index + LOOK_AHEAD_BUDGET
        while index < last and queue.peek_at(index - head, command):
            index += 1
            if command.kind == CommandKind.CANCEL and command.generation == live.generation:
                try:
                    self._cancel_ahead(live, command.client_order_id)
                except Exception as error:  # its turn in the queue comes, and tells
                    self._report_failure(command, error)
        live.scanned = index

    def _cancel_ahead(self, live: LiveSession, order_id: int) -> None:
        context = self._rows.context(order_id)
        if context is not None and context.slot == live.slot:
            order = self._connector.get_order(format_client_order_id(order_id))
            if order is not None:
                self._cancel_order(order, context)
        elif live.made(order_id) and is_fresh_id(live, self._rows, order_id):
            live.cancelled_ahead.add(order_id)

    def _serve_cancel_all(self, live: LiveSession) -> None:
        """Cancel-all is a level that the session raises, for the commands before it; each level is served once.

        Orders are cancelled at once; the level is served when the places before it were read, and not sent.
        """
        level, below = live.session.read_cancel_all()
        if level == live.cancel_all_served:
            return
        if level != live.cancel_all_begun:
            live.cancel_all_begun = level
            live.cancel_all_below = min(below, live.queue.tail)
            self.cancel_orders_of(live)
        if live.queue.head >= live.cancel_all_below:
            live.session.cancel_all_served = level
            live.cancel_all_served = level

    # Everything else

    def _subscribe(self, command: Command) -> None:
        pair = self._pair(command)
        self._connector.subscribe(pair)
        rule = self._connector.get_trading_rule(pair)
        if rule is not None:
            self._instruments.subscribed(command.instrument, rule)

    def _change_margin(self, live: LiveSession, command: Command) -> None:
        done = command.copy()
        generation, no_order_id = live.generation, live.no_order_id
        pending = start_margin_command(self._connector, command, self._pair(command))

        def publish(settled: Pending[Any]) -> None:
            error = settled.exception()
            reason = "" if error is None else str(error) or type(error).__name__
            self._publisher.publish_result(done, generation, no_order_id, ok=error is None, reason=reason)

        pending.add_done_callback(publish)

    def _fetch_candles(self, live: LiveSession, command: Command) -> None:
        """Ask the venue for candles; they are in the history ring when the result is told."""
        if live.is_asking:
            raise CommandRefused("one question for history at a time: the answer to another is to come")
        done = command.copy()
        pending = self._connector.fetch_candles(self._pair(command), *decode_terms(command.extra_params))
        live.is_asking = True

        def publish(settled: Pending[list[Candle]]) -> None:
            live.is_asking = False
            error = settled.exception()
            if error is None and not self._publisher.is_closed:
                try:
                    self._history.publish(live.no_order_id, done.command_index, settled.result(0))
                except Exception as failure:  # whoever asked waits for a result
                    self._report_failure(done, failure)
                    error = failure
            reason = "" if error is None else str(error) or type(error).__name__
            self._publisher.publish_result(done, live.generation, live.no_order_id, ok=error is None, reason=reason)

        pending.add_done_callback(publish)

    def _pair(self, command: Command) -> str:
        pair = self._instruments.pair(command.instrument)
        if not pair:
            raise CommandRefused(f"instrument number {command.instrument} is not known")
        return pair
