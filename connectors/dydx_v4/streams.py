"""The indexer's socket: subscriptions that come back after every loss, and frames to whoever takes their channel."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import msgspec
import orjson

from latentspeed.connectors.channels import Channel, ChannelWatch
from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.transport import HttpClient, SocketTiming, WebSocketLink

Topic = tuple[str, str]
"""Channel and id; the id is empty for channels that have none."""
Handler = Callable[[str, msgspec.Raw, bool, int], None]
"""Takes an id, the contents, whether they are a snapshot, and the monotonic time of arrival in nanoseconds."""

PING = '{"type":"ping"}'
MOST_MARKETS = 32
"""Subscriptions of one channel that a connection may have."""
ASK_AGAIN_S = 1.0
"""How soon a subscription is asked for again whose snapshot the indexer could not fetch."""
ACCOUNTS = ("v4_subaccounts", "v4_parent_subaccounts")
"""The channels that are named by an address and a number, which is no market."""
REGULAR = "v4_block_height"
"""The channel that speaks with each block: its silence is a fault."""
_INVALID_NAME = re.compile(r"^Invalid subscription id for channel: \((v4_[a-z_]+)-(.+)\)$")


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
        watch: ChannelWatch | None = None,
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
            watch: Where it is shown how each subscription is doing.
        """
        self.messages = 0
        self.malformed = 0
        """Frames, or parts of them, that could not be understood."""
        self.watch = ChannelWatch() if watch is None else watch
        self._channels: dict[Topic, Channel] = {}
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
            pair = "" if channel in ACCOUNTS else name
            self._channels[topic] = self.watch.add(channel, pair, is_regular=channel == REGULAR)
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
        self.watch.came_up()
        self._is_connected = self.is_up = False
        self._unconfirmed.clear()

    def _lost(self, reason: str) -> None:
        self.watch.went_down()
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
            self.malformed += 1
            self._on_error("malformed_message", f"{error}: {text[:200]!r}")

    def _deliver(self, frame: messages.Envelope, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        handler = self._handlers.get(frame.channel)
        if handler is None:
            self.malformed += 1
            self._on_error("unknown_channel", f"{frame.channel!r}: {bytes(contents)[:200]!r}")
            return
        # Channels without an id of their own answer with an id all the same.
        topic = (frame.channel, frame.id)
        if topic not in self._channels:
            topic = (frame.channel, "")
        channel = self._channels.get(topic)
        if channel is None:
            self.malformed += 1
            self._on_error("unknown_channel", f"{frame.channel!r} of {frame.id!r:.80}, which nobody has asked for")
            return
        try:
            handler(_about(frame), contents, is_snapshot, mono_ns)
        except (*MalformedMessage, ValueError, ArithmeticError) as error:
            self.malformed += 1
            self._on_error("malformed_message", f"{frame.channel}: {error!r}: {bytes(contents)[:200]!r}")
        else:
            channel.heard(mono_ns)
        if is_snapshot:
            channel.confirmed_mono_ns = mono_ns
            self._confirmed(topic)

    def _confirmed(self, topic: Topic) -> None:
        self._unconfirmed.discard(topic)
        if not self._unconfirmed and not self.is_up:
            self.is_up = True
            self._on_up()

    def _refused(self, frame: messages.Envelope) -> None:
        """A subscription whose snapshot could not be fetched is asked for again, one of a market that does not exist is
        given up; after any other refusal all are asked for with the next opening."""
        self._on_error("stream_error", frame.message[:500])
        topic = (frame.channel, frame.id)
        invalid = _INVALID_NAME.match(frame.message)
        if invalid is not None and (refused := (invalid[1], invalid[2])) in self._unconfirmed:
            self._channels[refused].is_refused = True
            self._confirmed(refused)
        elif frame.message.startswith("Internal error") and topic in self._unconfirmed:
            opened = self.link.opened
            asyncio.get_running_loop().call_later(ASK_AGAIN_S, self._ask_again, topic, opened)
        elif self._unconfirmed and "already subscribed" not in frame.message:
            self.link.drop(f"a subscription was refused: {frame.message[:200]}")

    def _ask_again(self, topic: Topic, opened: int) -> None:
        if opened == self.link.opened and topic in self._unconfirmed and self._is_connected:
            self._ask(topic)


def _about(frame: messages.Envelope) -> str:
    """What a frame is about: its id, with the child's number where a parent is told of a child."""
    if frame.subaccount_number is None:
        return frame.id
    return f"{frame.id.partition('/')[0]}/{frame.subaccount_number}"
