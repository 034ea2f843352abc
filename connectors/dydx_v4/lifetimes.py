"""Which block ends which order: the one proof of an end that always comes.

A short-term order may fill up to and in its last block, whatever was said of it before. It is over when the indexer is
past that block, and all fills up to it have been asked for. Heights come from wherever they are told: the indexer's
decides what is over, the highest what a new order may ask for.
"""

from __future__ import annotations

from collections.abc import Iterable

from latentspeed.connectors.in_flight_order import InFlightOrder

WINDOW = 20
"""Blocks ahead that an order of this connector lives at most."""


class Lifetimes:
    """Heights, and the last blocks of the orders that are not over."""

    def __init__(self, margin_blocks: int) -> None:
        """`margin_blocks`: how far the indexer has to be past a last block."""
        self.chain_height = 0
        """The highest block that anybody has told of."""
        self.indexer_height = 0
        """The last block that the indexer has told of."""
        self._margin = margin_blocks
        self._last_blocks: dict[str, int] = {}

    @property
    def is_known(self) -> bool:
        """Whether any height is known: before, no order can be given a last block."""
        return self.chain_height > 0

    def on_node_height(self, height: int) -> None:
        """A node has told of a block."""
        self.chain_height = max(self.chain_height, height)

    def on_indexer_height(self, height: int) -> None:
        """The indexer has processed a block."""
        self.indexer_height = max(self.indexer_height, height)
        self.chain_height = max(self.chain_height, height)

    def correct(self, height: int) -> None:
        """A node says where the chain is, after it has refused what the height known here led to."""
        self.chain_height = height

    @property
    def indexer_lag(self) -> int:
        """How many blocks the indexer is behind the chain, as far as is known."""
        return self.chain_height - self.indexer_height if self.indexer_height else 0

    def last_block(self, blocks: int) -> int:
        """The last block of an order that is sent now and is to live for so many."""
        return self.chain_height + min(blocks, WINDOW)

    def begin(self, order: InFlightOrder, last_block: int) -> None:
        """An order is sent with this last block."""
        self._last_blocks[order.client_order_id] = last_block

    def of(self, order: InFlightOrder) -> int:
        """The last block of an order; one of an earlier process ends, at the latest, a whole window from now."""
        known = self._last_blocks.get(order.client_order_id)
        if known is None:
            known = self._last_blocks[order.client_order_id] = self.chain_height + WINDOW
        return known

    def learn(self, order: InFlightOrder, last_block: int) -> None:
        """The venue says what an order's last block is."""
        self._last_blocks[order.client_order_id] = last_block

    def over(self, orders: Iterable[InFlightOrder]) -> list[InFlightOrder]:
        """Those of the orders whose last block the indexer is past."""
        past = self.indexer_height - self._margin
        return [order for order in orders if order.is_submitted and self.of(order) <= past]

    def forget(self, orders: Iterable[InFlightOrder]) -> None:
        """Keeps the last blocks of these orders only."""
        keep = {order.client_order_id for order in orders}
        self._last_blocks = {name: block for name, block in self._last_blocks.items() if name in keep}
