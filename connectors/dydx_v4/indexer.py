"""Questions to the indexer over REST. Its answers are as of the block that it has processed, which lags the chain."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.messages import FillRow, MalformedMessage, MarketRow, OrderRow, SubaccountRow
from latentspeed.connectors.transport import HttpClient, HttpStatusError, TransportError

T = TypeVar("T")
PAGE = 100
"""Fills of one answer."""
LIVE_STATUSES = "OPEN,UNTRIGGERED,BEST_EFFORT_OPENED"


class IndexerRest:
    """Reads of one subaccount."""

    def __init__(self, http: HttpClient, address: str, subaccount: int) -> None:
        self._http = http
        self._who = {"address": address, "subaccountNumber": str(subaccount)}
        self._address = address
        self._subaccount = subaccount

    async def height(self) -> int:
        """The last block that it has processed."""
        return self._decode(messages.HEIGHT, await self._http.get("/v4/height"), "height").number

    async def markets(self) -> dict[str, MarketRow]:
        """All markets."""
        return self._decode(messages.MARKETS, await self._http.get("/v4/perpetualMarkets"), "markets").markets

    async def subaccount(self) -> SubaccountRow | None:
        """The subaccount; None before its first deposit."""
        try:
            body = await self._http.get(f"/v4/addresses/{self._address}/subaccountNumber/{self._subaccount}")
        except HttpStatusError as error:
            if error.status == 404:
                return None
            raise
        return self._decode(messages.SUBACCOUNT, body, "subaccount").subaccount

    async def live_orders(self) -> list[OrderRow]:
        """Orders that are open, wait for their trigger, or are open as far as the indexer's node knows."""
        query = {**self._who, "status": LIVE_STATUSES, "returnLatestOrders": "true"}
        return self._decode(messages.ORDERS, await self._http.get("/v4/orders", query), "orders")

    async def order(self, identifier: str) -> OrderRow | None:
        """One order; None says nothing about an unfilled short-term one."""
        try:
            body = await self._http.get(f"/v4/orders/{identifier}")
        except HttpStatusError as error:
            if error.status == 404:
                return None
            raise
        return self._decode(messages.ORDER, body, "order")

    async def fills(self, since_ns: int) -> list[FillRow]:
        """The fills from `since_ns` on, oldest first, read backwards in pages until one is older."""
        found: dict[str, FillRow] = {}
        before = ""
        while True:
            query = {**self._who, "limit": str(PAGE)}
            if before:
                query["createdBeforeOrAtHeight"] = before
            page = self._decode(messages.FILLS, await self._http.get("/v4/fills", query), "fills").fills
            fresh = [row for row in page if row.id not in found]
            found.update((row.id, row) for row in fresh)
            oldest = min((int(row.created_at_height) for row in page), default=0)
            is_enough = any(messages.time_ns(row.created_at) < since_ns for row in page)
            if len(page) < PAGE or is_enough:
                break
            # A block may have more fills than a page: go on from the same height while that brings anything new.
            before = str(oldest if fresh and str(oldest) != before else oldest - 1)
        rows = [row for row in found.values() if messages.time_ns(row.created_at) >= since_ns]
        return sorted(rows, key=lambda row: int(row.created_at_height))

    @staticmethod
    def _decode(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
        try:
            return decoder.decode(body)
        except MalformedMessage as error:
            raise TransportError(f"{what}: {error}: {body[:200]!r}") from None
