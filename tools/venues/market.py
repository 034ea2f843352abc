"""The outside market of a simulated venue: everybody who is not a user, either invented or played from a tape.

It speaks to a venue through `Outlet` in one neutral unit, integer 10^-8 for prices and for sizes, and the venue rounds
to its own grid. Quotes replace each other: what users took of them is back with the next ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Protocol

SCALE = 10**8
PriceLevel = tuple[int, int]
"""Price and size, each in 10^-8."""


class Outlet(Protocol):
    """What a venue offers to its outside market."""

    def set_quotes(self, coin: str, bids: Sequence[PriceLevel], asks: Sequence[PriceLevel]) -> None:
        """Replace the outside quotes of a coin, best first; a quote that reaches a user's order trades with it."""

    def print_trade(self, coin: str, is_buy: bool, price: int, size: int) -> None:
        """Report a trade of the outside market; users' orders at its price or better are filled from its size."""

    def take(self, coin: str, is_buy: bool, size: int, limit: int) -> None:
        """Send an outside taker into the book, no further than the limit price."""

    def set_reference(self, coin: str, price: int) -> None:
        """Report the price that the outside world agrees on."""


class Source(Protocol):
    """An outside market."""

    @property
    def coins(self) -> frozenset[str]:
        """The coins it quotes."""

    def open(self, outlet: Outlet) -> None:
        """Quote what is known before anything moves."""

    def step(self, outlet: Outlet, elapsed_ns: int) -> None:
        """Let everything happen that is due so many nanoseconds after the start."""

    def set_price(self, outlet: Outlet, coin: str, price: int) -> None:
        """Move a coin's outside price at once, where the source can."""


class SyntheticCoin:
    """A seeded walk around a price, quotes on a grid on both sides of it, and takers of random size.

    Prices are quantised to a grid of `gap`, so that most steps leave most quotes where they are.
    """

    LEVELS = 20
    STEP_PPM = 60
    GAP_PPM = 100
    PULL = 4000
    TAKER_CHANCE = 0.35
    REDRAW_CHANCE = 0.05
    LEVEL_NOTIONAL = (2_000, 40_000)
    TAKER_NOTIONAL = (200, 30_000)
    TAKER_REACH_PPM = 500

    def __init__(self, coin: str, price: int, seed: int) -> None:
        self.coin = coin
        self.random = random.Random(f"{seed}:{coin}")
        self.center = self.fair = price
        self._notionals = {side: [self._draw() for _ in range(self.LEVELS)] for side in ("bid", "ask")}

    def _draw(self) -> int:
        return self.random.randint(*self.LEVEL_NOTIONAL)

    def set_price(self, price: int) -> None:
        """Continue from another price."""
        self.center = self.fair = price

    def walk(self) -> None:
        """Move the price by a random step, pulled back weakly to where it began."""
        self.fair += self.fair * self.random.randint(-self.STEP_PPM, self.STEP_PPM) // 1_000_000
        self.fair += (self.center - self.fair) // self.PULL
        for notionals in self._notionals.values():
            for index in range(self.LEVELS):
                if self.random.random() < self.REDRAW_CHANCE:
                    notionals[index] = self._draw()

    def quotes(self) -> tuple[list[PriceLevel], list[PriceLevel]]:
        """Bids and asks around the present price, best first."""
        gap = max(self.fair * self.GAP_PPM // 1_000_000, 1)
        below = (self.fair - gap // 2) // gap * gap
        above = -(-(self.fair + gap // 2) // gap) * gap
        bids = [(below - index * gap, notional) for index, notional in enumerate(self._notionals["bid"])]
        asks = [(above + index * gap, notional) for index, notional in enumerate(self._notionals["ask"])]
        return self._sized(bids), self._sized(asks)

    @staticmethod
    def _sized(levels: Iterable[tuple[int, int]]) -> list[PriceLevel]:
        return [(price, notional * SCALE * SCALE // price) for price, notional in levels if price > 0]

    def taker(self) -> tuple[bool, int, int] | None:
        """A taker as (is buy, size, limit), or nobody this time."""
        if self.random.random() >= self.TAKER_CHANCE:
            return None
        is_buy = self.random.random() < 0.5
        low, high = self.TAKER_NOTIONAL
        notional = low * (high // low) ** self.random.random()
        reach = self.fair * self.TAKER_REACH_PPM // 1_000_000
        return is_buy, int(notional) * SCALE * SCALE // self.fair, self.fair + reach if is_buy else self.fair - reach


class SyntheticMarket:
    """Independent synthetic coins that move in turn.

    Args:
        prices: where each coin starts.
        seed: makes every walk repeatable.
        turns: how many steps it takes until every coin has moved once.
    """

    def __init__(self, prices: dict[str, int], seed: int, turns: int = 1) -> None:
        self._seed = seed
        self._coins = {coin: SyntheticCoin(coin, price, seed) for coin, price in prices.items()}
        self._turns = turns
        self._step = 0

    @property
    def coins(self) -> frozenset[str]:
        """The coins it quotes."""
        return frozenset(self._coins)

    def add(self, outlet: Outlet, coin: str, price: int) -> None:
        """Quote one more coin from now on."""
        self._coins[coin] = SyntheticCoin(coin, price, self._seed)
        self._publish(outlet, coin, self._coins[coin])

    def remove(self, coin: str) -> None:
        """Quote a coin no longer."""
        self._coins.pop(coin, None)

    def step(self, outlet: Outlet, elapsed_ns: int) -> None:
        """Move the coins whose turn it is once, whatever the time."""
        self._step += 1
        for coin in list(self._coins)[self._step % self._turns :: self._turns]:
            market = self._coins[coin]
            market.walk()
            self._publish(outlet, coin, market)
            taker = market.taker()
            if taker is not None:
                outlet.take(coin, *taker)

    def open(self, outlet: Outlet) -> None:
        """Quote every coin for the first time, without moving it."""
        for coin, market in self._coins.items():
            self._publish(outlet, coin, market)

    def _publish(self, outlet: Outlet, coin: str, market: SyntheticCoin) -> None:
        outlet.set_reference(coin, market.fair)
        outlet.set_quotes(coin, *market.quotes())

    def set_price(self, outlet: Outlet, coin: str, price: int) -> None:
        """Continue a coin's walk from another price, and quote there at once."""
        self._coins[coin].set_price(price)
        self._publish(outlet, coin, self._coins[coin])
