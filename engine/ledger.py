"""Books of fills in integers: what is added up, in which row, and how a fill is counted exactly once.

    group g, slot s, instrument i             row (g x slots + s) x n + i
    0 SESSION    fills of the live session in slot s, counted by the gateway
    1 DEPARTED   what dead sessions of slot s had committed in their own books
    2 ORPHANED   fills of dead sessions of slot s that they never committed
    3 TOTAL      every fill of an order of ours             row 3 x slots x n + i
    4 FOREIGN    fills of orders that are not ours          row (3 x slots + 1) x n + i

Once every order has ended and every event was read, TOTAL = the live strategies' own books + DEPARTED + ORPHANED, and
TOTAL + FOREIGN = the venue's fills since the recorded start. A row's `through_cursor` is the event-ring cursor behind
the last fill it counted; a fill below it is already in, so a restarted gateway replays the ring without counting twice.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum

from latentspeed.connectors.fill_digest import DIGESTS
from latentspeed.connectors.types import TradeType
from latentspeed.engine.records import BookRow

_HALF = 1 << 63


class LedgerGroup(IntEnum):
    """The groups of ledger rows."""

    SESSION = 0
    DEPARTED = 1
    ORPHANED = 2
    TOTAL = 3
    FOREIGN = 4


def ledger_index(group: LedgerGroup, slot: int, instrument: int, slots: int, instruments: int) -> int:
    """The row of a group; `slot` counts only for the first three groups."""
    if group == LedgerGroup.TOTAL:
        return 3 * slots * instruments + instrument
    if group == LedgerGroup.FOREIGN:
        return (3 * slots + 1) * instruments + instrument
    return (group * slots + slot) * instruments + instrument


@dataclass(slots=True)
class BookTotals:
    """The integers of one book of one instrument; two books agree when all of them are equal."""

    fill_count: int = 0
    bought_lots: int = 0
    sold_lots: int = 0
    bought_value: int = 0
    sold_value: int = 0
    fee_units: int = 0
    digest: int = 0

    def add_fill(self, side: int, price_units: int, amount_lots: int, fee_units: int, digest: int) -> None:
        """Count one fill."""
        self.add_fills(1, side, amount_lots, price_units * amount_lots, fee_units, digest)

    def add_fills(self, count: int, side: int, lots: int, value: int, fee_units: int, digest: int) -> None:
        """Count several fills of one side at once, by their sums."""
        self.fill_count += count
        if side == TradeType.BUY:
            self.bought_lots += lots
            self.bought_value += value
        else:
            self.sold_lots += lots
            self.sold_value += value
        self.fee_units += fee_units
        self.digest = (self.digest + digest) % DIGESTS

    def add(self, other: BookTotals) -> None:
        """Add another book to this one."""
        self.fill_count += other.fill_count
        self.bought_lots += other.bought_lots
        self.sold_lots += other.sold_lots
        self.bought_value += other.bought_value
        self.sold_value += other.sold_value
        self.fee_units += other.fee_units
        self.digest = (self.digest + other.digest) % DIGESTS

    def copy(self) -> BookTotals:
        """The same figures in a book of their own."""
        return BookTotals(*astuple(self))

    def less(self, other: BookTotals) -> BookTotals:
        """This book without what another has counted of it."""
        rest = BookTotals(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))
        rest.digest %= DIGESTS
        return rest

    @property
    def fits(self) -> bool:
        """True where every figure fits its field in a record; a book of another process may say anything."""
        signed = (self.bought_lots, self.sold_lots, self.bought_value, self.sold_value, self.fee_units)
        return 0 <= self.fill_count < DIGESTS and all(-_HALF <= figure < _HALF for figure in signed)

    @property
    def net_lots(self) -> int:
        """Bought less sold, in lots."""
        return self.bought_lots - self.sold_lots

    @property
    def is_empty(self) -> bool:
        """True where nothing was ever counted."""
        return not any(astuple(self))

    @classmethod
    def from_row(cls, row: BookRow) -> BookTotals:
        """The totals in a record."""
        return cls(
            row.fill_count,
            row.bought_lots,
            row.sold_lots,
            row.bought_value,
            row.sold_value,
            row.fee_units,
            row.digest,
        )

    def to_row(self, row: BookRow) -> None:
        """Write the totals into a record; its cursor, generation and instrument are the caller's."""
        row.fill_count = self.fill_count
        row.bought_lots = self.bought_lots
        row.sold_lots = self.sold_lots
        row.bought_value = self.bought_value
        row.sold_value = self.sold_value
        row.fee_units = self.fee_units
        row.digest = self.digest
