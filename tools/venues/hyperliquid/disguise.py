"""Messages as no document describes them: unknown keys, unknown strings, a book that is crossed."""

from __future__ import annotations

from typing import Any

EXTRA_KEY = "notDocumented"
EXTRA_VALUE = {"since": 2027, "why": None, "also": ["0.0"]}
INVENTED_STATUS = "solarFlareHold"
INVENTED_DIRECTION = "Open Sideways"


def with_extra_keys(value: Any) -> Any:
    """A copy in which every object has one more key. Maps from coin to price stay as they are."""
    if isinstance(value, list):
        return [with_extra_keys(item) for item in value]
    if not isinstance(value, dict) or _is_price_map(value):
        return value
    return {**{key: with_extra_keys(item) for key, item in value.items()}, EXTRA_KEY: EXTRA_VALUE}


def _is_price_map(value: dict[str, Any]) -> bool:
    """Whether an object is `allMids`, whose keys are coins."""
    return "BTC" in value and all(isinstance(item, str) for item in value.values())


def with_status(rows: list[dict[str, Any]], status: str) -> list[dict[str, Any]]:
    """Copies of order updates that all say this status."""
    return [{**row, "status": status} for row in rows]


def with_direction(fills: list[dict[str, Any]], direction: str) -> list[dict[str, Any]]:
    """Copies of fills that all have this `dir`."""
    return [{**fill, "dir": direction} for fill in fills]


def crossed(channel: str, data: dict[str, Any]) -> dict[str, Any] | None:
    """A copy of an `l2Book` or `bbo` message whose best bid lies above its best ask; None where a side is empty."""
    if channel == "bbo":
        bid, ask = data["bbo"]
        if bid is None or ask is None:
            return None
        return {**data, "bbo": [{**bid, "px": ask["px"]}, {**ask, "px": bid["px"]}]}
    bids, asks = data["levels"]
    if not bids or not asks:
        return None
    best_bid, best_ask = {**bids[0], "px": asks[0]["px"]}, {**asks[0], "px": bids[0]["px"]}
    return {**data, "levels": [[best_bid, *bids[1:]], [best_ask, *asks[1:]]]}
