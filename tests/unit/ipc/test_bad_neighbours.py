"""What others may do to a segment or beside it: each ends in a clear error or in a clean recovery.

docs/shared-memory.md has the whole list, with the tests of the other files.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shared_segments import LAYOUT, Attached, Command, Event, Quote, Raw, event, line_of, quote, until

from latentspeed.ipc import (
    Lapped,
    SecondWriter,
    SegmentWriter,
    SessionFenced,
    SessionState,
    WrongOwner,
    pid_start_time,
)

INTENT, TAIL = 0, 128
HOUR_OF_RECORDS = 3600 * 50_000


# ---- a full /dev/shm, a real one ----

FULL = """
import os, sys
sys.path.insert(0, sys.argv[1])
from shared_segments import *
from latentspeed.ipc import SharedMemoryFull
first = SegmentWriter.open("first", LAYOUT)
before = sorted(os.listdir("/dev/shm"))
try:
    SegmentWriter.open("second", LAYOUT)
except SharedMemoryFull as full:
    print(full.needed == LAYOUT.total_size, 0 <= full.available < full.needed, "--shm-size" in str(full))
print(sorted(os.listdir("/dev/shm")) == before)
for number in range(200):  # every page of the one that stands is there: no SIGBUS, however full it is
    first.table("quotes").write(number % 16, quote(number))
    first.ring("events").publish(event(number))
first.unlink()
del first  # and with it the mapping, which holds the pages
SegmentWriter.open("second", LAYOUT).unlink()
print(os.listdir("/dev/shm"))
"""


def can_have_its_own_shared_memory() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def test_rule_5_a_full_dev_shm_is_said_and_disturbs_no_segment_that_stands():
    """In a mount namespace of its own, on a tmpfs with room for one segment and a half."""
    if not can_have_its_own_shared_memory():
        pytest.skip("mounting a small /dev/shm takes root and the right to unshare mounts")
    size = LAYOUT.total_size * 3 // 2 & ~4095
    script = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", FULL, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["True True True", "True", "[]"]


# ---- a reader and a client that stop for an hour ----


def test_rule_7_a_reader_that_slept_for_an_hour_is_told_every_record_and_goes_on(writer, reader, name):
    """The cursors are moved as fifty thousand records a second for an hour would move them."""
    rings = [reader.ring("events").reader() for _ in range(2)]
    writer.table("quotes").write(3, quote(1))
    with Raw(name) as raw:
        for word in (INTENT, TAIL):
            raw.set_word(raw.ring("events") + word, raw.word(raw.ring("events") + word) + HOUR_OF_RECORDS)
    writer.ring("events").publish(event(1))
    for ring, read in (
        (rings[0], lambda: rings[0].read(Event())),
        (
            rings[1],
            lambda: rings[1].read_many(np.zeros(4, Event.dtype)),
        ),
    ):
        with pytest.raises(Lapped) as lap:
            read()
        assert lap.value.lost == HOUR_OF_RECORDS + 1
        assert (ring.available, ring.laps) == (0, 1)
    writer.ring("events").publish(event(2))
    assert rings[0].read(out := Event()) == 1
    assert out.number == 2
    assert reader.table("quotes").read(3, latest := Quote()) == 1
    assert latest == quote(1), "what it missed is in the tables"


def test_a_client_that_was_stopped_and_given_up_is_refused_when_it_wakes(writer, run_child):
    """However long it was: the generation decides, not a clock."""
    child = run_child(
        """
session = ClientSession.claim(sys.argv[1], name="sleeper", layout=LAYOUT, timeout_s=60)
print("ready", flush=True)
sys.stdin.readline()
try:
    session.queue.push(Command())
except Exception as error:
    print(type(error).__name__, flush=True)
sys.stdin.readline()
""",
        writer.name,
    )
    gateway = until(lambda: next((s for s in writer.sessions if s.has_claim()), None), "the claim")
    gateway.activate(None, 1)
    assert line_of(child) == "ready"
    child.send_signal(signal.SIGSTOP)
    until(lambda: "T (stopped)" in Path(f"/proc/{child.pid}/status").read_text(), "the stop")
    gateway.drain()
    assert gateway.free() == 0
    child.send_signal(signal.SIGCONT)
    child.stdin.write("go\n")
    assert line_of(child) == SessionFenced.__name__
    assert gateway.queue.depth == 0
    assert gateway.is_locked(), "its slot is not given away while it lives"


# ---- a session that dies holding a half-written command ----


def test_rule_11_a_half_written_command_of_a_killed_client_is_nobodys(writer, reader, run_child):
    """It dies between two words of the body, at its third command."""
    child = run_child(
        """
import ctypes, os, signal
session = ClientSession.claim(sys.argv[1], name="mortal", layout=LAYOUT, timeout_s=60)
session.queue.push(Command(kind=1))
session.queue.push(Command(kind=2))
half = (2).to_bytes(8, "little") + b"\x77" * 24
ctypes.memmove(np.frombuffer(session._block, "u1").ctypes.data + 384 + 2 * Command.itemsize, half, len(half))
print("half", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""",
        writer.name,
    )
    gateway = until(lambda: next((s for s in writer.sessions if s.has_claim()), None), "the claim")
    gateway.activate(None, 1)
    assert line_of(child) == "half"
    child.wait(60)
    assert not gateway.is_locked()
    assert gateway.queue.depth == 2
    gateway.drain()
    for kind in (1, 2):
        assert gateway.queue.peek(out := Command())
        assert (out.kind, out.generation) == (kind, 1)
        gateway.queue.advance()
    assert not gateway.queue.peek(Command())
    assert gateway.free() == 0
    assert gateway.state is SessionState.FREE
    with Attached(writer)(reader) as session:
        assert (session.slot, session.generation) == (0, 2)
        session.queue.push(Command(kind=3))
        assert gateway.queue.peek(out := Command())
        assert (out.kind, out.command_index, out.generation) == (3, 2, 2)


# ---- pid reuse ----


def test_a_pid_that_was_given_to_another_process_is_not_called_the_gateway(writer, name):
    """The lock says that there is one; the header's pid with another start time does not name it."""
    with Raw(name) as raw:
        raw.set_word(272, pid_start_time(os.getpid()) + 1)
    with pytest.raises(SecondWriter) as second:
        SegmentWriter.open(name, LAYOUT)
    assert second.value.pid == 0


# ---- a doorbell that is not ours ----


@pytest.mark.parametrize("what", ["a file", "a link", "a folder", "open to others"])
def test_rule_4_a_doorbell_that_is_not_our_fifo_is_refused_by_gateway_and_client(writer, reader, name, what, tmp_path):
    path = Path(f"/dev/shm/latentspeed.{name}.bell")
    path.unlink()
    if what == "a file":
        path.touch(0o600)
    elif what == "a link":
        os.mkfifo(tmp_path / "bell", 0o600)
        path.symlink_to(tmp_path / "bell")
    elif what == "a folder":
        path.mkdir(0o700)
    else:
        os.mkfifo(path)
        path.chmod(0o622)
    attach = Attached(writer)
    with pytest.raises(WrongOwner, match=path.name):
        attach(reader)
    writer.close()
    with pytest.raises(WrongOwner, match=path.name):
        SegmentWriter.open(name, LAYOUT)
    path.rmdir() if what == "a folder" else path.unlink()
    with SegmentWriter.open(name, LAYOUT) as again:
        assert stat.S_ISFIFO(path.lstat().st_mode)
        again.unlink()


# ---- what rule 25 rules out among ourselves ----


def test_a_strangers_truncation_ends_the_reader_by_a_signal_and_the_next_gateway_makes_a_new_segment(name, run_child):
    """Nothing in user space can turn that into an error; no program of ours ever does it."""
    SegmentWriter.open(name, LAYOUT).close()
    child = run_child(
        """
reader = SegmentReader.attach(sys.argv[1], LAYOUT)
print("attached", flush=True)
sys.stdin.readline()
reader.table("quotes").read(0, Quote())
""",
        name,
    )
    assert line_of(child) == "attached"
    os.truncate(f"/dev/shm/latentspeed.{name}", 4096)
    child.stdin.write("go\n")
    assert child.wait(60) == -signal.SIGBUS
    writer = SegmentWriter.open(name, LAYOUT)
    assert not writer.reused
    writer.unlink()
