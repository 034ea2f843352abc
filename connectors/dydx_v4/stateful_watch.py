"""Looks after stateful orders that were sent: which of them it is time to ask for.

| of an order | asked for |
|---|---|
| that no report has confirmed | some blocks after it was sent, and again and again |
| whose cancel was sent | the same |
| that is good until a time that a block is past | some blocks after |

What a node found valid may be in no block, and nobody tells of that. Its sequence is proof: once a block is 30 seconds
later than the transaction's time, the transaction can be in no block any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from latentspeed.connectors.dydx_v4.kinds import is_stateful
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.sequences import Sequences
from latentspeed.connectors.in_flight_order import InFlightOrder

FIRST_BLOCKS: Final = 5
"""So many blocks after an order was sent it should be known."""
AGAIN_BLOCKS: Final = 15
VOID_MARGIN_MS: Final = 10_000
"""How much later than a transaction's last possible block silence counts."""


class StatefulWatch:
    """When to ask for which order. Used in the loop's thread."""

    def __init__(self, lifetimes: Lifetimes, sequences: Sequences) -> None:
        """Looks after nothing yet."""
        self._lifetimes = lifetimes
        self._sequences = sequences
        self._due: dict[str, int] = {}

    def sent(self, order: InFlightOrder) -> None:
        """An order or its cancel was sent just now."""
        self._due[order.client_order_id] = self._lifetimes.chain_height + FIRST_BLOCKS

    def check_now(self, order: InFlightOrder) -> None:
        """Something is odd about an order: it is asked for with the next block."""
        self._due[order.client_order_id] = self._lifetimes.indexer_height

    def asked(self, order: InFlightOrder) -> None:
        """The order was asked for, and the answer did not end it."""
        self._due[order.client_order_id] = self._lifetimes.indexer_height + AGAIN_BLOCKS

    def due(self, orders: Iterable[InFlightOrder]) -> list[InFlightOrder]:
        """The stateful ones of the orders that it is time to ask for."""
        height = self._lifetimes.indexer_height
        return [
            order
            for order in orders
            if order.is_submitted
            and is_stateful(order)
            and self._is_in_question(order)
            and self._due.setdefault(order.client_order_id, height + FIRST_BLOCKS) <= height
        ]

    def _is_in_question(self, order: InFlightOrder) -> bool:
        is_past = self._lifetimes.indexer_time_ms >= order.venue_expiry_ms > 0
        return not order.is_acknowledged or order.cancel_requested or is_past

    def is_void(self, order: InFlightOrder, block_ms: int) -> bool:
        """Whether the chain, at a block of this time, can have the order in no later block."""
        is_past = block_ms > order.venue_expiry_ms + VOID_MARGIN_MS > VOID_MARGIN_MS
        return is_past or self._sequences.is_void(order.nonce, block_ms, VOID_MARGIN_MS)

    def forget(self, orders: Iterable[InFlightOrder]) -> None:
        """Keeps what is known of these orders only."""
        keep = {order.client_order_id for order in orders}
        self._due = {name: height for name, height in self._due.items() if name in keep}
