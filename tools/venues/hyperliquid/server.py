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
from latentspeed.tools.venues.hyperliquid.http_faults import EXCHANGE, TOO_MANY, UNPROCESSABLE, HttpFaults, refusal
from latentspeed.tools.venues.hyperliquid.limits import IpBudget, SocketBudget, action_weight, info_weight
from latentspeed.tools.venues.hyperliquid.sockets import Socket, text_frame
from latentspeed.tools.venues.hyperliquid.subscriptions import parse_subscription
from latentspeed.tools.venues.hyperliquid.wire import WireError

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue

GREETING = text_frame(b"Websocket connection established.")
PONG = text_frame(b'{"channel":"pong"}')
MOST_PENDING_POSTS = 100
LARGEST_BODY = 4 * 1024 * 1024
SHUTDOWN_S = 0.5


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
        self.faults = HttpFaults(venue.faults)
        self.ip_budget = IpBudget(venue.clock)
        self._socket_budget = SocketBudget(venue.clock)
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
        refused = self.faults.refused(path)
        if refused is not None:
            return refused
        ip = request.remote or ""
        if self.venue.config.ip_limits and self.ip_budget.is_exhausted(ip):
            return refusal(429)
        try:
            if path == "/exchange":
                reply: Any = await self._execute(body, ip)
            else:
                reply = self._answer(orjson.loads(body), ip)
        except (WireError, orjson.JSONDecodeError):
            return refusal(422)
        return await self.faults.finish(request, path, reply)

    async def _execute(self, body: bytes, ip: str) -> Reply:
        envelope = decode_envelope(body)
        if self.venue.config.ip_limits:
            self.ip_budget.spend(ip, action_weight(envelope))
        if not self.venue.has_blocks:
            return self.venue.execute_now(envelope)
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.venue.submit(envelope, lambda reply: None if waiting.done() else waiting.set_result(reply))
        return await waiting

    def _answer(self, request: Any, ip: str) -> Any:
        reply = self.venue.info.answer(request)
        if self.venue.config.ip_limits:
            self.ip_budget.spend(ip, info_weight(request["type"], len(reply) if isinstance(reply, list) else 0))
        return reply

    # -- WebSocket -----------------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False, max_msg_size=LARGEST_BODY)
        if not response.can_prepare(request):
            return web.Response(status=400, text="a WebSocket handshake is expected")
        ip, limited = request.remote or "", self.venue.config.connection_limits
        if limited and not self._socket_budget.may_open(ip, len(self.venue.streams.of_ip(ip))):
            return refusal(429)
        try:
            await response.prepare(request)
        except ConnectionError:
            return web.Response()  # To nobody: the client has gone.
        transport = request.transport
        assert transport is not None
        socket = Socket(transport, ip)
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
        if self.venue.config.connection_limits and not self._socket_budget.may_send(socket.ip):
            socket.close(1008, "Too many messages")
            return
        try:
            frame = _decode_frame(text)
            if frame.method == "ping":
                if self.venue.faults.value("silent_pongs"):
                    self.venue.faults.happened("silent_pongs")
                else:
                    socket.send(PONG if not self.venue.faults.armed else self._pong())
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
        if self.venue.config.subscription_limits and self._pending_posts(socket.ip) >= MOST_PENDING_POSTS:
            socket.error(f"too many pending post requests id={post_id}")
            return
        refused = self.faults.refused_post()
        if refused is None and self.venue.config.ip_limits and self.ip_budget.is_exhausted(socket.ip):
            refused = TOO_MANY
        if refused is not None:
            self._reply(socket, post_id, "error", refused)
            return
        try:
            if request.type == "info":
                payload = orjson.loads(bytes(request.payload))
                data = self._answer(payload, socket.ip)
                self._reply(socket, post_id, "info", {"type": payload["type"], "data": data})
            elif request.type == "action":
                envelope = decode_envelope(request.payload)
                if self.venue.config.ip_limits:
                    self.ip_budget.spend(socket.ip, action_weight(envelope))
                socket.pending_posts += 1
                self.venue.submit(envelope, lambda reply: self._on_action_done(socket, post_id, reply))
            else:
                raise WireError("unknown request type")
        except (WireError, orjson.JSONDecodeError):
            self._reply(socket, post_id, "error", UNPROCESSABLE)

    def _pending_posts(self, ip: str) -> int:
        return sum(socket.pending_posts for socket in self.venue.streams.of_ip(ip))

    def _pong(self) -> bytes:
        return text_frame(self.faults.encoded({"channel": "pong"}))

    def _on_action_done(self, socket: Socket, post_id: int, reply: Reply) -> None:
        if delay := self.faults.delay_ms(EXCHANGE):
            asyncio.get_running_loop().call_later(delay / 1000, self._finish_post, socket, post_id, reply)
        else:
            self._finish_post(socket, post_id, reply)

    def _finish_post(self, socket: Socket, post_id: int, reply: Reply) -> None:
        socket.pending_posts -= 1
        frame = self._post_frame(post_id, "action", reply)
        if not self.faults.cut_post(socket, frame):
            socket.send(frame)

    def _reply(self, socket: Socket, post_id: int, kind: str, payload: Any) -> None:
        socket.send(self._post_frame(post_id, kind, payload))

    def _post_frame(self, post_id: int, kind: str, payload: Any) -> bytes:
        data = {"id": post_id, "response": {"type": kind, "payload": payload}}
        return text_frame(self.faults.encoded({"channel": "post", "data": data}))
