"""Which block ends which order: the one proof of an end that always comes.

A short-term order may fill up to and in its last block, whatever was said of it before. It is over when the indexer is
past that block, and all fills up to it have been asked for. Heights come from wherever they are told: the indexer's
decides what is over, the highest what a new order may ask for.

Stateful orders are over at a time, which the chain tells of when a block is that late; see `stateful_watch`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from latentspeed.connectors.dydx_v4.kinds import WINDOW, is_stateful
from latentspeed.connectors.in_flight_order import InFlightOrder

LONGEST_SILENCE_MS = 20_000
"""How far the chain's clock is taken to have gone on since the last block that was heard of."""


class Lifetimes:
    """Heights, and the last blocks of the orders that are not over."""

    def __init__(self, margin_blocks: int) -> None:
        """`margin_blocks`: how far the indexer has to be past a last block."""
        self.chain_height = 0
        """The highest block that anybody has told of."""
        self.indexer_height = 0
        """The last block that the indexer has told of."""
        self.indexer_time_ms = 0
        """The time of that block, milliseconds since the epoch; 0 before any was told."""
        self._time_ms = 0
        self._time_mono_ns = 0
        self._margin = margin_blocks
        self._last_blocks: dict[str, int] = {}

    @property
    def is_known(self) -> bool:
        """Whether any height is known: before, no order can be given a last block."""
        return self.chain_height > 0

    def on_node_height(self, height: int, time_ms: int = 0) -> None:
        """A node has told of a block, and of its time in milliseconds since the epoch."""
        self.chain_height = max(self.chain_height, height)
        self._heard(time_ms)

    def on_indexer_height(self, height: int, time_ms: int = 0) -> None:
        """The indexer has processed a block of this time."""
        self.indexer_height = max(self.indexer_height, height)
        self.indexer_time_ms = max(self.indexer_time_ms, time_ms)
        self.chain_height = max(self.chain_height, height)
        self._heard(time_ms)

    def _heard(self, time_ms: int) -> None:
        if time_ms > self._time_ms:
            self._time_ms, self._time_mono_ns = time_ms, time.monotonic_ns()

    def now_ms(self) -> int:
        """The chain's clock: its last block's time and what has passed since, whatever this machine's clock says."""
        if not self._time_ms:
            return time.time_ns() // 1_000_000
        return self._time_ms + min((time.monotonic_ns() - self._time_mono_ns) // 1_000_000, LONGEST_SILENCE_MS)

    def correct(self, height: int, time_ms: int = 0) -> None:
        """A node says where the chain is, after it has refused what the height known here led to."""
        self.chain_height = height
        self._heard(time_ms)

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

    def over(self, orders: Iterable[InFlightOrder], height: int = 0) -> list[InFlightOrder]:
        """Those of the short-term orders whose last block the indexer is past, or `height` if that is given."""
        past = (height or self.indexer_height) - self._margin
        return [order for order in orders if order.is_submitted and not is_stateful(order) and self.of(order) <= past]

    def forget(self, orders: Iterable[InFlightOrder]) -> None:
        """Keeps the last blocks of these orders only."""
        keep = {order.client_order_id for order in orders}
        self._last_blocks = {name: block for name, block in self._last_blocks.items() if name in keep}
