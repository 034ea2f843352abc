"""Attaching to anything: a clear error or a working reader, never a crash and never a hang."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared_segments import LAYOUT, Attached, Command, Event, Quote, Raw, event, fresh_name, quote

from latentspeed.ipc import (
    CellBusy,
    ClientSession,
    GatewaySession,
    IpcError,
    SectionKind,
    SegmentLayout,
    SegmentReader,
    SegmentState,
    SegmentWriter,
    SessionRevoked,
    SessionState,
)
from latentspeed.ipc.layout import PAGE
from latentspeed.ipc.session_slots import block_offset

HEADER_AND_TEXT = LAYOUT.sections[2].offset
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
words = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, PAGE, LAYOUT.total_size]) | st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def segment():
    """A segment with something in every section, and its bytes."""
    name = fresh_name()
    writer = SegmentWriter.open(name, LAYOUT)
    for number in range(100):
        writer.table("quotes").write(number % 16, quote(number))
        writer.ring("events").publish(event(number))
    writer.counter("orders").add(7)
    writer.histogram("latency").record(1234)
    writer.error_log.record("E", "text")
    writer.set_state(SegmentState.LIVE)
    writer.close()
    with Raw(name) as raw:
        yield name, raw, raw.bytes(0, LAYOUT.total_size)
        raw.fill(0, bytes(64))
    SegmentWriter.open(name, LAYOUT).unlink()


def read_everything(reader: SegmentReader) -> None:
    """Every read that an inspector does."""
    reader.state, reader.epoch, reader.heartbeat_mono_ns, reader.writer_pid, reader.writer_alive()
    with contextlib.suppress(CellBusy):
        reader.clock_pair()
        reader.errors()
        for spec in reader.layout.tables:
            table, record = reader.table(spec.name), spec.record_type()
            for index in range(spec.count):
                table.read(index, record)
                repr(record)
            table.read_many(np.zeros(spec.count, spec.record_type.dtype))
    reader.counters()
    for histogram in reader.histograms().values():
        histogram.percentile(99), histogram.mean
    for ring_spec in reader.layout.rings:
        ring = reader.ring(ring_spec.name).reader()
        for cursor in (0, ring.tail, max(0, ring.tail - 10)):
            with contextlib.suppress(IpcError, ValueError):
                ring.cursor = cursor
                for _ in range(20):
                    ring.read(ring_spec.record_type())
                ring.read_many(np.zeros(4, ring_spec.record_type.dtype))
    for info in reader.sessions_info():
        repr(info)
        reader.queue_depth(info.slot)
        with contextlib.suppress(CellBusy):
            reader.session_table(info.slot, "book").read(0, reader.layout.sessions.tables[0].record_type())


def attach_and_read(name: str, layout: SegmentLayout | None) -> None:
    """Either an error that says something, or a reader that works."""
    try:
        reader = SegmentReader.attach(name, layout, timeout_s=0)
    except IpcError as error:
        if not str(error):
            pytest.fail(f"{error!r} says nothing")
        return
    with reader:
        read_everything(reader)


@relaxed
@given(
    edits=st.lists(st.tuples(st.integers(0, HEADER_AND_TEXT // 8 - 1), words), min_size=1, max_size=8),
    known=st.booleans(),
)
def test_a_mutated_header_directory_or_schema_is_an_error_or_a_working_reader(segment, edits, known):
    name, raw, original = segment
    try:
        for word, value in edits:
            raw.set_word(8 * word, value)
        attach_and_read(name, LAYOUT if known else None)
    finally:
        raw.fill(0, original)


@relaxed
@given(edits=st.lists(st.tuples(st.integers(0, HEADER_AND_TEXT - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_few_flipped_bytes_are_an_error_or_a_working_reader(segment, edits):
    name, raw, original = segment
    try:
        for offset, value in edits:
            raw.fill(offset, bytes([value]))
        attach_and_read(name, None)
    finally:
        raw.fill(0, original)


@settings(relaxed, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, LAYOUT.total_size))
def test_random_bytes_behind_a_good_header_are_read_without_a_crash(segment, seed, size):
    """Cursors, sequences, labels, sessions: whatever they say."""
    name, raw, original = segment
    start = HEADER_AND_TEXT
    try:
        raw.fill(start, np.random.default_rng(seed).bytes(min(size, LAYOUT.total_size - start)))
        with SegmentReader.attach(name, LAYOUT, timeout_s=0) as reader:
            read_everything(reader)
    finally:
        raw.fill(0, original)


@settings(relaxed, max_examples=60)
@given(
    edits=st.lists(st.tuples(st.integers(0, HEADER_AND_TEXT // 8 - 1), words), min_size=1, max_size=8),
    is_retired=st.booleans(),
)
def test_a_gateway_reuses_or_replaces_a_mutated_header_directory_or_schema(edits, is_retired):
    """Also where it says of itself where its bells are: they are woken before it is replaced."""
    name = fresh_name()
    SegmentWriter.open(name, LAYOUT).close()
    with Raw(name) as raw:
        for word, value in edits:
            raw.set_word(8 * word, value)
        if is_retired:
            raw.set_word(192, SegmentState.RETIRED)
    with SegmentWriter.open(name, LAYOUT) as writer:
        assert not (is_retired and writer.reused)
        with SegmentReader.attach(name, LAYOUT) as reader:
            read_everything(reader)
            ring = reader.ring("events").reader()
            writer.ring("events").publish(event(3))
            assert ring.read(Event()) == 1
        writer.unlink()


SESSION_WORDS = [LAYOUT.section(SectionKind.SESSIONS).offset + 8 * word for word in range(4 * 32)] + [
    block_offset(LAYOUT, slot) + 8 * word for slot in range(4) for word in range(48)
]
session_values = words | st.integers(0, 3) | st.integers(0, 7).map(lambda value: value | 1 << 32)


@settings(relaxed, max_examples=80)
@given(edits=st.lists(st.tuples(st.sampled_from(SESSION_WORDS), session_values), min_size=1, max_size=12))
def test_a_mutated_session_directory_is_settled_by_the_gateway_and_serves_again(segment, edits):
    """A client finds an error or a session in it, an inspector reads it, the next gateway frees what nobody holds."""
    name, raw, original = segment
    try:
        for offset, value in edits:
            raw.set_word(offset, value)
        with SegmentReader.attach(name, LAYOUT, timeout_s=0) as reader:
            for info in reader.sessions_info():
                repr(info), reader.queue_depth(info.slot), reader.session_heartbeat_mono_ns(info.slot)
            with contextlib.suppress(IpcError):
                ClientSession.claim(reader, name="hopeful", timeout_s=0).close()
            with SegmentWriter.open(name, LAYOUT) as writer:
                assert writer.reused
                for session in writer.sessions:
                    settle(session)
                with Attached(writer)(reader) as session:
                    session.queue.push(Command(kind=5))
                    queue = writer.sessions[session.slot].queue
                    assert queue.peek(out := Command())
                    assert (out.kind, out.generation) == (5, session.generation)
    finally:
        raw.fill(0, original)


def settle(session: GatewaySession) -> None:
    """What a starting gateway does with a slot that nobody holds."""
    repr(session)
    assert not session.has_claim()
    session.claim, session.incarnation, session.cancel_all_pending(), session.open_pidfd()
    if session.state is SessionState.ACTIVE:
        session.drain()
    if session.state is SessionState.DRAINING:
        with contextlib.suppress(SessionRevoked):
            while session.queue.peek(Command()):
                session.queue.advance()
        session.free()
        assert session.queue.depth == 0


@settings(relaxed, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_gateway_starts_on_random_bytes_behind_a_good_header(segment, seed):
    """It repairs the rings and believes no session."""
    name, raw, original = segment
    start = HEADER_AND_TEXT
    try:
        raw.fill(start, np.random.default_rng(seed).bytes(LAYOUT.total_size - start))
        with SegmentWriter.open(name, LAYOUT) as writer:
            assert writer.reused
            for session in writer.sessions:
                repr(session)
                assert not session.has_claim()
                session.claim, session.incarnation, session.cancel_all_pending(), session.heartbeat_mono_ns
                with contextlib.suppress(SessionRevoked):
                    session.queue.peek(Command())
                with contextlib.suppress(CellBusy):
                    session.table("book").read(0, Quote())
                if session.state.name == "ACTIVE":
                    session.drain()
                if session.state.name == "DRAINING":
                    session.free()
                    assert session.queue.depth == 0
            with SegmentReader.attach(name, LAYOUT) as reader:
                ring = reader.ring("events").reader()
                writer.ring("events").publish(event(3))
                assert ring.read(out := Event()) == 1
                assert out.number == 3
    finally:
        raw.fill(0, original)


@pytest.mark.parametrize("size", [0, 1, 7, 639, 640, 4095, 4096, 4097, LAYOUT.total_size - 1, LAYOUT.total_size + 4096])
@pytest.mark.parametrize("content", ["zeros", "random", "copied"])
def test_an_object_of_any_size_and_content_is_an_error(segment, name, size, content):
    original = segment[2]
    data = {"zeros": bytes(size), "random": os.urandom(size), "copied": (original + bytes(8192))[:size]}[content]
    path = f"/dev/shm/latentspeed.{name}"
    with open(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "wb") as file:
        file.write(data)
    for layout in (LAYOUT, None):
        with pytest.raises(IpcError):
            SegmentReader.attach(name, layout, timeout_s=0)
    os.unlink(path)


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(str))
def test_a_text_that_is_no_schema_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        SegmentLayout.from_schema(text)


@given(st.integers(0, len(LAYOUT.schema) - 1), st.characters(codec="ascii"))
def test_a_schema_with_one_changed_character_is_refused_or_describes_a_layout(index, character):
    text = LAYOUT.schema[:index] + character + LAYOUT.schema[index + 1 :]
    with contextlib.suppress(ValueError):
        assert SegmentLayout.from_schema(text).total_size > 0


def test_a_deeply_nested_schema_is_refused():
    with pytest.raises(ValueError, match="not a schema"):
        SegmentLayout.from_schema("[" * 100_000)
