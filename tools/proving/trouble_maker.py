"""Carries out a plan of troubles while strategies trade, and counts it, so that nothing else may explain an end."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import orjson

GATEWAY = "gateway"
SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "stop": signal.SIGSTOP}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong.

    `what` is `kill`, `terminate` or `stop` with process names as `targets`, or a fault that the venue can be ordered to
    make. `for_s` is how long a process stays stopped or a fault lasts; `values` are the fault's own.
    """

    at_s: float
    what: str
    targets: tuple[str, ...] = ()
    for_s: float = 0.0
    values: dict[str, int | bool] = field(default_factory=dict)

    def __str__(self) -> str:
        details = [*self.targets, *(f"{name}={value}" for name, value in self.values.items())]
        details += [f"for {self.for_s:.1f} s"] if self.for_s else []
        return f"{self.at_s:.2f} s: {self.what} {' '.join(details)}".rstrip()


class FaultyVenue(Protocol):
    """A venue that can be ordered to go wrong."""

    def order(self, trouble: Trouble) -> None:
        """Let a fault begin."""

    def end(self, trouble: Trouble) -> None:
        """Let a fault that lasts end."""

    def reset(self) -> None:
        """Let everything work again."""


class ControlPort:
    """A local venue by its control port, whose names and values a trouble has.

    Parameters: `url` of the port.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def order(self, trouble: Trouble) -> None:
        """Order the fault by its name."""
        self.ask(do=trouble.what, **trouble.values)

    def end(self, trouble: Trouble) -> None:
        """A value of nothing ends it."""
        self.ask(do=trouble.what, value=0)

    def reset(self) -> None:
        """Disarm everything."""
        self.ask(do="reset_faults")

    def ask(self, **request: object) -> dict[str, object]:
        """One command; returns the reply. Raises OSError where it is refused."""
        body = urllib.request.Request(
            self._url, data=orjson.dumps(request), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(body, timeout=10) as answer:
            reply: dict[str, object] = orjson.loads(answer.read() or b"{}")
        return reply


class TroubleMaker:
    """Makes each trouble at its time, and in the end undoes what is still wrong.

    Parameters: `troubles` by time; `pids` gives the running processes by name; `venue` makes the faults; `show(text)`
    is told what was done.
    """

    def __init__(
        self,
        troubles: tuple[Trouble, ...],
        pids: Callable[[], dict[str, int]],
        venue: FaultyVenue,
        show: Callable[[str], object],
    ) -> None:
        self.ended: Counter[str] = Counter()
        self.made: list[str] = []
        self.counts: Counter[str] = Counter()
        self._waiting = sorted(troubles, key=lambda trouble: trouble.at_s)
        self._pids = pids
        self._venue = venue
        self._show = show
        self._stopped: dict[int, float] = {}
        self._lasting: list[tuple[float, Trouble]] = []
        self._killed: set[int] = set()
        self._is_over = False

    def poll(self, elapsed_s: float, *, is_over: bool) -> None:
        """Make what is due, so many seconds after the start of trading; once trading is over, let everything work."""
        if is_over:
            if not self._is_over:
                self._is_over = True
                self._end()
            return
        for pid, until_s in list(self._stopped.items()):
            if elapsed_s >= until_s:
                self._continue(pid)
        for until_s, trouble in [entry for entry in self._lasting if elapsed_s >= entry[0]]:
            self._lasting.remove((until_s, trouble))
            if not any(other.what == trouble.what for _, other in self._lasting):
                self._venue.end(trouble)
        while self._waiting and elapsed_s >= self._waiting[0].at_s:
            self._make(self._waiting.pop(0), elapsed_s)

    def _end(self) -> None:
        """Continue every stopped process and have the venue work again."""
        for pid in list(self._stopped):
            self._continue(pid)
        self._lasting.clear()
        self._venue.reset()

    def _make(self, trouble: Trouble, elapsed_s: float) -> None:
        if trouble.what not in SIGNALS:
            self._venue.order(trouble)
            if trouble.for_s:
                self._lasting.append((elapsed_s + trouble.for_s, trouble))
            self.counts[trouble.what] += 1
            self._note(str(trouble))
            return
        pids = self._pids()
        hit = [name for name in trouble.targets if name in pids and pids[name] not in self._killed]
        for name in hit:
            self._signal(trouble, name, pids[name], elapsed_s)
        self._note(f"{trouble} (pids {', '.join(f'{name}={pids[name]}' for name in hit) or 'none: not running'})")

    def _signal(self, trouble: Trouble, name: str, pid: int, elapsed_s: float) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, SIGNALS[trouble.what])
            self.counts[f"{trouble.what} {name}"] += 1
            if trouble.what == "stop":
                self._stopped[pid] = elapsed_s + trouble.for_s
                return
            self.ended[name] += 1
            self._killed.add(pid)
            if trouble.what == "terminate":
                self._continue(pid)

    def _continue(self, pid: int) -> None:
        self._stopped.pop(pid, None)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _note(self, text: str) -> None:
        self.made.append(text)
        self._show(text)
