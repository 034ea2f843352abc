"""This venue in a process of its own; see `tools.venues.process`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from latentspeed.tools.venues.process import running_venue

_FREE_PORTS = ("--node-port", "0", "--indexer-port", "0", "--control-port", "0")


@dataclass(frozen=True, slots=True)
class VenueProcess:
    """Where a running venue listens: its nodes by JSON-RPC and gRPC, its indexer, and what a test may do."""

    rpc_url: str
    rpc_urls: list[str]
    rest_url: str
    ws_url: str
    control_url: str
    grpc_url: str
    grpc_urls: list[str]
    pid: int


@contextmanager
def venue_process(*options: str) -> Iterator[VenueProcess]:
    """Run ``latentspeed venue dydx_v4`` on free ports with these further options until the block is left.

    Raises:
        RuntimeError: the venue ended before it was ready, or did not end cleanly when it was told to.
    """
    with running_venue("latentspeed.tools.venues.dydx_v4.cli", *_FREE_PORTS, *options) as ready:
        yield VenueProcess(**ready)
