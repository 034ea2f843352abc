"""The order table from the gateway's side: which row an order has, who owns it, and what the gateway remembers of it.

    row = slot x orders_per_session + (counter & (orders_per_session - 1))

A strategy skips a row whose order is not finished, so a live order never loses its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from latentspeed.connectors import OrderState
from latentspeed.connectors.client_order_id import split
from latentspeed.engine.records import Order
from latentspeed.ipc import TableWriter


@dataclass(slots=True)
class OrderContext:
    """What the engine knows of an order and the connector need not."""

    client_order_id: int
    slot: int
    row: int
    generation: int
    instrument: int
    command_index: int = 0
    written_mono_ns: int = 0
    read_mono_ns: int = 0
    fill_digest: int = 0


class OrderRows:
    """The order table and the contexts of its rows.

    Parameters: `table` the writer of the `orders` table; `slots` and `orders_per_session` as in the segment.
    """

    def __init__(self, table: TableWriter, slots: int, orders_per_session: int) -> None:
        self._table = table
        self._slots = slots
        self._per_session = orders_per_session
        self._contexts: list[OrderContext | None] = [None] * (slots * orders_per_session)
        self._record = Order()

    def slot_of(self, client_order_id: int) -> int:
        """The session slot that made an id, or -1 where no session of this segment can have made it."""
        if client_order_id <= 0:
            return -1
        _, slot, _ = split(client_order_id)
        return slot if slot < self._slots else -1

    def row_of(self, client_order_id: int) -> int:
        """The row of an id, or -1 where its slot is not of this segment."""
        if client_order_id <= 0:
            return -1
        _, slot, counter = split(client_order_id)
        if slot >= self._slots:
            return -1
        return slot * self._per_session + (counter & (self._per_session - 1))

    def context(self, client_order_id: int) -> OrderContext | None:
        """What is remembered of an order, or None for one that has no row (any more)."""
        row = self.row_of(client_order_id)
        context = self._contexts[row] if row >= 0 else None
        return context if context is not None and context.client_order_id == client_order_id else None

    def occupant(self, row: int) -> int:
        """The id of the unfinished order in a row, or 0 where the row may be taken."""
        record = self._record
        if not self._table.read(row, record) or OrderState(record.state).is_final:
            return 0
        return int(record.client_order_id)

    def is_recorded(self, client_order_id: int, command_index: int) -> bool:
        """True where the table already holds this very command's order (rule: it is not carried out again)."""
        record = self._record
        row = self.row_of(client_order_id)
        return (
            row >= 0
            and bool(self._table.read(row, record))
            and record.client_order_id == client_order_id
            and record.command_index == command_index
        )

    def take(self, context: OrderContext) -> None:
        """Remember an order in its row. The caller has seen that the row may be taken."""
        self._contexts[context.row] = context

    def write(self, row: int, record: Order) -> None:
        """Publish a row."""
        self._table.write(row, record)

    def read_all(self) -> Iterator[Order]:
        """Every row ever written, each as its own record."""
        for row in range(len(self._contexts)):
            record = Order()
            if self._table.read(row, record) and record.client_order_id:
                yield record
