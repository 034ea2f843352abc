"""Ticks, lots and decimal texts: exact at the tick and one ulp either side of it."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latentspeed.connectors import OrderRefused, TradingRule, decimal_units
from latentspeed.connectors.decimal_text import decimal_text


def rule(tick="0.1", lot="0.001", **more):
    return TradingRule("BTC-USD", "BTC", 0, Decimal(lot), Decimal(tick), quote_asset="USD", **more)


def hyperliquid(size_decimals, *, is_spot=False):
    decimals = (8 if is_spot else 6) - size_decimals
    return rule(
        tick=str(Decimal(1).scaleb(-decimals)), lot=str(Decimal(1).scaleb(-size_decimals)), significant_figures=5
    )


GRIDS = [
    rule("0.1"),
    rule("0.05", lot="0.5"),
    rule("25", lot="10"),
    rule("1"),
    rule("0.000001", lot="1"),
    rule("0.3", lot="0.7"),
    hyperliquid(5),
    hyperliquid(2),
    hyperliquid(0),
    hyperliquid(0, is_spot=True),
    hyperliquid(8, is_spot=True),
]
grids = st.sampled_from(GRIDS)
prices = st.floats(1e-9, 1e9, allow_nan=False) | st.decimals("0.000001", 200_000, places=6).map(float)


def is_valid(grid, price):
    """The venue's words: an integer, or at most N significant figures; and on the finest tick."""
    value = Decimal(repr(float(price)))
    if value <= 0 or Fraction(value) % Fraction(grid.tick_size):
        return False
    if grid.significant_figures is None or value == value.to_integral_value():
        return True
    return len(value.normalize().as_tuple().digits) <= grid.significant_figures


def market_of(row):
    return hyperliquid(row["szDecimals"], is_spot=row["market"] == "spot")


def test_reference_prices_are_valid_or_not_as_recorded(reference):
    rows = json.loads((reference / "vectors/hyperliquid_ticks.json").read_text())["price_valid"]
    wrong = [row for row in rows if market_of(row).is_price_valid(float(row["price"])) is not row["valid"]]
    assert len(rows) > 30
    assert not wrong


def test_reference_prices_round_to_the_nearer_of_the_two_recorded_neighbours(reference):
    rows = json.loads((reference / "vectors/hyperliquid_ticks.json").read_text())["round_to_valid"]
    assert rows
    for row in rows:
        given_price, down, up = (Fraction(row[key]) for key in ("in", "down", "up"))
        expected = down if given_price - down <= up - given_price else up
        assert Fraction(repr(market_of(row).quantize_price(float(row["in"])))) == expected, row


def test_reference_sizes_are_whole_lots_or_not_as_recorded(reference):
    rows = json.loads((reference / "vectors/hyperliquid_ticks.json").read_text())["size_valid"]
    assert rows
    for row in rows:
        market = hyperliquid(row["szDecimals"])
        if row["valid"]:
            assert market.amount_text(market.amount_lots(float(row["size"]))) == row["size"].rstrip("0").rstrip("."), (
                row
            )
        else:
            with pytest.raises(OrderRefused):
                market.amount_lots(float(row["size"]))


def test_reference_ticks_by_price(reference):
    rows = json.loads((reference / "vectors/hyperliquid_ticks.json").read_text())["tick_at_price"]
    assert rows
    for row in rows:
        assert market_of(row).tick_at(float(row["price"])) == float(row["tick"]), row


@given(grids, prices)
def test_a_quantized_price_is_the_nearest_valid_one_and_a_tie_goes_down(grid, price):
    quantized = grid.quantize_price(price)
    assert is_valid(grid, quantized), (grid, price, quantized)
    assert grid.is_price_valid(quantized)
    exact, found = Fraction(repr(price)), Fraction(repr(quantized))
    units = grid.price_units(quantized)
    step = grid.price_step(units)
    below = units - step if grid.price_step(units - 1) == step else units - grid.price_step(units - 1)
    for neighbour, is_upper in ((units + step, True), (below, False)):
        if neighbour <= 0:
            continue
        other = neighbour * Fraction(grid.tick_size)
        assert is_valid(grid, grid.price_from_units(neighbour))
        if is_upper:
            assert abs(found - exact) <= abs(other - exact), (grid, price, quantized, "the tick above is nearer")
        else:
            assert abs(found - exact) < abs(other - exact), (grid, price, quantized, "the tick below is as near")


@given(grids, st.integers(1, 10**7))
def test_at_a_tick_and_one_ulp_either_side_the_price_is_that_tick(grid, units):
    price = grid.price_from_units(units)
    assume(is_valid(grid, price))
    for near in (price, math.nextafter(price, math.inf), math.nextafter(price, 0.0)):
        assert grid.quantize_price(near) == price, (grid, near)
    assert grid.price_units(price) == units
    for off in (math.nextafter(price, math.inf), math.nextafter(price, 0.0)):
        assert not grid.is_price_valid(off), (grid, off)
        with pytest.raises(OrderRefused, match="off the tick"):
            grid.price_units(off)


@given(grids, st.integers(1, 10**6))
def test_halfway_goes_down_and_one_ulp_above_halfway_goes_up(grid, units):
    lower = units - units % grid.price_step(units)
    assume(lower > 0)
    step = grid.price_step(lower)
    half = (lower + Fraction(step, 2)) * Fraction(grid.tick_size)
    price = float(half)
    assume(Fraction(repr(price)) == half)
    assert grid.quantize_price(price) == grid.price_from_units(lower), (grid, price)
    assert grid.quantize_price(math.nextafter(price, 0.0)) == grid.price_from_units(lower), (grid, price)
    assert grid.quantize_price(math.nextafter(price, math.inf)) == grid.price_from_units(lower + step), (grid, price)


@given(grids, prices, prices)
def test_quantizing_keeps_the_order_of_prices(grid, one, other):
    low, high = sorted((one, other))
    assert grid.quantize_price(low) <= grid.quantize_price(high)


def test_rounding_up_across_a_power_of_ten_lands_on_a_valid_price():
    assert hyperliquid(4).quantize_price(9.9999) == 10.0
    assert hyperliquid(5).quantize_price(9999.96) == 10000.0
    assert hyperliquid(0).quantize_price(0.0999996) == 0.1


@pytest.mark.parametrize("price", [0.0, -1.0, -0.0, math.nan, math.inf, -math.inf, 1e308, 5e-324, 2**60 + 0.0])
def test_quantizing_never_raises_and_never_makes_a_price_of_what_is_none(price):
    for grid in GRIDS:
        quantized = grid.quantize_price(price)
        if not price > 0.0 or price == math.inf:
            assert not grid.is_price_valid(quantized), (grid, price, quantized)
            with pytest.raises(OrderRefused, match="positive finite"):
                grid.price_units(price)
        else:
            assert grid.is_price_valid(quantized), (grid, price, quantized)


def test_a_price_below_the_first_tick_is_the_first_tick():
    assert rule("0.1").quantize_price(0.01) == 0.1
    assert hyperliquid(0).quantize_price(1e-12) == 0.000001


def test_a_price_off_the_tick_is_refused_with_value_rule_and_the_nearest_valid_price():
    with pytest.raises(OrderRefused) as refused:
        hyperliquid(5).price_units(97123.4)
    error = refused.value
    assert (error.field, error.value) == ("price", 97123.4)
    for part in ("97123.4", "BTC-USD", "5 significant figures", "tick 1", "nearest valid is 97123"):
        assert part in str(error)


# Amounts


@given(grids, st.floats(-1e7, 1e7, allow_nan=False))
def test_amounts_go_toward_zero_unless_they_are_a_lot_but_for_float_noise(grid, amount):
    quantized = grid.quantize_amount(amount)
    lots = grid.amount_lots(quantized)
    exact = Fraction(repr(amount)) / Fraction(grid.lot_size)
    noise = min(5 * Fraction(math.ulp(abs(quantized))) / Fraction(grid.lot_size), Fraction(1, 1000))
    toward_zero = math.trunc(exact)
    if lots != toward_zero:
        assert 0 < abs(lots - exact) <= noise, (grid, amount, quantized)
        assert abs(lots - toward_zero) == 1
    assert grid.quantize_amount(quantized) == quantized
    assert math.copysign(1.0, quantized) == math.copysign(1.0, amount) or quantized == 0.0


@given(grids, st.integers(1, 10**9))
def test_at_a_lot_and_one_ulp_either_side_the_amount_is_that_lot(grid, lots):
    amount = grid.amount_from_lots(lots)
    for near in (amount, math.nextafter(amount, math.inf), math.nextafter(amount, 0.0)):
        assert grid.quantize_amount(near) == amount, (grid, near)
        assert grid.quantize_amount(-near) == -amount, (grid, near)
    assert grid.amount_lots(amount) == lots
    with pytest.raises(OrderRefused, match="whole number of lots"):
        grid.amount_lots(math.nextafter(amount, math.inf))
    eight_ulps_below = amount - 8 * math.ulp(amount)
    assert grid.quantize_amount(eight_ulps_below) == grid.amount_from_lots(lots - 1), (grid, eight_ulps_below)


def test_three_tenths_by_addition_are_three_lots():
    market = rule(lot="0.1")
    assert 0.1 + 0.2 != 0.3
    assert market.quantize_amount(0.1 + 0.2) == 0.3
    assert market.amount_text(market.amount_lots(market.quantize_amount(0.1 * 3))) == "0.3"


@pytest.mark.parametrize("amount", [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324])
def test_quantizing_an_amount_never_raises(amount):
    for grid in GRIDS:
        quantized = grid.quantize_amount(amount)
        if not math.isfinite(amount):
            assert quantized == amount or math.isnan(quantized)
            with pytest.raises(OrderRefused, match="finite"):
                grid.amount_lots(amount)
        elif abs(amount) <= 1.0:
            assert (quantized, math.copysign(1.0, quantized)) == (0.0, 1.0)


def test_an_amount_off_the_lot_is_refused_with_the_amount_toward_zero():
    with pytest.raises(OrderRefused, match=r"lots of 0.001 BTC-USD; toward zero it is 0.123"):
        rule(lot="0.001").amount_lots(0.1239)


def test_counts_that_a_float_cannot_hold_are_refused():
    with pytest.raises(OrderRefused, match="at most 9007199254740992 lots"):
        rule(lot="0.001").amount_lots(1e16)
    with pytest.raises(OrderRefused, match="at most 9223372036854775807 ticks"):
        rule("0.1").price_units(1e19)


# Texts


@given(grids, st.integers(0, 2**53))
def test_texts_are_exact_decimals_without_exponent_or_trailing_zeros(grid, count):
    for text, size in ((grid.price_text(count), grid.tick_size), (grid.amount_text(count), grid.lot_size)):
        assert Fraction(text) == count * Fraction(size)
        assert set(text) <= set("0123456789.")
        assert not text.endswith(".")
        assert "." not in text or not text.endswith("0")
    assert grid.units_from_text(grid.price_text(count)) == count
    assert grid.lots_from_text(grid.amount_text(count)) == count


@given(st.integers(-(10**20), 10**20), st.integers(0, 12))
def test_decimal_text_and_decimal_units_undo_each_other(units, decimals):
    text = decimal_text(units, decimals)
    assert Decimal(text) == Decimal(units).scaleb(-decimals)
    assert decimal_units(text, decimals) == units
    assert decimal_units(text + ("0" if "." in text else ".0"), decimals) == units


@pytest.mark.parametrize(
    "text", ["", "-", ".", "1e5", "1_0", " 1", "1 ", "+1", "nan", "inf", "1.2.3", "--1", "٣", "0x1"]
)
def test_text_that_is_no_plain_decimal_is_refused(text):
    with pytest.raises(ValueError, match="plain decimal"):
        decimal_units(text, 8)


def test_digits_beyond_the_grid_are_an_error_and_not_a_rounding():
    with pytest.raises(ValueError, match="more than 2 decimals"):
        decimal_units("1.001", 2)
    with pytest.raises(ValueError, match=r"whole number of ticks of 0\.05"):
        rule("0.05").units_from_text("1.01")
    assert decimal_units("1.000", 2) == 100
    assert decimal_units("-0.5", 8) == -50_000_000


def test_fees_with_binary_noise_can_be_rounded_where_that_is_asked_for():
    assert decimal_units("0.0004500000000000001", 8, exact=False) == 45_000
    assert decimal_units("-1.25e-05", 8, exact=False) == -1250
    with pytest.raises(ValueError, match="not a decimal number"):
        decimal_units("many", 8, exact=False)


# The rule itself


WRONG_GRIDS = [
    {"tick": "0"},
    {"tick": "-1"},
    {"lot": "0"},
    {"lot": "NaN"},
    {"tick": "0.05", "significant_figures": 5},
    {"tick": "10", "significant_figures": 5},
    {"significant_figures": 0},
]


@pytest.mark.parametrize("wrong", WRONG_GRIDS)
def test_sizes_that_make_no_grid_are_refused(wrong):
    with pytest.raises(ValueError):
        rule(**wrong)


def test_minimums_are_counted_in_whole_lots_and_rounded_up():
    market = rule("0.1", lot="0.001", min_amount=Decimal("0.0015"), min_notional=Decimal(10))
    assert market.min_amount_lots == 2
    assert market.min_notional_units == 100_000
    assert market.notional(100_000) == 10.0
    assert rule().min_amount_lots == 1


def test_the_average_price_is_rounded_once_from_exact_sums():
    market = rule("0.1", lot="0.001")
    assert market.average_price(1001 * 1 + 1002 * 2, 3) == 300.5 / 3
    assert market.average_price(0, 0) is None
