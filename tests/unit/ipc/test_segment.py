"""Segments: made whole or not at all, reused, replaced, retired, and never half-trusted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import posix_ipc
import pytest
from shared_segments import LAYOUT, Command, Event, Quote, Raw, event, line_of, quote, until

from latentspeed.ipc import (
    ClientSession,
    LayoutMismatch,
    OtherBoot,
    Park,
    RingSpec,
    SecondWriter,
    SegmentClosed,
    SegmentDamaged,
    SegmentLayout,
    SegmentNotFound,
    SegmentReader,
    SegmentRetired,
    SegmentState,
    SegmentWriter,
    SessionsSpec,
    SharedMemoryFull,
    TableSpec,
    WrongOwner,
    make_record_type,
    segment_exists,
    segment_names,
)
from latentspeed.ipc._core import TableWriter, Word

OTHER = SegmentLayout(tables=LAYOUT.tables, rings=(RingSpec("events", Event, 128),), abi_version=7)


def path_of(name):
    return f"/dev/shm/latentspeed.{name}"


# ---- making and reusing ----


def test_a_segment_is_made_with_its_fifo_and_nobody_else_may_open_either(writer, name):
    assert not writer.reused
    segment, bell = os.lstat(path_of(name)), os.lstat(path_of(name) + ".bell")
    assert stat.S_IMODE(segment.st_mode) == 0o600
    assert segment.st_size == LAYOUT.total_size
    assert segment.st_blocks * 512 >= LAYOUT.total_size, "every page is allocated"
    assert stat.S_ISFIFO(bell.st_mode)
    assert stat.S_IMODE(bell.st_mode) == 0o600
    assert name in segment_names()
    assert segment_exists(name)


def test_rule_4_the_mode_holds_under_any_umask(name):
    before = os.umask(0o777)
    try:
        writer = SegmentWriter.open(name, LAYOUT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.lstat(path_of(name)).st_mode) == 0o600
    assert stat.S_IMODE(os.lstat(path_of(name) + ".bell").st_mode) == 0o600
    writer.unlink()


def test_rule_24_a_gateway_begins_recovering_and_says_who_it_is(name):
    writer = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as reader:
        assert (reader.state, reader.epoch, reader.writer_pid) == (SegmentState.RECOVERING, 1, os.getpid())
        assert reader.heartbeat_mono_ns > 0
        writer.set_state(SegmentState.LIVE)
        assert reader.state is SegmentState.LIVE
        assert reader.writer_alive()
        writer.close()
        assert reader.state is SegmentState.STOPPING
        assert not reader.writer_alive()
    SegmentWriter.open(name, LAYOUT).unlink()


def test_rule_25_the_same_layout_is_reused_in_place(name):
    first = SegmentWriter.open(name, LAYOUT)
    inode = os.lstat(path_of(name)).st_ino
    first.last_nonce, first.last_incarnation = 1 << 60, 41
    first.table("quotes").write(0, quote(3))
    first.close()
    second = SegmentWriter.open(name, LAYOUT)
    assert second.reused
    assert os.lstat(path_of(name)).st_ino == inode
    assert (second.last_nonce, second.last_incarnation, second.epoch) == (1 << 60, 41, 2)
    assert second.table("quotes").read(0, Quote()) == 1
    second.unlink()


def test_readers_go_on_over_a_gateways_restart(name):
    first = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as reader:
        first.close()
        second = SegmentWriter.open(name, LAYOUT)
        second.table("quotes").write(1, quote(8))
        assert reader.table("quotes").read(1, out := Quote()) == 1
        assert out == quote(8)
        reader.check()
        second.unlink()


def test_rule_25_another_layout_is_retired_unlinked_and_made_anew(name):
    first = SegmentWriter.open(name, LAYOUT)
    reader = SegmentReader.attach(name, LAYOUT)
    inode = os.lstat(path_of(name)).st_ino
    first.close()
    second = SegmentWriter.open(name, OTHER)
    assert not second.reused
    assert os.lstat(path_of(name)).st_ino != inode
    assert second.epoch == 1
    with pytest.raises(SegmentRetired, match="attach again"):
        reader.check()
    assert reader.table("quotes").seq(0) == 0, "what was attached stays readable"
    with SegmentReader.attach(name, OTHER) as again:
        assert again.layout.abi_version == 7
    reader.close()
    second.unlink()


@pytest.mark.parametrize(
    "damage", ["zeroed", "truncated", "empty", "random", "half-built", "other boot", "schema", "magic", "bells"]
)
def test_rule_25_what_cannot_be_reused_is_replaced(name, damage):
    SegmentWriter.open(name, LAYOUT).close()
    size = LAYOUT.total_size
    with Raw(name) as raw:
        if damage == "zeroed":
            raw.fill(0, bytes(size))
        elif damage == "random":
            raw.fill(0, np.random.default_rng(1).bytes(size))
        elif damage == "half-built":
            raw.set_word(8, 0)
        elif damage == "other boot":
            raw.set_word(64, 1)
        elif damage == "magic":  # no reader would attach to it
            raw.set_word(0, 0)
        elif damage == "bells":  # the next version's gateway would look for them there
            raw.set_word(120, 0)
        elif damage == "schema":
            raw.fill(LAYOUT.sections[1].offset, b"{")
            raw.fill(LAYOUT.sections[1].offset + 1, b"x")
    if damage in ("truncated", "empty"):
        os.truncate(path_of(name), 100 if damage == "truncated" else 0)
    writer = SegmentWriter.open(name, LAYOUT)
    assert not writer.reused
    with SegmentReader.attach(name, LAYOUT) as reader:
        assert reader.epoch == 1
    writer.unlink()


def test_rule_25_an_object_is_never_truncated_or_resized(name, run_child):
    """A program that still maps the old object must not fault when a new one takes its name."""
    SegmentWriter.open(name, LAYOUT).close()
    child = run_child(
        "reader = SegmentReader.attach(sys.argv[1], LAYOUT)\n"
        "view = memoryview(reader.published)\n"
        "print('mapped', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(sum(view[i] for i in range(0, len(view), 512)) >= 0, reader.state.name, flush=True)\n",
        name,
    )
    assert line_of(child) == "mapped"
    writer = SegmentWriter.open(name, OTHER)
    child.stdin.write("go\n")
    child.stdin.flush()
    assert line_of(child) == "True RETIRED"
    writer.unlink()


def test_a_missing_fifo_is_made_again_by_the_next_gateway(name):
    SegmentWriter.open(name, LAYOUT).close()
    os.unlink(path_of(name) + ".bell")
    writer = SegmentWriter.open(name, LAYOUT)
    assert writer.reused
    assert stat.S_ISFIFO(os.lstat(path_of(name) + ".bell").st_mode)
    writer.unlink()


def test_unlink_retires_wakes_and_removes_both(writer, reader, name):
    writer.unlink()
    writer.unlink()
    assert not segment_exists(name)
    assert not os.path.exists(path_of(name) + ".bell")
    assert reader.state is SegmentState.RETIRED
    with pytest.raises(SegmentRetired):
        reader.check()


def test_a_closed_gateway_writes_no_more(name):
    writer = SegmentWriter.open(name, LAYOUT)
    ring, table, counter = writer.ring("events"), writer.table("quotes"), writer.counter("orders")
    writer.close()
    writer.close()
    for call in (
        lambda: ring.publish(event(1)),
        lambda: table.write(0, quote(1)),
        counter.add,
        lambda: writer.set_state(SegmentState.LIVE),
        writer.beat,
    ):
        with pytest.raises(SegmentClosed):
            call()
    SegmentWriter.open(name, LAYOUT).unlink()


def test_a_gateway_that_fails_while_making_a_segment_leaves_nothing(name, monkeypatch):
    monkeypatch.setattr("latentspeed.ipc.segment_writer.make_bell", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        SegmentWriter.open(name, LAYOUT)
    assert not segment_exists(name)
    monkeypatch.undo()
    SegmentWriter.open(name, LAYOUT).unlink()


# ---- one writer ----


def test_a_second_gateway_is_refused_and_told_who_is_there(writer, name):
    with pytest.raises(SecondWriter, match=f"process {os.getpid()} holds") as second:
        SegmentWriter.open(name, LAYOUT)
    assert second.value.pid == os.getpid()
    with pytest.raises(SecondWriter):
        SegmentWriter.open(name, OTHER)
    assert writer.state is SegmentState.LIVE


def test_a_killed_gateway_can_be_followed_at_once(name, run_child):
    child = run_child(
        "writer = SegmentWriter.open(sys.argv[1], LAYOUT)\nprint('open', flush=True)\nsys.stdin.readline()\n", name
    )
    assert line_of(child) == "open"
    with pytest.raises(SecondWriter, match=f"process {child.pid} "):
        SegmentWriter.open(name, LAYOUT)
    run_child.kill(child)
    writer = SegmentWriter.open(name, LAYOUT)
    assert (writer.reused, writer.epoch) == (True, 2)
    writer.unlink()


def test_of_many_gateways_started_at_once_exactly_one_serves(name):
    won: list[SegmentWriter] = []
    lost: list[BaseException] = []
    gate = threading.Barrier(12)

    def start() -> None:
        gate.wait()
        try:
            won.append(SegmentWriter.open(name, LAYOUT))
        except SecondWriter as error:
            lost.append(error)

    threads = [threading.Thread(target=start) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 11)
    won[0].unlink()


def test_rule_25_the_name_is_compared_with_the_object_after_locking(name, monkeypatch):
    """Between open and lock the segment is replaced: the newcomer must not serve the old object."""
    from latentspeed.ipc import segment_writer

    SegmentWriter.open(name, LAYOUT).close()
    real, replaced = segment_writer.open_object, []

    def open_then_replace(wanted, *, writable):
        fd = real(wanted, writable=writable)
        if writable and not replaced:
            replaced.append(True)
            posix_ipc.unlink_shared_memory(f"/latentspeed.{name}")
            os.unlink(path_of(name) + ".bell")
            monkeypatch.undo()
            SegmentWriter.open(name, OTHER).close()
        return fd

    monkeypatch.setattr(segment_writer, "open_object", open_then_replace)
    writer = SegmentWriter.open(name, OTHER)
    assert writer.reused
    assert writer.epoch == 2
    writer.unlink()


# ---- room ----


def test_rule_5_too_little_room_is_said_with_the_figures_before_anything_is_made(name, monkeypatch):
    class Small:
        f_bavail, f_frsize = 3, 4096

    monkeypatch.setattr("latentspeed.ipc.segment.os.statvfs", lambda path: Small)
    with pytest.raises(SharedMemoryFull, match="12,288 are free") as full:
        SegmentWriter.open(name, LAYOUT)
    assert (full.value.needed, full.value.available) == (LAYOUT.total_size, 12288)
    assert not segment_exists(name)


def test_room_that_vanishes_while_the_pages_are_taken_is_said_too(name, monkeypatch):
    def full(fd, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("latentspeed.ipc.segment.os.posix_fallocate", full)
    with pytest.raises(SharedMemoryFull, match="--shm-size"):
        SegmentWriter.open(name, LAYOUT)
    assert not segment_exists(name)


def test_a_segment_larger_than_shared_memory_is_refused(name):
    free = os.statvfs("/dev/shm")
    count = free.f_bavail * free.f_frsize // 128 + 1
    with pytest.raises(SharedMemoryFull):
        SegmentWriter.open(name, SegmentLayout(tables=(TableSpec("huge", Quote, count),)))
    assert not segment_exists(name)


# ---- attaching ----


def test_a_missing_segment_is_said_at_once(name):
    with pytest.raises(SegmentNotFound, match="is its gateway running"):
        SegmentReader.attach(name, LAYOUT)


def test_a_reader_can_wait_for_a_gateway_to_come(name):
    threading.Timer(0.05, lambda: made.append(SegmentWriter.open(name, LAYOUT))).start()
    made: list[SegmentWriter] = []
    with SegmentReader.attach(name, LAYOUT, timeout_s=10, wait=True) as reader:
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
        SegmentReader.attach(name, LAYOUT, timeout_s=10).close()
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


# ---- read-only is read-only ----


def test_rule_1_what_a_reader_maps_cannot_be_written_through_any_call(reader):
    mapping = reader.published
    assert not mapping.writable
    assert memoryview(mapping).readonly
    for call in (
        lambda: TableWriter(mapping, LAYOUT.sections[2].offset, 16, Quote, "quotes"),
        lambda: Word(mapping, 192).store(1),
        lambda: Word(mapping, 192).add(1),
        lambda: mapping.fill(0, b"x"),
        lambda: np.frombuffer(mapping, "u1").setflags(write=True),
        lambda: memoryview(mapping).__setitem__(0, 1),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()


def test_rule_3_not_even_the_gateway_exposes_a_writable_view(writer):
    assert memoryview(writer._mapping).readonly


@pytest.mark.parametrize(
    ("offset", "signal"),
    [
        ("reader.published, 192", -11),
        ("session._block, 0", 0),
    ],
)
def test_rule_1_the_kernel_stops_a_wild_write_outside_the_own_block(writer, offset, signal):
    """A child writes through a raw address: into published pages it dies, into its own block it may."""
    code = f"""
import ctypes, sys, threading
sys.path.insert(0, {os.path.dirname(__file__)!r})
from shared_segments import *
reader = SegmentReader.attach({writer.name!r}, LAYOUT)
session = ClientSession.claim(reader, name="wild", timeout_s=20)
mapping, at = {offset}
address = np.frombuffer(mapping, "u1").ctypes.data + at
print("ready", flush=True)
ctypes.memset(address, 1, 1)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    until(lambda: writer.sessions[0].has_claim() and writer.sessions[0].activate(None, 1), "the claim")
    assert child.communicate(timeout=20)[0] == "ready\n"
    assert child.returncode == signal
    assert writer.state is SegmentState.LIVE


def test_rule_5_gateway_and_client_never_write_to_one_cache_line(writer, reader, session, name):
    """Watched: the whole segment, before and after whatever each of them does with an active session."""
    gateway, out = writer.sessions[0], Command()
    park = Park([reader.ring("events").reader()], spin_us=0)
    clients = [
        lambda: session.queue.push(Command(kind=1)),
        session.beat,
        session.request_cancel_all,
        lambda: session.table("book").write(0, quote(1)),
        lambda: park.wait(0.001),
    ]
    gateways = [
        lambda: (gateway.queue.peek(out), gateway.queue.advance()),
        lambda: setattr(gateway, "cancel_all_served", 1),
        lambda: writer.table("quotes").write(0, quote(1)),
        lambda: writer.ring("trades").publish(event(1)),
        lambda: writer.counter("orders").add(),
        lambda: writer.histogram("latency").record(5),
        lambda: writer.error_log.record("E", "text"),
        lambda: (writer.doorbell.begin_drain(), writer.doorbell.arm()),
        lambda: setattr(writer, "last_nonce", 5),
        writer.beat,
        writer.wake_all,
        lambda: writer.set_state(SegmentState.STOPPING),
        gateway.drain,
    ]
    with Raw(name) as raw:
        client_lines, gateway_lines = lines_written(raw, clients), lines_written(raw, gateways)
        assert len(client_lines) >= 6
        assert len(gateway_lines) >= 14
        assert not client_lines & gateway_lines
        published = LAYOUT.published_size // 64
        assert all(line >= published for line in client_lines)
        # the one word that both write, in a line of its own: readers arm, the writer clears
        flag = (raw.bells + 64) // 64
        assert flag in client_lines
        writer.ring("events").publish(event(1))
        assert raw.bytes(64 * flag, 64) == bytes(64)


def lines_written(raw, operations):
    """The cache lines that change while these run."""
    lines = set()
    for operation in operations:
        before = np.frombuffer(raw.bytes(0, LAYOUT.total_size), "u1").reshape(-1, 64)
        operation()
        after = np.frombuffer(raw.bytes(0, LAYOUT.total_size), "u1").reshape(-1, 64)
        lines |= set(np.nonzero((before != after).any(axis=1))[0].tolist())
    return lines


def test_a_reader_keeps_its_memory_as_long_as_anything_uses_it(name):
    writer = SegmentWriter.open(name, LAYOUT)
    reader = SegmentReader.attach(name, LAYOUT)
    table, ring = reader.table("quotes"), reader.ring("events").reader()
    writer.table("quotes").write(0, quote(1))
    writer.ring("events").publish(event(1))
    view = memoryview(reader.published)
    reader.close()
    writer.unlink()
    del reader, writer
    assert table.read(0, out := Quote()) == 1
    assert out == quote(1)
    assert ring.read(Event()) == 1
    assert view[192] == SegmentState.RETIRED


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
        target=lambda: claimed.append(ClientSession.claim(name, name="byname", layout=LAYOUT, timeout_s=10))
    )
    thread.start()
    until(lambda: writer.sessions[0].has_claim() and writer.sessions[0].activate(None, 1), "the claim")
    thread.join()
    claimed[0].queue.push(Command())
    claimed[0].close()
    assert not writer.sessions[0].is_locked()
