"""`latentspeed demo`: local venues, an engine, strategies that trade, and at the end books that must agree."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from latentspeed.tools.console import report_console
from latentspeed.tools.demo.chaos import make_plan
from latentspeed.tools.demo.run import run_demo, strategies_on
from latentspeed.tools.demo.venue import DemoVenue, Market, load_venue
from latentspeed.tools.harnesses import DEFAULT_VENUE
from latentspeed.tools.proving.engine_under_test import Kill, gateway_names
from latentspeed.tools.proving.report import Report


def demo(
    venues: Annotated[
        str, typer.Option(help="One venue, or two with a comma: quotes on the first, each fill hedged on the other.")
    ] = DEFAULT_VENUE,
    seconds: Annotated[float, typer.Option(help="How long the strategies trade.")] = 20.0,
    tape: Annotated[Path | None, typer.Option(help="A recorded market to trade in; synthetic without.")] = None,
    speed: Annotated[float, typer.Option(help="How fast the tape is played.")] = 1.0,
    kill: Annotated[list[str] | None, typer.Option(help="A process to kill -9, as in gateway@10.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic market.")] = 7,
    chaos: Annotated[int | None, typer.Option(help="Kill, stop and break at random, by this seed.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Work in this folder and leave it, with every log.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file, too.")] = None,
) -> None:
    """Strategies trade through gateways on local venues; the report proves that nothing was lost."""
    chosen = _venues(venues)
    kills = _kills(kill or [], [venue.connector for venue in chosen])
    if chaos is not None and venues != DEFAULT_VENUE:
        raise typer.BadParameter(f"chaos is for {DEFAULT_VENUE} alone; see `latentspeed soak`", param_hint="--chaos")
    console = report_console()
    plan = None if chaos is None else make_plan(chaos, seconds)
    with tempfile.TemporaryDirectory(prefix="latentspeed-demo-") as name:
        folder = Path(name) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        report = run_demo(chosen, folder, seconds, Market(seed, tape, speed), kills, console, plan)
    if json is not None:
        json.write_bytes(report.to_json())
    show(report, console)
    if not report.agree:
        raise typer.Exit(1)


def _venues(text: str) -> list[DemoVenue]:
    names = text.split(",")
    if len(names) > 2 or len(set(names)) != len(names):
        raise typer.BadParameter(f"{text!r} is not one venue or two different ones", param_hint="--venues")
    try:
        return [load_venue(name) for name in names]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--venues") from None


def _kills(texts: list[str], connectors: list[str]) -> list[Kill]:
    names = [*gateway_names(connectors).values(), *strategies_on(connectors)]
    try:
        return [Kill.parse(text, names) for text in texts]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--kill") from None


def show(report: Report, console: Console) -> None:
    """Print a report for people."""
    table = Table("orders", "count", title=f"{report.seconds:g} s of trading")
    for name, count in report.orders.items():
        table.add_row(name, str(count))
    console.print(table)
    stages = Table("stage (microseconds)", "p50", "p99", "p99.9", "max", title="latency")
    for stage, latency in report.stages.items():
        figures = (latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us)
        stages.add_row(stage, *(f"{value:,.1f}" for value in figures))
    console.print(stages)
    books = Table("book", "fills", title="books")
    for name, count in report.fills.items():
        books.add_row(name, str(count))
    console.print(books)
    if report.failures:
        console.print("failed orders by reason:", report.failures)
    if report.agree:
        fills = sum(count for book, count in report.fills.items() if book.endswith("venue"))
        held = ", ".join(f"{amount} {name}" for name, amount in report.amounts.items())
        console.print(f"[bold green]the books agree[/]: {fills} fills; position: {held}", soft_wrap=True)
        return
    for difference in report.differences:
        print(difference, file=sys.stderr)
    console.print(f"[bold red]{len(report.differences)} differences[/]")
