"""`run`, `status` and `profile` as a user calls them: real processes, one engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from latentspeed.engine.runtime_file import EngineRuntime, read_runtime

DEADLINE_S = 60.0
LATENTSPEED = [sys.executable, "-P", "-c", "from latentspeed.tools.cli import main; main()"]
BUSY = "print('begun')\nwhile True: sum(range(1000))\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "busy.py").write_text(BUSY)
    (tmp_path / "done.py").write_text("import sys; print('all done'); sys.exit(4)")
    path = tmp_path / "desk.toml"
    path.write_text('[engine]\nname = "desk"\nstate_dir = "state"\n')
    return path


def add_strategy(config: Path, name: str) -> None:
    with config.open("a") as file:
        file.write(f'[[strategies]]\nname = "{name}"\nscript = "{name}.py"\n')


def latentspeed(*arguments: str, **settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LATENTSPEED, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False, **settings
    )


@contextmanager
def running(config: Path, *arguments: str) -> Iterator[EngineRuntime]:
    """Runs an engine until the block ends, and checks that it stops in order."""
    process = subprocess.Popen([*LATENTSPEED, "run", str(config), *arguments], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while (runtime := read_runtime(config.parent / "state" / "desk")) is None or runtime.state != "running":
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        yield runtime
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_an_engine_runs_until_its_strategies_are_done_and_ends_with_their_worst_code(config):
    add_strategy(config, "done")
    run = latentspeed("run", str(config), "--until-done")
    assert run.returncode == 4
    assert run.stdout == "done | all done\n"
    assert "ERROR strategy done ended with exit code 4: all done" in run.stderr
    log = (config.parent / "state" / "desk" / "logs" / "supervisor.log").read_text()
    assert log == run.stderr


def test_quiet_shows_nothing_that_the_processes_print(config):
    add_strategy(config, "done")
    assert latentspeed("run", str(config), "--until-done", "--quiet").stdout == ""


def test_until_done_without_strategies_is_refused(config):
    run = latentspeed("run", str(config), "--until-done")
    assert run.returncode == 2
    assert "lists no strategies to wait for" in run.stderr


def test_a_running_engine_is_shown_and_one_that_has_stopped_is_not(config):
    add_strategy(config, "busy")
    folder = ("--state-dir", str(config.parent / "state"))
    with running(config) as runtime:
        told = json.loads(latentspeed("status", "--json", *folder).stdout)
        (engine,) = told["engines"]
        assert (engine["engine"], engine["state"], engine["pid"]) == ("desk", "running", runtime.pid)
        (child,) = engine["children"]
        assert (child["name"], child["kind"], child["state"]) == ("busy", "strategy", "running")
        os.kill(child["pid"], 0)
        text = latentspeed("status", *folder).stdout
        assert f"engine desk: running, supervisor pid {runtime.pid}, up 00:00:" in text
        assert f"busy  strategy  running  {child['pid']}" in text
        second = latentspeed("run", str(config))
        assert second.returncode == 1
        assert f"the engine desk runs already: its supervisor has pid {runtime.pid}" in second.stderr
    assert json.loads(latentspeed("status", "--json", *folder).stdout)["engines"] == []
    assert latentspeed("status", *folder).stdout.startswith(f"no engine runs (state folder {folder[1]})\n")


def test_a_running_strategy_is_drawn_as_a_flame_graph_by_its_name(config, tmp_path):
    add_strategy(config, "busy")
    config.write_text(config.read_text().replace("[engine]", "[engine]\nallow_profiling = true"))
    graph = tmp_path / "graph.svg"
    with running(config):
        common = ("--state-dir", str(config.parent / "state"), "--seconds", "1", "--output", str(graph))
        run = latentspeed("profile", "busy", *common)
        assert (run.returncode, run.stdout, run.stderr) == (0, f"{graph}\n", "")
        assert "busy.py" in graph.read_text()
        wrong = latentspeed("profile", "bussy", *common)
        assert wrong.returncode == 1
        assert wrong.stderr == (
            'latentspeed: no process bussy in a running engine, which has: busy, supervisor (did you mean "busy"?)\n'
        )
