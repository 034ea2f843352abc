"""What happens on the chain, one JSON object a line: orders as the indexer's node has them, blocks, fills and ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from latentspeed.tools.venues.dydx_v4.chain import ChainSink
from latentspeed.tools.venues.dydx_v4.markets import Market
from latentspeed.tools.venues.dydx_v4.orders import Block, Order, OrderKey, Removal


class EventLog:
    """Stands in front of another listener and writes down what that is told. The outside market's own is left out."""

    def __init__(self, path: Path, listener: ChainSink) -> None:
        """Begins an empty file. Raises OSError where it cannot be written."""
        self._file = path.open("wb")
        self._listener = listener
        self._height = 0

    def close(self) -> None:
        """Ends the file."""
        self._file.close()

    def order_placed(self, order: Order) -> None:
        """An order came into the books."""
        self._note("placed", _order(order))
        self._listener.order_placed(order)

    def order_hidden(self, order: Order) -> None:
        """An order came into the books, and the indexer's node has not seen it come."""
        self._note("hidden", _order(order))
        self._listener.order_hidden(order)

    def order_removed(self, key: OrderKey, order: Order | None, reason: Removal) -> None:
        """An order left the books, or a cancel named one that is not there."""
        self._note("removed", {**_name(key), "reason": reason.name, "is_known": order is not None})
        self._listener.order_removed(key, order, reason)

    def order_matched(self, order: Order) -> None:
        """A resting order was matched."""
        self._note("matched", {**_name(order.key), "matched": order.filled})
        self._listener.order_matched(order)

    def levels_changed(self, market: Market, levels: set[tuple[bool, int]]) -> None:
        """The books' sizes follow from the orders."""
        self._listener.levels_changed(market, levels)

    def block_made(self, block: Block) -> None:
        """A block was committed."""
        self._height = block.height
        self._note("block", {"time_ms": block.time_ms})
        for order in block.placed:
            self._note("written", _order(order))
        for order in block.triggered:
            self._note("triggered", _name(order.key))
        for fill in block.fills:
            match = fill.match
            sides = {"maker": _name(match.maker.key), "taker": _name(match.taker.key)}
            self._note("filled", {**sides, "quantums": match.quantums, "subticks": match.subticks})
        for order, reason in block.removed:
            self._note("ended", {**_name(order.key), "reason": reason.name})
        for order in block.expired:
            self._note("passed", _name(order.key))
        self._file.flush()
        self._listener.block_made(block)

    def _note(self, event: str, what: dict[str, Any]) -> None:
        if not str(what.get("owner", "")).startswith("outside-"):
            self._file.write(orjson.dumps({"height": self._height, "event": event, **what}) + b"\n")


def _name(key: OrderKey) -> dict[str, Any]:
    return key._asdict()


def _order(order: Order) -> dict[str, Any]:
    side = {"is_buy": order.is_buy, "quantums": order.quantums, "subticks": order.price}
    return {**_name(order.key), **side, "good_til_block": order.good_til_block, "good_til_time": order.good_til_time}
