"""Periodic calls on the monotonic clock, without drift: the n-th call is due at start + n x interval.

A timer that is late calls once and goes on with its grid; it never catches up with a burst.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from time import monotonic_ns


class Timer:
    """One periodic call; `cancel()` ends it."""

    __slots__ = ("callback", "due_mono_ns", "interval_ns", "is_cancelled")

    def __init__(self, interval_ns: int, callback: Callable[[], object], due_mono_ns: int) -> None:
        self.interval_ns = interval_ns
        self.callback = callback
        self.due_mono_ns = due_mono_ns
        self.is_cancelled = False

    def cancel(self) -> None:
        """Make no more calls."""
        self.is_cancelled = True

    def advance(self, now_mono_ns: int) -> None:
        """Move to the first time of the grid that is still to come."""
        missed = (now_mono_ns - self.due_mono_ns) // self.interval_ns
        self.due_mono_ns += (missed + 1) * self.interval_ns

    def __lt__(self, other: Timer) -> bool:
        return self.due_mono_ns < other.due_mono_ns


def interval_in_ns(seconds: float) -> int:
    """An interval in nanoseconds. Raises ValueError for anything that is not a positive finite time."""
    if not 0.0 < seconds < float("inf"):
        raise ValueError(f"a timer's interval must be positive and finite, not {seconds!r} s")
    return max(1, round(seconds * 1e9))


class Timers:
    """All timers of one loop, in the order in which they are due."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[Timer] = []

    def every(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` every `seconds`, first after one interval."""
        interval_ns = interval_in_ns(seconds)
        timer = Timer(interval_ns, callback, monotonic_ns() + interval_ns)
        heapq.heappush(self._heap, timer)
        return timer

    @property
    def next_due_mono_ns(self) -> int | None:
        """When the next call is due; None without a timer."""
        while self._heap and self._heap[0].is_cancelled:
            heapq.heappop(self._heap)
        return self._heap[0].due_mono_ns if self._heap else None

    def run_due(self, now_mono_ns: int) -> int:
        """Make the calls that are due at `now_mono_ns`, each at most once; returns how many were made."""
        calls = 0
        while (due := self.next_due_mono_ns) is not None and due <= now_mono_ns:
            timer = heapq.heappop(self._heap)
            timer.advance(now_mono_ns)
            heapq.heappush(self._heap, timer)
            timer.callback()
            calls += 1
        return calls
