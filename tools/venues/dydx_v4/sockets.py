"""The indexer's sockets: channels with snapshots and updates, batched or not, and their limits."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import aiohttp
import orjson
from aiohttp import web

from latentspeed.tools.venues.dydx_v4.rows import Row
from latentspeed.tools.venues.dydx_v4.tellings import Tellings

PARENTS: Final = 128
PER_CHANNEL: Final = {
    "v4_markets": 32,
    "v4_orderbook": 32,
    "v4_trades": 32,
    "v4_candles": 32,
    "v4_subaccounts": 256,
    "v4_parent_subaccounts": 256,
    "v4_block_height": 1,
}
VERSIONS: Final = {"v4_subaccounts": "3.0.0", "v4_parent_subaccounts": "3.0.0", "v4_trades": "2.1.0"}
UNNAMED: Final = frozenset({"v4_markets", "v4_block_height"})
SUBSCRIBES_A_SECOND: Final = 2
_SUBACCOUNT: Final = re.compile(r"^dydx1[0-9a-z]{38,}/\d{1,6}$")

Topic = tuple[str, str]
Snapshot = Callable[[str, str], Row | None]
"""The snapshot of a channel's name, or None when there is no such name."""


class Connection:
    """One client."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.id = str(uuid4())
        self.socket = socket
        self.last_message_id = 0
        self.topics: dict[Topic, bool] = {}
        """What it has subscribed to, and whether batched."""
        self.attempts: dict[Topic, deque[float]] = {}
        self.outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.is_silent = False
        self.ended_height: int | None = None
        """The chain's height when it ended."""

    def send(self, kind: str, *, counts: bool = True, **fields: Any) -> None:
        """Queues a message."""
        if counts:
            self.last_message_id += 1
        if not self.is_silent:
            message = {"type": kind, "connection_id": self.id, "message_id": self.last_message_id, **fields}
            self.outgoing.put_nowait(orjson.dumps(message))

    def error(self, text: str, **fields: Any) -> None:
        """Queues an error, which does not count."""
        self.send("error", counts=False, message=text, **fields)


class Sockets:
    """All connections and their subscriptions; it is what the indexer publishes to."""

    def __init__(
        self, snapshot: Snapshot, *, batch_ms: int, ping_s: float = 30.0, height: Callable[[], int] = lambda: 0
    ) -> None:
        self._snapshot = snapshot
        self.tellings = Tellings(height)
        self._batch_s = batch_ms / 1000
        self._ping_s = ping_s
        self._topics: dict[Topic, dict[Connection, bool]] = {}
        self._batches: dict[tuple[Topic, int | None], list[Row]] = {}
        self._flush: asyncio.TimerHandle | None = None
        self.connections: set[Connection] = set()
        self.refuses_snapshots = 0
        """A fault: so many snapshots cannot be fetched."""
        self.lost = 0
        """A fault: so many messages are lost."""
        self.held_back = 0
        """A fault: so many messages come after the next one of another channel."""
        self._held: list[tuple[Topic, Row, int | None]] = []
        self.copies = 1
        """A fault: how often each message is told."""
        self.stranger: Row = {}
        """A fault: fields that every row of every message has besides its own."""
        self.answers_pings = True
        """Whether the pings of clients are answered. A fault where not."""
        self.past: dict[Topic, bytes] = {}
        """A fault: what new subscriptions begin with, instead of what is."""

    # --- from the indexer ---

    def publish(self, channel: str, name: str, contents: Row) -> None:
        """Tells subscribers of `name` in a channel."""
        self._publish((channel, name), contents, None)

    def publish_subaccount(self, owner: str, number: int, contents: Row) -> None:
        """Tells subscribers of a subaccount, and those of its parent."""
        self._publish(("v4_subaccounts", f"{owner}/{number}"), contents, None)
        self._publish(("v4_parent_subaccounts", f"{owner}/{number % PARENTS}"), contents, number)

    def _publish(self, topic: Topic, contents: Row, number: int | None) -> None:
        subscribers = self._topics.get(topic)
        if not subscribers:
            return
        if self.lost:
            self.lost -= 1
            return
        if self.held_back:
            self.held_back -= 1
            self._held.append((topic, contents, number))
            return
        self._send_out(topic, contents, number)
        if self._held and any(held[0][0] != topic[0] for held in self._held):
            held, self._held = self._held, []
            for one in held:
                self._send_out(*one)

    def _send_out(self, topic: Topic, contents: Row, number: int | None) -> None:
        subscribers = self._topics.get(topic, {})
        if self.stranger:
            contents = _with_fields(contents, self.stranger)
        removed = [row for row in contents.get("orders", ()) if "removalReason" in row]
        for connection, is_batched in subscribers.items():
            self.tellings.note(removed, connection)
            for _ in range(self.copies if not is_batched else 0):
                connection.send("channel_data", **_about(topic, number), contents=contents)
        if any(subscribers.values()):
            self._batches.setdefault((topic, number), []).append(contents)
            if self._flush is None:
                self._flush = asyncio.get_running_loop().call_later(self._batch_s, self.flush)

    def flush(self) -> None:
        """Sends what batched subscribers wait for: one frame for each channel, name and subaccount."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        batches, self._batches = self._batches, {}
        for (topic, number), contents in batches.items():
            for connection, is_batched in list(self._topics.get(topic, {}).items()):
                if is_batched:
                    connection.send("channel_batch_data", **_about(topic, number), contents=contents)

    # --- from clients ---

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one connection until it ends."""
        socket = web.WebSocketResponse(heartbeat=self._ping_s, max_msg_size=1 << 20, autoping=False)
        try:
            await socket.prepare(request)
        except ConnectionError:
            return web.Response()  # To nobody: the client has gone.
        connection = Connection(socket)
        self.connections.add(connection)
        writer = asyncio.create_task(self._write(connection))
        connection.send("connected", counts=False)
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._on_text(connection, message.data)
                elif message.type is aiohttp.WSMsgType.PING and self.answers_pings:
                    await socket.pong(message.data)
        finally:
            self._forget(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    @staticmethod
    async def _write(connection: Connection) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                message = await connection.outgoing.get()
                if message is None:
                    await connection.socket.close(code=1008, message=b"Policy violation")
                    return
                await connection.socket.send_str(message.decode())

    def _on_text(self, connection: Connection, text: str) -> None:
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            connection.error("Invalid message: could not parse")
            return
        kind = message.get("type") if isinstance(message, dict) else None
        if kind is None:
            connection.error("Invalid message: type is required")
        elif kind in ("subscribe", "unsubscribe"):
            self._on_subscription(connection, kind, message)
        elif kind != "ping":
            connection.error(f"Invalid message type: {kind}")

    def _on_subscription(self, connection: Connection, kind: str, message: Row) -> None:
        channel = message.get("channel")
        if channel not in PER_CHANNEL:
            connection.error(f"Invalid channel: {channel}")
            return
        name = str(message.get("id") or (channel if channel in UNNAMED else ""))
        topic = (channel, name)
        if kind == "unsubscribe":
            connection.topics.pop(topic, None)
            self._topics.get(topic, {}).pop(connection, None)
            connection.send("unsubscribed", **_about(topic, None))
            return
        if not self._may_subscribe(connection, topic):
            return
        if self.refuses_snapshots:
            self.refuses_snapshots -= 1
            text = f"Internal error, could not fetch data for subscription: {channel}."
            connection.error(text, channel=channel, id=name)
            return
        contents = orjson.Fragment(self.past[topic]) if topic in self.past else self._snapshot(channel, name)
        if contents is None:
            connection.error(f"Invalid subscription id for channel: ({channel}-{name})")
            return
        connection.send("subscribed", **_about(topic, None, versioned=False), contents=contents)
        is_batched = bool(message.get("batched", False))
        connection.topics[topic] = is_batched
        self._topics.setdefault(topic, {})[connection] = is_batched

    def _may_subscribe(self, connection: Connection, topic: Topic) -> bool:
        channel, name = topic
        now = time.monotonic()
        attempts = connection.attempts.setdefault(topic, deque())
        while attempts and attempts[0] < now - 1.0:
            attempts.popleft()
        attempts.append(now)
        if len(attempts) > SUBSCRIBES_A_SECOND:
            text = f"Too many subscribe attempts for channel {channel}-{name}. Please reconnect and try again."
            connection.error(text)
            connection.outgoing.put_nowait(None)
            return False
        if topic in connection.topics:
            connection.error(f"Invalid subscribe message: already subscribed ({channel}-{name})")
            return False
        count = Counter(known for known, _ in connection.topics)[channel]
        if count >= PER_CHANNEL[channel]:
            limit = PER_CHANNEL[channel]
            connection.error(f"Per-connection subscription limit reached for {channel} (limit={limit}).")
            return False
        return True

    def _forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        connection.ended_height = self.tellings.height()
        for topic in connection.topics:
            self._topics.get(topic, {}).pop(connection, None)

    # --- faults ---

    async def drop_all(self, *, code: int | None = 1012) -> None:
        """Closes every connection, with a close frame or, for no code, without."""
        for connection in list(self.connections):
            if code is None:
                transport = connection.socket._req.transport if connection.socket._req is not None else None
                if transport is not None:
                    transport.abort()
            else:
                await connection.socket.close(code=code, message=b"Service restart")

    def set_silent(self, is_silent: bool) -> None:
        """Lets open connections hear nothing more, while they stay open."""
        for connection in self.connections:
            connection.is_silent = is_silent

    def keep_snapshots(self, is_on: bool) -> None:
        """Lets whoever subscribes from now on begin with what is now, as from a cache that nobody refreshes; or not."""
        now = {topic: self._snapshot(*topic) for topic in self._topics} if is_on else {}
        self.past = {topic: orjson.dumps(contents) for topic, contents in now.items() if contents is not None}

    async def close(self) -> None:
        """Ends all connections."""
        if self._flush is not None:
            self._flush.cancel()
        await self.drop_all(code=1001)


def is_subaccount_name(name: str) -> bool:
    """Whether a name is an address and a number."""
    return _SUBACCOUNT.match(name) is not None


def _about(topic: Topic, number: int | None, *, versioned: bool = True) -> Row:
    """What a message says of where it belongs; the markets' have no name."""
    channel, name = topic
    about: Row = {"channel": channel}
    if channel != "v4_markets":
        about["id"] = name
    if versioned:
        about["version"] = VERSIONS.get(channel, "1.0.0")
    if number is not None:
        about["subaccountNumber"] = number
    return about


def _with_fields(found: Any, more: Row) -> Any:
    """The same with further fields in every object."""
    if isinstance(found, dict):
        return {**{name: _with_fields(value, more) for name, value in found.items()}, **more}
    if isinstance(found, list):
        return [_with_fields(value, more) for value in found]
    return found
