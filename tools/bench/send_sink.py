"""The far end of `bench send`: answers HTTP requests and WebSocket frames with the time at which they came.

It parses no more than it must, so that what is measured is the sender. One loopback port; prints it and serves until
its standard input is closed. With the argument `json-rpc` the time is told as the log of a blockchain node's answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
import time

import uvloop

_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_BODY = b'{"jsonrpc":"2.0","id":1,"result":{"code":0,"hash":"AB","log":"%d"}}' if "json-rpc" in sys.argv else b"%d"


class Sink(asyncio.Protocol):
    """One connection, of either kind."""

    def __init__(self) -> None:
        self._received = b""
        self._is_socket = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._received += data
        while self._received and (self._take_frame(now_ns) if self._is_socket else self._take_request(now_ns)):
            pass

    def _write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]

    def _take_request(self, now_ns: int) -> bool:
        end = self._received.find(_HEAD_END)
        if end < 0:
            return False
        head = self._received[:end].lower()
        key = head.find(b"sec-websocket-key:")
        if key >= 0:
            name_end = key + len(b"sec-websocket-key:")
            value = self._received[name_end : self._received.find(b"\r\n", name_end)].strip()
            accept = base64.b64encode(hashlib.sha1(value + _ACCEPT).digest())
            self._write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + _HEAD_END
            )
            self._is_socket = True
            self._received = self._received[end + 4 :]
            return True
        at = head.find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        whole = end + 4 + length
        if len(self._received) < whole:
            return False
        self._received = self._received[whole:]
        body = _BODY % now_ns
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    def _take_frame(self, now_ns: int) -> bool:
        data = self._received
        if len(data) < 2:
            return False
        size, start = data[1] & 0x7F, 2
        if size == 126:
            if len(data) < 4:
                return False
            size, start = int.from_bytes(data[2:4], "big"), 4
        whole = start + 4 + size
        if len(data) < whole:
            return False
        self._received = data[whole:]
        if data[0] & 0x0F == 1:
            body = b"%d" % now_ns
            self._write(bytes((0x81, len(body))) + body)
        return True


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve())
