"""A full node by CometBFT's JSON-RPC over warm HTTP connections."""

from __future__ import annotations

import base64
import itertools
from typing import Final

import msgspec

from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.node_line import unknown_account
from latentspeed.connectors.http_line import HttpLine
from latentspeed.connectors.row_decoder import MalformedMessage
from latentspeed.connectors.transport import TransportError

_KNOWN_TRANSACTION: Final = "already exists"


class JsonRpcNode:
    """One node; see NodeLine for what the methods answer and raise."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Opens nothing yet. Raises InsecureAddress for plain text to another machine."""
        self._line = HttpLine(url, "/", timeout_s=timeout_s)
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._line.url

    async def open(self) -> None:
        """Warms connections."""
        await self._line.open()

    async def close(self) -> None:
        """Closes them."""
        await self._line.close()

    async def broadcast(self, transaction: bytes) -> TxResult:
        """What the node's check says of a signed transaction."""
        number = next(self._numbers)
        encoded = base64.b64encode(transaction)
        body = b'{"jsonrpc":"2.0","id":%d,"method":"broadcast_tx_sync","params":{"tx":"%b"}}' % (number, encoded)
        answer = await self._line.post(body)
        try:
            reply = messages.BROADCAST_REPLY.decode(answer)
        except MalformedMessage as error:
            raise TransportError(f"broadcast: {error}: {answer[:200]!r}") from None
        if reply.result is not None:
            return reply.result
        problem = str(reply.error.data or reply.error.message) if reply.error is not None else "no result"
        if _KNOWN_TRANSACTION in problem:
            return TxResult()  # These very bytes were taken before.
        raise TransportError(f"broadcast: {problem}")

    async def block(self) -> tuple[int, int]:
        """Height and time of the last block."""
        answer = await self._call("status", {})
        try:
            sync = messages.STATUS_REPLY.decode(answer).result.sync_info
            height = int(sync.latest_block_height)
            time_ms = messages.time_ns(sync.latest_block_time) // 1_000_000 if sync.latest_block_time else 0
        except (*MalformedMessage, ValueError) as error:
            raise TransportError(f"status: {error}: {answer[:200]!r}") from None
        if sync.catching_up:
            raise TransportError(f"status: the node is catching up at {height}")
        return height, time_ms

    async def query(self, path: str, request: bytes, name: str = "") -> bytes:
        """The answer of the node's state."""
        answer = await self._call("abci_query", {"path": path, "data": request.hex(), "prove": False})
        try:
            response = messages.QUERY_REPLY.decode(answer).result.response
            value = base64.b64decode(response.value or "")
        except (*MalformedMessage, ValueError) as error:
            raise TransportError(f"{path}: {error}: {answer[:200]!r}") from None
        if response.code or response.value is None:
            if name and "not found" in response.log:
                raise unknown_account(name)
            raise TransportError(f"{path}: code {response.code}: {response.log}")
        return value

    async def _call(self, method: str, parameters: dict[str, object]) -> bytes:
        call = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": parameters}
        return await self._line.post(msgspec.json.encode(call))
