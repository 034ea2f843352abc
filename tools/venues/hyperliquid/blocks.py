"""What happened in one block: every event of it carries the same time."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.orders import Fill, Order, OrderRow, Trade


class Block:
    """Events collected while a block executes, for the streams to tell.

    Attributes:
        updates, fills, fundings, liquidations, twap_history: by account, in order.
        cancels: by account, in order: those that the user did not ask for.
        trades: by market, in order.
        books: markets whose book changed.
        touched: accounts whose state changed.
    """

    __slots__ = (
        "_actions",
        "_hash",
        "_seed",
        "books",
        "cancels",
        "fills",
        "fundings",
        "height",
        "liquidations",
        "time_ms",
        "touched",
        "trades",
        "twap_history",
        "updates",
    )

    def __init__(self, height: int, time_ms: int, seed: int) -> None:
        self.height = height
        self.time_ms = time_ms
        self._seed = seed
        self._actions = 0
        self._hash: str | None = None
        self.updates: dict[Account, list[OrderRow]] = {}
        self.fills: dict[Account, list[Fill]] = {}
        self.fundings: dict[Account, list[dict[str, Any]]] = {}
        self.cancels: dict[Account, list[Order]] = {}
        self.liquidations: dict[Account, list[dict[str, Any]]] = {}
        self.twap_history: dict[Account, list[dict[str, Any]]] = {}
        self.trades: dict[Market, list[Trade]] = {}
        self.books: set[Market] = set()
        self.touched: set[Account] = set()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.updates or self.fills or self.trades or self.books or self.touched or self.fundings)

    def next_action(self) -> None:
        """Begin another action: its events get another hash."""
        self._actions += 1
        self._hash = None

    def hash(self) -> str:
        """The transaction hash of the current action."""
        if self._hash is None:
            name = b"%d:%d:%d" % (self._seed, self.height, self._actions)
            self._hash = "0x" + blake2b(name, digest_size=32).hexdigest()
        return self._hash

    def add_update(self, row: OrderRow) -> None:
        """Tell an order's status."""
        self.updates.setdefault(row.order.account, []).append(row)
        self.touched.add(row.order.account)

    def add_fill(self, fill: Fill) -> None:
        """Tell one side of a trade."""
        account = fill.order.account
        self.fills.setdefault(account, []).append(fill)
        self.touched.add(account)

    def add_trade(self, trade: Trade) -> None:
        """Tell a public print."""
        self.trades.setdefault(trade.market, []).append(trade)
