"""Fixtures of the shared-memory tests. Everything made here is gone after the test."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from shared_segments import DEADLINE_S, LAYOUT, Attached, Children, fresh_name

from latentspeed.ipc import SegmentReader, SegmentState, SegmentWriter


@pytest.fixture
def name():
    """A segment name of this test's own; what is left of it is removed, and that is a failure elsewhere."""
    unique = fresh_name()
    yield unique
    for suffix in ("", ".bell"):
        path = Path(f"/dev/shm/latentspeed.{unique}{suffix}")
        with contextlib.suppress(FileNotFoundError):
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def writer(name):
    """A LIVE gateway's segment."""
    gateway = SegmentWriter.open(name, LAYOUT)
    gateway.set_state(SegmentState.LIVE)
    yield gateway
    gateway.unlink()


@pytest.fixture
def reader(writer):
    """The same segment, attached."""
    with SegmentReader.attach(writer.name, LAYOUT) as attached:
        yield attached


@pytest.fixture
def attach_session(writer):
    """A function that claims and activates a session; all are closed after the test."""
    attached = Attached(writer)
    yield attached
    for session in attached.sessions:
        session.close()


@pytest.fixture
def session(attach_session, reader):
    """An ACTIVE session in slot 0."""
    return attach_session(reader)


@pytest.fixture
def run_child():
    """A function that starts a Python process; it is killed after the test if it still runs."""
    children = Children()
    yield children
    for child in children.running:
        if child.poll() is None:
            child.kill()
        child.wait(DEADLINE_S)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
