"""Why an order is refused on the strategy's side of the shared memory, before anything is written.

    OrderRefused                 the order breaks a rule of its market (from `latentspeed.connectors`)
    +- GatewayNotReady           nobody is there who could send it: gateway starting, stopping, stuck or dead
    +- OrderBlockFull            every order row of the session holds an order that has not ended
    +- OrderIdsExhausted         the session has used all of its order ids
    CommandQueueFull, SessionFenced, ForkedSession, SegmentRetired (from `latentspeed.ipc`)

A strategy that catches OrderRefused lives through a gateway's restart: it is told so for each order that it tries.
"""

from __future__ import annotations

from latentspeed.connectors.errors import NotReady, OrderRefused


class GatewayNotReady(OrderRefused, NotReady):
    """The gateway cannot take an order now: it is not live, its heartbeat is stale, or its process has ended."""

    def __init__(self, segment: str, condition: str) -> None:
        super().__init__("gateway", segment, condition)


class OrderBlockFull(OrderRefused):
    """All order rows of this session hold orders that have not ended; the limit is `orders_per_session`."""

    def __init__(self, orders_per_session: int) -> None:
        super().__init__(
            "open orders",
            orders_per_session,
            f"all {orders_per_session} order rows of this session are in use (shared_memory.orders_per_session)",
        )


class OrderIdsExhausted(OrderRefused):
    """The session has used all of its order ids; a new one is taken as soon as no order is open."""

    def __init__(self, used: int) -> None:
        super().__init__(
            "order ids", used, "this session has used all of its ids; it takes a new session once no order is open"
        )
