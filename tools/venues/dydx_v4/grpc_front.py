"""The node's gRPC: the same node as its JSON-RPC and REST, for clients that speak nothing else.

Requests and answers are raw bytes that our own schemas read and write: nothing is generated, and no protobuf runtime is
needed. Needs the extra `grpc`, which is imported when a front starts. Methods that the venue does not have are answered
with UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from latentspeed.tools.venues.dydx_v4 import query_schemas as schemas
from latentspeed.tools.venues.dydx_v4.node_queries import QUERIES, NotFound, Query
from latentspeed.tools.venues.dydx_v4.protobuf import DecodeError, decode, encode
from latentspeed.tools.venues.dydx_v4.refusals import SDK, TxRefused

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.node import Node

STOP_GRACE_S: Final = 0.2
_ASYNC, _SYNC = 3, 2
_LATEST_BLOCK: Final = "/cosmos.base.tendermint.v1beta1.Service/GetLatestBlock"
Method = Callable[[bytes, Any], Awaitable[bytes]]


class GrpcFront:
    """One node's gRPC server."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._server: Any = None
        self._methods: dict[str, Method] = {
            "/cosmos.auth.v1beta1.Query/Account": self._account,
            "/cosmos.tx.v1beta1.Service/BroadcastTx": self._broadcast,
            "/cosmos.tx.v1beta1.Service/Simulate": self._simulate,
            "/cosmos.tx.v1beta1.Service/GetTx": self._transaction,
            **{name: self._query(query) for name, query in QUERIES.items()},
            _LATEST_BLOCK: self._latest_block,
        }

    async def start(self, host: str, port: int) -> int:
        """Listens, 0 taking a free port; returns it. Raises ValueError without grpcio, OSError for a taken port."""
        try:
            import grpc
        except ModuleNotFoundError:
            raise ValueError("gRPC needs grpcio: install latentspeed[grpc]") from None

        front = self

        class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
            def service(self, call: Any) -> Any:
                method = front._methods.get(call.method)
                return grpc.unary_unary_rpc_method_handler(front._guarded(grpc, method)) if method else None

        self._server = grpc.aio.server(handlers=[Methods()], options=[("grpc.so_reuseport", 0)])
        try:
            bound: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"port {port} of gRPC: {error}") from None
        await self._server.start()
        return bound

    async def stop(self) -> None:
        """Ends all calls."""
        if self._server is not None:
            await self._server.stop(STOP_GRACE_S)
            self._server = None

    def _guarded(self, grpc: Any, method: Method) -> Method:
        """Turns what goes wrong into a status, and lets the node's faults answer first."""

        async def call(request: bytes, context: Any) -> bytes:
            status = grpc.StatusCode
            if self._node.failures:
                await self._fail(context, self._node.failures.pop(0))
            try:
                return await method(request, context)
            except DecodeError as error:
                await context.abort(status.INTERNAL, f"grpc: error unmarshalling request: {error}")
            except NotFound as error:
                await context.abort(status.NOT_FOUND, str(error))
            except TxRefused as refused:
                await context.abort(status.UNKNOWN, refused.log)
            except ConnectionError as error:
                await context.abort(status.UNAVAILABLE, str(error))
            except ValueError as error:
                await context.abort(status.INVALID_ARGUMENT, str(error))
            raise AssertionError("abort raises")

        return call

    @staticmethod
    async def _fail(context: Any, http_status: int) -> None:
        """Ends a call as a proxy in front of the node does that has an HTTP status to tell."""
        import grpc

        code = grpc.StatusCode.RESOURCE_EXHAUSTED if http_status == 429 else grpc.StatusCode.UNAVAILABLE
        await context.abort(code, f"upstream error {http_status}")

    def _query(self, query: Query) -> Method:
        async def answer(request: bytes, context: Any) -> bytes:
            return encode(query.run(self._node.chain, decode(request, query.request)), query.answer)

        return answer

    async def _latest_block(self, request: bytes, context: Any) -> bytes:
        found = QUERIES[_LATEST_BLOCK].run(self._node.chain, {})
        found["block"]["header"]["height"] = self._node.height
        return encode(found, schemas.LATEST_BLOCK)

    async def _account(self, request: bytes, context: Any) -> bytes:
        address = decode(request, schemas.ACCOUNT_REQUEST)["address"]
        account = self._node.chain.enrol(address)
        if account is None:
            raise NotFound(f"account {address} not found")
        return self._node.account_response(account)

    # --- transactions ---

    async def _broadcast(self, request: bytes, context: Any) -> bytes:
        asked = decode(request, schemas.BROADCAST_REQUEST)
        raw, mode = asked["tx_bytes"], asked["mode"]
        if mode not in (_ASYNC, _SYNC):
            raise ValueError(f"unsupported broadcast type {mode}; supported types: sync, async")
        if not raw:
            raise ValueError("invalid empty tx")
        node = self._node
        if node.broadcast_failures:
            await self._fail(context, node.broadcast_failures.pop(0))
        answer: dict[str, Any] = {"txhash": sha256(raw).hexdigest().upper()}
        refused = node.broadcast(raw)
        if node.takes_lost_answer() or node.takes_broken_answer():
            raise ConnectionError("connection reset by peer")
        if node.delay_s:
            await asyncio.sleep(node.delay_s)
        if refused is not None and mode == _SYNC:
            answer |= {"codespace": refused.codespace, "code": refused.code}
            if (refused.codespace, refused.code) not in ((SDK, 19), (SDK, 20)):
                answer["raw_log"] = refused.log
        return encode({"tx_response": answer}, schemas.BROADCAST)

    async def _simulate(self, request: bytes, context: Any) -> bytes:
        asked = decode(request, schemas.SIMULATE_REQUEST)
        raw = asked["tx_bytes"] or asked["tx"]
        if not raw:
            raise ValueError("empty txBytes is not allowed")
        return encode({"gas_info": {"gas_used": self._node.chain.simulate(raw)}}, schemas.SIMULATE)

    async def _transaction(self, request: bytes, context: Any) -> bytes:
        identifier = decode(request, schemas.TRANSACTION_REQUEST)["hash"].upper()
        found = self._node.chain.results.get(identifier)
        if found is None:
            raise NotFound(f"tx not found: {identifier}")
        row = {"height": found.height, "txhash": identifier, "codespace": found.codespace, "code": found.code}
        return encode({"tx": found.raw, "tx_response": {**row, "raw_log": found.log}}, schemas.TRANSACTION)
