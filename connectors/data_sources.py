"""Where a connector's market data and account reports come from, behind interfaces that a venue implements.

A source owns its transport's details and pushes what it decodes into a sink by plain calls, in the connector's loop
thread; it keeps no state that a sink could disagree with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.order_book import OrderBook
from latentspeed.connectors.position import Balance, Position
from latentspeed.connectors.quote import MarketTrade, Quote


class MarketDataSink(Protocol):
    """Takes decoded market data; the objects may be reused after the call."""

    def on_quote(self, quote: Quote) -> None:
        """A quote changed."""

    def on_book(self, book: OrderBook) -> None:
        """A book changed."""

    def on_market_trade(self, trade: MarketTrade) -> None:
        """Somebody traded."""


class UserStreamSink(Protocol):
    """Takes decoded account reports."""

    def on_order_update(self, update: OrderUpdate) -> None:
        """A report about an order's state."""

    def on_trade_update(self, trade: TradeUpdate) -> None:
        """A fill."""

    def on_position_update(self, position: Position) -> None:
        """A position."""

    def on_balance_update(self, balance: Balance) -> None:
        """A balance."""


class _DataSource(ABC):
    @abstractmethod
    async def start(self) -> None:
        """Opens the stream and subscribes.

        Returns when the venue has confirmed, and reconnects by itself after that.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Closes the stream and ends every task of the source."""

    @property
    @abstractmethod
    def last_received_mono_ns(self) -> int:
        """When the venue was last heard of, on CLOCK_MONOTONIC.

        0 for never. Tells a silent stream from a quiet market.
        """


class OrderBookTrackerDataSource(_DataSource):
    """Quotes, books and public trades of the pairs it is subscribed to."""

    @property
    @abstractmethod
    def trading_pairs(self) -> Sequence[str]:
        """The pairs asked for, subscribed or about to be."""

    @abstractmethod
    def subscribe(self, trading_pair: str) -> None:
        """Adds a pair, before or after `start`; subscribing twice is the same as once."""

    @abstractmethod
    def unsubscribe(self, trading_pair: str) -> None:
        """Removes a pair; nothing of it reaches the sink afterwards."""

    @abstractmethod
    async def fetch_order_book(self, trading_pair: str) -> OrderBook:
        """The book as the venue answers it now, outside the stream."""


class UserStreamTrackerDataSource(_DataSource):
    """Reports about the account's orders, fills, positions and balances."""

    @abstractmethod
    async def fetch_fills(self, since_utc_ns: int) -> list[TradeUpdate]:
        """Every fill from a time on, paged until complete, oldest first."""

    @abstractmethod
    async def fetch_open_orders(self) -> list[OrderUpdate]:
        """Every open order of the account, as reports of source SNAPSHOT."""

    @abstractmethod
    async def fetch_order(self, client_order_id: str) -> OrderUpdate | None:
        """One order's state, None when the venue does not know it."""
