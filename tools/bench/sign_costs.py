"""What signing an order costs, in times of one bare signature: the rounds, the report, and what they are measured by.

Every round runs all candidates in turn, so that they meet the same machine, and counts as a ratio to the bare signature
of that round; the report is the median of the rounds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import coincurve
import numpy as np

SCHEMA: Final = 1
ROUNDS: Final = 15
ORDERS: Final = 200
OFFICIAL_ORDERS: Final = 20
"""The official clients are so much slower that fewer of their orders tell as much."""
BARE: Final = "bare signature"
ONE_ORDER: Final = "one order"
FROM_THE_START: Final = "one order, signed from the start"
OFFICIAL: Final = "official client"


@dataclass(frozen=True, slots=True)
class SignCost:
    """Microseconds an order, median of the rounds, and how many times the bare signature's of the same round."""

    us: float
    times_bare: float


@dataclass(frozen=True, slots=True)
class SignReport:
    """The result of `bench sign`, and its JSON. `left_out` says which candidates could not run, and why."""

    schema: int
    rounds: int
    costs: Mapping[str, SignCost]
    left_out: Mapping[str, str]
    wanted: float

    @property
    def is_good(self) -> bool:
        """Whether one order costs no more than is wanted."""
        return self.costs[ONE_ORDER].times_bare <= self.wanted


def cost_of(taken: Sequence[float], bare: Sequence[float]) -> SignCost:
    """What a candidate took in each round, beside the bare signatures of the same rounds."""
    ratio = float(np.median([a / b for a, b in zip(taken, bare, strict=True)]))
    return SignCost(float(np.median(taken)) / 1e3, ratio)


def timed(call: Callable[[], Any]) -> float:
    """The nanoseconds of one call."""
    began = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - began


def bare_signature() -> Callable[[], Any]:
    """One recoverable signature of a digest."""
    sign, digest = coincurve.PrivateKey(os.urandom(32)).sign_recoverable, os.urandom(32)
    return lambda: sign(digest, hasher=None)
