"""What the supervisor gives its children and expects of them: secrets, names, logs, and an end with its own."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.supervisor_desk import (
    KEY,
    NOTE,
    OTHER_KEY,
    Desk,
    is_dead,
    poll_until,
    run_to_the_end,
    wait_until,
)

from latentspeed.engine import supervisor as supervisor_module
from latentspeed.engine.child_process import ChildProcess
from latentspeed.engine.config import ConfigError
from latentspeed.engine.restart import RestartLimits
from latentspeed.engine.runtime_file import EngineAlreadyRuns
from latentspeed.engine.secrets import SecretError


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


SHOW_SECRETS = """
fd = os.environ.get("LATENTSPEED_SECRET_FD")
note(sys.argv[1], os.environ.get("HL_KEY"), os.environ.get("HL_KEY_2"), os.read(int(fd), 99).decode() if fd else None)
until_stopped(sys.argv[1])
"""


def test_a_secret_reaches_its_own_gateway_by_pipe_and_no_other_child_and_no_environment(desk):
    desk.gateway("one", "HL_KEY")
    desk.gateway("two", "HL_KEY_2")
    desk.gateway_program = SHOW_SECRETS
    show = SHOW_SECRETS.replace("sys.argv[1]", "name")
    desk.process("venue", 'name = "venue"' + show)
    desk.strategy("maker", 'name = "maker"' + show)
    with desk.supervisor() as supervisor:
        poll_until(supervisor, lambda: {"venue start", "maker start"} <= set(desk.notes))
        for child in supervisor.children.values():
            environment = Path(f"/proc/{child.pid}/environ").read_bytes().decode()
            arguments = Path(f"/proc/{child.pid}/cmdline").read_bytes().decode()
            assert KEY not in environment + arguments
            assert OTHER_KEY not in environment + arguments
    assert f"one None None {KEY}" in desk.notes
    assert f"two None None {OTHER_KEY}" in desk.notes
    assert "venue None None None" in desk.notes
    assert "maker None None None" in desk.notes
    left = b"".join(path.read_bytes() for path in (desk.folder / "state").rglob("*") if path.is_file())
    assert KEY.encode() not in left


def test_a_restarted_gateway_gets_its_secret_again(desk):
    desk.gateway()
    desk.gateway_program = SHOW_SECRETS
    del desk.environment["HL_KEY_2"]
    with desk.supervisor(limits=RestartLimits(first_delay_s=0.01)) as supervisor:
        poll_until(supervisor, lambda: supervisor.is_running)
        os.kill(supervisor.children["hl"].pid, signal.SIGKILL)
        poll_until(supervisor, lambda: desk.notes.count(f"hl None None {KEY}") == 2)


def test_a_missing_secret_is_refused_before_anything_starts(desk):
    desk.process("venue", 'until_stopped("venue")')
    desk.gateway()
    del desk.environment["HL_KEY"]
    with pytest.raises(SecretError, match="HL_KEY is not set"):
        desk.supervisor()
    assert desk.notes == []


def test_two_gateways_whose_variables_hold_one_key_are_refused(desk):
    desk.gateway("one", "HL_KEY")
    desk.gateway("two", "HL_KEY_2")
    desk.environment["HL_KEY_2"] = KEY
    with pytest.raises(SecretError, match=r"connectors\.one and connectors\.two have one private key") as caught:
        desk.supervisor()
    assert KEY not in str(caught.value)


def test_a_script_that_is_not_there_is_refused_before_anything_starts(desk):
    desk.strategy("maker", "")
    (desk.folder / "maker.py").unlink()
    with pytest.raises(ConfigError, match=r"strategies\[0\]\.script: there is no file"):
        desk.supervisor()


def test_a_strategy_is_told_who_it_is_and_finds_the_modules_beside_its_script(desk):
    (desk.folder / "beside.py").write_text('NAME = "beside"')
    names = ("ENGINE", "STRATEGY", "STRATEGY_TAG", "CANCEL_ON_DEATH", "IDLE")
    code = f"""
import beside
note(beside.NAME, os.environ["LEVEL"], *sys.argv[1:], *(os.environ["LATENTSPEED_" + name] for name in {names!r}))
"""
    settings = {"args": ["--spread", "5"], "tag": 9, "cancel_on_death": False, "idle": "spin", "env": {"LEVEL": "x"}}
    path = desk.folder / "maker.py"
    path.write_text(NOTE + code)
    environment = settings.pop("env")
    desk._entry("strategies", "maker", script="maker.py", **settings)
    desk.tail += f'env = {{ LEVEL = "{environment["LEVEL"]}" }}\n'
    assert run_to_the_end(desk.supervisor(until_done=True)) == 0
    assert desk.notes == ["beside x --spread 5 desk maker 9 0 spin"]


def test_what_a_child_leaves_of_its_process_group_is_killed_with_it(desk):
    code = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
note("pid", child.pid)
"""
    desk.strategy("maker", code)
    assert run_to_the_end(desk.supervisor(until_done=True)) == 0
    pid = int(desk.notes[0].split()[1])
    wait_until(lambda: is_dead(pid))


def test_one_engine_is_run_by_one_supervisor(desk):
    desk.process("venue", 'until_stopped("venue")')
    with desk.supervisor() as supervisor:
        poll_until(supervisor, lambda: supervisor.is_running)
        with pytest.raises(EngineAlreadyRuns, match=rf"desk runs already: its supervisor has pid {os.getpid()}"):
            desk.supervisor().__enter__()
        assert desk.runtime().state == "running"


def test_output_goes_to_the_log_of_the_child_and_to_the_echo(desk):
    echoed = []
    desk.strategy("maker", 'print("first"); print("second", file=sys.stderr); print("no end", end="")')
    supervisor = desk.supervisor(until_done=True, echo=lambda name, line: echoed.append((name, line)))
    assert run_to_the_end(supervisor) == 0
    assert desk.log("maker") == "first\nsecond\nno end"
    assert echoed == [("maker", "first"), ("maker", "second"), ("maker", "no end")]


def test_what_happens_is_logged_in_one_line_each(desk, caplog):
    caplog.set_level(logging.INFO, "latentspeed.supervisor")
    desk.gateway()
    desk.strategy("maker", "pass")
    assert run_to_the_end(desk.supervisor(until_done=True)) == 0
    assert all("\n" not in record.getMessage() for record in caplog.records)
    for expected in ("gateway hl started, pid", "gateway hl is ready after", "engine desk runs", "strategy maker ended",
                     "engine desk stops: every strategy has ended", "gateway hl stopped with exit code 0"):  # fmt: skip
        assert expected in caplog.text


RUN = """
import json, sys
from latentspeed.engine.config import load_config
from latentspeed.engine.supervisor import Supervisor
config, gateway = load_config(sys.argv[1]), json.loads(sys.argv[2])
with Supervisor(config, command=lambda config, name: [*gateway, name]) as supervisor:
    while supervisor.poll(1.0):
        pass
"""


def test_children_stop_in_order_of_their_own_when_the_supervisor_is_killed(desk):
    desk.gateway()
    desk.process("venue", 'until_stopped("venue")')
    desk.strategy("maker", 'until_stopped("maker")')
    command = [sys.executable, "-P", "-c", RUN, str(desk.write()), json.dumps(desk.program(desk.gateway_program))]
    with subprocess.Popen(command, env=desk.environment) as supervisor:
        try:
            wait_until(lambda: "maker start" in desk.notes)
            wait_until(lambda: desk.runtime() is not None and desk.runtime().state == "running")
            runtime = desk.runtime()
            assert runtime.pid == supervisor.pid
        finally:
            supervisor.kill()
    wait_until(lambda: all(is_dead(child.pid) for child in runtime.children))
    assert {"maker stop", "gateway hl stop", "venue stop"} <= set(desk.notes)
    assert desk.runtime() is None, "what a dead supervisor wrote must not be taken for a running engine"
    with desk.supervisor() as again:
        poll_until(again, lambda: again.is_running)


def test_a_child_whose_supervisor_died_before_it_began_does_not_run(tmp_path):
    program = [sys.executable, "-I", "-S", str(Path(supervisor_module.__file__).with_name("exec_child.py"))]
    begun = tmp_path / "begun"
    stranger = "1" if os.getpid() != 1 else "2"
    run = subprocess.run(
        [*program, stranger, "15", "0", "touch", str(begun)], capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 1
    assert run.stderr == "the supervisor ended before this process began\n"
    assert not begun.exists()


def test_a_child_is_not_started_from_another_thread(desk):
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="from the main thread"):
        pool.submit(ChildProcess, ["true"], {}, desk.folder / "log").result()
