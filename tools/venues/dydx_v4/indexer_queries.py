"""What the indexer answers: for REST, and for the snapshots of channels."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from latentspeed.tools.venues.dydx_v4 import rows
from latentspeed.tools.venues.dydx_v4.candles import RESOLUTIONS
from latentspeed.tools.venues.dydx_v4.indexer import Indexer
from latentspeed.tools.venues.dydx_v4.markets import decimal_text
from latentspeed.tools.venues.dydx_v4.rest_view import RestView
from latentspeed.tools.venues.dydx_v4.rows import Row, SubaccountView
from latentspeed.tools.venues.dydx_v4.sockets import PARENTS, is_subaccount_name

MOST: Final = 1000
BOOK_LEVELS: Final = 100
OPEN_STATUSES: Final = ("OPEN", "UNTRIGGERED", "BEST_EFFORT_OPENED")


class Queries:
    """What REST answers and sockets take their snapshots from."""

    def __init__(self, view: RestView, enrol: Callable[[str], object]) -> None:
        self._view = view
        self._enrol = enrol

    @property
    def _indexer(self) -> Indexer:
        return self._view.indexer

    # --- markets ---

    def markets(self, ticker: str | None = None) -> dict[str, Row] | None:
        """Markets by ticker; None for one that does not exist."""
        indexer = self._indexer
        if ticker is not None and ticker not in indexer.markets:
            return None
        chosen = indexer.markets if ticker is None else {ticker: indexer.markets[ticker]}
        return {name: rows.market_row(market) for name, market in chosen.items()}

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

    def numbers_of(self, owner: str, parent: int) -> set[int]:
        """A parent and its children, also those that have orders and no money."""
        self.view(owner, parent)
        ledger = self._indexer._ledger
        known = [] if ledger is None else [number for address, number in ledger.subaccounts if address == owner]
        return {parent, *(number for number in known if number % PARENTS == parent)}

    def subaccount(self, view: SubaccountView) -> Row:
        """A subaccount's row."""
        return rows.subaccount_row(view, self._indexer.markets, self._indexer.height)

    def parent(self, owner: str, number: int) -> Row:
        """A parent's row with those of its children."""
        children = [self.subaccount(view) for view in self.views_of(owner, number)]

        def total(name: str) -> str:
            return decimal_text(sum((Decimal(row[name]) for row in children), Decimal(0)))

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
            numbers = self.numbers_of(owner, number)
            is_known = bool(self.views_of(owner, number))
            contents: Row = {"subaccount": self.parent(owner, number)} if is_known else {}
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
