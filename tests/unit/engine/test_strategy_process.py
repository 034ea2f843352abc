"""A strategy as a process of its own: signals, exit codes, options, the example."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_gateway import FakeGateway, answering, unique_engine, wait_until

from latentspeed.connectors import OrderState
from latentspeed.engine.records import CommandKind
from latentspeed.engine.run import OptionsError, read_options, the_running_engine
from latentspeed.engine.strategy import Strategy
from latentspeed.ipc import SessionState

EXAMPLE = Path(__file__).parents[3] / "examples" / "quoter.py"


@pytest.fixture
def start(tmp_path):
    """Starts a strategy's script; ends what is left of it."""
    processes = []

    def start(script, *arguments, **environment):
        path = script
        if not isinstance(script, Path):
            path = tmp_path / "strategy.py"
            path.write_text(script)
        process = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process, timeout_s=60):
    """Waits for a process; (exit code, output)."""
    output, _ = process.communicate(timeout=timeout_s)
    return process.returncode, output


RESTING = """
from latentspeed import OrderParams, OrderType, Strategy, run

class Resting(Strategy):
    def on_start(self):
        hl = self.connector("hyperliquid")
        hl.buy(OrderParams("BTC-USD", 0.001, 60000.0, OrderType.LIMIT))
        print("args", list(self.arguments), "name", self.name, flush=True)
    def on_order_event(self, connector, event):
        print("event", event.kind.name, flush=True)
    def on_stop(self):
        print("on_stop", flush=True)

run(Resting)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(answering_gateway, start, number):
    gateway = answering_gateway
    process = start(RESTING, "--engine", gateway.engine, "--name", "rest", "--tag", "9", "own", "--flag")
    wait_until(lambda: gateway.orders, "no order came", 60)
    wait_until(lambda: next(iter(gateway.orders.values())).record.state == OrderState.OPEN, "not acknowledged")
    claim = next(s.claim for s in gateway.writer.sessions if s.state == SessionState.ACTIVE)
    assert (claim.name, claim.tag, claim.pid) == ("rest", 9, process.pid)
    process.send_signal(number)
    code, output = end(process)
    assert code == 0, output
    assert "args ['own', '--flag'] name rest" in output
    assert output.index("on_stop") < output.index("event CANCELLED")
    assert gateway.cancel_alls == 1
    wait_until(lambda: gateway.deaths, "the session was not given up")


def test_a_killed_strategys_session_is_free_again(answering_gateway, start):
    gateway = answering_gateway
    process = start(RESTING, "--engine", gateway.engine)
    wait_until(lambda: gateway.orders, "no order came", 60)
    process.kill()
    process.wait()
    wait_until(lambda: gateway.deaths, "the death was never seen")
    assert next(iter(gateway.orders.values())).record.state == OrderState.CANCELLED


def test_an_exception_ends_it_with_a_traceback_and_exit_code_1(answering_gateway, start):
    process = start(
        RESTING.replace('print("event", event.kind.name, flush=True)', "1 / 0"),
        LATENTSPEED_ENGINE=answering_gateway.engine,
    )
    code, output = end(process, 20)
    assert code == 1
    assert "ZeroDivisionError" in output
    assert "Traceback" in output
    order = next(iter(answering_gateway.orders.values()))
    wait_until(lambda: order.record.state == OrderState.CANCELLED, "its order was not cancelled")


def test_a_stuck_callback_is_ended_by_a_second_interrupt(answering_gateway, start):
    script = RESTING.replace(
        'print("event", event.kind.name, flush=True)',
        'print("stuck", flush=True)\n        import time\n        while True: time.sleep(0.01)',
    )
    process = start(script, "--engine", answering_gateway.engine)
    for line in process.stdout:
        if "stuck" in line:
            break
    process.send_signal(signal.SIGINT)
    wait_until(lambda: not _is_pending(process.pid, signal.SIGINT), "the first signal was never taken")
    process.send_signal(signal.SIGINT)
    code, output = end(process)
    assert code == 1
    assert "interrupted" in output


def test_a_signal_while_it_waits_for_a_gateway_stops_it(start):
    process = start(RESTING, "--engine", unique_engine("absent"))
    wait_until(lambda: _is_handling(process.pid, signal.SIGTERM), "it never started to listen", 60)
    process.send_signal(signal.SIGTERM)
    code, output = end(process)
    assert code == 0, output


def _is_pending(pid, number):
    """Whether a signal waits to be delivered to a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    waiting = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask & 1 << (number - 1) for mask in waiting)


def _is_handling(pid, number):
    """Whether a process catches a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught & 1 << (number - 1))


def test_the_quoter_runs_as_it_stands_beside_a_running_engine(start):
    with FakeGateway(unique_engine("quoter"), on_command=answering) as gateway:
        gateway.position("BTC-USD", 0.25)
        gateway.balance(0, "USDC", 1000.0, 900.0)
        gateway.quote("BTC-USD", 60_000.0, 60_001.0)
        process = start(EXAMPLE, LATENTSPEED_ENGINE=gateway.engine)
        wait_until(lambda: gateway.of_kind(CommandKind.PLACE), "it never quoted", 60)
        first = gateway.of_kind(CommandKind.PLACE)[0]
        assert (first.price, first.amount) == (59_995.0, 0.001)
        gateway.quote("BTC-USD", 60_010.0, 60_011.0)
        wait_until(lambda: gateway.of_kind(CommandKind.CANCEL), "it never moved its quote")
        gateway.quote("BTC-USD", 60_011.0, 60_012.0)
        wait_until(lambda: len(gateway.of_kind(CommandKind.PLACE)) == 2, "it never quoted again")
        second = gateway.of_kind(CommandKind.PLACE)[1]
        gateway.fill(f"LS{second.client_order_id:016x}", 100, 600_060, "t1")
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Position(" in line and any("0.001 @ 60006.0" in seen for seen in lines):
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, lines


def test_a_plain_script_that_just_ends_leaves_nothing_behind(answering_gateway, start):
    script = f"""
from latentspeed import OrderParams, RemoteConnector

connector = RemoteConnector("{answering_gateway.engine}", "hyperliquid")
connector.connect().result(60)
order = connector.get_order(connector.buy(OrderParams("BTC-USD", 0.001, 60000.0)))
print(order.get_exchange_order_id().result(60))
"""
    code, output = end(start(script), 20)
    assert (code, output.strip().isdigit()) == (0, True), output
    wait_until(lambda: answering_gateway.deaths, "the session was not given up")


def test_the_engine_that_runs_alone_is_found(answering_gateway):
    if len({name.rpartition(".")[0] for name in _names()}) == 1:
        assert the_running_engine() == answering_gateway.engine


def _names():
    from latentspeed.ipc import segment_names

    return segment_names()


def test_several_engines_must_be_told_apart(monkeypatch):
    from latentspeed.engine import run as module

    monkeypatch.setattr(module, "segment_names", lambda: ["a.x", "b.x"])
    monkeypatch.setattr(module, "_is_alive", lambda engine: True)
    with pytest.raises(OptionsError, match="a, b"):
        the_running_engine()
    monkeypatch.setattr(module, "_is_alive", lambda engine: engine == "b")
    assert the_running_engine() == "b"
    monkeypatch.setattr(module, "segment_names", list)
    with pytest.raises(OptionsError, match="latentspeed run"):
        the_running_engine()


def test_options_come_from_command_line_then_environment_then_caller(monkeypatch):
    for name in list(os.environ):
        if name.startswith("LATENTSPEED_"):
            monkeypatch.delenv(name)

    class Mine(Strategy):
        pass

    options = read_options(Mine, [], {"engine": "e"})
    assert (options.engine, options.name, options.tag, options.cancel_on_death, options.idle) == (
        "e",
        "mine",
        0,
        True,
        "park",
    )
    monkeypatch.setenv("LATENTSPEED_ENGINE", "env")
    monkeypatch.setenv("LATENTSPEED_STRATEGY", "maker")
    monkeypatch.setenv("LATENTSPEED_STRATEGY_TAG", "12")
    monkeypatch.setenv("LATENTSPEED_CANCEL_ON_DEATH", "0")
    monkeypatch.setenv("LATENTSPEED_IDLE", "spin")
    options = read_options(Mine, [], {"engine": "e", "idle": "park"})
    assert (options.engine, options.name, options.tag, options.cancel_on_death, options.idle) == (
        "env",
        "maker",
        12,
        False,
        "spin",
    )
    options = read_options(Mine, ["--engine", "cli", "--name=n", "--tag", "0x10", "--idle", "backoff", "rest"], {})
    assert (options.engine, options.name, options.tag, options.idle, options.arguments) == (
        "cli",
        "n",
        16,
        "backoff",
        ("rest",),
    )


@pytest.mark.parametrize(
    ("argv", "options", "message"),
    [
        (["--idle", "sleep"], {}, "backoff, park, spin"),
        (["--tag", "70000"], {}, "0 to 65535"),
        ([], {"speed": 1}, "speed"),
    ],
)
def test_wrong_options_are_refused_with_the_rule(argv, options, message):
    with pytest.raises(OptionsError, match=message):
        read_options(Strategy, argv, {"engine": "e", **options})


def test_the_public_names_can_all_be_imported():
    import latentspeed

    for name in latentspeed.__all__:
        assert getattr(latentspeed, name) is not None
    assert shutil.which("python3")
    with pytest.raises(AttributeError, match="nothing_like_this"):
        latentspeed.nothing_like_this  # noqa: B018
