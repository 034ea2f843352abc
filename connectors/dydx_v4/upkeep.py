"""What a session asks for again and again while it is open: heights, settlements, comparisons, money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.dydx_v4.resync import Resynchroniser
from latentspeed.connectors.dydx_v4.stateful_watch import StatefulWatch
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import TransportError

HEIGHT_EVERY_S = 2.0
"""How often a node is asked for its height: the indexer's lags, and orders need the chain's."""
REFRESH_AFTER_S = 0.5
"""How soon after a fill the money is read again."""
SETTLE_AGAIN_S = 1.0
MOST_LAG_BLOCKS = 10
"""How far an indexer is behind its chain at times without anything being wrong."""


class Upkeep:
    """The questions of one session. Used in the loop's thread."""

    def __init__(
        self,
        *,
        tracker: ClientOrderTracker,
        nodes: Nodes,
        lifetimes: Lifetimes,
        watch: StatefulWatch,
        resynchroniser: Resynchroniser,
        compare_every_s: float,
        on_compare: Callable[[], None],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Asks nothing yet; `start` runs a coroutine, `on_problem` takes a code and a text, `on_compare` is called with
        every comparison."""
        self._tracker = tracker
        self._nodes = nodes
        self._lifetimes = lifetimes
        self._watch = watch
        self._resynchroniser = resynchroniser
        self._compare_every_s = compare_every_s
        self._on_compare = on_compare
        self._start = start
        self._on_problem = on_problem
        self._compared_mono_s = 0.0
        self._settling: asyncio.Task[Any] | None = None
        self._refresh: asyncio.TimerHandle | None = None
        self._is_open = True
        self._is_lagging = False

    def close(self) -> None:
        """Asks nothing any more."""
        self._is_open = False
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None

    def compared(self) -> None:
        """Everything has just been compared."""
        self._compared_mono_s = time.monotonic()
        self._on_compare()

    def tick(self) -> None:
        """Compares when it is time to; called about once a second while the session is live."""
        now = time.monotonic()
        every_s = self._compare_every_s
        if every_s and now - self._compared_mono_s > every_s and not self._resynchroniser.is_running:
            self._compared_mono_s = now
            self._ask("reconcile_failed", self._resynchroniser.run())
            self._on_compare()

    async def watch_height(self) -> None:
        """Asks a node for its height, which the indexer's is behind."""
        while True:
            await asyncio.sleep(HEIGHT_EVERY_S)
            try:
                self._lifetimes.on_node_height(*await self._nodes.block())
                self._watch_lag()
            except TransportError as error:
                self._on_problem("height_failed", str(error))
            except Exception as error:
                self._tracker.events.fault("asking for the height", error, "height_failed")

    def _watch_lag(self) -> None:
        """Tells once of an indexer that falls behind: until it has caught up, ends are learned as late."""
        lag = self._lifetimes.indexer_lag
        if lag > MOST_LAG_BLOCKS and not self._is_lagging:
            self._on_problem("indexer_lags", f"the indexer is {lag} blocks behind the chain")
        self._is_lagging = lag > MOST_LAG_BLOCKS

    def on_block(self) -> None:
        """The indexer has come to another block: settles what that ends."""
        live = self._tracker.active_orders
        if self._settling is not None and not self._settling.done():
            return
        due = self._watch.due(live)
        if due or self._lifetimes.over(live):
            self._settling = self._start(self._settle(due), "settle")

    async def _settle(self, stateful: list[InFlightOrder]) -> None:
        try:
            await self._resynchroniser.settle()
            await self._resynchroniser.settle_stateful(stateful)
        except TransportError as error:
            self._on_problem("settle_failed", str(error))
            await asyncio.sleep(SETTLE_AGAIN_S)
        except Exception as error:
            self._tracker.events.fault("settling orders", error, "settle_failed")
            await asyncio.sleep(SETTLE_AGAIN_S)

    def fetch_missing_fills(self, orders: list[InFlightOrder]) -> None:
        """Asks for the fills that these orders lack."""
        if self._is_open and not self._resynchroniser.is_running:
            self._ask("missing_fills_failed", self._resynchroniser.fetch_fills_of(orders))

    def refresh_soon(self) -> None:
        """The money has moved: reads it shortly, once for all that moves till then."""
        if self._refresh is None and self._is_open:
            self._refresh = asyncio.get_running_loop().call_later(REFRESH_AFTER_S, self._refresh_now)

    def _refresh_now(self) -> None:
        self._refresh = None
        if self._is_open:
            self._ask("account_failed", self._resynchroniser.refresh_account())

    def _ask(self, problem: str, question: Coroutine[Any, Any, None]) -> None:
        task = self._start(self._asking(problem, question), problem.removesuffix("_failed"))
        task.add_done_callback(lambda _: question.close())  # where it was cancelled before its first step

    async def _asking(self, problem: str, question: Coroutine[Any, Any, None]) -> None:
        try:
            await question
        except TransportError as error:
            self._on_problem(problem, str(error))
        except Exception as error:
            self._tracker.events.fault(problem.removesuffix("_failed"), error, problem)
