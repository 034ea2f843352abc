"""Decimal text to scaled integers and back, exactly and without a float in between."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

MOST_DIGITS = 40
"""Beyond this a number with an exponent is nonsense, and its digits would take for ever to write."""


def decimal_units(text: str, decimals: int, *, exact: bool = True) -> int:
    """The integer `text * 10**decimals` of a plain decimal string such as `-12.340`.

    Raises ValueError for text that is not a plain decimal number, and, unless `exact` is False, for digits beyond
    `decimals`; with `exact=False` those are rounded half to even and an exponent is understood.
    """
    body = text[1:] if text.startswith("-") else text
    whole, _, fraction = body.partition(".")
    digits = whole + fraction
    if digits.isascii() and digits.isdigit():
        if len(fraction) > decimals:
            extra = fraction[decimals:].strip("0")
            if extra:
                if exact:
                    raise ValueError(f"{text!r} has more than {decimals} decimals")
                return _rounded_units(text, decimals)
            fraction = fraction[:decimals]
        units = int(whole + fraction.ljust(decimals, "0") or "0")
        return -units if text.startswith("-") else units
    if exact:
        raise ValueError(f"{text!r} is not a plain decimal number")
    return _rounded_units(text, decimals)


def _rounded_units(text: str, decimals: int) -> int:
    try:
        if abs(Decimal(text).adjusted()) > MOST_DIGITS:
            raise ValueError("out of range")
        return int(Decimal(text).scaleb(decimals).to_integral_value(ROUND_HALF_EVEN))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a decimal number") from error


def decimal_text(units: int, decimals: int) -> str:
    """The exact decimal string of `units / 10**decimals`: no exponent, no trailing zeros, no bare point."""
    if decimals == 0:
        return str(units)
    sign = "-" if units < 0 else ""
    whole, fraction = divmod(abs(units), 10**decimals)
    if fraction == 0:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{str(fraction).rjust(decimals, '0').rstrip('0')}"
