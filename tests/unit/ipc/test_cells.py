"""Cells and tables: the latest value, whole, whatever happens to its writer."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from shared_segments import LAYOUT, Quote, Raw, line_of, quote, until

from latentspeed.ipc import (
    CellBusy,
    SectionKind,
    SegmentLayout,
    SegmentReader,
    SegmentWriter,
    TableSpec,
    make_record_type,
)

COPY_WORDS = Quote.itemsize // 8
HALF = 8 * -(-(COPY_WORDS + 1) // 8)  # words from one copy to the other


def test_a_written_value_is_read_back_and_counted(writer, reader):
    table, out = reader.table("quotes"), Quote()
    assert writer.table("quotes").write(3, quote(7)) == 1
    assert table.read(3, out) == 1
    assert out == quote(7)
    assert writer.table("quotes").write(3, quote(8)) == 2
    assert (table.read(3, out), out.pair, table.seq(3)) == (2, "P8", 2)


def test_rule_6_sequence_zero_means_never_written_and_the_record_is_cleared(reader):
    out = quote(5)
    assert reader.table("quotes").read(0, out) == 0
    assert out == Quote()


@pytest.mark.parametrize("old", [1, 2, 3])
@pytest.mark.parametrize("stores", range(COPY_WORDS + 1))
def test_rule_6_a_writer_killed_after_any_store_leaves_the_old_value_readable(writer, reader, name, old, stores):
    """Value `old` + 1 is begun and given up after `stores` of its words; its sequence is never stored."""
    table = writer.table("quotes")
    for number in range(1, old + 1):
        table.write(2, quote(number))
    new = np.frombuffer(quote(99), "u8")
    with Raw(name) as raw:
        cell = raw.table("quotes") + 2 * 16 * HALF
        assert raw.word(cell) == old
        scratch = cell + 8 * (HALF * ((old + 1) & 1) + 1)
        for word in range(stores):
            raw.set_word(scratch + 8 * word, int(new[word]))
    out = Quote()
    assert reader.table("quotes").read(2, out) == old
    assert out == quote(old)
    # the next writer goes on from memory and the scratch copy does no harm
    assert table.write(2, quote(55)) == old + 1
    assert reader.table("quotes").read(2, out) == old + 1
    assert out == quote(55)


def test_rule_6_the_sequence_is_continued_by_the_next_gateway(name):
    with SegmentWriter.open(name, LAYOUT) as first:
        for number in range(5):
            first.table("quotes").write(1, quote(number))
    second = SegmentWriter.open(name, LAYOUT)
    assert second.reused
    assert second.table("quotes").read(1, out := Quote()) == 5
    assert out == quote(4)
    assert second.table("quotes").write(1, quote(6)) == 6
    second.unlink()


def test_a_cleared_cell_reads_as_zeros_with_a_sequence(writer, reader):
    writer.table("quotes").write(1, quote(5))
    assert writer.table("quotes").clear(1) == 2
    out = quote(9)
    assert reader.table("quotes").read(1, out) == 2
    assert out == Quote()


def test_rule_6_retries_are_bounded_and_then_the_cell_is_busy(name, run_child):
    """A record of 16 KiB takes longer to copy than another process takes to count the sequence up."""
    big = make_record_type("Big", np.dtype([("body", "u8", (1 << 11,))]))
    layout = SegmentLayout(tables=(TableSpec("big", big, 1),))
    writer = SegmentWriter.open(name, layout)
    child = run_child(
        """
from latentspeed.ipc._core import Mapping, Word
fd = os.open("/dev/shm/latentspeed." + sys.argv[1], os.O_RDWR)
sequence = Word(Mapping(fd, int(sys.argv[2]), 4096, True), 0)
print("writing", flush=True)
while True:
    sequence.add(2)
""",
        name,
        str(layout.section(SectionKind.TABLE, "big").offset),
    )
    assert line_of(child) == "writing"
    with SegmentReader.attach(name, layout) as reader:
        table, out = reader.table("big"), big()
        busy: list[CellBusy] = []

        def overtaken() -> bool:
            try:
                table.read(0, out)
            except CellBusy as error:
                busy.append(error)
            return bool(busy)

        until(overtaken, "CellBusy", 30)
        assert (busy[0].table, busy[0].index) == ("big", 0)
        assert "1024 attempts" in str(busy[0])
        assert not any(out.body.tolist())
        run_child.kill(child)
        assert table.read(0, out) > 0
    writer.unlink()


def test_rule_3_batch_reads_are_copies_row_by_row(writer, reader):
    for index in range(16):
        writer.table("quotes").write(index, quote(index))
    rows = np.zeros(5, Quote.dtype)
    assert reader.table("quotes").read_many(rows, start=3) is rows
    assert rows["bid"].tolist() == [3, 4, 5, 6, 7]
    writer.table("quotes").write(3, quote(77))
    assert rows["bid"][0] == 3


@pytest.mark.parametrize(
    ("rows", "start", "error"),
    [
        (np.zeros(17, Quote.dtype), 0, IndexError),
        (np.zeros(1, Quote.dtype), 16, IndexError),
        (np.zeros(1, Quote.dtype), -1, IndexError),
        (np.zeros(2, "f8"), 0, TypeError),
        (np.zeros(4, Quote.dtype)[::2], 0, (BufferError, ValueError)),
        ([1, 2], 0, AttributeError),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(reader, rows, start, error):
    with pytest.raises(error):
        reader.table("quotes").read_many(rows, start)


def test_a_read_only_array_is_not_written_to(reader):
    rows = np.zeros(2, Quote.dtype)
    rows.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        reader.table("quotes").read_many(rows)


@pytest.mark.parametrize("index", [-1, 16, 1 << 70])
def test_an_index_outside_the_table_is_refused(writer, reader, index):
    for call in (
        lambda: writer.table("quotes").write(index, Quote()),
        lambda: reader.table("quotes").read(index, Quote()),
        lambda: reader.table("quotes").seq(index),
        lambda: writer.table("quotes").clear(index),
    ):
        with pytest.raises((IndexError, OverflowError)):
            call()


def test_a_record_of_another_type_is_refused_and_named(writer):
    other = make_record_type("Other", np.dtype([("x", "f8")]))
    with pytest.raises(TypeError, match=r"Quote is wanted, not .*Other"):
        writer.table("quotes").write(0, other())
    with pytest.raises(TypeError, match="Quote is wanted, not int"):
        writer.table("quotes").write(0, 1)


def test_a_subclass_and_an_equal_record_type_are_accepted(writer, reader):
    class Sub(Quote):
        __slots__ = ()

    same = make_record_type("Twin", Quote.dtype)
    assert writer.table("quotes").write(0, Sub(bid=4)) == 1
    assert reader.table("quotes").read(0, out := same()) == 1
    assert out.bid == 4


def test_rule_5_payload_and_sequence_fill_whole_cache_lines():
    for itemsize in (8, 56, 64, 120, 128, 248):
        record = make_record_type("Sized", np.dtype([("body", "u8", (itemsize // 8,))]))
        cell = TableSpec("sized", record, 1).cell_size
        assert cell % 128 == 0
        assert cell // 2 >= itemsize + 8
        assert cell // 2 < itemsize + 8 + 64


def test_rule_1_every_section_begins_on_a_page():
    assert all(section.offset % mmap.PAGESIZE == 0 for section in LAYOUT.sections)
    ends = [section.offset + section.size for section in LAYOUT.sections]
    assert all(end <= following.offset for end, following in zip(ends, LAYOUT.sections[1:], strict=False))
