"""Compares a session's own books with what the gateway counted for it, where a lap may have swallowed a fill for good.

A lapped reader catches up from the rows of its orders. A late fill of an order whose row another has taken since stands
in no row any more; the gateway's ledger still has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import BookTotals, LedgerGroup, ledger_index
from latentspeed.engine.own_books import OwnBooks
from latentspeed.engine.records import BookRow


class _Table(Protocol):
    def read(self, index: int, out: BookRow, /) -> int: ...


class SessionAudit:
    """The comparison of one session.

    Parameters: `ledger` reads the gateway's ledger table; `slot` the session's; `sizes` the segment's; `books` the
    session's own.
    """

    def __init__(self, ledger: _Table, slot: int, sizes: SharedMemorySettings, books: OwnBooks) -> None:
        self._ledger = ledger
        self._rows = [
            ledger_index(LedgerGroup.SESSION, slot, number, sizes.sessions, sizes.instruments)
            for number in range(sizes.instruments)
        ]
        self._books = books
        self._row = BookRow()
        self.is_due = False

    def missed(self, cursor: int) -> Iterator[tuple[int, BookTotals]]:
        """Each instrument with the fills that the gateway counted and the books lack, all events below `cursor` read.

        Stays due while one of the two is ahead of the other: an event is yet to be read, or a fill yet to be counted.
        """
        self.is_due = False
        for number, index in enumerate(self._rows):
            row = self._row
            if not self._ledger.read(index, row):
                continue
            if row.through_cursor > cursor:
                self.is_due = True
                continue
            counted, own = BookTotals.from_row(row), self._books.totals(number)
            if counted.fill_count > own.fill_count:
                yield number, counted.less(own)
            elif counted != own:
                self.is_due = True
