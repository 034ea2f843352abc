"""The whole report, on a real segment: one fill dropped, doubled or altered in any book must be named."""

import os
from dataclasses import replace

import pytest
from support.ledger_fakes import FakeTable, Fuse
from support.memory_venue import RULE

from latentspeed.connectors.client_order_id import join
from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.instruments import rule_to_record
from latentspeed.engine.ledger import BookTotals
from latentspeed.engine.ledger_keeper import LedgerKeeper
from latentspeed.engine.records import BookRow, Instrument, OrderEvent, OrderEventKind, Position
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.ipc import SegmentReader, SegmentWriter
from latentspeed.tools.proving.departures import Departures
from latentspeed.tools.proving.recorder import Recorder, book_fill
from latentspeed.tools.proving.report import compare_all
from latentspeed.tools.proving.strategy_books import StrategyBook

SIZES = SharedMemorySettings(
    sessions=2, orders_per_session=16, queue_capacity=16, event_ring=256, market_ring=16, instruments=2, balances=2
)
PAIR = "BTC-USD"


class Books:
    """Two sessions' fills on a real segment: the maker read all of its fills, the taker was killed before its last."""

    def __init__(self):
        self.writer = SegmentWriter.open(f"report-{os.getpid()}", engine_layout(SIZES))
        instrument = Instrument()
        rule_to_record(RULE, instrument)
        self.writer.table("instruments").write(0, instrument)
        ring = self.writer.ring("events")
        self.keeper = LedgerKeeper(self.writer.table("ledger"), ring, SIZES.sessions, SIZES.instruments)
        self.fills = {1: [], 2: []}
        self.keeper.start_session(0, 1)
        self.keeper.start_session(1, 2)
        committed = {1: BookTotals(), 2: BookTotals()}
        cursors = {1: 0, 2: 0}
        for number in range(9):
            generation = 1 + number % 2
            event = self.publish(number, generation)
            self.fills[generation].append(book_fill(event))
            if number < 7 or generation == 1:
                digest = fill_digest(
                    event.trade_id, event.trade_type, event.price_units, event.amount_lots, event.fee_units
                )
                committed[generation].add_fill(
                    event.trade_type, event.price_units, event.amount_lots, event.fee_units, digest
                )
                cursors[generation] = event.event_index + 1
        for generation, totals in committed.items():
            table, row = FakeTable(Fuse()), BookRow()
            totals.to_row(row)
            row.set(generation=generation, through_cursor=cursors[generation])
            table.write(0, row)
            self.keeper.settle_death(generation - 1, generation, table)
        self.net = self.net_lots()
        position = Position()
        position.set(trading_pair=PAIR, amount_lots=5 + self.net, opening_lots=5)
        self.writer.table("positions").write(0, position)
        self.segment = SegmentReader.attach(self.writer.name, None)
        self.recorder = Recorder(self.segment)
        self.recorder.poll()
        self.departures = Departures(self.segment, SIZES, 0)
        self.departures.poll()
        self.venue = [fill for fills in self.fills.values() for fill in fills]

    def publish(self, number, generation):
        event = OrderEvent()
        event.set(
            client_order_id=join(9, generation - 1, 1 + number),
            generation=generation,
            trading_pair=PAIR,
            exchange_order_id=str(7000 + number),
            trade_type=1 + number % 3 % 2,
            price_units=600000 + number,
            amount_lots=10 + number,
            fee_units=100 + number,
            trade_id=str(50 + number),
            event=OrderEventKind.FILLED,
            event_index=self.writer.ring("events").tail,
        )
        self.writer.ring("events").publish(event)
        self.keeper.count(event, event.event_index, generation - 1)
        return event

    def net_lots(self):
        fills = [fill for fills in self.fills.values() for fill in fills]
        return sum(fill.amount_lots if fill.side == 1 else -fill.amount_lots for fill in fills)

    def compare(self, venue_lots=None):
        strategies = [
            StrategyBook("maker", 0, 1, tuple(self.fills[1])),
            StrategyBook("taker", 1, 2, tuple(self.fills[2])),
        ]
        lots = 5 + self.net if venue_lots is None else venue_lots
        return compare_all(self.recorder, self.departures, strategies, self.venue, lots, self.segment, SIZES, 0, RULE)

    def close(self):
        self.segment.close()
        self.writer.unlink()


@pytest.fixture
def books():
    books = Books()
    yield books
    books.close()


def test_books_that_agree_say_so_and_show_the_fill_that_a_killed_strategy_never_saw(books):
    comparison, positions = books.compare()
    assert comparison.differences == []
    assert (comparison.fills, comparison.orphaned) == (9, 1)
    assert positions == {"opening": 5, "venue": 5 + books.net, "gateway": 5 + books.net}


def altered(fill):
    return replace(fill, fee_units=fill.fee_units + 1)


def change(fills, how):
    """One fill of a list dropped, doubled or altered."""
    first = fills[0]
    return {"drop": fills[1:], "double": [first, *fills], "alter": [change_of(first), *fills[1:]]}[how]


def change_of(entry):
    return replace(entry, fill=altered(entry.fill)) if hasattr(entry, "fill") else altered(entry)


@pytest.mark.parametrize("how", ["drop", "double", "alter"])
@pytest.mark.parametrize("book", ["venue", "gateway", "maker", "taker"])
def test_one_fill_wrong_in_any_book_is_a_difference(books, book, how):
    if book == "venue":
        books.venue = change(books.venue, how)
    elif book == "gateway":
        books.recorder.fills = change(books.recorder.fills, how)
    else:
        generation = 1 if book == "maker" else 2
        books.fills[generation] = change(books.fills[generation], how)
    comparison, _ = books.compare()
    assert not comparison.agree
    assert any("50" in difference or "51" in difference for difference in comparison.differences)


@pytest.mark.parametrize("group", range(4))
def test_a_ledger_row_off_by_one_lot_is_a_difference(books, group):
    table, row = books.writer.table("ledger"), BookRow()
    index = next(i for i in range(len(table)) if table.read(i, row) and i // (2 * SIZES.instruments) == group)
    table.read(index, row)
    row.bought_lots += 1
    table.write(index, row)
    comparison, _ = books.compare()
    # SESSION rows are the living sessions' and none lives here.
    assert comparison.agree is (group == 0)


def test_a_position_that_differs_is_named(books):
    comparison, _ = books.compare(venue_lots=0)
    assert any("position BTC-USD: venue says 0 lots" in difference for difference in comparison.differences)
