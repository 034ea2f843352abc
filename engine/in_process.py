"""Runs a strategy in one process with connectors that speak to their venues themselves: no engine, no shared memory.

For tests of a strategy, and for trying a connector. The strategy's class is the same; what it does not get here is what
the engine gives: a gateway that outlives it, books, and a cancel policy for the case that the process dies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.types import ConnectorState
from latentspeed.engine.strategy import Strategy
from latentspeed.engine.strategy_events import StrategyEvents
from latentspeed.engine.timers import Timer, Timers

if TYPE_CHECKING:
    from latentspeed.connectors.connector_base import ConnectorBase
    from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase

log = logging.getLogger("latentspeed.strategy")


class InProcessHost:
    """The host of one strategy inside an asyncio loop."""

    def __init__(self, connectors: Mapping[str, ConnectorBase], name: str, arguments: Sequence[str] = ()) -> None:
        # A strategy names the widest interface; it asks a spot connector for no position, as it does a gateway's.
        self._connectors = cast("dict[str, PerpetualDerivativeBase]", dict(connectors))
        self._events: dict[int, StrategyEvents] = {}
        self._timers = Timers()
        self._done = asyncio.Event()
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None
        self.name = name
        self.arguments = arguments

    def connector(self, name: str) -> PerpetualDerivativeBase:
        """The connector that was given under this name. Raises ConnectorError for another."""
        try:
            return self._connectors[name]
        except KeyError:
            known = ", ".join(sorted(self._connectors)) or "none"
            raise ConnectorError(f"there is no connector {name!r} here; there is {known}") from None

    def subscribe(self, connector: PerpetualDerivativeBase, trading_pair: str) -> None:
        """Have a pair's changes told."""
        connector.subscribe(trading_pair)
        self._events[id(connector)].pairs.add(trading_pair)

    def every(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` every `seconds`."""
        self._wake.set()
        return self._timers.every(seconds, callback)

    def stop(self, reason: str) -> None:
        """End after the current callback."""
        self._done.set()
        self._wake.set()

    async def run(self, strategy: Strategy, seconds: float | None = None) -> None:
        """Connect, run until stopped or `seconds` have passed, cancel what is open, disconnect.

        Raises the exception that left a callback, after its orders were cancelled.
        """
        strategy._host = self
        for connector in self._connectors.values():
            if connector.connection_state is ConnectorState.DISCONNECTED:
                await connector.initialize()
                await connector.connect()
            self._events[id(connector)] = StrategyEvents(strategy, connector, self._fail)
            self._events[id(connector)].attach()
        try:
            self._guard(strategy.on_start)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._run_timers()
        finally:
            await self._end(strategy)
        if self._failure is not None:
            raise self._failure

    async def _run_timers(self) -> None:
        """Callbacks come from the connectors, in this same loop; what is left to do here is the timers."""
        while not self._done.is_set():
            self._wake.clear()
            self._guard(lambda: self._timers.run_due(monotonic_ns()))
            due = self._timers.next_due_mono_ns
            wait_s = None if due is None else max(0.0, (due - monotonic_ns()) / 1e9)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _end(self, strategy: Strategy) -> None:
        for events in self._events.values():
            events.is_stopping = True
        self._guard(strategy.on_stop)
        for connector in self._connectors.values():
            with suppress(ConnectorError):
                connector.cancel_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                while any(connector.get_open_orders() for connector in self._connectors.values()):
                    await asyncio.sleep(0.01)
        for connector in self._connectors.values():
            with suppress(ConnectorError):
                await connector.disconnect()

    def _guard(self, call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            for events in self._events.values():
                events.mute()
            log.error("%s: stopped by an exception", self.name, exc_info=error)
        self.stop("a callback raised")


def run_in_process(
    strategy_type: type[Strategy],
    connectors: Mapping[str, ConnectorBase],
    *,
    name: str | None = None,
    seconds: float | None = None,
    arguments: Sequence[str] = (),
) -> Strategy:
    """Run a strategy against connectors of this process, until it calls `stop()` or `seconds` have passed.

    Connectors that are not connected yet are connected first, and all are disconnected at the end. Returns the
    strategy, so that a test can look at it; raises the exception that left a callback. Not to be called inside a
    running event loop: there, await `InProcessHost(...).run(...)`.
    """
    strategy = strategy_type()

    async def main() -> None:
        host = InProcessHost(connectors, name or strategy_type.__name__.lower(), arguments)
        await host.run(strategy, seconds)

    asyncio.run(main())
    return strategy
