"""Ours, from Python: the broadcast ring, and the command queue on its way back.

ring     side 0 publishes in segment 0, side 1 in segment 1; each reads the other's
queue    side 0 is a gateway: it publishes on segment 0's ring; side 1, a session, pushes commands to it
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from latentspeed.ipc import (
    ClientSession,
    RingSpec,
    SegmentLayout,
    SegmentReader,
    SegmentState,
    SegmentWriter,
    SessionsSpec,
)
from latentspeed.tools.bench.ipc_channels import BATCH, CAPACITY, WINDOW, Channel, Command, End, Event

SESSIONS = 40


def bench_layout(capacity: int) -> SegmentLayout:
    """The bench's segment: three rings and a queue for each session, all of that many records."""
    return SegmentLayout(
        rings=tuple(RingSpec(name, Event, capacity) for name in ("events", "orders", "wakes")),
        sessions=SessionsSpec(SESSIONS, Command, capacity),
        counters=8,
        histograms=2,
        errors=4,
    )


LAYOUT = bench_layout(CAPACITY)


class OurSegment:
    """This side's segment, and its hold on the other's; shared by both channels."""

    def __init__(self, end: End) -> None:
        self.writer = SegmentWriter.open(end.name("ours", end.side), LAYOUT)
        self.writer.set_state(SegmentState.LIVE)
        self._end = end
        self.session: ClientSession | None = None

    @classmethod
    def of(cls, end: End) -> OurSegment:
        """The one of this process."""
        if "segment" not in end.shared:
            end.shared["segment"] = cls(end)
        found: OurSegment = end.shared["segment"]
        return found

    def attach(self) -> None:
        """Open the other side's segment; side 1 also claims a session, which `activate_claims` must answer."""
        if hasattr(self, "reader"):
            return
        self.reader = SegmentReader.attach(self._end.name("ours", 1 - self._end.side), LAYOUT)
        if self._end.side == 1:
            self.session = ClientSession.claim(self.reader, name="bench", timeout_s=20.0)

    def activate_claims(self) -> int:
        """The gateway's answer to who claims; returns how many it activated."""
        return sum(session.activate(None, 1) is not None for session in self.writer.sessions if session.has_claim())

    def close(self) -> None:
        """Give everything up."""
        if self.session is not None:
            self.session.close()
        if hasattr(self, "reader"):
            self.reader.close()
        self.writer.unlink()


class RingChannel(Channel):
    """Our broadcast ring, records reused: latency by `read`, throughput by `drain` or, in batches, `read_many`."""

    name = "latentspeed ring"

    def create(self) -> None:
        """See Channel."""
        self.segment = OurSegment.of(self.end)
        self._writer = self.segment.writer.ring("events")
        self._progress = self.limit.Progress(self.end.shared["progress"].memory)
        self._record = Event()
        self._target = Event()
        self._rows = np.zeros(BATCH, Event.dtype)

    def connect(self) -> None:
        """See Channel."""
        self.segment.attach()
        self.reader = self.segment.reader.ring("events").reader(0)
        while self.reader.read(self._target):
            pass

    def ping(self, stamps: npt.NDArray[np.uint64]) -> None:
        """See Channel."""
        mark = self.limit.Stamps(stamps).mark
        publish, read, record, target = self._writer.publish, self.reader.read, self._record, self._target
        for _ in repeat(None, len(stamps)):
            publish(record)
            while not read(target):
                pass
            mark()

    def echo(self, count: int) -> None:
        """See Channel."""
        publish, read, record, target = self._writer.publish, self.reader.read, self._record, self._target
        for _ in repeat(None, count):
            while not read(target):
                pass
            publish(record)

    def produce(self, count: int, batch: int) -> None:
        """See Channel."""
        writer, load = self._writer, self._progress.load
        publish, publish_many, record, rows = writer.publish, writer.publish_many, self._record, self._rows
        sent = writer.tail
        for _ in repeat(None, count // WINDOW):
            sent += WINDOW
            while sent - load() > CAPACITY:
                pass
            if batch == 1:
                for _ in repeat(None, WINDOW):
                    publish(record)
            else:
                for _ in repeat(None, WINDOW // batch):
                    publish_many(rows)

    def consume(self, stamps: npt.NDArray[np.uint64], batch: int) -> None:
        """See Channel."""
        mark, store = self.limit.Stamps(stamps).mark, self._progress.store
        reader, rows, target = self.reader, self._rows, self._target
        drain, read_many = reader.drain, reader.read_many
        store(reader.cursor)
        for _ in repeat(None, len(stamps)):
            until = reader.cursor + WINDOW
            while reader.cursor < until:
                if batch > 1:
                    read_many(rows)
                    continue
                for event in drain(target, until - reader.cursor):
                    if event is None:
                        raise RuntimeError("another gateway took the ring over")
            store(reader.cursor)
            mark()

    def close(self) -> None:
        """See Channel."""
        self.segment.close()


class QueueChannel(Channel):
    """The way of an order: an event on the ring there, a command on the queue back."""

    name = "latentspeed queue"
    batch = 0

    def create(self) -> None:
        """See Channel."""
        self.segment = OurSegment.of(self.end)
        self._event = Event()
        self._command = Command()

    def connect(self) -> None:
        """See Channel."""
        self.segment.attach()
        self._publish = self.segment.writer.ring("orders").publish
        if self.end.side == 0:
            self._queue: Any = next(s for s in self.segment.writer.sessions if s.state == 2).queue
        else:
            assert self.segment.session is not None
            self._queue = self.segment.session.queue
            self._reader = self.segment.reader.ring("orders").reader()

    def ping(self, stamps: npt.NDArray[np.uint64]) -> None:
        """See Channel."""
        mark = self.limit.Stamps(stamps).mark
        publish, event, command = self._publish, self._event, self._command
        peek, advance = self._queue.peek, self._queue.advance
        for _ in repeat(None, len(stamps)):
            publish(event)
            while not peek(command):
                pass
            mark()
            advance()

    def echo(self, count: int) -> None:
        """See Channel."""
        read, push, event, command = self._reader.read, self._queue.push, self._event, self._command
        for _ in repeat(None, count):
            while not read(event):
                pass
            push(command)

    def produce(self, count: int, batch: int) -> None:
        """See Channel."""
        queue, push, command = self._queue, self._queue.push, self._command
        for _ in repeat(None, count // WINDOW):
            while queue.free < WINDOW:
                pass
            for _ in repeat(None, WINDOW):
                push(command)

    def consume(self, stamps: npt.NDArray[np.uint64], batch: int) -> None:
        """See Channel."""
        mark = self.limit.Stamps(stamps).mark
        peek, advance, command = self._queue.peek, self._queue.advance, self._command
        for _ in repeat(None, len(stamps)):
            for _ in repeat(None, WINDOW):
                while not peek(command):
                    pass
                advance()
            mark()

    def close(self) -> None:
        """See Channel. The segments are the ring's to close."""
