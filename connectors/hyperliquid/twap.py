"""TWAPs at the venue: which became of one is told by the account's history of TWAPs, as no stream of orders has them.

    sent, answered        the answer has the venue's number; from then on it is known by that
    sent, no answer       it has no client id there, so it is looked for by its terms and time; never sent again
    fills                 those of its slices, orders of the venue's that name the TWAP
    end                   the history says finished, terminated or error, and how much was executed

The history is asked for at each comparison with the venue, at intervals while a TWAP runs, and soon while one is in
doubt; the `user` channel tells of changes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.hyperliquid.messages import Message, row_decoder
from latentspeed.connectors.hyperliquid.rest import ORDINARY, RestClient
from latentspeed.connectors.hyperliquid.wire import twap_name
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.transport import TransportError
from latentspeed.connectors.types import OrderState, OrderType, ReportSource

ASK_EVERY_S = 20.0
FIRST_QUESTION_S = 0.1
CLOCK_MARGIN_MS = 2_000

_STATES = {
    "activated": OrderState.OPEN,
    "finished": OrderState.FILLED,
    "terminated": OrderState.CANCELLED,
    "error": OrderState.CANCELLED,
}


class _Terms(Message):
    coin: str
    side: str
    sz: str
    minutes: int
    timestamp: int
    executedSz: str = ""  # noqa: N815
    reduceOnly: bool = False  # noqa: N815
    randomize: bool = False


class _Status(Message):
    status: str
    description: str = ""


class TwapRow(Message):
    """A status that a TWAP took, and its terms."""

    state: _Terms
    status: _Status
    twapId: int | None = None  # noqa: N815


TWAP_ROWS = row_decoder(TwapRow)


class Twaps:
    """The TWAPs among a connector's orders. Used in the loop's thread."""

    def __init__(
        self,
        rest: RestClient,
        tracker: ClientOrderTracker,
        *,
        venue_now_ms: Callable[[], int],
        life_ms: int,
        margin_ms: int,
        cancel_again: Callable[[InFlightOrder], None],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Has asked nothing yet.

        Args:
            rest: Asks the venue.
            tracker: Whose orders these are.
            venue_now_ms: The venue's clock.
            life_ms: For how long at most the venue may take an order.
            margin_ms: How long after that one that is not known counts as never taken.
            cancel_again: Sends an order's cancel again.
            start: Starts a task.
            on_problem: Called with a code and a text.
        """
        self._rest = rest
        self._tracker = tracker
        self._venue_now_ms = venue_now_ms
        self._life_ms = life_ms
        self._margin_ms = margin_ms
        self._cancel_again = cancel_again
        self._start = start
        self._on_problem = on_problem
        self._watch: asyncio.Task[Any] | None = None
        self._is_due = asyncio.Event()

    @property
    def live(self) -> list[InFlightOrder]:
        """The TWAPs that have left and have not ended, oldest first."""
        orders = self._tracker.active_orders
        return [order for order in orders if order.order_type is OrderType.TWAP and order.is_submitted]

    @property
    def awaits_number(self) -> bool:
        """Whether one was sent whose number is not known yet."""
        return any(order.exchange_order_id is None for order in self.live)

    # --- questions ---

    def pursue(self) -> None:
        """Asks soon, as something has happened, and goes on asking as long as there are any that have not ended."""
        self._is_due.set()
        self.watch()

    def watch(self) -> None:
        """Sees to it that they are asked about, ever more slowly while that does not help."""
        if self._watch is None or self._watch.done():
            self._watch = self._start(self._pursue(), "TWAPs")

    async def _pursue(self) -> None:
        delay_s = FIRST_QUESTION_S
        while live := self.live:
            if self._is_due.is_set():
                self._is_due.clear()
                delay_s = FIRST_QUESTION_S
            try:
                async with asyncio.timeout(delay_s):
                    await self._is_due.wait()
            except TimeoutError:
                pass
            else:
                continue
            is_doubtful = any(order.exchange_order_id is None or order.cancel_requested for order in live)
            delay_s = min(2 * delay_s, ASK_EVERY_S) if is_doubtful else ASK_EVERY_S
            try:
                await self.ask()
            except TransportError as error:
                self._on_problem("query_failed", f"TWAPs: {error}")
                continue
            except Exception as error:
                self._tracker.events.fault("asking about TWAPs", error, "query_failed")
                continue
            for order in self.live:
                if order.cancel_requested and not order.cancel_in_flight and order.exchange_order_id is not None:
                    self._cancel_again(order)

    async def ask(self) -> None:
        """Asks once what became of those that have not ended, if there are any. Raises TransportError."""
        asked = self.live
        if not asked:
            return
        self.take_history(await self._rest.info({"type": "twapHistory", "user": self._rest.account}, ORDINARY))
        now_ns = self._venue_now_ms() * 1_000_000
        for order in asked:
            if order.exchange_order_id is None:
                self._tracker.process_order_not_found(order.client_order_id, now_utc_ns=now_ns)

    # --- reports ---

    def take_history(self, data: bytes | msgspec.Raw) -> None:
        """Takes the venue's statuses of the account's TWAPs, in any order."""
        try:
            rows = TWAP_ROWS.decode(data, lambda text: self._on_problem("malformed_message", f"twapHistory: {text}"))
        except MalformedMessage as error:
            self._on_problem("malformed_message", f"twapHistory: {error}")
            return
        for order in self.live:
            row = self._row_of(order, rows)
            if row is not None:
                self._report(order, row)

    def _row_of(self, order: InFlightOrder, rows: Iterable[TwapRow]) -> TwapRow | None:
        """What the history last says of an order: its end, if that is there."""
        name = order.exchange_order_id
        if name is None:
            name = next((twap_name(row.twapId) for row in rows if row.twapId and self._is_of(order, row)), None)
        found = [row for row in rows if row.twapId and twap_name(row.twapId) == name]
        for row in found:
            if row.status.status not in _STATES:
                self._on_problem("unknown_status", f"TWAP {row.twapId}: {row.status.status!r}")
        ends = [row for row in found if _STATES.get(row.status.status, OrderState.OPEN).is_final]
        return next(iter(ends or found), None)

    def _is_of(self, order: InFlightOrder, row: TwapRow) -> bool:
        """Whether a TWAP of the venue is one whose answer was lost: the same terms, in its time, and nobody else's.

        An order of an earlier process is restored without its minutes, and then any will do.
        """
        terms, own = row.state, order.extra_params or {}
        try:
            lots = order.rule.lots_from_text(terms.sz)
        except ValueError:
            return False
        sent_ms = order.venue_expiry_ms - self._life_ms
        in_time = sent_ms - CLOCK_MARGIN_MS <= terms.timestamp <= order.venue_expiry_ms + self._margin_ms
        return (
            in_time
            and (terms.coin, terms.side == "B", lots) == (order.rule.symbol, order.is_buy, order.amount_lots)
            and terms.reduceOnly is order.is_reduce_only
            and terms.minutes == own.get("minutes", terms.minutes)
            and terms.randomize is own.get("randomize", terms.randomize)
            and self._tracker.get_order_by_exchange_id(twap_name(row.twapId or 0)) is None
        )

    def _report(self, order: InFlightOrder, row: TwapRow) -> None:
        state = _STATES.get(row.status.status, OrderState.UNKNOWN)
        filled_lots, reason = None, ""
        if state.is_final:
            # While it runs its fills tell more; at the end they have to add up to this.
            reason = ": ".join(filter(None, (row.status.status, row.status.description)))
            try:
                filled_lots = order.rule.lots_from_text(row.state.executedSz) if row.state.executedSz else None
            except ValueError:
                self._on_problem("malformed_message", f"TWAP {row.twapId}: executed {row.state.executedSz!r}")
            if state is OrderState.FILLED and filled_lots is None:
                state = OrderState.CANCELLED  # unless its fills add up
        self._tracker.process_order_update(
            OrderUpdate(
                order.client_order_id,
                twap_name(row.twapId or 0),
                state,
                reason,
                source=ReportSource.SNAPSHOT,
                filled_lots=filled_lots,
            )
        )
