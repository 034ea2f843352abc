"""Client order ids: 64 bits made without asking anyone, never used twice.

    bit 63 | 62 ............ 32 | 31 ....... 24 | 23 ........ 0
         0 | incarnation        | session slot  | counter

The incarnation is larger than that of any earlier run, so a restarted process cannot repeat an id. The text form, used
in every public call, is `LS` and 16 lower-case hexadecimal digits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PREFIX = "LS"
IN_PROCESS_SLOT = 255
MAX_INCARNATION = (1 << 31) - 1
MAX_SLOT = (1 << 8) - 1
MAX_COUNTER = (1 << 24) - 1
TEXT_LENGTH = len(PREFIX) + 16
_HEX_DIGITS = frozenset("0123456789abcdef")
# 2024-01-01T00:00:00Z: 31 bits of seconds from here last until 2092.
_EPOCH_2024_S = 1_704_067_200


def new_incarnation(last: int) -> int:
    """The next incarnation: seconds since 2024, and always above `last`."""
    return max(last + 1, int(time.time()) - _EPOCH_2024_S)


def join(incarnation: int, slot: int, counter: int) -> int:
    """The 64-bit id of its three parts. Raises ValueError for a part out of range."""
    if not 0 < incarnation <= MAX_INCARNATION:
        raise ValueError(f"incarnation {incarnation} is not in 1..{MAX_INCARNATION}")
    if not 0 <= slot <= MAX_SLOT:
        raise ValueError(f"session slot {slot} is not in 0..{MAX_SLOT}")
    if not 0 <= counter <= MAX_COUNTER:
        raise ValueError(f"counter {counter} is not in 0..{MAX_COUNTER}")
    return incarnation << 32 | slot << 24 | counter


def split(id64: int) -> tuple[int, int, int]:
    """(incarnation, slot, counter) of a 64-bit id."""
    return id64 >> 32, id64 >> 24 & MAX_SLOT, id64 & MAX_COUNTER


def format_client_order_id(id64: int) -> str:
    """The text form of a 64-bit id."""
    return f"LS{id64:016x}"


def parse_client_order_id(text: str) -> int:
    """The 64-bit id of a text form. Raises ValueError for anything that `format_client_order_id` cannot make."""
    if len(text) != TEXT_LENGTH or not text.startswith(PREFIX) or not _HEX_DIGITS.issuperset(text[2:]):
        raise ValueError(f"{text!r} is not a client order id: expected LS and 16 lower-case hexadecimal digits")
    id64 = int(text[2:], 16)
    if id64 >> 63:
        raise ValueError(f"{text!r} is not a client order id: its highest bit must be 0")
    return id64


class ClientOrderIdGenerator:
    """Counts ids up within one incarnation and session slot; thread-safe.

    An exhausted counter takes a new incarnation from `renew(last_incarnation)` and never wraps.
    """

    __slots__ = ("_base", "_counter", "_incarnation", "_lock", "_renew", "_slot")

    def __init__(
        self, incarnation: int, slot: int = IN_PROCESS_SLOT, *, renew: Callable[[int], int] = new_incarnation
    ) -> None:
        self._base = join(incarnation, slot, 0)
        self._incarnation = incarnation
        self._slot = slot
        self._counter = 0
        self._renew = renew
        self._lock = threading.Lock()

    @property
    def incarnation(self) -> int:
        """The incarnation that the next id carries, unless the counter is exhausted."""
        return self._incarnation

    @property
    def slot(self) -> int:
        """The session slot that every id carries."""
        return self._slot

    def next(self) -> int:
        """A new 64-bit id."""
        with self._lock:
            if self._counter == MAX_COUNTER:
                incarnation = self._renew(self._incarnation)
                if incarnation <= self._incarnation:
                    raise ValueError(f"new incarnation {incarnation} is not above {self._incarnation}")
                self._base = join(incarnation, self._slot, 0)
                self._incarnation = incarnation
                self._counter = 0
            self._counter += 1
            return self._base | self._counter
