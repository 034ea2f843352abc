"""Comparing with the venue: fills first, then orders, then positions and balances, all through the same reducer.

Run at the start, after every reconnect and at intervals, because streams can fall silent without closing. Fills go
first, so that an order that the venue no longer lists is seen with its fills before it is seen as gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.clock_skew import SkewEstimate
from latentspeed.connectors.hyperliquid.account_reports import AccountReports
from latentspeed.connectors.hyperliquid.account_state import AccountState
from latentspeed.connectors.hyperliquid.messages import OrderRow, OrderStatusRow
from latentspeed.connectors.hyperliquid.nonces import now_ms
from latentspeed.connectors.hyperliquid.reports import adopted_order
from latentspeed.connectors.hyperliquid.rest import STILL_OPEN, RestClient
from latentspeed.connectors.hyperliquid.settling import Settler
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.reconciliation import Reconciliation, ResyncReport
from latentspeed.connectors.types import OrderType, ReportSource

GAP_MARGIN_MS = 60_000
"""How far before the newest known fill, or an order's making, fills are asked for after a gap."""
ROUTINE_MARGIN_MS = 5_000
"""The same without a gap: fills that were missed are found by what the venue says of their orders."""
CLOCK_MARGIN_MS = 1_000
SKEW_THAT_MATTERS_MS = 500
HISTORY_FROM = 50
"""From so many orders on the venue's history costs less weight than asking for each."""


class Resynchroniser:
    """Asks the venue for everything and reduces the answers; one run at a time."""

    def __init__(
        self,
        rest: RestClient,
        tracker: ClientOrderTracker,
        market: MarketState,
        reports: AccountReports,
        account: AccountState,
        settler: Settler,
        *,
        fills_from_ms: int,
        answer_within_s: float,
        ask_twaps: Callable[[], Awaitable[None]],
    ) -> None:
        """Has asked nothing yet.

        Args:
            rest: Asks the venue.
            tracker: Whose orders these are.
            market: The rules, by the venue's names.
            reports: Reduces orders and fills.
            account: Takes positions and balances.
            settler: Asks for single orders.
            fills_from_ms: Since when fills have to be counted.
            answer_within_s: For how long an order that was sent may have its answer still on the way.
            ask_twaps: Asks what became of the TWAPs, which are no open orders.
        """
        self.runs = 0
        self.last_mono_ns = 0
        """When the last run ended."""
        self.skew_ms = 0
        """By how much the venue's clock is ahead of this one, where that matters."""
        self.clock_skew = SkewEstimate()
        """The same as measured, with its error."""
        self.last_report: ResyncReport | None = None
        self.adopted = 0
        """Orders of this engine that the venue had and nobody remembered."""
        self._rest = rest
        self._tracker = tracker
        self._market = market
        self._reports = reports
        self._account = account
        self._settler = settler
        self.fills_from_ms = fills_from_ms
        """Since when fills have to be counted."""
        self._answer_within_ns = int(answer_within_s * 1e9)
        self._ask_twaps = ask_twaps
        self._lock = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        """Whether a run is going on."""
        return self._lock.locked()

    async def run(self, *, after_reconnect: bool = False) -> ResyncReport:
        """Compares everything once.

        Args:
            after_reconnect: There was a gap in the streams, so fills are fetched from further back.

        Raises:
            TransportError: The venue did not answer; what was answered is reduced already.
        """
        async with self._lock:
            await self.measure_skew()
            comparison = Reconciliation(self._tracker)
            margin_ms = GAP_MARGIN_MS if after_reconnect or not self.runs else ROUTINE_MARGIN_MS
            await self._fetch_fills(max(self.fills_from_ms, self._reports.newest_fill_ms) - margin_ms)
            await self._compare_orders(comparison)
            await self._ask_twaps()
            await self._account.refresh()
            self.runs += 1
            self.last_mono_ns = time.monotonic_ns()
            self.last_report = comparison.finish()
            return self.last_report

    async def _fetch_fills(self, since_ms: int) -> None:
        """Counts the fills from `since_ms` until now; later ones come by the stream."""
        until_ms = now_ms() + self.skew_ms + CLOCK_MARGIN_MS
        for row in await self._rest.fills(max(0, since_ms), until_ms):
            self._reports.take_fill(row, ReportSource.SNAPSHOT)

    async def fetch_fills_of(self, *orders: InFlightOrder) -> None:
        """Counts all fills since the first of these orders was made."""
        await self._fetch_fills(min(self._made_ms(order) for order in orders) - GAP_MARGIN_MS)

    def _made_ms(self, order: InFlightOrder) -> int:
        if not order.created_mono_ns:
            return self.fills_from_ms
        age_ms = (time.monotonic_ns() - order.created_mono_ns) // 1_000_000
        return now_ms() + self.skew_ms - age_ms

    async def _compare_orders(self, comparison: Reconciliation) -> None:
        """Reduces the open orders, adopts orphans, and asks for each order that should be among them and is not."""
        rows = [
            OrderStatusRow(order=row, status="open", statusTimestamp=row.timestamp)
            for row in await self._rest.open_orders()
        ]
        self._reports.foreign_orders.clear()
        updates = []
        orphans = []
        for row in rows:
            update = self._reports.order_update(row, ReportSource.SNAPSHOT)
            if update is None:
                continue
            updates.append(update)
            if update.client_order_id is not None and self._tracker.get_order(update.client_order_id) is None:
                orphans.append((update.client_order_id, row.order))
        adopted_ms = self._adopt(orphans)
        missing = comparison.add_open_orders(updates)
        if adopted_ms:
            await self._fetch_fills(adopted_ms - GAP_MARGIN_MS)
        await self._ask_for(comparison, [order for order in missing if self._is_expected(order)])

    def _is_expected(self, order: InFlightOrder) -> bool:
        """Whether the venue should have an order now: sent, and not with its answer still on the way."""
        if not order.is_submitted or order.order_type is OrderType.TWAP:
            return False
        if order.is_acknowledged or order.is_unknown or order.is_restored:
            return True
        return time.monotonic_ns() - order.sent_mono_ns > self._answer_within_ns

    def _adopt(self, orphans: Iterable[tuple[str, OrderRow]]) -> int:
        """Tracks orders of this engine that nobody remembers; returns the venue's time of the first, 0 without any."""
        made_ms = []
        for client_order_id, row in orphans:
            try:
                order = adopted_order(row, client_order_id, self._market.rules_by_symbol[row.coin])
            except ValueError as error:
                self._tracker.events.error("malformed_message", f"orphan {client_order_id}: {error}")
                continue
            self._tracker.start_tracking_order(order)
            self.adopted += 1
            made_ms.append(row.timestamp)
        return min(made_ms, default=0)

    async def _ask_for(self, comparison: Reconciliation, orders: list[InFlightOrder]) -> None:
        """Asks for orders; what stays open or unknown is pursued.

        Many at once are looked for in the history first, which is one request; the rest are asked for one by one.
        """
        if len(orders) >= HISTORY_FROM:
            orders = await self._find_in_history(comparison, orders)
        replies = await asyncio.gather(*(self._settler.query(order) for order in orders))
        for order, reply in zip(orders, replies, strict=True):
            if reply.order is None:
                now_ns = (now_ms() + self.skew_ms) * 1_000_000
                comparison.add_order_not_found(order.client_order_id, now_utc_ns=now_ns)
            elif (update := self._reports.order_update(reply.order, ReportSource.SNAPSHOT)) is not None:
                comparison.add_order(update)
            if not order.is_done:
                self._settler.pursue(order, order.unknown_reason or "not among the open orders")

    async def _find_in_history(self, comparison: Reconciliation, orders: list[InFlightOrder]) -> list[InFlightOrder]:
        """Reduces what the history tells of these orders' ends; returns those of which it tells none."""
        rows: dict[str | None, list[OrderStatusRow]] = {}
        for row in await self._rest.historical_orders():
            rows.setdefault(self._reports.own_id(row.order.cloid), []).append(row)
        # A modified order has had several numbers, and the end of one says nothing of the next.
        ends = {own: found[0] for own, found in rows.items() if len(found) == 1 and found[0].status not in STILL_OPEN}
        left = []
        for order in orders:
            end = ends.get(order.client_order_id)
            update = None if end is None else self._reports.order_update(end, ReportSource.SNAPSHOT)
            if update is None:
                left.append(order)
            else:
                comparison.add_order(update)
        return left

    async def measure_skew(self) -> None:
        """Estimates by how much the venue's clock differs; an estimate within the noise counts as none."""
        answer = await self._rest.venue_time_ms()
        if answer is None:
            return
        skew = self.clock_skew.add(*answer)
        is_certain = abs(skew.skew_ns) > max(SKEW_THAT_MATTERS_MS * 1_000_000, skew.error_ns)
        self.skew_ms = skew.skew_ns // 1_000_000 if is_certain else 0
