"""`latentspeed venue hyperliquid`: run the venue until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
import uvloop

from latentspeed.tools.venues.hyperliquid.config import SCHEDULE_CANCEL_VOLUME, SUB_ACCOUNT_VOLUME, VenueConfig
from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue
from latentspeed.tools.venues.options import HIGHEST_PORT, ControlPort, Host, Quiet, Scenario, Seed, Speed, Tapes
from latentspeed.tools.venues.tape import TapeError


async def serve(host: str, port: int, config: VenueConfig, control_port: int = 0) -> None:
    """Serve a venue until SIGTERM or SIGINT; prints one JSON line with its addresses when it is ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    venue = HyperliquidVenue(config)
    await venue.start(host, port, control_port)
    try:
        ready = {"url": venue.base_url, "ws_url": venue.ws_url, "control_url": venue.control_url, "pid": os.getpid()}
        sys.stdout.buffer.write(orjson.dumps(ready) + b"\n")
        sys.stdout.flush()
        # What exists by now lives until the end: keep the collector from walking it during a burst.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        waits = [asyncio.create_task(event.wait()) for event in (stop, venue.failed)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    finally:
        await venue.stop()


def _pairs(texts: list[str] | None) -> dict[str, str]:
    """``NAME=VALUE`` options as a dictionary.

    Raises:
        ValueError: one has no equals sign.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: NAME=VALUE is expected")
        found[name] = value
    return found


def hyperliquid(
    port: Annotated[
        int, typer.Option(min=0, max=HIGHEST_PORT, help="Port of /info, /exchange and /ws; 0 takes a free one.")
    ] = 3001,
    control_port: ControlPort = 0,
    host: Host = "127.0.0.1",
    tape: Tapes = None,
    speed: Speed = 1.0,
    quiet: Quiet = False,
    seed: Seed = 1,
    block_ms: Annotated[int, typer.Option(help="Block interval; 0 executes every action at once.")] = 0,
    balance: Annotated[str, typer.Option(help="Dollars of a new account.")] = "100000",
    meta: Annotated[Path | None, typer.Option(help="Recorded `meta` reply to list instead of own markets.")] = None,
    spot_meta: Annotated[Path | None, typer.Option(help="Recorded `spotMeta` reply to list instead.")] = None,
    perp_dexs: Annotated[Path | None, typer.Option(help="Recorded `perpDexs` reply to list instead.")] = None,
    dex_meta: Annotated[list[str] | None, typer.Option(help="DEX=FILE: recorded `meta` of a builder dex.")] = None,
    spot: Annotated[list[str] | None, typer.Option(help="TOKEN=AMOUNT: spot balance of a new account.")] = None,
    liquidations: Annotated[bool, typer.Option(help="Liquidate below maintenance margin.")] = False,
    limits: Annotated[bool, typer.Option(help="Enforce the budgets per IP and per address.")] = False,
    fills_served: Annotated[int, typer.Option(help="How far back userFillsByTime reaches, in fills.")] = 10_000,
    orders_retained: Annotated[int, typer.Option(help="How many finished orders of an account are remembered.")] = 2000,
    volume_needed: Annotated[
        bool,
        typer.Option(help="Ask for traded volume before a sub-account or a scheduled cancel."),
    ] = True,
    scenario: Scenario = None,
    known_accounts_only: Annotated[
        bool, typer.Option(help="Refuse signers that nobody has asked about, subscribed to or funded before.")
    ] = False,
) -> None:
    """A local Hyperliquid that speaks the real protocol."""
    try:
        config = VenueConfig(
            seed=seed,
            tapes=tuple(tape or ()),
            speed=speed,
            market="none" if quiet else "synthetic",
            block_interval_ms=block_ms,
            initial_balance=balance,
            meta_file=meta,
            spot_meta_file=spot_meta,
            perp_dexs_file=perp_dexs,
            dex_meta_files={dex: Path(path) for dex, path in _pairs(dex_meta).items()},
            initial_spot=_pairs(spot),
            liquidations=liquidations,
            ip_limits=limits,
            address_limits=limits,
            orders_retained=orders_retained,
            fills_served=fills_served,
            sub_account_volume=SUB_ACCOUNT_VOLUME if volume_needed else 0,
            schedule_cancel_volume=SCHEDULE_CANCEL_VOLUME if volume_needed else 0,
            scenario=scenario,
            enrol="mentioned" if known_accounts_only else "signed",
        )
        uvloop.run(serve(host, port, config, control_port))
    except (ValueError, TapeError, OSError) as error:
        typer.echo(f"venue hyperliquid: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(hyperliquid)
