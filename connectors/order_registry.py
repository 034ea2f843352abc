"""Which orders a connector holds: by either id, live or lately finished, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from latentspeed.connectors.in_flight_order import InFlightOrder


class OrderRegistry:
    """Live orders stay for as long as they live; finished ones for a time and up to a number, for late fills.

    Changed in the loop thread only, except that any thread may add a new order; read from any thread.
    """

    __slots__ = ("_active", "_age_ns", "_by_client_id", "_by_exchange_id", "_capacity", "_clock_mono_ns", "_finished")

    def __init__(self, finished_capacity: int, finished_age_ns: int, clock_mono_ns: Callable[[], int]) -> None:
        self._capacity = finished_capacity
        self._age_ns = finished_age_ns
        self._clock_mono_ns = clock_mono_ns
        self._by_client_id: dict[str, InFlightOrder] = {}
        self._by_exchange_id: dict[str, InFlightOrder] = {}
        self._active: dict[str, InFlightOrder] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_client_id)

    def __contains__(self, client_order_id: object) -> bool:
        return client_order_id in self._by_client_id

    def by_client_id(self, client_order_id: str) -> InFlightOrder | None:
        """The order of a client order id."""
        return self._by_client_id.get(client_order_id)

    def by_exchange_id(self, exchange_order_id: str) -> InFlightOrder | None:
        """The order that the venue calls, or once called, by this id."""
        return self._by_exchange_id.get(exchange_order_id)

    def all(self) -> list[InFlightOrder]:
        """Every order held."""
        return list(self._by_client_id.values())

    def active(self) -> list[InFlightOrder]:
        """The orders that are not finished, oldest first."""
        return list(self._active.values())

    def finished_mono_ns(self, client_order_id: str) -> int | None:
        """When an order finished, None for one that is live or not held."""
        return self._finished.get(client_order_id)

    def add(self, order: InFlightOrder) -> bool:
        """Holds an order; False when it is held already. Raises ValueError when another one has its id."""
        known = self._by_client_id.setdefault(order.client_order_id, order)
        if known is not order:
            raise ValueError(f"client order id {order.client_order_id} is taken by {known!r}")
        if order.client_order_id in self._active or order.client_order_id in self._finished:
            return False
        for exchange_order_id in order.exchange_order_ids:
            self._by_exchange_id.setdefault(exchange_order_id, order)
        self.file(order)
        return True

    def file(self, order: InFlightOrder) -> None:
        """Puts an order with the live or with the finished ones, as its state says."""
        client_order_id = order.client_order_id
        if order.is_done:
            self._active.pop(client_order_id, None)
            self._finished[client_order_id] = self._clock_mono_ns()
        else:
            self._finished.pop(client_order_id, None)
            self._active[client_order_id] = order

    def name(self, exchange_order_id: str, order: InFlightOrder) -> InFlightOrder:
        """Gives one of the venue's ids to an order; the order that had it before, else this one, is returned."""
        return self._by_exchange_id.setdefault(exchange_order_id, order)

    def remove(self, client_order_id: str) -> InFlightOrder | None:
        """Forgets an order."""
        order = self._by_client_id.pop(client_order_id, None)
        if order is None:
            return None
        self._active.pop(client_order_id, None)
        self._finished.pop(client_order_id, None)
        for exchange_order_id in order.exchange_order_ids:
            if self._by_exchange_id.get(exchange_order_id) is order:
                del self._by_exchange_id[exchange_order_id]
        return order

    def overdue(self) -> list[str]:
        """The finished orders that are too many or too old, oldest first."""
        surplus = len(self._finished) - self._capacity
        oldest = self._clock_mono_ns() - self._age_ns
        overdue: list[str] = []
        for client_order_id, finished_mono_ns in self._finished.items():
            if len(overdue) >= surplus and finished_mono_ns > oldest:
                break
            overdue.append(client_order_id)
        return overdue
