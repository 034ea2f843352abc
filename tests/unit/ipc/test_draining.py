"""`RingReader.drain`: what is there, as an iterator over the one record that the reader reuses."""

from __future__ import annotations

import gc
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_segments import LAYOUT, Command, Event, event, fresh_name

from latentspeed.ipc import Lapped, RecordKind, SegmentReader, SegmentWriter

CAPACITY = 64


def publish(writer, *values):
    """Publish events of these numbers."""
    for number in values:
        writer.ring("events").publish(event(number))


def test_draining_yields_the_given_record_for_each_record_until_nothing_is_left(writer, reader):
    ring, out = reader.ring("events").reader(), Event()
    publish(writer, *range(40))
    found = []
    for record in ring.drain(out):
        assert record is out
        assert (record.record_kind, record.record_epoch) == (RecordKind.DATA, writer.epoch)
        found.append(record.number)
    assert found == list(range(40))
    assert (ring.cursor, ring.available) == (writer.ring("events").tail, 0)
    assert list(ring.drain(out)) == []


def test_draining_goes_on_with_what_is_published_meanwhile(writer, reader):
    ring, found = reader.ring("events").reader(), []
    publish(writer, 0)
    for record in ring.drain(Event()):
        found.append(record.number)
        if len(found) < 5:
            publish(writer, len(found))
    assert found == [0, 1, 2, 3, 4]


def test_a_drain_that_is_over_stays_over_and_a_new_one_sees_what_came(writer, reader):
    ring, out = reader.ring("events").reader(), Event()
    drain = ring.drain(out)
    assert next(drain, "over") == "over"
    publish(writer, 7)
    assert next(drain, "over") == "over"
    assert [record.number for record in ring.drain(out)] == [7]


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (1, 1), (5, 5), (10, 10), (99, 10), (None, 10), (-1, 0)])
def test_a_drain_reads_no_more_than_its_limit(writer, reader, limit, expected):
    ring, out = reader.ring("events").reader(), Event()
    start = ring.cursor
    publish(writer, *range(10))
    assert [record.number for record in ring.drain(out, limit)] == list(range(expected))
    assert ring.cursor == start + expected


def test_draining_yields_none_where_a_new_gateway_took_over_and_skips_nothing_else(name):
    first = SegmentWriter.open(name, LAYOUT)
    attached = SegmentReader.attach(name, LAYOUT)
    ring, out = attached.ring("events").reader(), Event()
    publish(first, 1, 2)
    first.close()
    second = SegmentWriter.open(name, LAYOUT)
    publish(second, 3)
    found = [None if record is None else record.number for record in ring.drain(out)]
    assert found == [1, 2, None, 3]
    attached.close()
    second.unlink()


def test_rule_7_a_drain_that_is_lapped_says_how_many_it_lost_and_ends(writer, reader):
    ring, out = reader.ring("events").reader(), event(5)
    publish(writer, *range(10))
    drain = ring.drain(out)
    assert [next(drain).number for _ in range(4)] == [0, 1, 2, 3]
    publish(writer, *range(10, 10 + CAPACITY))
    with pytest.raises(Lapped) as lap:
        next(drain)
    assert lap.value.lost == CAPACITY + 6
    assert out == Event(), "a record that was not validated never reaches the caller"
    assert ring.cursor == writer.ring("events").tail
    assert next(drain, "over") == "over"
    publish(writer, 99)
    assert [record.number for record in ring.drain(out)] == [99]


def test_a_drain_inside_a_drain_takes_what_is_left_and_both_end(writer, reader):
    ring, outer, inner = reader.ring("events").reader(), Event(), Event()
    publish(writer, *range(6))
    found = []
    for record in ring.drain(outer):
        found.append((record.number, [other.number for other in ring.drain(inner, 2)]))
    assert found == [(0, [1, 2]), (3, [4, 5])]


def test_a_drain_refuses_another_type_of_record_and_a_limit_that_is_no_number(reader):
    ring = reader.ring("events").reader()
    with pytest.raises(TypeError, match="Event"):
        ring.drain(Command())
    with pytest.raises(TypeError):
        ring.drain(Event(), "many")
    with pytest.raises(TypeError, match="drain"):
        ring.drain()


def test_a_drain_outlives_the_segment_it_reads(writer):
    with SegmentReader.attach(writer.name, LAYOUT) as attached:
        publish(writer, 1)
        ring = attached.ring("events").reader(0)
        drain = ring.drain(Event())
    del ring
    gc.collect()
    assert list(drain), "what it keeps alive is mapped"


def test_draining_allocates_nothing_for_a_record_nor_for_a_drain(writer, reader):
    ring, out = reader.ring("events").reader(), Event()
    publish(writer, *range(50))

    def drained(times, limit):
        for _ in itertools.repeat(None, times):
            for _ in ring.drain(out, limit):
                pass

    drained(2, 1)
    tracemalloc.start()
    try:
        drained(2, 1)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        drained(1, 1)
        few = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        drained(20, 2)
        many = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert many <= few, "forty records in twenty drains take no more than one in one"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["publish", "read", "drain", "read_many"]), st.integers(1, 90))))
def test_whatever_way_it_reads_no_record_is_lost_without_being_counted(steps):
    """Published = read + counted as lost + still there, and what is read is in order, by all three ways in turn."""
    name = fresh_name()
    writer = SegmentWriter.open(name, LAYOUT)
    try:
        with SegmentReader.attach(name, LAYOUT) as attached:
            ring, out = attached.ring("events").reader(), Event()
            published = lost = 0
            seen = []
            for what, count in steps:
                try:
                    if what == "publish":
                        publish(writer, *range(published, published + count))
                        published += count
                    elif what == "drain":
                        for record in ring.drain(out, count):
                            seen.append(record.number)
                    elif what == "read_many":
                        rows = np.zeros(count, Event.dtype)
                        seen += rows["number"][: ring.read_many(rows)].tolist()
                    else:
                        for _ in range(count):
                            if ring.read(out):
                                seen.append(out.number)
                except Lapped as lap:
                    lost += lap.lost
            assert seen == sorted(set(seen))
            assert published == len(seen) + lost + ring.available
    finally:
        writer.unlink()
