"""Orders over warm HTTP/1.1 connections: a request is on the socket when the call that makes it returns.

A general HTTP client costs more than the signature of the order that it carries. Here the head of the request is made
once, the body is written at once by a plain call, and the answer is parsed by llhttp::

    post(body) --> idle connection: head | length | body to the socket --> answer --> future
               --> none idle:       a new connection first, up to a bound; beyond it, first come first served

A request is written once. Whatever breaks afterwards is a `TransportError`: the venue may have acted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import httptools

from latentspeed.connectors.addresses import check_address
from latentspeed.connectors.transport import BackOff, HttpStatusError, NotSent, TransportError

CONNECT_TIMEOUT_S = 10.0
LONGEST_REST_S = 55.0
"""How long a connection may wait for a request. Many servers close after 60 s, and a request that crosses with that is
an order of which nobody knows what became."""
LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of one answer; a longer one closes the connection."""
ERROR_TEXT = 300
"""Bytes of an answer's body that an error shows."""

Answer = asyncio.Future[bytes]
log = logging.getLogger(__name__)


class HttpLine:
    """POST requests to one path of one server. Used in the thread of the running loop."""

    def __init__(self, base_url: str, path: str, *, timeout_s: float, connections: int = 16, warm: int = 2) -> None:
        """Opens nothing yet.

        Args:
            base_url: Scheme, host and port.
            path: What every request asks for.
            timeout_s: How long an answer may take.
            connections: The most that are open at once.
            warm: How many are kept open once `open` was called, so that an order finds one.

        Raises:
            InsecureAddress: Plain text to another machine.
        """
        self.url = check_address(base_url) + path
        parts = urlsplit(self.url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: latentspeed\r\n"
            "Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode("ascii")
        self._timeout_s = timeout_s
        self._most = connections
        self._warm = warm
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._waiting: deque[tuple[bytes, Answer]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._back_off = BackOff(0.5, 30.0)
        self._top_up_timer: asyncio.TimerHandle | None = None
        self._is_kept_warm = False
        self._is_closed = False

    async def open(self) -> None:
        """Opens the connections that are kept warm; one that cannot be opened now is tried again later."""
        self._is_kept_warm = True
        self._top_up()
        if self._opening:
            await asyncio.wait(self._opening)

    def post(self, body: bytes) -> Answer:
        """Writes the request at once where a connection is idle; the future is the body of the answer.

        The future fails with NotSent where no byte left, with HttpStatusError for a status other than 200, and with
        TransportError for anything else: the server may have acted.
        """
        answer: Answer = asyncio.get_running_loop().create_future()
        if self._is_closed:
            answer.set_exception(NotSent(f"{self.url}: closed"))
        elif self._idle:
            self._idle.pop().send(body, answer)
        else:
            self._waiting.append((body, answer))
            if len(self._open) + len(self._opening) < self._most:
                self._start_opening()
        return answer

    async def close(self) -> None:
        """Closes every connection, for good; what waits for one was not sent."""
        self._is_closed = True
        if self._top_up_timer is not None:
            self._top_up_timer.cancel()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        self._refuse_waiting("closed")
        for connection in list(self._open):
            connection.close("closed")

    # --- connections ---

    def _start_opening(self) -> None:
        task = asyncio.get_running_loop().create_task(self._open_one())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_one(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT_S, self._timeout_s)):
                await loop.create_connection(
                    lambda: _Connection(self),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
        except Exception as error:
            # Whatever it was: what waits for this connection must be told.
            if not isinstance(error, OSError | TimeoutError):
                log.exception("no connection to %s", self.url)
            text = str(error) or type(error).__name__
            self._opening.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            if not self._open and not self._opening:
                # This was the last one that could have taken what waits.
                self._refuse_waiting(f"no connection: {text}")
            self._top_up_later()

    def took(self, connection: _Connection) -> bool:
        """Whether a connection that was just opened is wanted."""
        if self._is_closed:
            connection.close("closed")
            return False
        self._open.add(connection)
        self._back_off.reset()
        return True

    def released(self, connection: _Connection) -> None:
        """A connection has its answer and can take the next request."""
        while self._waiting:
            body, answer = self._waiting.popleft()
            if not answer.done():
                connection.send(body, answer)
                return
        self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._is_closed:
            return
        if self._waiting and len(self._open) + len(self._opening) < self._most:
            self._start_opening()
        self._top_up_later()

    def _refuse_waiting(self, reason: str) -> None:
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(NotSent(f"{self.url}: {reason}"))

    def _top_up_later(self) -> None:
        if self._is_kept_warm and not self._is_closed and self._top_up_timer is None:
            self._top_up_timer = asyncio.get_running_loop().call_later(self._back_off.next_s(), self._top_up)

    def _top_up(self) -> None:
        self._top_up_timer = None
        for _ in range(self._warm - len(self._open) - len(self._opening)):
            self._start_opening()

    # --- what a connection needs ---

    def request(self, body: bytes) -> bytes:
        """The bytes of a request."""
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    @property
    def timeout_s(self) -> float:
        """How long an answer may take."""
        return self._timeout_s


class _Connection(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self, line: HttpLine) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._answer: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._size = 0
        self._status = 0
        self._is_complete = False
        self._is_kept = False
        self._is_closed = False
        self._problem = ""

    def send(self, body: bytes, answer: Answer) -> None:
        """Writes a request; the connection is idle."""
        self._answer = answer
        self._set_timer(self._line.timeout_s, f"no answer in {self._line.timeout_s} s")
        try:
            cast(asyncio.WriteTransport, self._transport).write(self._line.request(body))
        except Exception as error:
            self.close(f"{type(error).__name__} while writing: {error}")

    def close(self, reason: str) -> None:
        """Closes it at once; a request on its way may have been acted upon."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(TransportError(f"{self._line.url}: {reason}"))
        if self._transport is not None:
            self._transport.abort()
        self._line.lost(self)

    def _set_timer(self, delay_s: float, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self.close, reason)

    def _rest(self) -> None:
        """Waits for the next request; the two warm connections do not end their rest together."""
        self._set_timer(LONGEST_REST_S * random.uniform(0.7, 1.0), "idle")
        self._line.released(self)

    # --- callbacks of the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        if self._line.took(self):
            self._rest()

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.close("the server spoke without having been asked")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.close(f"the answer is not HTTP: {error}")
            return
        if self._problem:
            self.close(self._problem)
        elif self._is_complete:
            self._hand_over()

    def connection_lost(self, error: Exception | None) -> None:
        self.close(f"the connection was lost: {error or 'closed by the server'}")

    # --- callbacks of the parser ---

    def on_message_begin(self) -> None:
        """An answer begins; a second one to the same request would be taken for the next request's."""
        if self._is_complete:
            self._problem = "the server answered more than was asked"

    def on_body(self, part: bytes) -> None:
        """Keeps a part of the answer."""
        self._size += len(part)
        if self._size > LARGEST_ANSWER:
            self._problem = f"the answer is longer than {LARGEST_ANSWER} bytes"
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        """An answer is whole; one below 200 only announces another."""
        self._status = self._parser.get_status_code()
        self._is_complete = self._status >= 200
        # The parser forgets this when the callback returns.
        self._is_kept = self._parser.should_keep_alive()

    def _hand_over(self) -> None:
        """Gives the answer to who waits for it, and takes the next request."""
        content = b"".join(self._body)
        self._body.clear()
        self._size, self._is_complete = 0, False
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            if self._status == 200:
                answer.set_result(content)
            else:
                answer.set_exception(HttpStatusError(self._status, content[:ERROR_TEXT].decode("utf-8", "replace")))
        if self._is_kept:
            self._rest()
        else:
            self.close("the server keeps no connection")
