"""Clients that speak to a venue over real sockets in the test's own loop."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
import uvloop
from coincurve import PrivateKey
from msgspec import msgpack

from latentspeed.tools.venues.hyperliquid import HyperliquidVenue, VenueConfig
from latentspeed.tools.venues.hyperliquid.actions import decode_envelope
from latentspeed.tools.venues.hyperliquid.signing import connection_id, keccak, l1_digest

DEADLINE_S = 60
_keys = itertools.count(1000)


class Wallet:
    """A key that signs L1 actions for the test network."""

    def __init__(self) -> None:
        self._key = PrivateKey(next(_keys).to_bytes(32, "big"))
        self.address = "0x" + keccak(self._key.public_key.format(compressed=False)[1:])[-20:].hex()
        self._nonce = time.time_ns() // 1_000_000

    def sign(self, action: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The signed request of an action."""
        self._nonce += 1
        nonce = more.pop("nonce", self._nonce)
        request = {"action": action, "nonce": nonce, "signature": {"r": "0x1", "s": "0x1", "v": 27}, **more}
        parsed = decode_envelope(orjson.dumps(request))
        connection = connection_id(msgpack.encode(parsed.action), nonce, parsed.vault_address, parsed.expires_after)
        raw = self._key.sign_recoverable(l1_digest(connection, "testnet"), hasher=None)
        r, s = (hex(int.from_bytes(part, "big")) for part in (raw[:32], raw[32:64]))
        return {**request, "signature": {"r": r, "s": s, "v": raw[64] + 27}}

    def order(self, price: str, size: str = "0.001", *, buy: bool = True, tif: str = "Gtc", **more: Any) -> dict:
        """The signed request of one BTC order."""
        wire = {"a": 0, "b": buy, "p": price, "s": size, "r": False, "t": {"limit": {"tif": tif}}, **more}
        return self.sign({"type": "order", "orders": [wire], "grouping": "na"})


class Stream:
    """A client's socket: sends JSON, reads JSON, waits for a message with a deadline."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        """Send one frame."""
        await self.socket.send_str(orjson.dumps(message).decode())

    async def next(self) -> dict[str, Any]:
        """The next frame."""
        message = await asyncio.wait_for(self.socket.receive(), DEADLINE_S)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        self.seen.append(orjson.loads(message.data))
        return self.seen[-1]

    async def until(self, condition) -> dict[str, Any]:
        """Read until a frame satisfies the condition."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = await self.next()
                if condition(message):
                    return message

    async def channel(self, name: str) -> Any:
        """The data of the next frame of a channel."""
        return (await self.until(lambda message: message["channel"] == name)).get("data")

    async def subscribe(self, **subscription: Any) -> dict[str, Any]:
        """Subscribe and return the echo."""
        await self.send({"method": "subscribe", "subscription": subscription})
        return (await self.channel("subscriptionResponse"))["subscription"]

    async def post(self, kind: str, payload: Any, post_id: int = 1) -> Any:
        """Post a request and return the response."""
        await self.send({"method": "post", "id": post_id, "request": {"type": kind, "payload": payload}})
        data = await self.until(lambda m: m["channel"] == "post" and m["data"]["id"] == post_id)
        return data["data"]["response"]


class Client:
    """HTTP and sockets to one venue."""

    def __init__(self, venue: HyperliquidVenue, session: aiohttp.ClientSession) -> None:
        self.venue = venue
        self.session = session

    async def post(self, path: str, body: Any) -> Any:
        """POST JSON, expect 200, return the reply."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.post(self.venue.base_url + path, data=data) as reply:
            assert reply.status == 200, (reply.status, await reply.text())
            return orjson.loads(await reply.read())

    async def info(self, kind: str, **more: Any) -> Any:
        """One info request."""
        return await self.post("/info", {"type": kind, **more})

    async def exchange(self, request: dict[str, Any]) -> Any:
        """One exchange request."""
        return await self.post("/exchange", request)

    async def control(self, name: str, **more: Any) -> Any:
        """One control request."""
        async with self.session.post(self.venue.control_url, json={"do": name, **more}) as reply:
            return await reply.json()

    @asynccontextmanager
    async def stream(self, *, greeting: bool = True):
        """An open socket, its greeting read."""
        async with self.session.ws_connect(self.venue.ws_url) as socket:
            if greeting:
                first = await asyncio.wait_for(socket.receive(), DEADLINE_S)
                assert first.data == "Websocket connection established."
            yield Stream(socket)


@pytest.fixture
def with_venue():
    """Runs ``async def scenario(client)`` against a venue with these settings."""

    def run(scenario, /, **settings: Any) -> Any:
        async def main() -> Any:
            config = VenueConfig(**{"market": "none", **settings})
            async with asyncio.timeout(60), HyperliquidVenue(config) as venue, aiohttp.ClientSession() as session:
                return await scenario(Client(venue, session))

        return uvloop.run(main())

    return run


@pytest.fixture
def wallet():
    return Wallet()


@pytest.fixture
def other_wallet():
    return Wallet()
