"""The supervisor with real processes: order of start and stop, readiness, restarts, secrets, and nothing left over."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latentspeed.engine import supervisor as supervisor_module
from latentspeed.engine.child_process import ChildProcess
from latentspeed.engine.config import ConfigError, load_config
from latentspeed.engine.managed_child import ChildState
from latentspeed.engine.restart import RestartLimits
from latentspeed.engine.runtime_file import EngineAlreadyRuns, read_runtime
from latentspeed.engine.secrets import SecretError
from latentspeed.engine.state_dir import log_path
from latentspeed.engine.supervisor import StopGrace, Supervisor

KEY = "0x" + "2e" * 32
OTHER_KEY = "0x" + "3f" * 32
DEADLINE_S = 30.0

# Each child appends what happens to it to one file: the order of its lines is the order of events.
NOTE = """
import json, os, signal, sys, threading
def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
def until_stopped(name, stubborn=False):
    def stop(number, frame):
        note(name, "stop")
        if not stubborn:
            sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    note(name, "start")
    ready = os.environ.get("LATENTSPEED_READY_FD")
    if ready:
        os.write(int(ready), json.dumps({"ready": True, "pid": os.getpid()}).encode() + b"\\n")
        os.close(int(ready))
    while True:
        signal.pause()
"""


class Desk:
    """One engine of small Python programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes_path = folder / "notes"
        self.notes_path.touch()
        self.environment = {**os.environ, "NOTES": str(self.notes_path), "HL_KEY": KEY, "HL_KEY_2": OTHER_KEY}
        self.environment.pop("PYTHONSAFEPATH", None)  # A user's shell does not have it.
        self.gateway_program = 'until_stopped("gateway " + sys.argv[1])'
        self.text = f'[engine]\nname = "desk"\nstate_dir = "{folder}/state"\n'
        self.tail = ""

    def program(self, code: str) -> list[str]:
        return [sys.executable, "-c", NOTE + code]

    def gateway(self, name: str = "hl", secret: str = "HL_KEY") -> None:
        self.tail += f'[connectors.{name}]\ntype = "t"\ndomain = "d"\nsecret_env = "{secret}"\n'

    def strategy(self, name: str, code: str, **settings: object) -> None:
        path = self.folder / f"{name}.py"
        path.write_text(NOTE + code)
        self._entry("strategies", name, script=str(path), **settings)

    def process(self, name: str, code: str, **settings: object) -> None:
        self._entry("process", name, command=self.program(code), **settings)

    def _entry(self, table: str, name: str, **settings: object) -> None:
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        self.tail += f'[[{table}]]\nname = "{name}"\n{lines}'

    def write(self) -> Path:
        path = self.folder / "desk.toml"
        path.write_text(self.text + self.tail)
        return path

    def supervisor(self, **arguments) -> Supervisor:
        arguments.setdefault("environment", self.environment)
        return Supervisor(
            load_config(self.write()),
            command=lambda config, name: [*self.program(self.gateway_program), name],
            **arguments,
        )

    @property
    def notes(self) -> list[str]:
        return self.notes_path.read_text().splitlines()

    def log(self, name: str) -> str:
        return log_path(self.folder / "state" / "desk", name).read_text()

    def runtime(self):
        return read_runtime(self.folder / "state" / "desk")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def poll_until(supervisor: Supervisor, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert supervisor.poll(0.05), "the engine stopped before the condition came true"
        assert time.monotonic() < deadline, "the condition did not come true in time"


def run_to_the_end(supervisor: Supervisor) -> int:
    deadline = time.monotonic() + DEADLINE_S
    with supervisor:
        while supervisor.poll(0.05):
            assert time.monotonic() < deadline, "the engine did not stop in time"
    return supervisor.exit_code


def wait_until(condition: Callable[[], object]) -> None:
    """For what happens without this program: it looks every few milliseconds, up to a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def is_dead(pid: int) -> bool:
    """Whether it runs no more: its reaper, not this program, may still have to collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_gone(pid: int) -> bool:
    """Whether no process, not even a zombie, has the pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_an_engine_starts_in_order_and_stops_in_order_and_leaves_no_process(desk):
    desk.gateway()
    desk.process("venue", 'print("listening on 1", flush=True); until_stopped("venue")', ready_line="listening")
    desk.process("recorder", 'until_stopped("recorder")', start="after_gateways")
    desk.strategy("maker", 'until_stopped("maker")')
    with desk.supervisor() as supervisor:
        poll_until(supervisor, lambda: "maker start" in desk.notes)
        poll_until(supervisor, lambda: desk.runtime().state == "running" and "recorder start" in desk.notes)
        pids = [child.pid for child in supervisor.children.values()]
        assert [(c.name, c.kind, c.state, c.pid) for c in desk.runtime().children] == [
            (child.plan.name, child.plan.kind, "running", child.pid) for child in supervisor.children.values()
        ]
        assert desk.runtime().pid == os.getpid()
        assert desk.runtime().segments == ["desk.hl"]
    assert supervisor.exit_code == 0
    starts = [line for line in desk.notes if line.endswith("start")]
    stops = [line for line in desk.notes if line.endswith("stop")]
    assert starts[:2] == ["venue start", "gateway hl start"]
    assert sorted(starts[2:]) == ["maker start", "recorder start"]
    assert stops[:2] == ["maker stop", "gateway hl stop"]
    assert sorted(stops[2:]) == ["recorder stop", "venue stop"]
    assert all(is_gone(pid) for pid in pids)
    assert desk.runtime() is None
    assert not (desk.folder / "state" / "desk" / "engine.json").exists()


def test_strategies_wait_until_the_gateway_says_that_it_is_ready(desk):
    go = desk.folder / "go"
    desk.gateway_program = f"""
import pathlib, time
while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)
until_stopped("gateway " + sys.argv[1])
"""
    desk.gateway()
    desk.strategy("maker", 'until_stopped("maker")')
    with desk.supervisor() as supervisor:
        poll_until(supervisor, lambda: supervisor.children["hl"].state is ChildState.STARTING)
        for _ in range(5):
            supervisor.poll(0.05)
        assert supervisor.children["maker"].state is ChildState.WAITING
        go.touch()
        poll_until(supervisor, lambda: "maker start" in desk.notes)
    assert desk.notes[:2] == ["gateway hl start", "maker start"]


def test_a_process_is_ready_when_its_file_is_there_but_not_when_an_old_one_is(desk):
    ready = desk.folder / "port"
    ready.write_text("old")
    go = desk.folder / "go"
    desk.process(
        "venue",
        f"""
import pathlib, time
while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)
pathlib.Path({str(ready)!r} + ".new").write_text("1"); os.replace({str(ready)!r} + ".new", {str(ready)!r})
until_stopped("venue")
""",
        ready_file=str(ready),
    )
    with desk.supervisor() as supervisor:
        poll_until(supervisor, lambda: supervisor.children["venue"].state is ChildState.STARTING)
        for _ in range(5):
            supervisor.poll(0.05)
        assert supervisor.children["venue"].state is ChildState.STARTING
        go.touch()
        poll_until(supervisor, lambda: supervisor.children["venue"].state is ChildState.RUNNING)


def test_a_start_fails_when_a_process_is_not_ready_in_time(desk, caplog):
    desk.process("venue", 'until_stopped("venue")', ready_line="listening", ready_timeout_s=0.2)
    desk.strategy("maker", 'until_stopped("maker")')
    assert run_to_the_end(desk.supervisor()) == 1
    assert "process venue was not ready within 0.2 s and is killed" in caplog.text
    assert "maker start" not in desk.notes


def test_a_start_fails_when_a_process_ends_before_it_is_ready(desk, caplog):
    desk.process("venue", 'print("port in use", file=sys.stderr); sys.exit(3)', ready_line="listening")
    assert run_to_the_end(desk.supervisor()) == 1
    assert "process venue ended with exit code 3 before it was ready: port in use" in caplog.text


def test_a_command_that_does_not_exist_fails_the_start_by_name(desk, caplog):
    desk._entry("process", "venue", command=["no-such-program"])
    desk.gateway()
    desk.gateway_program = "signal.pause()"  # Never ready, so that the start is still going on.
    assert run_to_the_end(desk.supervisor()) == 1
    assert "exit code 127: no-such-program cannot be started: No such file or directory" in caplog.text


def test_a_killed_gateway_is_started_again_and_strategies_go_on(desk):
    desk.gateway()
    desk.strategy("maker", 'until_stopped("maker")')
    with desk.supervisor(limits=RestartLimits(first_delay_s=0.01)) as supervisor:
        gateway, maker = supervisor.children["hl"], supervisor.children["maker"]
        poll_until(supervisor, lambda: "maker start" in desk.notes)
        first, strategy = gateway.pid, maker.pid
        os.kill(first, signal.SIGKILL)
        poll_until(supervisor, lambda: desk.notes.count("gateway hl start") == 2)
        poll_until(supervisor, lambda: gateway.state is ChildState.RUNNING)
        assert gateway.pid != first
        assert is_gone(first)
        assert (maker.pid, gateway.restarts) == (strategy, 1)
        poll_until(supervisor, lambda: desk.runtime().children[0].restarts == 1)
    assert supervisor.exit_code == 0


def test_a_gateway_that_always_fails_is_given_up_loudly_and_the_engine_stops_with_an_error(desk, caplog):
    desk.gateway_program = 'note("try"); sys.exit("venue says no")'
    desk.gateway()
    desk.strategy("maker", 'until_stopped("maker")')
    limits = RestartLimits(first_delay_s=0.01, longest_delay_s=0.04, failures=4)
    assert run_to_the_end(desk.supervisor(limits=limits)) == 1
    assert desk.notes == ["try"] * 4
    assert "gateway hl ended with exit code 1 before it was ready: venue says no; 4 failures within 60 s" in caplog.text
    delays = [record.args[-1] for record in caplog.records if "starting it again" in record.message]
    assert delays == [0.01, 0.02, 0.04]


def test_a_gateway_that_says_no_restart_helps_is_not_restarted(desk, caplog):
    desk.gateway_program = 'note("try"); print("config.toml: bad key"); sys.exit(78)'
    desk.gateway()
    assert run_to_the_end(desk.supervisor()) == 1
    assert desk.notes == ["try"]
    assert "config.toml: bad key; no restart can help" in caplog.text


def test_a_failed_strategy_is_reported_and_the_engine_goes_on(desk, caplog):
    desk.gateway()
    desk.strategy("broken", "1 / 0")
    desk.strategy("maker", 'until_stopped("maker")')
    with desk.supervisor() as supervisor:
        poll_until(supervisor, lambda: supervisor.children["broken"].state is ChildState.FAILED)
        poll_until(supervisor, lambda: "maker start" in desk.notes)
        assert supervisor.is_running
    assert supervisor.exit_code == 0
    assert "strategy broken ended with exit code 1: ZeroDivisionError: division by zero" in caplog.text
    assert "ZeroDivisionError" in desk.log("broken")


def test_a_strategy_restarts_on_failure_if_its_config_says_so_and_not_after_success(desk):
    code = 'note("run"); sys.exit(0 if open(os.environ["NOTES"]).read().count("run") > 2 else 5)'
    desk.strategy("maker", code, restart="on-failure")
    limits = RestartLimits(first_delay_s=0.01)
    assert run_to_the_end(desk.supervisor(until_done=True, limits=limits)) == 0
    assert desk.notes == ["run"] * 3


def test_until_done_stops_with_the_worst_exit_code_of_the_strategies(desk):
    desk.gateway()
    desk.strategy("good", "sys.exit(0)")
    desk.strategy("bad", "sys.exit(3)")
    desk.strategy("worse", "os.kill(os.getpid(), signal.SIGKILL)")
    assert run_to_the_end(desk.supervisor(until_done=True)) == 128 + signal.SIGKILL
    assert desk.notes[-1] == "gateway hl stop"


def test_a_stubborn_strategy_is_killed_at_its_deadline_and_the_gateway_still_stops_in_order(desk, caplog):
    desk.gateway()
    desk.strategy("maker", 'until_stopped("maker", stubborn=True)')
    with desk.supervisor(grace=StopGrace(strategy_s=0.2)) as supervisor:
        poll_until(supervisor, lambda: "maker start" in desk.notes)
    assert "strategy maker did not stop in time and is killed" in caplog.text
    assert desk.notes[-2:] == ["maker stop", "gateway hl stop"]
    assert supervisor.exit_code == 0


def test_a_gateway_that_does_not_stop_in_order_makes_the_engine_fail(desk):
    desk.gateway_program = 'until_stopped("gateway", stubborn=True)'
    desk.gateway()
    with desk.supervisor(grace=StopGrace(gateway_s=0.2)) as supervisor:
        poll_until(supervisor, lambda: supervisor.is_running)
    assert supervisor.exit_code == 1


def test_a_second_signal_kills_what_has_not_stopped(desk):
    desk.gateway()
    desk.strategy("maker", 'until_stopped("maker", stubborn=True)')
    with desk.supervisor(grace=StopGrace(strategy_s=1000)) as supervisor:
        poll_until(supervisor, lambda: "maker start" in desk.notes)
        os.kill(os.getpid(), signal.SIGINT)
        poll_until(supervisor, lambda: "maker stop" in desk.notes)
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + DEADLINE_S
        while supervisor.poll(0.05):
            assert time.monotonic() < deadline
    assert desk.notes[-1] == "gateway hl stop"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_engine_in_order_and_the_handlers_are_given_back(desk, number):
    before = signal.getsignal(number)
    desk.gateway()
    with desk.supervisor() as supervisor:
        poll_until(supervisor, lambda: supervisor.is_running)
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + DEADLINE_S
        while supervisor.poll(1.0):
            assert time.monotonic() < deadline
    assert supervisor.exit_code == 0
    assert desk.notes[-1] == "gateway hl stop"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "stops"), [(signal.SIGINT, True), (signal.SIGHUP, False)])
def test_a_background_job_heeds_an_interrupt_and_under_nohup_not_a_lost_terminal(desk, number, stops):
    desk.gateway()
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with desk.supervisor() as supervisor:
            poll_until(supervisor, lambda: supervisor.is_running)
            os.kill(os.getpid(), number)
            supervisor.poll(0.0)
            assert supervisor.is_running is not stops
    finally:
        signal.signal(number, before)


def test_an_exception_in_the_program_that_runs_it_still_stops_everything_in_order(desk):
    desk.gateway()
    supervisor = desk.supervisor()
    with contextlib.suppress(ZeroDivisionError), supervisor:
        poll_until(supervisor, lambda: supervisor.is_running)
        pid = supervisor.children["hl"].pid
        raise ZeroDivisionError
    assert desk.notes[-1] == "gateway hl stop"
    assert is_gone(pid)


def test_a_fault_of_the_supervisor_itself_still_lets_gateways_stop(desk, monkeypatch):
    desk.gateway()
    desk.strategy("maker", 'until_stopped("maker")')
    supervisor = desk.supervisor()
    supervisor.__enter__()
    poll_until(supervisor, lambda: "maker start" in desk.notes)
    pids = [child.pid for child in supervisor.children.values()]
    monkeypatch.setattr(supervisor, "_go_on_stopping", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        supervisor.__exit__(None, None, None)
    assert {"maker stop", "gateway hl stop"} <= set(desk.notes)
    assert all(is_gone(pid) for pid in pids)


def test_a_terminal_or_a_disk_that_fails_does_not_stop_the_engine(desk, monkeypatch, caplog):
    def broken(*arguments):
        raise OSError(28, "No space left on device")

    desk.strategy("maker", 'print("hello"); until_stopped("maker")')
    with desk.supervisor(echo=broken) as supervisor:
        monkeypatch.setattr(supervisor_module, "write_runtime", broken)
        poll_until(supervisor, lambda: "maker start" in desk.notes)
        poll_until(supervisor, lambda: "strategy maker is no longer shown: No space left" in caplog.text)
        assert supervisor.is_running
    assert "engine.json cannot be written: No space left on device" in caplog.text
    assert desk.notes[-1] == "maker stop"


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
