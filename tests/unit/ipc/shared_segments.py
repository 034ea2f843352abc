"""Segments, sessions and processes that the shared-memory tests have in common."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable

import numpy as np

from latentspeed.ipc import (  # the children use some of these by name
    ClientSession,
    RingSpec,
    SectionKind,
    SegmentLayout,
    SegmentReader,
    SegmentWriter,
    SessionsSpec,
    TableSpec,
    make_record_type,
)
from latentspeed.ipc.session_slots import block_offset, entry_offset

Event = make_record_type(
    "Event",
    np.dtype(
        [("record_kind", "u4"), ("record_epoch", "u4"), ("number", "u8"), ("price", "f8"), ("body", "u8", (13,))],
    ),
)
Command = make_record_type(
    "Command",
    np.dtype([("command_index", "u8"), ("generation", "u4"), ("kind", "u4"), ("price", "f8"), ("body", "u8", (5,))]),
)
Quote = make_record_type(
    "Quote",
    np.dtype([("bid", "f8"), ("ask", "f8"), ("pair", "S16"), ("time_ns", "i8"), ("body", "u8", (2,))]),
)

LAYOUT = SegmentLayout(
    tables=(TableSpec("quotes", Quote, 16),),
    rings=(RingSpec("events", Event, 64), RingSpec("trades", Event, 16)),
    sessions=SessionsSpec(4, Command, 32, (TableSpec("book", Quote, 4),)),
    counters=8,
    histograms=2,
    errors=4,
)

DEADLINE_S = 60.0


def fresh_name() -> str:
    """A segment name that nobody else uses."""
    return f"test-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def until(condition: Callable[[], object], what: str = "the condition", deadline_s: float = DEADLINE_S) -> object:
    """Wait for a condition; fail the test when it does not come."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {deadline_s} s"
        time.sleep(0.001)
    return value


class Attached:
    """Claims sessions in a thread while this thread plays the gateway."""

    def __init__(self, writer: SegmentWriter) -> None:
        self.writer = writer
        self.sessions: list[ClientSession] = []

    def __call__(self, reader: SegmentReader, *, incarnation: int = 1, **options) -> ClientSession:
        claimed: list[ClientSession | BaseException] = []

        def claim() -> None:
            try:
                claimed.append(ClientSession.claim(reader, **{"name": "tester", "timeout_s": DEADLINE_S, **options}))
            except BaseException as error:
                claimed.append(error)

        thread = threading.Thread(target=claim)
        thread.start()

        def serve() -> bool:
            for slot in self.writer.sessions:
                if slot.has_claim():
                    slot.activate(None, incarnation)
            return bool(claimed)

        until(serve, "the claim")
        thread.join()
        session = claimed[0]
        if isinstance(session, BaseException):
            raise session
        self.sessions.append(session)
        return session


class Children:
    """Python processes that run a snippet with this conftest's names, and end with the test."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[str]] = []

    def __call__(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        prelude = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom shared_segments import *\n"
        child = subprocess.Popen(
            [sys.executable, "-c", prelude + code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.running.append(child)
        return child

    def kill(self, child: subprocess.Popen[str]) -> None:
        child.send_signal(signal.SIGKILL)
        child.wait(DEADLINE_S)


def line_of(child: subprocess.Popen[str]) -> str:
    """The child's next line; fails with what it said when it ended instead."""
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, f"the child ended with {child.wait(DEADLINE_S)} and said no more"
    return line.strip()


class Raw:
    """A segment's bytes, writable, as no program of ours maps them: to play a killed writer or a wild one."""

    def __init__(self, name: str, layout: SegmentLayout = LAYOUT) -> None:
        self.layout = layout
        fd = os.open(f"/dev/shm/latentspeed.{name}", os.O_RDWR)
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        os.close(fd)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def word(self, offset: int) -> int:
        return struct.unpack_from("Q", self._map, offset)[0]

    def set_word(self, offset: int, value: int) -> None:
        struct.pack_into("Q", self._map, offset, value & (1 << 64) - 1)

    def fill(self, offset: int, data: bytes) -> None:
        self._map[offset : offset + len(data)] = data

    def bytes(self, offset: int, size: int) -> bytes:
        return self._map[offset : offset + size]

    def table(self, name: str) -> int:
        return self.layout.section(SectionKind.TABLE, name).offset

    def ring(self, name: str) -> int:
        return self.layout.section(SectionKind.RING, name).offset

    def entry(self, slot: int) -> int:
        return entry_offset(self.layout, slot)

    def block(self, slot: int) -> int:
        return block_offset(self.layout, slot)

    @property
    def bells(self) -> int:
        return self.layout.section(SectionKind.BELLS).offset


def event(number: int) -> Event:
    """An event whose body repeats its number, so that a mixture shows."""
    return Event(number=number, price=float(number), body=[number] * 13)


def quote(number: int) -> Quote:
    """A quote whose fields all say the same."""
    return Quote(bid=number, ask=number, pair=f"P{number}", time_ns=number, body=[number] * 2)


OTHER = SegmentLayout(tables=LAYOUT.tables, rings=(RingSpec("events", Event, 128),), abi_version=7)

CLAIM_AND_SERVE = """
session = ClientSession.claim(sys.argv[1], name="child", tag=9, layout=LAYOUT, timeout_s=60)
print(session.slot, session.generation, flush=True)
sys.stdin.readline()
"""


def serve_claims(writer):
    """Play the gateway until a claim was answered."""

    def answered():
        return [slot for slot in writer.sessions if slot.has_claim() and slot.activate(None, 1)]

    return until(answered, "a claim")[0]


def path_of(name):
    return f"/dev/shm/latentspeed.{name}"
