"""Segments: made whole or not at all, reused, replaced, retired; one gateway serves, and says when there is no room."""

from __future__ import annotations

import os
import stat
import threading

import numpy as np
import posix_ipc
import pytest
from shared_segments import LAYOUT, OTHER, Quote, Raw, event, line_of, path_of, quote

from latentspeed.ipc import (
    SecondWriter,
    SegmentClosed,
    SegmentLayout,
    SegmentReader,
    SegmentRetired,
    SegmentState,
    SegmentWriter,
    SharedMemoryFull,
    TableSpec,
    segment_exists,
    segment_names,
)

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
        writer.wake_all,
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
