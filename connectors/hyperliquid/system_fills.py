"""Fills of orders that the venue made itself: liquidations, auto-deleveraging, settlements, dust conversions.

Such an order has no client order id, and nobody placed it, so that its fill need not wait for its order to be known.
The direction is display text, and new ones appear: it decides how a fill is announced and never whether it counts.
"""

from __future__ import annotations

from latentspeed.connectors.hyperliquid.messages import FillRow

ORDINARY = frozenset(
    (
        "",
        "Open Long",
        "Close Long",
        "Open Short",
        "Close Short",
        "Long > Short",
        "Short > Long",
        "Buy",
        "Sell",
    )
)
"""Directions of fills that somebody's order made."""

ANNOUNCED = {
    "Auto-Deleveraging": "auto_deleveraged",
    "Settlement": "settled",
    "Spot Dust Conversion": "dust_converted",
    "Net Child Vaults": "net_child_vaults",
    "Split Outcome": "outcome_changed",
    "Merge Outcome": "outcome_changed",
    "Merge Question": "outcome_changed",
    "Negate Outcome": "outcome_changed",
}
"""Directions of the venue's own fills, and the code under which each is told."""

LIQUIDATED = "liquidated"
UNKNOWN_DIRECTION = "unknown_direction"


def announcement(row: FillRow, account: str) -> str:
    """The code under which a fill has to be told, empty for an ordinary one.

    A fill of either side of a liquidation says so, and only `liquidatedUser` tells whose it was.
    """
    if row.liquidation is not None and row.liquidation.liquidatedUser.lower() == account:
        return LIQUIDATED
    if row.dir in ORDINARY:
        return ""
    if row.dir.startswith("Liquidated"):
        return LIQUIDATED
    return ANNOUNCED.get(row.dir, UNKNOWN_DIRECTION)


def is_made_by_venue(row: FillRow, account: str) -> bool:
    """Whether no client can have placed the order of this fill."""
    if row.cloid is not None or row.twapId is not None:
        return False
    return row.tid == 0 or _is_zero(row.hash) or announcement(row, account) not in ("", UNKNOWN_DIRECTION)


def _is_zero(text: str) -> bool:
    digits = text.removeprefix("0x")
    return bool(digits) and not digits.strip("0")
