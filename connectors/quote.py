"""The latest prices of one market, and one public trade. Objects are slotted, mutable and reused by their connector."""

from __future__ import annotations

import copy
import math
from typing import Self

from latentspeed.connectors.types import TradeType


class Quote:
    """Top of book and the derivative's reference prices. NaN where not known yet; times 0.

    `is_stale` means that the venue has stopped saying these prices: they may be long gone.
    """

    __slots__ = (
        "ask",
        "ask_size",
        "bid",
        "bid_size",
        "funding_rate",
        "index",
        "is_stale",
        "last",
        "mark",
        "mid",
        "next_funding_utc_ns",
        "open_interest",
        "oracle",
        "received_mono_ns",
        "trading_pair",
        "venue_utc_ns",
    )

    def __init__(self, trading_pair: str) -> None:
        self.trading_pair = trading_pair
        self.bid = math.nan
        self.bid_size = math.nan
        self.ask = math.nan
        self.ask_size = math.nan
        self.mark = math.nan
        self.index = math.nan
        self.oracle = math.nan
        self.mid = math.nan
        self.last = math.nan
        self.funding_rate = math.nan
        self.next_funding_utc_ns = 0
        self.open_interest = math.nan
        self.venue_utc_ns = 0
        self.received_mono_ns = 0
        self.is_stale = False

    def copy(self) -> Self:
        """A copy that the connector does not change."""
        return copy.copy(self)

    def __repr__(self) -> str:
        return (
            f"Quote({self.trading_pair} {self.bid_size} @ {self.bid} / {self.ask} @ {self.ask_size}, mark {self.mark})"
        )


class MarketTrade:
    """One public trade; `side` is the aggressor's."""

    __slots__ = ("amount", "price", "received_mono_ns", "side", "trade_id", "trading_pair", "venue_utc_ns")

    def __init__(
        self,
        trading_pair: str,
        price: float = math.nan,
        amount: float = math.nan,
        side: TradeType = TradeType.UNKNOWN,
        trade_id: str = "",
        venue_utc_ns: int = 0,
        received_mono_ns: int = 0,
    ) -> None:
        self.trading_pair = trading_pair
        self.price = price
        self.amount = amount
        self.side = side
        self.trade_id = trade_id
        self.venue_utc_ns = venue_utc_ns
        self.received_mono_ns = received_mono_ns

    def copy(self) -> Self:
        """A copy that the connector does not change."""
        return copy.copy(self)

    def __repr__(self) -> str:
        return f"MarketTrade({self.trading_pair} {self.side.name} {self.amount} @ {self.price}, id {self.trade_id!r})"
