"""An event loop whose time passes as fast as there is nothing to do, and a venue in it that fails in a chosen way."""

from __future__ import annotations

import asyncio
import json
import selectors
import time
from collections.abc import Callable
from typing import Any

from latentspeed.connectors.hyperliquid.rest import HEAVY, LIGHT, ORDINARY


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: where the loop would sleep, its clock moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now_s += max(timeout, 1e-6)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop in simulated time; `install` lets the time module follow it."""

    def __init__(self) -> None:
        self.clock = _Jumping()
        super().__init__(self.clock)
        self._began = time.time_ns()

    def time(self) -> float:
        return self.clock.now_s

    def install(self, monkeypatch: Any) -> None:
        """Let `time` tell the simulated time."""
        monkeypatch.setattr(time, "monotonic", lambda: self.clock.now_s)
        monkeypatch.setattr(time, "monotonic_ns", lambda: int(self.clock.now_s * 1e9))
        monkeypatch.setattr(time, "time_ns", lambda: self._began + int(self.clock.now_s * 1e9))
        monkeypatch.setattr(time, "time", lambda: self._began / 1e9 + self.clock.now_s)


def weight_of(path: str, body: dict[str, Any]) -> int:
    """What a request costs of the address's weight, before its rows."""
    if path == "/exchange":
        action = body["action"]
        return 1 + len(action.get("orders", action.get("cancels", ()))) // 40
    light = ("l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus")
    return LIGHT if body["type"] in light else HEAVY if body["type"] == "userRole" else ORDINARY


class Ledger:
    """Every request of a simulated run: when, what, and what it weighed."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], bytes]) -> None:
        self.rows: list[tuple[float, str, int]] = []
        self.answer = answer

    async def post(self, path: str, body: bytes) -> bytes:
        """Takes the place of an HTTP client's post."""
        content = json.loads(body)
        name = content.get("type") or content["action"]["type"]
        self.rows.append((time.monotonic(), name, weight_of(path, content)))
        await asyncio.sleep(0.02)
        return self.answer(path, content)

    def busiest_minute(self) -> int:
        """The largest weight within any sixty seconds."""
        worst = weight = last = 0
        for start, _, first_weight in self.rows:
            while last < len(self.rows) and self.rows[last][0] < start + 60.0:
                weight += self.rows[last][2]
                last += 1
            worst = max(worst, weight)
            weight -= first_weight
        return worst

    def most_in_a_second(self) -> int:
        """The largest number of requests within any second."""
        times = [when for when, _, _ in self.rows]
        worst = last = 0
        for first, start in enumerate(times):
            while last < len(times) and times[last] < start + 1.0:
                last += 1
            worst = max(worst, last - first)
        return worst
