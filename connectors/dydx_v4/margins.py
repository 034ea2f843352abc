"""What positions bind as margin, and at which price a subaccount is liquidated.

    value = |size| * oracle price          initial margin = value * IMF        maintenance margin = value * MMF
    IMF   = min(1, base + max(0, (open interest * price - lower cap) / (upper cap - lower cap)) * (1 - base))

The base is the market's, or a larger one that the owner has set for the subaccount. An upper cap of 0 scales nothing.
Amounts are dollars, fractions are of 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from latentspeed.connectors.dydx_v4.decoding import finite
from latentspeed.connectors.dydx_v4.messages import MarketRow

PPM: Final = 1_000_000
_ROUNDING: Final = 0.005
"""Fractions are whole millionths: one of 0.142858 is meant to be a seventh."""


class MarketMargin:
    """What a market's margins depend on now; numbers are NaN until they are told."""

    __slots__ = ("initial", "lower_cap", "maintenance", "open_interest", "oracle", "upper_cap")

    def __init__(self) -> None:
        self.initial = self.maintenance = self.oracle = math.nan
        self.lower_cap = self.upper_cap = self.open_interest = 0.0

    def initial_fraction(self, own: float = 0.0) -> float:
        """The initial margin fraction, where the owner has set `own`, 0.0 for nothing."""
        scaled = self.initial
        if self.upper_cap > self.lower_cap:
            above = self.open_interest * self.oracle - self.lower_cap
            share = max(0.0, above / (self.upper_cap - self.lower_cap))
            scaled = min(1.0, self.initial + share * (1.0 - self.initial))
        return max(scaled, own)


class Margins:
    """The margins of all markets, and the leverages that the owner has set."""

    def __init__(self) -> None:
        self._markets: dict[str, MarketMargin] = {}
        self._own: dict[tuple[int, str], float] = {}

    def take_market(self, ticker: str, row: MarketRow) -> None:
        """Takes what a market's row, perhaps a part of one, says. Raises ValueError for a text that is no number."""
        market = self._markets.setdefault(ticker, MarketMargin())
        for name, text in (
            ("initial", row.initial_margin_fraction),
            ("maintenance", row.maintenance_margin_fraction),
            ("lower_cap", row.open_interest_lower_cap),
            ("upper_cap", row.open_interest_upper_cap),
            ("open_interest", row.open_interest),
            ("oracle", row.oracle_price),
        ):
            if text:
                setattr(market, name, finite(text))

    def take_oracle(self, ticker: str, price: float) -> None:
        """A new oracle price."""
        self._markets.setdefault(ticker, MarketMargin()).oracle = price

    def take_own(self, number: int, fractions_ppm: Mapping[str, int]) -> None:
        """The initial margins that the owner has set for a subaccount, in millionths by trading pair."""
        self._own = {key: own for key, own in self._own.items() if key[0] != number}
        self._own.update({(number, pair): ppm / PPM for pair, ppm in fractions_ppm.items()})

    def of(self, ticker: str) -> MarketMargin:
        """A market's margins."""
        return self._markets.setdefault(ticker, MarketMargin())

    def own(self, number: int, ticker: str) -> float:
        """The initial margin fraction that the owner has set for a subaccount, 0.0 for none."""
        return self._own.get((number, ticker), 0.0)

    def leverage(self, number: int, ticker: str) -> int:
        """The leverage that is allowed in a market, open interest aside: 0 where nothing is known of it."""
        base = max(self.of(ticker).initial, self.own(number, ticker))
        return max(1, int(1.0 / base + _ROUNDING)) if base > 0.0 else 0

    def initial(self, number: int, ticker: str, amount: float) -> float:
        """What a position binds; NaN while the market's price is not known."""
        market = self.of(ticker)
        return abs(amount) * market.oracle * market.initial_fraction(self.own(number, ticker))

    def base(self, ticker: str, amount: float) -> float:
        """What a position binds by the market's own margin, whatever the open interest is; NaN without a price."""
        market = self.of(ticker)
        return abs(amount) * market.oracle * market.initial

    def maintenance(self, ticker: str, amount: float) -> float:
        """What a position must be backed with; NaN while the market's price is not known."""
        market = self.of(ticker)
        return abs(amount) * market.oracle * market.maintenance


class Exposure(NamedTuple):
    """A market and the signed amount held in it."""

    ticker: str
    amount: float


def liquidation_price(equity: float, exposures: Iterable[Exposure], ticker: str, margins: Margins) -> float:
    """The oracle price of one market at which a subaccount has no more than its maintenance margin, if all other prices
    stay; NaN where no price above zero does that, or where something is not known.

    Its equity is `equity` at present prices, and `exposures` are all that it holds.
    """
    held = {exposure.ticker: exposure.amount for exposure in exposures}
    amount, market = held[ticker], margins.of(ticker)
    others = sum(margins.maintenance(other, size) for other, size in held.items() if other != ticker)
    slope = amount - abs(amount) * market.maintenance
    if not slope:
        return math.nan
    price = (others - equity + amount * market.oracle) / slope
    return price if price > 0.0 else math.nan
