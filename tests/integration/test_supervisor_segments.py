"""The supervisor and the shared memory of its gateways, and `status` and `clean` beside them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from latentspeed.engine.config import load_config
from latentspeed.engine.managed_child import ChildState
from latentspeed.engine.restart import RestartLimits
from latentspeed.engine.supervisor import Supervisor
from latentspeed.ipc import clean, segment_exists
from latentspeed.tools.cli import run_command_line
from latentspeed.tools.status import read_segment

DEADLINE_S = 60.0
GATEWAY = """
import json, os, signal, sys
import numpy as np
from latentspeed.ipc import SegmentLayout, SegmentState, SegmentWriter, TableSpec, make_record_type
record = make_record_type("Value", np.dtype([("value", "f8")]))
writer = SegmentWriter.open(sys.argv[1], SegmentLayout(tables=(TableSpec("values", record, 4),)))
if sys.argv[2] == "crash":
    sys.exit("crashed while recovering")
writer.set_state(SegmentState.LIVE)
writer.beat()
def stop(number, frame):
    writer.close()
    sys.exit(int(sys.argv[2]))
signal.signal(signal.SIGTERM, stop)
os.write(int(os.environ["LATENTSPEED_READY_FD"]), json.dumps({"ready": True, "pid": os.getpid()}).encode() + b"\\n")
while True:
    signal.pause()
"""


@pytest.fixture
def name():
    """An engine's name of this test's own, whose segment is gone afterwards."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    yield name
    clean(f"{name}.hl")


@pytest.fixture
def start(tmp_path: Path, name: str):
    def make(exit_code: object = 0) -> Supervisor:
        path = tmp_path / "desk.toml"
        path.write_text(
            f'[engine]\nname = "{name}"\nstate_dir = "state"\n'
            '[connectors.hl]\ntype = "t"\ndomain = "d"\nsecret_env = "HL_KEY"\n'
        )
        return Supervisor(
            load_config(path),
            environment={**os.environ, "HL_KEY": "secret"},
            command=lambda config, connector: [
                sys.executable, "-P", "-c", GATEWAY, config.segment_name(connector), str(exit_code),
            ],
            limits=RestartLimits(first_delay_s=0.01, failures=3),
        )  # fmt: skip

    return make


def run_until_live(supervisor: Supervisor, restarts: int = 0) -> int:
    """Returns the pid of the gateway once it is live after so many restarts."""
    gateway = supervisor.children["hl"]
    deadline = time.monotonic() + DEADLINE_S
    while not (gateway.state is ChildState.RUNNING and gateway.restarts == restarts and supervisor.is_running):
        assert supervisor.poll(0.05)
        assert time.monotonic() < deadline
    return gateway.pid


def test_the_segment_of_a_gateway_that_stops_in_order_is_removed(start, name):
    with start() as supervisor:
        pid = run_until_live(supervisor)
        segment = read_segment(f"{name}.hl")
        assert (segment.state, segment.gateway_pid, segment.supervised, segment.epoch) == ("LIVE", pid, True, 1)
        assert 0 <= segment.heartbeat_age_s < DEADLINE_S
    assert not segment_exists(f"{name}.hl")
    assert supervisor.exit_code == 0


def test_the_segment_of_a_gateway_that_fails_to_stop_in_order_is_kept_for_the_next_start(start, name, caplog):
    with start(exit_code=3) as supervisor:
        run_until_live(supervisor)
    assert supervisor.exit_code == 1
    assert f"gateway hl ended with exit code 3: orders may be open, and segment {name}.hl is kept" in caplog.text
    assert read_segment(f"{name}.hl").gateway_pid is None
    with start() as again:
        run_until_live(again)
        assert read_segment(f"{name}.hl").epoch == 2
    assert not segment_exists(f"{name}.hl")


def test_a_gateway_that_was_never_live_leaves_no_segment_of_its_own_and_does_not_touch_an_earlier_one(start, name):
    def give_up() -> int:
        deadline = time.monotonic() + DEADLINE_S
        with start("crash") as supervisor:
            while supervisor.poll(0.05):
                assert time.monotonic() < deadline
        return supervisor.exit_code

    assert give_up() == 1
    assert not segment_exists(f"{name}.hl")
    with start(exit_code=3) as supervisor:
        run_until_live(supervisor)
    assert give_up() == 1
    assert read_segment(f"{name}.hl").epoch == 1 + 3, "what the first one left is still to be settled"


def test_a_gateway_that_is_stopped_while_it_recovers_keeps_what_is_to_be_settled(start, name, caplog):
    with start() as supervisor:
        gateway = supervisor.children["hl"]
        os.kill(run_until_live(supervisor), signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        while gateway.restarts == 0 or gateway.pid is None:
            assert supervisor.poll(0.05)
            assert time.monotonic() < deadline
        assert not gateway.became_ready
    assert supervisor.exit_code == 1
    assert f"gateway hl was not live again: orders may be open, and segment {name}.hl is kept" in caplog.text
    assert segment_exists(f"{name}.hl")


def test_a_restarted_gateway_takes_the_segment_over(start, name):
    with start() as supervisor:
        os.kill(run_until_live(supervisor), signal.SIGKILL)
        run_until_live(supervisor, restarts=1)
        assert read_segment(f"{name}.hl").epoch == 2
        assert read_segment(f"{name}.hl").supervised


def test_clean_leaves_a_segment_between_two_gateways_because_its_supervisor_lives(start, name, capsys):
    with start() as supervisor:
        pid = run_until_live(supervisor)
        assert run_command_line(["clean", f"{name}.hl"]) == 1
        assert capsys.readouterr().out == f"{name}.hl: left, its gateway lives\n"
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        while (segment := read_segment(f"{name}.hl")).gateway_pid is not None:
            assert time.monotonic() < deadline
        assert segment.supervised
        assert run_command_line(["clean", f"{name}.hl"]) == 1
        assert capsys.readouterr().out == f"{name}.hl: left, its supervisor lives\n"
        run_until_live(supervisor, restarts=1)


def status(*options: str) -> str:
    """What `status` prints, in a process of its own: it looks at every segment of this machine."""
    program = "from latentspeed.tools.cli import main; main()"
    command = [sys.executable, "-P", "-c", program, "status", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


def test_what_a_killed_engine_left_is_shown_and_cleaned(name, capsys, tmp_path):
    environment = {**os.environ, "LATENTSPEED_READY_FD": "1"}
    command = [sys.executable, "-P", "-c", GATEWAY, f"{name}.hl", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as gateway:
        try:
            assert gateway.stdout.readline()
        finally:
            gateway.kill()
    shown = status("--state-dir", str(tmp_path))
    assert re.search(rf"{name}\.hl +LIVE, gateway dead +- ", shown)
    assert "`latentspeed clean` removes it" in shown
    told = json.loads(status("--json", "--state-dir", str(tmp_path)))
    (segment,) = [one for one in told["segments"] if one["name"] == f"{name}.hl"]
    assert (segment["gateway_pid"], segment["supervised"], segment["error"]) == (None, False, None)
    assert run_command_line(["clean", "--dry-run", "--json", f"{name}.hl"]) == 0
    assert [one["removed"] for one in json.loads(capsys.readouterr().out)] == [False]
    assert run_command_line(["clean", "--json", f"{name}.hl"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": f"{name}.hl", "removed": True, "reason": "nobody holds it"}]
    assert run_command_line(["clean", f"{name}.hl"]) == 1
    assert f"latentspeed: there is no segment '{name}.hl'" in capsys.readouterr().err
