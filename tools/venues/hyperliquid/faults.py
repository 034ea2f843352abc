"""Faults that a test can order: each is a count of how often it still happens, or a value until it is reset."""

from __future__ import annotations

COUNTED = frozenset(("drop_next_reply", "http_429_burst", "http_500_burst", "http_502_burst"))
VALUED = frozenset(("delay_reply_ms",))


class Faults:
    """What is still to go wrong."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}

    def order(self, name: str, amount: int) -> None:
        """Arm a fault: so many times for a counted one, the value for another; 0 disarms.

        Raises:
            ValueError: an unknown fault or a negative amount.
        """
        if name not in COUNTED | VALUED:
            raise ValueError(f"unknown fault {name!r}")
        if amount < 0:
            raise ValueError(f"{name}={amount}: not below zero")
        self._left[name] = amount

    def reset(self) -> None:
        """Disarm everything."""
        self._left.clear()

    def take(self, name: str) -> bool:
        """Whether a counted fault happens now; it is then one fewer."""
        left = self._left.get(name, 0)
        if left:
            self._left[name] = left - 1
        return left > 0

    def value(self, name: str) -> int:
        """The value of a fault, 0 when it is not armed."""
        return self._left.get(name, 0)

    @property
    def armed(self) -> dict[str, int]:
        """Everything that is armed."""
        return {name: left for name, left in self._left.items() if left}
