"""The processes of a torture run: a gateway, readers and clients, each to be killed and stopped at any moment.

Each goes on where its killed predecessor stopped. One that finds a fault ends with the error; none ends by itself.
"""

from __future__ import annotations

import contextlib
import random
import select
import time
from enum import IntEnum

import numpy as np
from torture_ledger import COMMANDS, Fate, Ledger
from torture_records import (
    CELLS,
    LAYOUT,
    QUEUE_CAPACITY,
    RING_CAPACITY,
    Cell,
    Command,
    Event,
    Order,
    check_cells,
    check_command,
    check_events,
    seal_cell,
    seal_command,
    seal_events,
)

from latentspeed.ipc import (
    ClientSession,
    CommandQueueFull,
    GatewayDown,
    GatewaySession,
    IpcError,
    Lapped,
    NoFreeSession,
    Park,
    RingReader,
    SegmentReader,
    SegmentState,
    SegmentWriter,
    SessionFenced,
    SessionState,
)

# ---- the gateway: publishes, takes commands, buries the dead ----


class OrderState(IntEnum):
    """How far a command has come; written before each step, so that a successor knows."""

    CREATED = 1
    SUBMITTED = 2
    DONE = 3
    FAILED = 4


def run_gateway(name: str, ledger: Ledger, worker: int, randomness: random.Random) -> None:
    """Serve until killed."""
    gateway = Gateway(name, ledger)
    gateway.recover()
    gateway.writer.set_state(SegmentState.LIVE)
    publisher = Publisher(gateway.writer, ledger, randomness)
    while True:
        gateway.writer.beat()
        publisher.publish()
        for session in gateway.writer.sessions:
            gateway.serve(session, is_bad=randomness.random() < 0.004)
        ledger.work[worker] += 1


class Publisher:
    """Batches and single records; mostly no faster than the readers, sometimes far ahead of them."""

    def __init__(self, writer: SegmentWriter, ledger: Ledger, randomness: random.Random) -> None:
        self.writer = writer
        self.ledger = ledger
        self.random = randomness
        self.ring, self.cells = writer.ring("events"), writer.table("cells")
        self.rows = np.zeros(RING_CAPACITY // 2, Event.dtype)
        self.event, self.cell = Event(), Cell()

    def publish(self) -> None:
        """A batch, a few single records, a cell; then let the readers come near."""
        first = self.ring.tail
        batch = self.rows[: self.random.randint(1, len(self.rows))]
        self.ring.publish_many(seal_events(batch, first, self.writer.epoch))
        for row in seal_events(self.rows[:4], self.ring.tail, self.writer.epoch):
            np.frombuffer(self.event, Event.dtype)[0] = row
            self.ring.publish(self.event)
        self.cells.write(self.random.randrange(CELLS), seal_cell(self.cell, first))
        if self.random.random() > 0.02:
            self._wait_for_readers()

    def _wait_for_readers(self) -> None:
        """Nobody is owed this: it is here so that most records are read."""
        deadline = time.monotonic() + 0.002
        doorbell = self.writer.doorbell
        while time.monotonic() < deadline:
            behind = self.ring.tail - min(int(self.ledger.chain(reader)["cursor"]) for reader in range(2))
            if behind < RING_CAPACITY // 2:
                return
            doorbell.begin_drain()
            doorbell.arm()
            select.select([doorbell], [], [], 0.0002)


class Gateway:
    """The recipe for a command that is carried out at most once and never forgotten, as rules 14 to 16 have it."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.writer = SegmentWriter.open(name, LAYOUT)
        self.ledger = ledger
        self.orders = self.writer.table("orders")
        self.order, self.command = Order(), Command()
        self.book = Cell()

    def recover(self) -> None:
        """Settle what a killed gateway had in hand. May itself be killed and run again."""
        for session in self.writer.sessions:
            self._finish_freeing(session)
            for row in range(QUEUE_CAPACITY):
                self._settle(session.slot, row)
            if session.state is SessionState.DRAINING:
                self.bury(session)

    def _settle(self, slot: int, row: int) -> None:
        order = self.order
        if not self.orders.read(slot * QUEUE_CAPACITY + row, order):
            return
        index, generation = order.place - 1, order.generation
        if order.state == OrderState.CREATED:
            self.ledger.dispose(slot, index, generation, Fate.NEVER_SENT)
            self._store(slot, index, generation, OrderState.FAILED)
        elif order.state == OrderState.SUBMITTED:
            if not self.ledger.fate[slot, index]:
                self.ledger.dispose(slot, index, generation, Fate.UNKNOWN)
            self._store(slot, index, generation, OrderState.DONE)

    def _store(self, slot: int, index: int, generation: int, state: OrderState) -> None:
        word = index * 31 + generation
        self.order.set(place=index + 1, generation=generation, state=state, body=[word] * 4, check=word ^ state)
        self.orders.write(slot * QUEUE_CAPACITY + index % QUEUE_CAPACITY, self.order)

    def serve(self, session: GatewaySession, *, is_bad: bool) -> None:
        """Answer a claim, take what is queued, bury the dead and, when told so, a living one."""
        if session.has_claim():
            session.activate(max(other.generation for other in self.writer.sessions) + 1, 1)
            self.ledger.sessions[0] += 1
        if session.state is not SessionState.ACTIVE:
            return
        is_dead = not session.is_locked()
        if not is_dead:
            self._take(session)
        if session.table("book").read(0, self.book):
            check_cells(np.frombuffer(self.book, Cell.dtype))
        if is_dead or is_bad:
            self.ledger.revoked[session.generation] = not is_dead
            session.drain()
            self.bury(session)

    def _take(self, session: GatewaySession) -> None:
        slot, queue, command = session.slot, session.queue, self.command
        while queue.peek(command):
            check_command(command)
            index, generation = command.command_index, command.generation
            assert generation == session.generation, f"{command} in the time of {session}"
            if not self._is_known(slot, index, generation):
                self._store(slot, index, generation, OrderState.CREATED)
                queue.advance()
                self._store(slot, index, generation, OrderState.SUBMITTED)
                self.ledger.effects[slot, index] += 1
                self.ledger.dispose(slot, index, generation, Fate.EXECUTED)
                self._store(slot, index, generation, OrderState.DONE)
            else:
                queue.advance()

    def _is_known(self, slot: int, index: int, generation: int) -> bool:
        """Was it in the hands of a gateway that died before it moved the head? Then it has its fate."""
        order = self.order
        if not self.orders.read(slot * QUEUE_CAPACITY + index % QUEUE_CAPACITY, order):
            return False
        assert order.check == order.body[0] ^ order.state, f"a torn order: {order}"
        assert order.state in (OrderState.DONE, OrderState.FAILED), f"an order in the way: {order}"
        if (order.place, order.generation) != (index + 1, generation):
            return False
        assert self.ledger.fate[slot, index] == Fate.NEVER_SENT, f"known and not settled: {order}"
        return True

    def bury(self, session: GatewaySession) -> None:
        """Settle what a session left, then free its slot."""
        slot, queue = session.slot, session.queue
        while queue.peek(self.command):
            check_command(self.command)
            index, generation = self.command.command_index, self.command.generation
            if not self._is_known(slot, index, generation):
                self.ledger.dispose(slot, index, generation, Fate.DIED)
            queue.advance()
        self.ledger.freeing[slot] = queue.head + 1
        left = session.free()
        assert left == 0 or self.ledger.revoked[session.generation], f"a dead session pushed {left} commands"
        self._finish_freeing(session)

    def _finish_freeing(self, session: GatewaySession) -> None:
        """Commands that were pushed between the last look and the freeing of a revoked session."""
        before = int(self.ledger.freeing[session.slot]) - 1
        if before < 0:
            return
        for index in range(before, session.queue.head if session.state is not SessionState.DRAINING else before):
            self.ledger.dispose(session.slot, index, session.generation, Fate.LEFT)
        self.ledger.freeing[session.slot] = 0


# ---- readers: follow the ring and look at the cells ----


def run_reader(name: str, ledger: Ledger, worker: int, number: int) -> None:
    """Go on where the killed one stopped, and account for every record."""
    segment = attach(name)
    account = ledger.chain(number)
    source = segment.ring("events")
    ring = source.reader(int(account["cursor"]) if account["data"] else None)
    if not account["data"]:
        account["start"] = account["cursor"] = ring.cursor
        ledger.commit(number, account)
    follower = Follower(ring, account)
    cells, park = CellWatch(segment), Park([ring], spin_us=20)
    while True:
        while follower.read():
            ledger.commit(number, account)
            ledger.work[worker] += 1
        account["cells"] += cells.look()
        ledger.commit(number, account)
        park.wait(0.01)


def attach(name: str) -> SegmentReader:
    """However often gateways die while they make the segment."""
    while True:
        with contextlib.suppress(IpcError):
            return SegmentReader.attach(name, LAYOUT, timeout_s=0.5, wait=True)


class Follower:
    """Reads a ring; `account` says at every moment what became of each record from `start` to `cursor`."""

    def __init__(self, ring: RingReader, account: np.void) -> None:
        self.ring = ring
        self.account = account
        self.rows = np.zeros(512, Event.dtype)
        self.turn = 0

    def read(self) -> int:
        """A batch, or every eighth time one record. Returns how far the cursor moved."""
        ring, account, rows = self.ring, self.account, self.rows
        before, voids = ring.cursor, ring.voids
        self.turn += 1
        count, lap = self._copy()
        voids = ring.voids - voids
        if lap is None:
            assert ring.cursor == before + count + voids, f"{count} read and {voids} void from {before}: {ring.cursor}"
            data, epochs = check_events(rows[:count], before, ring.cursor, voids)
            account["data"] += data
            account["epochs"] += epochs
        else:
            assert lap.cursor == before + voids, f"lapped at {lap.cursor}, read up to {before} and {voids} void"
            assert ring.cursor == lap.cursor + lap.lost, f"{lap.lost} lost from {lap.cursor}, now at {ring.cursor}"
            account["lost"] += lap.lost
            account["laps"] += 1
        account["voids"] += voids
        account["cursor"] = ring.cursor
        return ring.cursor - before

    def _copy(self) -> tuple[int, Lapped | None]:
        """How many rows were filled, or the lap."""
        try:
            if self.turn % 8:
                return self.ring.read_many(self.rows), None
            event = Event()
            count = int(bool(self.ring.read(event)))
            self.rows[:1] = np.frombuffer(event, Event.dtype)
            return count, None
        except Lapped as lap:
            return 0, lap


class CellWatch:
    """Values that are whole and never go back."""

    def __init__(self, segment: SegmentReader) -> None:
        self.table = segment.table("cells")
        self.rows = np.zeros(CELLS, Cell.dtype)
        self.numbers = np.zeros(CELLS, np.uint64)
        self.sequences = [0] * CELLS
        self.cell = Cell()

    def look(self) -> int:
        """All cells at once, then one by one; how many were checked."""
        self.table.read_many(self.rows)
        check_cells(self.rows)
        assert (self.rows["number"] >= self.numbers).all(), f"a cell went back: {self.rows['number']}"
        self.numbers[:] = self.rows["number"]
        for index in range(CELLS):
            sequence = self.table.read(index, self.cell)
            assert sequence >= self.sequences[index], f"cell {index} went back from {self.sequences[index]}"
            assert self.cell.number >= self.numbers[index], f"cell {index} went back to {self.cell.number}"
            self.sequences[index] = sequence
        return 2 * CELLS


# ---- clients: claim, push, leave, come back ----


def run_client(name: str, ledger: Ledger, worker: int, randomness: random.Random) -> None:
    """Send commands until killed, through any number of sessions."""
    segment = attach(name)
    while True:
        with contextlib.suppress(GatewayDown, NoFreeSession, SessionFenced):
            session = ClientSession.claim(segment, name="torture", timeout_s=60)
            try:
                use(session, ledger, worker, randomness)
            finally:
                session.close()


def use(session: ClientSession, ledger: Ledger, worker: int, randomness: random.Random) -> None:
    """Bursts of commands, a look at the ring in between; an orderly farewell now and then."""
    ring = session.segment.ring("events").reader()
    follower = Follower(ring, np.zeros((), ledger.chain(0).dtype))
    follower.account["start"] = ring.cursor
    park, book = Park([ring], spin_us=5), Cell()
    for turn in range(randomness.randint(1, 400)):
        push_some(session, ledger, randomness.randint(1, QUEUE_CAPACITY))
        session.table("book").write(0, seal_cell(book, turn))
        session.beat()
        if randomness.random() < 0.02:
            session.request_cancel_all()
        follower.read()
        check_account(follower.account)
        park.wait(randomness.choice((0.0005, 0.005)))
        ledger.work[worker] += 1


def push_some(session: ClientSession, ledger: Ledger, count: int) -> None:
    command, queue = Command(), session.queue
    with contextlib.suppress(CommandQueueFull):
        for _ in range(count):
            index = queue.tail
            if index == COMMANDS:
                return
            queue.push(seal_command(command, index, session.generation))
            ledger.note_push(session.slot, index, session.generation)


def check_account(account: np.void) -> None:
    """Every record from start to cursor was read, was void, or is counted as lost."""
    passed = int(account["cursor"] - account["start"])
    found = sum(int(account[field]) for field in ("data", "epochs", "voids", "lost"))
    assert passed == found, f"{passed} records went by, {found} are accounted for: {account}"
