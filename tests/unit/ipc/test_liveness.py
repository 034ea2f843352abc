"""Kernel locks say who lives; pids, start times and clocks only name and time it."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from pathlib import Path

import pytest
from shared_segments import LAYOUT, Raw, line_of, until

from latentspeed.ipc import (
    ByteLock,
    ClockPair,
    SegmentNotFound,
    SegmentReader,
    SegmentWriter,
    boot_id,
    clean,
    hold_supervisor_byte,
    pid_start_time,
    segment_exists,
)
from latentspeed.ipc._core import fork_count
from latentspeed.ipc.liveness import LockProbe, open_pidfd


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "object"
    path.write_bytes(bytes(4096))
    return path


@pytest.fixture
def probe(file):
    asker = LockProbe(os.open(file, os.O_RDONLY))
    yield asker
    asker.close()


def test_rule_27_a_byte_is_held_by_one_description_at_a_time(file, probe):
    first, second = ByteLock(file, 5), ByteLock(file, 5)
    assert first.try_lock()
    assert not second.try_lock()
    assert probe.is_locked(5)
    assert not probe.is_locked(4)
    assert ByteLock(file, 6).try_lock()
    first.release()
    first.release()
    assert not probe.is_locked(5)
    assert second.try_lock()
    second.release()


def test_rule_27_closing_another_descriptor_of_the_file_does_not_drop_the_lock(file, probe):
    """As it would with the older kind of lock."""
    lock = ByteLock(file, 0)
    assert lock.try_lock()
    os.close(os.open(file, os.O_RDWR))
    assert probe.is_locked(0)
    lock.release()


def test_rule_27_a_probe_asks_about_a_write_lock_and_takes_nothing(file, probe):
    assert not probe.is_locked(0)
    lock = ByteLock(file, 0)
    assert lock.try_lock(), "probing left no lock behind"
    lock.release()


def test_rule_27_a_lock_descriptor_is_closed_on_exec_and_not_inherited_by_fork(file, probe):
    lock = ByteLock(file, 3)
    assert lock.try_lock()
    assert fcntl.fcntl(lock.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    number = lock.fd
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        # the number itself may be another file's by now
        link = f"/proc/self/fd/{number}"
        os.write(send, b"open " if os.path.islink(link) and os.readlink(link) == str(file) else b"closed ")
        try:
            lock.fd  # noqa: B018
        except ValueError:
            os.write(send, b"refused ")
        lock.release()
        os.write(send, str(fork_count()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receive, 100) == f"closed refused {fork_count() + 1}".encode()
    os.close(receive)
    os.close(send)
    assert probe.is_locked(3)
    lock.release()


def test_rule_27_a_mapping_does_not_keep_a_lock_alive(name):
    writer = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as reader:
        view = memoryview(writer._mapping)
        writer.close()
        assert not reader.writer_alive()
        assert len(view) == LAYOUT.total_size
    SegmentWriter.open(name, LAYOUT).unlink()


def test_a_stopped_gateway_still_holds_its_lock_and_its_heartbeat_stands_still(name, run_child):
    import signal

    child = run_child(
        """
writer = SegmentWriter.open(sys.argv[1], LAYOUT)
print("open", flush=True)
while True:
    writer.beat()
    time.sleep(0.001)
""",
        name,
    )
    assert line_of(child) == "open"
    with SegmentReader.attach(name, LAYOUT) as reader:
        first = reader.heartbeat_mono_ns
        until(lambda: reader.heartbeat_mono_ns > first, "a heartbeat")
        child.send_signal(signal.SIGSTOP)
        until(lambda: b"T" in Path(f"/proc/{child.pid}/stat").read_bytes().split(b")")[1][:3], "the stop")
        still = reader.heartbeat_mono_ns
        assert reader.writer_alive()
        assert reader.heartbeat_mono_ns == still
        run_child.kill(child)
        assert not reader.writer_alive()
    SegmentWriter.open(name, LAYOUT).unlink()


def test_a_process_has_a_start_time_and_a_gone_one_has_none():
    assert pid_start_time(os.getpid()) == pid_start_time(os.getpid())
    assert pid_start_time(2**31 - 1) is None
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert pid_start_time(child) is None
    assert open_pidfd(child, 1) is None


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**32 - 1])
def test_a_wild_pid_is_not_watched(pid):
    assert open_pidfd(pid, 1) is None


def test_the_boot_id_is_the_kernels():
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# ---- clocks ----


def test_rule_31_the_clock_pair_is_refreshed_with_each_heartbeat(writer, reader):
    pair = reader.clock_pair()
    assert abs(pair.mono_ns - time.monotonic_ns()) < 60e9
    assert abs((pair.utc_ns - pair.mono_ns) - (time.time_ns() - time.monotonic_ns())) < 1e9
    assert 0 <= pair.error_ns < 1e9
    writer.beat()
    assert reader.clock_pair().mono_ns > pair.mono_ns
    assert reader.heartbeat_mono_ns == reader.clock_pair().mono_ns


def test_a_clock_pair_brackets_the_realtime_read(monkeypatch):
    monotonic = iter([1000, 1010])
    monkeypatch.setattr("latentspeed.ipc.header.time.monotonic_ns", lambda: next(monotonic))
    monkeypatch.setattr("latentspeed.ipc.header.time.time_ns", lambda: 5000)
    assert ClockPair.now() == ClockPair(1005, 5000, 5)


# ---- clean ----


def test_rule_26_a_dead_segment_is_removed_with_its_fifo(name):
    SegmentWriter.open(name, LAYOUT).close()
    reader = SegmentReader.attach(name, LAYOUT)
    (result,) = clean(name)
    assert result.removed
    assert "nobody holds it" in result.reason
    assert not segment_exists(name)
    assert not os.path.exists(f"/dev/shm/latentspeed.{name}.bell")
    assert reader.state.name == "RETIRED"
    reader.close()
    assert not clean(name)[0].removed


def test_rule_26_a_living_gateway_is_left_alone(writer, reader, name):
    assert clean(name)[0] == (name, False, "its gateway lives")
    reader.check()


def test_rule_26_an_attached_session_is_left_alone(name):
    from shared_segments import Attached

    writer = SegmentWriter.open(name, LAYOUT)
    with SegmentReader.attach(name, LAYOUT) as reader, Attached(writer)(reader) as session:
        writer.close()
        assert clean(name)[0].reason == "a session is attached"
        session.check()
    assert clean(name)[0].removed


def test_rule_26_a_supervised_segment_is_left_alone(name):
    SegmentWriter.open(name, LAYOUT).close()
    held = hold_supervisor_byte(name)
    assert hold_supervisor_byte(name) is None
    with SegmentReader.attach(name, LAYOUT) as reader:
        assert reader.supervised()
    assert clean(name)[0].reason == "its supervisor lives"
    held.release()
    assert clean(name)[0].removed
    with pytest.raises(SegmentNotFound):
        hold_supervisor_byte(name)


def test_rule_26_a_segment_of_another_boot_is_dead_whatever_is_locked(name):
    SegmentWriter.open(name, LAYOUT).close()
    held = hold_supervisor_byte(name)
    with Raw(name) as raw:
        raw.set_word(64, raw.word(64) ^ 1)
    assert clean(name)[0] == (name, True, "it is of another boot")
    held.release()


@pytest.mark.parametrize(
    "content", [b"", b"short", bytes(8192), os.urandom(8192)], ids=["empty", "short", "zeros", "random"]
)
def test_rule_26_a_half_built_or_strange_object_is_removed(name, content):
    path = Path(f"/dev/shm/latentspeed.{name}")
    path.write_bytes(content)
    path.chmod(0o600)
    assert clean(name)[0].removed
    assert not path.exists()


def test_rule_26_an_object_that_others_may_open_is_reported_and_left(name):
    path = Path(f"/dev/shm/latentspeed.{name}")
    path.write_bytes(bytes(8192))
    path.chmod(0o644)
    result = clean(name)[0]
    assert not result.removed
    assert "0600 is wanted" in result.reason
    path.unlink()


def test_rule_26_a_segment_replaced_under_the_lock_is_left(name, monkeypatch):
    SegmentWriter.open(name, LAYOUT).close()
    replaced = []

    class Replacing(ByteLock):
        def try_lock(self) -> bool:
            if not replaced:
                os.unlink(self.path)
                os.unlink(str(self.path) + ".bell")
                replaced.append(SegmentWriter.open(name, LAYOUT))
            return super().try_lock()

    monkeypatch.setattr("latentspeed.ipc.cleaning.ByteLock", Replacing)
    assert clean(name)[0] == (name, False, "it was replaced meanwhile")
    replaced[0].unlink()


def test_clean_takes_a_doorbell_that_lost_its_segment(name):
    path = f"/dev/shm/latentspeed.{name}.bell"
    os.mkfifo(path, 0o600)
    assert not clean(name)[0].removed
    assert not os.path.exists(path)


def test_the_lock_bytes_are_where_every_version_looks_for_them(writer, session, name):
    fd = os.open(f"/dev/shm/latentspeed.{name}", os.O_RDONLY)
    held = []
    for byte in range(64):
        query = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        if struct.unpack("hhqqi0q", fcntl.fcntl(fd, fcntl.F_OFD_GETLK, query))[0] != fcntl.F_UNLCK:
            held.append(byte)
    os.close(fd)
    assert held == [0, 16]
