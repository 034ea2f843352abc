"""The broadcast ring: every record once and in order, or a lap with the exact count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_segments import LAYOUT, Command, Event, Raw, event, fresh_name

from latentspeed.ipc import Lapped, RecordKind, RingSpec, SegmentReader, SegmentWriter, make_record_type
from latentspeed.ipc._core import CommandConsumer, RingReader

INTENT, TAIL, SLOTS = 0, 128, 256


def numbers(reader, limit=10_000):
    """The numbers of all data records that a reader finds."""
    out, found = Event(), []
    while len(found) < limit and (kind := reader.read(out)):
        if kind == RecordKind.DATA:
            assert out == event_as_published(out)
            found.append(out.number)
    return found


def event_as_published(out):
    expected = event(out.number)
    expected.set(record_kind=RecordKind.DATA, record_epoch=out.record_epoch)
    return expected


def test_a_reader_gets_every_record_once_and_in_order(writer, reader):
    ring = reader.ring("events").reader()
    for number in range(40):
        writer.ring("events").publish(event(number))
    assert numbers(ring) == list(range(40))
    assert ring.read(Event()) == 0


def test_publish_stamps_kind_and_epoch_and_the_record_lies_before_the_tail(writer, reader):
    record = event(1)
    cursor = writer.ring("events").tail
    assert writer.ring("events").publish(record) is None
    assert (record.record_kind, record.record_epoch) == (RecordKind.DATA, writer.epoch)
    assert writer.ring("events").tail == cursor + 1
    assert writer.ring("events").read_at(cursor, out := Event())
    assert out == record


def test_rule_7_a_cold_reader_starts_at_the_tail(writer, reader):
    for number in range(10):
        writer.ring("events").publish(event(number))
    ring = reader.ring("events").reader()
    assert ring.read(Event()) == 0
    assert ring.available == 0
    writer.ring("events").publish(event(10))
    assert numbers(ring) == [10]


def test_a_reader_can_start_at_a_cursor_it_kept(writer, reader):
    tail = writer.ring("events").tail
    for number in range(10):
        writer.ring("events").publish(event(number))
    assert numbers(reader.ring("events").reader(tail + 4)) == [4, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match="beyond the tail"):
        reader.ring("events").reader(tail + 11)


@pytest.mark.parametrize("too_many", [1, 2, 63, 64, 65, 1000])
def test_rule_7_a_lapped_reader_is_told_how_many_it_lost_and_goes_on_at_the_tail(writer, reader, too_many):
    ring = reader.ring("events").reader()
    for number in range(64 + too_many):
        writer.ring("events").publish(event(number))
    start, out = ring.cursor, event(5)
    with pytest.raises(Lapped) as lap:
        ring.read(out)
    assert (lap.value.lost, lap.value.cursor, lap.value.ring) == (64 + too_many, start, "events")
    assert (ring.cursor, ring.laps, ring.available) == (writer.ring("events").tail, 1, 0)
    assert out == Event(), "a record that was not validated never reaches the caller"
    assert f"{64 + too_many} records lost" in str(lap.value)
    assert ring.read(out) == 0
    writer.ring("events").publish(event(9999))
    assert numbers(ring) == [9999]


def test_rule_7_a_full_ring_behind_is_not_a_lap(writer, reader):
    ring = reader.ring("events").reader()
    for number in range(64):
        writer.ring("events").publish(event(number))
    assert numbers(ring) == list(range(64))
    assert ring.laps == 0


def test_rule_7_a_copy_is_refused_when_the_slot_was_announced_meanwhile(writer, reader, name):
    """The writer was stopped after its intent: what the reader copies may be half overwritten."""
    ring = reader.ring("events").reader()
    for number in range(64):
        writer.ring("events").publish(event(number))
    with Raw(name) as raw:
        base = raw.ring("events")
        raw.set_word(base + INTENT, raw.word(base + INTENT) + 1)
    with pytest.raises(Lapped) as lap:
        ring.read(Event())
    assert lap.value.lost == 64


@pytest.mark.parametrize("count", [1, 15, 16, 17, 64, 200])
def test_rule_7_a_batch_reads_like_single_records_and_is_announced_in_quarters(writer, reader, count):
    ring = reader.ring("events").reader()
    rows = np.zeros(count, Event.dtype)
    rows["number"] = rows["price"] = np.arange(count)
    rows["body"] = np.arange(count)[:, None]
    tail = writer.ring("events").tail
    assert writer.ring("events").publish_many(rows) == tail + count
    assert set(rows["record_kind"]) == {RecordKind.DATA}
    if count <= 64:
        assert numbers(ring) == list(range(count))
    else:
        with pytest.raises(Lapped):
            numbers(ring)


def test_read_many_fills_whole_rows_and_tells_the_lap_on_the_next_call(writer, reader):
    ring = reader.ring("events").reader()
    rows = np.zeros(10, Event.dtype)
    for number in range(25):
        writer.ring("events").publish(event(number))
    assert ring.read_many(rows) == 10
    assert rows["number"].tolist() == list(range(10))
    assert [ring.read_many(rows), ring.read_many(rows), ring.read_many(rows)] == [10, 5, 0]
    for number in range(70):
        writer.ring("events").publish(event(number))
    with pytest.raises(Lapped) as lap:
        ring.read_many(rows)
    assert lap.value.lost == 70


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.tuples(st.just("publish"), st.integers(1, 90)), st.tuples(st.just("read"), st.integers(1, 90)))
    )
)
def test_whatever_the_pace_no_record_is_lost_without_being_counted(steps):
    """Published = read + counted as lost + still there, and what is read is in order."""
    name = fresh_name()
    writer = SegmentWriter.open(name, LAYOUT)
    try:
        with SegmentReader.attach(name, LAYOUT) as attached:
            ring, out = attached.ring("events").reader(), Event()
            published = seen = lost = 0
            for what, count in steps:
                for _ in range(count):
                    if what == "publish":
                        writer.ring("events").publish(event(published))
                        published += 1
                        continue
                    try:
                        if not ring.read(out):
                            break
                    except Lapped as lap:
                        lost += lap.lost
                        continue
                    assert out.number == seen + lost
                    seen += 1
            assert published == seen + lost + ring.available
    finally:
        writer.unlink()


# ---- a writer that dies ----


@pytest.mark.parametrize("announced", [1, 3, 16])
@pytest.mark.parametrize("stores", [0, 1, 7, 16])
def test_rule_8_slots_that_a_killed_writer_announced_become_void_and_an_epoch_follows(name, announced, stores):
    """Killed after its intent and `stores` words of the first body."""
    first = SegmentWriter.open(name, LAYOUT)
    attached = SegmentReader.attach(name, LAYOUT)
    ring = attached.ring("events").reader()
    for number in range(40):
        first.ring("events").publish(event(number))
    tail = first.ring("events").tail
    first.close()
    with Raw(name) as raw:
        base = raw.ring("events")
        raw.set_word(base + INTENT, tail + announced)
        torn = np.frombuffer(event(666), "u8")
        for word in range(stores):
            raw.set_word(base + SLOTS + (tail % 64) * Event.itemsize + 8 * word, int(torn[word]))
    second = SegmentWriter.open(name, LAYOUT)
    assert second.ring("events").tail == tail + announced + 1
    out, kinds = Event(), []
    for number in range(40):
        assert ring.read(out) == RecordKind.DATA
        assert out.number == number
    while kind := ring.read(out):
        kinds.append(kind)
        assert out.record_epoch == second.epoch
        assert out.number == 0
    assert (kinds, ring.voids) == ([RecordKind.EPOCH], announced)
    assert not second.ring("events").read_at(tail, out), "a VOID is nobody's record"
    attached.close()
    second.unlink()


def test_rule_8_repair_may_itself_be_killed_and_run_again(name):
    """Voided slots, tail not yet moved; then a second repair."""
    first = SegmentWriter.open(name, LAYOUT)
    tail = first.ring("events").tail
    first.close()
    with Raw(name) as raw:
        base = raw.ring("events")
        raw.set_word(base + INTENT, tail + 2)
        raw.set_word(base + SLOTS + tail * Event.itemsize, RecordKind.VOID | 2 << 32)
    second = SegmentWriter.open(name, LAYOUT)
    assert second.ring("events").tail == tail + 3
    assert second.ring("events").repair() == 0
    second.unlink()


@pytest.mark.parametrize("intent", [-1, -(1 << 40), 65, 1 << 40])
def test_rule_8_cursors_that_no_writer_leaves_end_in_a_ring_without_old_records(name, intent):
    first = SegmentWriter.open(name, LAYOUT)
    for number in range(100):
        first.ring("events").publish(event(number))
    tail = first.ring("events").tail
    first.close()
    with Raw(name) as raw:
        raw.set_word(raw.ring("events") + INTENT, tail + intent)
    second = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as attached:
        ring = attached.ring("events").reader()
        second.ring("events").publish(event(5))
        assert numbers(ring) == [5]
        with Raw(name) as raw:
            base = raw.ring("events")
            assert raw.word(base + INTENT) == raw.word(base + TAIL) > tail
    second.unlink()


def test_rule_24_every_gateway_counts_the_epoch_up_and_says_so_in_every_ring(name):
    for epoch in (1, 2, 3):
        writer = SegmentWriter.open(name, LAYOUT)
        assert writer.epoch == epoch
        assert writer.ring("trades").read_at(writer.ring("trades").tail - 1, out := Event())
        assert (out.record_kind, out.record_epoch) == (RecordKind.EPOCH, epoch)
        with SegmentReader.attach(name, LAYOUT) as attached:
            assert attached.epoch == epoch
        if epoch < 3:
            writer.close()
    writer.unlink()


# ---- what cannot be a ring ----


def test_rule_5_a_ring_record_is_a_multiple_of_64_bytes():
    odd = make_record_type("Odd", np.dtype([("record_kind", "u4"), ("record_epoch", "u4"), ("body", "u8", (8,))]))
    with pytest.raises(ValueError, match="multiple of 64"):
        RingSpec("odd", odd, 8)


@pytest.mark.parametrize(
    "fields",
    [
        [("record_epoch", "u4"), ("record_kind", "u4")],
        [("record_kind", "u8")],
        [("record_kind", "i4"), ("record_epoch", "i4")],
    ],
)
def test_a_ring_record_begins_with_kind_and_epoch(fields):
    record = make_record_type("Odd", np.dtype([*fields, ("body", "u8", (7,))]))
    with pytest.raises(ValueError, match="must begin with"):
        RingSpec("odd", record, 8)


@pytest.mark.parametrize("capacity", [0, 4, 7, 100, -8, 8.0])
def test_a_ring_capacity_is_a_power_of_two_from_eight(capacity):
    with pytest.raises(ValueError, match="power of two"):
        RingSpec("events", Event, capacity)


@pytest.mark.parametrize("capacity", [2**57, 2**61, 2**62])
def test_a_capacity_whose_bytes_overflow_is_refused_by_ring_and_queue(reader, capacity):
    with pytest.raises((MemoryError, ValueError)):
        RingReader(reader.published, 0, capacity, Event, "events", None, None)
    with pytest.raises((MemoryError, ValueError)):
        CommandConsumer(reader.published, 0, reader.published, 0, capacity, Command, 0)
