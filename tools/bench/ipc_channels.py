"""The candidates: each moves 128-byte records between two processes, in both directions, by spinning.

A channel is made twice, once in each process: `create` makes what the other side opens, `connect` opens what the other
side made. Then one side calls `ping` and the other `echo`, or one `consume` and the other `produce`.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import posix_ipc

from latentspeed.ipc import make_record_type

CAPACITY: Final = 4096
WINDOW: Final = 512
BATCH: Final = 256
RECORD_SIZE: Final = 128

Event = make_record_type(
    "Event",
    np.dtype(
        [
            *[("record_kind", "u4"), ("record_epoch", "u4"), ("number", "u8"), ("price", "f8"), ("amount", "f8")],
            *[("order_id", "u8"), ("instrument", "u4"), ("kind", "u4"), ("sent_ns", "i8"), ("fee", "f8")],
            *[("lots", "i8"), ("units", "i8"), ("filled", "i8"), ("state", "u4"), ("side", "u4")],
            *[("received_ns", "i8"), ("reserved", "u8", (3,))],
        ]
    ),
)
Command = make_record_type(
    "Command",
    np.dtype(
        [
            *[("command_index", "u8"), ("generation", "u4"), ("instrument", "u4"), ("client_order_id", "u8")],
            *[("kind", "u1"), ("trade_type", "u1"), ("order_type", "u1"), ("position_action", "u1")],
            *[("time_in_force", "u1"), ("mode", "u1"), ("leverage", "u2")],
            *[("price", "f8"), ("amount", "f8"), ("trigger_price", "f8")],
            *[("expire_mono_ns", "i8"), ("written_mono_ns", "i8"), ("extra_params", "S56")],
        ]
    ),
)


@dataclass
class End:
    """One side of the bench: the first (side 0) is the bench's own process, the second its partner."""

    side: int
    token: str
    limit: Any
    fds: dict[str, int] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def name(self, what: str, side: int) -> str:
        """A name for what that side makes; both sides agree on it."""
        return f"{self.token}-{what}-{side}"


class SharedMemory:
    """A POSIX shared-memory object: made by side 0, gone with it."""

    def __init__(self, end: End, what: str, size: int) -> None:
        self._name = f"/latentspeed-{end.name(what, 0)}"
        self._made = end.side == 0
        flags = posix_ipc.O_CREX if self._made else 0
        shared = posix_ipc.SharedMemory(self._name, flags, size=size if self._made else 0)
        try:
            populate = getattr(mmap, "MAP_POPULATE", 0)
            self.memory = memoryview(mmap.mmap(shared.fd, size, flags=mmap.MAP_SHARED | populate))
        finally:
            shared.close_fd()

    def part(self, offset: int, size: int) -> memoryview:
        """`size` bytes from `offset`."""
        return self.memory[offset : offset + size]

    def close(self) -> None:
        """Remove the name. The memory goes with its last user."""
        if self._made:
            self._made = False
            posix_ipc.unlink_shared_memory(self._name)


class Channel(ABC):
    """A candidate in one process. `needs` is the package that a peer comes in."""

    name: ClassVar[str]
    needs: ClassVar[str | None] = None
    exchanges: ClassVar[int] = 20_000
    """How many round trips one burst measures; fewer for the slow."""
    windows: ClassVar[int] = 200
    """How many windows of WINDOW records one burst of throughput moves."""
    batch: ClassVar[int] = BATCH
    """Records in one batch, 0 where the candidate cannot move several in one call."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.limit = end.limit

    @abstractmethod
    def create(self) -> None:
        """Make what the other side opens."""

    @abstractmethod
    def connect(self) -> None:
        """Open what the other side made."""

    @abstractmethod
    def ping(self, stamps: npt.NDArray[np.uint64]) -> None:
        """Send and wait for the answer; one stamp after each answer."""

    @abstractmethod
    def echo(self, count: int) -> None:
        """Answer `count` records."""

    @abstractmethod
    def produce(self, count: int, batch: int) -> None:
        """Send `count` records as fast as the other side takes them; none is lost."""

    @abstractmethod
    def consume(self, stamps: npt.NDArray[np.uint64], batch: int) -> None:
        """Take WINDOW records per stamp."""

    @abstractmethod
    def close(self) -> None:
        """Remove what `create` made."""


class MessageChannel(Channel):
    """A candidate that sends a message by one call and receives by one that may find nothing."""

    send: Callable[[Any], Any]
    receive: Callable[[Any], Any]
    message: Any = None
    many: Any = None
    target: Any = None

    def ping(self, stamps: npt.NDArray[np.uint64]) -> None:
        """See Channel."""
        mark = self.limit.Stamps(stamps).mark
        send, receive, message, target = self.send, self.receive, self.message, self.target
        for _ in repeat(None, len(stamps)):
            send(message)
            while not receive(target):
                pass
            mark()

    def echo(self, count: int) -> None:
        """See Channel."""
        send, receive, message, target = self.send, self.receive, self.message, self.target
        for _ in repeat(None, count):
            while not receive(target):
                pass
            send(message)

    def produce(self, count: int, batch: int) -> None:
        """See Channel. These candidates wait or refuse by themselves when they are full."""
        send, message = self.send, self.message if batch == 1 else self.many
        for _ in repeat(None, count // batch):
            send(message)

    def consume(self, stamps: npt.NDArray[np.uint64], batch: int) -> None:
        """See Channel."""
        mark = self.limit.Stamps(stamps).mark
        receive, target = self.receive, self.target
        for _ in repeat(None, len(stamps)):
            for _ in repeat(None, WINDOW // batch):
                while not receive(target):
                    pass
            mark()


class LimitChannel(Channel):
    """A ring in C, driven in C: what the machine allows. Its reader keeps the tail that it saw last."""

    name = "C ring (the limit)"
    object_name: ClassVar[str] = "limit"
    is_plain: ClassVar[bool] = False

    def create(self) -> None:
        """See Channel. One object: two rings, and a word for the consumer's progress."""
        size = 256 + RECORD_SIZE * CAPACITY
        self._memory = SharedMemory(self.end, self.object_name, 2 * size + 128)
        rings = [self._memory.part(0, size), self._memory.part(size, size)]
        self._out, self._in = rings if self.end.side == 0 else rings[::-1]
        self._progress = self._memory.part(2 * size, 8)
        self._sent = self._taken = 0

    def connect(self) -> None:
        """See Channel."""

    def ping(self, stamps: npt.NDArray[np.uint64]) -> None:
        """See Channel."""
        self.limit.ring_ping(self._out, self._in, CAPACITY, self._taken, stamps, self.is_plain)
        self._taken += len(stamps)
        self._sent += len(stamps)

    def echo(self, count: int) -> None:
        """See Channel."""
        self.limit.ring_echo(self._in, self._out, CAPACITY, self._taken, count, self.is_plain)
        self._taken += count
        self._sent += count

    def produce(self, count: int, batch: int) -> None:
        """See Channel."""
        self.limit.ring_produce(self._out, self._progress, CAPACITY, self._sent, count, WINDOW, batch)
        self._sent += count

    def consume(self, stamps: npt.NDArray[np.uint64], batch: int) -> None:
        """See Channel."""
        self.limit.Progress(self._progress).store(self._taken)
        self.limit.ring_consume(self._in, self._progress, CAPACITY, self._taken, WINDOW, stamps, self.is_plain)
        self._taken += WINDOW * len(stamps)

    def close(self) -> None:
        """See Channel."""
        self._memory.close()


class PlainChannel(LimitChannel):
    """The same, and its reader looks at the tail before each record."""

    name = "C ring, plain"
    object_name = "plain"
    is_plain = True


class NumpyChannel(Channel):
    """The same ring in Python over a structured array: no native core, and right on x86 only."""

    name = "numpy ring"
    exchanges = 4_000
    windows = 12

    def create(self) -> None:
        """See Channel."""
        size = 256 + RECORD_SIZE * CAPACITY
        self._memory = SharedMemory(self.end, "numpy", 2 * size + 128)
        rings = [self._ring(0, size), self._ring(size, size)]
        (self._out_tails, self._out), (self._in_tails, self._in) = rings if self.end.side == 0 else rings[::-1]
        self._progress = self.limit.Progress(self._memory.part(2 * size, 8))
        self._sent = self._taken = 0
        self._record = np.zeros(1, Event.dtype)
        self._records = np.zeros(BATCH, Event.dtype)

    def _ring(self, offset: int, size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any]]:
        # word 0 of the first array is tail_intent, word 1 tail
        part = self._memory.part(offset, size)
        return np.frombuffer(part[:256], np.uint64)[::16], np.frombuffer(part[256:], Event.dtype)

    def connect(self) -> None:
        """See Channel."""

    @staticmethod
    def _run(cursor: int, batch: int) -> tuple[int, int]:
        """Where a batch begins, and how much of it lies before the ring's end."""
        first = cursor & CAPACITY - 1
        return first, min(batch, CAPACITY - first)

    def _write(self) -> None:
        tails, sent = self._out_tails, self._sent
        tails[0] = sent + 1
        self._out[sent & CAPACITY - 1] = self._record[0]
        self._sent = sent + 1
        tails[1] = sent + 1

    def _read(self) -> bool:
        tails, taken = self._in_tails, self._taken
        tail = int(tails[1])
        if tail == taken:
            return False
        self._record[0] = self._in[taken & CAPACITY - 1]
        if tail - taken > CAPACITY or int(tails[0]) - taken > CAPACITY:
            raise RuntimeError("the numpy ring was lapped")
        self._taken = taken + 1
        return True

    def ping(self, stamps: npt.NDArray[np.uint64]) -> None:
        """See Channel."""
        mark = self.limit.Stamps(stamps).mark
        write, read = self._write, self._read
        for _ in repeat(None, len(stamps)):
            write()
            while not read():
                pass
            mark()

    def echo(self, count: int) -> None:
        """See Channel."""
        write, read = self._write, self._read
        for _ in repeat(None, count):
            while not read():
                pass
            write()

    def produce(self, count: int, batch: int) -> None:
        """See Channel. A batch is one slice."""
        for _ in repeat(None, count // WINDOW):
            while self._sent + WINDOW - self._progress.load() > CAPACITY:
                pass
            for _ in repeat(None, WINDOW // batch):
                if batch == 1:
                    self._write()
                    continue
                tails = self._out_tails
                tails[0] = self._sent + batch
                first, fits = self._run(self._sent, batch)
                self._out[first : first + fits] = self._records[:fits]
                self._out[: batch - fits] = self._records[fits:]
                self._sent += batch
                tails[1] = self._sent

    def consume(self, stamps: npt.NDArray[np.uint64], batch: int) -> None:
        """See Channel."""
        mark = self.limit.Stamps(stamps).mark
        self._progress.store(self._taken)
        for _ in repeat(None, len(stamps)):
            for _ in repeat(None, WINDOW // batch):
                if batch == 1:
                    while not self._read():
                        pass
                    continue
                tails = self._in_tails
                while int(tails[1]) - self._taken < batch:
                    pass
                first, fits = self._run(self._taken, batch)
                self._records[:fits] = self._in[first : first + fits]
                self._records[fits:] = self._in[: batch - fits]
                if int(tails[0]) - self._taken > CAPACITY:
                    raise RuntimeError("the numpy ring was lapped")
                self._taken += batch
            self._progress.store(self._taken)
            mark()

    def close(self) -> None:
        """See Channel."""
        self._memory.close()
