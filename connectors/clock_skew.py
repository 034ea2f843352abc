"""How far a venue's clock is from this machine's, estimated from answers that carry the venue's time.

    before                 after          this machine, ns since the epoch
      |----- request ----->|
              venue_ms                    somewhere in between, cut to a millisecond

The venue read its clock between `before` and `after`. Taken for the middle of the two, the estimate is off by at most
half the round trip, however unequal the two ways are, and by half the venue's millisecond. A short round trip is worth
more than a long one, so the sharpest estimate is kept for as long as later ones do not contradict it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

VENUE_STEP_NS = 1_000_000
DRIFT_PPM = 100
"""By how much two clocks may part, in millionths of the time that has passed; twice what a bad crystal does."""


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """By how much a venue's clock is ahead of this machine's: `skew_ns`, off by at most `error_ns` when measured."""

    skew_ns: int
    error_ns: int
    measured_mono_ns: int

    def error_at(self, mono_ns: int) -> int:
        """The error bound at a later moment: clocks drift apart."""
        return self.error_ns + max(0, mono_ns - self.measured_mono_ns) * DRIFT_PPM // 1_000_000


class SkewEstimate:
    """The best of the measurements so far."""

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current: ClockSkew | None = None

    def add(self, before_utc_ns: int, venue_ms: int, after_utc_ns: int, *, mono_ns: int | None = None) -> ClockSkew:
        """Take an answer into account; returns the estimate from now on.

        The new one counts unless the one before is sharper still and agrees with it: a clock that was set is noticed at
        the next measurement.
        """
        now = time.monotonic_ns() if mono_ns is None else mono_ns
        half_way = max(0, after_utc_ns - before_utc_ns) // 2
        venue_ns = venue_ms * 1_000_000 + VENUE_STEP_NS // 2
        new = ClockSkew(venue_ns - before_utc_ns - half_way, half_way + VENUE_STEP_NS // 2, now)
        old = self.current
        if old is not None:
            error_ns = old.error_at(now)
            if error_ns < new.error_ns and abs(old.skew_ns - new.skew_ns) <= error_ns + new.error_ns:
                return old
        self.current = new
        return new
