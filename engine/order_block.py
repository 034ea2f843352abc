"""Which client order id a session uses next: its order block is direct-mapped by the counter of the id.

    row in the block = counter & (orders_per_session - 1)

A row whose order has not ended is skipped: this session's own, and those that an earlier session of the same slot left
working. Skipping spends counters, never a used id; a counter that is used up does not wrap.
"""

from __future__ import annotations

from typing import Protocol

from latentspeed.connectors.client_order_id import MAX_COUNTER, join
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import OrderState
from latentspeed.engine.records import Order
from latentspeed.engine.refusals import OrderBlockFull, OrderIdsExhausted

LAST_COUNTER = MAX_COUNTER


class _Table(Protocol):
    def read(self, index: int, out: Order, /) -> int: ...


class OrderBlock:
    """The rows of one session and who is in them.

    Parameters: `orders` the reader of the order table; `slot` and `incarnation` the session's; `capacity` is
    `orders_per_session`.
    """

    __slots__ = (
        "_base",
        "_capacity",
        "_counter",
        "_first_row",
        "_inherited",
        "_mask",
        "_occupants",
        "_offered",
        "_orders",
        "_record",
    )

    def __init__(self, orders: _Table, slot: int, incarnation: int, capacity: int) -> None:
        self._orders = orders
        self._base = join(incarnation, slot, 0)
        self._capacity = capacity
        self._mask = capacity - 1
        self._first_row = slot * capacity
        self._counter = 0
        self._offered: tuple[int, ...] = ()
        self._occupants: list[InFlightOrder | None] = [None] * capacity
        self._record = Order()
        self._inherited = {row for row in range(capacity) if self._is_live(row)}

    def next_id(self) -> int:
        """The id that the next order takes; nothing changes until `occupy`.

        Raises OrderBlockFull where every row holds an order that has not ended, OrderIdsExhausted where no id is left.
        """
        return self.next_ids(1)[0]

    def next_ids(self, count: int) -> list[int]:
        """The ids that the next orders take, which are sent together; see `next_id`."""
        self._offered = ()
        offered: list[int] = []
        counter = self._counter
        for _ in range(self._capacity):
            counter += 1
            if counter > LAST_COUNTER:
                raise OrderIdsExhausted(LAST_COUNTER)
            row = counter & self._mask
            occupant = self._occupants[row]
            if (occupant is None or occupant.is_done) and not (self._inherited and self._is_inherited(row)):
                offered.append(self._base | counter)
                if len(offered) == count:
                    self._offered = tuple(offered)
                    return offered
        raise OrderBlockFull(self._capacity)

    def offers(self, id64: int) -> bool:
        """Whether an id is one that was given for the next orders."""
        return id64 in self._offered

    def occupy(self, order: InFlightOrder) -> None:
        """Take the id that `next_id` gave: from here on it is spent. Raises OrderRefused for any other id."""
        if order.id64 not in self._offered:
            raise OrderRefused("client_order_id", order.client_order_id, "not the id that is next in this session")
        # What is given in one go is taken in that order; an id before the one taken is never given again.
        self._offered = self._offered[self._offered.index(order.id64) + 1 :]
        self._counter = order.id64 & MAX_COUNTER
        self._occupants[self._counter & self._mask] = order

    def vacate(self, order: InFlightOrder) -> None:
        """The order was certainly not written: its row is free again. Its id stays spent."""
        self._occupants[order.id64 & self._mask] = None

    def holds(self, order: InFlightOrder) -> bool:
        """Whether the order is in its row."""
        return self._occupants[order.id64 & self._mask] is order

    def row_of(self, id64: int) -> int:
        """The row of the whole order table that an id of this session has."""
        return self._first_row + (id64 & self._mask)

    def is_own(self, id64: int) -> bool:
        """Whether an id was made by this session: no other one ever has its slot and incarnation."""
        return id64 & ~MAX_COUNTER == self._base

    @property
    def id_of_no_order(self) -> int:
        """What commands that concern no order carry, so that their results can be told from other sessions'."""
        return self._base

    @property
    def used(self) -> int:
        """How many of the session's ids are spent."""
        return self._counter

    @property
    def first_row(self) -> int:
        """Where the block begins in the whole order table."""
        return self._first_row

    @property
    def capacity(self) -> int:
        """How many rows the block has."""
        return self._capacity

    def _is_inherited(self, row: int) -> bool:
        """Whether an order of an earlier session still works in a row; looked up anew, since it may have ended."""
        if row not in self._inherited:
            return False
        if self._is_live(row):
            return True
        self._inherited.discard(row)
        return False

    def _is_live(self, row: int) -> bool:
        record = self._record
        return bool(
            self._orders.read(self._first_row + row, record)
            and record.client_order_id
            and not OrderState(record.state).is_final
        )
