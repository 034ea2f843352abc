"""One WebSocket connection of a client: frames out without a copy per subscriber, frames in, control messages."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from latentspeed.tools.venues.hyperliquid.subscriptions import Key, Subscription

HIGHEST_BACKLOG = 16 * 1024 * 1024
TEXT_FRAME = b"\x81"


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked text frame, made once and written to every subscriber."""
    size = len(payload)
    if size < 126:
        return TEXT_FRAME + bytes((size,)) + payload
    if size < 65536:
        return TEXT_FRAME + b"\x7e" + size.to_bytes(2, "big") + payload
    return TEXT_FRAME + b"\x7f" + size.to_bytes(8, "big") + payload


def message_frame(channel: str, data: Any) -> bytes:
    """The frame of one channel message."""
    return text_frame(orjson.dumps({"channel": channel, "data": data}))


class Socket:
    """A client's socket. Frames go straight to the transport: sending never waits and never fails.

    A client that does not read is cut off once its backlog grows beyond 16 MiB.
    """

    __slots__ = ("_transport", "ip", "last_sent", "pending_posts", "subscriptions")

    def __init__(self, transport: asyncio.Transport, ip: str) -> None:
        self._transport = transport
        self.ip = ip
        self.subscriptions: dict[Key, Subscription] = {}
        self.pending_posts = 0
        self.last_sent = time.monotonic()

    def send(self, frame: bytes) -> None:
        """Write one frame, or nothing when the connection is closing."""
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(frame)
        self.last_sent = time.monotonic()
        if transport.get_write_buffer_size() > HIGHEST_BACKLOG:
            transport.abort()

    def error(self, text: str) -> None:
        """Send an error message."""
        self.send(message_frame("error", text))

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and hang up."""
        if not self._transport.is_closing():
            body = code.to_bytes(2, "big") + reason.encode()
            self._transport.write(b"\x88" + bytes((len(body),)) + body)
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether frames still go out."""
        return not self._transport.is_closing()

    @property
    def users(self) -> set[str]:
        """Addresses that this socket follows."""
        return {sub.user for sub in self.subscriptions.values() if sub.user is not None}
