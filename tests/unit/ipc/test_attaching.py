"""Attaching: a segment is read as what it is, or refused; and what an inspector learns from the segment alone."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from shared_segments import LAYOUT, OTHER, Command, Event, Quote, Raw, event, path_of, quote, until

from latentspeed.ipc import (
    ClientSession,
    LayoutMismatch,
    OtherBoot,
    RingSpec,
    SegmentDamaged,
    SegmentLayout,
    SegmentNotFound,
    SegmentReader,
    SegmentRetired,
    SegmentState,
    SegmentWriter,
    SessionsSpec,
    TableSpec,
    WrongOwner,
    make_record_type,
    segment_exists,
)


def test_a_missing_segment_is_said_at_once(name):
    with pytest.raises(SegmentNotFound, match="is its gateway running"):
        SegmentReader.attach(name, LAYOUT)


def test_a_reader_can_wait_for_a_gateway_to_come(name):
    threading.Timer(0.05, lambda: made.append(SegmentWriter.open(name, LAYOUT))).start()
    made: list[SegmentWriter] = []
    with SegmentReader.attach(name, LAYOUT, timeout_s=60, wait=True) as reader:
        assert reader.epoch == 1
    until(lambda: made)
    made[0].unlink()


def test_a_half_built_segment_is_waited_for_and_then_said(name):
    SegmentWriter.open(name, LAYOUT).close()
    with Raw(name) as raw:
        version = raw.word(8)
        raw.set_word(8, 0)
        started = time.monotonic()
        with pytest.raises(SegmentDamaged, match="half-built"):
            SegmentReader.attach(name, LAYOUT, timeout_s=0.03)
        assert time.monotonic() - started >= 0.03
        threading.Timer(0.03, lambda: raw.set_word(8, version)).start()
        SegmentReader.attach(name, LAYOUT, timeout_s=60).close()
    SegmentWriter.open(name, LAYOUT).unlink()


def test_a_retired_segment_is_not_attached(name):
    SegmentWriter.open(name, LAYOUT).close()
    with Raw(name) as raw:
        raw.set_word(192, SegmentState.RETIRED)
    with pytest.raises(SegmentRetired, match="nothing has taken its place"):
        SegmentReader.attach(name, LAYOUT, timeout_s=0.02)
    SegmentWriter.open(name, LAYOUT).unlink()


def test_another_layout_is_refused_naming_both_sides(writer, name):
    with pytest.raises(LayoutMismatch) as mismatch:
        SegmentReader.attach(name, OTHER)
    assert "records 7" in mismatch.value.ours
    assert OTHER.layout_hash[:12] in mismatch.value.ours
    assert "records 1" in mismatch.value.theirs
    assert LAYOUT.layout_hash[:12] in mismatch.value.theirs


def test_a_later_format_is_refused_whatever_else_it_says(writer, name):
    with Raw(name) as raw:
        before = raw.bytes(0, 192)
        raw.set_word(8, 99)
        raw.fill(16, b"\xee" * 100)
        for layout in (LAYOUT, None):
            with pytest.raises(LayoutMismatch, match="format 99"):
                SegmentReader.attach(name, layout)
        raw.fill(0, before)


def test_rule_31_a_segment_of_another_boot_is_refused(writer, name):
    with Raw(name) as raw:
        word = raw.word(64)
        raw.set_word(64, word ^ 1)
        with pytest.raises(OtherBoot, match="it is dead"):
            SegmentReader.attach(name, LAYOUT)
        raw.set_word(64, word)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606, 0o777])
def test_rule_4_a_segment_that_others_may_open_is_refused(name, mode):
    SegmentWriter.open(name, LAYOUT).close()
    os.chmod(path_of(name), mode)
    for call in (lambda: SegmentReader.attach(name, LAYOUT), lambda: SegmentWriter.open(name, LAYOUT)):
        with pytest.raises(WrongOwner, match="0600 is wanted"):
            call()
    os.chmod(path_of(name), 0o600)
    SegmentWriter.open(name, LAYOUT).unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_rule_4_another_users_segment_is_refused(name):
    SegmentWriter.open(name, LAYOUT).close()
    os.chown(path_of(name), 12345, 12345)
    for call in (lambda: SegmentReader.attach(name, LAYOUT), lambda: SegmentWriter.open(name, LAYOUT)):
        with pytest.raises(WrongOwner, match="belongs to user 12345"):
            call()
    os.chown(path_of(name), 0, 0)
    SegmentWriter.open(name, LAYOUT).unlink()


def test_rule_4_a_link_is_not_followed(name, tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(bytes(LAYOUT.total_size))
    target.chmod(0o600)
    os.symlink(target, path_of(name))
    for call in (lambda: SegmentReader.attach(name, LAYOUT), lambda: SegmentWriter.open(name, LAYOUT)):
        with pytest.raises(WrongOwner, match="cannot be opened"):
            call()
    assert target.read_bytes() == bytes(LAYOUT.total_size)


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "../x", "a b", "x" * 65, "a\0", "é", "-x", "x.bell", ".x"])
def test_a_name_that_cannot_be_one_is_refused(bad):
    for call in (lambda: SegmentReader.attach(bad), lambda: SegmentWriter.open(bad, LAYOUT)):
        with pytest.raises(ValueError, match="segment name"):
            call()


def test_rule_4_a_doorbell_that_cannot_be_ours_is_refused_and_nothing_is_left(name):
    bell = path_of(name) + ".bell"
    os.mkdir(bell)
    with pytest.raises(WrongOwner, match="cannot be replaced"):
        SegmentWriter.open(name, LAYOUT)
    assert not segment_exists(name)
    os.rmdir(bell)
    SegmentWriter.open(name, LAYOUT).close()
    os.chmod(bell, 0o622)
    with pytest.raises(WrongOwner, match="0600 is wanted"):
        SegmentWriter.open(name, LAYOUT)
    os.chmod(bell, 0o600)
    SegmentWriter.open(name, LAYOUT).unlink()


# ---- the inspector ----


def test_an_inspector_needs_nothing_but_the_segment(writer, name, session):
    writer.table("quotes").write(4, quote(6))
    writer.ring("events").publish(event(7))
    with SegmentReader.attach(name) as inspector:
        assert inspector.layout.layout_hash == LAYOUT.layout_hash
        quotes = inspector.layout.table("quotes")
        record = quotes.record_type()
        assert inspector.table("quotes").read(4, record) == 1
        assert record.as_dict() == quote(6).as_dict()
        ring = inspector.ring("events").reader(writer.ring("events").tail - 1)
        assert ring.read(out := ring.record_type()) == 1
        assert (out.number, out.body.tolist()) == (7, [7] * 13)
        assert inspector.sessions_info()[0].claim.name == "tester"
        session.queue.push(Command())
        assert inspector.queue_depth(0) == 1
        sections = {section.name: section for section in inspector.layout.sections}
        assert {"quotes", "events", "trades", "sessions", "blocks", "schema"} <= set(sections)


def test_the_directory_in_the_segment_names_every_section(writer, name):
    import struct

    with Raw(name) as raw:
        offset, count = raw.word(88), raw.word(96)
        found = [struct.unpack("=32sIIQQQ", raw.bytes(offset + 64 * i, 64)) for i in range(count)]
    assert [(entry[0].rstrip(b"\0").decode(), entry[3]) for entry in found] == [
        (section.name, section.offset) for section in LAYOUT.sections
    ]


def test_equal_layouts_have_one_hash_and_any_change_another():
    def layout(**changes):
        return SegmentLayout(**{"tables": LAYOUT.tables, "rings": LAYOUT.rings, "sessions": LAYOUT.sessions} | changes)

    renamed = make_record_type(
        "Quote", np.dtype([("bid", "f8"), ("offer", "f8"), ("pair", "S16"), ("time_ns", "i8"), ("body", "u8", (2,))])
    )
    others = [
        layout(abi_version=2),
        layout(counters=9),
        layout(tables=(TableSpec("quotes", Quote, 17),)),
        layout(tables=(TableSpec("quotes", renamed, 16),)),
        layout(rings=LAYOUT.rings[::-1]),
        layout(sessions=None),
        layout(sessions=SessionsSpec(4, Command, 64)),
    ]
    hashes = {layout().layout_hash, *(other.layout_hash for other in others)}
    assert len(hashes) == 1 + len(others)
    assert layout().layout_hash == layout().layout_hash
    for other in others:
        assert SegmentLayout.from_schema(other.schema).layout_hash == other.layout_hash


@pytest.mark.parametrize(
    "build",
    [
        lambda: SegmentLayout(tables=(TableSpec("a", Quote, 1), TableSpec("a", Quote, 1))),
        lambda: SegmentLayout(rings=(RingSpec("a", Event, 8), RingSpec("a", Event, 8))),
        lambda: TableSpec("", Quote, 1),
        lambda: TableSpec("x" * 32, Quote, 1),
        lambda: TableSpec("a", Quote, 0),
        lambda: SegmentLayout(counters=0),
        lambda: SegmentLayout(abi_version=0),
        lambda: SegmentLayout(tables=tuple(TableSpec(f"t{i}", Quote, (1 << 32) - 1) for i in range(4))),
    ],
)
def test_a_layout_that_cannot_be_is_refused(build):
    with pytest.raises(ValueError, match=r"called|name|count|abi_version|too large"):
        build()


def test_unknown_names_are_refused_naming_the_known(writer, reader):
    with pytest.raises(KeyError, match="quotes"):
        writer.table("quote")
    with pytest.raises(KeyError, match="events"):
        reader.ring("event")
    with pytest.raises(ValueError, match="without a session"):
        reader.bell("events")


def test_a_claim_by_name_attaches_and_closes_for_itself(writer, name):
    claimed: list[ClientSession] = []
    thread = threading.Thread(
        target=lambda: claimed.append(ClientSession.claim(name, name="byname", layout=LAYOUT, timeout_s=60))
    )
    thread.start()
    until(lambda: writer.sessions[0].has_claim() and writer.sessions[0].activate(None, 1), "the claim")
    thread.join()
    claimed[0].queue.push(Command())
    claimed[0].close()
    assert not writer.sessions[0].is_locked()


@pytest.mark.parametrize("slot", [-1, 64, 2**40])
def test_a_session_slot_that_is_not_there_is_an_error_and_no_crash(reader, slot):
    for ask in (reader.session_info, reader.queue_depth, reader.session_heartbeat_mono_ns):
        with pytest.raises(IndexError, match=f"slot {slot} is not in"):
            ask(slot)
    with pytest.raises(KeyError):
        reader.session_table(slot, "book")
