"""A full node by gRPC: raw bytes in and out, so nothing is generated and no runtime of protobuf is needed.

Needs the extra `grpc`, which is imported where a node is spoken to.

A call is made only on a connection that stands: where none can be made, nothing has left (NotSent). Whatever breaks
afterwards, and a deadline that passes, leaves open whether the node has acted. A connection on which an answer was
awaited in vain is used no more: one that is dead without a word would swallow every order after it.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.node_line import check_node_address, unknown_account
from latentspeed.connectors.dydx_v4.protobuf import (
    MalformedProtobuf,
    as_bytes,
    as_integer,
    data,
    field,
    fields,
    uint,
)
from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.transport import NotSent, TransportError

BROADCAST: Final = "/cosmos.tx.v1beta1.Service/BroadcastTx"
LATEST_BLOCK: Final = "/cosmos.base.tendermint.v1beta1.Service/GetLatestBlock"
SYNCING: Final = "/cosmos.base.tendermint.v1beta1.Service/GetSyncing"
CONNECT_TIMEOUT_S: Final = 10.0

_SYNC_MODE = uint(2, 2)
_IN_CACHE = ("sdk", 19)
_OPTIONS: Final = (
    # Each channel has connections of its own: a new one must not find the dead one of the channel that it replaces.
    ("grpc.use_local_subchannel_pool", 1),
    # What was written once is never written again by itself.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.primary_user_agent", "latentspeed"),
)


class GrpcMissing(ConnectorError):
    """A node is to be reached by gRPC, and grpcio is not installed."""


class GrpcStatusError(TransportError):
    """A call that a server, or the connection to it, has ended with a status other than OK.

    Attributes:
        status: The name of the status.
    """

    def __init__(self, path: str, status: str, text: str) -> None:
        super().__init__(f"{path}: {status}: {text}")
        self.status = status


def import_grpc() -> Any:
    """The module. Raises GrpcMissing where the extra is not installed."""
    try:
        import grpc
    except ImportError:
        raise GrpcMissing("a node by gRPC needs grpcio: pip install latentspeed[grpc]") from None
    return grpc


class GrpcNode:
    """One node; see NodeLine for what the methods answer and raise. Used in the loop's thread."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Opens nothing yet.

        Raises:
            InsecureAddress: Plain text to another machine.
            GrpcMissing: grpcio is not installed.
        """
        self.url = check_node_address(url)
        parts = urlsplit(self.url)
        self._target = parts.netloc
        self._is_encrypted = parts.scheme == "grpcs"
        self._timeout_s = timeout_s
        self._grpc = import_grpc()
        self._channel: Any = None
        self._attempt: asyncio.Task[Any] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def open(self) -> None:
        """Makes the connection."""
        try:
            await self._connected()
        except NotSent:
            return  # It is tried again with the first call.

    async def close(self) -> None:
        """Ends all calls."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    # --- what is asked ---

    async def broadcast(self, transaction: bytes) -> TxResult:
        """What the node's check says of a signed transaction."""
        answer = await self._call(BROADCAST, data(1, transaction) + _SYNC_MODE)
        try:
            found = dict(fields(field(answer, 1)))
            # Success is a code that is not written: only the hash tells an answer from an empty message.
            if not as_bytes(found.get(2, b"")):
                raise MalformedProtobuf("no transaction hash")
            codespace, code = as_bytes(found.get(3, b"")).decode(), as_integer(found.get(4, 0))
            if (codespace, code) == _IN_CACHE:
                return TxResult()  # These very bytes were taken before.
            return TxResult(code, codespace, as_bytes(found.get(6, b"")).decode())
        except ValueError as error:
            raise TransportError(f"broadcast: {error}: {answer[:200]!r}") from None

    async def block(self) -> tuple[int, int]:
        """Height and time of the last block."""
        answer, is_syncing = await asyncio.gather(self._call(LATEST_BLOCK, b""), self._is_syncing())
        try:
            header = dict(fields(field(field(answer, 2) or field(answer, 3), 1)))
            height, moment = as_integer(header[3]), dict(fields(as_bytes(header.get(4, b""))))
            time_ms = as_integer(moment.get(1, 0)) * 1000 + as_integer(moment.get(2, 0)) // 1_000_000
        except (ValueError, KeyError) as error:
            raise TransportError(f"latest block: {error!r}: {answer[:200]!r}") from None
        if is_syncing:
            raise TransportError(f"latest block: the node is catching up at {height}")
        return height, time_ms

    async def _is_syncing(self) -> bool:
        try:
            answer = await self._call(SYNCING, b"")
        except GrpcStatusError as error:
            if error.status == "UNIMPLEMENTED":
                return False  # A gateway in front of nodes that serves no more than what orders need.
            raise
        try:
            return bool(dict(fields(answer)).get(1, 0))
        except ValueError as error:
            raise TransportError(f"syncing: {error}: {answer[:200]!r}") from None

    async def query(self, path: str, request: bytes, name: str = "") -> bytes:
        """The answer of the node's state."""
        try:
            return await self._call(path, request)
        except GrpcStatusError as error:
            if name and error.status == "NOT_FOUND":
                raise unknown_account(name) from None
            raise

    # --- the connection ---

    async def _call(self, path: str, request: bytes) -> bytes:
        channel = await self._connected()
        try:
            answer = await channel.unary_unary(path)(request, timeout=self._timeout_s)
        except self._grpc.aio.AioRpcError as error:
            status = error.code()
            if status is self._grpc.StatusCode.DEADLINE_EXCEEDED:
                self._retire(channel)
                raise TransportError(f"{self.url}{path}: no answer in {self._timeout_s} s") from None
            raise GrpcStatusError(f"{self.url}{path}", status.name, str(error.details())) from None
        except self._grpc.aio.UsageError:
            raise NotSent(f"{self.url}: the connection was closed") from None
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            # Not the caller, but the channel was ended.
            raise TransportError(f"{self.url}{path}: the connection was closed") from None
        return bytes(answer)

    async def _connected(self) -> Any:
        """A channel whose connection stands. Raises NotSent where none can be made."""
        if self._is_closed:
            raise NotSent(f"{self.url}: closed")
        if self._is_ready():
            return self._channel
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.get_running_loop().create_task(self._connect())
            self._attempt.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # Whoever comes while one attempt runs waits for its end.
            return await asyncio.shield(self._attempt)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            raise NotSent(f"{self.url}: closed") from None

    def _is_ready(self) -> bool:
        if self._channel is None:
            return False
        return self._channel.get_state(try_to_connect=True) is self._grpc.ChannelConnectivity.READY

    async def _connect(self) -> Any:
        """One attempt, at once: a channel that has failed before would wait before it tries again."""
        states = self._grpc.ChannelConnectivity
        timeout_s = min(CONNECT_TIMEOUT_S, self._timeout_s)
        failed = (states.TRANSIENT_FAILURE, states.SHUTDOWN)
        channel = self._channel
        if channel is None or channel.get_state() in failed:
            if channel is not None:
                self._retire(channel)
            channel = self._channel = self._dial()
        try:
            async with asyncio.timeout(timeout_s):
                while (state := channel.get_state(try_to_connect=True)) is not states.READY:
                    if state in failed:
                        raise NotSent(f"{self.url}: no connection")
                    await channel.wait_for_state_change(state)
        except self._grpc.aio.UsageError:
            raise NotSent(f"{self.url}: the connection was closed") from None
        except TimeoutError:
            self._retire(channel)
            raise NotSent(f"{self.url}: no connection in {timeout_s} s") from None
        return channel

    def _dial(self) -> Any:
        if not self._is_encrypted:
            return self._grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        credentials = self._grpc.ssl_channel_credentials(_trusted_roots())
        return self._grpc.aio.secure_channel(self._target, credentials, options=_OPTIONS)

    def _retire(self, channel: Any) -> None:
        """Uses a channel no more; calls that run on it may still be answered."""
        if self._channel is channel:
            self._channel = None
        closing = asyncio.get_running_loop().create_task(channel.close(self._timeout_s))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _is_cancelled() -> bool:
    """Whether the task that runs is told to end, and not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _trusted_roots() -> bytes | None:
    """The certificates that this machine trusts, as for HTTPS; None for those that grpcio brings."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file is not None else None
