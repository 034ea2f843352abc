"""What the indexer's REST interface knows: all that the indexer knows, or only what it knew a while ago."""

from __future__ import annotations

import copy
import time
from typing import Final

from latentspeed.tools.venues.dydx_v4.indexer import Indexer

_KEPT: Final = ("live", "orders", "fills", "transfers", "closed", "fundings", "payments", "pnl")
_COPIED: Final = (*_KEPT, "views", "trades", "books")


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
    copied = copy.copy(indexer)
    for name in _COPIED:
        setattr(copied, name, copy.deepcopy(getattr(indexer, name)))
    return copied
