"""`latentspeed demo`: a venue, a gateway, a maker and a taker, and at the end three books that must agree."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from latentspeed.ipc import segment_names
from latentspeed.tools.demo.chaos import STRATEGIES, TAKER_PERIOD_S, ChaosPlan, make_plan
from latentspeed.tools.harnesses.hyperliquid_engine import (
    CONNECTOR,
    SECRET_VARIABLE,
    connector_section,
    new_account,
    start_venue,
)
from latentspeed.tools.harnesses.hyperliquid_reads import venue_fills, venue_position_lots
from latentspeed.tools.proving.engine_under_test import (
    EngineShape,
    Kill,
    child_pids,
    start_engine,
    venue_address,
    write_config,
)
from latentspeed.tools.proving.report import Report
from latentspeed.tools.proving.settlement import await_position, compare_books_of, instruments, tracebacks
from latentspeed.tools.proving.trading import Trading
from latentspeed.tools.proving.trouble_maker import ControlPort, TroubleMaker

MODULES = "latentspeed.tools.demo"
PAIR = "BTC-USD"
CLIP = 0.001


def demo(
    seconds: Annotated[float, typer.Option(help="How long the strategies trade.")] = 20.0,
    tape: Annotated[Path | None, typer.Option(help="A recorded market to trade in; synthetic without.")] = None,
    speed: Annotated[float, typer.Option(help="How fast the tape is played.")] = 1.0,
    kill: Annotated[list[str] | None, typer.Option(help="A process to kill -9, as in gateway@10.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic market.")] = 7,
    chaos: Annotated[int | None, typer.Option(help="Kill, stop and break at random, by this seed.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Work in this folder and leave it, with every log.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file, too.")] = None,
) -> None:
    """Two strategies trade through one gateway on a local venue; the report proves that nothing was lost."""
    try:
        kills = [Kill.parse(text) for text in kill or []]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--kill") from None
    console = Console()
    plan = None if chaos is None else make_plan(chaos, seconds)
    with tempfile.TemporaryDirectory(prefix="latentspeed-demo-") as name:
        folder = Path(name) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        report = run_demo(folder, seconds, tape, speed, seed, kills, console, plan)
    if json is not None:
        json.write_bytes(report.to_json())
    show(report, console)
    if not report.agree:
        raise typer.Exit(1)


def run_demo(
    folder: Path,
    seconds: float,
    tape: Path | None,
    speed: float,
    seed: int,
    kills: list[Kill],
    console: Console,
    plan: ChaosPlan | None = None,
) -> Report:
    """Run venue, engine and strategies in `folder` and compare the books. Raises RunFailed when a part fails."""
    engine_name = f"demo-{os.getpid()}"
    shape = EngineShape(MODULES)
    if plan is not None:
        shape = EngineShape(MODULES, STRATEGIES, "on-failure", "park", plan.shared_memory)
        console.print(f"chaos {plan.seed}: orders by {plan.order_transport}, blocks of {plan.block_ms} ms")
    key, account = new_account()
    started_utc_ms = time.time_ns() // 1_000_000 - 1000
    with start_venue(folder, tape, speed, seed, plan.block_ms if plan is not None else 0) as venue:
        address = venue_address(venue)
        base_url = address["url"]
        # The strategies share this clock, so that both stop at the same moment whenever they were started.
        stop_at = time.monotonic() + seconds + 4.0
        environment = {
            "LATENTSPEED_PROVING_CONNECTOR": CONNECTOR,
            "LATENTSPEED_PROVING_PAIR": PAIR,
            "LATENTSPEED_PROVING_CLIP": str(CLIP),
            "LATENTSPEED_PROVING_FOLDER": str(folder),
            "LATENTSPEED_PROVING_STOP_AT": str(stop_at),
        }
        if plan is not None:
            environment["LATENTSPEED_PROVING_TAKER_PERIOD"] = str(TAKER_PERIOD_S)
        transport = "http" if plan is None else plan.order_transport
        connector = connector_section(base_url, account, PAIR, transport)
        config = write_config(folder, engine_name, connector, environment, shape)
        with start_engine(folder, config, {SECRET_VARIABLE: key}) as engine:
            run = Trading(folder, engine_name, CONNECTOR, engine, shape.strategies, console, stop_at)
            trouble = None
            if plan is not None:
                pids = functools.partial(child_pids, folder, engine_name)
                trouble = TroubleMaker(plan.troubles, pids, ControlPort(address["control_url"]), console.print)
            report = run.trade(seconds, kills, trouble)
            number, rules = instruments(run.segment)
            rule = next(rule for rule in rules.values() if rule.trading_pair == PAIR)
            lots = venue_position_lots(base_url, account, rule)
            await_position(run, number[PAIR], lots)
            fills = venue_fills(base_url, account, started_utc_ms, rules)
            compare_books_of(run, folder, fills, lots, number[PAIR], rule, report)
            code = engine.stop()
            if code != 0:
                report.differences.append(f"the engine ended with code {code}:\n{engine.tail()}")
    report.differences += tracebacks(folder)
    report.differences += [f"left in /dev/shm: {name}" for name in segment_names() if name.startswith(engine_name)]
    return report


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
    books = Table("book", "fills", title="three books")
    for name, count in report.fills.items():
        books.add_row(name, str(count))
    console.print(books)
    if report.failures:
        console.print("failed orders by reason:", report.failures)
    if report.agree:
        console.print(f"[bold green]the books agree[/]: {report.fills['venue']} fills, position {report.positions}")
        return
    for difference in report.differences:
        print(difference, file=sys.stderr)
    console.print(f"[bold red]{len(report.differences)} differences[/]")
