"""A few seconds of what may go wrong at once: a gateway and strategies killed and stopped, readers that check all.

LATENTSPEED_TORTURE_S sets how long; the default suits a developer's machine.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from torture_programs import LAYOUT

from latentspeed.ipc import SegmentReader, SegmentWriter, SessionState

SECONDS = float(os.environ.get("LATENTSPEED_TORTURE_S", "4"))
PROGRAMS = Path(__file__).with_name("torture_programs.py")


class Run:
    """The processes of one run. A gateway or strategy that ends by itself has found a fault."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kills = 0
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def start(self, key: str, role: str, *arguments: str) -> None:
        self.processes[key] = subprocess.Popen(
            [sys.executable, str(PROGRAMS), role, self.name, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self, key: str) -> None:
        process = self.processes.pop(key)
        assert process.poll() is None, f"{key} ended by itself: {process.communicate()[0]}"
        process.kill()
        process.communicate()
        self.kills += 1

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()


@pytest.mark.timeout(120 + 3 * SECONDS)
def test_kills_and_stops_tear_nothing_lose_nothing_and_leave_nothing():
    random_source = random.Random(20241122)
    run = Run(f"torture-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    try:
        run.start("gateway", "gateway")
        for number in range(2):
            run.start(f"reader {number}", "reader", str(SECONDS))
            run.start(f"strategy {number}", "strategy")
        torment(run, random_source)
        reports = [finished(run, f"reader {number}") for number in range(2)]
        for number in range(2):
            run.kill(f"strategy {number}")
        run.kill("gateway")
        check_aftermath(run, reports)
    finally:
        run.end()
        SegmentWriter.open(run.name, LAYOUT).unlink()


def torment(run: Run, random_source: random.Random) -> None:
    """Kill and stop until the readers' time is up."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(random_source.uniform(0.05, 0.4))
        key = random_source.choice(["gateway", "gateway", "strategy 0", "strategy 1"])
        if random_source.random() < 0.25:
            os.kill(run.processes[key].pid, signal.SIGSTOP)
            time.sleep(random_source.uniform(0.001, 0.05))
            os.kill(run.processes[key].pid, signal.SIGCONT)
        else:
            run.kill(key)
            run.start(key, key.split()[0])


def finished(run: Run, key: str) -> dict[str, int]:
    """What a reader says at its end."""
    process = run.processes.pop(key)
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    return json.loads(text)


def check_aftermath(run: Run, reports: list[dict[str, int]]) -> None:
    """The next gateway finds everything settled or able to be settled."""
    print(f"{run.kills} kills, {reports}")
    assert run.kills > 3
    for report in reports:
        assert report["data"] > 0, report
        assert report["cells"] > 0, report
    with SegmentWriter.open(run.name, LAYOUT) as writer:
        assert writer.reused
        for session in writer.sessions:
            assert not session.is_locked()
            assert session.queue.depth <= session.queue.capacity
            if session.state is SessionState.ACTIVE:
                session.drain()
                session.free()
        with SegmentReader.attach(run.name, LAYOUT) as reader:
            counters = reader.counters()
            assert counters["taken"] + counters["settled"] > 0
            assert counters["published"] >= max(report["data"] for report in reports)
