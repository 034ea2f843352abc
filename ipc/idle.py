"""How a strategy waits for its rings: spin, back off, or park.

    BusySpin    burns a core, hears within a cache miss
    BackOff     spins, then yields, then sleeps ever longer up to a bound
    Park        spins briefly, then sleeps on the rings' bells until the gateway wakes it

All of them wait in C without the GIL, return within `timeout_s`, and let signals through. After a wait that returned
False the caller looks at the segment's state and at its gateway's lock. A reader without a bell, one that is not
attached with a session, may not park: it is looked at every millisecond, and may be lapped.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable

from latentspeed.ipc._core import RingReader, WaitSet

MAX_WAIT_S = 0.1
_SPIN_SLICE_NS = 1_000_000


class IdleStrategy(ABC):
    """A way to wait until one of several ring readers has something to read."""

    def __init__(self, readers: Iterable[RingReader] = ()) -> None:
        self._set = WaitSet()
        for reader in readers:
            self.add(reader)

    def add(self, reader: RingReader) -> None:
        """Wait for this reader, too."""
        self._set.add(reader)

    def remove(self, reader: RingReader) -> None:
        """No longer wait for this reader."""
        self._set.remove(reader)

    def ready(self) -> bool:
        """Has any reader something to read now?"""
        return self._set.ready()

    @abstractmethod
    def wait(self, timeout_s: float = MAX_WAIT_S) -> bool:
        """Wait until a reader has something, at most `timeout_s` and at most 100 ms; was there something?"""


class BusySpin(IdleStrategy):
    """Never sleeps. For a strategy that has a core of its own."""

    def wait(self, timeout_s: float = MAX_WAIT_S) -> bool:
        """Spin. Signals are served every millisecond."""
        left_ns = _bounded_ns(timeout_s)
        until = time.monotonic_ns() + left_ns
        while not self._set.wait(min(left_ns, _SPIN_SLICE_NS), 0):
            left_ns = until - time.monotonic_ns()
            if left_ns <= 0:
                return False
        return True


class BackOff(IdleStrategy):
    """Sleeps longer the longer nothing comes: from `min_sleep_us`, doubling, up to `max_sleep_us`."""

    def __init__(
        self,
        readers: Iterable[RingReader] = (),
        *,
        spin_us: float = 20.0,
        min_sleep_us: float = 50.0,
        max_sleep_us: float = 1000.0,
    ) -> None:
        super().__init__(readers)
        if not 0 < min_sleep_us <= max_sleep_us:
            raise ValueError(f"back-off from {min_sleep_us} us to {max_sleep_us} us; 0 < min <= max wanted")
        self._spin_ns = _spin_ns(spin_us)
        self._min_sleep_s = min_sleep_us / 1e6
        self._max_sleep_s = max_sleep_us / 1e6

    def wait(self, timeout_s: float = MAX_WAIT_S) -> bool:
        """Spin once, then sleep and look in turn."""
        until = time.monotonic() + _bounded_ns(timeout_s) / 1e9
        if self._set.wait(self._spin_ns, 0):
            return True
        sleep_s = self._min_sleep_s
        while not self._set.ready():
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(sleep_s, left_s))
            sleep_s = min(2 * sleep_s, self._max_sleep_s)
        return True


class Park(IdleStrategy):
    """Sleeps in the kernel until a bell rings. Costs nothing while nothing happens."""

    def __init__(self, readers: Iterable[RingReader] = (), *, spin_us: float = 50.0) -> None:
        super().__init__(readers)
        self._spin_ns = _spin_ns(spin_us)

    def wait(self, timeout_s: float = MAX_WAIT_S) -> bool:
        """Spin for `spin_us`, then park. Returns early, False, when a bell rang for a change of state."""
        bounded = _bounded_ns(timeout_s)
        spin = min(self._spin_ns, bounded)
        return self._set.wait(spin, bounded - spin)


def _bounded_ns(timeout_s: float) -> int:
    if timeout_s < 0:
        raise ValueError(f"timeout_s {timeout_s} is negative")
    return int(min(timeout_s, MAX_WAIT_S) * 1e9)


def _spin_ns(spin_us: float) -> int:
    if not 0 <= spin_us <= 100_000:
        raise ValueError(f"spin_us {spin_us} is not in 0 .. 100000")
    return int(spin_us * 1000)
