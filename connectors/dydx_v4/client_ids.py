"""32-bit client ids for 64-bit client order ids.

The chain names an order by a client id of 32 bits, and takes one that is used again for a replacement. An id here is
the counter and the session slot, shifted by a distance that depends on the incarnation:

    id64   0 | incarnation 31 | slot 8 | counter 24
    id32   (slot, counter) + incarnation * 0x9E3779B1        modulo 2^32

Within an incarnation no two orders share one, and from the order alone a restarted process finds it again. Orders of
different incarnations may meet by chance; `ClientIds` refuses one that a live or lately finished order has.
"""

from __future__ import annotations

from collections import OrderedDict

from latentspeed.connectors.in_flight_order import InFlightOrder

_LOW_BITS = 32
_MASK = (1 << _LOW_BITS) - 1
_SPREAD = 0x9E3779B1
REMEMBERED = 100_000


def client_id_of(id64: int) -> int:
    """The client id of a client order id."""
    return (id64 + (id64 >> _LOW_BITS) * _SPREAD) & _MASK


class ClientIds:
    """Which client ids are taken, by market."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._taken: OrderedDict[tuple[int, int], str] = OrderedDict()

    def take(self, order: InFlightOrder) -> int | None:
        """The client id of an order; None when another order has it."""
        client_id = client_id_of(order.id64)
        owner = self._taken.setdefault((order.rule.asset_id, client_id), order.client_order_id)
        if owner != order.client_order_id:
            return None
        if len(self._taken) > self._capacity:
            self._taken.popitem(last=False)
        return client_id
