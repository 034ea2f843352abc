"""What the indexer's REST interface knows: all that the indexer knows, or only what it knew a while ago."""

from __future__ import annotations

import copy
import time
from typing import TypeVar

from latentspeed.tools.venues.dydx_v4.indexer import Indexer
from latentspeed.tools.venues.dydx_v4.rows import Row

Key = TypeVar("Key")


class RestView:
    """The indexer as REST sees it.

    Attributes:
        lag_ms: How old what it sees is at least; it is at most twice as old.
    """

    def __init__(self, indexer: Indexer) -> None:
        self._indexer = indexer
        self._seen: Indexer | None = None
        self._coming: Indexer | None = None
        self._copied_at = 0.0
        self.lag_ms = 0

    @property
    def indexer(self) -> Indexer:
        """The indexer, or a copy of what it was."""
        if not self.lag_ms:
            self._seen = self._coming = None
            return self._indexer
        now = time.monotonic()
        if self._coming is None or now - self._copied_at >= self.lag_ms / 1000:
            self._seen, self._coming = self._coming, _copy(self._indexer)
            self._copied_at = now
        return self._seen or self._coming


def _copy(indexer: Indexer) -> Indexer:
    """What the indexer knows now. Rows and views are replaced when they change and never written to, so that they are
    shared: whatever they hold, a copy is made between two requests and nobody notices."""
    copied = copy.copy(indexer)
    copied.live, copied.orders, copied.views = dict(indexer.live), dict(indexer.orders), dict(indexer.views)
    copied.fills, copied.transfers = _of_lists(indexer.fills), _of_lists(indexer.transfers)
    copied.closed, copied.payments = _of_lists(indexer.closed), _of_lists(indexer.payments)
    copied.fundings = _of_lists(indexer.fundings)
    copied.trades = {ticker: found.copy() for ticker, found in indexer.trades.items()}
    copied.books = {
        ticker: {is_buy: dict(levels) for is_buy, levels in sides.items()} for ticker, sides in indexer.books.items()
    }
    copied.pnl = copy.deepcopy(indexer.pnl)
    return copied


def _of_lists(found: dict[Key, list[Row]]) -> dict[Key, list[Row]]:
    return {key: list(rows) for key, rows in found.items()}
