"""`latentspeed venue hyperliquid`: ready in one line, gone on a signal, errors in one line."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from latentspeed.tools.venues.hyperliquid.process import venue_process

COMMAND = [str(Path(sys.executable).with_name("latentspeed")), "venue", "hyperliquid"]
TICKER = {"e": "bookTicker", "s": "BTCUSDT", "b": "50000.10", "B": "1.0", "a": "50000.20", "A": "2.0"}


def ask(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


@pytest.fixture
def tape(tmp_path):
    path = tmp_path / "tape.gz"
    lines = [f"{10**18 + n * 10**7} {json.dumps({'stream': 'x', 'data': TICKER})}\n" for n in range(100)]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def test_a_venue_that_plays_a_tape_quotes_its_prices(tape):
    with venue_process("--tape", str(tape), "--speed", "50", "--seed", "3") as venue:
        ask(venue.control_url, {"do": "status"})
        while ask(venue.url + "/info", {"type": "allMids"})["BTC"] != "50000.5":
            pass
        assert ask(venue.url + "/info", {"type": "allMids"})["ETH"].startswith("3")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_venue_cleanly(number):
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, env=environment) as process:
        ready = json.loads(process.stdout.readline())
        assert ready["pid"] == process.pid
        assert set(ready) == {"url", "ws_url", "control_url", "pid"}
        process.send_signal(number)
        assert process.wait(60) == 0


def failure_of(*options: str) -> str:
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    assert done.returncode != 0
    assert done.stdout == ""
    return done.stderr.strip()


def test_what_cannot_work_is_one_line(tmp_path):
    assert "--port" in failure_of("--port", "65536")
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"not gzip")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options, complaint in (
            (["--speed", "0"], "speed"),
            (["--tape", str(tmp_path / "none.gz")], "none.gz"),
            (["--tape", str(broken)], "broken.gz"),
            (["--port", port], port),
            (["--spot", "USDC"], "NAME=VALUE"),
            (["--spot", "NOPE=5"], "NOPE"),
            (["--spot", "PURR=0.000001"], "decimals"),
            (["--spot-meta", str(tmp_path / "none.json")], "none.json"),
            (["--dex-meta", f"xyz={tmp_path / 'none.json'}"], "none.json"),
        ):
            error = failure_of(*options)
            assert complaint in error
            assert len(error.splitlines()) == 1, error


def test_a_tape_damaged_in_the_middle_ends_the_venue(tmp_path):
    path = tmp_path / "damaged.gz"
    good = [f"{10**18 + n * 10**6} {json.dumps({'stream': 'x', 'data': TICKER})}\n" for n in range(2000)]
    path.write_bytes(gzip.compress("".join([*good, "rubbish\n"]).encode()))
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [*COMMAND, "--port", "0", "--tape", str(path), "--speed", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode != 0
    assert "damaged.gz, line 2001" in done.stderr.strip().splitlines()[-1]
