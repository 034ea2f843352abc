"""Every order that the chain has ever taken, with what became of it: more than the indexer remembers."""

from __future__ import annotations

from typing import Any

from latentspeed.tools.venues.dydx_v4.chain import ChainSink
from latentspeed.tools.venues.dydx_v4.markets import Market
from latentspeed.tools.venues.dydx_v4.orders import Block, Order, OrderKey, Removal, TimeInForce
from latentspeed.tools.venues.dydx_v4.rows import order_uuid


class OrderHistory:
    """Stands between the chain and its indexer and writes down orders and their ends."""

    def __init__(self, listener: ChainSink) -> None:
        self.orders: list[Order] = []
        self.ends: dict[int, Removal] = {}
        """Why orders ended, by `oid`; a removal that was only one node's is overwritten by what a block says."""
        self._listener = listener
        self._known: set[int] = set()

    def rows_of(self, owner: str, height: int) -> list[dict[str, Any]]:
        """An owner's orders as of a height: sizes in quantums, what blocks have filled of them also as a decimal."""
        return [
            {
                "id": order_uuid(order.key),
                "client_id": order.key.client_id,
                "quantums": order.quantums,
                "confirmed": order.confirmed,
                "matched": order.filled,
                "filled": order.market.size_text(order.confirmed),
                "last_block": order.good_til_block or height,
                "is_over": order.key.is_short_term and order.good_til_block <= height,
                "is_immediate": order.time_in_force is TimeInForce.IOC,
                "removal": end.name if (end := self.ends.get(order.oid)) is not None else None,
            }
            for order in self.orders
            if order.key.owner == owner
        ]

    def order_placed(self, order: Order) -> None:
        """An order came into the books."""
        self._note(order)
        self._listener.order_placed(order)

    def order_hidden(self, order: Order) -> None:
        """An order came into the books, and nobody is told."""
        self._note(order)
        self._listener.order_hidden(order)

    def order_removed(self, key: OrderKey, order: Order | None, reason: Removal) -> None:
        """An order left the books."""
        if order is not None:
            self.ends[order.oid] = reason
        self._listener.order_removed(key, order, reason)

    def order_matched(self, order: Order) -> None:
        """A resting order was matched."""
        self._listener.order_matched(order)

    def levels_changed(self, market: Market, levels: set[tuple[bool, int]]) -> None:
        """Levels may have another size."""
        self._listener.levels_changed(market, levels)

    def block_made(self, block: Block) -> None:
        """A block was committed."""
        for order in block.placed:
            self._note(order)
        for order, reason in block.removed:
            self.ends[order.oid] = reason
        for order in block.expired:
            self.ends.setdefault(order.oid, Removal.EXPIRED)
        self._listener.block_made(block)

    def _note(self, order: Order) -> None:
        if order.oid not in self._known:
            self._known.add(order.oid)
            self.orders.append(order)
