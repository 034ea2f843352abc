"""From the command queues to the connector: each command is copied once, validated, and disposed of exactly once.

A place goes: copy, PENDING_CREATE in the order table, head advances, then the connector signs (PENDING_SUBMIT in the
table) and writes the socket. So a gateway killed at any point leaves either a command still in the queue, or an order
in the table whose fate its successor settles, and never signs a command twice.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING

import orjson

from latentspeed.connectors import (
    ConnectorError,
    MarginMode,
    OrderParams,
    OrderRefused,
    OrderType,
    Pending,
    PositionAction,
    TimeInForce,
    TradeType,
    format_client_order_id,
)
from latentspeed.connectors.client_order_id import split
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.order_rows import OrderContext, OrderRows
from latentspeed.engine.publisher import OrderPublisher
from latentspeed.engine.records import KEEP_MARGIN_MODE, Command, CommandKind
from latentspeed.ipc import SessionRevoked

if TYPE_CHECKING:
    from latentspeed.connectors import PerpetualDerivativeBase
    from latentspeed.ipc import GatewaySession

DRAIN_BUDGET = 64


class CommandRefused(Exception):
    """A command that cannot be carried out; the text is its disposition's reason."""


class CommandProcessor:
    """Drains the queues of live sessions into the connector.

    Parameters: `connector` carries the commands out; `rows`, `publisher` and `instruments` are the gateway's;
    `accepts_places` tells whether the gateway is live; `revoke(session, reason)` ends a session that broke the rules.
    """

    def __init__(
        self,
        connector: PerpetualDerivativeBase,
        rows: OrderRows,
        publisher: OrderPublisher,
        instruments: Instruments,
        accepts_places: Callable[[], str],
        revoke: Callable[[GatewaySession, str], None],
    ) -> None:
        self._connector = connector
        self._rows = rows
        self._publisher = publisher
        self._instruments = instruments
        self._accepts_places = accepts_places
        self._revoke = revoke
        self._command = Command()
        self.places = 0
        self.cancels = 0
        self.refusals = 0

    def drain(self, session: GatewaySession, budget: int = DRAIN_BUDGET) -> int:
        """Carry out up to `budget` commands of a session; returns how many were read."""
        command = self._command
        done = 0
        try:
            self._cancel_all_if_asked(session)
            while done < budget and session.queue.peek(command):
                self._dispose(session, command)
                done += 1
                self._cancel_all_if_asked(session)
        except SessionRevoked as error:
            self._revoke(session, str(error))
        return done

    def dispose_unread(self, session: GatewaySession, reason: str) -> None:
        """Give every unread command of a dead session its disposition; cancels are carried out, places fail."""
        command = self._command
        try:
            while session.queue.peek(command):
                if command.kind == CommandKind.CANCEL:
                    self._cancel(session, command)
                elif command.kind == CommandKind.PLACE:
                    if not self._is_recorded(command):
                        self._refuse_place(session, command, reason)
                else:
                    self._publisher.publish_result(command, session.generation, ok=False, reason=reason)
                session.queue.advance()
        except SessionRevoked:
            return  # its cursors are not to be trusted; what it wrote behind them was never a command

    def cancel_orders_of(self, session: GatewaySession) -> None:
        """Cancel every live order that a session placed."""
        mine = [
            order.client_order_id
            for order in self._connector.get_open_orders()
            if (context := self._rows.context(order.id64)) is not None
            and context.slot == session.slot
            and context.generation == session.generation
        ]
        self._connector.cancel_all(mine)

    def _dispose(self, session: GatewaySession, command: Command) -> None:
        if command.generation != session.generation:
            self._publisher.publish_result(command, command.generation, ok=False, reason="stale_generation")
            session.queue.advance()
        elif command.kind == CommandKind.PLACE:
            self._place(session, command)
        else:
            self._carry_out(session, command)
            session.queue.advance()

    def _carry_out(self, session: GatewaySession, command: Command) -> None:
        try:
            if command.kind == CommandKind.CANCEL:
                self._cancel(session, command)
            elif command.kind == CommandKind.SET_LEVERAGE:
                self._set_leverage(session, command)
            elif command.kind == CommandKind.SUBSCRIBE:
                self._subscribe(command)
                self._publisher.publish_result(command, session.generation, ok=True)
            else:
                raise CommandRefused(f"command kind {command.kind} is not known")
        except (CommandRefused, ConnectorError, ValueError) as error:
            self.refusals += 1
            self._publisher.publish_result(command, session.generation, ok=False, reason=str(error))

    def _subscribe(self, command: Command) -> None:
        pair = self._pair(command)
        self._connector.subscribe(pair)
        rule = self._connector.get_trading_rule(pair)
        if rule is not None:
            self._instruments.subscribed(command.instrument, rule)

    def _cancel(self, session: GatewaySession, command: Command) -> None:
        self.cancels += 1
        context = self._rows.context(command.client_order_id)
        if context is None or context.slot != session.slot:
            self._publisher.publish_result(command, session.generation, ok=False, reason="unknown_order")
            return
        accepted = self._connector.cancel(format_client_order_id(command.client_order_id))
        self._publisher.publish_result(
            command, session.generation, ok=accepted, reason="" if accepted else "already_finished"
        )

    def _set_leverage(self, session: GatewaySession, command: Command) -> None:
        keeps_mode = command.margin_mode == KEEP_MARGIN_MODE
        mode = None if keeps_mode else MarginMode(command.margin_mode)
        done = command.copy()
        generation = session.generation
        pending = self._connector.set_leverage(self._pair(command), command.leverage, mode)

        def publish(settled: Pending[int]) -> None:
            error = settled.exception()
            self._publisher.publish_result(done, generation, ok=error is None, reason=str(error or ""))

        pending.add_done_callback(publish)

    def _place(self, session: GatewaySession, command: Command) -> None:
        not_accepting = self._accepts_places()
        if not_accepting:
            self._refuse_place(session, command, not_accepting)
            session.queue.advance()
            return
        context: OrderContext | None = None
        try:
            context = self._new_context(session, command)
            if command.expire_mono_ns and monotonic_ns() >= command.expire_mono_ns:
                self._publisher.publish_expiry(command, context, "never_sent")
                session.queue.advance()
                return
            order = self._connector.create_order(
                TradeType(command.trade_type),
                self._params(command),
                client_order_id=format_client_order_id(command.client_order_id),
                strategy_tag=session.claim.tag if session.claim is not None else 0,
                expire_mono_ns=command.expire_mono_ns,
            )
        except (CommandRefused, OrderRefused, ValueError) as error:
            self._refuse_place(session, command, str(error), context)
            session.queue.advance()
            return
        self._rows.take(context)
        self._publisher.publish_row(order, context)
        session.queue.advance()
        try:
            self._connector.submit_order(order)
            self.places += 1
        except ConnectorError as error:
            self._refuse_place(session, command, str(error), context)

    def _new_context(self, session: GatewaySession, command: Command) -> OrderContext:
        """Check the id and its row; the id came from another process and is believed only this far."""
        incarnation, slot, _ = split(command.client_order_id)
        if slot != session.slot or incarnation != session.incarnation:
            raise CommandRefused(f"client order id {command.client_order_id} is not of this session")
        row = self._rows.row_of(command.client_order_id)
        occupant = self._rows.occupant(row)
        if occupant:
            raise CommandRefused(f"order row {row} still holds {format_client_order_id(occupant)}")
        return OrderContext(
            client_order_id=command.client_order_id,
            slot=session.slot,
            row=row,
            generation=session.generation,
            instrument=command.instrument,
            command_index=command.command_index,
            written_mono_ns=command.written_mono_ns,
            read_mono_ns=monotonic_ns(),
        )

    def _params(self, command: Command) -> OrderParams:
        order_type = OrderType(command.order_type)
        extra = orjson.loads(command.extra_params) if command.extra_params else None
        if extra is not None and not isinstance(extra, dict):
            raise CommandRefused("extra_params is not a JSON object")
        return OrderParams(
            trading_pair=self._pair(command),
            amount=command.amount,
            price=None if order_type is OrderType.MARKET else command.price,
            order_type=order_type,
            position_action=PositionAction(command.position_action),
            leverage=command.leverage or None,
            trigger_price=command.trigger_price or None,
            time_in_force=TimeInForce(command.time_in_force),
            extra_params=extra,
        )

    def _refuse_place(
        self, session: GatewaySession, command: Command, reason: str, context: OrderContext | None = None
    ) -> None:
        """Dispose of a place as FAILED; its row is written only where it may be taken."""
        self.refusals += 1
        if self._rows.slot_of(command.client_order_id) != session.slot:
            # An id of somebody else must not look like that order's own event.
            self._publisher.publish_result(command, session.generation, ok=False, reason=reason)
            return
        if context is None:
            row = self._rows.row_of(command.client_order_id)
            context = OrderContext(
                client_order_id=command.client_order_id,
                slot=session.slot,
                row=-1 if self._rows.occupant(row) else row,
                generation=session.generation,
                instrument=command.instrument,
                command_index=command.command_index,
                written_mono_ns=command.written_mono_ns,
                read_mono_ns=monotonic_ns(),
            )
        self._publisher.publish_refusal(command, context, reason)

    def _cancel_all_if_asked(self, session: GatewaySession) -> None:
        """Cancel-all is a level that the session raises, for the commands before it; each level is served once."""
        if session.cancel_all_pending() and session.queue.head >= session.cancel_all_index:
            level = session.cancel_all_level
            self.cancel_orders_of(session)
            session.cancel_all_served = level

    def _is_recorded(self, command: Command) -> bool:
        return self._rows.is_recorded(command.client_order_id, command.command_index)

    def _pair(self, command: Command) -> str:
        pair = self._instruments.pair(command.instrument)
        if not pair:
            raise CommandRefused(f"instrument number {command.instrument} is not known")
        return pair
