"""One market as it stands: its book, reference prices, last trades, volume and candles."""

from __future__ import annotations

from collections import deque
from typing import Any

from latentspeed.tools.venues.hyperliquid.candles import Candles
from latentspeed.tools.venues.hyperliquid.metadata import Instrument
from latentspeed.tools.venues.hyperliquid.orders import Order, Trade
from latentspeed.tools.venues.hyperliquid.wire import RATE, decimal_text, usd_text
from latentspeed.tools.venues.matching import Book

TRADES_KEPT = 500
IMPACT_NOTIONAL = {"BTC": 20_000, "ETH": 20_000}

Touch = tuple[tuple[int, int, int] | None, tuple[int, int, int] | None]


class Market:
    """A perpetual market. Prices are in its price units.

    Attributes:
        oracle, mark: reference prices; mark drives margin and unrealised profit.
        outside: resting orders of the outside market by price, for each side by `is_buy`.
        funding_rate: hourly, in 10^-10.
        is_capped: at its open-interest cap.
    """

    __slots__ = (
        "book",
        "candles",
        "day_lots",
        "day_notional",
        "funding_rate",
        "fundings",
        "instrument",
        "is_capped",
        "last",
        "mark",
        "open_lots",
        "oracle",
        "outside",
        "prev_day",
        "trades",
    )

    def __init__(self, instrument: Instrument, funding_rate: int) -> None:
        self.instrument = instrument
        self.book = Book()
        self.oracle = self.mark = self.last = self.prev_day = instrument.start_price
        self.funding_rate = funding_rate
        self.fundings: list[dict[str, Any]] = []
        self.open_lots = 0
        self.is_capped = False
        self.day_lots = 0
        self.day_notional = 0
        self.trades: deque[Trade] = deque(maxlen=TRADES_KEPT)
        self.candles = Candles()
        self.outside: dict[bool, dict[int, Order]] = {True: {}, False: {}}

    def record(self, trade: Trade) -> None:
        """Count a print."""
        self.last = trade.price
        self.day_lots += trade.lots
        self.day_notional += trade.price * trade.lots
        self.trades.append(trade)
        self.candles.add(trade.time_ms, trade.price, trade.lots)

    def update_mark(self) -> None:
        """Mark: the median of the oracle, the mid, and the median of best bid, best ask and last trade."""
        bid, ask = self.book.best_bid(), self.book.best_ask()
        if bid is None or ask is None:
            self.mark = self.oracle
        else:
            self.mark = sorted((self.oracle, (bid + ask) // 2, sorted((bid, ask, self.last))[1]))[1]

    def price_text(self, units: int) -> str:
        """A price as the venue prints it."""
        return decimal_text(units, self.instrument.price_decimals)

    def size_text(self, lots: int) -> str:
        """A size as the venue prints it."""
        return decimal_text(lots, self.instrument.sz_decimals)

    def mid_text(self) -> str | None:
        """Half-way between best bid and ask, which may lie off the price grid; None without a two-sided book."""
        bid, ask = self.book.best_bid(), self.book.best_ask()
        if bid is None or ask is None:
            return None
        return decimal_text((bid + ask) * 5, self.instrument.price_decimals + 1)

    def level(self, level: tuple[int, int, int]) -> dict[str, Any]:
        """A book level as the venue prints it."""
        price, lots, count = level
        return {"px": self.price_text(price), "sz": self.size_text(lots), "n": count}

    def levels(self, depth: int) -> list[list[dict[str, Any]]]:
        """Bids and asks, best first."""
        return [[self.level(level) for level in self.book.depth(is_buy, depth)] for is_buy in (True, False)]

    def touch(self) -> Touch:
        """Best bid and best ask as (price, lots, orders), None for an empty side."""
        bid, ask = self.book.bids.best(), self.book.asks.best()
        return (
            None if bid is None else (bid.price, bid.lots, len(bid.orders)),
            None if ask is None else (ask.price, ask.lots, len(ask.orders)),
        )

    def bbo(self) -> list[dict[str, Any] | None]:
        """Best bid and best ask as the venue prints them."""
        return [None if best is None else self.level(best) for best in self.touch()]

    def impact_price(self, is_buy: bool) -> int | None:
        """Average price of trading the impact notional against one side of the book."""
        left = wanted = IMPACT_NOTIONAL.get(self.instrument.name, 6_000) * 10**6
        lots = 0
        for price, available, _ in self.book.depth(not is_buy, 100):
            part = min(available, -(-left // price))
            lots += part
            left -= part * price
            if left <= 0:
                return (wanted - left) // lots
        return None

    def context(self) -> dict[str, Any]:
        """The asset context: numbers as strings, null premium, mid and impact prices without a two-sided book."""
        bid, ask = self.impact_price(False), self.impact_price(True)
        two_sided = bid is not None and ask is not None
        premium = None
        if bid is not None and ask is not None:
            premium = decimal_text((max(bid - self.oracle, 0) - max(self.oracle - ask, 0)) * RATE // self.oracle, 10)
        return {
            "funding": decimal_text(self.funding_rate, 10),
            "openInterest": self.size_text(self.open_lots),
            "prevDayPx": self.price_text(self.prev_day),
            "dayNtlVlm": usd_text(self.day_notional),
            "premium": premium,
            "oraclePx": self.price_text(self.oracle),
            "markPx": self.price_text(self.mark),
            "midPx": self.mid_text(),
            "impactPxs": [self.price_text(bid), self.price_text(ask)] if two_sided and bid and ask else None,
            "dayBaseVlm": self.size_text(self.day_lots),
        }
