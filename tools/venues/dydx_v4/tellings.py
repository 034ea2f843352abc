"""Which client was told why an order left the books, and whether it lived to act on it.

A removal is told once, to those who listen, and nothing can be asked about it later. So whoever compares a client's
books with the chain's has to know whether the client can have known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from latentspeed.tools.venues.dydx_v4.orders import Removal
from latentspeed.tools.venues.dydx_v4.rows import Row

ACTED_AFTER_BLOCKS: Final = 120
"""How many blocks after an order's last one a client has surely ended it, also when its questions fail for a while. One
that ends before, as a process that is killed, may have forgotten what it was told."""
REMOVED: Final = ("BEST_EFFORT_CANCELED", "CANCELED")
_PREFIX: Final = "ORDER_REMOVAL_REASON_"


class Listener(Protocol):
    """A connection: silent or not, and the height at which it ended, None as long as it lives."""

    is_silent: bool
    ended_height: int | None


class Tellings:
    """The reasons that were told of each order, and to whom."""

    def __init__(self, height: Callable[[], int]) -> None:
        """Nothing was told yet; `height` is the chain's."""
        self.height = height
        self._told: dict[str, list[tuple[str, Listener]]] = {}

    def note(self, orders: Iterable[Row], listener: Listener) -> None:
        """Keeps what rows of orders say of removals, unless the listener hears nothing."""
        if listener.is_silent:
            return
        for row in orders:
            if row.get("removalReason") and row["status"] in REMOVED:
                self._told.setdefault(row["id"], []).append((row["removalReason"], listener))

    def reason_known(self, order_id: str, last_block: int) -> Removal | None:
        """Why a client surely thinks that an order of this last block has left; None where it may think otherwise.

        What counts is what was told first: a cancel of what has left already is told as a removal once more. What is
        sure was told to a client that still listened some blocks after the order's last one.
        """
        safe = last_block + ACTED_AFTER_BLOCKS
        reasons: set[str] = set()
        for reason, listener in self._told.get(order_id, ()):
            reasons.add(reason.removeprefix(_PREFIX))
            if listener.ended_height is None or listener.ended_height > safe:
                return Removal.__members__.get(reasons.pop()) if len(reasons) == 1 else None
        return None
