"""A scripted server for the transport tests: it says on real sockets exactly what a test tells it to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web


class ScriptedVenue:
    """Answers `/info` and `/exchange` by a function, and keeps what its sockets were sent."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, Any]] = []
        self.answer: Callable[[str, Any], Awaitable[web.StreamResponse]] | None = None
        self.sockets: list[web.WebSocketResponse] = []
        self.frames: list[list[Any]] = []
        self.confirms = True
        self.answers_pings = True
        self.greeting = True
        self.port = 0

    @property
    def ws_url(self) -> str:
        return "ws" + self.url.removeprefix("http") + "/ws"

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.requests.append((request.path, body))
        assert self.answer is not None
        return await self.answer(request.path, body)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        frames: list[Any] = []
        self.frames.append(frames)
        self.sockets.append(socket)
        if self.greeting:
            await socket.send_str("Websocket connection established.")
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            frame = json.loads(message.data)
            frames.append(frame)
            if frame["method"] == "ping" and self.answers_pings:
                await socket.send_str('{"channel":"pong"}')
            if frame["method"] in ("subscribe", "unsubscribe") and self.confirms:
                await self.confirm(frame)
        return socket

    async def confirm(self, frame: dict[str, Any]) -> None:
        """The normalised echo of a subscription."""
        subscription = dict(frame["subscription"])
        if subscription["type"] == "l2Book":
            subscription |= {"nSigFigs": None, "mantissa": None}
        if "user" in subscription:
            subscription["user"] = subscription["user"].lower()
        await self.push("subscriptionResponse", {"method": frame["method"], "subscription": subscription})

    async def push(self, channel: str, data: Any) -> None:
        """Sends a message on the newest socket."""
        await self.sockets[-1].send_str(json.dumps({"channel": channel, "data": data}))


@asynccontextmanager
async def scripted_venue():
    """A running server on a free port of this machine."""
    venue = ScriptedVenue()
    app = web.Application()
    app.router.add_post("/info", venue._post)
    app.router.add_post("/exchange", venue._post)
    app.router.add_get("/ws", venue._socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    venue.port = site._server.sockets[0].getsockname()[1]
    venue.url = f"http://127.0.0.1:{venue.port}"
    try:
        yield venue
    finally:
        for socket in venue.sockets:
            await socket.close()
        await runner.cleanup()


async def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> None:
    """Waits for a condition; fails when it does not come."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)
