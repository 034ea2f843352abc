"""Percentiles of an order's stages, from the stamps that order rows and order events carry.

written -> read            the command lay in the session's queue
read -> signed             the gateway validated, tracked and signed it
signed -> sent             it was published as submitted and written to the socket
sent -> acknowledged       the network and the venue
acknowledged -> published  the answer was decoded, reduced and published
written -> published       the whole way, seen from the strategy
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Stage, the field of its start, the field of its end. All are CLOCK_MONOTONIC nanoseconds; 0 is not stamped.
STAGES: Final = (
    ("written_to_read", "command_written_mono_ns", "command_read_mono_ns"),
    ("read_to_signed", "command_read_mono_ns", "signed_mono_ns"),
    ("signed_to_sent", "signed_mono_ns", "sent_mono_ns"),
    ("sent_to_acknowledged", "sent_mono_ns", "acknowledged_mono_ns"),
    ("acknowledged_to_published", "acknowledged_mono_ns", "published_mono_ns"),
    ("written_to_published", "command_written_mono_ns", "published_mono_ns"),
)


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """How long a stage took over `count` orders; all figures but the count are microseconds."""

    count: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


def summarise(durations_ns: npt.ArrayLike) -> LatencySummary | None:
    """The percentiles of durations in nanoseconds, or None where there are none.

    A percentile is a duration that was measured (the next higher one), never a value between two of them.
    """
    values = np.asarray(durations_ns, dtype=np.float64)
    if not values.size:
        return None
    p50, p99, p999 = np.percentile(values, (50.0, 99.0, 99.9), method="higher") / 1e3
    return LatencySummary(values.size, float(p50), float(p99), float(p999), float(values.max() / 1e3))


def stage_summaries(stamps: Mapping[str, npt.NDArray[np.int64]] | npt.NDArray[Any]) -> dict[str, LatencySummary]:
    """The percentiles of every stage that at least one order went through.

    `stamps` maps each stamp's field to an array with one entry an order: a structured array of order events as it is,
    or a dict of columns. An order that lacks one of a stage's two stamps is left out of that stage.
    """
    summaries = {}
    for stage, start, end in STAGES:
        started, ended = np.asarray(stamps[start]), np.asarray(stamps[end])
        has_both = (started > 0) & (ended >= started)
        summary = summarise((ended - started)[has_both])
        if summary is not None:
            summaries[stage] = summary
    return summaries
