"""The processes of a run: a venue, an engine beside it with its strategies, and how they are found and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from latentspeed.engine import exec_child as exec_child_module
from latentspeed.engine.runtime_file import ChildRuntime, read_runtime
from latentspeed.tools.proving.trouble_maker import GATEWAY

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0


class RunFailed(Exception):
    """A part of the run did not do what the run needs; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A process to kill with SIGKILL, so many seconds after the start of trading."""

    name: str
    at_s: float

    @classmethod
    def parse(cls, text: str, names: Collection[str]) -> Self:
        """From `gateway@10`, one of the names. Raises ValueError, saying what the form is."""
        name, separator, seconds = text.partition("@")
        if not separator or name not in names:
            raise ValueError(f"{text!r} is not of the form {' or '.join(f'{known}@10' for known in names)}")
        try:
            return cls(name, float(seconds))
        except ValueError:
            raise ValueError(f"{text!r}: {seconds!r} is not a number of seconds") from None


def wait_until(condition: Callable[[], object], what: str, deadline_s: float) -> Any:
    """Wait for a condition's true value and return it. Raises RunFailed naming `what` after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise RunFailed(f"{what}: not within {deadline_s:g} s")


class ChildProcess:
    """One process with its output in a file; ended by its pid, and by the kernel should the run be killed."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self._file = log.open("wb")
        exec_child = [
            sys.executable,
            "-I",
            "-S",
            exec_child_module.__file__,
            str(os.getpid()),
            str(int(signal.SIGTERM)),
        ]
        self.process = subprocess.Popen(
            [*exec_child, "0", *command], stdin=subprocess.DEVNULL, stdout=self._file, stderr=subprocess.STDOUT, env=env
        )

    def check(self) -> None:
        """Raises RunFailed with the end of its log when the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise RunFailed(f"{self.name} ended with code {code}:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """SIGTERM, and SIGKILL when that is not enough; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._file.close()
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def command_line(*arguments: str) -> list[str]:
    """The `latentspeed` command of this very installation."""
    return [sys.executable, "-P", "-m", "latentspeed.tools.cli", *arguments]


def venue_address(venue: ChildProcess) -> dict[str, Any]:
    """Where the venue listens, from the line that it prints when it is ready."""

    def ready() -> dict[str, Any] | None:
        venue.check()
        for line in venue.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                address: dict[str, Any] = orjson.loads(line)
                return address
        return None

    found: dict[str, Any] = wait_until(ready, "the venue's address", START_DEADLINE_S)
    return found


@dataclass(frozen=True, slots=True)
class EngineShape:
    """What differs between one engine and another.

    A strategy runs the module of its name, up to a `-`, in the package `modules`: `maker-2` is another maker.
    """

    modules: str

    strategies: tuple[str, ...] = ("maker", "taker")
    restart: str = "never"
    idle: str = "park"
    shared_memory: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectorSection:
    """One connector of an engine's configuration; `settings` and `options` are written as they are."""

    name: str
    settings: Mapping[str, object]
    options: Mapping[str, object] = field(default_factory=dict)


def write_config(
    folder: Path,
    engine: str,
    connectors: ConnectorSection | Collection[ConnectorSection],
    environment: Mapping[str, str],
    shape: EngineShape,
) -> Path:
    """Write the engine's configuration: its connectors, one or several, and the strategies."""
    sections = [connectors] if isinstance(connectors, ConnectorSection) else connectors
    strategies = "\n".join(
        f"""
[[strategies]]
name = "{name}"
module = "{shape.modules}.{name.partition("-")[0]}"
idle = "{shape.idle}"
restart = "{shape.restart}"
env = {{ {", ".join(f'{key} = "{value}"' for key, value in environment.items())} }}
"""
        for name in shape.strategies
    )
    gateways = "\n".join(_gateway(connector, shape) for connector in sections)
    path = folder / "engine.toml"
    path.write_text(
        f"""[engine]
name = "{engine}"
state_dir = "{folder / "state"}"
{gateways}{strategies}"""
    )
    return path


def _gateway(connector: ConnectorSection, shape: EngineShape) -> str:
    return f"""
[connectors.{connector.name}]
{_toml(connector.settings)}
[connectors.{connector.name}.options]
{_toml(connector.options)}
[connectors.{connector.name}.shared_memory]
{_toml(shape.shared_memory)}"""


def _toml(values: Mapping[str, object]) -> str:
    """Keys and values, a line each: texts, numbers, truth values and lists of them are written alike in JSON."""
    return "".join(f"{name} = {orjson.dumps(value).decode()}\n" for name, value in values.items())


def start_engine(folder: Path, config: Path, secrets: Mapping[str, str]) -> ChildProcess:
    """Start the supervisor, which starts everything else; `secrets` are variables of its environment."""
    environment = {**os.environ, **secrets}
    return ChildProcess("engine", command_line("run", str(config)), folder / "engine.log", environment)


def gateway_names(connectors: Collection[str]) -> dict[str, str]:
    """What the gateway of each connector is called: `gateway` where it is the only one, else `gateway-CONNECTOR`."""
    return {name: GATEWAY if len(connectors) == 1 else f"{GATEWAY}-{name}" for name in connectors}


def children_of(folder: Path, engine: str) -> dict[str, ChildRuntime]:
    """The engine's children as its supervisor describes them: gateways by `gateway_names`, strategies by name."""
    runtime = read_runtime(folder / "state" / engine)
    if runtime is None:
        return {}
    gateways = gateway_names([child.name for child in runtime.children if child.kind == "gateway"])
    return {gateways[child.name] if child.kind == "gateway" else child.name: child for child in runtime.children}


def child_pids(folder: Path, engine: str) -> dict[str, int]:
    """The pids of the engine's running children."""
    return {name: child.pid for name, child in children_of(folder, engine).items() if child.pid is not None}
