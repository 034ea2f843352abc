"""The indexer's REST interface."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web

from latentspeed.tools.venues.dydx_v4 import pnl, rows
from latentspeed.tools.venues.dydx_v4.candles import RESOLUTIONS
from latentspeed.tools.venues.dydx_v4.indexer import Indexer
from latentspeed.tools.venues.dydx_v4.indexer_queries import MOST, Queries
from latentspeed.tools.venues.dydx_v4.markets import quote_text
from latentspeed.tools.venues.dydx_v4.rest_view import RestView
from latentspeed.tools.venues.dydx_v4.rows import Row

LIMIT: Final = 100
LIMIT_WINDOW_S: Final = 10.0
SPARKLINES: Final = {"ONE_DAY": ("1HOUR", 24), "SEVEN_DAYS": ("4HOURS", 42)}
"""Which candles a sparkline is made of, and how many."""


def reply(found: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(found), status=status, content_type="application/json", headers=headers)


def problem(status: int, text: str, **fields: Any) -> web.Response:
    """An error as the indexer shapes it."""
    return reply({"errors": [{"msg": text, **fields}]}, status)


class Rest:
    """The routes."""

    def __init__(self, view: RestView, queries: Queries, clock_ms: Callable[[], int], *, is_limited: bool) -> None:
        self._view = view
        self._queries = queries
        self._clock_ms = clock_ms
        self._is_limited = is_limited
        self._requests: dict[str, deque[float]] = {}
        self.failures: list[int] = []
        """A fault: statuses with which the next requests are answered."""

    @property
    def _indexer(self) -> Indexer:
        return self._view.indexer

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        get = web.get
        return [
            get("/v4/time", self._time),
            get("/v4/height", self._height),
            get("/v4/perpetualMarkets", self._markets),
            get("/v4/orderbooks/perpetualMarket/{ticker}", self._book),
            get("/v4/trades/perpetualMarket/{ticker}", self._trades),
            get("/v4/candles/perpetualMarkets/{ticker}", self._candles),
            get("/v4/historicalFunding/{ticker}", self._historical_funding),
            get("/v4/addresses/{address}", self._address),
            get("/v4/addresses/{address}/subaccountNumber/{number}", self._subaccount),
            get("/v4/addresses/{address}/parentSubaccountNumber/{number}", self._parent),
            get("/v4/sparklines", self._sparklines),
            get("/v4/screen", self._screen),
            get("/v4/compliance/screen/{address}", self._compliance),
            get("/v4/perpetualPositions", self._positions),
            get("/v4/perpetualPositions/parentSubaccountNumber", self._positions),
            get("/v4/assetPositions", self._assets),
            get("/v4/assetPositions/parentSubaccountNumber", self._assets),
            get("/v4/orders", self._orders),
            get("/v4/orders/parentSubaccountNumber", self._orders),
            get("/v4/orders/{id}", self._order),
            get("/v4/fills", self._fills),
            get("/v4/fills/parentSubaccountNumber", self._fills),
            get("/v4/fills/parentSubaccount", self._fills),
            get("/v4/transfers", self._transfers),
            get("/v4/transfers/parentSubaccountNumber", self._transfers),
            get("/v4/transfers/between", self._transfers_between),
            get("/v4/fundingPayments", self._funding_payments),
            get("/v4/fundingPayments/parentSubaccount", self._funding_payments),
            get("/v4/fundingPayments/parentSubaccountNumber", self._funding_payments),
            get("/v4/historical-pnl", self._historical_pnl),
            get("/v4/historical-pnl/parentSubaccountNumber", self._historical_pnl),
            get("/v4/pnl", self._pnl),
            get("/v4/pnl/parentSubaccountNumber", self._pnl),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Limits requests, and lets faults answer instead."""
        if not request.path.startswith("/v4/") or request.path == "/v4/ws":
            found: web.StreamResponse = await handler(request)
            return found
        if self.failures:
            status = self.failures.pop(0)
            headers = {"Retry-After": "1500"} if status == 429 else None
            text = "Too many requests" if status == 429 else "Internal Server Error"
            return reply({"errors": [{"msg": text}]}, status, headers)
        headers = {}
        if self._is_limited:
            now = time.monotonic()
            recent = self._requests.setdefault(request.path.split("/")[2], deque())
            while recent and recent[0] <= now - LIMIT_WINDOW_S:
                recent.popleft()
            if len(recent) >= LIMIT:
                wait_ms = int((recent[0] + LIMIT_WINDOW_S - now) * 1000)
                return reply({"errors": [{"msg": "Too many requests"}]}, 429, {"Retry-After": str(wait_ms)})
            recent.append(now)
            headers = {"RateLimit-Limit": str(LIMIT), "RateLimit-Remaining": str(LIMIT - len(recent))}
        try:
            found = await handler(request)
        except web.HTTPNotFound:
            return problem(404, "Not Found")
        except (ValueError, KeyError) as error:
            return problem(400, "Invalid value", param=str(error), location="query")
        found.headers.update(headers)
        return found

    # --- markets ---

    async def _time(self, request: web.Request) -> web.Response:
        now = self._clock_ms()
        return reply({"iso": rows.iso(now), "epoch": now / 1000})

    async def _height(self, request: web.Request) -> web.Response:
        return reply({"height": str(self._indexer.height), "time": rows.iso(self._indexer.time_ms)})

    async def _markets(self, request: web.Request) -> web.Response:
        ticker = request.query.get("ticker") or request.query.get("market")
        found = self._queries.markets(ticker)
        if found is None:
            return problem(400, f"{ticker} is not a valid ticker", param="ticker", location="query", value=ticker)
        return reply({"markets": found})

    async def _book(self, request: web.Request) -> web.Response:
        found = self._queries.book(request.match_info["ticker"])
        return reply(found) if found is not None else problem(400, "ticker must be a valid ticker (BTC-USD, etc)")

    async def _trades(self, request: web.Request) -> web.Response:
        found = self._indexer.trades.get(request.match_info["ticker"])
        if found is None:
            return problem(400, "ticker must be a valid ticker (BTC-USD, etc)")
        return reply({"trades": list(found)[: _limit(request)]})

    async def _candles(self, request: web.Request) -> web.Response:
        ticker, resolution = request.match_info["ticker"], request.query.get("resolution", "")
        if ticker not in self._indexer.markets or resolution not in RESOLUTIONS:
            return problem(400, "resolution must be a valid Candle Resolution, one of " + ",".join(RESOLUTIONS))
        found = self._indexer.candles.of(ticker, resolution)
        since, until = request.query.get("fromISO", ""), request.query.get("toISO", "~")
        chosen = [candle for candle in found if since <= candle["startedAt"] < until]
        return reply({"candles": chosen[: _limit(request)]})

    async def _historical_funding(self, request: web.Request) -> web.Response:
        ticker = request.match_info["ticker"]
        found = self._indexer.fundings.get(ticker, [])
        if ticker not in self._indexer.markets:
            return problem(400, "ticker must be a valid ticker (BTC-USD, etc)")
        before, height = request.query.get("effectiveBeforeOrAt"), request.query.get("effectiveBeforeOrAtHeight")
        if before is not None:
            found = [row for row in found if row["effectiveAt"] <= before]
        if height is not None:
            found = [row for row in found if int(row["effectiveAtHeight"]) <= int(height)]
        return reply({"historicalFunding": found[::-1][: _limit(request)]})

    async def _sparklines(self, request: web.Request) -> web.Response:
        resolution, count = SPARKLINES[request.query["timePeriod"]]
        candles = self._indexer.candles
        closes = {ticker: candles.of(ticker, resolution)[:count] for ticker in self._indexer.markets}
        return reply({ticker: [candle["close"] for candle in found] for ticker, found in closes.items()})

    # --- who may trade ---

    async def _screen(self, request: web.Request) -> web.Response:
        if not request.query["address"]:
            raise ValueError("address")
        return reply({"restricted": False})

    async def _compliance(self, request: web.Request) -> web.Response:
        return reply({"status": "COMPLIANT"})

    # --- subaccounts ---

    async def _address(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        views = self._queries.views_of(address)
        if not views:
            return problem(404, f"No subaccounts found for address {address}")
        return reply({"subaccounts": [self._queries.subaccount(view) for view in views], "totalTradingRewards": "0"})

    async def _subaccount(self, request: web.Request) -> web.Response:
        address, number = request.match_info["address"], int(request.match_info["number"])
        view = self._queries.view(address, number)
        if view is None:
            return problem(404, f"No subaccount found with address {address} and subaccountNumber {number}")
        return reply({"subaccount": self._queries.subaccount(view)})

    async def _parent(self, request: web.Request) -> web.Response:
        address, number = request.match_info["address"], int(request.match_info["number"])
        if not self._queries.views_of(address, number):
            return problem(404, f"No subaccounts found for address {address} and parentSubaccountNumber {number}")
        return reply({"subaccount": self._queries.parent(address, number)})

    async def _positions(self, request: web.Request) -> web.Response:
        owner, numbers = self._who(request)
        statuses = set(request.query.get("status", "OPEN,CLOSED,LIQUIDATED").split(","))
        found: list[Row] = []
        for number in sorted(numbers):
            view = self._queries.view(owner, number)
            if view is not None:
                found += self._queries.subaccount(view)["openPerpetualPositions"].values()
            found += [dict(row) for row in reversed(self._indexer.closed.get((owner, number), []))]
        return reply({"positions": [row for row in found if row["status"] in statuses][: _limit(request)]})

    async def _assets(self, request: web.Request) -> web.Response:
        owner, numbers = self._who(request)
        views = [self._queries.view(owner, number) for number in sorted(numbers)]
        return reply({"positions": [rows.asset_row(view) for view in views if view is not None]})

    async def _orders(self, request: web.Request) -> web.Response:
        owner, numbers = self._who(request)
        text = request.query.get("status")
        found = self._queries.orders(owner, numbers, set(text.split(",")) if text else None)
        for name, field in (("ticker", "ticker"), ("side", "side"), ("type", "type")):
            wanted = request.query.get(name)
            if wanted is not None:
                found = [row for row in found if row[field] == wanted]
        # A bound on blocks leaves stateful orders out, which have none.
        until, after = request.query.get("goodTilBlockBeforeOrAt"), request.query.get("goodTilBlockAfter")
        if until is not None:
            found = [row for row in found if "goodTilBlock" in row and int(row["goodTilBlock"]) <= int(until)]
        if after is not None:
            found = [row for row in found if "goodTilBlock" in row and int(row["goodTilBlock"]) > int(after)]
        return reply(found[: _limit(request)])

    async def _order(self, request: web.Request) -> web.Response:
        identifier = request.match_info["id"]
        found = self._indexer.orders.get(identifier) or self._indexer.live.get(identifier)
        return reply(found) if found is not None else problem(404, f"Unable to find order id {identifier}")

    async def _fills(self, request: web.Request) -> web.Response:
        owner, numbers = self._who(request)
        found = [row for number in numbers for row in self._indexer.fills.get((owner, number), [])]
        market = request.query.get("market") or request.query.get("ticker")
        if market is not None:
            found = [row for row in found if row["market"] == market]
        # The lists of a parent take no bounds.
        bounds = request.query if "subaccountNumber" in request.query else {}
        height = bounds.get("createdBeforeOrAtHeight")
        if height is not None:
            found = [row for row in found if int(row["createdAtHeight"]) <= int(height)]
        before = bounds.get("createdBeforeOrAt")
        if before is not None:
            found = [row for row in found if row["createdAt"] <= before]
        found.sort(key=lambda row: int(row["createdAtHeight"]))
        # With pages the oldest come first, without the newest.
        return reply(_paged("fills", found if "page" in request.query else found[::-1], request))

    async def _transfers(self, request: web.Request) -> web.Response:
        owner, numbers = self._who(request)
        found = [row for number in numbers for row in self._indexer.transfers.get((owner, number), [])]
        return reply({"transfers": found[::-1][: _limit(request)]})

    async def _transfers_between(self, request: web.Request) -> web.Response:
        query = request.query
        source = (query["sourceAddress"], int(query["sourceSubaccountNumber"]))
        recipient = {"address": query["recipientAddress"], "subaccountNumber": int(query["recipientSubaccountNumber"])}
        rows_of = self._indexer.transfers.get(source, [])
        sent = [row for row in rows_of if row["type"] == "TRANSFER_OUT" and row["recipient"] == recipient]
        came = [row for row in rows_of if row["type"] == "TRANSFER_IN" and row["sender"] == recipient]
        net = sum(round(float(row["size"]) * 10**6) for row in sent) - sum(
            round(float(row["size"]) * 10**6) for row in came
        )
        found = sorted([*sent, *came], key=lambda row: int(row["createdAtHeight"]), reverse=True)
        return reply({"transfersSubset": found[: _limit(request)], "totalNetTransfers": quote_text(net)})

    async def _funding_payments(self, request: web.Request) -> web.Response:
        owner, numbers = self._who(request)
        found = [row for number in numbers for row in self._indexer.payments.get((owner, number), [])]
        ticker, after = request.query.get("ticker"), request.query.get("createdOnOrAfter")
        if ticker is not None:
            found = [row for row in found if row["ticker"] == ticker]
        if after is not None:
            found = [row for row in found if row["createdAt"] >= after]
        if not {"true", "True"} & {request.query.get("showZeroPayments"), request.query.get("zeroPayments")}:
            found = [row for row in found if row["payment"] != "0"]
        found.sort(key=lambda row: int(row["createdAtHeight"]), reverse=True)
        return reply(_paged("fundingPayments", found, request))

    async def _historical_pnl(self, request: web.Request) -> web.Response:
        ticks = self._ticks(request)
        if isinstance(ticks, web.Response):
            return ticks
        if "subaccountNumber" in request.query:
            # Each tick of a subaccount is a row of its own, also where an hour has two.
            found = [row for tick in reversed(ticks[0]) for row in pnl.historical_rows([[tick]])]
        else:
            found = pnl.historical_rows(ticks)
        return reply(_paged("historicalPnl", found, request))

    async def _pnl(self, request: web.Request) -> web.Response:
        ticks = self._ticks(request)
        if isinstance(ticks, web.Response):
            return ticks
        found = pnl.pnl_rows(ticks, daily=request.query.get("daily") == "true")
        return reply(_paged("pnl", found, request))

    def _ticks(self, request: web.Request) -> list[list[pnl.PnlTick]] | web.Response:
        """The ticks of the subaccounts that a query names, or the answer that there is none."""
        owner, numbers = self._who(request)
        if not any(self._queries.view(owner, number) is not None for number in numbers):
            number = request.query.get("subaccountNumber")
            name = f"subaccountNumber {number}" if number is not None else "that parentSubaccountNumber"
            return problem(404, f"No subaccount found with address {owner} and {name}")
        kept = (self._indexer.pnl.of.get((owner, number), []) for number in sorted(numbers))
        return [pnl.chosen(several, request.query) for several in kept]

    def _who(self, request: web.Request) -> tuple[str, set[int]]:
        """The owner and the subaccounts that a query names."""
        owner = request.query["address"]
        parent = request.query.get("parentSubaccountNumber")
        if parent is not None:
            return owner, self._queries.numbers_of(owner, int(parent))
        number = int(request.query["subaccountNumber"])
        self._queries.view(owner, number)
        return owner, {number}


def _paged(name: str, found: list[Row], request: web.Request) -> Row:
    """Rows as far as asked for; with pages, how many there are."""
    limit = _limit(request)
    if "page" not in request.query:
        return {name: found[:limit]}
    start = (int(request.query["page"]) - 1) * limit
    paging = {"pageSize": limit, "totalResults": len(found), "offset": start}
    return {**paging, name: found[start : start + limit]}


def _limit(request: web.Request) -> int:
    limit = int(request.query.get("limit", MOST))
    if not 1 <= limit <= MOST:
        raise ValueError("limit")
    return limit
