"""Numbers in and out: exact, shortest, with a point and never an exponent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.tools.venues.hyperliquid.wire import (
    RATE,
    WireError,
    address_text,
    canonical_decimal,
    cloid_text,
    decimal_text,
    exact_units,
    plain_text,
    share,
    units_from_text,
)


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (0, 6, "0.0"),
        (15000, 1, "1500.0"),
        (125, 7, "0.0000125"),
        (-282848, 5, "-2.82848"),
        (7, 0, "7.0"),
        (100, 2, "1.0"),
    ],
)
def test_numbers_leave_as_the_shortest_decimal_with_a_point(units, decimals, text):
    assert decimal_text(units, decimals) == text


@given(st.integers(-(10**24), 10**24), st.integers(0, 18))
def test_text_and_units_are_each_others_inverse(units, decimals):
    text = decimal_text(units, decimals)
    assert "e" not in text.lower()
    assert "." in text
    assert Decimal(text) == Decimal(units).scaleb(-decimals)
    assert units_from_text(text, decimals) == units
    assert units_from_text(plain_text(units, decimals), decimals) == units


@given(st.decimals(min_value=0, max_value=10**12, places=6), st.integers(0, 4))
def test_a_trailing_zero_never_changes_what_is_hashed(number, zeros):
    text = f"{number:f}"
    padded = text + "0" * zeros
    assert canonical_decimal(padded) == canonical_decimal(text)
    assert Decimal(canonical_decimal(text)) == number


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("43210.0", "43210"), ("0.50", "0.5"), ("00.5", "0.5"), ("007", "7"), ("0", "0"), ("-0", "0"), ("-1.50", "-1.5")],
)
def test_decimals_are_hashed_in_their_canonical_form(text, canonical):
    assert canonical_decimal(text) == canonical


@pytest.mark.parametrize("text", ["", ".", "1.", ".5", "1e5", "1,5", "0x10", " 1", "1 ", "+1", "NaN", "\u0661"])
def test_what_is_no_plain_decimal_is_refused(text):
    for read in (canonical_decimal, lambda value: units_from_text(value, 6)):
        with pytest.raises(WireError):
            read(text)


def test_a_number_finer_than_the_unit_is_not_rounded():
    assert units_from_text("0.123", 2) is None
    assert units_from_text("0.120", 2) == 12
    with pytest.raises(WireError):
        exact_units("0.123", 2)


@pytest.mark.parametrize("text", ["0x" + "Ab" * 20, "Ab" * 20, "0X" + "aB" * 20])
def test_addresses_are_read_in_every_spelling_in_use(text):
    assert address_text(text) == "0x" + "ab" * 20


@pytest.mark.parametrize("text", ["0x" + "ab" * 19, "0x" + "zz" * 20, ""])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(WireError):
        address_text(text)


def test_client_ids_are_sixteen_bytes_of_hex():
    assert cloid_text("0x" + "AB" * 16) == "0x" + "ab" * 16
    with pytest.raises(WireError):
        cloid_text("0x" + "ab" * 15)


def test_fees_are_cut_toward_zero_as_recorded_ones_are():
    notional = 57 * 736390  # 0.00057 BTC at 73639.0, in millionths of a dollar
    assert share(notional, 432 * RATE // 10**6) == 18132
    assert share(-notional, 432 * RATE // 10**6) == -18132
