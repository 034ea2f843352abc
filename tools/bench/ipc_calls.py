"""What one call from Python costs, in one process: both ends of a segment, each call in a loop of its own.

The yardstick is a C function with one argument that does nothing, called in the same loop. No queue runs full and no
reader is lapped: what is timed is the usual way through each call. The ring and the queue are small enough to stay in
the first-level cache, so that this is the price of the call; what the memory adds is in latency and throughput.
"""

from __future__ import annotations

import gc
import os
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import numpy as np

from latentspeed.ipc import ClientSession, SegmentReader, SegmentState, SegmentWriter
from latentspeed.tools.bench.ipc_channels import BATCH, Command, Event
from latentspeed.tools.bench.ipc_ours import bench_layout

UNROLLED: Final = 16
CAPACITY: Final = 128
CALLS: Final = 96
WARM_UP: Final = 16
ORDER: Final = {
    "instrument": 3,
    "client_order_id": 1 << 61,
    "kind": 1,
    "trade_type": 1,
    "order_type": 1,
    "position_action": 1,
    "time_in_force": 0,
    "mode": 0,
    "leverage": 5,
    "price": 64_251.5,
    "amount": 0.125,
    "trigger_price": 0.0,
    "expire_mono_ns": 8_123_456_789_012,
    "written_mono_ns": 8_123_456_789_000,
    "extra_params": b"",
}
PACKING: Final = "=QIIQBBBBBBHdddqq56s"


@dataclass(frozen=True, slots=True)
class Timed:
    """A statement over names, what must have happened before it is run CALLS times, and how many calls it makes."""

    statement: str
    names: dict[str, Any]
    before: Callable[[], Any] = lambda: None

    def compile(self) -> Callable[[int], float]:
        """A function that runs the statement CALLS times, some rounds, and returns the median ns of one."""
        names = ", ".join(self.names)
        body = f"        {self.statement}\n" * UNROLLED
        source = (
            f"def run(now, times, {names}):\n    start = now()\n    for _ in times:\n{body}    return now() - start\n"
        )
        made: dict[str, Any] = {}
        exec(source, made)
        values, run, before = tuple(self.names.values()), made["run"], self.before

        def measure(repeats: int) -> float:
            took = []
            for _ in range(repeats):
                before()
                took.append(run(time.perf_counter_ns, repeat(None, CALLS // UNROLLED), *values))
            return float(np.median(took)) / CALLS

        return measure


class CallBench:
    """The calls, ready to be timed again and again."""

    def __init__(self, limit: Any, writer: SegmentWriter, session: ClientSession) -> None:
        self._writer, self._session = writer, session
        self.event, self.seen = Event(number=1 << 40, price=64_251.5, state=1 << 20), Event()
        self.command, self.taken = Command(**ORDER), Command()
        self.reader = session.segment.ring("events").reader()
        self.queue = writer.sessions[session.slot].queue
        self.rows = np.zeros(BATCH, Event.dtype)
        self.timed = {name: timed.compile() for name, timed in self._calls(limit).items()}

    def _calls(self, limit: Any) -> dict[str, Timed]:
        push, peek, advance = self._session.queue.push, self.queue.peek, self.queue.advance
        publish, read = self._writer.ring("events").publish, self.reader.read
        fields = {f"{name}_": value for name, value in ORDER.items()}
        keywords = ", ".join(f"{name}={name}_" for name in ORDER)
        packed = {"pack": struct.pack_into, "how": PACKING, "buffer": bytearray(128), "index": 77, "generation": 5}
        return {
            "empty C call": Timed("f(a)", {"f": limit.noop, "a": self.event}),
            "push": Timed("f(a)", {"f": push, "a": self.command}, self.drain),
            "peek": Timed("f(a)", {"f": peek, "a": self.taken}, self.fill),
            "pop": self._pop(),
            "peek, then advance": Timed("f(a); g()", {"f": peek, "g": advance, "a": self.taken}, self.fill),
            "publish": Timed("f(a)", {"f": publish, "a": self.event}),
            "read": Timed("f(a)", {"f": read, "a": self.seen}, self.fill_ring),
            "read, nothing new": Timed("f(a)", {"f": read, "a": self.seen}, self.catch_up),
            "attribute, float": Timed("a.price", {"a": self.event}),
            "attribute, integer": Timed("a.number", {"a": self.event}),
            "order set": Timed(f"f({keywords})", {"f": self.command.set, **fields}),
            "order set, then push": Timed(
                f"f({keywords}); g(c)",
                {"f": self.command.set, "g": push, "c": self.command, **fields},
                self.drain,
            ),
            "struct.pack_into": Timed(
                f"pack(how, buffer, 0, index, generation, {', '.join(fields)})", {**packed, **fields}
            ),
        }

    def _pop(self) -> Timed:
        return Timed("f(a)", {"f": self.queue.pop, "a": self.taken}, self.fill)

    def drain(self) -> None:
        """Leave the queue empty."""
        while self.queue.peek(self.taken):
            self.queue.advance()

    def fill(self) -> None:
        """Leave CALLS commands in the queue."""
        self.drain()
        for _ in range(CALLS):
            self._session.queue.push(self.command)

    def fill_ring(self) -> None:
        """Leave CALLS records for the reader."""
        self.catch_up()
        for _ in range(CALLS):
            self._writer.ring("events").publish(self.event)

    def catch_up(self) -> None:
        """Leave the reader nothing."""
        self.reader.cursor = self.reader.tail

    def measure(self, repeats: int) -> dict[str, float]:
        """Nanoseconds of each call: the median of `repeats` short runs, interleaved by call."""
        gc.disable()
        try:
            return {name: timed(repeats) for name, timed in self.timed.items()}
        finally:
            gc.enable()

    def allocations(self) -> dict[str, float]:
        """Bytes that a message allocates at its peak on the reading path, and bytes that stay, by tracemalloc."""
        read, target, rows = self.reader.read, self.seen, self.rows[:CALLS]
        peek, advance, command = self.queue.peek, self.queue.advance, self.taken

        def take() -> None:
            peek(command)
            advance()

        def drain() -> None:
            for _ in self.reader.drain(target, 1):
                pass

        ways: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {
            "ring read": (self.fill_ring, lambda: read(target)),
            "ring drain": (self.fill_ring, drain),
            "queue peek, then advance": (self.fill, take),
            "queue pop": (self.fill, lambda: self.queue.pop(command)),
            "ring read_many, per batch": (self.fill_ring, lambda: self.reader.read_many(rows)),
        }
        found = {}
        for name, (before, step) in ways.items():
            before()
            found.update(_traced(name, step))
        return found


def _traced(name: str, step: Callable[[], Any]) -> dict[str, float]:
    """Peak bytes of a run of messages and kept bytes of one, less what the same loop costs around an empty step."""
    figures = []
    for one in (lambda: None, step):
        times = repeat(None, CALLS - WARM_UP)
        tracemalloc.start()
        try:
            for _ in repeat(None, WARM_UP):
                one()
            tracemalloc.reset_peak()
            start, _ = tracemalloc.get_traced_memory()
            for _ in times:
                one()
            end, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        figures.append((peak - start, end - start))
    (empty_peak, empty_kept), (peak, kept) = figures
    return {f"{name}: peak": max(peak - empty_peak, 0), f"{name}: kept": max(kept - empty_kept, 0) / (CALLS - WARM_UP)}


@contextmanager
def call_bench(limit: Any, token: str) -> Iterator[CallBench]:
    """A segment with both its ends in this process."""
    name = f"{token}-calls-{os.getpid()}"
    layout = bench_layout(CAPACITY)
    writer = SegmentWriter.open(name, layout)
    session: ClientSession | None = None
    try:
        writer.set_state(SegmentState.LIVE)
        with SegmentReader.attach(name, layout) as reader:
            session = claim_here(writer, reader)
            yield CallBench(limit, writer, session)
    finally:
        if session is not None:
            session.close()
        writer.unlink()


def claim_here(writer: SegmentWriter, reader: SegmentReader) -> ClientSession:
    """Claim a session of this very process: a thread claims, this one answers as the gateway."""
    claimed: list[ClientSession] = []
    thread = threading.Thread(target=lambda: claimed.append(ClientSession.claim(reader, name="bench", timeout_s=20.0)))
    thread.start()
    while thread.is_alive():
        for session in writer.sessions:
            if session.has_claim():
                session.activate(None, 1)
        thread.join(0.001)
    return claimed[0]
