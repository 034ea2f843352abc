"""What strategies wrote down against what they committed: catch-ups, kills between the two, sessions of one slot."""

import orjson
import pytest
from support.ledger_fakes import FakeTable, Fuse

from latentspeed.connectors import format_client_order_id
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import BookTotals, LedgerGroup, ledger_index
from latentspeed.engine.records import BookRow
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.departures import Commit, Departures
from latentspeed.tools.proving.strategy_books import CaughtUp, StrategyBook, committed_fills, read_strategy_books

ORDER = (9 << 32) | 5
FILLS = [BookFill("BTC-USD", f"t{n}", "700", 1, 600_000 + n, 10 + n, 100 + n) for n in range(4)]


def book(*lines):
    return StrategyBook("maker", 0, 3, lines)


def caught_up(through, fills):
    lots, fees = sum(fill.amount_lots for fill in fills), sum(fill.fee_units for fill in fills)
    return CaughtUp(ORDER, through, len(fills), lots, fees)


def test_a_catch_up_stands_for_the_fills_of_its_order_that_were_not_told_before():
    differences = []
    lines = (FILLS[0], caught_up(3, FILLS[1:3]), FILLS[3])
    assert committed_fills(book(*lines), 4, {ORDER: FILLS}, differences) == FILLS
    assert differences == []


def test_a_catch_up_that_stands_for_something_else_is_named():
    differences = []
    committed_fills(book(FILLS[0], caught_up(3, FILLS[1:2])), 2, {ORDER: FILLS}, differences)
    assert "a catch-up of order 0x900000005 stands for" in differences[0]


def test_a_fill_written_down_before_the_kill_and_never_committed_is_left_out():
    differences = []
    assert committed_fills(book(*FILLS), 3, {}, differences) == FILLS[:3]
    assert differences == []


def test_a_fill_committed_and_never_written_down_is_named():
    differences = []
    committed_fills(book(*FILLS[:2]), 3, {}, differences)
    assert differences == ["maker#3 committed 3 fills and wrote down 2"]


def test_what_strategies_write_is_read_back_without_the_line_that_a_kill_cut_off(tmp_path):
    fill = {name: getattr(FILLS[0], name) for name in BookFill.__dataclass_fields__}
    told = f"catch-up:{format_client_order_id(ORDER)}:3"
    lines = [{"slot": 2, "generation": 7, "pid": 1}, fill, {**fill, "trade_id": told, "fill_count": 2}]
    path = tmp_path / "maker-2-4711.one.fills.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)) + b'\n{"trading_pa')
    (tmp_path / "taker-4712.one.fills.jsonl").write_bytes(b"")
    [found] = read_strategy_books(tmp_path, "one")
    assert (found.name, found.slot, found.generation) == ("maker-2", 2, 7)
    assert found.fills == (FILLS[0], CaughtUp(ORDER, 3, 2, 10, 100))


@pytest.fixture
def ledger():
    return FakeTable(Fuse())


SIZES = SharedMemorySettings(sessions=2, instruments=2)


def depart(ledger, slot, generation, fill_count, cursor):
    """What the ledger's row of a slot says once a session's book has been added to it."""
    row = BookRow()
    row.set(fill_count=fill_count, bought_lots=10 * fill_count, generation=generation, through_cursor=cursor)
    ledger.write(ledger_index(LedgerGroup.DEPARTED, slot, 1, SIZES.sessions, SIZES.instruments), row)


def test_sessions_that_followed_each_other_in_a_slot_are_told_apart(ledger):
    class Segment:
        def table(self, name):
            return {"ledger": ledger}[name]

    departures = Departures(Segment(), SIZES, 1)
    departures.poll()
    depart(ledger, 0, 3, 5, 40)
    departures.poll()
    departures.poll()
    depart(ledger, 0, 8, 7, 90)
    depart(ledger, 1, 4, 1, 60)
    departures.poll()
    assert departures.commit_of(3) == Commit(BookTotals(fill_count=5, bought_lots=50), 40)
    assert departures.commit_of(8) == Commit(BookTotals(fill_count=2, bought_lots=20), 90)
    assert departures.commit_of(4) == Commit(BookTotals(fill_count=1, bought_lots=10), 60)
    assert departures.commit_of(5) == Commit()
