"""`latentspeed soak`: minutes of trading through scripted chaos, and a table that says whether everything agrees."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from latentspeed.tools.console import report_console
from latentspeed.tools.harnesses import DEFAULT_VENUE, harness_module
from latentspeed.tools.proving.engine_under_test import RunFailed
from latentspeed.tools.soak.harness import SoakHarness
from latentspeed.tools.soak.run import SoakReport, run_soak


def load_harness(venue: str) -> SoakHarness:
    """The harness of a venue, from the module that has its name. Raises typer.BadParameter where there is none."""
    try:
        harness = harness_module(venue, "soak").HARNESS()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--venue") from None
    assert isinstance(harness, SoakHarness)
    return harness


def soak(
    venue: Annotated[str, typer.Option(help="Which venue to trade on.")] = DEFAULT_VENUE,
    seed: Annotated[int, typer.Option(help="Decides everything that goes wrong, and the market.")] = 7,
    minutes: Annotated[float, typer.Option(help="How long the strategies trade.")] = 5.0,
    keep: Annotated[Path | None, typer.Option(help="Work in this folder and leave it, with every log.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file, too.")] = None,
) -> None:
    """Strategies trade through scripted chaos; at the end venue and engine must agree on everything."""
    if not minutes > 0:
        raise typer.BadParameter("must be above 0", param_hint="--minutes")
    console = report_console()
    harness = load_harness(venue)
    with tempfile.TemporaryDirectory(prefix="latentspeed-soak-") as name:
        folder = Path(name) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        try:
            report = run_soak(harness, folder, seed, minutes * 60.0, console)
        except RunFailed as error:
            typer.echo(f"soak: {error}", err=True)
            raise typer.Exit(1) from None
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    show(report, console)
    if report.differences:
        raise typer.Exit(1)


def show(report: SoakReport, console: Console) -> None:
    """The closing table; differences go to standard error, a line each."""
    table = Table("what", "count", title=f"{report.venue}, seed {report.seed}, {report.seconds:g} s of trading")
    for title, rows in (
        ("injected", report.injected),
        ("came to pass", report.happened),
        ("orders", report.orders),
        ("orders by final state", report.final_states),
        ("failed orders", report.failures),
        ("orders at the venue", report.venue_states),
        ("fills", report.fills),
        ("position in lots", report.position),
        ("fees", report.fees),
        ("balance", report.balances),
        ("cash, by the gateway's fills", {"": report.cash} if report.cash else {}),
        ("gateway lives", {"": report.gateway_epochs}),
        ("differences", {"": len(report.differences)}),
    ):
        if rows:
            table.add_section()
        for name, count in rows.items():
            table.add_row(f"{title}: {name}".rstrip(": "), str(count))
    console.print(table)
    for difference in report.differences:
        print(difference, file=sys.stderr)
    agreed = "[bold red]venue and engine differ[/]" if report.differences else "[bold green]venue and engine agree[/]"
    console.print(agreed)
