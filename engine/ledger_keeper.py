"""The gateway's own books: each fill counted once, across sessions that die and gateways that are killed.

A fill's event is published first and counted next, in one synchronous step. A gateway killed between the two leaves
one event uncounted: its successor replays the ring from the recorded `book_cursor`, and a row whose `through_cursor`
is already behind an event skips it.
"""

from __future__ import annotations

from collections.abc import Callable

from latentspeed.engine.ledger import BookTotals, LedgerGroup, fill_digest, ledger_index
from latentspeed.engine.records import BookRow, OrderEvent, OrderEventKind
from latentspeed.ipc import RingWriter, TableReader, TableWriter

FILL_KINDS = (OrderEventKind.PARTIALLY_FILLED, OrderEventKind.FILLED)


class _Row:
    """One ledger row in memory, with what makes counting idempotent."""

    __slots__ = ("generation", "through_cursor", "totals")

    def __init__(self, totals: BookTotals, through_cursor: int, generation: int) -> None:
        self.totals = totals
        self.through_cursor = through_cursor
        self.generation = generation


class LedgerKeeper:
    """Counts fills into the ledger table.

    Parameters: `table` the ledger's writer; `ring` the event ring's writer; `slots` and `instruments` the sizes of the
    segment.
    """

    def __init__(self, table: TableWriter, ring: RingWriter, slots: int, instruments: int) -> None:
        self._table = table
        self._ring = ring
        self._slots = slots
        self._instruments = instruments
        self._rows: dict[int, _Row] = {}
        self._live_generation = [0] * slots
        self._record = BookRow()
        self._event = OrderEvent()

    def resume_session(self, slot: int, generation: int) -> None:
        """Go on counting for a session that was live under an earlier gateway."""
        self._live_generation[slot] = generation

    def start_session(self, slot: int, generation: int) -> None:
        """Open an empty book for a newly activated session."""
        tail = self._ring.tail
        for instrument in range(self._instruments):
            index = self._index(LedgerGroup.SESSION, slot, instrument)
            if not self._row(index).totals.is_empty:
                self._rows[index] = _Row(BookTotals(), tail, generation)
                self._write(index, instrument)
        self._live_generation[slot] = generation

    def count(self, event: OrderEvent, cursor: int, slot: int) -> None:
        """Count the fill in `event`, which stands in the ring at `cursor`; `slot` is -1 where no session owns it."""
        digest = fill_digest(event.trade_id, event.trade_type, event.price_units, event.amount_lots, event.fee_units)
        instrument = event.instrument
        if event.client_order_id == 0:
            self._count_in(self._index(LedgerGroup.FOREIGN, 0, instrument), instrument, event, cursor, digest)
            return
        self._count_in(self._index(LedgerGroup.TOTAL, 0, instrument), instrument, event, cursor, digest)
        if 0 <= slot < self._slots:
            is_live = event.generation != 0 and event.generation == self._live_generation[slot]
            group = LedgerGroup.SESSION if is_live else LedgerGroup.ORPHANED
            self._count_in(self._index(group, slot, instrument), instrument, event, cursor, digest)

    def replay(self, from_cursor: int, slot_of: Callable[[int], int]) -> int:
        """Count the fills that an earlier gateway published from `from_cursor` on; returns how many entries it read."""
        tail = self._ring.tail
        read = 0
        for cursor in range(max(from_cursor, tail - self._ring.capacity, 0), tail):
            if self._ring.read_at(cursor, self._event):
                read += 1
                if self._event.event in FILL_KINDS:
                    self.count(self._event, cursor, slot_of(self._event.client_order_id))
        return read

    def settle_death(self, slot: int, generation: int, committed: TableReader) -> None:
        """Fold a dead session's own book into DEPARTED, and what it never committed into ORPHANED.

        `committed` reads the session block's `book` table. May be killed anywhere and run again: each row carries the
        generation that was last folded into it.
        """
        self._live_generation[slot] = 0
        cursors: dict[int, int] = {}
        unread: dict[int, BookTotals] = {}
        for instrument in range(self._instruments):
            row = self._record
            has_book = committed.read(instrument, row) and row.generation == generation
            book = BookTotals.from_row(row) if has_book else BookTotals()
            committed_cursor = row.through_cursor if has_book else 0
            counted = self._row(self._index(LedgerGroup.SESSION, slot, instrument)).totals
            if has_book and not book.is_empty:
                self._fold_departed(slot, instrument, generation, book, committed_cursor)
            if counted.fill_count != book.fill_count:
                cursors[instrument] = committed_cursor
                unread[instrument] = counted.less(book)
        if cursors:
            self._fold_orphaned(slot, generation, cursors, unread)

    def totals(self, group: LedgerGroup, slot: int, instrument: int) -> BookTotals:
        """A row's totals, for reports and tests."""
        return self._row(self._index(group, slot, instrument)).totals

    def _fold_departed(
        self, slot: int, instrument: int, generation: int, book: BookTotals, committed_cursor: int
    ) -> None:
        index = self._index(LedgerGroup.DEPARTED, slot, instrument)
        row = self._row(index)
        if row.generation != generation:
            row.totals.add(book)
            row.generation = generation
            row.through_cursor = committed_cursor
            self._write(index, instrument)

    def _fold_orphaned(
        self, slot: int, generation: int, cursors: dict[int, int], unread: dict[int, BookTotals]
    ) -> None:
        """Count the ring's fills of the dead session that lie behind its last commit, instrument by instrument.

        Where the ring has overwritten some of them, `unread` counts: the session's fills as the gateway counted them,
        less what the session had committed.
        """
        tail = self._ring.tail
        missed = {instrument: BookTotals() for instrument in cursors}
        event = self._event
        for cursor in range(max(min(cursors.values()), tail - self._ring.capacity, 0), tail):
            if not self._ring.read_at(cursor, event) or event.event not in FILL_KINDS:
                continue
            if event.generation == generation and cursor >= cursors.get(event.instrument, tail):
                missed[event.instrument].add_fill(
                    event.trade_type,
                    event.price_units,
                    event.amount_lots,
                    event.fee_units,
                    fill_digest(
                        event.trade_id, event.trade_type, event.price_units, event.amount_lots, event.fee_units
                    ),
                )
        is_lapped = min(cursors.values()) < tail - self._ring.capacity
        for instrument, book in (unread if is_lapped else missed).items():
            index = self._index(LedgerGroup.ORPHANED, slot, instrument)
            row = self._row(index)
            if row.generation != generation:
                row.totals.add(book)
                row.generation = generation
                self._write(index, instrument)

    def _count_in(self, index: int, instrument: int, event: OrderEvent, cursor: int, digest: int) -> None:
        row = self._row(index)
        if cursor < row.through_cursor:
            return
        row.totals.add_fill(event.trade_type, event.price_units, event.amount_lots, event.fee_units, digest)
        row.through_cursor = cursor + 1
        self._write(index, instrument)

    def _index(self, group: LedgerGroup, slot: int, instrument: int) -> int:
        return ledger_index(group, slot, instrument, self._slots, self._instruments)

    def _row(self, index: int) -> _Row:
        row = self._rows.get(index)
        if row is None:
            record = self._record
            if self._table.read(index, record):
                row = _Row(BookTotals.from_row(record), record.through_cursor, record.generation)
            else:
                row = _Row(BookTotals(), 0, 0)
            self._rows[index] = row
        return row

    def _write(self, index: int, instrument: int) -> None:
        row = self._rows[index]
        record = self._record
        row.totals.to_row(record)
        record.through_cursor = row.through_cursor
        record.generation = row.generation
        record.instrument = instrument
        self._table.write(index, record)
