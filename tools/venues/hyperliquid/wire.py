"""Numbers as they travel: decimal text in, exact integers inside, shortest decimal text out.

Money is integer millionths of a dollar everywhere in the venue. That is exact by construction: the finest perpetual
price step is 10^-(6 - szDecimals) and a lot is 10^-szDecimals, so one price unit times one lot is 10^-6 dollars.
"""

from __future__ import annotations

import re

USD_DECIMALS = 6
USD: int = 10**USD_DECIMALS
"""Integer units of one dollar."""

_POW10: tuple[int, ...] = tuple(10**exponent for exponent in range(40))
_DECIMAL = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?").fullmatch
_ADDRESS = re.compile(r"(?:0[xX])?([0-9a-fA-F]{40})").fullmatch
_CLOID = re.compile(r"0[xX][0-9a-fA-F]{32}").fullmatch


class WireError(ValueError):
    """A value that the venue cannot deserialise."""


def decimal_text(units: int, decimals: int) -> str:
    """Return the shortest decimal with a point, never an exponent: ``(15000, 4)`` is ``"1.5"``, zero is ``"0.0"``."""
    if units < 0:
        return "-" + decimal_text(-units, decimals)
    if not decimals:
        return f"{units}.0"
    whole, part = divmod(units, _POW10[decimals])
    if not part:
        return f"{whole}.0"
    return f"{whole}.{part:0{decimals}d}".rstrip("0")


def plain_text(units: int, decimals: int) -> str:
    """Return the decimal as requests and error texts spell it: no trailing zeros and no bare point."""
    text = decimal_text(units, decimals)
    return text[:-2] if text.endswith(".0") else text


def usd_text(units: int) -> str:
    """Return integer millionths of a dollar as decimal text."""
    return decimal_text(units, USD_DECIMALS)


def canonical_decimal(text: str) -> str:
    """Return the text that the venue hashes for a decimal: no leading or trailing zeros, no bare point.

    Raises:
        WireError: when the text is not a plain decimal (exponents are refused).
    """
    if _DECIMAL(text) is None:
        raise WireError(f"not a decimal: {text!r}")
    negative = text.startswith("-")
    digits = text[1:] if negative else text
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    if len(digits) > 1 and digits[0] == "0" and digits[1] != ".":
        digits = digits.lstrip("0")
        if not digits or digits[0] == ".":
            digits = "0" + digits
    return "-" + digits if negative and digits != "0" else digits


def units_from_text(text: str, decimals: int) -> int | None:
    """Return the decimal text as an integer number of ``10^-decimals``, or None when it is finer than that.

    Raises:
        WireError: when the text is not a plain decimal.
    """
    if _DECIMAL(text) is None:
        raise WireError(f"not a decimal: {text!r}")
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    if len(part) > decimals:
        return None
    units = int(whole) * _POW10[decimals]
    if part:
        fraction = int(part) * _POW10[decimals - len(part)]
        units = units - fraction if text.startswith("-") else units + fraction
    return units


def exact_units(text: str, decimals: int) -> int:
    """Return the decimal text as an exact integer number of ``10^-decimals``.

    Raises:
        WireError: when the text is not a plain decimal or is finer than one unit.
    """
    units = units_from_text(text, decimals)
    if units is None:
        raise WireError(f"{text!r} has more than {decimals} decimals")
    return units


def address_text(text: str) -> str:
    """Return the address in lower case with ``0x``; it may come in mixed case and without the prefix.

    Raises:
        WireError: when it is not forty hex digits.
    """
    match = _ADDRESS(text)
    if match is None:
        raise WireError(f"not an address: {text!r}")
    return "0x" + match[1].lower()


def cloid_text(text: str) -> str:
    """Return the client order id in lower case.

    Raises:
        WireError: when it is not ``0x`` and 32 hex digits.
    """
    if _CLOID(text) is None:
        raise WireError(f"not a client order id: {text!r}")
    return text.lower()


def rate_units(text: str) -> int:
    """Return a fee or funding rate, a decimal fraction, as integer 10^-10."""
    return exact_units(text, RATE_DECIMALS)


RATE_DECIMALS = 10
RATE: int = 10**RATE_DECIMALS


def share(amount: int, rate: int) -> int:
    """Return ``amount`` times a rate in 10^-10, cut toward zero as the venue's recorded fees are."""
    product = amount * rate
    return product // RATE if product >= 0 else -(-product // RATE)
