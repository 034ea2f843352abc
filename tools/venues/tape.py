"""Recorded market tapes: gzip lines of ``receive_ns {json}`` as Binance futures streams send them, played again.

bookTicker      b, B, a, A      best bid and ask: the touch of the outside quotes
depthUpdate     b, a            changed levels: the quotes behind the touch; size 0 removes a level
trade           p, q, m         a print; m is true when the buyer was the maker
(no stream)     bids, asks      snapshot of the book
"""

from __future__ import annotations

import gzip
from bisect import bisect_left, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from latentspeed.tools.venues.market import Outlet, PriceLevel

QUOTE_SUFFIXES = ("USDT", "USDC", "USD")
LEVELS = 60


class TapeError(Exception):
    """A tape that cannot be played: the file, the line and what is wrong."""


def scaled(text: str) -> int:
    """A decimal text as integer 10^-8, cut below that."""
    whole, _, part = text.partition(".")
    return int(whole + part[:8].ljust(8, "0"))


class DepthSide:
    """Sizes by price of one side, with its prices kept sorted ascending."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._prices: list[int] = []

    def update(self, levels: list[list[str]]) -> None:
        """Set levels; a size of zero removes one."""
        for price_text, size_text in levels:
            price, size = scaled(price_text), scaled(size_text)
            if not size:
                if self._sizes.pop(price, None) is not None:
                    del self._prices[bisect_left(self._prices, price)]
            else:
                if price not in self._sizes:
                    insort(self._prices, price)
                self._sizes[price] = size

    def clear(self) -> None:
        """Forget everything, before a snapshot."""
        self._sizes.clear()
        self._prices.clear()

    def below(self, price: int, count: int) -> list[PriceLevel]:
        """Levels under a price, highest first."""
        end = bisect_left(self._prices, price)
        return [(found, self._sizes[found]) for found in reversed(self._prices[max(0, end - count) : end])]

    def above(self, price: int, count: int) -> list[PriceLevel]:
        """Levels over a price, lowest first."""
        start = bisect_left(self._prices, price + 1)
        return [(found, self._sizes[found]) for found in self._prices[start : start + count]]


class TapeBook:
    """One symbol's market as the tape has told it so far."""

    def __init__(self) -> None:
        self.bid: PriceLevel | None = None
        self.ask: PriceLevel | None = None
        self.bids = DepthSide()
        self.asks = DepthSide()
        self.changed = False

    def publish(self, outlet: Outlet, coin: str) -> None:
        """Send the quotes if they changed since the last time."""
        if not self.changed or self.bid is None or self.ask is None:
            return
        self.changed = False
        outlet.set_reference(coin, (self.bid[0] + self.ask[0]) // 2)
        bids = [self.bid, *self.bids.below(self.bid[0], LEVELS)]
        asks = [self.ask, *self.asks.above(self.ask[0], LEVELS)]
        outlet.set_quotes(coin, bids, asks)


class TapePlayer:
    """Plays one tape file at a speed, from its first message on, and over again when it ends.

    Raises:
        TapeError: the file is empty, is not gzip, or a line cannot be read.
    """

    def __init__(self, path: Path, known_coins: frozenset[str], speed: float = 1.0) -> None:
        self.path = path
        self.speed = speed
        self._books: dict[str, TapeBook] = {}
        self._known = known_coins
        self._symbol: str | None = None
        self._lines = self._read()
        self._next = self._take()
        if self._next is None:
            raise TapeError(f"{path}: the tape is empty")
        self._start_ns = self._next[0]
        self._played_ns = 0
        self._coins = self._scan_coins()

    @property
    def coins(self) -> frozenset[str]:
        """The coins that it quotes."""
        return self._coins

    def open(self, outlet: Outlet) -> None:
        """Nothing is known before the first message is due."""

    def step(self, outlet: Outlet, elapsed_ns: int) -> None:
        """Play every message that is due; quotes between two prints are sent once."""
        due = int(elapsed_ns * self.speed) - self._played_ns
        while self._next is not None and self._next[0] - self._start_ns <= due:
            last_ns = self._next[0]
            self._apply(outlet, self._next[1])
            self._next = self._take()
            if self._next is None:
                self._played_ns += last_ns - self._start_ns
                due -= last_ns - self._start_ns
                self._rewind()
        for coin, book in self._books.items():
            book.publish(outlet, coin)

    def set_price(self, outlet: Outlet, coin: str, price: int) -> None:
        """A tape's price cannot be set; its next message would overrule it."""

    def _rewind(self) -> None:
        self._lines = self._read()
        self._next = self._take()

    def _read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        try:
            with gzip.open(self.path, "rb") as lines:
                for line in lines:
                    number += 1
                    stamp, _, message = line.partition(b" ")
                    yield int(stamp), orjson.loads(message)
        except (OSError, EOFError, ValueError) as error:
            raise TapeError(f"{self.path}, line {number}: {error}") from None

    def _take(self) -> tuple[int, dict[str, Any]] | None:
        return next(self._lines, None)

    def _scan_coins(self) -> frozenset[str]:
        """Symbols of the first messages; a tape names each symbol early."""
        coins = set()
        for count, (_, message) in enumerate(self._read()):
            data = message.get("data")
            if data is not None and (coin := self._coin(data["s"])) is not None:
                coins.add(coin)
            if count >= 1000:
                break
        if not coins:
            raise TapeError(f"{self.path}: no symbol of this tape is a market of the venue")
        return frozenset(coins)

    def _coin(self, symbol: str) -> str | None:
        for suffix in QUOTE_SUFFIXES:
            if symbol.endswith(suffix) and symbol[: -len(suffix)] in self._known:
                return symbol[: -len(suffix)]
        return None

    def _apply(self, outlet: Outlet, message: dict[str, Any]) -> None:
        data = message.get("data")
        if data is None:
            self._snapshot(message)
            return
        coin = self._coin(data["s"])
        if coin is None:
            return
        self._symbol = coin
        book = self._books.get(coin)
        if book is None:
            book = self._books[coin] = TapeBook()
        kind = data["e"]
        if kind == "bookTicker":
            book.bid = scaled(data["b"]), scaled(data["B"])
            book.ask = scaled(data["a"]), scaled(data["A"])
            book.changed = True
        elif kind == "depthUpdate":
            book.bids.update(data["b"])
            book.asks.update(data["a"])
            book.changed = True
        elif kind == "trade" and scaled(data["p"]) and scaled(data["q"]):
            book.publish(outlet, coin)
            outlet.print_trade(coin, not data["m"], scaled(data["p"]), scaled(data["q"]))

    def _snapshot(self, message: dict[str, Any]) -> None:
        """A snapshot does not name its symbol: it belongs to the one that the tape last spoke of."""
        if self._symbol is None or "bids" not in message:
            return
        book = self._books[self._symbol]
        for side, levels in ((book.bids, message["bids"]), (book.asks, message["asks"])):
            side.clear()
            side.update(levels)
        book.changed = True
