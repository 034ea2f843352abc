"""The gateway's own books: each fill counted once, across sessions that die and gateways that are killed.

A fill's event is published first and counted next, in one synchronous step. A gateway killed between the two leaves
one event uncounted: its successor replays the ring from the recorded `book_cursor`, and a row whose `through_cursor`
is already behind an event skips it.
"""

from __future__ import annotations

from collections.abc import Callable

from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.engine.ledger import BookTotals, LedgerGroup, ledger_index
from latentspeed.engine.records import BookRow, OrderEvent, OrderEventKind
from latentspeed.ipc import CellBusy, RecordKind, RingWriter, TableReader, TableWriter

FILL_KINDS = (OrderEventKind.PARTIALLY_FILLED, OrderEventKind.FILLED)


def is_fill(event: OrderEvent) -> bool:
    """Whether a record of the event ring tells of a fill; what fills a gap that a killed writer left does not."""
    return event.record_kind == RecordKind.DATA and event.event in FILL_KINDS


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
        """Count the fills that an earlier gateway published from `from_cursor` on; the newest's venue time, or 0."""
        tail = self._ring.tail
        newest_utc_ns = 0
        event = self._event
        for cursor in range(max(from_cursor, tail - self._ring.capacity, 0), tail):
            if self._ring.read_at(cursor, event) and is_fill(event):
                self.count(event, cursor, slot_of(event.client_order_id))
                newest_utc_ns = max(newest_utc_ns, event.venue_utc_ns)
        return newest_utc_ns

    def settle_death(self, slot: int, generation: int, committed: TableReader) -> list[str]:
        """Fold a dead session's own book into DEPARTED, and what it never committed into ORPHANED.

        `committed` reads the session block's `book` table, which another process wrote: a row that cannot be read or
        added up counts as never committed, and is named in what is returned. May be killed anywhere and run again: each
        row carries the generation that was last folded into it.
        """
        self._live_generation[slot] = 0
        damaged = []
        for instrument in range(self._instruments):
            book, cursor, problem = self._read_committed(committed, slot, instrument, generation)
            if problem:
                damaged.append(f"book of instrument {instrument}: {problem}")
            if not book.is_empty:
                self._fold(LedgerGroup.DEPARTED, slot, instrument, generation, book, cursor)
            counted = self._row(self._index(LedgerGroup.SESSION, slot, instrument)).totals
            if counted.fill_count != book.fill_count:
                # What the gateway counted for it and it did not: it never read those fills, or died while it did.
                self._fold(LedgerGroup.ORPHANED, slot, instrument, generation, counted.less(book))
        return damaged

    def _read_committed(
        self, committed: TableReader, slot: int, instrument: int, generation: int
    ) -> tuple[BookTotals, int, str]:
        """A session's own book, how far in the ring it goes, and what is wrong with it."""
        row = self._record
        try:
            if not committed.read(instrument, row) or row.generation != generation:
                return BookTotals(), 0, ""
        except CellBusy as error:
            return BookTotals(), 0, str(error)
        book, cursor = BookTotals.from_row(row), int(row.through_cursor)
        counted = self._row(self._index(LedgerGroup.SESSION, slot, instrument)).totals
        if book.fill_count > counted.fill_count:
            return BookTotals(), 0, f"it has {book.fill_count} fills where {counted.fill_count} were published"
        for group, part in ((LedgerGroup.DEPARTED, book), (LedgerGroup.ORPHANED, counted.less(book))):
            total = self._row(self._index(group, slot, instrument)).totals.copy()
            total.add(part)
            if not total.fits:
                return BookTotals(), 0, "its figures are out of range"
        return book, cursor, ""

    def totals(self, group: LedgerGroup, slot: int, instrument: int) -> BookTotals:
        """A row's totals, for reports and tests."""
        return self._row(self._index(group, slot, instrument)).totals

    def _fold(
        self,
        group: LedgerGroup,
        slot: int,
        instrument: int,
        generation: int,
        book: BookTotals,
        cursor: int = -1,
    ) -> None:
        """Add a book of a dead session to a row, once; `cursor` is how far in the ring the book goes."""
        index = self._index(group, slot, instrument)
        row = self._row(index)
        if row.generation != generation:
            row.totals.add(book)
            row.generation = generation
            if cursor >= 0:
                row.through_cursor = cursor
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
