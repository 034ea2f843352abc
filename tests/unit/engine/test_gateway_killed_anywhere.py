"""A gateway killed at any write signs no order twice, forgets no command, and counts every fill once."""

from __future__ import annotations

import os
import time
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gateway_desk import claim_session, raise_error
from support.gateway_desk import settings as gateway_settings
from support.killable_segment import KillableWriter
from support.ledger_fakes import Fuse, Killed
from support.memory_venue import RULE, MemoryConnector, MemoryVenue

from latentspeed.connectors import OrderState, OrderType, TradeType, format_client_order_id
from latentspeed.connectors.client_order_id import join
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.gateway_core import GatewayCore
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.records import Command, CommandKind, Order, OrderEvent, OrderEventKind
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.ipc import RecordKind, SegmentState, SegmentWriter

SIZES = SharedMemorySettings(
    sessions=2, orders_per_session=64, queue_capacity=64, event_ring=1024, market_ring=64, instruments=4, balances=4
)
names = count()


class Desk:
    """A venue, one strategy's session, and gateways that come and go."""

    def __init__(self):
        self.name = f"kill-{os.getpid()}-{next(names)}"
        self.fuse = Fuse()
        self.venue = MemoryVenue()
        self.layout = engine_layout(SIZES)
        self.writer = None
        self.placed: list[int] = []
        self.queued_at: dict[int, int] = {}
        self.stale: set[int] = set()
        self.kills = 0
        self.start()
        self.session = self.claim()
        self.events = self.session.segment.ring("events").reader(cursor=0)
        self.command = Command()

    def start(self):
        """A gateway takes the segment; killed while it starts, the next one tries."""
        while True:
            self.writer = SegmentWriter.open(self.name, self.layout)
            try:
                writer = KillableWriter(self.writer, self.fuse)
                self.connector = MemoryConnector(self.venue, self.fuse.burn)
                self.core = GatewayCore(self.connector, writer, gateway_settings(SIZES), raise_error)
                self.core.publish_instruments()
                self.core.recover()
                self.connector.connect()
                self.core.opened()
                self.writer.set_state(SegmentState.LIVE)
                return
            except Killed:
                self.fuse.left = None
                self.kills += 1
                self.writer.close()

    def claim(self):
        """A strategy attaches while the gateway polls."""
        return claim_session(self.name, self.layout, lambda: self.core.sessions.poll())

    def guarded(self, action):
        """Let the gateway do something; where it is killed, the next one takes over."""
        try:
            action()
        except Killed:
            self.kills += 1
            self.fuse.left = None
            self.writer.close()
            self.note_unread()
            self.start()

    def note_unread(self):
        """Remember the places that no gateway has read: they are for a market that is gone."""
        row = Order()
        for index, id64 in self.queued_at.items():
            self.session.segment.table("orders").read(self.core.rows.row_of(id64), row)
            if index >= self.session.queue.head and row.client_order_id != id64:
                self.stale.add(id64)

    def place(self, lots, counter=None):
        """The strategy writes a place; whether and when a gateway reads it is another matter."""
        if len(self.placed) >= SIZES.orders_per_session - 2:
            return
        id64 = join(self.session.incarnation, self.session.slot, counter or len(self.placed) + 1)
        self.placed.append(id64)
        self.command.clear()
        self.command.set(
            kind=CommandKind.PLACE,
            client_order_id=id64,
            instrument=0,
            trade_type=TradeType.BUY,
            order_type=OrderType.LIMIT,
            price=60000.0,
            amount=RULE.amount_from_lots(lots * 100),
            expire_mono_ns=time.monotonic_ns() + 60 * 10**9,
            written_mono_ns=time.monotonic_ns(),
        )
        self.queued_at[self.session.queue.tail] = id64
        self.session.queue.push(self.command)

    def cancel(self, index):
        if self.placed:
            self.command.clear()
            self.command.set(kind=CommandKind.CANCEL, client_order_id=self.placed[index % len(self.placed)])
            self.session.queue.push_cancel(self.command)

    def fill(self, index, lots):
        if self.placed:
            order_id = format_client_order_id(self.placed[index % len(self.placed)])
            self.guarded(lambda: self.connector.fill(order_id, lots * 10))

    def drain(self):
        self.guarded(self.core.drain_all)

    def settle(self):
        """No more kills: the last gateway starts anew, reads everything and asks the venue."""
        self.fuse.left = None
        self.drain()
        self.writer.close()
        self.start()
        self.connector.resync()
        self.drain()

    def close(self):
        self.session.close()
        self.writer.unlink()

    # What must hold

    def check(self):
        assert not {format_client_order_id(id64) for id64 in self.stale} & set(self.venue.received)
        self.check_orders()
        self.check_dispositions()
        self.check_fills()

    def check_orders(self):
        row = Order()
        for id64 in self.placed:
            order_id = format_client_order_id(id64)
            assert self.venue.received.get(order_id, 0) <= 1, f"{order_id} was sent twice"
            theirs = self.venue.orders.get(order_id)
            assert self.core._writer.table("orders").read(self.core.rows.row_of(id64), row), f"{order_id} has no row"
            assert row.client_order_id == id64
            state = OrderState(row.state)
            if theirs is None:
                assert state in (OrderState.FAILED, OrderState.EXPIRED, OrderState.CANCELLED), (order_id, state)
                assert row.filled_lots == 0
            else:
                expected = theirs.state
                assert state == expected or (state is OrderState.PENDING_CANCEL and theirs.is_open), (order_id, state)
                assert row.filled_lots == theirs.filled_lots, order_id
                assert row.fill_count == len(theirs.fills), order_id
                assert row.filled_value == sum(fill.price_units * fill.amount_lots for fill in theirs.fills)
                assert row.total_fee_units == sum(fill.fee_units for fill in theirs.fills)

    def check_dispositions(self):
        """Every command index has a disposition: its order's row, or a result."""
        told = set()
        last = {}
        event = OrderEvent()
        while kind := self.events.read(event):
            if kind == RecordKind.DATA and event.generation == self.session.generation:
                told.add(event.command_index)
                if event.event != OrderEventKind.COMMAND_RESULT:
                    before = last.get(event.client_order_id, (0, 0))
                    assert event.revision >= before[0], f"{event.client_order_id}: an event of an older revision"
                    last[event.client_order_id] = (event.revision, event.state)
        assert self.session.queue.tail == self.session.queue.head
        row = Order()
        for id64 in self.placed:
            self.core._writer.table("orders").read(self.core.rows.row_of(id64), row)
            told.add(row.command_index)
            # A gateway killed between row and event leaves the row ahead; a strategy compares rows on a new epoch.
            revision, state = last.get(id64, (0, row.state))
            assert revision <= row.revision
            assert revision < row.revision or state == row.state, f"{id64}: the last event and the row differ"
        assert set(range(self.session.queue.tail)) <= told

    def check_fills(self):
        theirs = [(o.client_order_id, f.trade_id) for o in self.venue.orders.values() for f in o.fills]
        ring = self.writer.ring("events")
        event, published = OrderEvent(), []
        for cursor in range(ring.tail):
            if ring.read_at(cursor, event) and event.event in (OrderEventKind.PARTIALLY_FILLED, OrderEventKind.FILLED):
                published.append((format_client_order_id(event.client_order_id), event.trade_id))
        assert sorted(published) == sorted(theirs)
        totals = self.core.keeper.totals(LedgerGroup.TOTAL, 0, 0)
        fills = [fill for order in self.venue.orders.values() for fill in order.fills]
        assert totals.fill_count == len(fills)
        assert totals.bought_lots == sum(fill.amount_lots for fill in fills)
        session = self.core.keeper.totals(LedgerGroup.SESSION, self.session.slot, 0)
        assert session == totals


def run(script):
    desk = Desk()
    try:
        for name, *arguments in script:
            if name == "kill":
                desk.fuse.left = arguments[0]
            else:
                getattr(desk, name)(*arguments)
        desk.settle()
        desk.check()
        return desk.kills
    finally:
        desk.close()


SCRIPT = [
    ("place", 3),
    ("drain",),
    ("fill", 0, 5),
    ("place", 2),
    ("cancel", 0),
    ("drain",),
    ("fill", 1, 500),
    ("drain",),
]


def writes_of_script():
    """How many writes the gateway makes over the script when nobody kills it."""
    desk = Desk()
    try:
        desk.fuse.left = 1 << 30
        for name, *arguments in SCRIPT:
            getattr(desk, name)(*arguments)
        return (1 << 30) - desk.fuse.left
    finally:
        desk.close()


def test_nothing_is_lost_or_doubled_at_any_single_kill():
    writes = writes_of_script()
    assert writes > 30
    for number in range(writes):
        assert run([("kill", number), *SCRIPT]) == 1, f"killed at write {number}"


def test_nothing_is_lost_or_doubled_when_recovery_is_killed_too():
    writes = writes_of_script()
    for number in range(0, writes, 3):
        for second in range(0, 40, 5):
            script = [("kill", number), *SCRIPT[:4], ("kill", second), *SCRIPT[4:]]
            run(script)


steps = st.one_of(
    st.tuples(st.just("place"), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("fill"), st.integers(0, 9), st.integers(1, 60)),
    st.tuples(st.just("drain")),
    st.tuples(st.just("kill"), st.integers(0, 25)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=20))
def test_nothing_is_lost_or_doubled_whatever_happens(script):
    run(script)


@pytest.mark.parametrize("age_s", [60])
def test_a_place_read_after_its_expiry_is_never_sent(age_s):
    desk = Desk()
    try:
        desk.place(3)
        desk.command.set(client_order_id=join(desk.session.incarnation, desk.session.slot, 2))
        desk.command.set(expire_mono_ns=time.monotonic_ns() - age_s)
        desk.placed.append(desk.command.client_order_id)
        desk.session.queue.push(desk.command)
        desk.drain()
        assert len(desk.venue.orders) == 1
        row = Order()
        desk.writer.table("orders").read(desk.core.rows.row_of(desk.placed[1]), row)
        assert (OrderState(row.state), row.reason) == (OrderState.EXPIRED, "never_sent")
    finally:
        desk.close()


def test_a_late_fill_of_an_order_whose_row_was_taken_is_still_its_sessions():
    desk = Desk()
    try:
        desk.place(3)
        desk.cancel(0)
        desk.place(2, counter=1 + SIZES.orders_per_session)
        desk.drain()
        first, second = desk.placed
        assert desk.core.rows.row_of(first) == desk.core.rows.row_of(second)
        cancelled = desk.venue.orders[format_client_order_id(first)]
        cancelled.is_cancelled = False
        desk.fill(0, 4)
        totals = desk.core.keeper.totals(LedgerGroup.SESSION, desk.session.slot, 0)
        assert (totals.fill_count, totals.bought_lots) == (1, 40)
        assert desk.core.keeper.totals(LedgerGroup.ORPHANED, desk.session.slot, 0).is_empty
        row = Order()
        desk.writer.table("orders").read(desk.core.rows.row_of(second), row)
        assert (row.client_order_id, row.fill_count) == (second, 0)
    finally:
        desk.close()
