"""HTTP and WebSocket as every venue needs them: encrypted or local, kept alive, watched, and backed off.

A failed request says what is known of its fate: `NotSent` means that no byte left, every other failure that the venue
may have acted. A socket that has gone silent is closed like one that broke, because nothing else tells the two apart.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from latentspeed.connectors.addresses import check_address
from latentspeed.connectors.errors import VenueUnreachable

log = logging.getLogger(__name__)


KEEP_ALIVE_S = 75.0
"""Longer than the interval of a connector's comparisons, so that one connection stays warm between orders."""


class TransportError(VenueUnreachable):
    """A request or a socket failed, and what the venue did with it is not known."""


class NotSent(TransportError):
    """The connection could not be made: nothing was sent."""


class HttpStatusError(TransportError):
    """The server answered with a status other than 200.

    Attributes:
        status: The HTTP status.
        text: The beginning of the body.
        retry_after: What the header of that name says, empty without one.
    """

    def __init__(self, status: int, text: str, retry_after: str = "") -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.text = text
        self.retry_after = retry_after


class BackOff:
    """Delays that double up to a cap, each between half and the whole of its step."""

    __slots__ = ("_cap_s", "_first_s", "_random", "_step_s")

    def __init__(self, first_s: float, cap_s: float, seed: int | None = None) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._step_s = first_s
        self._random = random.Random(seed)

    def next_s(self) -> float:
        """The next delay in seconds."""
        step_s = self._step_s
        self._step_s = min(self._cap_s, step_s * 2)
        return step_s * (0.5 + 0.5 * self._random.random())

    def reset(self) -> None:
        """Begins again with the first step."""
        self._step_s = self._first_s


class HttpClient:
    """JSON over one kept-alive session. Redirects are not followed: a signed body goes where it was meant to go."""

    def __init__(self, base_url: str, *, timeout_s: float, connections: int = 32) -> None:
        """Opens nothing yet.

        Raises:
            InsecureAddress: See `check_address`.
        """
        self.base_url = check_address(base_url)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, 10.0))
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, opened on first use in the running loop. Raises NotSent once it was closed."""
        if self._is_closed:
            raise NotSent(f"{self.base_url}: closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=300)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer.

        Raises:
            NotSent: No connection.
            HttpStatusError: A status other than 200.
            TransportError: Anything else; the server may have acted.
        """
        return await self._request("POST", path, {"data": body, "headers": {"Content-Type": "application/json"}})

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """The body of the answer to a question; raises as `post` does."""
        return await self._request("GET", path, {"params": query or {}})

    async def _request(self, method: str, path: str, options: dict[str, Any]) -> bytes:
        url = self.base_url + path
        try:
            async with self.session.request(method, url, allow_redirects=False, **options) as response:
                content = await response.read()
                if response.status != 200:
                    text = content[:300].decode("utf-8", "replace")
                    raise HttpStatusError(response.status, text, response.headers.get("Retry-After", ""))
                return content
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"{url}: no connection: {_describe(error)}") from None
        except TimeoutError:
            raise TransportError(f"{url}: no answer in {self._timeout.total} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"{url}: {_describe(error)}") from None

    async def close(self) -> None:
        """Closes the session and its connections, for good."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@dataclass(frozen=True, slots=True)
class SocketTiming:
    """How a socket is watched.

    Attributes:
        connect_timeout_s: How long opening may take.
        heartbeat_s: How often a ping is sent.
        silence_s: After how long without any frame the socket counts as dead.
        first_delay_s: The first wait before opening again.
        longest_delay_s: The longest wait.
        settled_s: How long a connection must have lived for the waits to begin anew.
    """

    connect_timeout_s: float = 10.0
    heartbeat_s: float = 15.0
    silence_s: float = 40.0
    first_delay_s: float = 0.25
    longest_delay_s: float = 30.0
    settled_s: float = 10.0


class WebSocketLink:
    """One socket that is opened again whenever it is lost, until it is stopped.

    The callbacks run in the loop's thread: `on_open` after each opening, `on_text` for each text frame, `on_lost` with
    the reason after each loss. What a callback raises is given to `on_callback_error` and does not end the socket.
    """

    def __init__(
        self,
        url: str,
        http: HttpClient,
        *,
        ping: Callable[[], str],
        on_open: Callable[[], None],
        on_text: Callable[[str, int], None],
        on_lost: Callable[[str], None],
        on_callback_error: Callable[[BaseException], None],
        timing: SocketTiming | None = None,
    ) -> None:
        self.url = check_address(url)
        self.opened = 0
        """How often the socket was opened."""
        self._http = http
        self._ping = ping
        self._on_open = on_open
        self._on_text = on_text
        self._on_lost = on_lost
        self._on_callback_error = on_callback_error
        self._timing = timing or SocketTiming()
        self._back_off = BackOff(self._timing.first_delay_s, self._timing.longest_delay_s)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._last_frame_mono = 0.0
        self._drop_reason = ""

    @property
    def is_open(self) -> bool:
        """True while frames can be sent."""
        return self._socket is not None and not self._socket.closed

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame of any kind."""
        return time.monotonic() - self._last_frame_mono

    def send(self, text: str) -> None:
        """Queues a frame for the open socket; without one it is dropped, because every opening starts anew."""
        if self.is_open:
            self._outgoing.put_nowait(text)

    async def send_now(self, text: str) -> None:
        """Writes a frame at once.

        Raises:
            NotSent: There is no open socket.
            TransportError: It broke while writing.
        """
        socket = self._socket
        if socket is None or socket.closed:
            raise NotSent(f"{self.url}: the socket is not open")
        try:
            await socket.send_str(text)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise TransportError(f"{self.url}: {_describe(error)}") from None

    def drop(self, reason: str) -> None:
        """Closes the socket, so that it is opened again."""
        self._drop_reason = reason
        if self._socket is not None:
            self._outgoing.put_nowait("")

    async def run(self) -> None:
        """Keeps the socket open until the task is cancelled."""
        while True:
            try:
                reason = await self._one_connection()
            except Exception as error:
                # Not foreseen, so reported in full; but a socket that stays away is worse than one that comes back.
                log.exception("the socket to %s failed", self.url)
                reason = _describe(error)
            self._call(self._on_lost, reason)
            await asyncio.sleep(self._back_off.next_s())

    async def _one_connection(self) -> str:
        """Opens the socket and serves it until it is lost; returns why."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timing.connect_timeout_s):
                socket = await self._http.session.ws_connect(
                    self.url,
                    autoping=True,
                    max_msg_size=64 * 1024 * 1024,
                    timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
                )
        except (aiohttp.ClientError, OSError, TimeoutError, NotSent) as error:
            return f"could not be opened: {_describe(error)}"
        self._socket = socket
        self._outgoing = asyncio.Queue()
        self._drop_reason = ""
        self._last_frame_mono = time.monotonic()
        self.opened += 1
        tasks = [asyncio.ensure_future(self._read(socket)), asyncio.ensure_future(self._write(socket))]
        try:
            self._call(self._on_open)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            first = done.pop()
            failure = first.exception()
            reason = first.result() if failure is None else _describe(failure)
        finally:
            self._socket = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await socket.close()
        if time.monotonic() - started > self._timing.settled_s:
            self._back_off.reset()
        return reason

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        while True:
            message = await socket.receive()
            self._last_frame_mono = time.monotonic()
            if message.type is aiohttp.WSMsgType.TEXT:
                try:
                    self._on_text(message.data, time.monotonic_ns())
                except Exception as error:
                    self._on_callback_error(error)
            elif message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
                return f"closed by the server: code {socket.close_code} {message.extra or ''}".rstrip()
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._on_callback_error(ValueError(f"a frame of {len(message.data)} bytes that is no text"))
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"broken: {message.data!r}"

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Sends what is queued, and the heartbeat; ends when the socket is silent or dropped."""
        next_ping = time.monotonic() + self._timing.heartbeat_s
        while True:
            wait_s = min(next_ping, self._last_frame_mono + self._timing.silence_s) - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, wait_s)):
                    text = await self._outgoing.get()
            except TimeoutError:
                if self.silent_s >= self._timing.silence_s:
                    return f"silent for {self.silent_s:.1f} s"
                if time.monotonic() < next_ping:
                    continue
                text = self._ping()
                next_ping = time.monotonic() + self._timing.heartbeat_s
            if self._drop_reason:
                return self._drop_reason
            await socket.send_str(text)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            self._on_callback_error(error)
