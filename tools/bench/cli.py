"""`latentspeed bench`: measure this machine with the local venue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from latentspeed.connectors.errors import ConnectorError
from latentspeed.tools.bench.orders import OrderBenchReport, Transport, run_order_bench
from latentspeed.tools.bench.send import ORDERS, run_send_bench
from latentspeed.tools.bench.send_dydx_v4 import run_dydx_v4_send_bench
from latentspeed.tools.bench.sign_costs import ROUNDS
from latentspeed.tools.bench.sign_dydx_v4 import run_dydx_v4_sign_bench
from latentspeed.tools.bench.sign_hyperliquid import run_hyperliquid_sign_bench
from latentspeed.tools.console import report_console
from latentspeed.tools.latency import LatencySummary


def orders(
    rate: Annotated[float, typer.Option(min=1.0, max=20_000.0, help="Orders a second.")] = 1000.0,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600.0, help="How long to send.")] = 30.0,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report here.", show_default=False)] = None,
    idle: Annotated[str, typer.Option(help="How the strategy waits: park, backoff or spin.")] = "park",
    transport: Annotated[Transport, typer.Option(help="How the gateway sends: http or ws.")] = Transport.HTTP,
    limits: Annotated[
        bool, typer.Option("--limits", help="The venue keeps its rate limits, and the gateway stays below them.")
    ] = False,
) -> None:
    """Send orders at a fixed rate through strategy, gateway and local venue, and account for every one.

    Exits 1 when an order was lost or strategy, gateway and venue count different fills.
    """
    console = Console(stderr=True)
    report = run_order_bench(
        rate,
        seconds,
        idle=idle,
        transport=transport,
        limits=limits,
        say=lambda line: console.print(line, style="dim"),
    )
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    show(report, report_console())
    if not report.is_good:
        raise typer.Exit(1)


SIGN_BENCHES = {"hyperliquid": run_hyperliquid_sign_bench, "dydx_v4": run_dydx_v4_sign_bench}


def sign(
    venue: Annotated[str, typer.Option(help="Which venue: hyperliquid or dydx_v4.")] = "hyperliquid",
    rounds: Annotated[int, typer.Option(min=1, max=999, help="Interleaved rounds.")] = ROUNDS,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report here.", show_default=False)] = None,
) -> None:
    """Measure what it takes from an order in hand to its signed bytes, beside a bare signature and the official client.

    Exits 1 when one order costs more than is wanted.
    """
    if venue not in SIGN_BENCHES:
        raise typer.BadParameter(f"{venue!r} is none of {', '.join(SIGN_BENCHES)}", param_hint="--venue")
    console = Console(stderr=True)
    report = SIGN_BENCHES[venue](rounds=rounds, say=lambda line: console.print(line, style="dim"))
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    table = Table(f"signing for {venue}", "times a bare signature", "us an order", box=None)
    for name, cost in report.costs.items():
        table.add_row(name, f"{cost.times_bare:.2f}", f"{cost.us:.1f}")
    out = report_console()
    out.print(table)
    for name, why in report.left_out.items():
        out.print(f"left out: {name}, {why}", soft_wrap=True)
    out.print(f"one order, wanted at most {report.wanted}: {'reached' if report.is_good else 'NOT REACHED'}")
    if not report.is_good:
        raise typer.Exit(1)


SEND_BENCHES = {"hyperliquid": run_send_bench, "dydx_v4": run_dydx_v4_send_bench}


def send(
    venue: Annotated[str, typer.Option(help="Which venue: hyperliquid or dydx_v4.")] = "hyperliquid",
    orders: Annotated[int, typer.Option(min=1, max=1_000_000, help="Orders by each way.")] = ORDERS,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report here.", show_default=False)] = None,
) -> None:
    """Measure what it takes from an order's signed bytes to the venue's socket, by each way that an order can go."""
    if venue not in SEND_BENCHES:
        raise typer.BadParameter(f"{venue!r} is none of {', '.join(SEND_BENCHES)}", param_hint="--venue")
    console = Console(stderr=True)
    try:
        report = SEND_BENCHES[venue](orders=orders, say=lambda line: console.print(line, style="dim"))
    except ConnectorError as error:
        raise typer.BadParameter(str(error), param_hint="--venue") from None
    if json is not None:
        json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    table = Table(
        f"sending to {venue}", "times the limit", "p50 us", "p99 us", "answered: times the limit", "p50 us", box=None
    )
    for name, cost in report.costs.items():
        there = (f"{cost.arrival_times_limit:.2f}", f"{cost.arrival_p50_us:.0f}", f"{cost.arrival_p99_us:.0f}")
        table.add_row(name, *there, f"{cost.answer_times_limit:.2f}", f"{cost.answer_p50_us:.0f}")
    report_console().print(table)


def show(report: OrderBenchReport, console: Console) -> None:
    """Print the report."""
    counts = report.orders
    refused = ", ".join(f"{count} {name}" for name, count in counts.refused.items()) or "0"
    console.print(
        f"orders: {counts.sent} sent ({report.achieved_rate:.0f} a second), {counts.acknowledged} acknowledged, "
        f"{counts.filled} filled, {counts.cancelled} cancelled, {counts.expired} expired, {counts.failed} failed, "
        f"{refused} refused, {counts.lost} lost",
        soft_wrap=True,
    )
    for reason, count in counts.reasons.items():
        console.print(f"  {count} {reason}", markup=False)
    console.print("fills: " + ", ".join(f"{name} {count}" for name, count in report.fills.items()))
    table = Table("microseconds", "orders", "p50", "p99", "p99.9", "max", box=None)
    for name, summary in (*report.stages.items(), *report.strategy.items()):
        table.add_row(name, *_figures(summary))
    console.print(table)
    for name, cost in report.processes.items():
        memory = f"{cost.rss_mb:.0f} MB ({cost.rss_growth_mb:+.1f} MB during the load)"
        console.print(f"{name}: {cost.cpu_percent:.0f} % of a core, {memory}")
    allocations = report.allocations
    console.print(
        f"memory an order: {_figure(allocations.strategy_blocks_per_order)} blocks kept by the strategy, "
        f"{_figure(allocations.gateway_blocks_per_order)} by the gateway; a call allocates "
        f"{_figure(allocations.call_peak_bytes)} bytes at its peak",
        soft_wrap=True,
    )
    for error, count in report.gateway_errors.items():
        console.print(f"gateway error, {count} times: {error}", style="red", soft_wrap=True)
    for identifier, why in report.lost.items():
        console.print(f"lost {identifier}: {why}", style="red", soft_wrap=True)


def _figures(summary: LatencySummary) -> tuple[str, ...]:
    figures = (summary.p50_us, summary.p99_us, summary.p999_us, summary.max_us)
    return (str(summary.count), *(f"{value:,.0f}" for value in figures))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
