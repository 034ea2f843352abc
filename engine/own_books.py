"""A session's own books: what its strategy has been told was filled, committed in its session block.

A row is written only after the strategy's callbacks for the fill have returned, so that the books say what the strategy
had taken in, and a gateway that outlives it can tell what it had not.
"""

from __future__ import annotations

from typing import Protocol

from latentspeed.engine.ledger import BookTotals
from latentspeed.engine.records import BookRow


class _Table(Protocol):
    def write(self, index: int, record: BookRow, /) -> int: ...


class OwnBooks:
    """Totals of own fills by instrument number.

    Parameters: `table` the writer of the session's `book` table; `generation` the session's, stamped in each row, so
    that rows of an earlier session in the same slot do not count.
    """

    __slots__ = ("_changed", "_generation", "_row", "_table", "_totals")

    def __init__(self, table: _Table, generation: int) -> None:
        self._table: _Table | None = table
        self._generation = generation
        self._row = BookRow()
        self._totals: dict[int, BookTotals] = {}
        self._changed: set[int] = set()

    def count(self, instrument: int, fills: int, side: int, lots: int, value: int, fee_units: int, digest: int) -> None:
        """Add `fills` fills of one side by their sums; nothing is committed yet."""
        totals = self._totals.get(instrument)
        if totals is None:
            totals = self._totals[instrument] = BookTotals()
        totals.add_fills(fills, side, lots, value, fee_units, digest)
        self._changed.add(instrument)

    def adopt(self, instrument: int, missed: BookTotals) -> None:
        """Add fills that nothing but the gateway's own count tells of; nothing is committed yet."""
        totals = self._totals.get(instrument)
        if totals is None:
            totals = self._totals[instrument] = BookTotals()
        totals.add(missed)
        self._changed.add(instrument)

    def touch(self, instrument: int) -> None:
        """A fill's event was read that is in the totals already: the next commit moves the row's cursor past it."""
        if instrument in self._totals:
            self._changed.add(instrument)

    def commit(self, through_cursor: int) -> None:
        """Write the rows that changed; `through_cursor` is the event-ring cursor behind the last fill counted."""
        if not self._changed or self._table is None:
            return
        row = self._row
        for instrument in self._changed:
            self._totals[instrument].to_row(row)
            row.through_cursor = through_cursor
            row.generation = self._generation
            row.instrument = instrument
            self._table.write(instrument, row)
        self._changed.clear()

    def close(self) -> None:
        """Write nothing more: the session has ended, and its block may be another's."""
        self._table = None

    def net_lots(self, instrument: int) -> int:
        """Bought less sold of an instrument, in lots."""
        totals = self._totals.get(instrument)
        return totals.net_lots if totals is not None else 0

    def totals(self, instrument: int) -> BookTotals:
        """The totals of an instrument; empty where nothing was filled."""
        return self._totals.get(instrument) or BookTotals()

    @property
    def instruments(self) -> tuple[int, ...]:
        """The numbers of the instruments that had fills."""
        return tuple(self._totals)
