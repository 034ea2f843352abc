"""Where a connector's market data and account reports come from, as its session sees them.

A source decodes what a venue says, in a stream or as an answer, and hands it on by plain calls in the connector's
loop: market data to the `MarketState`, orders and fills to the one `ClientOrderTracker`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from latentspeed.connectors.types import ReportSource

OrderRowT = TypeVar("OrderRowT")
FillRowT = TypeVar("FillRowT")


class OrderBookTrackerDataSource(ABC):
    """Quotes, books and public trades of the pairs that are subscribed."""

    @abstractmethod
    def is_fresh(self, trading_pair: str, max_age_s: float) -> bool:
        """Whether a market's touch was said or confirmed on this connection, and at most so many seconds ago."""

    @abstractmethod
    def invalidate(self) -> None:
        """The stream was lost: nothing that it has said counts until it is said anew."""


class UserStreamTrackerDataSource(ABC, Generic[OrderRowT, FillRowT]):
    """Reports about the account's orders and fills, in the venue's own rows.

    Any row may come again, in any order and from any source: what was counted before changes nothing.
    """

    @abstractmethod
    def take_order(self, row: OrderRowT, source: ReportSource) -> None:
        """Reduces what the venue says of an order; one that nobody here made is never tracked."""

    @abstractmethod
    def take_fill(self, row: FillRowT, source: ReportSource) -> bool:
        """Counts a fill, whoever's order it belongs to; False when it was counted before or has to wait."""
