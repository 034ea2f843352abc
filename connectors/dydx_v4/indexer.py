"""Questions to the indexer over REST. Its answers are as of the block that it has processed, which lags the chain.

Each kind of question has a budget of its own. What the indexer refuses all the same is asked once more, as late as it
says; it says so in milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TypeVar

from latentspeed.connectors.dydx_v4 import decoding, messages
from latentspeed.connectors.dydx_v4.candles import iso_time
from latentspeed.connectors.dydx_v4.messages import (
    BookSnapshot,
    FillRow,
    FundingPaymentRow,
    MarketRow,
    OrderRow,
    SubaccountRow,
)
from latentspeed.connectors.rate_limit import RateLimit
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import HttpClient, HttpStatusError, TransportError

T = TypeVar("T")
BURST, PERIOD_S = 50, 10.0
"""Requests of one kind at once, and in how many seconds as many more: the indexer takes 100 in any 10 seconds."""
LONGEST_RETRY_S = 30.0
TOO_MANY = 429
MOST_REPEATED = 4
"""So many pages may bring nothing new: the newest fills are also on the last of the numbered pages."""
PAGE = 100
"""Fills of one answer."""
LIVE_STATUSES = "OPEN,UNTRIGGERED,BEST_EFFORT_OPENED"


class IndexerRest:
    """Reads of one subaccount, or of a parent with its children."""

    def __init__(
        self,
        http: HttpClient,
        address: str,
        subaccount: int,
        *,
        is_parent: bool = False,
        on_problem: Callable[[str, str], None] = lambda code, text: None,
    ) -> None:
        """Asks nothing yet; `on_problem` takes a code and a text for what could not be understood."""
        self._http = http
        self._on_problem = on_problem
        self._budgets: dict[str, WeightBudget] = {}
        self._not_before: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        kind = "parentSubaccountNumber" if is_parent else "subaccountNumber"
        self._who = {"address": address, kind: str(subaccount)}
        self._branch = f"/{kind}" if is_parent else ""
        """What the paths of lists end with."""
        self._subaccount_path = f"/v4/addresses/{address}/{kind}/{subaccount}"

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
        """The subaccount, or the parent with its children; None before the first deposit."""
        try:
            body = await self._get(self._subaccount_path)
        except HttpStatusError as error:
            if error.status == 404:
                return None
            raise
        return self._understand(messages.SUBACCOUNT.decode, body, "subaccount").subaccount

    async def live_orders(self) -> list[OrderRow]:
        """Orders that are open, wait for their trigger, or are open as far as the indexer's node knows."""
        query = {**self._who, "status": LIVE_STATUSES, "returnLatestOrders": "true"}
        body = await self._get(f"/v4/orders{self._branch}", query)
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
        repeated = 0
        async with aclosing(self._numbered_pages() if self._branch else self._pages_by_height()) as pages:
            async for page in pages:
                fresh = [row for row in page if row.id not in found]
                found.update((row.id, row) for row in fresh)
                repeated = 0 if fresh else repeated + 1
                if repeated > MOST_REPEATED:
                    raise TransportError("fills: the same pages come again and again")
                if any(messages.time_ns(row.created_at) < since_ns for row in page):
                    break
        rows = [row for row in found.values() if messages.time_ns(row.created_at) >= since_ns]
        return sorted(rows, key=lambda row: int(row.created_at_height))

    async def _pages_by_height(self) -> AsyncGenerator[list[FillRow], None]:
        """The pages of one subaccount's fills, newest first."""
        known: set[str] = set()
        before = ""
        repeated = 0
        while True:
            query = {"createdBeforeOrAtHeight": before} if before else {}
            page, length, _ = await self._fill_page(query)
            fresh = {row.id for row in page} - known
            known |= fresh
            yield page
            if length < PAGE:
                return
            repeated = 0 if fresh else repeated + 1
            if repeated > 1:
                raise TransportError(f"fills: the page before height {before} comes again and again")
            oldest = min((int(row.created_at_height) for row in page), default=0)
            # A block may have more fills than a page: go on from the same height while that brings anything new.
            before = str(oldest if fresh and str(oldest) != before else oldest - 1)

    async def _numbered_pages(self) -> AsyncGenerator[list[FillRow], None]:
        """The pages of a parent's fills, newest first; they are numbered from the oldest, and heights bound nothing."""
        page, length, _ = await self._fill_page({})
        yield page
        if length < PAGE:
            return
        _, _, total = await self._fill_page({"page": "1"})
        for number in range(-(-total // PAGE), 0, -1):
            page, _, _ = await self._fill_page({"page": str(number)})
            yield page

    async def _fill_page(self, query: Mapping[str, str]) -> tuple[list[FillRow], int, int]:
        body = await self._get(f"/v4/fills{self._branch}", {**self._who, "limit": str(PAGE), **query})
        return self._understand(self._dated_fills, body, "fills")

    def _dated_fills(self, body: bytes) -> tuple[list[FillRow], int, int]:
        """Fills whose time and height can be read, for by them they are put in order; how many rows there were, and how
        many there are on all pages, where the answer says it."""
        dated = []
        rows, total = decoding.fill_rows(body, self._on_problem)
        for row in rows:
            try:
                messages.time_ns(row.created_at)
                int(row.created_at_height)
            except ValueError as error:
                self._on_problem("malformed_message", f"fill {row.id}: {error}")
            else:
                dated.append(row)
        return dated, len(rows), total

    async def has_transfer(self, address: str, number: int, transaction: str) -> bool:
        """Whether a subaccount's newest transfers are of a transaction, which is named by its hash."""
        query = {"address": address, "subaccountNumber": str(number), "limit": str(PAGE)}
        body = await self._get("/v4/transfers", query)
        rows = self._understand(messages.TRANSFERS.decode, body, "transfers").transfers
        return any(row.transaction_hash == transaction for row in rows)

    async def funding_payments(self, since_ns: int) -> list[FundingPaymentRow]:
        """The funding payments from `since_ns` on, zero ones left out, read in pages from the newest."""
        branch = "/parentSubaccount" if self._branch else ""
        found: dict[tuple[str, str, str], FundingPaymentRow] = {}
        page, length, known = 0, PAGE, -1
        while length == PAGE and len(found) > known:
            known = len(found)
            page += 1
            query = {**self._who, "createdOnOrAfter": iso_time(since_ns), "limit": str(PAGE), "page": str(page)}
            body = await self._get(f"/v4/fundingPayments{branch}", query)
            rows, length = self._understand(
                lambda body: decoding.funding_rows(body, self._on_problem), body, "fundings"
            )
            found.update(((row.ticker, row.created_at_height, row.subaccount_number), row) for row in rows)
        return list(found.values())

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
