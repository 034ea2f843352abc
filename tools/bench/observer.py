"""What a bench sees from outside: every order event that the gateway publishes, and what each process costs.

Both look without touching: the event ring is read as an inspector reads it, and the kernel counts the CPU time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from latentspeed.engine.records import OrderEventKind
from latentspeed.ipc import Lapped, SegmentReader
from latentspeed.tools.latency import STAGES, LatencySummary, stage_summaries

BATCH: Final = 8192
STAMPS: Final = tuple(dict.fromkeys(name for _, start, end in STAGES for name in (start, end)))
COLUMNS: Final = ("client_order_id", "event", "state", *STAMPS)
FILLS: Final = (OrderEventKind.PARTIALLY_FILLED, OrderEventKind.FILLED)
BLOCKS_COUNTER: Final = "python.allocated_blocks"
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class BenchFailed(Exception):
    """A bench could not be carried out; the text says what failed."""


class EventLog:
    """Every order event of a segment from its first one on.

    Parameters: `name` the segment. Raises IpcError where it cannot be attached.
    """

    def __init__(self, name: str) -> None:
        self._segment = SegmentReader.attach(name, None)
        ring = self._segment.ring("events")
        self._reader = ring.reader(cursor=0)
        self._batch = np.zeros(BATCH, ring.record_type.dtype)
        self._blocks: list[tuple[int, int]] = []
        # An empty part of each column's own type: ids are 64-bit and must never pass through a float.
        self._columns: dict[str, list[npt.NDArray[Any]]] = {name: [self._batch[name][:0].copy()] for name in COLUMNS}

    def poll(self) -> None:
        """Read what is new. Raises BenchFailed when the gateway has lapped this process."""
        try:
            while count := self._reader.read_many(self._batch):
                for name, parts in self._columns.items():
                    parts.append(self._batch[name][:count].copy())
        except Lapped as error:
            raise BenchFailed(f"the bench fell behind the gateway: {error}") from None

        blocks = self._segment.counters().get(BLOCKS_COUNTER)
        if blocks:
            self._blocks.append((time.monotonic_ns(), blocks))

    def blocks_gained(self, since_mono_ns: int) -> int | None:
        """How many blocks the gateway's interpreter holds more at the end than at a time; None where nobody counted."""
        since = [blocks for taken_mono_ns, blocks in self._blocks if taken_mono_ns >= since_mono_ns]
        return since[-1] - since[0] if since else None

    def errors(self) -> dict[str, int]:
        """The gateway's distinct errors so far, and how often each happened."""
        return {f"{error.code}: {error.text}": error.count for error in self._segment.errors()}

    def close(self) -> None:
        """Detach; what was read stays."""
        self._segment.close()

    def events(self) -> dict[str, npt.NDArray[Any]]:
        """Everything read so far, as columns in the order of the ring."""
        return {name: np.concatenate(parts) for name, parts in self._columns.items()}


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """What the gateway told of some orders: the last state of each, its fills, and the stages."""

    final_states: Mapping[int, int]
    fills: int
    stages: Mapping[str, LatencySummary]

    @classmethod
    def of(cls, events: Mapping[str, npt.NDArray[Any]], wanted: npt.NDArray[np.uint64]) -> GatewayAccount:
        """Sum up the events of the `wanted` orders. A stage is measured at each order's first acknowledged event."""
        is_wanted = np.isin(events["client_order_id"], wanted)
        of_ours = {name: column[is_wanted] for name, column in events.items()}
        ids = of_ours["client_order_id"]
        is_acknowledged = of_ours["acknowledged_mono_ns"] > 0
        _, first = np.unique(ids[is_acknowledged], return_index=True)
        return cls(
            final_states=dict(zip(ids.tolist(), of_ours["state"].tolist(), strict=True)),
            fills=int(np.isin(of_ours["event"], FILLS).sum()),
            stages=stage_summaries({name: of_ours[name][is_acknowledged][first] for name in STAMPS}),
        )


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """What a process used while the load ran: CPU as percent of one core, and memory at the end."""

    cpu_percent: float
    rss_mb: float
    rss_growth_mb: float


class CostMeter:
    """Samples CPU time and memory of processes by name."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[int, float, int]]] = {}

    def look(self, pids: Mapping[str, int | None]) -> None:
        """Take one sample of each process that runs."""
        for name, pid in pids.items():
            if pid is not None and (sample := _read_cost(pid)) is not None:
                self._samples.setdefault(name, []).append((time.monotonic_ns(), *sample))

    def costs(self, start_mono_ns: int, end_mono_ns: int) -> dict[str, ProcessCost]:
        """The cost of each process between the first and the last sample inside a time."""
        costs = {}
        for name, samples in self._samples.items():
            inside = [sample for sample in samples if start_mono_ns <= sample[0] <= end_mono_ns]
            if len(inside) < 2:
                continue
            (began, cpu_before, rss_before), (ended, cpu_after, rss_after) = inside[0], inside[-1]
            costs[name] = ProcessCost(
                cpu_percent=(cpu_after - cpu_before) / ((ended - began) / 1e9) * 100.0,
                rss_mb=rss_after / 1e6,
                rss_growth_mb=(rss_after - rss_before) / 1e6,
            )
        return costs


def _read_cost(pid: int) -> tuple[float, int] | None:
    """CPU seconds and resident bytes of a process; None when it is gone. Source: proc(5), stat and statm."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    # The name in parentheses may hold anything; user and system time are fields 14 and 15.
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S, pages * PAGE_BYTES
