"""The indexer's REST interface."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import orjson
from aiohttp import web

from latentspeed.tools.venues.dydx_v4 import rows
from latentspeed.tools.venues.dydx_v4.candles import RESOLUTIONS
from latentspeed.tools.venues.dydx_v4.indexer import Indexer
from latentspeed.tools.venues.dydx_v4.markets import decimal_text
from latentspeed.tools.venues.dydx_v4.rows import Row, SubaccountView
from latentspeed.tools.venues.dydx_v4.sockets import PARENTS, is_subaccount_name

MOST: Final = 1000
LIMIT: Final = 100
LIMIT_WINDOW_S: Final = 10.0
BOOK_LEVELS: Final = 100
OPEN_STATUSES: Final = ("OPEN", "UNTRIGGERED", "BEST_EFFORT_OPENED")


def reply(found: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(found), status=status, content_type="application/json", headers=headers)


def problem(status: int, text: str, **fields: Any) -> web.Response:
    """An error as the indexer shapes it."""
    return reply({"errors": [{"msg": text, **fields}]}, status)


class Queries:
    """What REST answers and sockets take their snapshots from."""

    def __init__(self, indexer: Indexer, enrol: Callable[[str], object]) -> None:
        self._indexer = indexer
        self._enrol = enrol

    # --- markets ---

    def markets(self, ticker: str | None = None) -> dict[str, Row] | None:
        """Markets by ticker; None for one that does not exist."""
        indexer = self._indexer
        if ticker is not None and ticker not in indexer.markets:
            return None
        longs: dict[str, int] = {}
        for view in indexer.views.values():
            for name, position in view.positions.items():
                longs[name] = longs.get(name, 0) + max(0, position.quantums)
        chosen = indexer.markets if ticker is None else {ticker: indexer.markets[ticker]}
        return {name: rows.market_row(market, longs.get(name, 0)) for name, market in chosen.items()}

    def book(self, ticker: str, *, uncrossed: bool = True) -> Row | None:
        """A book as REST shows it: sorted, and without what crosses."""
        market = self._indexer.markets.get(ticker)
        if market is None:
            return None
        book = self._indexer.books[ticker]
        bids, asks = sorted(book[True].items(), reverse=True), sorted(book[False].items())
        while uncrossed and bids and asks and bids[0][0] >= asks[0][0]:
            # The larger one is taken for the one that is real.
            del (asks if bids[0][1] >= asks[0][1] else bids)[0]

        def levels(side: list[tuple[int, int]]) -> list[Row]:
            return [
                {"price": market.price_text(subticks), "size": market.size_text(quantums)}
                for subticks, quantums in side[:BOOK_LEVELS]
            ]

        return {"bids": levels(bids), "asks": levels(asks)}

    # --- subaccounts ---

    def view(self, owner: str, number: int) -> SubaccountView | None:
        """A subaccount that has ever held money."""
        self._enrol(owner)
        indexer = self._indexer
        found = indexer.views.get((owner, number))
        if found is None and indexer._ledger is not None:
            subaccount = indexer._ledger.subaccounts.get((owner, number))
            if subaccount is not None and (subaccount.quote or subaccount.positions):
                found = indexer.views[owner, number] = SubaccountView.of(subaccount, indexer.height)
        return found

    def views_of(self, owner: str, parent: int | None = None) -> list[SubaccountView]:
        """All subaccounts of an owner, or a parent with its children."""
        self.view(owner, 0 if parent is None else parent)
        return [
            view
            for (address, number), view in sorted(self._indexer.views.items())
            if address == owner and (parent is None or number % PARENTS == parent)
        ]

    def subaccount(self, view: SubaccountView) -> Row:
        """A subaccount's row."""
        return rows.subaccount_row(view, self._indexer.markets, self._indexer.height)

    def parent(self, owner: str, number: int) -> Row:
        """A parent's row with those of its children."""
        children = {str(view.number): self.subaccount(view) for view in self.views_of(owner, number)}

        def total(name: str) -> str:
            return decimal_text(sum((Decimal(row[name]) for row in children.values()), Decimal(0)))

        return {
            "address": owner,
            "parentSubaccountNumber": number,
            "equity": total("equity"),
            "freeCollateral": total("freeCollateral"),
            "childSubaccounts": children,
        }

    def orders(self, owner: str, numbers: set[int], statuses: set[str] | None = None) -> list[Row]:
        """Orders of subaccounts, memory and state merged, the longest-lived first."""
        indexer = self._indexer
        names = {rows.subaccount_uuid(owner, number) for number in numbers}
        merged = {**indexer.live, **indexer.orders}
        for identifier, row in indexer.live.items():
            if identifier in indexer.orders and indexer.orders[identifier]["status"] in ("FILLED", "CANCELED"):
                merged[identifier] = row
        found = [row for row in merged.values() if row["subaccountId"] in names]
        if statuses is not None:
            found = [row for row in found if row["status"] in statuses]
        return sorted(found, key=_lifetime, reverse=True)

    # --- snapshots of channels ---

    def snapshot(self, channel: str, name: str) -> Row | None:
        """What a new subscriber gets first."""
        indexer = self._indexer
        if channel == "v4_markets":
            return {"markets": self.markets()}
        if channel == "v4_block_height":
            return {"height": str(indexer.height), "time": rows.iso(indexer.time_ms)}
        if channel == "v4_orderbook":
            return self.book(name)
        if channel == "v4_trades":
            return {"trades": list(indexer.trades[name])[:MOST]} if name in indexer.trades else None
        if channel == "v4_candles":
            ticker, _, resolution = name.partition("/")
            if ticker not in indexer.markets or resolution not in RESOLUTIONS:
                return None
            return {"candles": indexer.candles.of(ticker, resolution)}
        return self._subaccount_snapshot(channel, name)

    def _subaccount_snapshot(self, channel: str, name: str) -> Row | None:
        if not is_subaccount_name(name):
            return None
        owner, _, digits = name.partition("/")
        number, height = int(digits), str(self._indexer.height)
        if channel == "v4_parent_subaccounts":
            views = self.views_of(owner, number)
            numbers = {view.number for view in views}
            contents: Row = {"subaccount": self.parent(owner, number)} if views else {}
        else:
            view = self.view(owner, number)
            numbers = {number}
            contents = {"subaccount": self.subaccount(view)} if view is not None else {}
        if not contents:
            return {}
        return {**contents, "orders": self.orders(owner, numbers, set(OPEN_STATUSES)), "blockHeight": height}


def _lifetime(row: Row) -> tuple[int, str]:
    """Stateful orders, which have no block, come first."""
    block = row.get("goodTilBlock")
    return (int(block), "") if block is not None else (1 << 40, row.get("goodTilBlockTime", ""))


class Rest:
    """The routes."""

    def __init__(self, indexer: Indexer, queries: Queries, clock_ms: Callable[[], int], *, is_limited: bool) -> None:
        self._indexer = indexer
        self._queries = queries
        self._clock_ms = clock_ms
        self._is_limited = is_limited
        self._requests: dict[str, deque[float]] = {}
        self.failures: list[int] = []
        """A fault: statuses with which the next requests are answered."""

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
            get("/v4/perpetualPositions", self._positions),
            get("/v4/assetPositions", self._assets),
            get("/v4/orders", self._orders),
            get("/v4/orders/parentSubaccountNumber", self._orders),
            get("/v4/orders/{id}", self._order),
            get("/v4/fills", self._fills),
            get("/v4/fills/parentSubaccountNumber", self._fills),
            get("/v4/transfers", self._transfers),
            get("/v4/fundingPayments", self._funding_payments),
            get("/v4/historical-pnl", self._pnl),
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
        return reply({"historicalFunding": []})

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
        height = request.query.get("createdBeforeOrAtHeight")
        if height is not None:
            found = [row for row in found if int(row["createdAtHeight"]) <= int(height)]
        before = request.query.get("createdBeforeOrAt")
        if before is not None:
            found = [row for row in found if row["createdAt"] <= before]
        limit = _limit(request)
        page = request.query.get("page")
        if page is None:
            found.sort(key=lambda row: int(row["createdAtHeight"]))
            return reply({"fills": found[::-1][:limit]})
        start = (int(page) - 1) * limit
        paging = {"pageSize": limit, "totalResults": len(found), "offset": start}
        return reply({**paging, "fills": found[start : start + limit]})

    async def _transfers(self, request: web.Request) -> web.Response:
        owner, numbers = self._who(request)
        found = [row for number in numbers for row in self._indexer.transfers.get((owner, number), [])]
        return reply({"transfers": found[::-1][: _limit(request)]})

    async def _funding_payments(self, request: web.Request) -> web.Response:
        self._who(request)
        return reply({"fundingPayments": []})

    async def _pnl(self, request: web.Request) -> web.Response:
        self._who(request)
        return reply({"historicalPnl": []})

    def _who(self, request: web.Request) -> tuple[str, set[int]]:
        """The owner and the subaccounts that a query names."""
        owner = request.query["address"]
        parent = request.query.get("parentSubaccountNumber")
        if parent is not None:
            return owner, {view.number for view in self._queries.views_of(owner, int(parent))} | {int(parent)}
        number = int(request.query["subaccountNumber"])
        self._queries.view(owner, number)
        return owner, {number}


def _limit(request: web.Request) -> int:
    limit = int(request.query.get("limit", MOST))
    if not 1 <= limit <= MOST:
        raise ValueError("limit")
    return limit
