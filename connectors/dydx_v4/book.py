"""An order book from absolute level sizes, shown without what crosses.

The indexer shows the sum of one node's optimistic orders: bids may stand above asks until their removal arrives. The
raw levels are kept as they came; what is shown leaves out, while the best bid reaches the best ask, the level that was
told of earlier.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from latentspeed.connectors.dydx_v4.decoding import finite
from latentspeed.connectors.order_book import DEPTH

_Level = tuple[float, int]
"""Size, and when it was told, as a count."""


class _Side:
    """Levels by price, with their keys sorted so that the best is last."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[float] = []
        self.levels: dict[float, _Level] = {}

    def set(self, price: float, size: float, told: int) -> None:
        key = self.sign * price
        if size > 0.0:
            if key not in self.levels:
                insort(self.keys, key)
            self.levels[key] = (size, told)
        elif self.levels.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


class RawBook:
    """Both sides of one market as they were told."""

    def __init__(self) -> None:
        self._bids, self._asks = _Side(1), _Side(-1)
        self._told = 0
        self._touched: set[tuple[bool, float]] | None = None

    def reset(self, bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> None:
        """Takes a snapshot. Raises ValueError for text that is no number; the book is as it was then."""
        fresh = RawBook()
        fresh._told = self._told
        fresh.update(bids, asks)
        self._bids, self._asks, self._told = fresh._bids, fresh._asks, fresh._told

    def update(self, bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> None:
        """Takes changed levels in order; size 0 removes one. Raises ValueError for a level that cannot be, and takes
        the others."""
        wrong = ""
        for is_bid, side, levels in ((True, self._bids, bids), (False, self._asks, asks)):
            for price_text, size_text in levels:
                try:
                    price, size = finite(price_text), finite(size_text)
                    if price <= 0.0 or size < 0.0:
                        raise ValueError(f"{size_text!r:.60} at {price_text!r:.60} is no level")
                except ValueError as error:
                    wrong = str(error)
                    continue
                self._told += 1
                side.set(price, size, self._told)
                if self._touched is not None:
                    self._touched.add((is_bid, price))
        if wrong:
            raise ValueError(wrong)

    def levels(self, is_bid: bool) -> dict[float, float]:
        """Sizes by price of a side as it was told, with what crosses."""
        side = self._bids if is_bid else self._asks
        return {price * side.sign: size for price, (size, _) in side.levels.items()}

    def correct(self, is_bid: bool, price: float, size: float) -> None:
        """Sets a level right that was told wrongly, or not at all."""
        self._told += 1
        (self._bids if is_bid else self._asks).set(price, size, self._told)

    @contextmanager
    def watched(self) -> Iterator[set[tuple[bool, float]]]:
        """Which levels the stream touches from now on: side, True for bids, and price."""
        self._touched = touched = set[tuple[bool, float]]()
        try:
            yield touched
        finally:
            self._touched = None

    def shown(self, depth: int = DEPTH) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """The best levels of both sides as (price, size), without what crosses."""
        bids, asks = self._bids, self._asks
        bid, ask = len(bids.keys) - 1, len(asks.keys) - 1
        while bid >= 0 and ask >= 0 and bids.keys[bid] >= -asks.keys[ask]:
            if bids.levels[bids.keys[bid]][1] > asks.levels[asks.keys[ask]][1]:
                ask -= 1
            else:
                bid -= 1
        return _levels(bids, bid, depth), _levels(asks, ask, depth)


def _levels(side: _Side, best: int, depth: int) -> list[tuple[float, float]]:
    keys = side.keys[max(0, best + 1 - depth) : best + 1]
    return [(side.sign * key, side.levels[key][0]) for key in reversed(keys)]
