"""Runs a strategy across shared memory: one thread, one loop over all its connectors.

    each turn    of every connector own order events, then market data; timers; if there was nothing, wait
    the end      on_stop; orders on their way get their answer; the rest is cancelled by policy; sessions are given up

A strategy ends by `stop()`, by SIGTERM or SIGINT, by an exception that leaves a callback, or when a session has ended.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.types import OrderState, OrderType, TimeInForce
from latentspeed.engine.refusals import GatewayNotReady
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.engine.strategy import Strategy
from latentspeed.engine.strategy_events import StrategyEvents
from latentspeed.engine.timers import Timer, Timers
from latentspeed.ipc import (
    BackOff,
    BusySpin,
    GatewayDown,
    IpcError,
    NoFreeSession,
    Park,
    RingReader,
    SegmentNotFound,
    SegmentRetired,
)

if TYPE_CHECKING:
    from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase

R = TypeVar("R")
log = logging.getLogger("latentspeed.strategy")

# Every wait is bounded, so that locks, states and signals are looked at this often.
MAX_WAIT_S = 0.1
ATTACH_SLICE_S = 0.5
IDLE_STRATEGIES: dict[str, Callable[[], BusySpin | BackOff | Park]] = {
    "spin": BusySpin,
    "backoff": BackOff,
    "park": Park,
}


class _StopRequested(BaseException):
    """A signal came while a strategy was waiting for a gateway; no failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyOptions:
    """Where a strategy runs and how: what the supervisor says, or the command line, or the caller of `run`."""

    engine: str
    name: str
    tag: int = 0
    cancel_on_death: bool = True
    idle: str = "park"
    start_timeout_s: float = 15.0
    stop_timeout_s: float = 3.0
    stall_timeout_s: float = 0.0
    arguments: Sequence[str] = field(default=())


class StrategyLoop:
    """The host of one strategy; `run` is its whole life."""

    def __init__(self, options: StrategyOptions) -> None:
        self._options = options
        self._strategy: Strategy | None = None
        self._connectors: dict[str, RemoteConnector] = {}
        self._events: dict[str, StrategyEvents] = {}
        self._lost: set[RemoteConnector] = set()
        self._timers = Timers()
        self._idle = IDLE_STRATEGIES[options.idle]()
        self._waited_on: list[RingReader] = []
        self._failure: BaseException | None = None
        self._stop_reason = ""
        self._signals = 0
        self._is_interruptible = False

    # What a strategy asks for

    @property
    def name(self) -> str:
        """The strategy's name."""
        return self._options.name

    @property
    def arguments(self) -> Sequence[str]:
        """The command-line arguments that are the strategy's own."""
        return self._options.arguments

    def connector(self, name: str) -> PerpetualDerivativeBase:
        """The connector of that name, attached at the first call; waits until its gateway is live."""
        connector = self._connectors.get(name)
        return connector if connector is not None else self._attach(name)

    def subscribe(self, connector: PerpetualDerivativeBase, trading_pair: str) -> None:
        """Have a pair's changes told."""
        connector.subscribe(trading_pair)
        self._events[connector.name].pairs.add(trading_pair)

    def every(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` every `seconds`."""
        return self._timers.every(seconds, callback)

    def stop(self, reason: str) -> None:
        """End after the current callback."""
        self._stop_reason = self._stop_reason or reason

    # Its life

    def run(self, strategy: Strategy) -> int:
        """Run a strategy to its end; the exit code: 0 after an orderly stop, 1 after a failure."""
        self._strategy = strategy
        strategy._host = self
        with _signal_handlers(self._on_signal):
            try:
                self._guard(strategy.on_start)
                if self._failure is None:
                    log.info("%s: started", self.name)
                while self._failure is None and not self._stop_reason:
                    self._guard(self._turn)
                self._end()
            finally:
                self._release()
        if isinstance(self._failure, SystemExit) and isinstance(self._failure.code, int):
            return self._failure.code
        return 0 if self._failure is None else 1

    def _turn(self) -> None:
        done = self._poll_all()
        if self._failure is None:
            done += self._timers.run_due(monotonic_ns())
        if not done and self._failure is None and not self._stop_reason:
            self._watch_new_readers()
            self._idle.wait(self._wait_s())

    def _poll_all(self) -> int:
        """Poll every connector once; a session that has ended ends the strategy."""
        done = 0
        for connector in self._connectors.values():
            try:
                done += connector.poll()
            except (IpcError, ConnectorError) as error:
                self._lost.add(connector)
                self._fail(error)
            if self._failure is not None:
                break
        return done

    def _wait_s(self) -> float:
        due = self._timers.next_due_mono_ns
        if due is None:
            return MAX_WAIT_S
        return min(MAX_WAIT_S, max(0.0, (due - monotonic_ns()) / 1e9))

    def _watch_new_readers(self) -> None:
        """The idle strategy sleeps on the rings of the sessions that there are now."""
        current = [reader for connector in self._connectors.values() for reader in connector.readers]
        if current == self._waited_on:
            return
        for reader in self._waited_on:
            if reader not in current:
                self._idle.remove(reader)
        for reader in current:
            if reader not in self._waited_on:
                self._idle.add(reader)
        self._waited_on = current

    def _attach(self, name: str) -> RemoteConnector:
        """Claim a session and wait for the gateway, in slices, so that a signal is heard meanwhile."""
        options = self._options
        connector = RemoteConnector(
            options.engine,
            name,
            name=options.name,
            tag=options.tag,
            cancel_on_death=options.cancel_on_death,
            background=False,
            stall_timeout_s=options.stall_timeout_s,
            timeout_s=min(ATTACH_SLICE_S, options.start_timeout_s),
        )
        deadline = monotonic() + options.start_timeout_s
        try:
            self._reach(connector, deadline)
        except BaseException:
            connector.disconnect()
            raise
        assert self._strategy is not None
        events = StrategyEvents(self._strategy, connector, self._fail)
        events.attach()
        self._connectors[name], self._events[name] = connector, events
        return connector

    def _reach(self, connector: RemoteConnector, deadline: float) -> None:
        """Claim a session and wait for the gateway to be live; raises the last thing that was in the way."""
        # Sessions of processes that died stay taken until a gateway is there to settle them.
        passing = (GatewayDown, GatewayNotReady, NoFreeSession, SegmentNotFound, SegmentRetired)

        def attempt() -> None:
            connector.connect().result()
            connector.wait_live(ATTACH_SLICE_S)

        try:
            self._retry_until(deadline, attempt, passing)
        except GatewayNotReady as error:
            options = self._options
            raise GatewayDown(f"{options.engine}.{connector.name}", options.start_timeout_s, str(error)) from None

    def _retry_until(self, deadline: float, call: Callable[[], object], errors: tuple[type[Exception], ...]) -> None:
        while True:
            try:
                call()
                return
            except errors:
                if self._stop_reason:
                    raise _StopRequested from None
                if monotonic() >= deadline:
                    raise

    # Its end

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first signal stops in order; a second SIGINT interrupts the callback that does not return."""
        self._signals += 1
        if self._signals > 1 and number == signal.SIGINT and self._is_interruptible:
            self._is_interruptible = False
            raise KeyboardInterrupt
        self.stop(signal.Signals(number).name)

    def _guard(self, call: Callable[[], R]) -> R | None:
        """Make a call in which a second SIGINT may interrupt; what it raises ends the strategy."""
        try:
            self._is_interruptible = True
            return call()
        except BaseException as error:
            self._fail(error)
            return None
        finally:
            self._is_interruptible = False

    def _fail(self, error: BaseException) -> None:
        """The first failure ends the strategy: it is logged, and nothing more is told."""
        if self._failure is not None or isinstance(error, _StopRequested):
            return
        if isinstance(error, SystemExit) and not error.code:
            self.stop("sys.exit()")
            return
        self._failure = error
        for events in self._events.values():
            events.mute()
        for connector in self._connectors.values():
            connector.hold_books()
        if isinstance(error, KeyboardInterrupt):
            log.error("%s: interrupted", self.name)
        elif isinstance(error, SystemExit):
            log.error("%s: sys.exit(%s)", self.name, error.code)
        elif isinstance(error, IpcError):
            log.error("%s: %s: %s", self.name, type(error).__name__, error)
        else:
            log.error("%s: stopped by an exception", self.name, exc_info=error)

    def _end(self) -> None:
        if self._failure is None:
            log.info("%s: stopping: %s", self.name, self._stop_reason)
        for events in self._events.values():
            events.is_stopping = True
        assert self._strategy is not None
        self._guard(self._strategy.on_stop)
        if self._options.cancel_on_death:
            deadline = monotonic() + self._options.stop_timeout_s
            self._poll_until(lambda: not self._has_open_orders(_is_immediate), deadline)
            self._cancel_all()
            self._poll_until(lambda: not self._has_open_orders(), deadline)

    def _cancel_all(self) -> None:
        for connector in self._connectors.values():
            with suppress(IpcError, ConnectorError):
                connector.cancel_all()

    def _poll_until(self, is_done: Callable[[], bool], deadline: float) -> None:
        """Take in order events until `is_done` or the deadline, from the gateways that are still there."""
        while not is_done() and monotonic() < deadline:
            done = 0
            for connector in self._connectors.values():
                try:
                    done += connector.poll()
                except (IpcError, ConnectorError):
                    self._lost.add(connector)
            if not done:
                self._watch_new_readers()
                self._idle.wait(0.02)

    def _has_open_orders(self, counts: Callable[[OrderType, TimeInForce], bool] | None = None) -> bool:
        return any(
            counts is None or counts(order.order_type, order.time_in_force)
            for connector in self._connectors.values()
            if connector.is_gateway_alive and connector not in self._lost
            for order in connector.get_open_orders()
            if order.state is not OrderState.UNKNOWN
        )

    def _release(self) -> None:
        """Give the sessions up; nothing more is told."""
        for events in self._events.values():
            events.mute()
        for connector in self._connectors.values():
            with suppress(IpcError, ConnectorError):
                connector.disconnect().result(0)
        log.info("%s: ended", self.name)


def _is_immediate(order_type: OrderType, time_in_force: TimeInForce) -> bool:
    """Orders that end by themselves; a last one to flatten a position is let through before the rest is cancelled."""
    return order_type is OrderType.MARKET or time_in_force is TimeInForce.IOC


@contextmanager
def _signal_handlers(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGTERM and SIGINT go to `handler`; only the main thread may say so, elsewhere they stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, previous in earlier.items():
            signal.signal(number, previous)
