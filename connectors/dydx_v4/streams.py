"""The indexer's socket: subscriptions that come back after every loss, and frames to whoever takes their channel."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import orjson

from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.messages import MalformedMessage
from latentspeed.connectors.transport import HttpClient, SocketTiming, WebSocketLink

Topic = tuple[str, str]
"""Channel and id; the id is empty for channels that have none."""
Handler = Callable[[str, msgspec.Raw, bool, int], None]
"""Takes an id, the contents, whether they are a snapshot, and the monotonic time of arrival in nanoseconds."""

PING = '{"type":"ping"}'


class Streams:
    """One socket with its subscriptions."""

    def __init__(
        self,
        url: str,
        http: HttpClient,
        handlers: dict[str, Handler],
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_error: Callable[[str, str], None],
        timing: SocketTiming,
    ) -> None:
        """Opens nothing yet.

        Args:
            url: Of the socket.
            http: Whose session opens it.
            handlers: Who takes which channel.
            on_up: Called when every subscription is confirmed after an opening.
            on_down: Called with the reason when the socket was lost.
            on_error: Called with a code and a text for what could not be understood.
            timing: How the socket is watched.
        """
        self.messages = 0
        self._handlers = handlers
        self._on_up = on_up
        self._on_down = on_down
        self._on_error = on_error
        self._wanted: dict[Topic, None] = {}
        self._unconfirmed: set[Topic] = set()
        self._is_connected = False
        self.is_up = False
        """Whether every subscription of this opening is confirmed."""
        self.link = WebSocketLink(
            url,
            http,
            ping=lambda: PING,
            on_open=self._opened,
            on_text=self._received,
            on_lost=self._lost,
            on_callback_error=lambda error: on_error("stream_handler", repr(error)),
            timing=timing,
        )

    def subscribe(self, channel: str, name: str = "") -> None:
        """Wants a channel from now on."""
        topic = (channel, name)
        if topic not in self._wanted:
            self._wanted[topic] = None
            if self._is_connected:
                self._ask(topic)

    def _ask(self, topic: Topic) -> None:
        channel, name = topic
        asked: dict[str, object] = {"type": "subscribe", "channel": channel, "batched": False}
        if name:
            asked["id"] = name
        self._unconfirmed.add(topic)
        self.link.send(orjson.dumps(asked).decode())

    def _opened(self) -> None:
        self._is_connected = self.is_up = False
        self._unconfirmed.clear()

    def _lost(self, reason: str) -> None:
        self._is_connected = self.is_up = False
        self._on_down(reason)

    def _received(self, text: str, mono_ns: int) -> None:
        self.messages += 1
        try:
            frame = messages.ENVELOPE.decode(text)
            kind = frame.type
            if kind in ("channel_data", "subscribed"):
                self._deliver(frame, frame.contents, kind == "subscribed", mono_ns)
            elif kind == "channel_batch_data":
                for part in msgspec.json.decode(frame.contents, type=list[msgspec.Raw]):
                    self._deliver(frame, part, False, mono_ns)
            elif kind == "connected":
                self._is_connected = True
                for topic in self._wanted:
                    self._ask(topic)
            elif kind == "error":
                self._refused(frame)
            elif kind not in ("unsubscribed", "pong"):
                self._on_error("unknown_message", text[:200])
        except MalformedMessage as error:
            self._on_error("malformed_message", f"{error}: {text[:200]!r}")

    def _deliver(self, frame: messages.Envelope, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        handler = self._handlers.get(frame.channel)
        if handler is None:
            self._on_error("unknown_channel", f"{frame.channel!r}: {bytes(contents)[:200]!r}")
            return
        try:
            handler(frame.id, contents, is_snapshot, mono_ns)
        except (*MalformedMessage, ValueError) as error:
            self._on_error("malformed_message", f"{frame.channel}: {error}: {bytes(contents)[:200]!r}")
        if is_snapshot:
            # Channels without an id of their own answer with an id all the same.
            self._unconfirmed.discard((frame.channel, frame.id))
            self._unconfirmed.discard((frame.channel, ""))
            if not self._unconfirmed and not self.is_up:
                self.is_up = True
                self._on_up()

    def _refused(self, frame: messages.Envelope) -> None:
        """A subscription that was not made is asked for again with the next opening; another error is told only."""
        self._on_error("stream_error", frame.message[:500])
        if self._unconfirmed and "already subscribed" not in frame.message:
            self.link.drop(f"a subscription was refused: {frame.message[:200]}")
