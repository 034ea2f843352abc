"""Counters, histograms and the error log: what the inspector and the exporter read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_segments import LAYOUT, Raw

from latentspeed.ipc import HistogramSnapshot, SegmentReader, SegmentWriter
from latentspeed.ipc.counters import _highest


def test_a_counter_is_found_by_its_label_and_counts(writer, reader):
    orders = writer.counter("orders_sent")
    orders.add()
    orders.add(41)
    writer.counter("orders_sent").add(0)
    writer.counter("fills").set(7)
    assert reader.counters() == {"orders_sent": 42, "fills": 7}
    assert orders.value == 42


def test_counters_and_histograms_go_on_over_a_restart(name):
    first = SegmentWriter.open(name, LAYOUT)
    first.counter("orders").add(5)
    first.histogram("latency").record(100)
    first.error_log.record("E1", "it broke")
    first.close()
    second = SegmentWriter.open(name, LAYOUT)
    second.counter("orders").add(1)
    second.histogram("latency").record(200)
    second.error_log.record("E1", "it broke")
    with SegmentReader.attach(name, LAYOUT) as reader:
        assert reader.counters() == {"orders": 6}
        assert reader.histograms()["latency"].count == 2
        assert reader.errors()[0].count == 2
    second.unlink()


def test_a_label_that_does_not_fit_is_refused_and_a_full_section_says_so(writer):
    for label in ("", "x" * 65, "a\0b"):
        with pytest.raises(ValueError, match="label"):
            writer.counter(label)
    for number in range(8):
        writer.counter(f"counter {number}")
    with pytest.raises(ValueError, match="all 8 counters are in use"):
        writer.counter("one more")
    writer.counter("counter 3").add(1)


def test_a_reader_survives_a_wild_number_of_labels(writer, reader, name):
    writer.counter("orders").add(3)
    with Raw(name) as raw:
        section = next(section for section in LAYOUT.sections if section.name == "counters")
        raw.set_word(section.offset, 1 << 60)
        assert reader.counters()["orders"] == 3


def test_a_reader_cannot_count(reader, writer):
    writer.histogram("latency")
    from latentspeed.ipc.counters import CounterSection, HistogramSection

    writer.counter("orders")
    with pytest.raises(TypeError, match="read-only"):
        CounterSection(reader.published, LAYOUT).counter("orders").add()
    with pytest.raises(TypeError, match="read-only"):
        HistogramSection(reader.published, LAYOUT).histogram("latency").record(1)
    with pytest.raises(TypeError, match="read-only"):
        CounterSection(reader.published, LAYOUT).counter("new")


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 100_000), min_size=1, max_size=200))
def test_a_histogram_keeps_percentiles_to_one_sixteenth(values):
    snapshot = histogram_of(values)
    assert (snapshot.count, snapshot.min, snapshot.max) == (len(values), min(values), max(values))
    assert snapshot.total == sum(values) % 2**64
    for p in (0, 1, 50, 90, 99, 99.9, 100):
        exact = int(np.sort(np.array(values, "u8"))[max(0, -(-len(values) * p // 100).__int__() - 1)])
        assert exact <= snapshot.percentile(p) <= exact + exact // 16 + 1


def histogram_of(values):
    """A histogram in private memory, through the same C code."""
    import mmap
    import tempfile

    from latentspeed.ipc._core import HISTOGRAM_SIZE, Histogram, Mapping

    with tempfile.TemporaryFile() as file:
        file.truncate(max(HISTOGRAM_SIZE, mmap.PAGESIZE))
        histogram = Histogram(Mapping(file.fileno(), 0, HISTOGRAM_SIZE, True), 0)
    for value in values:
        histogram.record(value)
    return HistogramSnapshot.of(histogram)


def test_an_empty_histogram_and_a_negative_difference_are_no_error():
    empty = histogram_of([])
    assert (empty.count, empty.mean, empty.percentile(99)) == (0, 0.0, 0)
    assert histogram_of([-5]).max == 0
    with pytest.raises(ValueError, match="percentile"):
        empty.percentile(101)


def test_the_buckets_cover_every_value_without_a_gap():
    assert [_highest(bucket) for bucket in range(18)] == list(range(18))
    edges = [_highest(bucket) for bucket in range(976)]
    assert edges == sorted(set(edges))
    assert edges[-1] == 2**64 - 1


# ---- the error log ----


def test_an_error_is_kept_once_with_first_last_and_count(writer, reader):
    log = writer.error_log
    for code, text, count in (("E1", "lost the socket", 1), ("E2", "odd", 1), ("E1", "lost the socket", 2)):
        assert log.record(code, text) == count
    first, second = reader.errors()
    assert (first.code, first.text, first.count) == ("E1", "lost the socket", 2)
    assert first.first_utc_ns <= first.last_utc_ns
    assert (second.code, second.count) == ("E2", 1)


def test_a_full_error_log_counts_the_rest_in_its_last_row(writer, reader):
    for number in range(10):
        writer.error_log.record("E", f"error {number}")
    entries = reader.errors()
    assert [entry.text for entry in entries[:3]] == ["error 0", "error 1", "error 2"]
    assert (entries[3].code, entries[3].count) == ("more_errors", 7)
    writer.error_log.record("E", "error 1")
    assert reader.errors()[1].count == 2


@pytest.mark.parametrize("text", ["x" * 500, "é" * 200, "a\0b", "\ud800"])
def test_any_text_can_be_logged(writer, reader, text):
    assert writer.error_log.record("C" * 50, text) == 1
    assert writer.error_log.record("C" * 50, text) == 2
    (entry,) = reader.errors()
    assert entry.count == 2
    assert entry.code == "C" * 32
    assert 0 < len(entry.text.encode()) <= 192
