"""Questions to the indexer over REST. Its answers are as of the block that it has processed, which lags the chain.

Each kind of question has a budget of its own. What the indexer refuses all the same is asked once more, as late as it
says; it says so in milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from latentspeed.connectors.dydx_v4 import decoding, messages
from latentspeed.connectors.dydx_v4.messages import (
    BookSnapshot,
    FillRow,
    MalformedMessage,
    MarketRow,
    OrderRow,
    SubaccountRow,
)
from latentspeed.connectors.rate_limit import RateLimit
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import HttpClient, HttpStatusError, TransportError

T = TypeVar("T")
BURST, PERIOD_S = 50, 10.0
"""Requests of one kind at once, and in how many seconds as many more: the indexer takes 100 in any 10 seconds."""
LONGEST_RETRY_S = 30.0
TOO_MANY = 429
PAGE = 100
"""Fills of one answer."""
LIVE_STATUSES = "OPEN,UNTRIGGERED,BEST_EFFORT_OPENED"


class IndexerRest:
    """Reads of one subaccount."""

    def __init__(
        self,
        http: HttpClient,
        address: str,
        subaccount: int,
        *,
        on_problem: Callable[[str, str], None] = lambda code, text: None,
    ) -> None:
        """Asks nothing yet; `on_problem` takes a code and a text for what could not be understood."""
        self._http = http
        self._on_problem = on_problem
        self._budgets: dict[str, WeightBudget] = {}
        self._not_before: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        self._who = {"address": address, "subaccountNumber": str(subaccount)}
        self._address = address
        self._subaccount = subaccount

    async def height(self) -> int:
        """The height of the last block that it has processed; see `block`."""
        return (await self.block())[0]

    async def block(self) -> tuple[int, int]:
        """The height of the last block that it has processed, and its time in milliseconds since the epoch."""
        return self._understand(_numbered_block, await self._get("/v4/height"), "height")

    async def now(self) -> messages.TimeRow:
        """The indexer's clock."""
        return self._understand(messages.TIME.decode, await self._get("/v4/time"), "time")

    async def book(self, ticker: str) -> BookSnapshot:
        """A market's book: at most 100 levels a side, without what crosses; the answer may be a second old."""
        body = await self._get(f"/v4/orderbooks/perpetualMarket/{ticker}")
        return self._understand(messages.BOOK_SNAPSHOT.decode, body, "book")

    async def candles(self, ticker: str, resolution: str, since: str, until: str) -> list[messages.CandleRow]:
        """Candles that began in a span of ISO times, newest first; the newest 1000 of them at most."""
        query = {"resolution": resolution, "fromISO": since, "toISO": until, "limit": "1000"}
        body = await self._get(f"/v4/candles/perpetualMarkets/{ticker}", query)
        return self._understand(messages.CANDLES.decode, body, "candles").candles

    async def markets(self) -> dict[str, MarketRow]:
        """All markets."""
        body = await self._get("/v4/perpetualMarkets")
        return self._understand(lambda body: decoding.market_rows(body, self._on_problem), body, "markets")

    async def subaccount(self) -> SubaccountRow | None:
        """The subaccount; None before its first deposit."""
        try:
            body = await self._get(f"/v4/addresses/{self._address}/subaccountNumber/{self._subaccount}")
        except HttpStatusError as error:
            if error.status == 404:
                return None
            raise
        return self._understand(messages.SUBACCOUNT.decode, body, "subaccount").subaccount

    async def live_orders(self) -> list[OrderRow]:
        """Orders that are open, wait for their trigger, or are open as far as the indexer's node knows."""
        query = {**self._who, "status": LIVE_STATUSES, "returnLatestOrders": "true"}
        body = await self._get("/v4/orders", query)
        return self._understand(lambda body: decoding.order_rows(body, self._on_problem), body, "orders")

    async def order(self, identifier: str) -> OrderRow | None:
        """One order; None says nothing about an unfilled short-term one."""
        try:
            body = await self._get(f"/v4/orders/{identifier}")
        except HttpStatusError as error:
            if error.status == 404:
                return None
            raise
        return self._understand(messages.ORDER.decode, body, "order")

    async def fills(self, since_ns: int) -> list[FillRow]:
        """The fills from `since_ns` on, oldest first, read backwards in pages until one is older."""
        found: dict[str, FillRow] = {}
        before = ""
        repeated = 0
        while True:
            query = {**self._who, "limit": str(PAGE)}
            if before:
                query["createdBeforeOrAtHeight"] = before
            page, length = self._understand(self._dated_fills, await self._get("/v4/fills", query), "fills")
            fresh = [row for row in page if row.id not in found]
            found.update((row.id, row) for row in fresh)
            oldest = min((int(row.created_at_height) for row in page), default=0)
            is_enough = any(messages.time_ns(row.created_at) < since_ns for row in page)
            if length < PAGE or is_enough:
                break
            repeated = 0 if fresh else repeated + 1
            if repeated > 1:
                raise TransportError(f"fills: the page before height {before} comes again and again")
            # A block may have more fills than a page: go on from the same height while that brings anything new.
            before = str(oldest if fresh and str(oldest) != before else oldest - 1)
        rows = [row for row in found.values() if messages.time_ns(row.created_at) >= since_ns]
        return sorted(rows, key=lambda row: int(row.created_at_height))

    def _dated_fills(self, body: bytes) -> tuple[list[FillRow], int]:
        """Fills whose time and height can be read, for by them they are put in order; and how many rows there were."""
        dated = []
        rows = decoding.fill_rows(body, self._on_problem)
        for row in rows:
            try:
                messages.time_ns(row.created_at)
                int(row.created_at_height)
            except ValueError as error:
                self._on_problem("malformed_message", f"fill {row.id}: {error}")
            else:
                dated.append(row)
        return dated, len(rows)

    def rate_limits(self) -> list[RateLimit]:
        """What is used of the indexer's limits, by kind of question."""
        now = time.monotonic()
        return [
            RateLimit(
                f"indexer_{group}",
                budget.used,
                budget.capacity,
                refused=self._refused.get(group, 0),
                blocked_s=max(0.0, self._not_before.get(group, 0.0) - now),
            )
            for group, budget in self._budgets.items()
        ]

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """The answer, asked for within the budget. Raises TransportError, also when it is refused a second time."""
        group = path.split("/")[2]
        budget = self._budgets.get(group)
        if budget is None:
            budget = self._budgets[group] = WeightBudget(BURST, PERIOD_S)
        is_last = False
        while True:
            while (wait_s := max(budget.wait_s(1), self._not_before.get(group, 0.0) - time.monotonic())) > 0:
                await asyncio.sleep(wait_s)
            budget.take(1)
            try:
                return await self._http.get(path, query)
            except HttpStatusError as error:
                if error.status != TOO_MANY:
                    raise
                self._refused[group] = self._refused.get(group, 0) + 1
                self._not_before[group] = time.monotonic() + _retry_s(error.retry_after)
                if is_last:
                    raise
                is_last = True

    @staticmethod
    def _understand(decode: Callable[[bytes], T], body: bytes, what: str) -> T:
        try:
            return decode(body)
        except (*MalformedMessage, ValueError) as error:
            raise TransportError(f"{what}: {error}: {body[:200]!r}") from None


def _numbered_block(body: bytes) -> tuple[int, int]:
    row = messages.HEIGHT.decode(body)
    return decoding.block_number(str(row.number)), row.time_ms


def _retry_s(header: str) -> float:
    """The seconds of a Retry-After in milliseconds; a second when it says nothing that can be understood."""
    return min(int(header) / 1000, LONGEST_RETRY_S) if header.isascii() and header.isdecimal() else 1.0
