"""`latentspeed bench ipc`: runs the bench and prints its tables, ratios first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from latentspeed.tools.bench.ipc import ROUNDS, parse_peers, run_ipc_bench
from latentspeed.tools.bench.ipc_report import IpcReport
from latentspeed.tools.console import report_console


def ipc(
    peers: Annotated[
        str | None,
        typer.Option(help="Comma-separated peers: numpy, iceoryx2, mqueue, pipe, pyzmq.", show_default="all"),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report here.", show_default=False)] = None,
    rounds: Annotated[int, typer.Option(min=1, max=99, help="Interleaved rounds.")] = ROUNDS,
    quick: Annotated[bool, typer.Option("--quick", help="See that it runs; the figures mean nothing.")] = False,
) -> None:
    """Measure the shared memory beside a C ring and what others use, on two cores.

    A peer that is not installed is left out, and the run says so: pip install 'latentspeed[bench]' brings all.
    """
    console = Console(stderr=True)
    found = run_ipc_bench(
        parse_peers(peers), rounds=rounds, quick=quick, say=lambda line: console.print(line, style="dim", markup=False)
    )
    if json is not None:
        json.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    show(found, report_console())


def show(found: IpcReport, console: Console) -> None:
    """Print the report."""
    machine = found.machine
    first, second = machine["cores"]
    loads = f"load {machine['load_before']:.1f} before, {machine['load_after']:.1f} after"
    console.print(
        f"{machine['processor']}, cores {first} and {second}, Python {machine['python']}; {loads}; "
        f"medians of {found.rounds} rounds",
        soft_wrap=True,
    )
    for table in (_latency(found), _throughput(found), _calls(found), _waking(found), _readers(found)):
        console.print()
        console.print(table)
    console.print()
    kept = ", ".join(f"{name} {value:.0f}" for name, value in found.allocations.items())
    console.print(f"bytes allocated a message: {kept}", soft_wrap=True)
    console.print()
    console.print(_targets(found))
    for name, why in found.left_out.items():
        console.print(f"left out: {name}, {why}", soft_wrap=True, markup=False)


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _latency(found: IpcReport) -> Table:
    table = _table("one way, 128 bytes, spinning", "times the limit", "p50 ns", "p99", "p99.9")
    for row in found.latency.values():
        table.add_row(
            row.label, f"{row.times_limit:.2f}", *(f"{v:,.0f}" for v in (row.p50_ns, row.p99_ns, row.p999_ns))
        )
    return table


def _throughput(found: IpcReport) -> Table:
    table = _table("throughput, million a second", "of the limit", "one by one", "of the limit", "in batches")
    for row in found.throughput.values():
        table.add_row(
            row.label,
            f"{row.single_of_limit:.2f}",
            f"{row.single_millions:.2f}",
            _or_dash(row.batched_of_limit),
            _or_dash(row.batched_millions),
        )
    return table


def _calls(found: IpcReport) -> Table:
    table = _table("one call from Python", "times an empty C call", "ns")
    for name, cost in found.calls.items():
        table.add_row(name, f"{cost.times_empty:.2f}", f"{cost.ns:.1f}")
    return table


def _waking(found: IpcReport) -> Table:
    table = _table("waking a parked process", "times the bare one", "p50 us", "p99")
    for name, row in found.waking.items():
        table.add_row(name, f"{row.times_bare:.2f}", f"{row.p50_us:.1f}", f"{row.p99_us:.1f}")
    return table


def _readers(found: IpcReport) -> Table:
    counts = list(found.writer_cpu_ns["polling"])
    table = _table("writer's CPU ns a publish, readers:", *counts)
    for kind, label in (("polling", "polling at 1 kHz"), ("parked", "parked, all woken by each publish")):
        table.add_row(label, *(f"{found.writer_cpu_ns[kind][count]:,.0f}" for count in counts))
    return table


def _targets(found: IpcReport) -> Table:
    table = _table("target", "wanted", "figure", "")
    words = {True: "reached", False: "NOT REACHED", None: "not measured"}
    for target in found.targets:
        table.add_row(target.name, target.wanted, _or_dash(target.figure), words[target.reached])
    return table


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
