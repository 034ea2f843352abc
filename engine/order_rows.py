"""The order table from the gateway's side: which row an order has, who owns it, and what the gateway remembers of it.

    row = slot x orders_per_session + (counter & (orders_per_session - 1))

A strategy skips a row whose order is not finished, so a live order never loses its row. The ids of one row only grow:
incarnations do from session to session, and counters within one. A finished order that has lost its row to a newer one
is remembered for a while without it, because a fill of it may still come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from latentspeed.connectors import OrderState
from latentspeed.connectors.client_order_id import MAX_COUNTER, MAX_SLOT
from latentspeed.engine.records import Order
from latentspeed.ipc import TableWriter

FINAL_STATES = frozenset(int(state) for state in OrderState if state.is_final)
# As many finished orders as the connector remembers.
REMEMBERED = 10_000
_ID_LIMIT = 1 << 63


class LatestFill(NamedTuple):
    """An order's newest fill as its row keeps it: the event's ring cursor and the fill's own figures."""

    cursor: int
    lots: int
    value: int
    fee_units: int
    digest: int


@dataclass(slots=True)
class OrderContext:
    """What the engine knows of an order and the connector need not.

    `row` is -1 for an order without a row; `is_cancel_due` says that its cancel was asked for and has yet to be sent;
    `latest_fill` is None where none needs to be kept: before the first one, and after a recovery.
    """

    client_order_id: int
    slot: int
    row: int
    generation: int
    instrument: int
    command_index: int = 0
    written_mono_ns: int = 0
    read_mono_ns: int = 0
    fill_digest: int = 0
    is_cancel_due: bool = False
    latest_fill: LatestFill | None = None


class OrderRows:
    """The order table and the contexts of its rows.

    Parameters: `table` the writer of the `orders` table; `slots` and `orders_per_session` as in the segment.
    """

    def __init__(self, table: TableWriter, slots: int, orders_per_session: int) -> None:
        self._table = table
        self._slots = slots
        self._per_session = orders_per_session
        self._contexts: list[OrderContext | None] = [None] * (slots * orders_per_session)
        self._without_row: OrderedDict[int, OrderContext] = OrderedDict()
        self._record = Order()

    def slot_of(self, client_order_id: int) -> int:
        """The session slot that made an id, or -1 where no session of this segment can have made it."""
        slot = client_order_id >> 24 & MAX_SLOT
        return slot if slot < self._slots and 0 < client_order_id < _ID_LIMIT else -1

    def row_of(self, client_order_id: int) -> int:
        """The row of an id, or -1 where its slot is not of this segment."""
        slot = client_order_id >> 24 & MAX_SLOT
        if slot >= self._slots or not 0 < client_order_id < _ID_LIMIT:
            return -1
        return slot * self._per_session + (client_order_id & MAX_COUNTER & (self._per_session - 1))

    def context(self, client_order_id: int) -> OrderContext | None:
        """What is remembered of an order, or None for one that nobody placed here, or that is long over."""
        row = self.row_of(client_order_id)
        context = self._contexts[row] if row >= 0 else None
        if context is not None and context.client_order_id == client_order_id:
            return context
        return self._without_row.get(client_order_id)

    def holder(self, row: int) -> tuple[int, bool]:
        """The id of the order that was last written to a row, and whether it is unfinished; 0 for an unused row."""
        record = self._record
        if row < 0 or not self._table.read(row, record):
            return 0, False
        return record.client_order_id, record.state not in FINAL_STATES

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
        """Remember an order in its row, or without one. The caller has seen that the row may be taken."""
        if context.row < 0:
            self._remember(context)
            return
        before = self._contexts[context.row]
        self._contexts[context.row] = context
        if before is not None and before.client_order_id != context.client_order_id:
            before.row = -1
            self._remember(before)

    def write(self, row: int, record: Order) -> None:
        """Publish a row."""
        self._table.write(row, record)

    def read_all(self) -> Iterator[Order]:
        """Every row ever written, each as its own record."""
        for row in range(len(self._contexts)):
            record = Order()
            if self._table.read(row, record) and record.client_order_id:
                yield record

    def count_unfinished(self) -> int:
        """How many rows hold an order that has not ended."""
        return sum(row.state not in FINAL_STATES for row in self.read_all())

    def _remember(self, context: OrderContext) -> None:
        self._without_row[context.client_order_id] = context
        if len(self._without_row) > REMEMBERED:
            self._without_row.popitem(last=False)
