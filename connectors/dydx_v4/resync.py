"""Comparing with the indexer, and settling orders whose last block has passed.

Fills first, then live orders, then positions. What REST says is as of the block that it has processed: a block height
is asked for first, and only that proves that an order is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4.account import Account
from latentspeed.connectors.dydx_v4.indexer import IndexerRest
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.reports import ended
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import OrderState, ReportSource

GAP_MARGIN_NS = 60 * 10**9
"""How far before the newest known fill fills are asked for after a gap."""
ROUTINE_MARGIN_NS = 10 * 10**9


class Resynchroniser:
    """Asks for everything and reduces the answers; one run at a time."""

    def __init__(
        self,
        rest: IndexerRest,
        tracker: ClientOrderTracker,
        account: Account,
        lifetimes: Lifetimes,
        *,
        fills_from_ns: int,
    ) -> None:
        """Has asked nothing yet; `fills_from_ns` is since when fills have to be counted."""
        self.runs = 0
        self.last_mono_ns = 0
        self.fills_from_ns = fills_from_ns
        """Since when fills have to be counted."""
        self._rest = rest
        self._tracker = tracker
        self._account = account
        self._lifetimes = lifetimes
        self._lock = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        """Whether a run is going on."""
        return self._lock.locked()

    async def run(self, *, after_gap: bool = False) -> None:
        """Compares everything once.

        Raises:
            TransportError: The indexer did not answer; what was answered is reduced already.
        """
        async with self._lock:
            margin_ns = GAP_MARGIN_NS if after_gap or not self.runs else ROUTINE_MARGIN_NS
            await self.fetch_fills(max(self.fills_from_ns, self._account.newest_fill_ns) - margin_ns)
            for row in await self._rest.live_orders():
                self._account.take_order(row, ReportSource.SNAPSHOT)
            await self.refresh_account()
            self.runs += 1
            self.last_mono_ns = time.monotonic_ns()

    async def fetch_fills(self, since_ns: int) -> None:
        """Counts the fills from `since_ns` on."""
        self._account.take_fills(await self._rest.fills(max(0, since_ns)))

    async def fetch_fills_of(self, orders: Iterable[InFlightOrder]) -> None:
        """Counts all fills since the first of these orders was made."""
        now_ns, now_mono_ns = time.time_ns(), time.monotonic_ns()
        made = [now_ns - (now_mono_ns - order.created_mono_ns) if order.created_mono_ns else 0 for order in orders]
        since_ns = min(made, default=now_ns)
        await self.fetch_fills((since_ns or self.fills_from_ns) - GAP_MARGIN_NS)

    async def refresh_account(self) -> None:
        """Takes positions and money."""
        row = await self._rest.subaccount()
        if row is not None:
            self._account.take_subaccount(row)

    async def settle(self) -> None:
        """Ends the orders whose last block REST is past, after asking for their fills.

        Raises:
            TransportError: The indexer did not answer; nothing is settled then.
        """
        async with self._lock:
            height = await self._rest.height()
            self._lifetimes.on_indexer_height(height)
            over = [order for order in self._lifetimes.over(self._tracker.active_orders) if order.is_active]
            if not over:
                return
            await self.fetch_fills_of(over)
            for order in over:
                if order.is_active:
                    await self._settle_one(order)

    async def _settle_one(self, order: InFlightOrder) -> None:
        """Ends one order whose fills are all counted."""
        reason = self._account.removals.get(order.client_order_id, "")
        if order.exchange_order_id is not None and not order.filled_lots and not reason:
            # Its own record may tell why it ended; an unfilled short-term order leaves none.
            row = await self._rest.order(order.exchange_order_id)
            if row is not None and row.status in ("CANCELED", "FILLED"):
                self._account.take_order(row, ReportSource.SNAPSHOT)
        if order.is_done:
            return
        if not order.is_acknowledged and not reason and order.unknown_reason is not None:
            update = OrderUpdate(
                order.client_order_id, state=OrderState.FAILED, reason="never_accepted", source=ReportSource.INFERRED
            )
        else:
            reason = reason or ("USER_CANCELED" if order.cancel_requested else "EXPIRED")
            update = OrderUpdate(
                order.client_order_id,
                state=ended(order, reason, order.filled_lots),
                reason=reason,
                source=ReportSource.SNAPSHOT,
            )
        self._tracker.process_order_update(update)
