"""Sessions: claimed under a lock, activated with a new generation, revoked for good, given back by death."""

from __future__ import annotations

import gc
import os
import select
import subprocess
import sys
import threading

import numpy as np
import pytest
from shared_segments import LAYOUT, Attached, Command, Raw, line_of, quote, until

from latentspeed.ipc import (
    ClientSession,
    ForkedSession,
    GatewayDown,
    NoFreeSession,
    SegmentClosed,
    SegmentReader,
    SegmentRetired,
    SegmentState,
    SegmentWriter,
    SessionFenced,
    SessionState,
    pid_start_time,
)

CLAIM_AND_SERVE = """
session = ClientSession.claim(sys.argv[1], name="child", tag=9, layout=LAYOUT, timeout_s=20)
print(session.slot, session.generation, flush=True)
sys.stdin.readline()
"""


def serve_claims(writer):
    """Play the gateway until a claim was answered."""

    def answered():
        return [slot for slot in writer.sessions if slot.has_claim() and slot.activate(None, 1)]

    return until(answered, "a claim")[0]


def test_a_session_is_claimed_activated_and_named(writer, reader, attach_session):
    session = attach_session(reader, name="maker", tag=0xBEEF, cancel_on_death=False, incarnation=77)
    gateway = writer.sessions[session.slot]
    assert (gateway.state, gateway.generation, gateway.incarnation) == (SessionState.ACTIVE, 1, 77)
    assert (session.generation, session.incarnation) == (1, 77)
    claim = gateway.claim
    assert (claim.pid, claim.name, claim.tag, claim.cancel_on_death) == (os.getpid(), "maker", 0xBEEF, False)
    assert claim.pid_start == pid_start_time(os.getpid())
    assert gateway.is_locked()
    info = reader.sessions_info()[session.slot]
    assert (info.state, info.claim, info.is_locked) == (SessionState.ACTIVE, claim, True)


def test_two_sessions_get_two_slots(reader, attach_session):
    assert {attach_session(reader).slot for _ in range(4)} == {0, 1, 2, 3}


def test_a_full_house_says_how_many_slots_there_are(reader, attach_session):
    for _ in range(4):
        attach_session(reader)
    with pytest.raises(NoFreeSession, match="all 4 sessions"):
        ClientSession.claim(reader, name="fifth", timeout_s=0.05)


def test_rule_9_without_a_gateway_a_claim_fails_after_its_deadline(name):
    SegmentWriter.open(name, LAYOUT).close()
    with SegmentReader.attach(name, LAYOUT) as reader:
        with pytest.raises(GatewayDown, match="no process holds its lock"):
            ClientSession.claim(reader, name="alone", timeout_s=0.05)
        # and it leaves the slot to the next one
        gateway = SegmentWriter.open(name, LAYOUT)
        assert not gateway.sessions[0].has_claim()
        assert gateway.sessions[0].state is SessionState.FREE
        gateway.unlink()


def test_rule_9_a_gateway_that_does_not_answer_is_said_to_live(writer, reader):
    with pytest.raises(GatewayDown, match=r"it is [A-Z]+ and did not activate slot 0"):
        ClientSession.claim(reader, name="ignored", timeout_s=0.05)


def test_rule_9_a_claimed_slot_is_not_active_and_its_queue_is_untouched(writer, reader, run_child):
    child = run_child(CLAIM_AND_SERVE, writer.name)
    gateway = writer.sessions[0]
    until(gateway.has_claim, "the claim")
    assert gateway.state is SessionState.CLAIMED
    assert gateway.claim.name == "child"
    assert gateway.queue.depth == 0
    assert gateway.activate(None, 1) == 1
    assert line_of(child) == "0 1"


def test_rule_9_only_a_free_slot_can_be_activated_and_only_when_claimed(writer, session):
    with pytest.raises(ValueError, match="session 0 is ACTIVE"):
        writer.sessions[0].activate(None, 1)
    assert writer.sessions[1].activate(None, 1) is None
    with pytest.raises(ValueError, match="only a DRAINING one"):
        writer.sessions[0].free()
    with pytest.raises(ValueError, match="only an ACTIVE one"):
        writer.sessions[1].drain()


def test_rule_10_every_activation_gets_a_new_generation(writer, reader, attach_session):
    gateway = writer.sessions[0]
    for generation in (1, 2, 3):
        session = attach_session(reader)
        assert (session.slot, session.generation) == (0, generation)
        session.close()
        gateway.drain()
        gateway.free()
    with pytest.raises(ValueError, match="generation 3"):
        gateway.activate(3, 1)


def test_rule_10_a_revoked_generation_may_not_send(writer, session):
    session.queue.push(Command())
    writer.sessions[0].drain()
    for call in (lambda: session.queue.push(Command()), session.check, session.request_cancel_all):
        with pytest.raises(SessionFenced, match="the slot is DRAINING"):
            call()
    writer.sessions[0].free()
    with pytest.raises(SessionFenced, match="the slot is FREE"):
        session.queue.push(Command())


def test_rule_11_draining_leaves_the_queue_to_be_settled_and_freeing_empties_it(writer, session):
    gateway = writer.sessions[0]
    for kind in range(3):
        session.queue.push(Command(kind=kind))
    gateway.drain()
    assert gateway.queue.depth == 3
    assert gateway.queue.peek(out := Command())
    assert out.kind == 0
    gateway.free()
    assert (gateway.queue.depth, gateway.queue.head, gateway.state) == (0, 3, SessionState.FREE)


def test_command_indexes_go_on_from_session_to_session(writer, reader, attach_session):
    first = attach_session(reader)
    for _ in range(5):
        first.queue.push(Command())
    first.close()
    writer.sessions[0].drain()
    writer.sessions[0].free()
    second = attach_session(reader)
    assert second.slot == 0
    second.queue.push(command := Command())
    assert command.command_index == 5
    assert writer.sessions[0].queue.peek(Command())


def test_rule_11_a_killed_client_gives_its_lock_back_and_keeps_its_policy_on_record(writer, run_child):
    child = run_child(CLAIM_AND_SERVE.replace("tag=9", "tag=9, cancel_on_death=False"), writer.name)
    gateway = serve_claims(writer)
    assert line_of(child) == "0 1"
    assert gateway.is_locked()
    run_child.kill(child)
    assert not gateway.is_locked()
    assert gateway.state is SessionState.ACTIVE
    assert gateway.claim.cancel_on_death is False


def test_rule_11_a_starting_gateway_sees_who_died_and_who_did_not(name, run_child):
    first = SegmentWriter.open(name, LAYOUT)
    children = []
    for _ in range(2):
        children.append(run_child(CLAIM_AND_SERVE, name))
        serve_claims(first)
        line_of(children[-1])
    first.close()
    run_child.kill(children[0])
    second = SegmentWriter.open(name, LAYOUT)
    assert [slot.state for slot in second.sessions[:2]] == [SessionState.ACTIVE] * 2
    assert [slot.is_locked() for slot in second.sessions[:2]] == [False, True]
    assert second.sessions[1].claim.pid == children[1].pid
    second.unlink()


def test_a_session_survives_its_gateway(name):
    first = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as reader, Attached(first)(reader) as session:
        session.queue.push(Command(kind=1))
        first.close()
        session.queue.push(Command(kind=2))
        second = SegmentWriter.open(name, LAYOUT)
        queue, out = second.sessions[0].queue, Command()
        for kind in (1, 2):
            assert queue.peek(out)
            assert out.kind == kind
            queue.advance()
        session.queue.push(Command(kind=3))
        assert queue.peek(out)
        second.unlink()


def test_rule_11_a_claim_is_not_answered_for_a_claimer_that_died(writer, reader, run_child):
    child = run_child(CLAIM_AND_SERVE, writer.name)
    gateway = writer.sessions[0]
    until(gateway.has_claim, "the claim")
    run_child.kill(child)
    assert not gateway.has_claim()
    assert gateway.state is SessionState.CLAIMED
    session = Attached(writer)(reader, name="next")
    assert writer.sessions[session.slot].claim.name == "next"
    session.close()


def test_a_claimer_that_got_another_ones_answer_takes_the_next_slot(writer, reader, run_child):
    """The gateway answers a dead claimer's ticket while the next claimer already holds the byte."""
    child = run_child(CLAIM_AND_SERVE, writer.name)
    gateway = writer.sessions[0]
    until(gateway.has_claim, "the claim")
    run_child.kill(child)
    assert gateway.activate(None, 1) == 1
    session = Attached(writer)(reader)
    assert session.slot == 1
    session.close()


def test_closing_a_session_gives_the_slot_back_and_stops_its_writes(writer, session):
    gateway = writer.sessions[0]
    table = session.table("book")
    session.close()
    session.close()
    assert not gateway.is_locked()
    with pytest.raises(SegmentClosed):
        session.queue.push(Command())
    with pytest.raises(SegmentClosed):
        table.write(0, quote(1))
    with pytest.raises(SegmentClosed):
        session.beat()


# ---- what the client says of itself ----


def test_a_session_beats_and_the_gateway_reads_it(writer, session):
    before = writer.sessions[0].heartbeat_mono_ns
    assert before > 0
    session.beat()
    assert writer.sessions[0].heartbeat_mono_ns > before


def test_a_session_that_stalled_fences_itself(reader, attach_session):
    session = attach_session(reader, stall_timeout_s=0.001)
    until(lambda: _stalled(session), "the stall")
    with pytest.raises(SessionFenced, match="STALLED"):
        session.queue.push(Command())
    with pytest.raises(SessionFenced):
        session.beat()


def _stalled(session):
    import time

    time.sleep(0.005)
    try:
        session.beat()
    except SessionFenced:
        return True
    return False


def test_rule_12_cancel_all_is_a_level_and_never_full(writer, session):
    gateway = writer.sessions[0]
    assert not gateway.cancel_all_pending()
    for _ in range(28):
        session.queue.push(Command())
    assert [session.request_cancel_all() for _ in range(3)] == [1, 2, 3]
    assert gateway.cancel_all_pending()
    assert (gateway.cancel_all_level, gateway.cancel_all_index) == (3, 28)
    gateway.cancel_all_served = gateway.cancel_all_level
    assert not gateway.cancel_all_pending()
    assert session.queue.cancel_all_served == 3


def test_a_client_table_is_read_by_gateway_and_inspector(writer, reader, session):
    session.table("book").write(2, quote(5))
    for table in (writer.sessions[0].table("book"), reader.session_table(0, "book")):
        assert table.read(2, out := quote(0)) == 1
        assert out == quote(5)
    with pytest.raises(KeyError, match="book"):
        session.table("nothing")
    with pytest.raises(KeyError):
        reader.session_table(9, "book")


@pytest.mark.parametrize("options", [{"name": ""}, {"name": "x" * 41}, {"name": "a\0"}, {"tag": -1}, {"tag": 1 << 16}])
def test_a_claim_that_does_not_fit_is_refused(reader, options):
    with pytest.raises(ValueError, match=r"session name|strategy tag"):
        ClientSession.claim(reader, **{"name": "ok", "timeout_s": 0, **options})


def test_rule_2_a_wild_claim_is_readable_and_harmless(writer, name):
    with Raw(name) as raw:
        raw.fill(raw.block(0), b"\xff" * 64)
    gateway = writer.sessions[0]
    assert not gateway.has_claim(), "nobody holds the byte"
    assert gateway.claim.pid == 0xFFFFFFFF
    assert isinstance(gateway.claim.name, str)
    assert gateway.open_pidfd() is None


@pytest.mark.parametrize("state", [1, 4, 7, 0x80000002])
def test_a_slot_state_that_no_gateway_stores_is_drained_and_freed_by_the_next_one(writer, reader, name, state):
    """Otherwise the slot would be neither free nor anybody's, for ever."""
    with Raw(name) as raw:
        raw.set_word(raw.entry(0), state | 5 << 32)
    gateway = writer.sessions[0]
    assert gateway.state is reader.session_info(0).state is SessionState.DRAINING
    assert gateway.free() == 0
    assert (gateway.state, gateway.generation) == (SessionState.FREE, 5)
    with Attached(writer)(reader) as session:
        assert (session.slot, session.generation) == (0, 6)


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
