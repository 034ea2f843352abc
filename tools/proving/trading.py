"""The trading part of a run, followed through shared memory: progress, kills, and the quiet at the end."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from rich.console import Console

from latentspeed.connectors import format_client_order_id
from latentspeed.engine.managed_child import ChildState
from latentspeed.engine.segment_layout import attach_segment
from latentspeed.ipc import SegmentReader, SegmentState, SessionState, segment_names
from latentspeed.tools.proving.engine_under_test import (
    START_DEADLINE_S,
    ChildProcess,
    Kill,
    RunFailed,
    child_pids,
    children_of,
    gateway_names,
    wait_until,
)
from latentspeed.tools.proving.leg import Leg
from latentspeed.tools.proving.report import Report
from latentspeed.tools.proving.stop_time import write_stop_time
from latentspeed.tools.proving.trouble_maker import TroubleMaker

FINISH_DEADLINE_S = 60.0
RESTART_DEADLINE_S = 60.0
OVER = (ChildState.ENDED, ChildState.FAILED)


class Trading:
    """Follows an engine's strategies until they have ended.

    Parameters: `folder` and `engine_name` where the engine runs; `connectors` their names there; `engine` its
    supervisor; `strategies` their names.
    """

    def __init__(
        self,
        folder: Path,
        engine_name: str,
        connectors: Collection[str],
        engine: ChildProcess,
        strategies: tuple[str, ...],
        console: Console,
    ) -> None:
        self._folder = folder
        self._engine_name = engine_name
        self._engine = engine
        self._strategies = strategies
        self._console = console
        self.legs = tuple(self._leg(connector, gateway) for connector, gateway in gateway_names(connectors).items())

    def trade(self, seconds: float, kills: list[Kill], trouble: TroubleMaker | None = None) -> Report:
        """Follow the trading, carry out the kills, make trouble, and wait until the strategies have ended.

        So many seconds are counted from when every strategy has sent an order to every venue.
        """
        report = Report(seconds=seconds)
        wait_until(self._all_trade, "orders of every strategy", START_DEADLINE_S)
        begin = shown = time.monotonic()
        stop_at = math.inf
        waiting = sorted(kills, key=lambda kill: kill.at_s)
        while self._running():
            self._engine.check()
            self._poll()
            now = time.monotonic()
            if waiting and now - begin >= waiting[0].at_s:
                self._carry_out(waiting.pop(0), report)
            if now >= begin + seconds and not waiting and stop_at == math.inf:
                stop_at = now  # not before the last kill, however long the ones before it took to be settled
                write_stop_time(self._folder, stop_at)
            if trouble is not None:
                trouble.poll(now - begin, is_over=now > stop_at)
            if now - shown >= 2.0:
                shown = now
                self._show_progress(now - begin)
            if now > stop_at + FINISH_DEADLINE_S:
                raise RunFailed(f"the strategies did not end: {sorted(self._running())}")
            time.sleep(0.01)
        report.differences += [f"{kill.name}@{kill.at_s:g} came after the end of trading" for kill in waiting]
        self._quiesce()
        if trouble is not None:
            report.troubles = trouble.made
            report.differences += self._unexplained_ends(trouble)
        return report

    def _leg(self, connector: str, gateway: str) -> Leg:
        def attach() -> SegmentReader | None:
            self._engine.check()
            if f"{self._engine_name}.{connector}" not in segment_names():
                return None
            return attach_segment(self._engine_name, connector, timeout_s=START_DEADLINE_S)

        return Leg(connector, gateway, wait_until(attach, f"the segment of {gateway}", START_DEADLINE_S))

    def _poll(self) -> None:
        for leg in self.legs:
            leg.poll()

    def _all_trade(self) -> bool:
        self._engine.check()
        self._poll()
        return all(len(leg.recorder.orders.senders) >= len(self._strategies) for leg in self.legs)

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

    def _carry_out(self, kill: Kill, report: Report) -> None:
        pid = child_pids(self._folder, self._engine_name).get(kill.name)
        if pid is None:
            raise RunFailed(f"cannot kill {kill.name}: it does not run")
        begin = time.monotonic()
        leg = next((leg for leg in self.legs if leg.gateway == kill.name), None)
        outcome = self._kill_strategy(pid, kill.name) if leg is None else self._kill_gateway(pid, leg, report)
        took_s = round(time.monotonic() - begin, 3)
        report.kills.append({"name": kill.name, "at_s": kill.at_s, "pid": pid, "settled_after_s": took_s, **outcome})
        self._console.print(f"killed {kill.name} (pid {pid}); settled after {took_s} s: {outcome}")

    def _kill_gateway(self, pid: int, leg: Leg, report: Report) -> dict[str, object]:
        """A new gateway must come, and every strategy must keep its session."""
        before, epoch = leg.generations(), leg.segment.epoch
        os.kill(pid, signal.SIGKILL)

        def is_back() -> bool:
            self._poll()
            return leg.segment.epoch > epoch and leg.segment.state is SegmentState.LIVE

        wait_until(is_back, f"the restart of {leg.gateway}", RESTART_DEADLINE_S)
        after = leg.generations()
        lost = sorted(name for name, generation in before.items() if after.get(name) != generation)
        report.differences += [f"{name} lost its session when {leg.gateway} was killed" for name in lost]
        return {"epoch": leg.segment.epoch, "sessions_kept": sorted(set(before) - set(lost))}

    def _kill_strategy(self, pid: int, name: str) -> dict[str, object]:
        """Each gateway must find the death and take every order of its session off the book."""
        sessions = [(leg, leg.recorder.orders, leg.generations()[name]) for leg in self.legs]

        def has_open_order() -> bool:
            self._poll()
            return any(orders.open_of(generation) & orders.acknowledged for _, orders, generation in sessions)

        wait_until(has_open_order, f"an open order of {name}", FINISH_DEADLINE_S)
        ended = [orders.open_of(generation) for _, orders, generation in sessions]
        os.kill(pid, signal.SIGKILL)

        def is_settled() -> bool:
            self._poll()
            for known, (_, orders, generation) in zip(ended, sessions, strict=True):
                known.update(orders.open_of(generation))
            return all(
                leg.generations().get(name) != generation and not orders.open_of(generation)
                for leg, orders, generation in sessions
            )

        wait_until(is_settled, f"the end of the orders of {name}", FINISH_DEADLINE_S)
        counts = {"open_orders": 0, "cancelled": 0, "filled": 0}
        for known, (_, orders, _) in zip(ended, sessions, strict=True):
            counts["open_orders"] += len(known)
            counts["cancelled"] += len(known & orders.cancelled)
            counts["filled"] += len(known & orders.filled)
        return dict(counts)

    def _quiesce(self) -> None:
        """Every strategy has ended: wait until live gateways have settled their sessions and no order is open."""

        def is_settled() -> bool:
            self._poll()
            return all(self._is_settled(leg) for leg in self.legs)

        try:
            wait_until(is_settled, "every order to end", FINISH_DEADLINE_S)
        except RunFailed as error:
            raise RunFailed(f"{error}; {self._unsettled()}") from None

    def _is_settled(self, leg: Leg) -> bool:
        is_free = all(info.state is SessionState.FREE for info in leg.segment.sessions_info())
        # A gateway that has yet to compare with the venue may still publish fills, and is not yet ready.
        is_ready = children_of(self._folder, self._engine_name)[leg.gateway].state == ChildState.RUNNING
        return is_free and not leg.recorder.orders.open and is_ready

    def _unsettled(self) -> str:
        """What keeps the end from coming."""
        return "; ".join(self._unsettled_of(leg) for leg in self.legs if not self._is_settled(leg))

    def _unsettled_of(self, leg: Leg) -> str:
        orders = leg.recorder.orders
        kept = [f"{format_client_order_id(number)} {orders.last[number]}" for number in orders.open]
        sessions = [f"{info.slot} {info.state.name}" for info in leg.segment.sessions_info() if info.state]
        state = children_of(self._folder, self._engine_name)[leg.gateway].state
        missed = f"{leg.recorder.lost} events were missed"
        return f"open orders: {kept}; sessions: {sessions}; {leg.gateway} {state}; {missed}"

    def _show_progress(self, elapsed: float) -> None:
        for leg in self.legs:
            orders, where = leg.recorder.orders, f"  {leg.connector}" if len(self.legs) > 1 else ""
            self._console.print(
                f"{elapsed:5.1f} s  orders {len(orders.sent):6}  acknowledged {len(orders.acknowledged):6}  "
                f"fills {len(leg.recorder.fills):6}  cancelled {len(orders.cancelled):6}{where}"
            )
