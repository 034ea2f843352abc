"""Sessions: claimed under a lock, activated with a new generation, revoked for good, given back."""

from __future__ import annotations

import os

import pytest
from shared_segments import CLAIM_AND_SERVE, LAYOUT, Attached, Command, line_of, quote, serve_claims, until

from latentspeed.ipc import (
    ClientSession,
    GatewayDown,
    NoFreeSession,
    SegmentClosed,
    SegmentReader,
    SegmentWriter,
    SessionFenced,
    SessionState,
    pid_start_time,
)


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
