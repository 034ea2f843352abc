"""The processes of the torture runs: a gateway that is killed, strategies that are killed, readers that check all.

Every ring record carries its own cursor and a checksum of its body; every command carries its own index and a checksum;
every cell carries a checksum. So a torn record, a missed lap, a lost or doubled command cannot pass unseen.

    python torture_programs.py gateway|reader|strategy SEGMENT
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import zlib

import numpy as np

from latentspeed.ipc import (
    ClientSession,
    CommandQueueFull,
    GatewayDown,
    Lapped,
    NoFreeSession,
    Park,
    RecordKind,
    RingSpec,
    SegmentLayout,
    SegmentReader,
    SegmentState,
    SegmentWriter,
    SessionFenced,
    SessionsSpec,
    SessionState,
    TableSpec,
    make_record_type,
)

BODY = 12
Event = make_record_type(
    "Event",
    np.dtype(
        [
            ("record_kind", "u4"),
            ("record_epoch", "u4"),
            ("cursor", "u8"),
            ("body", "u8", (BODY,)),
            ("check", "u8"),
            ("_pad", "u8"),
        ]
    ),
)
Cell = make_record_type("Cell", np.dtype([("number", "u8"), ("body", "u8", (BODY,)), ("check", "u8"), ("_pad", "u8")]))
Command = make_record_type(
    "Command",
    np.dtype(
        [("command_index", "u8"), ("generation", "u4"), ("kind", "u4"), ("body", "u8", (5,)), ("check", "u8")],
    ),
)
LAYOUT = SegmentLayout(
    tables=(TableSpec("cells", Cell, 4),),
    rings=(RingSpec("events", Event, 1024),),
    sessions=SessionsSpec(4, Command, 64),
    counters=16,
)


def checksum(record) -> int:
    """Of the body; the fields before it are stamped, or checked against their place."""
    return zlib.crc32(record.body) | 1


def sealed(record):
    """The record with its checksum."""
    record.check = checksum(record)
    return record


def say(**facts) -> None:
    """One line for the parent."""
    print(json.dumps(facts), flush=True)


# ---- the gateway: publishes without a pause, takes commands, buries the dead ----


def run_gateway(name: str) -> None:
    """Serve until killed. A damaged command ends it with an error."""
    writer = SegmentWriter.open(name, LAYOUT)
    events, cells = writer.ring("events"), writer.table("cells")
    published, taken = writer.counter("published"), writer.counter("taken")
    settled = writer.counter("settled")
    writer.set_state(SegmentState.LIVE)
    say(epoch=writer.epoch, reused=writer.reused)
    record, cell, batch = Event(), Cell(), np.zeros(8, Event.dtype)
    while True:
        writer.beat()
        for _ in range(50):
            cursor = events.tail
            record.set(cursor=cursor, body=[cursor] * BODY)
            events.publish(sealed(record))
            cell.set(number=cursor, body=[cursor] * BODY)
            cells.write(cursor % 4, sealed(cell))
            published.add()
        cursor = events.tail
        for row in range(len(batch)):
            record.set(cursor=cursor + row, body=[cursor + row] * BODY)
            batch[row] = np.frombuffer(sealed(record), Event.dtype)[0]
        events.publish_many(batch)
        published.add(len(batch))
        for session in writer.sessions:
            serve(session, taken, settled)


def serve(session, taken, settled) -> None:
    """Activate, take, bury."""
    if session.has_claim():
        session.activate(None, 1)
    if session.state in (SessionState.ACTIVE, SessionState.DRAINING):
        take(session, taken if session.state is SessionState.ACTIVE else settled)
        if not session.is_locked():
            if session.state is SessionState.ACTIVE:
                session.drain()
            take(session, settled)
            session.free()


def take(session, counter) -> None:
    """Every queued command once, in its place, whole."""
    command = Command()
    while session.queue.peek(command):
        assert command.check == checksum(command), f"a torn command: {command}"
        assert command.body[0] == command.command_index, f"a command out of place: {command}"
        counter.add()
        session.queue.advance()


# ---- the reader: follows the ring and looks at the cells ----


def run_reader(name: str, seconds: float) -> None:
    """Check everything until the time is up, over any number of gateways; then say what was seen."""
    with SegmentReader.attach(name, LAYOUT, timeout_s=20, wait=True) as segment:
        ring, table = segment.ring("events").reader(), segment.table("cells")
        event, cell, rows = Event(), Cell(), np.zeros(16, Event.dtype)
        start = ring.cursor
        seen = dict.fromkeys(("data", "epochs", "lost", "cells"), 0)
        versions = [0] * 4
        end = time.monotonic() + seconds
        park = Park([ring], spin_us=20)
        while time.monotonic() < end:
            with contextlib.suppress(Lapped):
                read_ring(ring, event, rows, seen)
            for index in range(4):
                version = table.read(index, cell)
                assert version >= versions[index], f"cell {index} went back from {versions[index]} to {version}"
                versions[index] = version
                assert version == 0 or cell.check == checksum(cell), f"a torn cell: {cell}"
                seen["cells"] += 1
            park.wait(0.01)
        with contextlib.suppress(Lapped):
            while read_ring(ring, event, rows, seen):
                pass
        passed = ring.cursor - start
        accounted = seen["data"] + seen["epochs"] + seen["lost"] + ring.voids
        assert passed == accounted, f"{passed} records went by, {accounted} are accounted for: {seen}"
        say(**seen, voids=ring.voids, laps=ring.laps)


def read_ring(ring, event, rows, seen) -> int:
    """Some records one by one, then some at once; counts a lap before it passes it on."""
    found = 0
    try:
        for _ in range(100):
            kind = ring.read(event)
            if not kind:
                break
            found += 1
            check_event(event, kind, ring.cursor - 1, seen)
        voids, cursor = ring.voids, ring.cursor
        count = ring.read_many(rows)
        found += count
        for row in range(count):
            np.frombuffer(event, "u1")[:] = np.frombuffer(rows[row : row + 1], "u1")
            place = cursor + row if ring.voids == voids else event.cursor
            check_event(event, event.record_kind, place, seen)
    except Lapped as lap:
        seen["lost"] += lap.lost
        raise
    return found


def check_event(event, kind, cursor, seen) -> None:
    """Whole, and in its place."""
    if kind == RecordKind.EPOCH:
        seen["epochs"] += 1
        return
    assert kind == event.record_kind == RecordKind.DATA, f"kind {kind} of {event}"
    assert event.check == checksum(event), f"a torn record at {cursor}: {event}"
    assert event.cursor == cursor, f"record {event.cursor} at {cursor}"
    seen["data"] += 1


# ---- the strategy: sends until killed ----


def run_strategy(name: str) -> None:
    """Push commands without a pause; attach again after whatever happens to the session."""
    with SegmentReader.attach(name, LAYOUT, timeout_s=20, wait=True) as segment:
        say(ready=True)
        while True:
            with contextlib.suppress(GatewayDown, NoFreeSession, SessionFenced):
                session = ClientSession.claim(segment, name="torture", timeout_s=20)
                try:
                    push_for_ever(session)
                finally:
                    session.close()


def push_for_ever(session: ClientSession) -> None:
    """Every command carries its own index."""
    command = Command()
    while True:
        index = session.queue.tail
        command.set(body=[index] * 5)
        try:
            session.queue.push(sealed(command))
        except CommandQueueFull:
            session.check()
            time.sleep(0.0005)
        session.beat()


if __name__ == "__main__":
    role, segment_name = sys.argv[1], sys.argv[2]
    if role == "gateway":
        run_gateway(segment_name)
    elif role == "reader":
        run_reader(segment_name, float(sys.argv[3]))
    else:
        run_strategy(segment_name)
