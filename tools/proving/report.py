"""The demo's report: what was sent and what became of it, how long each stage took, and whether three books agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from latentspeed.connectors import TradingRule
from latentspeed.engine.ledger import BookTotals, LedgerGroup, ledger_index
from latentspeed.engine.records import BookRow, Position
from latentspeed.ipc import SegmentReader
from latentspeed.tools.latency import LatencySummary
from latentspeed.tools.proving.books import (
    BookFill,
    Comparison,
    compare_books,
    compare_positions,
    compare_totals,
    totals_of,
)
from latentspeed.tools.proving.departures import Departures
from latentspeed.tools.proving.recorder import RecordedFill, Recorder
from latentspeed.tools.proving.strategy_books import StrategyBook, committed_fills


@dataclass(slots=True)
class Report:
    """The demo's outcome; `differences` is empty exactly when everything agrees."""

    seconds: float = 0.0
    orders: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    stages: dict[str, LatencySummary] = field(default_factory=dict)
    fills: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    """In lots, as each book has them."""
    amounts: dict[str, str] = field(default_factory=dict)
    """The venues' positions as decimals, by pair."""
    kills: list[dict[str, object]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    gateway_epochs: int = 0
    """How many lives gateways had, together."""
    differences: list[str] = field(default_factory=list)

    @property
    def agree(self) -> bool:
        """True where no difference was found."""
        return not self.differences

    def to_json(self) -> bytes:
        """The report for programs."""
        return orjson.dumps({"agree": self.agree, **asdict(self)}, option=orjson.OPT_INDENT_2)


def compare_all(
    recorder: Recorder,
    departures: Departures,
    strategies: Iterable[StrategyBook],
    venue: list[BookFill],
    venue_lots: int,
    segment: SegmentReader,
    sizes: Any,
    number: int,
    rule: TradingRule,
) -> tuple[Comparison, dict[str, int]]:
    """Compare the three books after quiescence, fill by fill, then the gateway's ledger, then the positions.

    Every session has ended, so each strategy's commits stand in the ledger's DEPARTED rows and what it never saw in
    ORPHANED. Returns the comparison and the positions in lots.
    """
    books = list(strategies)
    ledger = _Ledger(segment, sizes, number)
    own = [fill for fill in recorder.fills if fill.client_order_id]
    published: dict[int, list[BookFill]] = {}
    for fill in own:
        published.setdefault(fill.client_order_id, []).append(fill.fill)
    commits = {book.generation: departures.commit_of(book.generation) for book in books}
    differences: list[str] = []
    committed = {
        f"{book.name}#{book.generation}": committed_fills(
            book, commits[book.generation].totals.fill_count, published, differences
        )
        for book in books
    }
    for name, book in zip(committed, books, strict=True):
        expected = {rule.trading_pair: commits[book.generation].totals}
        found = totals_of(committed[name]) or {rule.trading_pair: BookTotals()}
        compare_totals(f"the book of {name} against its commit", expected, found, differences)
    orphaned = _orphans(own, {generation: commit.through_cursor for generation, commit in commits.items()})
    result = compare_books(venue, [fill.fill for fill in recorder.fills], committed, orphaned)
    result.differences += differences
    if recorder.lost:
        result.differences.append(f"the recorder was lapped and missed {recorder.lost} events")
    _compare_ledger(ledger, own, committed, orphaned, rule.trading_pair, result)
    positions = _positions(segment, number, venue_lots)
    opening = positions.pop("opening")
    net = sum(fill.amount_lots if fill.side == 1 else -fill.amount_lots for fill in venue)
    result.differences += compare_positions(opening, net, positions, rule.trading_pair)
    return result, {"opening": opening, **positions}


class _Ledger:
    """The gateway's ledger rows of one instrument."""

    def __init__(self, segment: SegmentReader, sizes: Any, number: int) -> None:
        self._table = segment.table("ledger")
        self._sizes = sizes
        self._number = number
        self._row = BookRow()

    def row(self, group: LedgerGroup, slot: int = 0) -> BookRow:
        """One row; empty where it was never written."""
        index = ledger_index(group, slot, self._number, self._sizes.sessions, self._sizes.instruments)
        self._table.read(index, self._row)
        return self._row

    def sum(self, group: LedgerGroup) -> BookTotals:
        """A group's rows of every slot added up."""
        totals = BookTotals()
        for slot in range(self._sizes.sessions if group < LedgerGroup.TOTAL else 1):
            totals.add(BookTotals.from_row(self.row(group, slot)))
        return totals


def _orphans(fills: list[RecordedFill], committed_through: dict[int, int]) -> list[BookFill]:
    return [fill.fill for fill in fills if fill.event_index >= committed_through.get(fill.generation, 0)]


def _compare_ledger(
    ledger: _Ledger,
    own: list[RecordedFill],
    committed: dict[str, list[BookFill]],
    orphaned: list[BookFill],
    pair: str,
    result: Comparison,
) -> None:
    """The gateway's totals, which it keeps across kills, must be those of the fills that it published."""
    by_strategies = [fill for fills in committed.values() for fill in fills]
    for where, fills, group in (
        ("ledger TOTAL", [fill.fill for fill in own], LedgerGroup.TOTAL),
        ("ledger DEPARTED", by_strategies, LedgerGroup.DEPARTED),
        ("ledger ORPHANED", orphaned, LedgerGroup.ORPHANED),
    ):
        expected = totals_of(fills) or {pair: BookTotals()}
        compare_totals(where, expected, {pair: ledger.sum(group)}, result.differences)


def _positions(segment: SegmentReader, number: int, venue_lots: int) -> dict[str, int]:
    row = Position()
    segment.table("positions").read(number, row)
    return {"opening": row.opening_lots, "venue": venue_lots, "gateway": row.amount_lots}
