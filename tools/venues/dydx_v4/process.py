"""A venue in a process of its own, for programs and tests whose client blocks or must not share a loop with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import orjson

STOP_TIMEOUT_S = 10
_FREE_PORTS = ("--node-port", "0", "--indexer-port", "0", "--control-port", "0")


@dataclass(frozen=True, slots=True)
class VenueProcess:
    """Where a running venue listens: its nodes, the first by JSON-RPC and gRPC, its indexer, and what a test may do."""

    rpc_url: str
    rpc_urls: list[str]
    rest_url: str
    ws_url: str
    control_url: str
    grpc_url: str
    pid: int


@contextmanager
def venue_process(*options: str) -> Iterator[VenueProcess]:
    """Run ``latentspeed venue dydx_v4`` on free ports with these further options until the block is left.

    Raises:
        RuntimeError: the venue ended before it was ready, or did not end cleanly when it was told to.
    """
    command = [sys.executable, "-m", "latentspeed.tools.venues.dydx_v4.cli", *_FREE_PORTS, *options]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the venue ended with {process.wait(STOP_TIMEOUT_S)} before it was ready")
            yield VenueProcess(**orjson.loads(line))
        finally:
            process.terminate()
            try:
                code = process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
    if code:
        raise RuntimeError(f"the venue ended with {code}")
