"""Full nodes: transactions to the first that can be reached, and the few questions that only a node answers."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.block_budget import Limit
from latentspeed.connectors.dydx_v4.messages import MalformedMessage, TxResult
from latentspeed.connectors.dydx_v4.protobuf import MalformedProtobuf, fields, text
from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.http_line import HttpLine
from latentspeed.connectors.transport import NotSent, TransportError

ACCOUNT_QUERY: Final = "/cosmos.auth.v1beta1.Query/Account"
BLOCK_RATES_QUERY: Final = "/dydxprotocol.clob.Query/BlockRateLimitConfiguration"
_KNOWN_TRANSACTION: Final = "already exists"


class UnknownAccount(ConnectorError):
    """The chain does not know the address: it has never received anything."""


class ChainAccount(NamedTuple):
    """What the chain says of an account."""

    number: int
    sequence: int


class BlockRates(NamedTuple):
    """Limits per blocks: of short-term places and cancels together, and of stateful places."""

    short_term: tuple[Limit, ...]
    stateful: tuple[Limit, ...]


class Nodes:
    """JSON-RPC of several nodes, the one that worked last first."""

    def __init__(
        self, urls: Sequence[str], *, timeout_s: float, on_failover: Callable[[str], None] = lambda text: None
    ) -> None:
        """Opens nothing yet; `on_failover` is told when another node is used from now on."""
        self._lines = [HttpLine(url, "/", timeout_s=timeout_s) for url in urls]
        self._current = 0
        self._on_failover = on_failover
        self._numbers = itertools.count(1)

    async def open(self) -> None:
        """Warms the connections of the node in use."""
        await self._lines[self._current].open()

    async def close(self) -> None:
        """Closes all connections."""
        for line in self._lines:
            await line.close()

    async def broadcast(self, transaction: bytes) -> TxResult:
        """What the check of a node says; code 0 means that the node found it valid, and nothing more.

        Raises:
            NotSent: No node could be reached: nothing left this machine.
            TransportError: Nobody knows whether a node has it.
        """
        number = next(self._numbers)
        encoded = base64.b64encode(transaction)
        body = b'{"jsonrpc":"2.0","id":%d,"method":"broadcast_tx_sync","params":{"tx":"%b"}}' % (number, encoded)
        answer = await self._ask(body)
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

    async def height(self) -> int:
        """The height of the last block that the node has; see `block`."""
        return (await self.block())[0]

    async def block(self) -> tuple[int, int]:
        """The height of the last block that the node has, and its time in milliseconds since the epoch, 0 if untold.

        Raises:
            TransportError: No answer, or a node that is catching up.
        """
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

    async def account(self, address: str) -> ChainAccount:
        """Number and sequence of an account.

        Raises:
            UnknownAccount: The address has never received anything.
            TransportError: No usable answer.
        """
        value = await self._query(ACCOUNT_QUERY, text(1, address), address)
        try:
            account = _message(_message(value, 1), 2)
            found = {number: value for number, value in fields(account) if number in (3, 4)}
            return ChainAccount(_integer(found.get(3, 0)), _integer(found.get(4, 0)))
        except (MalformedProtobuf, ValueError) as error:
            raise TransportError(f"account: {error}") from None

    async def block_rates(self) -> BlockRates:
        """What the chain lets an account send.

        Raises:
            TransportError: No usable answer.
        """
        value = await self._query(BLOCK_RATES_QUERY, b"")
        try:
            config = _message(value, 1)
            return BlockRates(_limits(config, 4), _limits(config, 2))
        except (MalformedProtobuf, ValueError) as error:
            raise TransportError(f"block rates: {error}") from None

    async def _query(self, path: str, request: bytes, name: str = "") -> bytes:
        """The answer of the application's state to a query; `name` is what "not found" is about."""
        answer = await self._call("abci_query", {"path": path, "data": request.hex(), "prove": False})
        try:
            response = messages.QUERY_REPLY.decode(answer).result.response
            value = base64.b64decode(response.value or "")
        except (*MalformedMessage, ValueError) as error:
            raise TransportError(f"{path}: {error}: {answer[:200]!r}") from None
        if response.code or response.value is None:
            if name and "not found" in response.log:
                raise UnknownAccount(f"{name}: the chain does not know this account; it has never received anything")
            raise TransportError(f"{path}: code {response.code}: {response.log}")
        return value

    async def _call(self, method: str, parameters: dict[str, object]) -> bytes:
        call = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": parameters}
        return await self._ask(msgspec.json.encode(call))

    async def _ask(self, body: bytes) -> bytes:
        """The answer of the first node that can be reached; a request that left is never sent to another."""
        problem: NotSent | None = None
        for turn in range(len(self._lines)):
            index = (self._current + turn) % len(self._lines)
            try:
                answer = await self._lines[index].post(body)
            except NotSent as error:
                problem = error
                continue
            if index != self._current:
                self._current = index
                self._on_failover(self._lines[index].url)
            return answer
        assert problem is not None
        raise problem


def _message(encoded: bytes, number: int) -> bytes:
    """The message in a field; empty when it is absent."""
    return _bytes(next((value for found, value in fields(encoded) if found == number), b""))


def _limits(config: bytes, number: int) -> tuple[Limit, ...]:
    """From repeated MaxPerNBlocksRateLimit{1 blocks, 2 limit}."""
    found = [dict(fields(_bytes(value))) for field, value in fields(config) if field == number]
    return tuple(Limit(_integer(row.get(1, 0)), _integer(row.get(2, 0))) for row in found)


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message should be")
    return value


def _integer(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes where a number should be")
    return value
