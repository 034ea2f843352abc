"""`latentspeed venue dydx_v4`: run the venue until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
import uvloop

from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.venue import DydxVenue
from latentspeed.tools.venues.options import HIGHEST_PORT, ControlPort, Host, Quiet, Scenario, Seed, Speed, Tapes
from latentspeed.tools.venues.tape import TapeError


async def serve(
    host: str, config: VenueConfig, node_port: int, indexer_port: int, control_port: int, grpc_port: int | None
) -> None:
    """Serve a venue until SIGTERM or SIGINT; prints one JSON line with its addresses when it is ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    venue = DydxVenue(config)
    try:
        await venue.start(host, node_port, indexer_port, control_port, grpc_port)
        ready = {
            "rpc_url": venue.rpc_url,
            "rpc_urls": venue.rpc_urls,
            "rest_url": venue.rest_url,
            "ws_url": venue.ws_url,
            "control_url": venue.control_url,
            "grpc_url": venue.grpc_url,
            "grpc_urls": venue.grpc_urls,
            "pid": os.getpid(),
        }
        sys.stdout.buffer.write(orjson.dumps(ready) + b"\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await venue.stop()


def dydx_v4(
    node_port: Annotated[
        int, typer.Option(min=0, max=HIGHEST_PORT, help="Port of the node's JSON-RPC and REST; 0 takes a free one.")
    ] = 26657,
    indexer_port: Annotated[
        int, typer.Option(min=0, max=HIGHEST_PORT, help="Port of the indexer; 0 takes a free one.")
    ] = 3002,
    control_port: ControlPort = 0,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=HIGHEST_PORT, help="Serve gRPC, too, on this port; 0 takes a free one. Needs the extra `grpc`."
        ),
    ] = None,
    host: Host = "127.0.0.1",
    tape: Tapes = None,
    speed: Speed = 1.0,
    quiet: Quiet = False,
    seed: Seed = 7,
    block_ms: Annotated[int, typer.Option(help="Block interval.")] = 600,
    balance: Annotated[int, typer.Option(help="Dollars of a new account.")] = 100_000,
    on_chain_lag_ms: Annotated[int, typer.Option(help="How late the indexer tells of blocks.")] = 0,
    off_chain_lag_ms: Annotated[int, typer.Option(help="How late it tells of optimistic changes.")] = 0,
    rest_lag_ms: Annotated[int, typer.Option(help="How late its REST interface knows of either.")] = 0,
    nodes: Annotated[int, typer.Option(min=1, help="How many nodes serve the chain.")] = 1,
    gossip_ms: Annotated[
        int | None, typer.Option(min=0, help="Give each node a memory of its own; how late one hears of the others.")
    ] = None,
    rotate_proposers: Annotated[bool, typer.Option(help="Let the nodes propose blocks in turn.")] = False,
    scenario: Scenario = None,
    limits: Annotated[bool, typer.Option(help="Limit requests to the indexer.")] = False,
    log: Annotated[
        Path | None, typer.Option(help="Write here what happens on the chain, a JSON object a line.")
    ] = None,
) -> None:
    """A local dYdX v4: node and indexer over one simulated chain."""
    try:
        config = VenueConfig(
            seed=seed,
            tapes=tuple(tape or ()),
            speed=speed,
            market="none" if quiet else "synthetic",
            block_interval_ms=block_ms,
            initial_balance=balance,
            on_chain_lag_ms=on_chain_lag_ms,
            off_chain_lag_ms=off_chain_lag_ms,
            rest_lag_ms=rest_lag_ms,
            nodes=nodes,
            gossip_ms=gossip_ms,
            rotate_proposers=rotate_proposers,
            scenario=scenario,
            rest_limits=limits,
            log=log,
        )
        uvloop.run(serve(host, config, node_port, indexer_port, control_port, grpc_port))
    except (ValueError, TapeError, OSError) as error:
        typer.echo(f"venue dydx_v4: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(dydx_v4)
