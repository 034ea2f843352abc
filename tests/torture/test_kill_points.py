"""Killed at every line: making, reusing, replacing, removing and claiming a segment, and what the next process finds.

A forked child runs one operation and kills itself with SIGKILL before its n-th line of `latentspeed.ipc`; n goes from 1
until the operation comes to its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import latentspeed.ipc
from latentspeed.ipc import (
    ClientSession,
    IpcError,
    RecordKind,
    RingSpec,
    SegmentLayout,
    SegmentReader,
    SegmentState,
    SegmentWriter,
    SessionsSpec,
    SessionState,
    TableSpec,
    clean,
    make_record_type,
    segment_exists,
)

IPC_FOLDER = str(Path(latentspeed.ipc.__file__).parent)

Event = make_record_type(
    "Event", np.dtype([("record_kind", "u4"), ("record_epoch", "u4"), ("number", "u8"), ("_pad", "u1", (48,))])
)
Command = make_record_type(
    "Command", np.dtype([("command_index", "u8"), ("generation", "u4"), ("kind", "u4"), ("_pad", "u1", (48,))])
)
Cell = make_record_type("Cell", np.dtype([("number", "u8")]))
LAYOUT = SegmentLayout(
    tables=(TableSpec("cells", Cell, 2),),
    rings=(RingSpec("events", Event, 8),),
    sessions=SessionsSpec(2, Command, 8),
    counters=2,
    histograms=1,
    errors=2,
)
OTHER = SegmentLayout(tables=(TableSpec("cells", Cell, 3),), counters=2, histograms=1, errors=2, abi_version=2)


def killed_before_line(operation: Callable[[], object], n: int) -> bool:
    """Run in a child that kills itself before its n-th line; False when the operation came to its end first."""
    child = os.fork()
    if child == 0:
        _run_and_die(operation, n)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert status == 0, f"the child ended with {status} before line {n}"
    return False


def _run_and_die(operation: Callable[[], object], n: int) -> None:
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(IPC_FOLDER):
            return None
        if event == "line":
            lines += 1
            if lines >= n:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    status = 1
    try:
        sys.settrace(trace)
        operation()
        sys.settrace(None)
        status = 0
    finally:
        os._exit(status)


def every_line(operation: Callable[[str], object], prepare: Callable[[str], object]) -> Iterator[str]:
    """The name of a freshly prepared segment after a kill at each line in turn; the caller looks at it."""
    n, killed = 0, True
    while killed:
        n += 1
        name = f"kill-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        prepare(name)
        killed = killed_before_line(lambda name=name: operation(name), n)
        yield name
        assert not segment_exists(name)
        assert not os.path.exists(f"/dev/shm/latentspeed.{name}.bell")
    assert n > 20, f"only {n} lines were seen: the tracing does not work"


def check_that_it_serves(name: str, layout: SegmentLayout = LAYOUT) -> SegmentWriter:
    """A gateway starts, a reader reads what it writes, and a client gets a session."""
    writer = SegmentWriter.open(name, layout)
    writer.set_state(SegmentState.LIVE)
    writer.table("cells").write(1, Cell(number=7))
    with SegmentReader.attach(name, layout) as reader:
        assert reader.table("cells").read(1, out := Cell()) > 0
        assert out.number == 7
        if layout.rings:
            ring = reader.ring("events").reader()
            writer.ring("events").publish(Event(number=9))
            assert ring.read(event := Event()) == RecordKind.DATA
            assert event.number == 9
    return writer


def attach_or_say_why(name: str) -> None:
    """A reader of a half-finished thing gets an error with a message, or a working segment."""
    with contextlib.suppress(IpcError), SegmentReader.attach(name, LAYOUT, timeout_s=0) as reader:
        reader.table("cells").read(0, Cell())
        reader.ring("events").reader()
        reader.counters(), reader.errors(), reader.sessions_info()


def nothing(name: str) -> None:
    """No segment before the operation."""


def served_before(name: str) -> None:
    """A segment that a gateway has left, with something in it."""
    with SegmentWriter.open(name, LAYOUT) as writer:
        writer.table("cells").write(0, Cell(number=5))
        writer.last_nonce, writer.last_incarnation = 1000, 10
        for number in range(20):
            writer.ring("events").publish(Event(number=number))


def served_before_with_another_layout(name: str) -> None:
    """A segment of another version."""
    SegmentWriter.open(name, OTHER).close()


@pytest.mark.timeout(240)
def test_a_gateway_killed_while_making_a_segment_leaves_nothing_that_is_trusted():
    for name in every_line(lambda name: SegmentWriter.open(name, LAYOUT), nothing):
        attach_or_say_why(name)
        check_that_it_serves(name).unlink()


@pytest.mark.timeout(240)
def test_a_gateway_killed_while_taking_over_a_segment_loses_nothing_of_it():
    for name in every_line(lambda name: SegmentWriter.open(name, LAYOUT), served_before):
        attach_or_say_why(name)
        writer = check_that_it_serves(name)
        assert writer.reused
        assert (writer.last_nonce, writer.last_incarnation) == (1000, 10)
        assert writer.table("cells").read(0, out := Cell()) == 1
        assert out.number == 5
        assert writer.epoch in (2, 3)
        writer.unlink()


@pytest.mark.timeout(240)
def test_a_gateway_killed_while_replacing_a_segment_leaves_the_old_one_retired_or_whole():
    for name in every_line(lambda name: SegmentWriter.open(name, LAYOUT), served_before_with_another_layout):
        attach_or_say_why(name)
        check_that_it_serves(name).unlink()


@pytest.mark.timeout(240)
def test_a_gateway_killed_while_removing_its_segment_leaves_something_that_clean_removes():
    for name in every_line(lambda name: SegmentWriter.open(name, LAYOUT).unlink(), served_before):
        attach_or_say_why(name)
        clean(name)


@pytest.mark.timeout(240)
def test_a_killed_clean_leaves_something_that_the_next_one_removes():
    for name in every_line(clean, served_before):
        attach_or_say_why(name)
        clean(name)


@pytest.mark.timeout(240)
def test_a_client_killed_while_claiming_leaves_a_slot_that_the_next_one_gets():
    """The gateway answers in this process while the child claims, pushes, and dies at each line in turn."""
    name = f"kill-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    writer = SegmentWriter.open(name, LAYOUT)
    n, killed, commands = 0, True, 0
    while killed:
        n += 3
        child = os.fork()
        if child == 0:
            _run_and_die(lambda: _attach_and_push(name), n)
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            commands += serve(writer)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or status == 0
        for _ in range(3):
            commands += serve(writer)
        assert [session.state for session in writer.sessions] in (
            [SessionState.FREE] * 2,
            [SessionState.CLAIMED, SessionState.FREE],
        )
        assert not any(session.is_locked() for session in writer.sessions)
    assert n > 60
    assert commands >= 1
    writer.unlink()


def _attach_and_push(name: str) -> None:
    with SegmentReader.attach(name, LAYOUT) as reader, ClientSession.claim(reader, name="mortal") as session:
        session.queue.push(Command(kind=1))


def serve(writer: SegmentWriter) -> int:
    """Answer the living, settle the dead; how many commands were taken."""
    taken = 0
    for session in writer.sessions:
        if session.has_claim():
            session.activate(None, 1)
        if session.state is SessionState.ACTIVE:
            while session.queue.peek(Command()):
                session.queue.advance()
                taken += 1
            if not session.is_locked():
                session.drain()
                while session.queue.peek(Command()):
                    session.queue.advance()
                    taken += 1
                assert session.free() == 0
    return taken
