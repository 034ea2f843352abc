"""The README's walk: a local venue, a gateway and the first strategy from one config, and the same strategy by hand."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentspeed.ipc import segment_names
from latentspeed.tools.inspector.read import Inspector

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE_S = 60.0


class Program:
    """A process with its output in a file, ended by its pid."""

    def __init__(self, log: Path, *command: str | Path, **options) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen([str(word) for word in command], stdout=file, stderr=file, **options)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)

    def wait_until(self, condition, what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, f"{what}: the program has ended\n{self.output[-3000:]}"
            assert time.monotonic() < end, f"{what}: not within {DEADLINE_S:g} s\n{self.output[-3000:]}"
            time.sleep(0.05)


@pytest.fixture
def engine(tmp_path):
    """The example's engine under a name of its own, its venue on a free port."""
    name = f"readme-{secrets.token_hex(4)}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for path in EXAMPLES.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    config = (EXAMPLES / "local.toml").read_text()
    (tmp_path / "local.toml").write_text(
        config.replace("3001", str(port)).replace('name = "local"', f'name = "{name}"')
    )
    environment = {**os.environ, "HOME": str(tmp_path), "LATENTSPEED_LOCAL_KEY": "0x" + secrets.token_hex(32)}
    program = "from latentspeed.tools.cli import main; main()"
    command = [sys.executable, "-P", "-c", program, "run", tmp_path / "local.toml"]
    running = Program(tmp_path / "engine.log", *command, cwd=tmp_path, env=environment)
    try:
        yield name, running
    finally:
        if running.process.poll() is None:
            running.interrupt()


def quoting(engine: str) -> set[str]:
    """Name and tag of each strategy that has sent commands."""
    if not any(name.startswith(f"{engine}.") for name in segment_names()):
        return set()
    with Inspector(engine) as inspector:
        return {
            f"{s.name} {s.tag}" for segment in inspector.snapshot().segments for s in segment.sessions if s.commands
        }


def test_the_first_strategy_quotes_under_the_engine_and_by_hand_beside_it(engine, tmp_path):
    name, running = engine
    running.wait_until(lambda: quoting(name) == {"quoter 1"}, "the strategy of the config quotes")
    running.wait_until(lambda: "Balance(USDC" in running.output, "it prints its balance")
    beside = Program(tmp_path / "beside.log", sys.executable, EXAMPLES / "quoter.py", "--engine", name)
    try:
        beside.wait_until(lambda: quoting(name) == {"quoter 1", "quoter 0"}, "the strategy by hand quotes")
        beside.wait_until(lambda: "Balance(USDC" in beside.output, "it prints its balance, too")
    finally:
        code = beside.interrupt()
    assert code == 0, beside.output
    assert running.interrupt() == 0, running.output
    for program in (running, beside):
        assert "Traceback" not in program.output
        assert "ERROR" not in program.output, program.output
