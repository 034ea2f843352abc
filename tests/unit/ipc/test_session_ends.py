"""How a session ends: by a kill, a fork, a segment that goes, a gateway that goes; and many at once."""

from __future__ import annotations

import gc
import os
import select
import subprocess
import sys
import threading

import numpy as np
import pytest
from shared_segments import CLAIM_AND_SERVE, LAYOUT, Attached, Command, Raw, line_of, quote, serve_claims, until

from latentspeed.ipc import (
    ClientSession,
    ForkedSession,
    SegmentClosed,
    SegmentReader,
    SegmentRetired,
    SegmentState,
    SegmentWriter,
    SessionState,
)

# ---- death ----


def test_rule_28_a_pidfd_tells_of_death_and_the_lock_decides(writer, run_child):
    child = run_child(CLAIM_AND_SERVE, writer.name)
    gateway = serve_claims(writer)
    line_of(child)
    pidfd = gateway.open_pidfd()
    assert pidfd is not None
    assert not select.select([pidfd], [], [], 0)[0]
    run_child.kill(child)
    assert select.select([pidfd], [], [], 10)[0]
    assert not gateway.is_locked()
    os.close(pidfd)
    assert gateway.open_pidfd() is None


def test_rule_28_a_reused_pid_is_not_taken_for_the_client(writer, session, name):
    """The claim names this pid with another start time."""
    gateway = writer.sessions[0]
    os.close(gateway.open_pidfd())
    with Raw(name) as raw:
        raw.set_word(raw.entry(0) + 64 + 8, 12345)  # the gateway's copy: pid_start
    assert gateway.open_pidfd() is None


def test_rule_27_a_forked_child_may_not_use_the_session_and_does_not_hold_its_lock(writer, session):
    table = session.table("book")
    receive, send = os.pipe()
    wait, release = os.pipe()
    child = os.fork()
    if child == 0:
        told = []
        for call in (
            lambda: session.queue.push(Command()),
            session.beat,
            session.request_cancel_all,
            lambda: table.write(0, quote(1)),
            lambda: writer.ring("events").publish(__import__("shared_segments").event(1)),
            lambda: writer.set_state(SegmentState.LIVE),
        ):
            try:
                call()
                told.append("nothing")
            except ForkedSession:
                told.append("ForkedSession")
            except BaseException as error:
                told.append(repr(error))
        try:
            session.close()
            os.write(send, ",".join(told).encode() + b"\n")
            os.read(wait, 1)  # until the parent is done
        finally:
            os._exit(0)
    told = os.read(receive, 4096).decode().strip()
    assert told == ",".join(["ForkedSession"] * 6)
    # the parent goes on as before, and when it lets go nobody holds the byte although the child lives
    session.queue.push(Command())
    assert writer.sessions[0].is_locked()
    session.close()
    assert not writer.sessions[0].is_locked()
    os.write(release, b"x")
    os.waitpid(child, 0)
    for fd in (receive, send, wait, release):
        os.close(fd)


def test_a_subprocess_does_not_inherit_the_lock(writer, session):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        session.close()
        # the child's copy goes when it executes the new program, a moment after Popen has returned
        until(lambda: not writer.sessions[0].is_locked(), "the end of the lock")
    finally:
        child.communicate(b"\n")


def test_an_abandoned_session_gives_its_lock_back(writer, reader, attach_session):
    session = attach_session(reader)
    attach_session.sessions.clear()
    del session
    gc.collect()
    assert not writer.sessions[0].is_locked()


# ---- the end of the segment ----


def test_rule_25_a_session_of_a_retired_segment_may_not_send(name):
    writer = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as reader, Attached(writer)(reader) as session:
        writer.unlink()
        for call in (lambda: session.queue.push(Command()), session.check, reader.check):
            with pytest.raises(SegmentRetired):
                call()
        with pytest.raises(SegmentRetired):
            ClientSession.claim(reader, name="late", timeout_s=1)


@pytest.mark.parametrize("slots", [8, 64])
def test_sixty_four_sessions_open_and_close_at_once(name, slots):
    """Sixty-four claimers and a gateway that answers and buries; with as many slots all are open at the same time."""
    from latentspeed.ipc import SegmentLayout, SessionsSpec

    layout = SegmentLayout(sessions=SessionsSpec(slots, Command, 8))
    all_open = threading.Barrier(64 if slots == 64 else 1)
    writer = SegmentWriter.open(name, layout)
    done: list[int] = []
    errors: list[BaseException] = []

    def one() -> None:
        try:
            with (
                SegmentReader.attach(name, layout) as reader,
                ClientSession.claim(reader, name="crowd", timeout_s=60) as session,
            ):
                all_open.wait(60)
                session.queue.push(Command())
                done.append(session.slot)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(64)]
    for thread in threads:
        thread.start()

    def serve() -> bool:
        for slot in writer.sessions:
            if slot.has_claim():
                slot.activate(None, 1)
            elif slot.state in (SessionState.ACTIVE, SessionState.DRAINING) and not slot.is_locked():
                if slot.state is SessionState.ACTIVE:
                    slot.drain()
                slot.free()
        return len(done) + len(errors) == 64

    until(serve, "all sessions", 60)
    for thread in threads:
        thread.join()
    assert not errors
    assert len(done) == 64
    assert len(set(done)) == slots
    writer.unlink()


def test_the_command_of_a_session_is_seen_by_struct_and_numpy(writer, session):
    session.queue.push(Command(kind=3, price=2.5))
    writer.sessions[0].queue.peek(out := Command())
    assert np.frombuffer(out, Command.dtype)["price"][0] == 2.5


def test_freeing_tells_how_many_commands_nobody_settled(writer, session):
    """A client that was revoked in the middle of a push may leave one behind; that is not silent."""
    gateway = writer.sessions[0]
    for _ in range(3):
        session.queue.push(Command())
    gateway.queue.peek(Command())
    gateway.queue.advance()
    gateway.drain()
    assert gateway.free() == 2


def test_what_a_closed_gateway_is_asked_about_others_is_refused(name):
    writer = SegmentWriter.open(name, LAYOUT)
    session = writer.sessions[0]
    writer.close()
    for call in (session.is_locked, writer.doorbell.begin_drain, writer.doorbell.arm):
        with pytest.raises(SegmentClosed):
            call()
    SegmentWriter.open(name, LAYOUT).unlink()


def test_a_forgotten_gateway_stops_writing_when_its_lock_goes(name):
    """Only its ring is kept: without the lock it would be a second writer."""
    ring = SegmentWriter.open(name, LAYOUT).ring("events")
    gc.collect()
    with pytest.raises(SegmentClosed):
        ring.publish_epoch()
    second = SegmentWriter.open(name, LAYOUT)
    assert second.reused
    second.unlink()


def test_a_forgotten_session_stops_sending_when_its_lock_goes(writer, reader, attach_session):
    queue = attach_session(reader).queue
    attach_session.sessions.clear()
    gc.collect()
    with pytest.raises(SegmentClosed):
        queue.push(Command())
    with pytest.raises(SegmentClosed):
        queue.ring()
    assert not writer.sessions[0].is_locked()
