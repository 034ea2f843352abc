"""The trading part of a run, followed through shared memory: progress, kills, and the quiet at the end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from rich.console import Console

from latentspeed.connectors import format_client_order_id
from latentspeed.engine.managed_child import ChildState
from latentspeed.engine.segment_layout import attach_segment, sizes_of
from latentspeed.ipc import SegmentReader, SegmentState, SessionState, segment_names
from latentspeed.tools.proving.departures import Departures
from latentspeed.tools.proving.engine_under_test import (
    START_DEADLINE_S,
    ChildProcess,
    Kill,
    RunFailed,
    child_pids,
    children_of,
    wait_until,
)
from latentspeed.tools.proving.recorder import Recorder
from latentspeed.tools.proving.report import Report
from latentspeed.tools.proving.trouble_maker import TroubleMaker

FINISH_DEADLINE_S = 60.0
RESTART_DEADLINE_S = 20.0
OVER = (ChildState.ENDED, ChildState.FAILED)


class Trading:
    """Follows an engine's strategies until they have ended.

    Parameters: `folder` and `engine_name` where the engine runs; `connector` its name there; `engine` its supervisor;
    `strategies` their names;
    `stop_at` the monotonic time at which the strategies stop.
    """

    def __init__(
        self,
        folder: Path,
        engine_name: str,
        connector: str,
        engine: ChildProcess,
        strategies: tuple[str, ...],
        console: Console,
        stop_at: float,
    ) -> None:
        self._folder = folder
        self._engine_name = engine_name
        self._connector = connector
        self._engine = engine
        self._strategies = strategies
        self._console = console
        self._stop_at = stop_at
        self.segment: SegmentReader = wait_until(self._attach, "the gateway's segment", START_DEADLINE_S)
        self.recorder = Recorder(self.segment)
        # The demo's pair is the connector's only one, and so the first.
        self.departures = Departures(self.segment, sizes_of(self.segment), 0)

    def trade(self, seconds: float, kills: list[Kill], trouble: TroubleMaker | None = None) -> Report:
        """Follow the trading, carry out the kills, make trouble, and wait until the strategies have ended."""
        report = Report(seconds=seconds)
        wait_until(self._all_trade, "orders of every strategy", START_DEADLINE_S)
        begin = shown = time.monotonic()
        waiting = sorted(kills, key=lambda kill: kill.at_s)
        while self._running():
            self._engine.check()
            self._poll()
            now = time.monotonic()
            if waiting and now - begin >= waiting[0].at_s:
                self._carry_out(waiting.pop(0), report)
            if trouble is not None:
                trouble.poll(now - begin, is_over=now > self._stop_at)
            if now - shown >= 2.0:
                shown = now
                self._show_progress(now - begin)
            if now > self._stop_at + FINISH_DEADLINE_S:
                raise RunFailed(f"the strategies did not end: {sorted(self._running())}")
            time.sleep(0.01)
        report.differences += [f"{kill.name}@{kill.at_s:g} came after the end of trading" for kill in waiting]
        self._quiesce()
        if trouble is not None:
            report.troubles = trouble.made
            report.differences += self._unexplained_ends(trouble)
        return report

    def _attach(self) -> SegmentReader | None:
        self._engine.check()
        if f"{self._engine_name}.{self._connector}" not in segment_names():
            return None
        return attach_segment(self._engine_name, self._connector, timeout_s=START_DEADLINE_S)

    def _poll(self) -> None:
        self.recorder.poll()
        self.departures.poll()

    def _all_trade(self) -> bool:
        self._engine.check()
        self._poll()
        return len(set(self.recorder.orders.open.values())) == len(self._strategies)

    def _running(self) -> set[str]:
        children = children_of(self._folder, self._engine_name)
        return {name for name in self._strategies if name in children and children[name].state not in OVER}

    def _unexplained_ends(self, trouble: TroubleMaker) -> list[str]:
        """Every process must have ended exactly as often as it was killed."""
        return [
            f"{name} was killed {trouble.ended[name]} times and started again {child.restarts} times ({child.state})"
            for name, child in children_of(self._folder, self._engine_name).items()
            if child.restarts != trouble.ended[name] or child.state == ChildState.FAILED
        ]

    def _generations(self) -> dict[str, int]:
        """The generation of each live session, by the strategy's name."""
        return {
            info.claim.name: info.generation
            for info in self.segment.sessions_info()
            if info.state is SessionState.ACTIVE and info.claim is not None
        }

    def _carry_out(self, kill: Kill, report: Report) -> None:
        pid = child_pids(self._folder, self._engine_name).get(kill.name)
        if pid is None:
            raise RunFailed(f"cannot kill {kill.name}: it does not run")
        before = self._generations()
        begin = time.monotonic()
        if kill.name == "gateway":
            outcome = self._kill_gateway(pid, before, report)
        else:
            outcome = self._kill_strategy(pid, kill.name, before[kill.name], report)
        took_s = round(time.monotonic() - begin, 3)
        report.kills.append({"name": kill.name, "at_s": kill.at_s, "pid": pid, "settled_after_s": took_s, **outcome})
        self._console.print(f"killed {kill.name} (pid {pid}); settled after {took_s} s: {outcome}")

    def _kill_gateway(self, pid: int, before: dict[str, int], report: Report) -> dict[str, object]:
        """A new gateway must come, and every strategy must keep its session."""
        epoch = self.segment.epoch
        os.kill(pid, signal.SIGKILL)

        def is_back() -> bool:
            self._poll()
            return self.segment.epoch > epoch and self.segment.state is SegmentState.LIVE

        wait_until(is_back, "the gateway's restart", RESTART_DEADLINE_S)
        after = self._generations()
        lost = sorted(name for name, generation in before.items() if after.get(name) != generation)
        report.differences += [f"{name} lost its session when the gateway was killed" for name in lost]
        return {"epoch": self.segment.epoch, "sessions_kept": sorted(set(before) - set(lost))}

    def _kill_strategy(self, pid: int, name: str, generation: int, report: Report) -> dict[str, object]:
        """The gateway must find the death and take every order of the session off the book."""
        orders = self.recorder.orders

        def has_open_order() -> bool:
            self._poll()
            return bool(orders.open_of(generation) & orders.acknowledged)

        wait_until(has_open_order, f"an open order of {name}", FINISH_DEADLINE_S)
        open_orders = orders.open_of(generation)
        os.kill(pid, signal.SIGKILL)

        def is_settled() -> bool:
            self._poll()
            open_orders.update(orders.open_of(generation))
            return self._generations().get(name) != generation and not orders.open_of(generation)

        wait_until(is_settled, f"the end of the orders of {name}", FINISH_DEADLINE_S)
        cancelled, filled = open_orders & orders.cancelled, open_orders & orders.filled
        return {"open_orders": len(open_orders), "cancelled": len(cancelled), "filled": len(filled)}

    def _quiesce(self) -> None:
        """Every strategy has ended: wait until a live gateway has settled their sessions and no order is open."""

        def is_settled() -> bool:
            self._poll()
            is_free = all(info.state is SessionState.FREE for info in self.segment.sessions_info())
            # A gateway that has yet to compare with the venue may still publish fills, and is not yet ready.
            is_ready = children_of(self._folder, self._engine_name)["gateway"].state == ChildState.RUNNING
            return is_free and not self.recorder.orders.open and is_ready

        try:
            wait_until(is_settled, "every order to end", FINISH_DEADLINE_S)
        except RunFailed as error:
            raise RunFailed(f"{error}; {self._unsettled()}") from None

    def _unsettled(self) -> str:
        """What keeps the end from coming."""
        orders = self.recorder.orders
        kept = [f"{format_client_order_id(number)} {orders.last[number]}" for number in orders.open]
        sessions = [f"{info.slot} {info.state.name}" for info in self.segment.sessions_info() if info.state]
        gateway = children_of(self._folder, self._engine_name)["gateway"].state
        return f"open orders: {kept}; sessions: {sessions}; gateway {gateway}; {self.recorder.lost} events were missed"

    def _show_progress(self, elapsed: float) -> None:
        orders = self.recorder.orders
        self._console.print(
            f"{elapsed:5.1f} s  orders {len(orders.sent):6}  acknowledged {len(orders.acknowledged):6}  "
            f"fills {len(self.recorder.fills):6}  cancelled {len(orders.cancelled):6}"
        )
