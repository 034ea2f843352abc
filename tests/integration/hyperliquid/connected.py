"""Connectors on the local venue, and what they told their listeners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

from support.heard import Heard

from latentspeed.connectors import (
    InFlightOrder,
    OrderParams,
    OrderState,
    OrderType,
)
from latentspeed.connectors.hyperliquid.config import LOCAL, SPOT_LOCAL, HyperliquidConfig
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.perpetual import HyperliquidPerpetualConnector
from latentspeed.connectors.hyperliquid.spot import HyperliquidSpotConnector
from latentspeed.connectors.transport import SocketTiming
from latentspeed.tools.venues.hyperliquid import HyperliquidVenue, VenueConfig

MAKER_KEY = SigningKey(b"\x01" * 32)
TAKER_KEY = SigningKey(b"\x02" * 32)
AGENT_SECRET = "0x" + "03" * 32
PAIR = "BTC-USD"
QUICK = SocketTiming(heartbeat_s=1.0, silence_s=4.0, first_delay_s=0.02, longest_delay_s=0.1)


def new_connector(
    venue: HyperliquidVenue, key: SigningKey = MAKER_KEY, **options: Any
) -> HyperliquidPerpetualConnector:
    """A connector for the venue, with a listener in its attribute `heard`."""
    others = {name: options.pop(name) for name in ("nonce_store", "id_generator") if name in options}
    settings = {"engine_instance": 77, "socket_timing": QUICK, "place_expiry_ms": 2000, "expiry_margin_ms": 200}
    is_spot = options.pop("spot", False)
    settings["domain"] = SPOT_LOCAL if is_spot else LOCAL
    config = HyperliquidConfig(base_url=venue.base_url, **(settings | options))
    connector = (HyperliquidSpotConnector if is_spot else HyperliquidPerpetualConnector)(config, key, **others)
    heard = Heard()
    connector.heard = heard
    connector.set_order_event_listener(heard)
    connector.set_trade_event_listener(heard)
    connector.set_error_event_listener(heard)
    connector.set_market_data_listener(heard)
    return connector


@asynccontextmanager
async def connected(venue: HyperliquidVenue, key: SigningKey = MAKER_KEY, pairs=(PAIR,), **options: Any):
    """A connector that is ready to trade, and that met no exception that nobody foresaw unless `has_faults`."""
    has_faults = options.pop("has_faults", False)
    connector = new_connector(venue, key, **options)
    for pair in pairs:
        connector.subscribe(pair)
    await connector.connect()
    await connector.wait_ready()
    try:
        yield connector
    finally:
        await connector.disconnect()
    # They stop nothing and are told under many codes, so that a test might pass with one.
    assert has_faults or not connector._events._faults_logged, connector.heard.errors


def run(scenario: Callable[[HyperliquidVenue], Any], timeout_s: float = 200.0, **options: Any) -> None:
    """Runs a scenario on a venue of its own: no outside market, and wrong hashes refused, unless told otherwise."""
    settings = {"market": "none", "enrol": "mentioned"}

    async def main() -> None:
        async with HyperliquidVenue(VenueConfig(**(settings | options))) as venue:
            await scenario(venue)

    asyncio.run(asyncio.wait_for(main(), timeout_s))


async def until(condition: Callable[[], Any], timeout_s: float = 60.0, what: Any = "") -> None:
    """Waits for a condition; fails when it does not come."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"did not come in {timeout_s} s: {what() if callable(what) else what}") from None


async def ended(connector: HyperliquidPerpetualConnector, client_order_id: str) -> InFlightOrder:
    """The order, once it is finished."""
    order = connector.get_order(client_order_id)
    await until(lambda: order.is_done, what=lambda: (order, connector.heard.events, connector.heard.errors))
    return order


async def resting(connector: HyperliquidPerpetualConnector, client_order_id: str) -> InFlightOrder:
    """The order, once it is on the book."""
    order = connector.get_order(client_order_id)
    await until(
        lambda: order.state is OrderState.OPEN, what=lambda: (order, connector.heard.events, connector.heard.errors)
    )
    return order


def limit(amount: float, price: float, **more: Any) -> OrderParams:
    """A LIMIT order of the one pair."""
    return OrderParams(PAIR, amount, price, **more)


def market(amount: float, **more: Any) -> OrderParams:
    """A MARKET order of the one pair."""
    return OrderParams(PAIR, amount, order_type=OrderType.MARKET, **more)


def venue_orders(venue: HyperliquidVenue, key: SigningKey = MAKER_KEY) -> list[Any]:
    """The live orders that the venue has of an account."""
    return list(venue.account(key.address).open_orders.values())
