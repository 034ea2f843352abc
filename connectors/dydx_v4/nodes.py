"""Full nodes: transactions to the first that can be reached, and the few questions that only a node answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.block_budget import Limit
from latentspeed.connectors.dydx_v4.grpc_node import GrpcNode
from latentspeed.connectors.dydx_v4.json_rpc import JsonRpcNode
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.node_line import NodeLine, is_grpc
from latentspeed.connectors.dydx_v4.protobuf import MalformedProtobuf, as_bytes, as_integer, field, fields, text
from latentspeed.connectors.transport import NotSent, TransportError

ACCOUNT_QUERY: Final = "/cosmos.auth.v1beta1.Query/Account"
BLOCK_RATES_QUERY: Final = "/dydxprotocol.clob.Query/BlockRateLimitConfiguration"
LEVERAGE_QUERY: Final = "/dydxprotocol.clob.Query/Leverage"

Answer = TypeVar("Answer")


class ChainAccount(NamedTuple):
    """What the chain says of an account."""

    number: int
    sequence: int


class BlockRates(NamedTuple):
    """Limits per blocks: of short-term places and cancels together, and of stateful places."""

    short_term: tuple[Limit, ...]
    stateful: tuple[Limit, ...]


class Nodes:
    """Several nodes, by JSON-RPC or gRPC as their addresses say, the one that worked last first."""

    def __init__(
        self, urls: Sequence[str], *, timeout_s: float, on_failover: Callable[[str], None] = lambda text: None
    ) -> None:
        """Opens nothing yet; `on_failover` is told when another node is used from now on."""
        self._lines: list[NodeLine] = [
            GrpcNode(url, timeout_s=timeout_s) if is_grpc(url) else JsonRpcNode(url, timeout_s=timeout_s)
            for url in urls
        ]
        self._current = 0
        self._on_failover = on_failover

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
        return await self._ask(lambda line: line.broadcast(transaction))

    async def height(self) -> int:
        """The height of the last block that the node has; see `block`."""
        return (await self.block())[0]

    async def block(self) -> tuple[int, int]:
        """The height of the last block that the node has, and its time in milliseconds since the epoch, 0 if untold.

        Raises:
            TransportError: No answer, or a node that is catching up.
        """
        return await self._ask(lambda line: line.block())

    async def account(self, address: str) -> ChainAccount:
        """Number and sequence of an account.

        Raises:
            UnknownAccount: The address has never received anything.
            TransportError: No usable answer.
        """
        value = await self._ask(lambda line: line.query(ACCOUNT_QUERY, text(1, address), address))
        try:
            account = field(field(value, 1), 2)
            found = {number: value for number, value in fields(account) if number in (3, 4)}
            return ChainAccount(as_integer(found.get(3, 0)), as_integer(found.get(4, 0)))
        except MalformedProtobuf as error:
            raise TransportError(f"account: {error}") from None

    async def block_rates(self) -> BlockRates:
        """What the chain lets an account send.

        Raises:
            TransportError: No usable answer.
        """
        value = await self._ask(lambda line: line.query(BLOCK_RATES_QUERY, b""))
        try:
            config = field(value, 1)
            return BlockRates(_limits(config, 4), _limits(config, 2))
        except MalformedProtobuf as error:
            raise TransportError(f"block rates: {error}") from None

    async def leverages(self, owner: str, number: int) -> dict[int, int]:
        """The initial margins that the owner has set for a subaccount, in millionths by clob pair.

        Raises:
            TransportError: No usable answer, as from a chain that has none.
        """
        value = await self._ask(lambda line: line.query(LEVERAGE_QUERY, wire.subaccount_id(owner, number)))
        try:
            rows = [dict(fields(as_bytes(row))) for found, row in fields(value) if found == 1]
            return {as_integer(row.get(1, 0)): as_integer(row.get(2, 0)) for row in rows}
        except MalformedProtobuf as error:
            raise TransportError(f"leverages: {error}") from None

    async def _ask(self, question: Callable[[NodeLine], Awaitable[Answer]]) -> Answer:
        """The answer of the first node that can be reached; a request that left is never sent to another."""
        problem: NotSent | None = None
        # Another request may find another node meanwhile: each request goes once round all of them.
        first = self._current
        for turn in range(len(self._lines)):
            index = (first + turn) % len(self._lines)
            try:
                answer = await question(self._lines[index])
            except NotSent as error:
                problem = error
                continue
            if index != self._current:
                self._current = index
                self._on_failover(self._lines[index].url)
            return answer
        assert problem is not None
        raise problem


def _limits(config: bytes, number: int) -> tuple[Limit, ...]:
    """From repeated MaxPerNBlocksRateLimit{1 blocks, 2 limit}."""
    found = [dict(fields(as_bytes(value))) for field, value in fields(config) if field == number]
    return tuple(Limit(as_integer(row.get(1, 0)), as_integer(row.get(2, 0))) for row in found)
