"""A venue in memory and a network connector on it: each request and answer is a call that a test can hold back."""

from __future__ import annotations

import asyncio
import threading
import time

from latentspeed.connectors import (
    ConnectorState,
    NetworkConnector,
    OrderNeverSent,
    OrderParams,
    OrderState,
    PerpetualDerivativeBase,
    TradeType,
    TradeUpdate,
)

S = OrderState
DEADLINE_S = 60.0


class MemoryVenue:
    """Accepts, rejects, swallows or fills; remembers what arrived and in which state it was sent."""

    def __init__(self):
        self.arrived = []
        self.outcome = "rest"
        self.cancel_outcome = True
        self.hold = None
        self.numbers = iter(range(77, 10**6))
        self.leverage_error = None

    async def place(self, order):
        self.arrived.append(("place", order.client_order_id, order.state, order.nonce))
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return str(next(self.numbers)), 1_000

    async def cancel(self, order):
        self.arrived.append(("cancel", order.client_order_id, order.state, 0))
        if isinstance(self.cancel_outcome, Exception):
            raise self.cancel_outcome
        return self.cancel_outcome

    def kinds(self):
        return [kind for kind, *_ in self.arrived]


class MemoryConnector(NetworkConnector, PerpetualDerivativeBase):
    """The least that a venue's connector has to add."""

    housekeeping_interval_s = 0.01
    fills_grace_s = 0.0
    cancel_retry_s = 0.0

    name = "memory_perpetual"
    domain = "memory"

    def __init__(self, rule):
        super().__init__()
        self.venue = MemoryVenue()
        self.rule = rule
        self.nonce = 0
        self.threads = set()
        self.queried = []
        self.fetched = []
        self.connect_error = None

    async def _initialize(self):
        self._set_trading_rules([self.rule])

    async def _connect(self):
        self.threads.add(threading.get_ident())
        self._set_connection_state(ConnectorState.CONNECTING)
        await asyncio.sleep(0)
        if self.connect_error is not None:
            raise self.connect_error
        self._set_authenticated(True)
        self._set_connection_state(ConnectorState.SYNCING)
        await self._resync()
        self._set_connection_state(ConnectorState.LIVE)
        for pair in self._market.subscriptions:
            quote = self._market.quote(pair)
            quote.received_mono_ns = time.monotonic_ns()
            self._publish_quote(quote)

    async def _disconnect(self):
        self._set_connection_state(ConnectorState.DISCONNECTED)

    async def _resync(self):
        await asyncio.sleep(0)

    def subscribe(self, trading_pair):
        self._market.subscriptions[trading_pair] = None

    async def _place_order(self, order):
        self.nonce += 1
        if not self._mark_signed(order, nonce=self.nonce, venue_expiry_ms=9):
            raise OrderNeverSent("never_sent")
        return await self.venue.place(order)

    async def _cancel_order(self, order):
        return await self.venue.cancel(order)

    def set_leverage(self, trading_pair, leverage, margin_mode=None):
        self._check_leverage(trading_pair, leverage)
        return self._run(self._send_leverage(trading_pair, leverage))

    async def _send_leverage(self, trading_pair, leverage):
        self.venue.arrived.append(("leverage", leverage, None, 0))
        await asyncio.sleep(0.001)
        if self.venue.leverage_error is not None:
            raise self.venue.leverage_error
        self.venue.arrived.append(("leverage acknowledged", leverage, None, 0))
        self.update_leverage(trading_pair, leverage)
        return leverage

    def _query_orders(self, orders):
        self.queried.append([order.client_order_id for order in orders])

    def _fetch_missing_fills(self, orders):
        self.fetched.append([order.client_order_id for order in orders])


PARAMS = OrderParams("BTC-USD", 0.01, 50000.0)


async def opened(connector):
    await connector.initialize()
    await connector.connect()


async def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        await asyncio.sleep(0.001)


def wait_until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.001)


def in_loop(connector, scenario):
    """Runs a scenario in a loop with the connector open, and closes it."""

    async def main():
        await opened(connector)
        try:
            return await scenario()
        finally:
            await connector.disconnect()

    return asyncio.run(main())


def a_fill(order, lots=10):
    return TradeUpdate("1", order.client_order_id, None, "BTC-USD", TradeType.BUY, 50000.0, 0.01, 500_000, lots)


def levered(leverage):
    return OrderParams("BTC-USD", 0.01, 50000.0, leverage=leverage)
