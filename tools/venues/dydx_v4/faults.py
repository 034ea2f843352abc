"""What may go wrong on the chain on purpose."""

from __future__ import annotations

from collections import Counter

from latentspeed.tools.venues.dydx_v4.refusals import TxRefused

COUNTED = frozenset(
    {
        "drop_stateful",  # accepted by the check, never in a block
        "drop_match",  # matched here, but not in the proposer's block
        "miss_cancel",  # accepted by the check, the order stays and nobody tells of a cancel
        "late_cancel",  # accepted and told by the indexer, but the proposer still has the order
        "lose_order",  # accepted by the check, never heard of again
        "hide_order",  # in the books, but the indexer's node has not seen it come
    }
)


class ChainFaults:
    """Faults that wait to happen, and whether the chain is halted."""

    def __init__(self) -> None:
        self.is_halted = False
        self._counts: Counter[str] = Counter()
        self._refusals: list[TxRefused] = []

    def order(self, name: str, count: int = 1) -> None:
        """Lets a counted fault happen so many times. Raises ValueError for an unknown one."""
        if name not in COUNTED:
            raise ValueError(f"unknown fault {name!r}: {', '.join(sorted(COUNTED))}")
        self._counts[name] += count

    def refuse(self, codespace: str, code: int, count: int = 1, detail: str = "injected") -> None:
        """Refuses the next transactions with a code."""
        self._refusals += [TxRefused(codespace, code, detail) for _ in range(count)]

    def takes(self, name: str) -> bool:
        """Whether a counted fault happens now; it is then used up once."""
        if not self._counts[name]:
            return False
        self._counts[name] -= 1
        return True

    def next_refusal(self) -> TxRefused | None:
        """The refusal for the next transaction, if one waits."""
        return self._refusals.pop(0) if self._refusals else None

    def reset(self) -> None:
        """Lets nothing happen any more."""
        self.is_halted = False
        self._counts.clear()
        self._refusals.clear()
