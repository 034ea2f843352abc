"""A fixed-depth order book: preallocated arrays, overwritten in place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self

import numpy as np
import numpy.typing as npt

from latentspeed.connectors.types import TradeType

DEPTH = 20
Levels = npt.NDArray[np.float64]


class OrderBook:
    """The best levels of one market. `bids` and `asks` are float64 arrays (depth, 2): price and size, best first.

    Rows from `bid_count` and `ask_count` on hold nothing of meaning.
    `is_stale` means that the venue has stopped saying this book: it may be long gone.
    """

    __slots__ = (
        "ask_count",
        "asks",
        "bid_count",
        "bids",
        "is_stale",
        "received_mono_ns",
        "trading_pair",
        "venue_utc_ns",
    )

    def __init__(self, trading_pair: str, depth: int = DEPTH) -> None:
        self.trading_pair = trading_pair
        self.bids: Levels = np.zeros((depth, 2))
        self.asks: Levels = np.zeros((depth, 2))
        self.bid_count = 0
        self.ask_count = 0
        self.venue_utc_ns = 0
        self.received_mono_ns = 0
        self.is_stale = False

    @property
    def depth(self) -> int:
        """How many levels a side fit."""
        return len(self.bids)

    def set_levels(self, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> None:
        """Replaces both sides by (price, size) levels, best first; what is beyond the depth is left out."""
        self.bid_count = _fill(self.bids, bids)
        self.ask_count = _fill(self.asks, asks)

    @property
    def best_bid(self) -> float:
        """The highest bid, NaN without one."""
        return float(self.bids[0, 0]) if self.bid_count else math.nan

    @property
    def best_ask(self) -> float:
        """The lowest ask, NaN without one."""
        return float(self.asks[0, 0]) if self.ask_count else math.nan

    @property
    def mid(self) -> float:
        """Halfway between best bid and ask, NaN without both."""
        return (self.best_bid + self.best_ask) / 2

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid reaches the best ask, which no settled book does."""
        return bool(self.bid_count and self.ask_count and self.bids[0, 0] >= self.asks[0, 0])

    def bid_levels(self) -> Levels:
        """A view of the bids that are there, shape (bid_count, 2)."""
        return self.bids[: self.bid_count]

    def ask_levels(self) -> Levels:
        """A view of the asks that are there, shape (ask_count, 2)."""
        return self.asks[: self.ask_count]

    def price_for_amount(self, side: TradeType, amount: float) -> float | None:
        """The worst price that a taker of `amount` on `side` pays; None when the visible book is too thin."""
        levels = self.ask_levels() if side is TradeType.BUY else self.bid_levels()
        if len(levels) == 0:
            return None
        reached = int(np.searchsorted(np.cumsum(levels[:, 1]), amount * (1.0 - 1e-12)))
        return float(levels[reached, 0]) if reached < len(levels) else None

    def copy(self) -> Self:
        """A copy that the connector does not change."""
        twin = type(self)(self.trading_pair, self.depth)
        twin.bids[:] = self.bids
        twin.asks[:] = self.asks
        twin.bid_count = self.bid_count
        twin.ask_count = self.ask_count
        twin.venue_utc_ns = self.venue_utc_ns
        twin.received_mono_ns = self.received_mono_ns
        twin.is_stale = self.is_stale
        return twin

    def __repr__(self) -> str:
        levels = f"{self.bid_count}+{self.ask_count} levels"
        return f"OrderBook({self.trading_pair} {self.best_bid} / {self.best_ask}, {levels})"


def _fill(side: Levels, levels: Iterable[tuple[float, float]]) -> int:
    count = 0
    for price, size in levels:
        if count == len(side):
            break
        side[count, 0] = price
        side[count, 1] = size
        count += 1
    return count
