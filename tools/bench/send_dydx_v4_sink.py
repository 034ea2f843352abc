"""The far end of `bench send --venue dydx_v4` by gRPC: takes every transaction, its log is the time at which it came.

One loopback port; prints it and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import uvloop

from latentspeed.connectors.dydx_v4.grpc_node import BROADCAST, import_grpc
from latentspeed.connectors.dydx_v4.protobuf import data, text


async def _take(request: bytes, context: Any) -> bytes:
    return data(1, text(2, "AB") + text(6, str(time.monotonic_ns())))


async def _serve() -> None:
    grpc = import_grpc()
    _, service, method = BROADCAST.split("/")
    methods = {method: grpc.unary_unary_rpc_method_handler(_take)}
    server = grpc.aio.server(handlers=[grpc.method_handlers_generic_handler(service, methods)])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    uvloop.run(_serve())
