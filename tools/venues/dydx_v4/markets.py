"""Markets of the simulated chain: their integers, their margins and their prices.

quantums = size  * 10^-a            a: atomic resolution, q: quantum conversion exponent
subticks = price * 10^(a - q + 6)
quote quantums of a fill = floor(quantums * subticks * 10^q)       millionths of a dollar
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from latentspeed.tools.venues.market import SCALE
from latentspeed.tools.venues.matching import Book

QUOTE_DECIMALS: Final = 6
PPM: Final = 1_000_000
STATUSES: Final = ("", "ACTIVE", "PAUSED", "CANCEL_ONLY", "POST_ONLY", "INITIALIZING", "FINAL_SETTLEMENT")


@dataclass(slots=True)
class MarketTerms:
    """What governance has set. Margin fractions and the least change of the oracle's price are in millionths."""

    ticker: str
    clob_pair_id: int
    atomic_resolution: int
    conversion_exponent: int
    step_quantums: int
    subticks_per_tick: int
    initial_ppm: int
    maintenance_ppm: int
    status: str = "ACTIVE"
    is_isolated: bool = False
    min_price_change_ppm: int = 1_000
    lower_cap: int = 0
    upper_cap: int = 0
    """Open interest in dollars from which, and up to which, the initial margin grows to the whole; 0 for never."""


def default_markets() -> list[MarketTerms]:
    """Five markets of the main network and an isolated one, as they were at the end of 2025."""
    return [
        MarketTerms("BTC-USD", 0, -10, -9, 1_000_000, 100_000, 20_000, 12_000),
        MarketTerms("ETH-USD", 1, -9, -9, 1_000_000, 100_000, 20_000, 12_000),
        MarketTerms(
            "SOL-USD", 5, -7, -9, 1_000_000, 1_000_000, 50_000, 30_000, lower_cap=40_000_000, upper_cap=100_000_000
        ),
        MarketTerms("DOGE-USD", 10, -4, -9, 1_000_000, 1_000_000, 50_000, 30_000),
        MarketTerms("PEPE-USD", 28, 1, -9, 1_000_000, 1_000_000, 100_000, 50_000),
        MarketTerms("ISO-USD", 99, -6, -9, 1_000_000, 1_000_000, 200_000, 100_000, is_isolated=True),
    ]


DEFAULT_PRICES: Final[dict[str, str]] = {
    "BTC-USD": "64000",
    "ETH-USD": "3100",
    "SOL-USD": "145",
    "DOGE-USD": "0.162",
    "PEPE-USD": "0.0000075",
    "ISO-USD": "2.5",
}


class Market:
    """One market as it stands: its terms, its oracle price, its book and its funding."""

    def __init__(self, terms: MarketTerms) -> None:
        self.terms = terms
        self.book = Book()
        self.oracle_subticks = 0
        self.funding_rate_ppm = 0
        """Of one hour, in millionths."""
        self.funding_index = Fraction(0)
        """Quote quantums that one base quantum has paid since the beginning."""
        self.open_interest = 0
        """Quantums that all who are long hold together."""
        self.traded_low = 0
        self.traded_high = 0
        self.volume_quote = 0
        self.trades = 0

    @property
    def ticker(self) -> str:
        """Its name."""
        return self.terms.ticker

    @property
    def price_exponent(self) -> int:
        """Subticks are a price times ten to this power."""
        return self.terms.atomic_resolution - self.terms.conversion_exponent + QUOTE_DECIMALS

    @property
    def initial_ppm(self) -> int:
        """The initial margin that the market asks for now, in millionths: more where open interest is above its cap."""
        terms = self.terms
        interest = self.value_at_oracle(self.open_interest)
        lower, upper = terms.lower_cap * PPM, terms.upper_cap * PPM
        if not upper or interest <= lower:
            return terms.initial_ppm
        return terms.initial_ppm + (PPM - terms.initial_ppm) * (min(interest, upper) - lower) // (upper - lower)

    def quote_quantums(self, quantums: int, subticks: int) -> int:
        """The value of so many quantums, rounded down, in millionths of a dollar."""
        product = quantums * subticks
        exponent = self.terms.conversion_exponent
        return product // 10**-exponent if exponent < 0 else int(product * 10**exponent)

    def value_at_oracle(self, quantums: int) -> int:
        """The value of a signed position at the oracle price, in quote quantums, toward minus infinity."""
        return self.quote_quantums(quantums, self.oracle_subticks)

    def to_subticks(self, scaled_price: int, *, up: bool) -> int:
        """A price in 10^-8 on the grid."""
        tick = self.terms.subticks_per_tick
        exact = Fraction(scaled_price, SCALE) * Fraction(10) ** self.price_exponent / tick
        ticks = -(-exact.numerator // exact.denominator) if up else exact.numerator // exact.denominator
        return int(ticks * tick)

    def to_quantums(self, scaled_size: int) -> int:
        """A size in 10^-8 on the grid, rounded down."""
        step = self.terms.step_quantums
        exact = Fraction(scaled_size, SCALE) * Fraction(10) ** -self.terms.atomic_resolution / step
        return exact.numerator // exact.denominator * step

    def price_text(self, subticks: int) -> str:
        """Subticks as a decimal string."""
        return decimal_text(Decimal(subticks).scaleb(-self.price_exponent))

    def size_text(self, quantums: int) -> str:
        """Quantums as a decimal string, with its sign."""
        return decimal_text(Decimal(quantums).scaleb(self.terms.atomic_resolution))

    def funding_owed(self, quantums: int, since: Fraction) -> int:
        """What a position owes since the funding index `since`, in quote quantums; negative when it is owed."""
        exact = quantums * (self.funding_index - since)
        return exact.numerator // exact.denominator


def quote_text(quote_quantums: int) -> str:
    """Millionths of a dollar as a decimal string."""
    return decimal_text(Decimal(quote_quantums).scaleb(-QUOTE_DECIMALS))


def ppm_text(ppm: int) -> str:
    """Millionths as a decimal string."""
    return decimal_text(Decimal(ppm).scaleb(-6))


def decimal_text(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text
