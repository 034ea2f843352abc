"""What a client says of itself in its own block: heartbeats, cancel-all, tables, claims, true or wild."""

from __future__ import annotations

import os
import threading

import pytest
from shared_segments import Attached, Command, Raw, quote, until

from latentspeed.ipc import (
    ClientSession,
    SessionFenced,
    SessionState,
    _core,
)
from latentspeed.ipc.client_session import _Claiming


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


def test_rule_9_a_claim_that_went_with_a_revoked_session_of_another_claimer_is_made_again(writer, reader, monkeypatch):
    """A dead claimer's claim is answered while the next one holds the lock and has not written; then it is revoked."""
    slot, write, claims = writer.sessions[0], _Claiming.write, []

    def write_late(claiming, *arguments):
        claims.append(arguments)
        if len(claims) == 1:
            _core.write_claim(claiming.block, 0, 77, os.getpid(), 0, b"dead", 0, True, 0)
            assert slot.has_claim()
            assert slot.activate(None, 1) == 1
            write(claiming, *arguments)
            slot.drain()
            slot.free()
        else:
            write(claiming, *arguments)
            answering.start()

    answering = threading.Thread(
        target=lambda: until(lambda: slot.has_claim() and slot.activate(None, 2), "the second claim")
    )
    monkeypatch.setattr(_Claiming, "write", write_late)
    with ClientSession.claim(reader, name="late", timeout_s=30) as session:
        assert (session.slot, session.generation, len(claims)) == (0, 2, 2)
        session.queue.push(Command())
    answering.join()
