"""How far each session had committed its own book when it ended, though several sessions followed in one slot.

The ledger adds the books of a slot's dead sessions up; a row's generation is that of the last one. Sampled often, each
change of a generation gives that session's own totals as the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import BookTotals, LedgerGroup, ledger_index
from latentspeed.engine.records import BookRow
from latentspeed.ipc import SegmentReader


@dataclass(frozen=True, slots=True)
class Commit:
    """What a session had committed to its own book, and the event-ring cursor behind the last fill of it."""

    totals: BookTotals = field(default_factory=BookTotals)
    through_cursor: int = 0


class Departures:
    """Follows the DEPARTED rows of one instrument; call `poll` more often than a slot changes hands twice.

    Parameters: `segment` attached read-only; `sizes` its sizes; `number` the instrument's.
    """

    def __init__(self, segment: SegmentReader, sizes: SharedMemorySettings, number: int) -> None:
        self._table = segment.table("ledger")
        self._rows = [
            ledger_index(LedgerGroup.DEPARTED, slot, number, sizes.sessions, sizes.instruments)
            for slot in range(sizes.sessions)
        ]
        self._last = [(0, BookTotals())] * sizes.sessions
        self._row = BookRow()
        self._commits: dict[int, Commit] = {}

    def poll(self) -> None:
        """Note the sessions whose books were folded since the last call."""
        row = self._row
        for slot, index in enumerate(self._rows):
            generation, before = self._last[slot]
            if not self._table.read(index, row) or row.generation == generation:
                continue
            totals = BookTotals.from_row(row)
            self._commits[row.generation] = Commit(totals.less(before), row.through_cursor)
            self._last[slot] = (row.generation, totals)

    def commit_of(self, generation: int) -> Commit:
        """What a dead session had committed; nothing for one that never did."""
        return self._commits.get(generation, Commit())
