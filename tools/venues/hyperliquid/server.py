"""The sockets: `/info`, `/exchange` and `/ws` on one port, `/control` on another.

aiohttp's low-level server is used without an application: a route table and middlewares would cost more than the
matching engine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from aiohttp import WSMsgType, web

from latentspeed.tools.venues.hyperliquid.actions import decode_envelope
from latentspeed.tools.venues.hyperliquid.control import Control
from latentspeed.tools.venues.hyperliquid.exchange import Reply
from latentspeed.tools.venues.hyperliquid.limits import IpBudget, action_weight, info_weight
from latentspeed.tools.venues.hyperliquid.replies import JsonReply
from latentspeed.tools.venues.hyperliquid.sockets import Socket, message_frame, text_frame
from latentspeed.tools.venues.hyperliquid.subscriptions import parse_subscription
from latentspeed.tools.venues.hyperliquid.wire import WireError

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue

UNPROCESSABLE = "Failed to deserialize the JSON body into the target type"
GREETING = text_frame(b"Websocket connection established.")
PONG = text_frame(b'{"channel":"pong"}')
MOST_PENDING_POSTS = 100
LARGEST_BODY = 4 * 1024 * 1024
SHUTDOWN_S = 0.5
BURSTS = {"http_429_burst": 429, "http_500_burst": 500, "http_502_burst": 502}


class PostRequest(msgspec.Struct):
    """The request inside a post; its payload stays as it came, so that the envelope decoder reads it once."""

    type: str
    payload: msgspec.Raw


class Frame(msgspec.Struct):
    """A client's frame. Extra keys, such as a string `id` on unsubscribe, are ignored."""

    method: str
    subscription: dict[str, Any] | None = None
    id: int | str | None = None
    request: PostRequest | None = None


_decode_frame = msgspec.json.Decoder(Frame).decode


class Server:
    """Listens for a venue."""

    def __init__(self, venue: HyperliquidVenue) -> None:
        self.venue = venue
        self.host = ""
        self.port = 0
        self.control_port = 0
        self._ip_budget = IpBudget(venue.clock)
        self._runners: list[web.BaseRunner] = []

    async def start(self, host: str, port: int, control_port: int) -> None:
        """Bind both ports; 0 takes a free one."""
        self.host = host
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=SHUTDOWN_S)
        self.port = await self._listen(runner, host, port)
        application = web.Application()
        application.router.add_route("*", "/control", Control(self.venue).handle)
        self.control_port = await self._listen(
            web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S), host, control_port
        )

    async def _listen(self, runner: web.BaseRunner, host: str, port: int) -> int:
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port).start()
        bound: int = runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Close every connection and both ports."""
        for socket in list(self.venue.streams.sockets):
            socket.close(1001, "Going away")
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/ws":
            return await self._websocket(request)
        if request.method != "POST" or path not in ("/exchange", "/info"):
            return web.Response(status=404)
        body = await request.read()
        for fault, status in BURSTS.items():
            if self.venue.faults.take(fault):
                return _refusal(status)
        ip = request.remote or ""
        if self.venue.config.ip_limits and self._ip_budget.is_exhausted(ip):
            return _refusal(429)
        try:
            if path == "/exchange":
                reply: Any = await self._execute(body, ip)
            else:
                reply = self._answer(orjson.loads(body), ip)
        except (WireError, orjson.JSONDecodeError):
            return web.Response(status=422, text=UNPROCESSABLE)
        delay = self.venue.faults.value("delay_reply_ms")
        if delay:
            await asyncio.sleep(delay / 1000)
        if path == "/exchange" and self.venue.faults.take("drop_next_reply"):
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        return JsonReply(orjson.dumps(reply))

    async def _execute(self, body: bytes, ip: str) -> Reply:
        envelope = decode_envelope(body)
        if self.venue.config.ip_limits:
            self._ip_budget.spend(ip, action_weight(envelope))
        if not self.venue.config.block_interval_ms:
            return self.venue.execute_now(envelope)
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.venue.submit(envelope, lambda reply: None if waiting.done() else waiting.set_result(reply))
        return await waiting

    def _answer(self, request: Any, ip: str) -> Any:
        reply = self.venue.info.answer(request)
        if self.venue.config.ip_limits:
            self._ip_budget.spend(ip, info_weight(request["type"], len(reply) if isinstance(reply, list) else 0))
        return reply

    # -- WebSocket -----------------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False, max_msg_size=LARGEST_BODY)
        if not response.can_prepare(request):
            return web.Response(status=400, text="a WebSocket handshake is expected")
        await response.prepare(request)
        transport = request.transport
        assert transport is not None
        socket = Socket(transport, request.remote or "")
        self.venue.streams.add(socket)
        if self.venue.config.greeting:
            socket.send(GREETING)
        try:
            async for message in response:
                if message.type is WSMsgType.TEXT:
                    self._on_frame(socket, message.data)
        finally:
            self.venue.streams.remove(socket)
        return response

    def _on_frame(self, socket: Socket, text: str) -> None:
        try:
            frame = _decode_frame(text)
            if frame.method == "ping":
                socket.send(PONG)
            elif frame.method in ("subscribe", "unsubscribe") and frame.subscription is not None:
                self._on_subscription(socket, frame.method, frame.subscription)
            elif frame.method == "post" and frame.request is not None and isinstance(frame.id, int):
                self._on_post(socket, frame.id, frame.request)
            else:
                raise msgspec.ValidationError("unknown method")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            socket.error(f"Error parsing JSON into valid websocket request: {text}")

    def _on_subscription(self, socket: Socket, method: str, raw: dict[str, Any]) -> None:
        try:
            subscription = parse_subscription(raw, self.venue.state)
        except WireError:
            socket.error(f"Invalid subscription {orjson.dumps(raw).decode()}")
            return
        streams = self.venue.streams
        (streams.subscribe if method == "subscribe" else streams.unsubscribe)(socket, subscription)

    def _on_post(self, socket: Socket, post_id: int, request: PostRequest) -> None:
        if socket.pending_posts >= MOST_PENDING_POSTS:
            socket.error(f"too many pending post requests id={post_id}")
            return
        if self.venue.faults.take("http_429_burst") or (
            self.venue.config.ip_limits and self._ip_budget.is_exhausted(socket.ip)
        ):
            self._reply(socket, post_id, "error", "429 Too Many Requests")
            return
        try:
            if request.type == "info":
                payload = orjson.loads(bytes(request.payload))
                data = self._answer(payload, socket.ip)
                self._reply(socket, post_id, "info", {"type": payload["type"], "data": data})
            elif request.type == "action":
                envelope = decode_envelope(request.payload)
                if self.venue.config.ip_limits:
                    self._ip_budget.spend(socket.ip, action_weight(envelope))
                socket.pending_posts += 1
                self.venue.submit(envelope, lambda reply: self._on_action_done(socket, post_id, reply))
            else:
                raise WireError("unknown request type")
        except (WireError, orjson.JSONDecodeError):
            self._reply(socket, post_id, "error", UNPROCESSABLE)

    def _on_action_done(self, socket: Socket, post_id: int, reply: Reply) -> None:
        delay = self.venue.faults.value("delay_reply_ms")
        if delay:
            asyncio.get_running_loop().call_later(delay / 1000, self._finish_post, socket, post_id, reply)
        else:
            self._finish_post(socket, post_id, reply)

    def _finish_post(self, socket: Socket, post_id: int, reply: Reply) -> None:
        socket.pending_posts -= 1
        if self.venue.faults.take("drop_next_reply"):
            socket.abort()
        else:
            self._reply(socket, post_id, "action", reply)

    @staticmethod
    def _reply(socket: Socket, post_id: int, kind: str, payload: Any) -> None:
        socket.send(message_frame("post", {"id": post_id, "response": {"type": kind, "payload": payload}}))


def _refusal(status: int) -> web.Response:
    """What the edge in front of the real venue answers: `null` for 429, HTML for a bad gateway."""
    if status == 429:
        return web.Response(status=429, body=b"null", content_type="application/json")
    if status == 502:
        return web.Response(
            status=502, text="<html><body><h1>502 Bad Gateway</h1></body></html>", content_type="text/html"
        )
    return web.Response(status=status, text="Internal Server Error")
