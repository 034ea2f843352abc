"""The report of `bench ipc`: rounds reduced to medians, ratios round by round, and the targets.

A ratio is taken within each round, where both candidates met the same machine, and its median over the rounds is what
counts; a quotient of two medians would compare different moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from latentspeed.tools.bench.ipc_traffic import CANDIDATES

SCHEMA: Final = 1
FLAT: Final = 1.25

Rounds = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Latency:
    """One way, nanoseconds; `times_limit` is how many times the C ring's median."""

    label: str
    p50_ns: float
    p99_ns: float
    p999_ns: float
    times_limit: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Million records a second, and the share of the C ring's; None where there are no batches."""

    label: str
    single_millions: float
    batched_millions: float | None
    single_of_limit: float
    batched_of_limit: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Nanoseconds of one call, and how many times an empty C call's."""

    ns: float
    times_empty: float


@dataclass(frozen=True, slots=True)
class Waking:
    """Microseconds from ring to record, and how many times its bare mechanism's median."""

    p50_us: float
    p99_us: float
    times_bare: float


@dataclass(frozen=True, slots=True)
class Target:
    """What was to be reached, the figure that decides, and whether it was reached; None: not measured."""

    name: str
    wanted: str
    figure: float | None
    reached: bool | None


@dataclass(frozen=True, slots=True)
class IpcReport:
    """The result of `bench ipc`, and its JSON."""

    schema: int
    machine: Mapping[str, Any]
    rounds: int
    quick: bool
    left_out: Mapping[str, str]
    latency: Mapping[str, Latency]
    throughput: Mapping[str, Throughput]
    calls: Mapping[str, Cost]
    waking: Mapping[str, Waking]
    writer_cpu_ns: Mapping[str, Mapping[str, float]]
    allocations: Mapping[str, float]
    targets: Sequence[Target]


def median(values: Sequence[float]) -> float:
    """The median of the rounds."""
    return float(np.median(values))


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median([a / b for a, b in zip(over, under, strict=True)])


def latencies(rounds: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Latency]:
    """From each round's percentiles in nanoseconds."""
    found = {}
    limit = [one["p50"] for one in rounds["limit"]]
    for name, seen in rounds.items():
        p50 = [one["p50"] for one in seen]
        p99, p999 = (median([one[key] for one in seen]) for key in ("p99", "p999"))
        found[name] = Latency(CANDIDATES[name].name, median(p50), p99, p999, ratio(p50, limit))
    return found


def throughputs(single: Rounds, batched: Rounds) -> dict[str, Throughput]:
    """From each round's nanoseconds per record."""
    found = {}
    for name, seen in single.items():
        many = batched.get(name)
        found[name] = Throughput(
            CANDIDATES[name].name,
            1e3 / median(seen),
            1e3 / median(many) if many else None,
            ratio(single["limit"], seen),
            ratio(batched["limit"], many) if many else None,
        )
    return found


def costs(rounds: Rounds) -> dict[str, Cost]:
    """From each round's nanoseconds a call."""
    return {name: Cost(median(seen), ratio(seen, rounds["empty C call"])) for name, seen in rounds.items()}


def wakings(rounds: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Waking]:
    """From each round's percentiles in nanoseconds."""
    bare = {"parked strategy": "bare futex", "parked gateway": "uvloop on an eventfd"}
    found = {}
    for name, seen in rounds.items():
        p50, against = [one["p50"] for one in seen], [one["p50"] for one in rounds[bare.get(name, name)]]
        found[name] = Waking(median(p50) / 1e3, median([one["p99"] for one in seen]) / 1e3, ratio(p50, against))
    return found


def judge(
    latency: Mapping[str, Sequence[Mapping[str, float]]],
    throughput: Mapping[str, Throughput],
    single: Rounds,
    batched: Rounds,
    calls: Rounds,
    waking: Mapping[str, Waking],
    polled: Rounds,
    allocations: Mapping[str, float],
) -> list[Target]:
    """Every target with its figure."""
    p50 = {name: [one["p50"] for one in seen] for name, seen in latency.items()}
    ours = p50["ring"]
    empty = calls["empty C call"]

    def at_most(name: str, figure: float, bound: float) -> Target:
        return Target(name, f"<= {bound:g}", figure, figure <= bound)

    def at_least(name: str, figure: float | None, bound: float) -> Target:
        return Target(name, f">= {bound:g}", figure, None if figure is None else figure >= bound)

    def faster_than(peer: str, bound: float) -> Target:
        times = ratio(p50[peer], ours) if peer in p50 else None
        return at_least(f"one-way p50, times faster than {CANDIDATES[peer].name}", times, bound)

    def per_empty(name: str) -> float:
        return ratio(calls[name], empty)

    def of_plain(seen: Rounds) -> float:
        return ratio(seen["plain"], seen["ring"])

    kept = max(value for name, value in allocations.items() if name.startswith(("ring read:", "ring drain:", "queue")))
    return [
        at_most("one-way p50 of the ring, times the C ring's", ratio(ours, p50["limit"]), 1.8),
        faster_than("iceoryx2", 15),
        faster_than("numpy", 12),
        at_most("push of a reused record, times an empty C call", per_empty("push"), 2),
        at_most("pop of a reused record, times an empty C call", per_empty("pop"), 2),
        at_most("read of the ring, times an empty C call", per_empty("read"), 2),
        at_most("publish on the ring, times an empty C call", per_empty("publish"), 2),
        at_most("attribute of a record, a float, times an empty C call", per_empty("attribute, float"), 2.5),
        at_most(
            "attribute of a record, an integer of 41 bits, times an empty C call", per_empty("attribute, integer"), 2.5
        ),
        at_most(
            "order built and pushed, times one struct.pack_into",
            ratio(calls["order set, then push"], calls["struct.pack_into"]),
            1,
        ),
        at_least("throughput one by one, share of the C ring's", throughput["ring"].single_of_limit, 0.6),
        at_least("throughput one by one, share of the plain C ring's", of_plain(single), 0.6),
        at_least("throughput in batches, share of the C ring's", throughput["ring"].batched_of_limit, 0.6),
        at_least("throughput in batches, share of the plain C ring's", of_plain(batched), 0.6),
        at_most(
            "writer's CPU per publish, dearest of 8 and 32 polling readers, times 1 reader's",
            max(ratio(polled[count], polled["1"]) for count in polled),
            FLAT,
        ),
        at_most("bytes allocated by a message on the reading path", kept, 0),
        at_most("parked strategy, times a bare futex", waking["parked strategy"].times_bare, 1.5),
        at_most("parked gateway, times uvloop on an eventfd", waking["parked gateway"].times_bare, 1.2),
    ]
