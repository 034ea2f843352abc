"""The demo is the product's claim: killed gateways and strategies lose no order and no fill."""

import signal
import subprocess

import psutil
import pytest
from support.demo_run import COMMAND, run_demo
from support.real_gateway import wait_for

from latentspeed.ipc import segment_names


def assert_traded(report):
    fills = report["fills"]
    assert fills["venue"] == fills["gateway"] > 0
    assert report["orders"]["sent"] > 10
    ended = sum(report["orders"][name] for name in ("filled", "cancelled", "expired"))
    assert ended >= report["orders"]["acknowledged"]


def test_books_agree_after_a_plain_run(tmp_path):
    report = run_demo(tmp_path, "--seconds", "3")
    assert_traded(report)
    assert report["gateway_epochs"] == 1


def test_books_agree_after_a_gateway_and_a_strategy_were_killed(tmp_path):
    report = run_demo(tmp_path, "--seconds", "9", "--kill", "gateway@2", "--kill", "taker@5")
    assert_traded(report)
    gateway, taker = report["kills"]
    assert report["gateway_epochs"] == gateway["epoch"] == 2
    assert gateway["sessions_kept"] == ["maker", "taker"]
    # An order that crosses may have been filled while its strategy was killed.
    assert taker["open_orders"] == taker["cancelled"] + taker["filled"] > 0


def test_books_agree_on_a_recorded_market(tmp_path, reference):
    tape = reference / "market" / "btcusdt_20240808.gz"
    report = run_demo(tmp_path, "--seconds", "6", "--tape", str(tape))
    assert_traded(report)


@pytest.mark.parametrize("text", ["gateway", "venue@3", "gateway@soon"])
def test_a_kill_that_cannot_be_is_one_line(text):
    done = subprocess.run([*COMMAND, "--kill", text], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode != 0
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_no_process_and_nothing_in_shared_memory(tmp_path, number):
    process = subprocess.Popen(
        [*COMMAND, "--seconds", "60", "--keep", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: list(tmp_path.glob("state/*/engine.json")), "the engine never started", 60)
        segment = f"demo-{process.pid}.hyperliquid"
        wait_for(lambda: segment in segment_names(), "the gateway never started", 60)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        process.send_signal(number)
        assert process.wait(60) == (143 if number == signal.SIGTERM else -9)
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive, f"left running: {[child.cmdline() for child in alive]}"
        assert segment not in segment_names()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
