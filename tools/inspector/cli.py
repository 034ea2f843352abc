"""`latentspeed inspect`: what every process on this machine is doing, read from shared memory alone."""

from __future__ import annotations

import signal
import sys
import time
from typing import Annotated

import orjson
import typer
from rich.live import Live

from latentspeed.tools.console import report_console
from latentspeed.tools.inspector.as_prometheus import to_prometheus
from latentspeed.tools.inspector.read import Inspector
from latentspeed.tools.inspector.snapshot import Snapshot
from latentspeed.tools.inspector.view import render

RATE_WINDOW_S = 0.25


def inspect(
    engine: Annotated[str | None, typer.Option(help="Only this engine.")] = None,
    connector: Annotated[str | None, typer.Option(help="Only connectors of this name.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print once and exit.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one snapshot as JSON and exit.")] = False,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print one snapshot as metrics and exit.")] = False,
    orders: Annotated[int, typer.Option(min=0, help="List at most so many orders of a connector.")] = 20,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two refreshes.")] = 1.0,
) -> None:
    """Show processes, orders, positions, balances, quotes, queues and latencies of the engines on this machine.

    Reads shared memory only, so it cannot disturb anything. Exits 1 where it finds no segment that it can read.
    """
    with Inspector(engine, connector) as inspector:
        if not (once or json or prometheus):
            _watch(inspector, orders, interval)
            return
        snapshot = inspector.snapshot()
        if snapshot.segments:
            # A rate needs two looks.
            time.sleep(RATE_WINDOW_S)
            snapshot = inspector.snapshot()
        _print(snapshot, as_json=json, as_prometheus=prometheus, orders=orders)
    if not snapshot.segments:
        raise typer.Exit(1)


def _print(snapshot: Snapshot, *, as_json: bool, as_prometheus: bool, orders: int) -> None:
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(snapshot, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    elif as_prometheus:
        sys.stdout.write(to_prometheus(snapshot))
    else:
        report_console().print(render(snapshot, order_rows=orders))


def _watch(inspector: Inspector, orders: int, interval: float) -> None:
    """Refresh the terminal until it is interrupted."""
    ends = {signal.SIGINT, signal.SIGTERM}
    # They are waited for, not raised: an exception that came in the middle of a destructor would be lost, and the view
    # would go on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with Live(render(inspector.snapshot(), order_rows=orders), screen=True, auto_refresh=False) as live:
            while signal.sigtimedwait(ends, interval) is None:
                live.update(render(inspector.snapshot(), order_rows=orders), refresh=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
