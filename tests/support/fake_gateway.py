"""A gateway for tests of the client side: it keeps the shared-memory protocol and has no venue.

A thread beats, admits sessions and reads commands; the test says what becomes of them: `acknowledge`, `fill`,
`cancelled` and so on publish an order's row first and then its event, as a gateway does. `die` and `restart` are a
gateway's end and its successor; `publish(..., ring=False)` is a gateway that was killed between row and event.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from support.fake_market import RULES, FakeMarket
from support.fake_order import FakeOrder, event_of

from latentspeed.connectors.client_order_id import new_incarnation, parse_client_order_id
from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.connectors.types import ConnectorState, OrderState, OrderType
from latentspeed.engine import records
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.instruments import rule_to_record
from latentspeed.engine.records import CommandKind, OrderEventKind
from latentspeed.engine.segment_layout import engine_layout, segment_name
from latentspeed.ipc import SegmentState, SegmentWriter, SessionState

SMALL = SharedMemorySettings(
    sessions=4,
    orders_per_session=16,
    queue_capacity=16,
    event_ring=64,
    market_ring=64,
    instruments=8,
    balances=8,
)


def unique_engine(label: str) -> str:
    """An engine name that no other test has."""
    return f"test-{label}-{os.getpid()}-{time.monotonic_ns() % 1_000_000_000}"


class FakeGateway(FakeMarket):
    """The gateway of `engine` and `connector`; a context manager that leaves nothing behind.

    `on_command(gateway, session, command)` is called for each command that is read, instead of keeping it in
    `commands`.
    """

    def __init__(
        self,
        engine: str,
        connector: str = "hyperliquid",
        *,
        sizes: SharedMemorySettings = SMALL,
        on_command: Callable[[FakeGateway, object, records.Command], None] | None = None,
    ) -> None:
        self.engine = engine
        self.connector = connector
        self.sizes = sizes
        self.on_command = on_command
        self.lock = threading.RLock()
        self.commands: list[records.Command] = []
        self.orders: dict[int, FakeOrder] = {}
        self.reads_commands = True
        self.admits = True
        self.beats = True
        self.settles_deaths = True
        self.deaths: list[int] = []
        self.cancel_alls = 0
        self._writer: SegmentWriter | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._errors: list[BaseException] = []

    def __enter__(self) -> FakeGateway:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def writer(self) -> SegmentWriter:
        assert self._writer is not None
        return self._writer

    @property
    def name(self) -> str:
        return segment_name(self.engine, self.connector)

    # Life and death

    def start(self, state: SegmentState = SegmentState.LIVE) -> None:
        """Open the segment, publish the instruments, go to `state`, serve."""
        with self.lock:
            self._writer = SegmentWriter.open(self.name, engine_layout(self.sizes))
            record = records.Instrument()
            for number, rule in enumerate(RULES.values()):
                rule_to_record(rule, record)
                self._writer.table("instruments").write(number, record)
            self.venue(ConnectorState.LIVE)
            self._writer.beat()
            self._writer.set_state(state)
        self._stop.clear()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def go(self, state: SegmentState) -> None:
        """Announce a state of the gateway."""
        with self.lock:
            self.writer.set_state(state)

    def die(self) -> None:
        """End as a killed process does: the lock and the descriptors go, the segment stays as it is."""
        self._end_thread()
        with self.lock:
            self.writer.abandon()
            self._writer = None

    def restart(self, state: SegmentState = SegmentState.LIVE) -> None:
        """A successor on the same segment: epoch + 1, sessions that live go on."""
        if self._writer is not None:
            self.die()
        self.start(state)

    def close(self) -> None:
        """Remove the segment."""
        if self._writer is None:
            self._writer = SegmentWriter.open(self.name, engine_layout(self.sizes))
        self._end_thread()
        with self.lock:
            self.writer.unlink()
            self._writer = None
        if self._errors:
            raise self._errors[0]

    def retire(self) -> None:
        """Replace the segment: the old one is marked, a new one has its name."""
        self._end_thread()
        with self.lock:
            self.writer.unlink()
        self.start()

    def _end_thread(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                with self.lock:
                    self.step()
            except BaseException as error:
                self._errors.append(error)
                return
            self._stop.wait(0.001)

    def step(self) -> None:
        """One turn: beat, admit, settle, read."""
        if self.beats:
            self.writer.beat()
        for session in self.writer.sessions:
            if session.state == SessionState.ACTIVE:
                self._serve_session(session)
            elif self.admits and session.has_claim():
                self.writer.last_incarnation = new_incarnation(self.writer.last_incarnation)
                session.activate(None, self.writer.last_incarnation)

    def _serve_session(self, session: object) -> None:
        if not session.is_locked():
            if self.settles_deaths:
                session.drain()
                self._read(session)
                for order in list(self.orders.values()):
                    if order.slot == session.slot and not OrderState(order.record.state).is_final:
                        self.publish(order, OrderEventKind.CANCELLED, state=OrderState.CANCELLED, reason="session_died")
                session.free()
                self.deaths.append(session.slot)
            return
        if session.cancel_all_pending():
            level = session.cancel_all_level
            self.cancel_alls += 1
            for order in list(self.orders.values()):
                if order.slot == session.slot and not OrderState(order.record.state).is_final:
                    self.publish(order, OrderEventKind.CANCELLED, state=OrderState.CANCELLED)
            session.cancel_all_served = level
        if self.reads_commands:
            self._read(session)

    def _read(self, session: object) -> None:
        command = records.Command()
        while session.queue.peek(command):
            copy = command.copy()
            self.commands.append(copy)
            if copy.kind == CommandKind.PLACE and copy.generation == session.generation:
                row = session.slot * self.sizes.orders_per_session + (
                    copy.client_order_id & (self.sizes.orders_per_session - 1)
                )
                order = self.orders[copy.client_order_id] = FakeOrder(copy, session.slot, row)
                self.publish(order, OrderEventKind.UPDATED, ring=False)
            session.queue.advance()
            if self.on_command is not None:
                self.on_command(self, session, copy)

    # What becomes of orders

    def order(self, client_order_id: str) -> FakeOrder:
        """An order that was read; waits for it."""
        id64 = parse_client_order_id(client_order_id)
        wait_until(lambda: id64 in self.orders, f"the gateway never read {client_order_id}")
        return self.orders[id64]

    def publish(
        self,
        order: FakeOrder,
        kind: OrderEventKind,
        *,
        row: bool = True,
        ring: bool = True,
        trade: dict[str, object] | None = None,
        **fields: object,
    ) -> None:
        """Change an order and publish: its row, then its event."""
        with self.lock:
            record = order.record
            record.set(revision=record.revision + 1, epoch=self.writer.epoch, **fields)
            record.published_mono_ns = time.monotonic_ns()
            if row:
                self.writer.table("orders").write(order.row, record)
            if ring:
                self.writer.ring("events").publish(event_of(record, kind, trade))

    def submit(self, client_order_id: str) -> None:
        """Signed, about to be sent."""
        now = time.monotonic_ns()
        self.publish(
            self.order(client_order_id),
            OrderEventKind.UPDATED,
            state=OrderState.PENDING_SUBMIT,
            nonce=1_700_000_000_000,
            venue_expiry_utc_ms=1_700_000_002_000,
            signed_mono_ns=now,
            sent_mono_ns=now,
        )

    def acknowledge(self, client_order_id: str, exchange_order_id: str = "") -> None:
        """The venue has it."""
        order = self.order(client_order_id)
        self.publish(
            order,
            OrderEventKind.CREATED,
            state=OrderState.OPEN,
            exchange_order_id=exchange_order_id or str(1000 + (order.id64 & 0xFFF)),
            acknowledged_mono_ns=time.monotonic_ns(),
        )

    def fill(
        self, client_order_id: str, lots: int, units: int, trade_id: str, *, fee_units: int = 10, ring: bool = True
    ) -> None:
        """A fill of an order, with everything that it changes."""
        order = self.order(client_order_id)
        with self.lock:
            record = order.record
            filled = record.filled_lots + lots
            value = record.filled_value + lots * units
            is_full = filled >= record.order_amount_lots
            digest = fill_digest(trade_id, record.trade_type, units, lots, fee_units)
            trade = {
                "price": order.rule.price_from_units(units),
                "amount": order.rule.amount_from_lots(lots),
                "price_units": units,
                "amount_lots": lots,
                "fee": fee_units / 1e8,
                "fee_units": fee_units,
                "trade_id": trade_id,
                "fee_asset": "USDC",
                "is_taker": False,
            }
            state = OrderState.FILLED if is_full else OrderState.PARTIALLY_FILLED
            if OrderState(record.state).is_final:
                state = OrderState(record.state)
            self.publish(
                order,
                OrderEventKind.FILLED if is_full else OrderEventKind.PARTIALLY_FILLED,
                ring=ring,
                trade=trade,
                state=state,
                fill_count=record.fill_count + 1,
                filled_lots=filled,
                filled_value=value,
                filled_amount=order.rule.amount_from_lots(filled),
                average_price=order.rule.average_price(value, filled) or 0.0,
                total_fee_units=record.total_fee_units + fee_units,
                fill_digest=(record.fill_digest + digest) % (1 << 64),
                acknowledged_mono_ns=record.acknowledged_mono_ns or time.monotonic_ns(),
            )
            if is_full:
                self.publish(order, OrderEventKind.COMPLETED, ring=ring)

    def repeat_fill(self, client_order_id: str, lots: int, units: int, trade_id: str, *, fee_units: int = 10) -> None:
        """Tell a fill again that the order's totals hold already, as a restarted gateway may."""
        order = self.order(client_order_id)
        trade = {
            "price": order.rule.price_from_units(units),
            "amount": order.rule.amount_from_lots(lots),
            "price_units": units,
            "amount_lots": lots,
            "fee": fee_units / 1e8,
            "fee_units": fee_units,
            "trade_id": trade_id,
            "fee_asset": "USDC",
        }
        self.publish(order, OrderEventKind.PARTIALLY_FILLED, trade=trade)

    def cancelled(self, client_order_id: str, reason: str = "", *, ring: bool = True) -> None:
        """Off the book."""
        self.publish(
            self.order(client_order_id), OrderEventKind.CANCELLED, ring=ring, state=OrderState.CANCELLED, reason=reason
        )

    def failed(self, client_order_id: str, reason: str) -> None:
        """Refused."""
        self.publish(self.order(client_order_id), OrderEventKind.FAILED, state=OrderState.FAILED, reason=reason)

    def expired(self, client_order_id: str, reason: str = "never_sent") -> None:
        """Too late."""
        self.publish(self.order(client_order_id), OrderEventKind.EXPIRED, state=OrderState.EXPIRED, reason=reason)

    def result(self, command: records.Command, *, ok: bool = True, reason: str = "") -> None:
        """Answer a command that is not a place."""
        event = records.OrderEvent(
            client_order_id=command.client_order_id,
            command_index=command.command_index,
            generation=command.generation,
            instrument=command.instrument,
            event=OrderEventKind.COMMAND_RESULT,
            command_kind=command.kind,
            command_ok=ok,
            reason=reason,
        )
        with self.lock:
            self.writer.ring("events").publish(event)

    def of_kind(self, kind: CommandKind) -> list[records.Command]:
        """The commands of a kind that were read."""
        return [command for command in self.commands if command.kind == kind]


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Waits for a condition; fails with `what` after a deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.001)


def answering(gateway: FakeGateway, session: object, command: records.Command) -> None:
    """An `on_command` that acknowledges places, cancels on request, and says yes to everything else."""
    from latentspeed.connectors.client_order_id import format_client_order_id

    if command.kind == CommandKind.PLACE:
        text = format_client_order_id(command.client_order_id)
        gateway.submit(text)
        gateway.acknowledge(text)
        if command.order_type == OrderType.MARKET:
            gateway.fill(text, gateway.orders[command.client_order_id].record.order_amount_lots, 600_000, f"t{text}")
    elif command.kind == CommandKind.CANCEL:
        order = gateway.orders.get(command.client_order_id)
        if order is None or OrderState(order.record.state).is_final:
            gateway.result(command, ok=False, reason="already_finished")
        else:
            gateway.result(command)
            gateway.publish(order, OrderEventKind.CANCELLED, state=OrderState.CANCELLED)
    else:
        gateway.result(command)
