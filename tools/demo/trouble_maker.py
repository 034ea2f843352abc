"""Carries out a chaos plan while the demo trades, and counts what it did, so that nothing else may explain an end."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import orjson

from latentspeed.tools.demo.chaos import Trouble

SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "stop": signal.SIGSTOP}


class TroubleMaker:
    """Makes each trouble at its time, and in the end undoes what is still wrong.

    Parameters: `troubles` by time; `pids` gives the running processes by name; `control_url` is the venue's;
    `show(text)` is told what was done.
    """

    def __init__(
        self,
        troubles: tuple[Trouble, ...],
        pids: Callable[[], dict[str, int]],
        control_url: str,
        show: Callable[[str], object],
    ) -> None:
        self.ended: Counter[str] = Counter()
        self.made: list[str] = []
        self._waiting = sorted(troubles, key=lambda trouble: trouble.at_s)
        self._pids = pids
        self._control_url = control_url
        self._show = show
        self._stopped: dict[int, float] = {}
        self._delayed_until_s = 0.0
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
        if self._delayed_until_s and elapsed_s >= self._delayed_until_s:
            self._delayed_until_s = 0.0
            self._ask(do="delay_reply_ms", value=0)
        while self._waiting and elapsed_s >= self._waiting[0].at_s:
            self._make(self._waiting.pop(0), elapsed_s)

    def _end(self) -> None:
        """Continue every stopped process and have the venue work again."""
        for pid in list(self._stopped):
            self._continue(pid)
        self._ask(do="reset_faults")

    def _make(self, trouble: Trouble, elapsed_s: float) -> None:
        if trouble.what not in SIGNALS:
            self._ask(do=trouble.what, **trouble.values)
            if trouble.for_s:
                self._delayed_until_s = elapsed_s + trouble.for_s
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

    def _ask(self, **request: object) -> None:
        body = urllib.request.Request(
            self._control_url, data=orjson.dumps(request), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(body, timeout=10) as answer:
            answer.read()

    def _note(self, text: str) -> None:
        self.made.append(text)
        self._show(text)
