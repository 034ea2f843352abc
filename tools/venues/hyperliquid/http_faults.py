"""What happens to requests and replies: refused at the edge, late, cut off before, or in the middle of, the reply."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import struct

import orjson
from aiohttp import web

from latentspeed.tools.venues.hyperliquid import disguise
from latentspeed.tools.venues.hyperliquid.faults import HTTP_BURSTS, Faults
from latentspeed.tools.venues.hyperliquid.replies import JsonReply
from latentspeed.tools.venues.hyperliquid.sockets import Socket

UNPROCESSABLE = "Failed to deserialize the JSON body into the target type"
EXCHANGE = "/exchange"
TOO_MANY = "429 Too Many Requests"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def refusal(status: int) -> web.Response:
    """What the edge in front of the real venue answers: `null` for 429, HTML for a bad gateway."""
    if status == 429:
        return web.Response(status=429, body=b"null", content_type="application/json")
    if status == 502:
        return web.Response(
            status=502, text="<html><body><h1>502 Bad Gateway</h1></body></html>", content_type="text/html"
        )
    if status == 422:
        return web.Response(status=422, text=UNPROCESSABLE)
    return web.Response(status=status, text="Internal Server Error")


class HttpFaults:
    """Refuses requests and treats replies as the armed faults want it."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def refused(self, path: str) -> web.Response | None:
        """The refusal of a request that is not even looked at, or None."""
        for name, status in HTTP_BURSTS.items():
            if self.faults.take(name, path):
                return refusal(status)
        return None

    def refused_post(self) -> str | None:
        """The error text of a refused socket post, or None; an edge in front does not see single posts."""
        if self.faults.take("http_429_burst", EXCHANGE):
            return TOO_MANY
        return UNPROCESSABLE if self.faults.take("http_422_burst", EXCHANGE) else None

    def delay_ms(self, path: str) -> int:
        """How long a reply waits that is about to be sent; what makes it wait is counted."""
        names = ("delay_reply_ms", "fill_before_ack") if path == EXCHANGE else ("delay_reply_ms",)
        total = 0
        for name in names:
            if value := self.faults.value(name):
                self.faults.happened(name)
                total += value
        return total

    def encoded(self, reply: object) -> bytes:
        """The reply's JSON, with unknown keys where they are ordered."""
        if self.faults.value("extra_keys"):
            self.faults.happened("extra_keys")
            reply = disguise.with_extra_keys(reply)
        return orjson.dumps(reply)

    async def finish(self, request: web.BaseRequest, path: str, reply: object) -> web.StreamResponse:
        """Send a reply late, in part, or not at all, as it is ordered. What it tells has happened in any case."""
        if delay := self.delay_ms(path):
            await asyncio.sleep(delay / 1000)
        transport = request.transport
        if path == EXCHANGE and self.faults.take("drop_next_reply"):
            if transport is not None:
                transport.abort()
            return web.Response(status=500)
        body = self.encoded(reply)
        if self.faults.take("reset_mid_body", path):
            if transport is not None:
                await _send_half(transport, body)
            return web.Response(status=500)
        return JsonReply(body)

    def cut_post(self, socket: Socket, frame: bytes) -> bool:
        """Whether the socket is cut instead of, or in the middle of, answering a post."""
        if self.faults.take("drop_next_reply"):
            socket.abort()
            return True
        if self.faults.take("reset_mid_body", EXCHANGE):
            socket.send(frame[: len(frame) // 2])
            socket.abort()
            return True
        return False


async def _send_half(transport: asyncio.Transport, body: bytes) -> None:
    """Announce the whole body, send half of it, and reset the connection."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    transport.write(head + body[: len(body) // 2])
    # The client has the half before the reset can overtake it.
    await asyncio.sleep(0.01)
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError, ValueError):  # a client that was killed meanwhile has taken it along
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
