"""A short run of `make torture`: gateway, readers and clients killed and stopped, and everything accounted for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("torture.py")


@pytest.mark.timeout(150)
def test_kills_and_stops_tear_nothing_lose_nothing_hang_nothing_and_leave_nothing():
    run = subprocess.run(
        [sys.executable, str(PROGRAM), "--records", "100000", "--kills", "30", "--limit-s", "90"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "no torn record, no missed lap, no command lost or doubled, no hang, nothing left" in run.stdout
