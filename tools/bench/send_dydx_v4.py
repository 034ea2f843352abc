"""`bench send --venue dydx_v4`: from a signed transaction in hand to a node's socket, and back, by JSON-RPC and gRPC.

Measured as `send.py` measures. The limit is the JSON-RPC request in bytes, written to an open transport. Both far ends
are processes of their own, and both are Python: what a node's own server takes is in neither.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvloop

from latentspeed.connectors.dydx_v4.grpc_node import GrpcNode, import_grpc
from latentspeed.connectors.dydx_v4.json_rpc import JsonRpcNode
from latentspeed.connectors.dydx_v4.node_line import NodeLine
from latentspeed.connectors.http_line import HttpLine
from latentspeed.tools.bench.send import LIMIT, ORDERS, BareLine, SendReport, Way, measure, reduce_times

TRANSACTION: Final = os.urandom(270)
"""As long as the transaction of one short-term order."""
TIMEOUT_S: Final = 5.0


def run_dydx_v4_send_bench(*, orders: int = ORDERS, say: Callable[[str], None] = lambda line: None) -> SendReport:
    """Runs all ways; `say` is told what goes on. Raises GrpcMissing without grpcio."""
    import_grpc()
    with _far_end("send_sink", "json-rpc") as http_port, _far_end("send_dydx_v4_sink") as grpc_port:
        return uvloop.run(_run(http_port, grpc_port, orders, say))


@contextmanager
def _far_end(module: str, *arguments: str) -> Iterator[int]:
    command = [sys.executable, "-P", "-m", f"latentspeed.tools.bench.{module}", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _run(http_port: int, grpc_port: int, orders: int, say: Callable[[str], None]) -> SendReport:
    nodes: dict[str, NodeLine] = {
        "a node by JSON-RPC": JsonRpcNode(f"http://127.0.0.1:{http_port}", timeout_s=TIMEOUT_S),
        "a node by gRPC": GrpcNode(f"grpc://127.0.0.1:{grpc_port}", timeout_s=TIMEOUT_S),
    }
    for node in nodes.values():
        await node.open()
    _, bare = await asyncio.get_running_loop().create_connection(BareLine, "127.0.0.1", http_port)
    body = b'{"jsonrpc":"2.0","id":1,"method":"broadcast_tx_sync","params":{"tx":"%b"}}'
    request = HttpLine(f"http://127.0.0.1:{http_port}", "/", timeout_s=TIMEOUT_S).request(
        body % base64.b64encode(TRANSACTION)
    )

    async def by_transport() -> tuple[int, int, int]:
        bare.answer = asyncio.get_running_loop().create_future()
        called = time.monotonic_ns()
        bare.transport.write(request)  # type: ignore[attr-defined]
        answer = await bare.answer
        return called, int(answer.rpartition(b'"log":"')[2].partition(b'"')[0]), time.monotonic_ns()

    ways: dict[str, Way] = {LIMIT: by_transport, **{name: _broadcasts(node) for name, node in nodes.items()}}
    try:
        say(f"{orders} transactions by each of {len(ways)} ways")
        return reduce_times(await measure(ways, orders), orders)
    finally:
        bare.transport.close()
        for node in nodes.values():
            await node.close()


def _broadcasts(node: NodeLine) -> Way:
    async def broadcast() -> tuple[int, int, int]:
        called = time.monotonic_ns()
        result = await node.broadcast(TRANSACTION)
        return called, int(result.log), time.monotonic_ns()

    return broadcast
