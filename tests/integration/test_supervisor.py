"""The supervisor with real processes: order of start and stop, readiness, restarts, and nothing left over."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from support.supervisor_desk import (
    DEADLINE_S,
    Desk,
    is_gone,
    poll_until,
    run_to_the_end,
)

from latentspeed.engine import supervisor as supervisor_module
from latentspeed.engine.managed_child import ChildState
from latentspeed.engine.restart import RestartLimits
from latentspeed.engine.supervisor import StopGrace


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


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
