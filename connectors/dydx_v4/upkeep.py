"""What a session asks for again and again while it is open: heights, settlements, comparisons, money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.debounce import Debounce
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
        ask: Callable[[str, Coroutine[Any, Any, object]], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Asks nothing yet.

        Args:
            tracker: Whose orders are settled.
            nodes: Asked for the chain's height.
            lifetimes: Learns of it.
            watch: Which stateful orders are to be asked for.
            resynchroniser: Asks for everything else.
            compare_every_s: How often everything is compared; 0 for never.
            on_compare: Called with every comparison.
            start: Starts a task.
            ask: Starts a question by its name; one that fails is told of, and asked again when it is due again.
            on_problem: Called with a code and a text.
        """
        self._tracker = tracker
        self._nodes = nodes
        self._lifetimes = lifetimes
        self._watch = watch
        self._resynchroniser = resynchroniser
        self._compare_every_s = compare_every_s
        self._on_compare = on_compare
        self._start = start
        self._ask = ask
        self._on_problem = on_problem
        self._compared_mono_s = 0.0
        self._settling: asyncio.Task[Any] | None = None
        self._refresh = Debounce(lambda: ask("account", resynchroniser.refresh_account()), after_s=REFRESH_AFTER_S)
        self._is_lagging = False

    def close(self) -> None:
        """Asks nothing any more."""
        self._refresh.close()

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
            self._ask("reconcile", self._resynchroniser.run())
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
        if not self._resynchroniser.is_running:
            self._ask("missing_fills", self._resynchroniser.fetch_fills_of(orders))

    def refresh_soon(self) -> None:
        """The money has moved: reads it shortly, once for all that moves till then."""
        self._refresh.soon()
