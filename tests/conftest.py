"""What every test shares: the reference material, and the rule that a test leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
    """The project's objects in /dev/shm."""
    return {entry for entry in os.listdir("/dev/shm") if "latentspeed" in entry}


@pytest.fixture(autouse=True)
def nothing_left_in_shared_memory():
    """Fails a test that leaves an object of ours in /dev/shm."""
    before = shared_memory_objects()
    yield
    left = shared_memory_objects() - before
    assert not left, f"left in /dev/shm: {sorted(left)}"
