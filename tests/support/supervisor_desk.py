"""An engine of small Python programs, which note what happens to them, under a real supervisor."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from latentspeed.engine.config import load_config
from latentspeed.engine.runtime_file import read_runtime
from latentspeed.engine.state_dir import log_path
from latentspeed.engine.supervisor import Supervisor

KEY = "0x" + "2e" * 32
OTHER_KEY = "0x" + "3f" * 32
DEADLINE_S = 60.0

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
