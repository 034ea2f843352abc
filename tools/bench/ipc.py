"""`bench ipc`: the shared memory beside what else there is, in one run.

    this process, core a  <-- candidates, one burst each in turn -->  partner process, core b
    calls, allocations: in this process alone      waking: one side parked      readers: many on core b

Every figure is the median of the rounds; a round measures everything once, in an order that moves from round to round,
so that a candidate and what it is compared to meet the same machine.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from latentspeed.tools.bench import ipc_report as report
from latentspeed.tools.bench.ipc_calls import call_bench
from latentspeed.tools.bench.ipc_limit import compile_limit, load_limit, ns_per_tick
from latentspeed.tools.bench.ipc_process import Partner, pinned, two_cores
from latentspeed.tools.bench.ipc_readers import COUNTS, ReaderBench
from latentspeed.tools.bench.ipc_traffic import (
    PEERS,
    Side,
    measure_latency,
    measure_throughput,
    open_candidates,
)
from latentspeed.tools.bench.ipc_waking import KINDS, measure_waking
from latentspeed.tools.bench.observer import BenchFailed

ROUNDS: Final = 7
BURSTS: Final = 3
"""Bursts of each candidate in a round, spread over the round."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything one round measures."""

    scale: float
    repeats: int
    wakes: int
    reader_bursts: int


FULL: Final = Effort(scale=1.0, repeats=200, wakes=100, reader_bursts=300)
QUICK: Final = Effort(scale=0.02, repeats=2, wakes=5, reader_bursts=5)


@dataclass
class Seen:
    """What the rounds measured, one entry a round."""

    latency: dict[str, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))
    single: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    batched: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    waking: dict[str, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))
    polling: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    parked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def parse_peers(text: str | None) -> tuple[str, ...]:
    """The peers of a comma-separated list; all of them for None. Raises BenchFailed naming the known ones."""
    names = PEERS if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in PEERS:
            raise BenchFailed(f"no peer {name!r}; there are {', '.join(PEERS)}")
    return names


def run_ipc_bench(
    peers: tuple[str, ...] = PEERS,
    *,
    rounds: int = ROUNDS,
    quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> report.IpcReport:
    """Run the bench; `say` is told what goes on. Raises BenchFailed where a side fails or something is missing."""
    effort = QUICK if quick else FULL
    ours, theirs = two_cores()
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="latentspeed-bench-"))
        stack.enter_context(pinned(ours))
        library = compile_limit(Path(folder))
        limit = load_limit(library)
        tick_ns = ns_per_tick(limit)
        mine, partner = _two_sides(stack, library, theirs)
        left_out = open_candidates(mine, partner, peers)
        for name, why in left_out.items():
            say(f"left out: {name}, {why}")
        calls = stack.enter_context(call_bench(limit, mine.end.token))
        readers = ReaderBench(mine.end.token, theirs)
        stack.callback(readers.close)
        allocations = calls.allocations()
        seen = Seen()
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}")
            _one_round(number, effort, mine, partner, calls, readers, tick_ns, seen)
    machine = {
        "processor": _processor(),
        "cores": [ours, theirs],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }
    return _report(seen, machine, rounds, quick, left_out, allocations)


def _two_sides(stack: ExitStack, library: Path, core: int) -> tuple[Side, Partner]:
    """This side, and the process that is the other; both are given up at the end of the stack."""
    token = f"bench-{secrets.token_hex(4)}"
    here, there = socket.socketpair()
    stack.callback(here.close)
    stack.callback(there.close)
    eventfd = os.eventfd(0, os.EFD_NONBLOCK)
    stack.callback(os.close, eventfd)
    mine = Side(0, token, str(library), {"pipe": here.fileno(), "eventfd": eventfd})
    stack.callback(mine.close)
    arguments = {
        "side": 1,
        "token": token,
        "library": str(library),
        "fds": {"pipe": there.fileno(), "eventfd": eventfd},
    }
    passed = (there.fileno(), eventfd)
    return mine, stack.enter_context(Partner("latentspeed.tools.bench.ipc_traffic:Side", arguments, core, passed))


def _one_round(
    number: int, effort: Effort, mine: Side, partner: Partner, calls: Any, readers: ReaderBench, tick: float, seen: Seen
) -> None:
    """Everything once; fast candidates in several bursts, taking turns."""
    names = list(mine.channels)
    turned = names[number % len(names) :] + names[: number % len(names)]
    latency: dict[str, list[npt.NDArray[np.int64]]] = defaultdict(list)
    single: dict[str, list[float]] = defaultdict(list)
    batched: dict[str, list[float]] = defaultdict(list)
    for _ in range(BURSTS):
        for name in turned:
            latency[name].append(measure_latency(mine, partner, name, effort.scale / BURSTS))
            single[name].append(measure_throughput(mine, partner, name, False, effort.scale / BURSTS) * tick)
            if mine.channels[name].batch:
                batched[name].append(measure_throughput(mine, partner, name, True, effort.scale / BURSTS) * tick)
    for name in names:
        seen.latency[name].append(_percentiles(np.concatenate(latency[name]), tick))
        seen.single[name].append(report.median(single[name]))
        if name in batched:
            seen.batched[name].append(report.median(batched[name]))
    for name, ns in calls.measure(effort.repeats).items():
        seen.calls[name].append(ns)
    waking: dict[str, list[npt.NDArray[np.int64]]] = defaultdict(list)
    for _ in range(BURSTS):
        for kind in KINDS:
            waking[kind].append(measure_waking(mine, partner, kind, effort.wakes // BURSTS + 1))
    for kind, took in waking.items():
        seen.waking[kind].append(_percentiles(np.concatenate(took), tick))
    for count in COUNTS:
        seen.polling[str(count)].append(readers.measure(count, False, effort.reader_bursts))
    for count in COUNTS:
        seen.parked[str(count)].append(readers.measure(count, True, effort.reader_bursts))


def _percentiles(ticks: npt.NDArray[np.int64], tick_ns: float) -> dict[str, float]:
    p50, p99, p999 = np.percentile(ticks, (50.0, 99.0, 99.9), method="higher") * tick_ns
    return {"p50": float(p50), "p99": float(p99), "p999": float(p999)}


def _report(
    seen: Seen,
    machine: dict[str, Any],
    rounds: int,
    quick: bool,
    left_out: dict[str, str],
    allocations: dict[str, float],
) -> report.IpcReport:
    throughput = report.throughputs(seen.single, seen.batched)
    waking = report.wakings(seen.waking)
    return report.IpcReport(
        schema=report.SCHEMA,
        machine=machine,
        rounds=rounds,
        quick=quick,
        left_out=left_out,
        latency=report.latencies(seen.latency),
        throughput=throughput,
        calls=report.costs(seen.calls),
        waking=waking,
        writer_cpu_ns={
            "polling": {count: report.median(values) for count, values in seen.polling.items()},
            "parked": {count: report.median(values) for count, values in seen.parked.items()},
        },
        allocations=allocations,
        targets=report.judge(
            seen.latency, throughput, seen.single, seen.batched, seen.calls, waking, seen.polling, allocations
        ),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
