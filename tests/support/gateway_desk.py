"""The gateway's parts on a segment of their own, driven step by step: no event loop, a venue in memory."""

from __future__ import annotations

import os
import struct
import threading
import time
from itertools import count

from support.memory_venue import RULE, MemoryConnector, MemoryVenue

from latentspeed.connectors import OrderState, OrderType, TradeType, format_client_order_id
from latentspeed.connectors.client_order_id import join
from latentspeed.engine.config import ConnectorSettings, SharedMemorySettings
from latentspeed.engine.gateway_core import GatewayCore
from latentspeed.engine.records import Command, CommandKind, Order, OrderEvent, OrderEventKind
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.ipc import ClientSession, RecordKind, SegmentState, SegmentWriter, _core, clean

SIZES = SharedMemorySettings(
    sessions=2, orders_per_session=64, queue_capacity=256, event_ring=4096, market_ring=64, instruments=4, balances=4
)
_names = count()


def settings(sizes=SIZES) -> ConnectorSettings:
    return ConnectorSettings(
        name="memory",
        type="memory",
        domain="memory",
        account_address=None,
        trading_pairs=("BTC-USD",),
        secret_env="UNUSED",
        keystore=None,
        keystore_password_env=None,
        options={},
        shared_memory=sizes,
    )


def raise_error(error):
    raise error


def claim_session(segment, layout, poll, name="s", *, tag=3, timeout_s=60.0, **options) -> ClientSession:
    """A session that another thread claims while this one polls as the gateway."""
    claimed = []

    def attach():
        try:
            claimed.append(
                ClientSession.claim(segment, name=name, tag=tag, layout=layout, timeout_s=timeout_s, **options)
            )
        except Exception as error:
            claimed.append(error)

    thread = threading.Thread(target=attach)
    thread.start()
    deadline = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < deadline:
        poll()
        time.sleep(0.0005)
    thread.join(1)
    if isinstance(claimed[0], Exception):
        raise claimed[0]
    return claimed[0]


class GatewayDesk:
    """A venue, gateways that come and go on one segment, and strategies that attach to it; also a context manager."""

    def __init__(
        self, sizes=SIZES, *, connector=MemoryConnector, wrap=lambda writer: writer, suffix="", **options
    ) -> None:
        """`connector(venue, burn)` makes one; `wrap(writer)` is what the gateway writes through."""
        self.name = f"desk-{os.getpid()}-{next(_names)}{suffix}"
        self.sizes = sizes
        self.layout = engine_layout(sizes)
        self.venue = MemoryVenue()
        self.clients: list[Client] = []
        self._make_connector = connector
        self._wrap = wrap
        self._options = options
        self.start()
        self._reader = None

    def start(self, *, until_live=True) -> None:
        """A gateway takes the segment and is live, or still waits for its venue."""
        self.writer = SegmentWriter.open(self.name, self.layout)
        self.connector = self._make_connector(self.venue, lambda: None)
        writer = self._wrap(self.writer)
        self.core = GatewayCore(self.connector, writer, settings(self.sizes), raise_error, **self._options)
        self.core.publish_instruments()
        self.core.recover()
        if until_live:
            self.connect()

    def connect(self) -> None:
        """The venue answers."""
        self.connector.connect()
        self.core.opened()
        self.writer.beat()
        assert self.writer.state is SegmentState.LIVE

    def restart(self, *, until_live=True) -> None:
        """The gateway ends as a killed one does, and another takes over."""
        self.writer.close()
        self.start(until_live=until_live)

    def claim(self, name="s", **options) -> Client:
        """A strategy attaches while the gateway polls."""
        return Client(self, self.claim_session(name, **options))

    def claim_session(self, name="s", **options) -> ClientSession:
        return claim_session(self.name, self.layout, lambda: self.core.sessions.poll(), name, **options)

    def drain(self) -> None:
        """Drain until nothing is left, as the doorbell's callback does turn by turn."""
        deadline = time.monotonic() + 60
        while self.core.drain_all() or self.core.has_work():
            assert time.monotonic() < deadline, "the queues never ran empty"

    def events(self, since=0) -> list[OrderEvent]:
        """Everything that was published since the segment was made, or since a cursor."""
        ring, found = self.writer.ring("events"), []
        for cursor in range(since, ring.tail):
            event = OrderEvent()
            if ring.read_at(cursor, event) and event.record_kind == RecordKind.DATA:
                found.append(event)
        return found

    def results(self) -> list[OrderEvent]:
        """The results of commands that are not places."""
        return [event for event in self.events() if event.event == OrderEventKind.COMMAND_RESULT]

    def row(self, id64: int) -> Order:
        row = Order()
        self.writer.table("orders").read(self.core.rows.row_of(id64), row)
        return row

    def state(self, id64: int) -> tuple[OrderState, str]:
        row = self.row(id64)
        assert row.client_order_id == id64, f"the row holds {row.client_order_id}"
        return OrderState(row.state), row.reason

    def errors(self) -> dict[str, str]:
        """The segment's error log: text by code."""
        from latentspeed.ipc import SegmentReader

        with SegmentReader.attach(self.name, self.layout) as reader:
            return {entry.code: entry.text for entry in reader.errors()}

    def close(self) -> None:
        for client in self.clients:
            client.session.close()
        self.writer.unlink()
        clean(self.name)  # where a test has closed the writer itself

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client:
    """A strategy's session, with orders that are made in one line."""

    def __init__(self, desk: GatewayDesk, session: ClientSession) -> None:
        self.desk = desk
        self.session = session
        self.counter = 0
        self.command = Command()
        desk.clients.append(self)

    @property
    def slot(self) -> int:
        return self.session.slot

    @property
    def no_order(self) -> int:
        return self.id(0)

    def id(self, counter: int) -> int:
        return join(self.session.incarnation, self.session.slot, counter)

    def place(self, counter=None, *, lots=300, **fields) -> int:
        """Push a place, with the next id unless another one is given; returns the id."""
        if counter is None:
            self.counter += 1
            counter = self.counter
        id64 = fields.pop("client_order_id", self.id(counter))
        self.push(
            **{
                "kind": CommandKind.PLACE,
                "client_order_id": id64,
                "instrument": 0,
                "trade_type": TradeType.BUY,
                "order_type": OrderType.LIMIT,
                "price": 60000.0,
                "amount": RULE.amount_from_lots(lots),
                "expire_mono_ns": time.monotonic_ns() + 60 * 10**9,
                **fields,
            }
        )
        return id64

    def cancel(self, id64: int) -> None:
        self.push(kind=CommandKind.CANCEL, client_order_id=id64)

    def push(self, **fields) -> int:
        """Push a command of these fields; returns its index."""
        index = self.session.queue.tail
        self.command.clear()
        self.command.set(written_mono_ns=time.monotonic_ns(), **fields)
        queue = self.session.queue
        push = queue.push_cancel if fields.get("kind") == CommandKind.CANCEL else queue.push
        push(self.command)
        return index

    # What no client of ours does

    def overwrite(self, index: int, field: str, text: bytes) -> None:
        """Change bytes of a command that is in the queue."""
        slot = index & (self.session.queue.capacity - 1)
        offset = _core.SESSION_BLOCK_SIZE + slot * Command.itemsize + Command.dtype.fields[field][1]
        self.poke(offset, text)

    def set_tail(self, tail: int) -> None:
        self.poke(_core.SESSION_TAIL_OFFSET, struct.pack("<Q", tail))

    def poke(self, offset: int, text: bytes) -> None:
        """Write into the session's block, as a stray pointer would."""
        self.session._block.fill(offset, text)


def order_text(id64: int) -> str:
    return format_client_order_id(id64)
