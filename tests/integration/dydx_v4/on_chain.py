"""dYdX connectors on the local venue, with a chain whose blocks a test may make by hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from support.heard import Heard

from latentspeed.connectors import OrderParams, OrderType
from latentspeed.connectors.dydx_v4.config import LOCAL, DydxConfig
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.perpetual import DydxV4PerpetualConnector
from latentspeed.connectors.transport import SocketTiming
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.venue import DydxVenue

MAKER_KEY = DydxKey(b"\x01" * 32)
TAKER_KEY = DydxKey(b"\x02" * 32)
PAIR = "BTC-USD"
QUICK = SocketTiming(heartbeat_s=1.0, silence_s=4.0, first_delay_s=0.02, longest_delay_s=0.1)
BLOCK_MS = 50


def new_connector(venue, key=MAKER_KEY, **options):
    """A connector for the venue, with a listener in its attribute `heard`."""
    others = {name: options.pop(name) for name in ("id_generator", "last_nonce", "store_nonce") if name in options}
    settings = {
        "node_urls": (venue.rpc_url,),
        "indexer_url": venue.rest_url,
        "ws_url": venue.ws_url,
        "engine_instance": 77,
        "socket_timing": QUICK,
    }
    connector = DydxV4PerpetualConnector(DydxConfig(domain=LOCAL, **(settings | options)), key, **others)
    connector.heard = heard = Heard()
    connector.set_order_event_listener(heard)
    connector.set_trade_event_listener(heard)
    connector.set_error_event_listener(heard)
    connector.set_market_data_listener(heard)
    return connector


@asynccontextmanager
async def connected(venue, key=MAKER_KEY, pairs=(PAIR,), **options):
    """A connector that is ready to trade."""
    connector = new_connector(venue, key, **options)
    for pair in pairs:
        connector.subscribe(pair)
    await connector.connect()
    await connector.wait_ready()
    try:
        yield connector
    finally:
        await connector.disconnect()


def run(scenario, timeout_s=200.0, grpc_port=None, **config):
    """Runs a scenario on a venue of its own: quick blocks and no outside market, unless told otherwise.

    `grpc_port=0` serves gRPC, too.
    """

    async def main():
        settings = {"market": "none", "block_interval_ms": BLOCK_MS}
        venue = DydxVenue(VenueConfig(**(settings | config)))
        await venue.start(grpc_port=grpc_port)
        try:
            quote(venue)
            await scenario(venue)
        finally:
            await venue.stop()

    asyncio.run(asyncio.wait_for(main(), timeout_s))


def quote(venue, bid=63_990, ask=64_010, size=1.0):
    """Outside quotes of BTC."""
    levels = [[(price * 10**8, int(size * 10**8))] for price in (bid, ask)]
    venue.outside.set_quotes("BTC", *levels)


async def until(condition, timeout_s=60.0):
    """Waits until a condition holds and returns what it gave."""
    async with asyncio.timeout(timeout_s):
        while not (found := condition()):
            await asyncio.sleep(0.005)
    return found


async def ended(connector, order_id):
    """The order, once it is final."""
    order = connector.get_order(order_id)
    await until(lambda: order.is_done)
    return order


def limit(amount, price, kind=OrderType.LIMIT, **more):
    return OrderParams(PAIR, amount, price, kind, **more)
