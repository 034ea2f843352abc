"""What every test shares: the reference material, and the rule that a test leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import psutil
import pytest

from latentspeed.ipc.liveness import WRITER_BYTE, is_locked

TESTS = Path(__file__).parent
FREE_OF_SHARED_MEMORY = (
    "integration/dydx_v4",
    "integration/hyperliquid",
    "integration/venue",
    "unit/connectors",
    "unit/venues",
)
ALWAYS_APART = "torture"  # its tests share no fixture, and each takes long
OBJECTS_BEFORE = pytest.StashKey[set[str]]()
IS_ALONE = pytest.StashKey[bool]()
CLONE_NEWNS, MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 0x20000, 2, 4, 0x4000, 1 << 18


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of recorded material that LATENTSPEED_REFERENCE names; skips where there is none."""
    folder = os.environ.get("LATENTSPEED_REFERENCE")
    if not folder:
        pytest.skip("LATENTSPEED_REFERENCE is not set: the recorded reference material is not on this machine")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"LATENTSPEED_REFERENCE={folder} is not a folder")
    return path


def shared_memory_objects() -> set[str]:
    """The project's objects in /dev/shm, without those of another program's living gateway."""
    return {entry for entry in os.listdir("/dev/shm") if "latentspeed" in entry and not belongs_to_others(entry)}


def belongs_to_others(entry: str) -> bool:
    """Whether a process that no test started holds the writer's lock of a segment, or made one a moment ago."""
    try:
        probe = os.open(f"/dev/shm/{entry.removesuffix('.bell')}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return is_locked(probe, WRITER_BYTE)
    finally:
        os.close(probe)


@pytest.fixture(scope="session", autouse=True)
def adopt_orphans():
    """Makes this process the parent of whatever a killed child leaves behind, so that it can be found."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def pytest_configure(config):
    """One of several workers tries to get a /dev/shm of its own, in which nobody else's objects come and go."""
    config.stash[IS_ALONE] = not hasattr(config, "workerinput") or has_own_shared_memory()


def has_own_shared_memory() -> bool:
    """Mounts an empty /dev/shm that only this thread and its children see; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    return (
        libc.unshare(CLONE_NEWNS) == 0
        and libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        and libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=1777") == 0
    )


def pytest_itemcollected(item):
    """What uses shared memory stays together: file by file, or all of it where the workers share one /dev/shm."""
    if not hasattr(item.config, "workerinput") or is_free_of_shared_memory(item.path):
        return
    if not item.config.stash[IS_ALONE]:
        item.add_marker(pytest.mark.xdist_group("shared-memory"))
    elif not item.path.is_relative_to(TESTS / ALWAYS_APART):
        item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(TESTS))))


def is_free_of_shared_memory(path: Path) -> bool:
    """Whether the tests of a file make no shared memory: those of connectors and venues."""
    return any(path.is_relative_to(TESTS / folder) for folder in FREE_OF_SHARED_MEMORY)


def pytest_sessionstart(session):
    """Notes what is in /dev/shm before any test."""
    session.config.stash[OBJECTS_BEFORE] = shared_memory_objects()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Fails a run that leaves more in /dev/shm than there was, whichever test it was."""
    if hasattr(session.config, "workerinput"):
        return  # The others may still be at work.
    left = shared_memory_objects() - session.config.stash[OBJECTS_BEFORE]
    if left:
        print(f"\nleft in /dev/shm: {sorted(left)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def nothing_left_behind(request, adopt_orphans):
    """Fails a test that leaves an object of ours in /dev/shm or a process of its own."""
    is_shared = not request.config.stash[IS_ALONE] and is_free_of_shared_memory(request.path)
    # Beside other workers, what comes and goes in /dev/shm is theirs.
    objects = None if is_shared else shared_memory_objects()
    processes = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = set() if objects is None else shared_memory_objects() - objects
    deadline = time.monotonic() + 15.0
    while left and time.monotonic() < deadline:  # another program may be starting or ending its gateway just now
        time.sleep(0.05)
        left &= shared_memory_objects()
    assert not left, f"left in /dev/shm: {sorted(left)}"
    running = [child for child in psutil.Process().children(recursive=True) if child.pid not in processes]
    # An orphan that has ended waits for its adopted parent to take note.
    _, alive = psutil.wait_procs(running, timeout=15.0)
    assert not alive, f"left running: {[(child.pid, child.name()) for child in alive]}"
