"""Finds out what became of an order when its answer was lost, refused for an unclear reason, or contradictory.

The venue is asked by cloid until it has answered. "Unknown" from the venue proves nothing by itself: soon after
sending it may mean that the order is not in a block yet, much later that its record has aged out. An order without
any sign of acceptance ends only when its venue expiry and a margin have passed and no fill names it; one that was
accepted only when neither the open orders nor the fills have it either. Nothing is ever sent again to find out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.hyperliquid.messages import OrderStatusReply, OrderStatusRow
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import TransportError
from latentspeed.connectors.types import OrderState, ReportSource

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
LONGEST_DELAY_WITHOUT_ANSWER_S = 60.0
"""While the venue does not answer at all, many orders must not use up the weight with questions."""
ACCEPTED_LONG_AGO_S = 10.0
QUERIES_AT_ONCE = 8
CANCEL_REFUSED = "cancel refused"
CANCEL_ATTEMPTS = 5
NOT_PLACED = ("http_429", "http_422")
"""Answers that mean that the request was turned away before it reached the exchange."""


class Settler:
    """Pursues orders of unknown fate, one task each."""

    def __init__(
        self,
        rest: RestClient,
        tracker: ClientOrderTracker,
        *,
        cloid_of: Callable[[InFlightOrder], str],
        report_row: Callable[[OrderStatusRow, ReportSource], None],
        fetch_fills_of: Callable[..., Awaitable[None]],
        cancel_again: Callable[[InFlightOrder], None],
        venue_now_ms: Callable[[], int],
        expiry_margin_ms: int,
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
    ) -> None:
        """Pursues nothing yet.

        Args:
            rest: Asks the venue.
            tracker: Whose orders these are.
            cloid_of: The venue-side client id of an order.
            report_row: Reduces the venue's answer.
            fetch_fills_of: Fetches and counts all fills since an order was made.
            cancel_again: Sends an order's cancel again.
            venue_now_ms: The venue's clock.
            expiry_margin_ms: How long after its venue expiry an order that is not known counts as never taken.
            start: Starts a task.
        """
        self.queries = 0
        self._rest = rest
        self._tracker = tracker
        self._cloid_of = cloid_of
        self._report_row = report_row
        self._fetch_fills_of = fetch_fills_of
        self._cancel_again = cancel_again
        self._venue_now_ms = venue_now_ms
        self._expiry_margin_ms = expiry_margin_ms
        self._start = start
        self._places = asyncio.Semaphore(QUERIES_AT_ONCE)
        self._reasons: dict[str, str] = {}

    @property
    def pursued(self) -> int:
        """How many orders are being asked about."""
        return len(self._reasons)

    def pursue(self, order: InFlightOrder, reason: str) -> None:
        """Asks about the order until it is settled; once at a time."""
        if order.client_order_id in self._reasons:
            self._reasons[order.client_order_id] = reason
            return
        self._reasons[order.client_order_id] = reason
        self._start(self._pursue(order), f"settle {order.client_order_id}")

    async def _pursue(self, order: InFlightOrder) -> None:
        client_order_id = order.client_order_id
        delay_s = FIRST_DELAY_S
        refusals = 0
        try:
            while True:
                await asyncio.sleep(delay_s)
                if order.is_done:
                    return
                try:
                    row = await self._ask(order)
                except TransportError as error:
                    self._tracker.events.error("query_failed", f"{client_order_id}: {error}")
                    delay_s = min(delay_s * 2, LONGEST_DELAY_WITHOUT_ANSWER_S)
                    continue
                except Exception as error:
                    # An order of unknown fate is asked about for as long as that takes, whatever was met.
                    what = f"asking about {client_order_id}"
                    self._tracker.events.fault(what, error, "query_failed", client_order_id=client_order_id)
                    delay_s = min(delay_s * 2, LONGEST_DELAY_WITHOUT_ANSWER_S)
                    continue
                else:
                    if order.is_done or (row is not None and not self._is_doubtful(order)):
                        return
                    if row is not None and order.cancel_requested and not order.cancel_in_flight:
                        # What nobody has answered, nobody has refused: that is tried for as long as it takes.
                        refusals += self._reasons[client_order_id].startswith(CANCEL_REFUSED)
                        if refusals == CANCEL_ATTEMPTS:
                            self._give_up_cancel(order, row)
                            return
                        self._cancel_again(order)
                delay_s = self._next_delay_s(order, delay_s)
        finally:
            self._reasons.pop(client_order_id, None)

    def _give_up_cancel(self, order: InFlightOrder, row: OrderStatusRow) -> None:
        """The venue refuses the cancel of an order that it says is open: the order is live again."""
        self._tracker.process_cancel_failed(order.client_order_id, self._reasons[order.client_order_id])
        self._report_row(row, ReportSource.SNAPSHOT)

    def _next_delay_s(self, order: InFlightOrder, delay_s: float) -> float:
        """Twice as long, but not past the moment at which silence begins to prove something."""
        delay_s = min(delay_s * 2, LONGEST_DELAY_S)
        if order.venue_expiry_ms and not order.is_acknowledged:
            left_s = (order.venue_expiry_ms + self._expiry_margin_ms - self._venue_now_ms()) / 1000
            if left_s > -0.5:
                delay_s = min(delay_s, max(left_s, 0.0) + 0.02)
        return delay_s

    async def query(self, order: InFlightOrder) -> OrderStatusReply:
        """The venue's answer about one order.

        Raises:
            TransportError: There was none.
        """
        async with self._places:
            self.queries += 1
            return await self._rest.order_status(self._cloid_of(order))

    async def _ask(self, order: InFlightOrder) -> OrderStatusRow | None:
        """Asks once and reduces the answer; None when the venue does not know the order."""
        reply = await self.query(order)
        if reply.order is None:
            await self._not_found(order, self._reasons[order.client_order_id])
            return None
        self._report_row(reply.order, ReportSource.SNAPSHOT)
        if order.is_awaiting_fills:
            await self._fetch_fills_of(order)
        return reply.order

    async def _not_found(self, order: InFlightOrder, reason: str) -> None:
        client_order_id = order.client_order_id
        if order.is_acknowledged:
            await self._aged_out(order)
        elif reason in NOT_PLACED:
            self._tracker.process_order_update(
                OrderUpdate(client_order_id, state=OrderState.FAILED, reason=reason, source=ReportSource.INFERRED)
            )
        else:
            now_ms = self._venue_now_ms()
            if order.venue_expiry_ms and now_ms >= order.venue_expiry_ms + self._expiry_margin_ms:
                await self._fetch_fills_of(order)
                if not order.is_acknowledged:
                    self._tracker.process_order_not_found(client_order_id, now_utc_ns=now_ms * 1_000_000)

    async def _aged_out(self, order: InFlightOrder) -> None:
        """An order accepted long ago is over when neither fills nor the open orders, asked in this order, have it."""
        if time.monotonic_ns() - order.acknowledged_mono_ns < ACCEPTED_LONG_AGO_S * 1e9:
            return
        parent = self._tracker.get_order(order.parent) if order.parent else None
        if parent is not None and parent.is_active:
            return  # the venue places an exit when its entry was filled
        await self._fetch_fills_of(order)
        if self._cloid_of(order) not in {row.cloid for row in await self._rest.open_orders()}:
            self._tracker.process_order_not_found(order.client_order_id, is_absent=True)

    def _is_doubtful(self, order: InFlightOrder) -> bool:
        """Whether there is something left to find out about a live order.

        One that is being replaced is in doubt for as long as its replacement is, and when that one was accepted.
        """
        if order.is_unknown or order.state is OrderState.PENDING_CANCEL:
            return True
        new = self._tracker.get_order(order.replaced_by) if order.replaced_by else None
        return new is not None and (new.is_unknown or new.is_acknowledged)
