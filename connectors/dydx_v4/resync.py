"""Comparing with the indexer, and settling orders whose last block has passed.

Fills first, then live orders, then positions. What REST says is as of the block that it has processed: a block height
is asked for first, and only that proves that an order is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4.account import Account
from latentspeed.connectors.dydx_v4.indexer import IndexerRest
from latentspeed.connectors.dydx_v4.kinds import is_stateful
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.messages import OrderRow
from latentspeed.connectors.dydx_v4.reports import ended
from latentspeed.connectors.dydx_v4.stateful_watch import StatefulWatch
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import OrderState, OrderType, ReportSource

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
        watch: StatefulWatch,
        *,
        uuids_of: Callable[[InFlightOrder], list[str]],
        fills_from_ns: int,
    ) -> None:
        """Has asked nothing yet; `fills_from_ns` is since when fills have to be counted, `uuids_of` names an order."""
        self.runs = 0
        self.last_mono_ns = 0
        self.fills_from_ns = fills_from_ns
        """Since when fills have to be counted."""
        self._rest = rest
        self._tracker = tracker
        self._account = account
        self._lifetimes = lifetimes
        self._watch = watch
        self._uuids_of = uuids_of
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
            known = [order for order in self._tracker.active_orders if order.is_acknowledged or order.is_unknown]
            live = await self._rest.live_orders()
            # Of other programs' short-term orders no end is told where nothing was filled: they are those listed now.
            self._account.foreign_orders.clear()
            for row in live:
                self._account.take_order(row, ReportSource.SNAPSHOT)
            listed = {row.id for row in live}
            await self._ask_for(
                order for order in known if is_stateful(order) and listed.isdisjoint(self._uuids_of(order))
            )
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
            height, time_ms = await self._rest.block()
            self._lifetimes.on_indexer_height(height, time_ms)
            over = [order for order in self._lifetimes.over(self._tracker.active_orders, height) if order.is_active]
            if not over:
                return
            await self.fetch_fills_of(over)
            for order in over:
                if order.is_active:
                    await self._settle_one(order)

    async def settle_stateful(self, orders: Iterable[InFlightOrder]) -> None:
        """Asks for stateful orders, and ends those that the chain can have no more.

        Raises:
            TransportError: The indexer did not answer; the orders that are left are as they were.
        """
        async with self._lock:
            await self._ask_for(orders)

    async def _ask_for(self, orders: Iterable[InFlightOrder]) -> None:
        """Takes the records of stateful orders; one that has none is proof once no block can have it any more."""
        orders = [order for order in orders if order.is_active]
        if not orders:
            return
        height, time_ms = await self._rest.block()
        self._lifetimes.on_indexer_height(height, time_ms)
        for order in orders:
            row = await self._record(order)
            self._watch.asked(order)
            if row is not None:
                self._account.take_order(row, ReportSource.SNAPSHOT)
                if order.order_type is OrderType.TWAP and 0 < order.venue_expiry_ms < time_ms and order.is_active:
                    await self._end_twap(order)
            elif order.is_acknowledged or order.is_done:
                continue
            elif self._watch.is_void(order, time_ms):
                self._end(order, OrderState.FAILED, "never_accepted", ReportSource.INFERRED)
            else:
                self._tracker.mark_unknown(order.client_order_id, "in_no_block_yet")

    async def _end_twap(self, order: InFlightOrder) -> None:
        """Ends a TWAP whose last slice is over, and of whose rest nobody tells."""
        await self.fetch_fills_of([order])
        if order.is_active:
            reason = "USER_CANCELED" if order.cancel_requested else "EXPIRED"
            self._end(order, ended(order, reason, order.filled_lots), reason, ReportSource.SNAPSHOT)

    async def _record(self, order: InFlightOrder) -> OrderRow | None:
        """The indexer's record of an order, by whichever of its ids has one."""
        for uuid in self._uuids_of(order):
            if (row := await self._rest.order(uuid)) is not None:
                return row
        return None

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
        if not order.is_acknowledged and not reason and order.unknown_reason is not None and not order.cancel_requested:
            # It may never have arrived, or have stood there unheard: an unfilled one leaves no trace of either.
            self._end(order, OrderState.EXPIRED, "never_confirmed", ReportSource.INFERRED)
        else:
            reason = reason or ("USER_CANCELED" if order.cancel_requested else "EXPIRED")
            self._end(order, ended(order, reason, order.filled_lots), reason, ReportSource.SNAPSHOT)

    def _end(self, order: InFlightOrder, state: OrderState, reason: str, source: ReportSource) -> None:
        self._tracker.process_order_update(
            OrderUpdate(order.client_order_id, state=state, reason=reason, source=source)
        )
