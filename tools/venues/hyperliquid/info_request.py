"""Reading an info request: which keys it must have, of which type, and what makes it a 422."""

from __future__ import annotations

from typing import Any

from latentspeed.tools.venues.hyperliquid.wire import WireError, address_text

Request = dict[str, Any]


def user_of(request: Request, key: str = "user") -> str:
    """The lower-case address that a request names; mixed case is fine."""
    value = request.get(key)
    if not isinstance(value, str):
        raise WireError(f"missing {key}")
    return address_text(value)


def coin_of(request: Request) -> str:
    """The coin that a request names, in its exact case."""
    value = request.get("coin")
    if not isinstance(value, str):
        raise WireError("missing coin")
    return value


def dex_of(request: Request) -> str:
    """The dex that a request names, in its exact case; empty for the main one, also when left out or null."""
    value = request.get("dex")
    if value is not None and not isinstance(value, str):
        raise WireError("dex is a name")
    return value or ""


def time_range(request: Request) -> tuple[int, int]:
    """The span of a request: from `startTime` up to `endTime`, which may be left out or null."""
    start, end = request.get("startTime", 0), request.get("endTime")
    if not is_natural(start) or not (end is None or is_natural(end)):
        raise WireError("times are milliseconds")
    return start, 2**63 if end is None else end


def flag(request: Request, key: str) -> bool:
    """An optional boolean."""
    value = request.get(key)
    if value is not None and not isinstance(value, bool):
        raise WireError(f"{key} is a boolean")
    return bool(value)


def is_natural(value: object) -> bool:
    """Whether a JSON value is a whole number of zero or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def book_shape(request: Request) -> tuple[int | None, int | None]:
    """The optional aggregation of a book: significant figures 2 to 5, and a mantissa of 1, 2 or 5 only with 5."""
    figures, mantissa = request.get("nSigFigs"), request.get("mantissa")
    if figures is not None and not (is_natural(figures) and 2 <= figures <= 5):
        raise WireError("nSigFigs is 2 to 5")
    if mantissa is not None and not (figures == 5 and mantissa in (1, 2, 5)):
        raise WireError("mantissa is 1, 2 or 5, and only with nSigFigs 5")
    return figures, mantissa
