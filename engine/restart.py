"""When a child that ended is started again: at once at first, then slower, and at some point not at all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """The n-th failure within the window is followed by first * 2^(n-1) seconds of waiting, and the last by none."""

    first_delay_s: float = 0.2
    longest_delay_s: float = 10.0
    failures: int = 8
    window_s: float = 60.0


class RestartPolicy:
    """Counts the failures of one child."""

    def __init__(self, limits: RestartLimits) -> None:
        self.limits = limits
        self._failures: deque[float] = deque(maxlen=limits.failures)

    def failed(self, now_s: float) -> float | None:
        """Notes a failure and returns how long to wait before the next start; None means: give up."""
        limits = self.limits
        while self._failures and now_s - self._failures[0] > limits.window_s:
            self._failures.popleft()
        self._failures.append(now_s)
        if len(self._failures) >= limits.failures:
            return None
        return min(limits.longest_delay_s, limits.first_delay_s * 2.0 ** (len(self._failures) - 1))
