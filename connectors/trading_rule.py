"""The price grid, the lot and the limits of one market, in exact arithmetic.

Prices and amounts are float64 for the user and integers inside: `price_units` counts ticks of the finest size,
`amount_lots` counts lots. A float stands for the decimal number that `repr` prints, which is what its author wrote; a
float that is not the nearest one to a multiple of the tick is off the tick. The hot paths use one multiplication and
prove the result with one correctly rounded division; where rounding could decide, they fall back to `Decimal`.

Where `significant_figures` is set, the tick grows with the price so that a price has at most that many
significant figures, but never beyond 1: whole numbers are always valid.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from latentspeed.connectors.decimal_text import decimal_text, decimal_units
from latentspeed.connectors.errors import OrderRefused

__all__ = ["FEE_DECIMALS", "FEE_SCALE", "TradingRule", "decimal_text", "decimal_units"]

FEE_DECIMALS = 8
FEE_SCALE: int = 10**FEE_DECIMALS
# Below this many units the fast paths are proven: the product `value * scale` is off by less than half a unit.
_FAST_LIMIT = float(1 << 50)
# Relative error of value * scale / coefficient: three roundings, with room to spare.
_PRODUCT_ERROR = 4 * 2.0**-52
# A float this many ulps below a lot is float noise of that lot, not a smaller amount, where that is next to nothing.
_LOT_NOISE_ULPS = 4
_LOT_NOISE_SHARE = 1 / 1024
# Units travel as int64; lots are also added up, and beyond this float64 cannot tell neighbouring amounts apart.
MAX_UNITS = (1 << 63) - 1
MAX_LOTS = 1 << 53


def _grid(size: Decimal, name: str) -> tuple[int, int]:
    """(coefficient, decimals) with size == coefficient / 10**decimals, in lowest terms for the decimals."""
    if not size.is_finite() or size <= 0:
        raise ValueError(f"{name} must be a positive number, not {size}")
    _, digits, exponent = size.normalize().as_tuple()
    assert isinstance(exponent, int)
    coefficient = int("".join(map(str, digits)))
    return (coefficient * 10**exponent, 0) if exponent > 0 else (coefficient, -exponent)


@dataclass(frozen=True, slots=True)
class TradingRule:
    """What the venue accepts in one market.

    `symbol` and `asset_id` are the venue's own name and number. `tick_size` is the finest price step, `lot_size` the
    amount step, `min_amount` in base units, `min_notional` in quote units. Raises ValueError when the sizes make no
    grid.
    """

    trading_pair: str
    symbol: str
    asset_id: int
    lot_size: Decimal
    tick_size: Decimal
    significant_figures: int | None = None
    min_amount: Decimal = Decimal(0)
    min_notional: Decimal = Decimal(0)
    max_leverage: int = 1
    is_active: bool = True
    quote_asset: str = ""
    base_asset: str = ""
    only_isolated: bool = False

    price_decimals: int = field(init=False, repr=False, compare=False)
    amount_decimals: int = field(init=False, repr=False, compare=False)
    min_amount_lots: int = field(init=False, repr=False, compare=False)
    min_notional_units: int = field(init=False, repr=False, compare=False)
    _tick_coefficient: int = field(init=False, repr=False, compare=False)
    _tick_scale: int = field(init=False, repr=False, compare=False)
    _lot_coefficient: int = field(init=False, repr=False, compare=False)
    _lot_scale: int = field(init=False, repr=False, compare=False)
    _step_limits: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _steps: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tick_coefficient, price_decimals = _grid(self.tick_size, "tick_size")
        lot_coefficient, amount_decimals = _grid(self.lot_size, "lot_size")
        limits: tuple[int, ...] = ()
        if self.significant_figures is not None:
            if self.significant_figures < 1 or tick_coefficient != 1:
                raise ValueError(
                    f"significant_figures={self.significant_figures} needs a positive count and a tick_size that is "
                    f"1 or a negative power of ten, not {self.tick_size}"
                )
            # From 10**(figures + k) units on, the step is 10**(k + 1) units; the last step is 1 quote unit.
            limits = tuple(10 ** (self.significant_figures + k) for k in range(price_decimals))
        derived = {
            "price_decimals": price_decimals,
            "amount_decimals": amount_decimals,
            "min_amount_lots": max(1, math.ceil(Fraction(self.min_amount) / Fraction(self.lot_size))),
            "min_notional_units": math.ceil(
                Fraction(self.min_notional) / (Fraction(self.lot_size) * Fraction(self.tick_size))
            ),
            "_tick_coefficient": tick_coefficient,
            "_tick_scale": 10**price_decimals,
            "_lot_coefficient": lot_coefficient,
            "_lot_scale": 10**amount_decimals,
            "_step_limits": limits,
            "_steps": tuple(10**k for k in range(len(limits) + 1)),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def has_grid_of(self, other: TradingRule) -> bool:
        """Whether integers of prices and amounts mean the same under both rules."""
        return self.lot_size == other.lot_size and self.tick_size == other.tick_size

    # Prices

    def price_step(self, units: int) -> int:
        """The spacing of valid prices just above `units`, in units of the finest tick."""
        return self._steps[bisect_right(self._step_limits, units)]

    def tick_at(self, price: float) -> float:
        """The spacing of valid prices just above a positive finite price, in quote units."""
        scaled = price * self._tick_scale / self._tick_coefficient
        return self.price_from_units(self.price_step(int(scaled * (1.0 + _PRODUCT_ERROR))))

    def quantize_price(self, price: float) -> float:
        """The nearest valid price; a tie goes down.

        Never raises. A positive price below the first tick becomes that tick. What cannot be a price comes back as
        something that every order check refuses: 0.0 for zero and below, NaN and infinities as they are.
        """
        if not price > 0.0:
            return price if price != price else 0.0
        if price == math.inf:
            return price
        scaled = price * self._tick_scale / self._tick_coefficient
        if scaled >= _FAST_LIMIT:
            return self.price_from_units(self._nearest_price_units(price))
        step = self._steps[bisect_right(self._step_limits, scaled)]
        steps = scaled / step
        whole = int(steps)
        excess = steps - whole - 0.5
        if -_PRODUCT_ERROR * steps - 1e-300 <= excess <= _PRODUCT_ERROR * steps:
            return self.price_from_units(self._nearest_price_units(price))
        units = (whole + 1 if excess > 0.0 else whole) * step
        return (units or 1) * self._tick_coefficient / self._tick_scale

    def _nearest_price_units(self, price: float) -> int:
        """The slow and exact path of `quantize_price`."""
        exact = _exact(price) / Fraction(self.tick_size)
        floor = math.floor(exact)
        step = self.price_step(floor)
        lower = floor - floor % step
        # The next valid price above `lower` is one step up even where the step changes there.
        return lower + step if exact - lower > Fraction(step, 2) or lower == 0 else lower

    def _units_if_valid(self, price: float) -> int:
        """The units of a valid price, 0 for any other."""
        if not 0.0 < price < math.inf:
            return 0
        scaled = price * self._tick_scale / self._tick_coefficient
        units = round(scaled) if scaled < _FAST_LIMIT else self._nearest_price_units(price)
        if units * self._tick_coefficient / self._tick_scale != price:
            return 0
        limits = self._step_limits
        if limits and units >= limits[0] and units % self._steps[bisect_right(limits, units)]:
            return 0
        return units

    def is_price_valid(self, price: float) -> bool:
        """Whether the price is positive and on the tick."""
        return self._units_if_valid(price) > 0

    def price_units(self, price: float) -> int:
        """The price in units of the finest tick. Raises OrderRefused when it is off the tick."""
        units = self._units_if_valid(price)
        if units == 0:
            if not 0.0 < price < math.inf:
                raise OrderRefused("price", price, f"a price of {self.trading_pair} is a positive finite number")
            raise OrderRefused("price", price, self._tick_rule(price))
        if units > MAX_UNITS:
            raise OrderRefused("price", price, f"at most {MAX_UNITS} ticks of {self.tick_size}")
        return units

    def _tick_rule(self, price: float) -> str:
        figures = ""
        if self.significant_figures is not None:
            figures = f"at most {self.significant_figures} significant figures unless whole, "
        tick = self.price_text(self.price_step(math.floor(_exact(price) / Fraction(self.tick_size))))
        nearest = self.price_text(self._nearest_price_units(price))
        return f"off the tick of {self.trading_pair}: {figures}tick {tick} at this price; nearest valid is {nearest}"

    def price_from_units(self, units: int) -> float:
        """The float64 nearest to `units` ticks."""
        return units * self._tick_coefficient / self._tick_scale

    def price_text(self, units: int) -> str:
        """The exact decimal string of `units` ticks: no exponent, no trailing zeros."""
        return decimal_text(units * self._tick_coefficient, self.price_decimals)

    def units_from_text(self, text: str) -> int:
        """The ticks of a venue's decimal string. Raises ValueError when it is not a whole number of finest ticks."""
        return _exact_count(text, self.price_decimals, self._tick_coefficient, "tick", self.tick_size)

    # Amounts

    def quantize_amount(self, amount: float) -> float:
        """The amount rounded toward zero to whole lots.

        A float within a few ulps of a lot counts as that lot, so that 0.1 * 3 is three lots of 0.1. Never raises: NaN
        and infinities come back as they are.
        """
        size = abs(amount)
        if not size < math.inf:
            return amount
        scaled = size * self._lot_scale / self._lot_coefficient
        if scaled >= _FAST_LIMIT:
            lots = math.floor(_exact(size) / Fraction(self.lot_size))
            result = self.amount_from_lots(lots)
        else:
            lots = round(scaled)
            result = lots * self._lot_coefficient / self._lot_scale
            if result > size and not self._is_lot_noise(result - size, result):
                result = (lots - 1) * self._lot_coefficient / self._lot_scale
        return -result if amount < 0.0 and result else result

    def _is_lot_noise(self, shortfall: float, amount: float) -> bool:
        lot = self._lot_coefficient / self._lot_scale
        return shortfall <= _LOT_NOISE_ULPS * math.ulp(amount) and shortfall <= _LOT_NOISE_SHARE * lot

    def amount_lots(self, amount: float) -> int:
        """The amount in lots; zero and negative amounts are on the grid too. Raises OrderRefused when off the lot."""
        if not -math.inf < amount < math.inf:
            raise OrderRefused("amount", amount, f"an amount of {self.trading_pair} is a finite number")
        scaled = amount * self._lot_scale / self._lot_coefficient
        if abs(scaled) > MAX_LOTS:
            raise OrderRefused("amount", amount, f"at most {MAX_LOTS} lots of {self.lot_size}")
        lots = round(scaled)
        if abs(scaled) >= _FAST_LIMIT:
            lots = round(_exact(amount) / Fraction(self.lot_size))
        if lots * self._lot_coefficient / self._lot_scale != amount:
            lower = self.amount_text(int(_exact(amount) / Fraction(self.lot_size)))
            rule = f"not a whole number of lots of {self.lot_size:f} {self.trading_pair}; toward zero it is {lower}"
            raise OrderRefused("amount", amount, rule)
        return lots

    def amount_from_lots(self, lots: int) -> float:
        """The float64 nearest to `lots` lots."""
        return lots * self._lot_coefficient / self._lot_scale

    def amount_text(self, lots: int) -> str:
        """The exact decimal string of `lots` lots: no exponent, no trailing zeros."""
        return decimal_text(lots * self._lot_coefficient, self.amount_decimals)

    def lots_from_text(self, text: str) -> int:
        """The lots of a venue's decimal string. Raises ValueError when it is not a whole number of lots."""
        return _exact_count(text, self.amount_decimals, self._lot_coefficient, "lot", self.lot_size)

    # Value

    def average_price(self, notional_units: int, lots: int) -> float | None:
        """The price whose value is `notional_units` (sum of price units times lots) for `lots`; None for no lots."""
        if lots == 0:
            return None
        return notional_units * self._tick_coefficient / (lots * self._tick_scale)

    def notional(self, notional_units: int) -> float:
        """The value in quote units of a sum of price units times lots."""
        return notional_units * self._tick_coefficient * self._lot_coefficient / (self._tick_scale * self._lot_scale)


def _exact(value: float) -> Fraction:
    """The decimal number that a float stands for: the shortest one that reads back as it."""
    return Fraction(repr(float(value)))


def _exact_count(text: str, decimals: int, coefficient: int, name: str, size: Decimal) -> int:
    units = decimal_units(text, decimals)
    if coefficient == 1:
        return units
    count, rest = divmod(units, coefficient)
    if rest:
        raise ValueError(f"{text!r} is not a whole number of {name}s of {size}")
    return count
