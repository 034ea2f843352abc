"""The command queue: full is said at once, cancels keep room, and the gateway believes nothing it has not checked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_segments import LAYOUT, Attached, Command, Raw, fresh_name

from latentspeed.ipc import (
    CommandQueueFull,
    SegmentReader,
    SegmentWriter,
    SessionFenced,
    SessionRevoked,
    SessionsSpec,
    make_record_type,
)

HEAD, TAIL = 128, 256  # in the directory entry; in the block
SLOTS = 384


def test_commands_arrive_once_in_order_and_stamped(writer, session):
    queue, out = writer.sessions[0].queue, Command()
    sent = []
    for kind in range(5):
        command = Command(kind=kind, price=kind / 2)
        session.queue.push(command)
        sent.append(command.copy())
    assert [command.command_index for command in sent] == [0, 1, 2, 3, 4]
    assert {command.generation for command in sent} == {session.generation}
    assert queue.depth == 5
    for command in sent:
        assert queue.peek(out)
        assert out == command
        queue.advance()
    assert not queue.peek(out)
    assert (queue.head, queue.depth, session.queue.head) == (5, 0, 5)


def test_pop_takes_a_command_in_one_call(writer, session):
    queue, out = writer.sessions[0].queue, Command()
    for kind in range(3):
        session.queue.push(Command(kind=kind))
    taken = []
    while queue.pop(out):
        taken.append((out.command_index, out.kind, queue.head))
    assert taken == [(0, 0, 1), (1, 1, 2), (2, 2, 3)]
    with pytest.raises(ValueError):
        queue.advance()


def test_peek_at_looks_ahead_without_taking(writer, session):
    queue, out = writer.sessions[0].queue, Command()
    for kind in range(3):
        session.queue.push(Command(kind=kind))
    assert queue.peek_at(2, out)
    assert out.kind == 2
    assert not queue.peek_at(3, out)
    assert queue.peek(out)
    assert out.kind == 0
    queue.advance(3)
    assert queue.depth == 0


def test_the_gateway_advances_only_past_what_it_peeked(writer, session):
    queue, out = writer.sessions[0].queue, Command()
    session.queue.push(Command())
    session.queue.push(Command())
    with pytest.raises(ValueError, match="peeked up to 0"):
        queue.advance()
    queue.peek(out)
    with pytest.raises(ValueError, match="advance by 2"):
        queue.advance(2)
    queue.advance(1)
    assert queue.head == 1


def test_rule_12_the_last_eighth_is_kept_for_cancels(writer, session):
    """Capacity 32: 28 places, then 4 cancels."""
    for _ in range(28):
        session.queue.push(Command())
    assert session.queue.free == 0
    with pytest.raises(CommandQueueFull) as full:
        session.queue.push(Command())
    assert (full.value.depth, full.value.capacity, full.value.is_cancel) == (28, 32, False)
    assert "the last 4 kept for cancels" in str(full.value)
    for _ in range(4):
        session.queue.push_cancel(Command())
    with pytest.raises(CommandQueueFull) as full:
        session.queue.push_cancel(Command())
    assert (full.value.depth, full.value.is_cancel) == (32, True)
    assert writer.sessions[0].queue.depth == 32


def test_a_refused_command_leaves_no_trace(writer, session):
    for _ in range(28):
        session.queue.push(Command())
    command = Command(kind=9)
    with pytest.raises(CommandQueueFull):
        session.queue.push(command)
    assert command == Command(kind=9)
    assert writer.sessions[0].queue.depth == 28


def test_room_comes_back_when_the_gateway_advances(writer, session):
    queue, out = writer.sessions[0].queue, Command()
    for turn in range(200):
        session.queue.push(Command(kind=turn))
        assert queue.peek(out)
        assert (out.kind, out.command_index) == (turn, turn)
        queue.advance()


@pytest.mark.parametrize("call", ["push()", "push(c, True, 3)", "push(c, cancel=True)", "push(7)", "push(record=c)"])
def test_a_push_that_makes_no_sense_is_refused(session, call):
    with pytest.raises(TypeError):
        eval(f"queue.{call}", {"queue": session.queue, "c": Command()})
    assert session.queue.tail == 0


# ---- what a wild client can do ----


@pytest.mark.parametrize("tail", [-1, 33, 1 << 40, 1 << 63])
def test_rule_2_a_tail_that_cannot_be_true_revokes_the_session(writer, session, name, tail):
    gateway = writer.sessions[0]
    session.queue.push(Command())
    with Raw(name) as raw:
        raw.set_word(raw.block(0) + TAIL, tail)
    for look in (
        lambda: gateway.queue.peek(Command()),
        lambda: gateway.queue.depth,
        lambda: gateway.queue.tail,
        lambda: gateway.queue.peek_at(0, Command()),
    ):
        with pytest.raises(SessionRevoked, match="session 0: tail"):
            look()
    # and the gateway gets rid of it
    gateway.drain()
    gateway.free()
    assert (gateway.queue.head, gateway.queue.depth) == (0, 0)
    with pytest.raises(SessionFenced):
        session.queue.push(Command())


def test_rule_2_a_command_that_is_not_in_its_place_revokes_the_session(writer, session, name):
    session.queue.push(Command())
    with Raw(name) as raw:
        raw.set_word(raw.block(0) + SLOTS, 5)  # command_index
    with pytest.raises(SessionRevoked, match="command_index is 5 where the head says 0"):
        writer.sessions[0].queue.peek(Command())


def test_rule_2_the_gateway_keeps_what_it_copied(writer, session, name):
    """The client rewrites the slot after the gateway's look, and moves its tail back."""
    queue, out = writer.sessions[0].queue, Command()
    session.queue.push(Command(kind=1, price=10.0))
    assert queue.peek(out)
    with Raw(name) as raw:
        raw.fill(raw.block(0) + SLOTS, b"\xff" * Command.itemsize)
        raw.set_word(raw.block(0) + TAIL, 0)
    assert (out.kind, out.price) == (1, 10.0)
    queue.advance()
    assert queue.head == 1


def test_rule_2_a_stray_write_in_one_session_does_not_touch_another(writer, reader, attach_session, name):
    first, second = attach_session(reader), attach_session(reader)
    second.queue.push(Command(kind=2))
    with Raw(name) as raw:
        raw.fill(raw.block(first.slot), b"\xa5" * LAYOUT.sessions.block_size)
    with pytest.raises(SessionRevoked):
        writer.sessions[first.slot].queue.peek(Command())
    assert writer.sessions[second.slot].queue.peek(out := Command())
    assert out.kind == 2


def test_rule_10_a_command_of_another_generation_is_handed_over_for_the_gateway_to_drop(writer, session, name):
    session.queue.push(Command(kind=1))
    with Raw(name) as raw:
        raw.set_word(raw.block(0) + SLOTS + 8, 77 | 1 << 32)  # generation 77, kind 1
    gateway, out = writer.sessions[0], Command()
    assert gateway.queue.peek(out)
    assert out.generation == 77 != gateway.generation


def test_a_client_killed_inside_a_push_leaves_no_command(writer, session, name):
    """The body is written, the tail is not: the gateway sees nothing, and the slot's next user is not disturbed."""
    with Raw(name) as raw:
        raw.fill(raw.block(0) + SLOTS, b"\x77" * (Command.itemsize - 8))
    gateway = writer.sessions[0]
    assert not gateway.queue.peek(Command())
    session.queue.push(Command(kind=4))
    assert gateway.queue.peek(out := Command())
    assert out.kind == 4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["place", "cancel", "take"]), st.integers(1, 40)), max_size=30))
def test_no_command_is_lost_or_doubled_at_any_pace(steps):
    name = fresh_name()
    writer = SegmentWriter.open(name, LAYOUT)
    try:
        attach = Attached(writer)
        with SegmentReader.attach(name, LAYOUT) as reader, attach(reader) as session:
            queue, out = writer.sessions[session.slot].queue, Command()
            sent = taken = 0
            for what, count in steps:
                for _ in range(count):
                    if what == "take":
                        if not queue.peek(out):
                            break
                        assert (out.command_index, out.price) == (taken, taken)
                        queue.advance()
                        taken += 1
                        continue
                    room = 32 if what == "cancel" else 28
                    push = session.queue.push_cancel if what == "cancel" else session.queue.push
                    try:
                        push(Command(price=sent))
                    except CommandQueueFull:
                        assert sent - taken >= room
                        break
                    assert sent - taken < room
                    sent += 1
            assert sent - taken == queue.depth
    finally:
        writer.unlink()


# ---- what cannot be a command ----


@pytest.mark.parametrize(
    "fields",
    [
        [("command_index", "u8"), ("generation", "u8")],
        [("command_index", "u4"), ("generation", "u4")],
        [("generation", "u4"), ("kind", "u4"), ("index", "u8")],
    ],
)
def test_a_command_record_has_generation_and_index(fields):
    record = make_record_type("Odd", np.dtype([*fields, ("body", "u1", (64 - np.dtype(fields).itemsize,))]))
    with pytest.raises(ValueError, match="needs a field"):
        SessionsSpec(1, record, 8)


@pytest.mark.parametrize(("slots", "capacity"), [(0, 8), (256, 8), (1, 4), (1, 12)])
def test_sessions_that_cannot_be_are_refused(slots, capacity):
    with pytest.raises(ValueError, match=r"slots|power of two"):
        SessionsSpec(slots, Command, capacity)
