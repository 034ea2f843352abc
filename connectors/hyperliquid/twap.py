"""TWAP orders: the venue trades a size in slices over minutes; here is who asked for which, and what became of it.

A slice is an order of the venue's, without a client id, so its fills belong to no order of ours. They name the TWAP,
are counted as the account's (`on_trade` with no order, the position, a gateway's FOREIGN book), and are added up here.

A TWAP itself has no client id either. One whose answer was lost is looked for among the account's TWAPs by its terms
and time, and is never sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from latentspeed.connectors.errors import OrderRefused, VenueRejected
from latentspeed.connectors.hyperliquid.fills import signed_lots
from latentspeed.connectors.hyperliquid.messages import FillRow, MalformedMessage, Message, RowDecoder
from latentspeed.connectors.hyperliquid.replies import parse_twap_reply
from latentspeed.connectors.hyperliquid.rest import ORDINARY, RestClient
from latentspeed.connectors.hyperliquid.wire import Action, twap_cancel_action, twap_order_action
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import TransportError
from latentspeed.connectors.types import TradeType

ASK_EVERY_S = 20.0
FIRST_QUESTION_S = 0.1
CLOCK_MARGIN_MS = 2_000


class TwapState(IntEnum):
    """Where a TWAP is in its life."""

    UNKNOWN = 0
    """Sent, and nobody has said what became of it."""
    RUNNING = 1
    FINISHED = 2
    TERMINATED = 3
    FAILED = 4

    @property
    def is_final(self) -> bool:
        """Whether no slice follows any more."""
        return self >= TwapState.FINISHED


_STATES = {
    "activated": TwapState.RUNNING,
    "finished": TwapState.FINISHED,
    "terminated": TwapState.TERMINATED,
    "error": TwapState.FAILED,
}


class TwapOrder:
    """A TWAP that was asked for. Amounts and prices are exact in lots and price units; the floats derive from them."""

    __slots__ = (
        "_trade_ids",
        "amount_lots",
        "ended",
        "expiry_ms",
        "fill_count",
        "filled_lots",
        "minutes",
        "notional_units",
        "randomize",
        "reason",
        "reduce_only",
        "rule",
        "sent_ms",
        "started",
        "state",
        "trade_type",
        "twap_id",
    )

    def __init__(
        self,
        rule: TradingRule,
        trade_type: TradeType,
        amount_lots: int,
        minutes: int,
        reduce_only: bool,
        randomize: bool,
    ) -> None:
        self.rule = rule
        self.trade_type = trade_type
        self.amount_lots = amount_lots
        self.minutes = minutes
        self.reduce_only = reduce_only
        self.randomize = randomize
        self.state = TwapState.UNKNOWN
        self.reason = ""
        self.twap_id = 0
        """The venue's number, 0 until it is known."""
        self.filled_lots = self.notional_units = self.fill_count = 0
        self.started: Pending[int] = Pending()
        """The venue's number, once it is known; fails with VenueRejected when the venue does not take it."""
        self.ended: Pending[TwapState] = Pending()
        """How it ended."""
        self.sent_ms = self.expiry_ms = 0
        self._trade_ids: set[tuple[int, int]] = set()

    @property
    def trading_pair(self) -> str:
        """The market."""
        return self.rule.trading_pair

    @property
    def amount(self) -> float:
        """What is to be traded, in base units."""
        return self.rule.amount_from_lots(self.amount_lots)

    @property
    def filled_amount(self) -> float:
        """What its slices have traded, in base units."""
        return self.rule.amount_from_lots(self.filled_lots)

    @property
    def average_price(self) -> float | None:
        """At which price, on average; None before the first fill."""
        return self.rule.average_price(self.notional_units, self.filled_lots)

    def set_state(self, state: TwapState, reason: str = "") -> None:
        """Takes a state from the venue; one that is final stays."""
        if self.state.is_final or state is TwapState.UNKNOWN:
            return
        self.state = state
        self.reason = reason
        if self.twap_id:
            self.started.set_result(self.twap_id)
        if state.is_final:
            self.started.set_exception(VenueRejected(reason or state.name))
            self.started.exception()  # who waits for the end has been told as well
            self.ended.set_result(state)

    def add_fill(self, row: FillRow) -> None:
        """Adds a fill of one of its slices, once. Raises ValueError when a number cannot be read."""
        key = (row.tid, row.oid)
        if key in self._trade_ids:
            return
        lots = abs(signed_lots(row, self.rule))
        self.notional_units += self.rule.units_from_text(row.px) * lots
        self.filled_lots += lots
        self.fill_count += 1
        self._trade_ids.add(key)

    def __repr__(self) -> str:
        done = f"{self.rule.amount_text(self.filled_lots)}/{self.rule.amount_text(self.amount_lots)}"
        return f"TwapOrder({self.twap_id} {self.state.name} {self.trade_type.name} {done} {self.trading_pair})"


class _Terms(Message):
    coin: str
    side: str
    sz: str
    minutes: int
    timestamp: int
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


TWAP_ROWS = RowDecoder(TwapRow)


class Twaps:
    """The TWAPs of one connector. Used in the loop's thread."""

    def __init__(
        self,
        *,
        act: Callable[[Action, int], Awaitable[bytes | msgspec.Raw]],
        rest: Callable[[], RestClient],
        venue_now_ms: Callable[[], int],
        life_ms: int,
        margin_ms: int,
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Has none.

        Args:
            act: Signs and sends an action with its expiry in ms, and returns the answer.
            rest: Asks the venue.
            venue_now_ms: The venue's clock.
            life_ms: For how long the venue may take a TWAP.
            margin_ms: How long after that one that is not known counts as never taken.
            start: Starts a task.
            on_problem: Called with a code and a text.
        """
        self.orders: list[TwapOrder] = []
        """Those of this process, oldest first."""
        self._act = act
        self._rest = rest
        self._venue_now_ms = venue_now_ms
        self._life_ms = life_ms
        self._margin_ms = margin_ms
        self._start = start
        self._on_problem = on_problem
        self._fills: dict[int, list[FillRow]] = {}
        self._watch: asyncio.Task[Any] | None = None

    # --- requests ---

    async def place(self, order: TwapOrder) -> None:
        """Sends a TWAP; what became of it is told by the order."""
        order.sent_ms = self._venue_now_ms()
        order.expiry_ms = order.sent_ms + self._life_ms
        self.orders.append(order)
        rule, is_buy = order.rule, order.trade_type is TradeType.BUY
        size = rule.amount_text(order.amount_lots)
        action = twap_order_action(rule.asset_id, is_buy, size, order.reduce_only, order.minutes, order.randomize)
        try:
            self._name(order, parse_twap_reply(await self._act(action, order.expiry_ms)))
        except VenueRejected as refused:
            self._fail(order, refused.reason)
        except Exception as error:
            # Whatever it was: it may have left, and only the venue knows.
            self._on_problem("no_answer", f"a TWAP may run at the venue: {order!r}: {error!r}")
        self.resume()

    async def cancel(self, order: TwapOrder) -> None:
        """Ends a TWAP.

        Raises:
            OrderRefused: It is not known to run.
            VenueRejected: The venue refused; it has ended, or the venue knows better.
            TransportError: Nobody knows what the venue did; asking again does no harm.
        """
        if order.state is not TwapState.RUNNING:
            raise OrderRefused("twap", order.twap_id, f"it is {order.state.name}, not RUNNING")
        try:
            parse_twap_reply(await self._act(twap_cancel_action(order.rule.asset_id, order.twap_id), 0))
        except VenueRejected:
            await self._ask()
            raise
        order.set_state(TwapState.TERMINATED, "canceled")

    def _name(self, order: TwapOrder, twap_id: int) -> None:
        order.twap_id = twap_id
        order.set_state(TwapState.RUNNING)
        for row in self._fills.pop(twap_id, ()):
            self._add(order, row)

    # --- reports ---

    def take_fill(self, row: FillRow) -> None:
        """Adds a fill to the TWAP that it names; one of another is kept for a while, as its TWAP may get its number."""
        if row.twapId is None:
            return
        for order in self.orders:
            if order.twap_id == row.twapId:
                self._add(order, row)
                return
        if any(order.state is TwapState.UNKNOWN for order in self.orders):
            self._fills.setdefault(row.twapId, []).append(row)

    def _add(self, order: TwapOrder, row: FillRow) -> None:
        try:
            order.add_fill(row)
        except ValueError as error:
            self._on_problem("malformed_message", f"fill {row.tid} of TWAP {row.twapId}: {error}")

    def take_history(self, data: bytes | msgspec.Raw) -> None:
        """Takes the venue's statuses of the account's TWAPs, in any order."""
        try:
            rows = TWAP_ROWS.decode(data, lambda text: self._on_problem("malformed_message", f"twapHistory: {text}"))
        except MalformedMessage as error:
            self._on_problem("malformed_message", f"twapHistory: {error}")
            return
        for order in self.orders:
            if order.state.is_final:
                continue
            for row in rows:
                if not order.twap_id and row.twapId and self._is_of(order, row):
                    self._name(order, row.twapId)
            for row in rows:
                if order.twap_id and row.twapId == order.twap_id:
                    status = _STATES.get(row.status.status, TwapState.UNKNOWN)
                    if status is TwapState.UNKNOWN:
                        self._on_problem("unknown_status", f"TWAP {row.twapId}: {row.status.status!r}")
                    order.set_state(status, row.status.description)

    def _is_of(self, order: TwapOrder, row: TwapRow) -> bool:
        """Whether a TWAP of the venue is one whose answer was lost: the same terms, in its time, and nobody else's."""
        terms = row.state
        try:
            lots = order.rule.lots_from_text(terms.sz)
        except ValueError:
            return False
        wanted = order.rule.symbol, order.trade_type is TradeType.BUY, order.amount_lots, order.minutes
        given = terms.coin, terms.side == "B", lots, terms.minutes
        in_time = order.sent_ms - CLOCK_MARGIN_MS <= terms.timestamp <= order.expiry_ms + self._margin_ms
        flags = (terms.reduceOnly, terms.randomize) == (order.reduce_only, order.randomize)
        return wanted == given and flags and in_time and all(other.twap_id != row.twapId for other in self.orders)

    # --- questions ---

    def resume(self) -> None:
        """Goes on asking after those that have not ended, as long as there are any; also after a reconnect."""
        if self._watch is None or self._watch.done():
            self._watch = self._start(self._pursue(), "TWAPs")

    async def _pursue(self) -> None:
        delay_s = FIRST_QUESTION_S
        while live := [order for order in self.orders if not order.state.is_final]:
            unknown = [order for order in live if order.state is TwapState.UNKNOWN]
            await asyncio.sleep(delay_s if unknown else ASK_EVERY_S)
            delay_s = min(2 * delay_s, ASK_EVERY_S)
            try:
                await self._ask()
            except TransportError as error:
                self._on_problem("query_failed", f"TWAPs: {error}")
                continue
            self._give_up(unknown)
        self._fills.clear()

    async def _ask(self) -> None:
        rest = self._rest()
        self.take_history(await rest.info({"type": "twapHistory", "user": rest.account}, ORDINARY))

    def _give_up(self, orders: Sequence[TwapOrder]) -> None:
        now_ms = self._venue_now_ms()
        for order in orders:
            if order.state is TwapState.UNKNOWN and now_ms > order.expiry_ms + self._margin_ms:
                self._fail(order, "never_accepted")

    def _fail(self, order: TwapOrder, reason: str) -> None:
        self._on_problem("twap_failed", f"{order!r}: {reason}")
        order.set_state(TwapState.FAILED, reason)
