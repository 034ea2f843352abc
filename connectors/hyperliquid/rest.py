"""Reads from the venue's `/info`, with their request weights.

Every read names the account (the master or sub-account), never the agent: an agent's address reads as empty.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import orjson

from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.candles import CANDLE_ROWS, CandleRow
from latentspeed.connectors.hyperliquid.fundings import (
    FUNDING_HISTORY,
    FUNDING_RATES,
    PREDICTIONS,
    FundingRateRow,
    FundingRow,
    Prediction,
)
from latentspeed.connectors.hyperliquid.limits import USER_RATE_LIMIT, UserRateLimit
from latentspeed.connectors.hyperliquid.listings import read_dexs, read_meta, read_spot_meta
from latentspeed.connectors.hyperliquid.messages import (
    AgentRow,
    ClearinghouseState,
    FillRow,
    L2Book,
    Leverage,
    Meta,
    OrderRow,
    OrderStatusReply,
    OrderStatusRow,
    PerpDex,
    SpotClearinghouseState,
    SpotMeta,
    UserRole,
)
from latentspeed.connectors.row_decoder import MalformedMessage, RowDecoder
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import HttpClient, HttpStatusError, TransportError

T = TypeVar("T")

LIGHT, ORDINARY, HEAVY = 2, 20, 60
"""Weights of info requests."""

STILL_OPEN = ("open", "triggered")

SHORTEST_LIMIT = 500
"""Rows of one answer that the venue may have cut; documents say 500 and 2000."""


class MalformedReply(TransportError):
    """The venue answered with something that is not what was asked for."""


def action_weight(count: int) -> int:
    """The weight of an action with so many orders or cancels."""
    return 1 + count // 40


class RestClient:
    """Reads of one account."""

    def __init__(
        self,
        http: HttpClient,
        account: str,
        *,
        budget: WeightBudget | None = None,
        dexs: tuple[str, ...] = (),
        on_malformed: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Uses the session of `http`.

        Args:
            http: Where to.
            account: Whose orders, fills and positions are read; lower case.
            budget: The weight that this address may use; None when the venue has no limits.
            dexs: The builder dexs whose open orders are read besides those of the venue's own dex and spot.
            on_malformed: Told of each row of an answer that could not be read.
        """
        self.http = http
        self.account = account
        self.budget = budget
        self.dexs = dexs
        self._on_malformed = on_malformed

    async def info(self, request: dict[str, Any], weight: int, *, urgent: bool = False) -> bytes:
        """The answer to a read; an urgent one may use what is kept for cancels.

        Raises:
            TransportError: See `HttpClient.post`.
        """
        if self.budget is not None:
            await self.budget.acquire(weight, urgent=urgent)
        return await self._post_info(orjson.dumps(request))

    async def _post_info(self, body: bytes) -> bytes:
        try:
            return await self.http.post("/info", body)
        except HttpStatusError as error:
            if error.status == 429 and self.budget is not None:
                self.budget.exhaust()
            raise

    async def venue_time_ms(self) -> tuple[int, int, int] | None:
        """The venue's clock in ms, between ours just before and just after in ns; None where it does not tell."""
        if self.budget is not None:
            await self.budget.acquire(LIGHT)  # before the clock is read: the wait is no part of the round trip
        before_utc_ns = time.time_ns()
        try:
            body = await self._post_info(b'{"type":"exchangeStatus"}')
            return before_utc_ns, messages.EXCHANGE_STATUS.decode(body).time, time.time_ns()
        except (HttpStatusError, *MalformedMessage):
            return None

    async def meta(self, dex: str = "") -> Meta:
        """All perpetual markets of a dex, of the venue's own for an empty name; None where one cannot be read."""
        return self._read(read_meta, await self.info(_of_dex({"type": "meta"}, dex), ORDINARY), "meta")

    async def perp_dexs(self) -> list[PerpDex | None]:
        """All dexs in the venue's order, None at the place of its own."""
        return self._read(read_dexs, await self.info({"type": "perpDexs"}, ORDINARY), "perpDexs")

    async def spot_meta(self) -> SpotMeta:
        """All spot markets and their tokens."""
        return self._read(read_spot_meta, await self.info({"type": "spotMeta"}, ORDINARY), "spotMeta")

    async def clearinghouse_state(self, dex: str = "") -> ClearinghouseState:
        """Margin and positions in one dex, each of which has its own."""
        body = await self.info(_of_dex({"type": "clearinghouseState", "user": self.account}, dex), LIGHT)
        return self._decode(messages.CLEARINGHOUSE_STATE, body, "clearinghouseState")

    async def spot_clearinghouse_state(self) -> SpotClearinghouseState:
        """Token balances."""
        body = await self.info({"type": "spotClearinghouseState", "user": self.account}, LIGHT)
        return self._decode(messages.SPOT_CLEARINGHOUSE_STATE, body, "spotClearinghouseState")

    async def abstraction(self) -> str:
        """How the account pools its balances: "default", "unifiedAccount", "portfolioMargin" and others."""
        body = await self.info({"type": "userAbstraction", "user": self.account}, ORDINARY)
        return self._decode(messages.TEXT, body, "userAbstraction")

    async def open_orders(self) -> list[OrderRow]:
        """All open orders, triggers included, of every dex that is traded and of spot."""
        rows: list[OrderRow] = []
        for dex in ("", *self.dexs):
            body = await self.info(_of_dex({"type": "frontendOpenOrders", "user": self.account}, dex), ORDINARY)
            rows += self._decode_rows(messages.ORDER_ROWS, body, "frontendOpenOrders")
        return rows

    async def order_status(self, order: int | str) -> OrderStatusReply:
        """One order by the venue's number or by cloid. "unknownOid" means no longer or not yet known, never refused."""
        body = await self.info({"type": "orderStatus", "user": self.account, "oid": order}, LIGHT, urgent=True)
        return self._decode(messages.ORDER_STATUS_REPLY, body, "orderStatus")

    async def fills(self, start_ms: int, until_ms: int) -> list[FillRow]:
        """The fills from `start_ms` to `until_ms` at least, oldest first, paged until a page adds nothing new.

        Several fills share a millisecond, so each page begins in the last one of the page before. While the account
        trades on, pages would never be dry: those beyond `until_ms` are left to the stream.
        """
        seen: set[tuple[int, str, int, int, str, str]] = set()
        fills: list[FillRow] = []
        while True:
            body = await self.info({"type": "userFillsByTime", "user": self.account, "startTime": start_ms}, ORDINARY)
            page = self._decode_rows(messages.FILL_ROWS, body, "userFillsByTime")
            self._take_rows(len(page), 20)
            fresh = []
            for fill in page:
                key = (fill.time, fill.coin, fill.tid, fill.oid, fill.side, fill.sz)
                if key not in seen:
                    seen.add(key)
                    fresh.append(fill)
            fills += fresh
            if fresh:
                start_ms = max(fill.time for fill in fresh)
            elif len(page) >= SHORTEST_LIMIT:
                # A whole page in one millisecond: there may be more behind it.
                start_ms += 1
            if not page or start_ms >= until_ms or (not fresh and len(page) < SHORTEST_LIMIT):
                break
        fills.sort(key=lambda fill: fill.time)
        return fills

    async def active_leverage(self, coin: str) -> Leverage:
        """Leverage and margin mode of one market, which the account has there with or without a position."""
        body = await self.info({"type": "activeAssetData", "user": self.account, "coin": coin}, ORDINARY)
        return self._decode(messages.ACTIVE_ASSET_DATA, body, "activeAssetData").leverage

    async def historical_orders(self) -> list[OrderStatusRow]:
        """The latest orders, each with the status that it reached last: the venue lists every status on the way."""
        body = await self.info({"type": "historicalOrders", "user": self.account}, ORDINARY)
        rows = self._decode_rows(messages.ORDER_STATUS_ROWS, body, "historicalOrders")
        self._take_rows(len(rows), 20)
        newest: dict[int, OrderStatusRow] = {}
        for row in rows:
            known = newest.get(row.order.oid)
            if known is None or (row.statusTimestamp, row.status not in STILL_OPEN) > (
                known.statusTimestamp,
                known.status not in STILL_OPEN,
            ):
                newest[row.order.oid] = row
        return list(newest.values())

    async def book(self, coin: str) -> L2Book | None:
        """The book of a market as it is now; None for a market that the venue does not know."""
        body = await self.info({"type": "l2Book", "coin": coin}, LIGHT)
        return self._decode(messages.L2_BOOK_OR_NOTHING, body, "l2Book")

    async def candles(self, coin: str, interval: str, start_ms: int, until_ms: int) -> list[CandleRow]:
        """The candles that began from `start_ms` to `until_ms`, oldest first, paged until a page adds nothing new.

        The venue keeps the last 5000 of an interval.
        """
        found: dict[int, CandleRow] = {}
        while True:
            wanted = {"coin": coin, "interval": interval, "startTime": start_ms, "endTime": until_ms}
            body = await self.info({"type": "candleSnapshot", "req": wanted}, ORDINARY)
            page = self._decode_rows(CANDLE_ROWS, body, "candleSnapshot")
            self._take_rows(len(page), 60)
            fresh = {row.start_ms: row for row in page if row.start_ms not in found}
            found |= fresh
            if not fresh or len(page) < SHORTEST_LIMIT or max(fresh) >= until_ms:
                return [found[start] for start in sorted(found)]
            start_ms = max(fresh)

    async def fundings(self, start_ms: int) -> list[FundingRow]:
        """The account's funding payments from `start_ms` on, oldest first, paged until a page adds nothing new."""
        seen: set[tuple[int, str]] = set()
        found: list[FundingRow] = []
        while True:
            body = await self.info({"type": "userFunding", "user": self.account, "startTime": start_ms}, ORDINARY)
            page = self._decode_rows(FUNDING_HISTORY, body, "userFunding")
            self._take_rows(len(page), 20)
            fresh = [row.payment() for row in page if (row.time, row.delta.coin) not in seen]
            seen |= {(row.time, row.coin) for row in fresh}
            found += fresh
            if not fresh or len(page) < SHORTEST_LIMIT:
                return sorted(found, key=lambda row: row.time)
            start_ms = max(row.time for row in fresh)

    async def funding_rates(self, coin: str, start_ms: int) -> list[FundingRateRow]:
        """The rates that a market has paid from `start_ms` on, oldest first; at most 500."""
        body = await self.info({"type": "fundingHistory", "coin": coin, "startTime": start_ms}, ORDINARY)
        rows = self._decode_rows(FUNDING_RATES, body, "fundingHistory")
        self._take_rows(len(rows), 20)
        return sorted(rows, key=lambda row: row.time)

    async def predicted_fundings(self) -> list[tuple[str, list[tuple[str, Prediction | None]]]]:
        """What each market is expected to pay next, here and at other venues, by the venue's names."""
        return self._decode_rows(PREDICTIONS, await self.info({"type": "predictedFundings"}, ORDINARY), "predictions")

    async def rate_limit(self) -> UserRateLimit:
        """How many actions the address has used, and may use."""
        body = await self.info({"type": "userRateLimit", "user": self.account}, ORDINARY)
        return self._decode(USER_RATE_LIMIT, body, "userRateLimit")

    def _take_rows(self, count: int, rows_a_unit: int) -> None:
        """The weight of an answer's rows, which is known only afterwards."""
        if self.budget is not None:
            self.budget.take(count // rows_a_unit)

    async def max_builder_fee(self, builder: str) -> int:
        """The highest fee that the account pays a builder, in tenths of a basis point."""
        body = await self.info({"type": "maxBuilderFee", "user": self.account, "builder": builder}, ORDINARY)
        return self._decode(messages.COUNT, body, "maxBuilderFee")

    async def user_role(self, address: str) -> UserRole:
        """What an address is: a user, somebody's agent, or unknown."""
        body = await self.info({"type": "userRole", "user": address}, HEAVY)
        return self._decode(messages.USER_ROLE, body, "userRole")

    async def extra_agents(self, address: str) -> list[AgentRow]:
        """The agents of an account that have a name; the one without a name is not listed."""
        body = await self.info({"type": "extraAgents", "user": address}, ORDINARY)
        return self._decode_rows(messages.AGENT_ROWS, body, "extraAgents")

    async def vault_leader(self, vault: str) -> str:
        """The account that trades a vault, lower case; empty where the venue knows no such vault."""
        body = await self.info({"type": "vaultDetails", "vaultAddress": vault}, ORDINARY)
        details = self._decode(messages.VAULT_DETAILS, body, "vaultDetails")
        return "" if details is None else details.leader.lower()

    def _decode(self, decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
        try:
            return decoder.decode(body)
        except MalformedMessage as error:
            raise MalformedReply(f"{what}: {error}: {body[:200]!r}") from None

    def _decode_rows(self, decoder: RowDecoder[T], body: bytes, what: str) -> list[T]:
        return self._read(decoder.decode, body, what)

    def _read(self, read: Callable[[bytes, Callable[[str], None]], T], body: bytes, what: str) -> T:
        try:
            return read(body, lambda text: self._on_malformed(f"{what}: {text}"))
        except MalformedMessage as error:
            raise MalformedReply(f"{what}: {error}: {body[:200]!r}") from None


def _of_dex(request: dict[str, Any], dex: str) -> dict[str, Any]:
    return request | {"dex": dex} if dex else request
