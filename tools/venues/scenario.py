"""A scenario: a file that says what goes wrong when, and for how long.

[[step]]
at_s = 2.5                  # so long after the start; or after_orders = 100
do = "silent_sockets"       # any command of /control, with its arguments
channels = ["bbo"]
for_s = 4                   # it ends by itself
every_s = 30                # again and again ...
times = 3                   # ... so often
"""

from __future__ import annotations

import asyncio
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentspeed.tools.venues.commands import Command

log = logging.getLogger(__name__)

TIMING = frozenset(("do", "at_s", "after_orders", "for_s", "every_s", "times"))


class ScenarioError(ValueError):
    """A scenario that cannot be played: the file, the step and the rule that it breaks."""


@dataclass(slots=True)
class Step:
    """One thing that happens.

    Attributes:
        at_s: seconds after the start, or after the orders have come.
        after_orders: how many orders the venue must have been sent before, 0 for none.
        every_s, times: how often, and at which distance.
    """

    command: Command
    given: dict[str, Any]
    at_s: float = 0.0
    after_orders: int = 0
    every_s: float = 0.0
    times: int = 1


@dataclass(slots=True)
class Scenario:
    """Steps, and how far they have come."""

    steps: list[Step]
    _waiting: list[Step] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Begin to count the time."""
        self._waiting = [step for step in self.steps if step.after_orders]
        for step in self.steps:
            if not step.after_orders:
                self._begin(step)

    def note_orders(self, count: int) -> None:
        """Play the steps that wait for so many orders."""
        if self._waiting and any(step.after_orders <= count for step in self._waiting):
            due = [step for step in self._waiting if step.after_orders <= count]
            self._waiting = [step for step in self._waiting if step.after_orders > count]
            for step in due:
                self._begin(step)

    def stop(self) -> None:
        """Play nothing more."""
        for task in self._tasks:
            task.cancel()
        self._waiting.clear()

    def _begin(self, step: Step) -> None:
        if not step.at_s:
            _play(step)
        if step.at_s or step.times > 1:
            task = asyncio.get_running_loop().create_task(_play_later(step))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _play_later(step: Step) -> None:
    await asyncio.sleep(step.at_s or step.every_s)
    for left in range(step.times - (not step.at_s), 0, -1):
        _play(step)
        if left > 1:
            await asyncio.sleep(step.every_s)


def _play(step: Step) -> None:
    try:
        step.command.run(dict(step.given))
        log.info("scenario: %s %s", step.command.name, step.given)
    except ValueError as error:
        log.error("scenario: %s: %s", step.command.name, error)


def load_scenario(path: Path, commands: Mapping[str, Command]) -> Scenario:
    """Read and check a scenario file.

    Raises:
        ScenarioError: no such file, no TOML, or a step that breaks a rule.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    steps = document.pop("step", None)
    if document:
        raise ScenarioError(f"{path}: unknown key {next(iter(document))!r}; a scenario has [[step]] tables only")
    if not isinstance(steps, list) or not steps:
        raise ScenarioError(f"{path}: no [[step]]")
    return Scenario([_step(f"{path}, step {number}", raw, commands) for number, raw in enumerate(steps, 1)])


def _step(where: str, raw: Any, commands: Mapping[str, Command]) -> Step:
    if not isinstance(raw, dict):
        raise ScenarioError(f"{where}: must be a [[step]] table")
    name = raw.get("do")
    command = commands.get(name) if isinstance(name, str) else None
    if command is None:
        raise ScenarioError(f"{where}: do={name!r}: must be one of {', '.join(sorted(commands))}")
    given = {key: value for key, value in raw.items() if key not in TIMING}
    if "for_s" in raw:
        if "for_ms" not in command.takes:
            raise ScenarioError(f"{where}: for_s: {name} has no duration")
        given["for_ms"] = round(1000 * _seconds(where, raw, "for_s", least=0.001))
    try:
        arguments = command.check(given)
    except ValueError as error:
        raise ScenarioError(f"{where}: {error}") from None
    if ("at_s" in raw) == ("after_orders" in raw):
        raise ScenarioError(f"{where}: needs either at_s or after_orders")
    step = Step(command, arguments)
    if "at_s" in raw:
        step.at_s = _seconds(where, raw, "at_s")
    else:
        step.after_orders = _count(where, raw, "after_orders")
    if ("every_s" in raw) != ("times" in raw):
        raise ScenarioError(f"{where}: every_s and times go together")
    if "times" in raw:
        step.every_s, step.times = _seconds(where, raw, "every_s", least=0.001), _count(where, raw, "times")
    return step


def _seconds(where: str, raw: dict[str, Any], name: str, least: float = 0.0) -> float:
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
        raise ScenarioError(f"{where}: {name}={value!r}: must be seconds, {'above' if least else 'from'} 0")
    return float(value)


def _count(where: str, raw: dict[str, Any], name: str) -> int:
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ScenarioError(f"{where}: {name}={value!r}: must be a whole number, at least 1")
    return value
