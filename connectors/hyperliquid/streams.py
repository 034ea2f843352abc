"""The venue's WebSocket: subscriptions that survive reconnects, dispatch by channel, and requests posted through it.

A connection counts as up when the venue has confirmed every subscription that was wanted when it opened. There are no
sequence numbers and there is no resume: what happened while the socket was away is fetched by the connector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import orjson

from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.rate_limit import RateLimit
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import HttpClient, NotSent, SocketTiming, TransportError, WebSocketLink

Subscription = dict[str, Any]
Handler = Callable[[msgspec.Raw, int], None]
"""Takes the data of a message, still as bytes, and the monotonic nanoseconds at which it was received."""

Key = tuple[tuple[str, str], ...]
"""What tells subscriptions apart."""

GREETING = "Websocket connection established."
MAX_POSTS_IN_FLIGHT = 90
"""The venue allows 100 an address."""
OPENINGS_A_MINUTE, MESSAGES_A_MINUTE, MAX_SUBSCRIPTIONS = 30.0, 2000.0, 1000
"""What the venue allows an address, all sockets together."""


def subscription_key(subscription: Subscription) -> Key:
    """What tells subscriptions apart; the venue's echo has more keys and lower-case addresses."""
    return tuple(
        (name, str(subscription[name]).lower() if name == "user" else str(subscription[name]))
        for name in ("type", "coin", "user", "dex", "interval")
        if name in subscription and subscription[name] not in (None, "")
    )


class Streams:
    """One socket with its subscriptions."""

    def __init__(
        self,
        url: str,
        http: HttpClient,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_error: Callable[[str, str], None],
        on_fault: Callable[[str, BaseException, str], None] | None = None,
        confirm_timeout_s: float = 10.0,
        request_timeout_s: float = 5.0,
        timing: SocketTiming | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            url: Address of the socket.
            http: Whose session opens it.
            on_up: Called after each opening, once every subscription is confirmed.
            on_down: Called with the reason after each loss.
            on_error: Called with a code and a text for what could not be understood or was refused.
            on_fault: Called with what was done, an exception that nobody foresaw, and a code; None tells `on_error`.
            confirm_timeout_s: How long the venue may take to confirm before the socket is opened again.
            request_timeout_s: How long an answer to a posted request is waited for.
            timing: How the socket is watched.
        """
        self.link = WebSocketLink(
            url,
            http,
            ping=lambda: '{"method":"ping"}',
            on_open=self._opened,
            on_text=self._received,
            on_lost=self._lost,
            on_callback_error=self._failed,
            timing=timing,
        )
        self._on_fault = on_fault or (lambda what, error, code: on_error(code, f"{what}: {error!r}"))
        self.is_up = False
        self.messages = 0
        """Frames received since the start."""
        self.openings = WeightBudget(OPENINGS_A_MINUTE, 60.0)
        self.sent = WeightBudget(MESSAGES_A_MINUTE, 60.0)
        """What of the venue's limits for sockets is used."""
        self.on_subscription: Callable[[Key, str], None] = lambda key, text: None
        """Called when the venue has confirmed a subscription, or with its text when it has refused it."""
        self._handlers: dict[str, Handler] = {
            "subscriptionResponse": self._on_confirmed,
            "pong": lambda data, mono_ns: None,
            "error": self._on_error_frame,
            "post": self._on_post_reply,
        }
        self._wanted: dict[Key, Subscription] = {}
        self._unconfirmed: set[Key] = set()
        self._leaving: set[Key] = set()
        self._confirm_timer: asyncio.TimerHandle | None = None
        self._posts: dict[int, asyncio.Future[messages.PostResponse]] = {}
        self._last_post = 0
        self._on_up = on_up
        self._on_down = on_down
        self._on_error = on_error
        self._confirm_timeout_s = confirm_timeout_s
        self._request_timeout_s = request_timeout_s

    # --- subscriptions ---

    def set_handler(self, channel: str, handler: Handler) -> None:
        """Names who takes the messages of a channel."""
        self._handlers[channel] = handler

    def subscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Wants these from now on, through every reconnect."""
        for subscription in subscriptions:
            key = subscription_key(subscription)
            if key in self._wanted:
                continue
            if len(self._wanted) >= MAX_SUBSCRIPTIONS:
                self.on_subscription(key, f"more than {MAX_SUBSCRIPTIONS} subscriptions")
                self._on_error("subscription_refused", f"{subscription}: more than {MAX_SUBSCRIPTIONS} subscriptions")
                continue
            self._wanted[key] = subscription
            if self.link.is_open and key not in self._leaving:
                self._send_subscribe(key)

    def unsubscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Wants these no longer."""
        for subscription in subscriptions:
            key = subscription_key(subscription)
            if self._wanted.pop(key, None) is None:
                continue
            self._unconfirmed.discard(key)
            if self.link.is_open:
                self._leaving.add(key)
                self.sent.take(1)
                self.link.send(_frame("unsubscribe", subscription))
        self._check_up()

    def _send_subscribe(self, key: Key) -> None:
        self._unconfirmed.add(key)
        self.sent.take(1)
        self.link.send(_frame("subscribe", self._wanted[key]))

    def rate_limits(self) -> list[RateLimit]:
        """What of the venue's limits for sockets is used now."""
        return [
            RateLimit("open_posts", len(self._posts), MAX_POSTS_IN_FLIGHT),
            RateLimit("subscriptions", len(self._wanted), MAX_SUBSCRIPTIONS),
            RateLimit("socket_openings", self.openings.used, OPENINGS_A_MINUTE),
            RateLimit("socket_messages", self.sent.used, MESSAGES_A_MINUTE),
        ]

    def _opened(self) -> None:
        self.openings.take(1)
        self._leaving.clear()
        self._unconfirmed.clear()
        for key in self._wanted:
            self._send_subscribe(key)
        loop = asyncio.get_running_loop()
        self._confirm_timer = loop.call_later(self._confirm_timeout_s, self._confirm_timed_out)
        self._check_up()

    def _confirm_timed_out(self) -> None:
        if self._unconfirmed and not self.is_up:
            missing = sorted("/".join(value for _, value in key) for key in self._unconfirmed)
            self.link.drop(f"not confirmed in {self._confirm_timeout_s} s: {', '.join(missing)}")

    def _lost(self, reason: str) -> None:
        if self._confirm_timer is not None:
            self._confirm_timer.cancel()
            self._confirm_timer = None
        self.is_up = False
        posts, self._posts = self._posts, {}
        for future in posts.values():
            if not future.done():
                future.set_exception(TransportError(f"the socket was lost: {reason}"))
        self._on_down(reason)

    def _check_up(self) -> None:
        if not self.is_up and self.link.is_open and not self._unconfirmed:
            self.is_up = True
            if self._confirm_timer is not None:
                self._confirm_timer.cancel()
                self._confirm_timer = None
            self._on_up()

    # --- frames ---

    def _received(self, text: str, mono_ns: int) -> None:
        self.messages += 1
        try:
            envelope = messages.ENVELOPE.decode(text)
        except MalformedMessage as error:
            if text != GREETING:
                self._on_error("malformed_message", f"{error}: {text[:200]!r}")
            return
        handler = self._handlers.get(envelope.channel)
        if handler is None:
            self._on_error("unknown_channel", f"{envelope.channel!r}: {bytes(envelope.data)[:200]!r}")
            return
        try:
            handler(envelope.data, mono_ns)
        except MalformedMessage as error:
            self._on_error("malformed_message", f"{envelope.channel}: {error}: {bytes(envelope.data)[:200]!r}")

    def _failed(self, error: BaseException) -> None:
        self._on_fault("a handler of the stream", error, "stream_handler")

    def _on_confirmed(self, data: msgspec.Raw, mono_ns: int) -> None:
        response = messages.SUBSCRIPTION_RESPONSE.decode(data)
        key = subscription_key(response.subscription)
        if response.method == "subscribe":
            self._confirmed(key)
        else:
            self._left(key)

    def _confirmed(self, key: Key) -> None:
        self._unconfirmed.discard(key)
        self.on_subscription(key, "")
        self._check_up()

    def _left(self, key: Key) -> None:
        """An unsubscription is done; it may have been wanted again meanwhile."""
        self._leaving.discard(key)
        if key in self._wanted:
            self._send_subscribe(key)

    def _on_error_frame(self, data: msgspec.Raw, mono_ns: int) -> None:
        text = messages.TEXT.decode(data)
        subscription = _subscription_in(text)
        if subscription is not None and text.startswith("Already subscribed"):
            self._confirmed(subscription_key(subscription))
            return
        if subscription is not None and text.startswith("Already unsubscribed"):
            self._left(subscription_key(subscription))
            return
        if subscription is not None and text.startswith("Invalid subscription"):
            self._refused(subscription_key(subscription), text)
            return
        if "too many pending post requests" in text:
            self._fail_post(text)
        self._on_error("stream_error", text[:500])

    def _refused(self, key: Key, text: str) -> None:
        """One that is not to be had, such as a market that was delisted, must not keep the others waiting.

        Without the account's own streams nothing can be traded, so that those are asked for until they are confirmed.
        """
        self.on_subscription(key, text)
        self._on_error("subscription_refused", text[:500])
        if key in self._unconfirmed and not any(name == "user" for name, _ in key):
            self._unconfirmed.discard(key)
            self._check_up()

    # --- posts ---

    @property
    def posts_in_flight(self) -> int:
        """Requests posted and not answered yet."""
        return len(self._posts)

    async def post_action(self, body: bytes) -> msgspec.Raw:
        """Sends a signed request through the socket and returns the answer as `/exchange` would give it.

        Raises:
            NotSent: The socket is not open, or too many requests are on their way.
            TransportError: The socket was lost, the venue did not answer in time, or it answered with an error.
        """
        if len(self._posts) >= MAX_POSTS_IN_FLIGHT:
            raise NotSent(f"{len(self._posts)} posted requests are unanswered")
        self._last_post += 1
        number = self._last_post
        future: asyncio.Future[messages.PostResponse] = asyncio.get_running_loop().create_future()
        try:
            self.sent.take(1)
            frame = f'{{"method":"post","id":{number},"request":{{"type":"action","payload":{body.decode()}}}}}'
            self._posts[number] = future
            await self.link.send_now(frame)
            async with asyncio.timeout(self._request_timeout_s):
                response = await future
        except TimeoutError:
            raise TransportError(f"no answer to post {number} in {self._request_timeout_s} s") from None
        finally:
            self._posts.pop(number, None)
        if response.type != "action":
            raise TransportError(f"post {number} was answered with {response.type}: {bytes(response.payload)[:200]!r}")
        return response.payload

    def _on_post_reply(self, data: msgspec.Raw, mono_ns: int) -> None:
        reply = messages.POST_REPLY.decode(data)
        future = self._posts.get(reply.id)
        if future is None or future.done():
            self._on_error("late_reply", f"post {reply.id}: {bytes(reply.response.payload)[:200]!r}")
            return
        # The frame's memory is the message's own, so the payload may outlive this call.
        future.set_result(reply.response)

    def _fail_post(self, text: str) -> None:
        digits = text.rpartition("id=")[2].strip()
        future = self._posts.get(int(digits)) if digits.isdigit() else None
        if future is not None and not future.done():
            future.set_exception(NotSent(text))


def _frame(method: str, subscription: Subscription) -> str:
    return orjson.dumps({"method": method, "subscription": subscription}).decode()


def _subscription_in(text: str) -> Subscription | None:
    """The subscription that an error text quotes."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        value = orjson.loads(text[start:])
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
