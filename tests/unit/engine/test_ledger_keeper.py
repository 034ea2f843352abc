"""Each fill is counted once, in the right book, wherever a gateway or a strategy is killed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledger_fakes import FakeRing, FakeTable, Fuse, Killed

from latentspeed.connectors.client_order_id import split
from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.engine.ledger import BookTotals, LedgerGroup
from latentspeed.engine.ledger_keeper import LedgerKeeper
from latentspeed.engine.records import BookRow, OrderEvent, OrderEventKind

SLOTS, INSTRUMENTS = 3, 2


def order_id(slot, counter):
    return (77 << 32) | (slot << 24) | counter


def slot_of(client_order_id):
    return split(client_order_id)[1] if client_order_id else -1


class World:
    """A segment whose gateway may be killed at any write, with an oracle beside it."""

    def __init__(self):
        self.fuse = Fuse()
        self.ledger = FakeTable(self.fuse)
        self.ring = FakeRing(self.fuse)
        self.book_cursor = 0
        self.generation = 0
        self.states = dict.fromkeys(range(SLOTS), ("FREE", 0))
        self.client = {slot: (FakeTable(Fuse()), {}) for slot in range(SLOTS)}
        self.trades = 0
        self.expected = {
            "total": BookTotals(),
            "foreign": BookTotals(),
            "departed": BookTotals(),
            "orphaned": BookTotals(),
        }
        self.live = {slot: BookTotals() for slot in range(SLOTS)}
        self.keeper = self.new_keeper()

    def new_keeper(self):
        return LedgerKeeper(self.ledger, self.ring, SLOTS, INSTRUMENTS)

    def restart(self):
        """A new gateway: resume, replay, settle the deaths that were under way."""
        self.keeper = self.new_keeper()
        for slot, (state, generation) in self.states.items():
            if state == "ACTIVE":
                self.keeper.resume_session(slot, generation)
        self.keeper.replay(self.book_cursor, slot_of)
        self.book_cursor = self.ring.tail
        for slot, (state, generation) in self.states.items():
            if state == "DRAINING":
                self.keeper.settle_death(slot, generation, self.client[slot][0])
                self.states[slot] = ("FREE", generation)

    def survive(self, action):
        """Run an action of the gateway; when it is killed, a new gateway takes over."""
        try:
            action()
        except Killed:
            self.restart()

    def attach(self, slot):
        if self.states[slot][0] != "FREE":
            return
        self.generation += 1
        self.states[slot] = ("ACTIVE", self.generation)
        self.live[slot] = BookTotals()
        self.client[slot] = (FakeTable(Fuse()), {})
        try:
            self.keeper.start_session(slot, self.generation)
        except Killed:
            # A session is activated only once its book is open: a killed gateway leaves the claim to the next one.
            self.states[slot] = ("FREE", self.generation)
            self.restart()

    def fill(self, slot, instrument, lots, side, *, is_read):
        """Publish and count a fill; its strategy, if it lives and reads, commits it to its own book."""
        self.trades += 1
        event = OrderEvent()
        state, generation = self.states[slot] if slot >= 0 else ("FREE", 0)
        event.set(
            client_order_id=order_id(slot, self.trades) if slot >= 0 else 0,
            generation=generation,
            instrument=instrument,
            trade_type=side,
            price_units=1000 + self.trades,
            amount_lots=lots,
            fee_units=self.trades,
            trade_id=str(self.trades),
            event=OrderEventKind.PARTIALLY_FILLED,
        )
        published = self.ring.tail

        def publish_and_count():
            cursor = self.ring.tail
            self.ring.publish(event)
            self.keeper.count(event, cursor, slot)
            self.book_cursor = cursor + 1

        self.survive(publish_and_count)
        if self.ring.tail == published:
            return  # killed before it was published: the venue reports it again to the next gateway
        digest = fill_digest(event.trade_id, side, event.price_units, lots, event.fee_units)
        books = [self.expected["foreign" if slot < 0 else "total"]]
        if slot >= 0 and state != "ACTIVE":
            books.append(self.expected["orphaned"])
        elif slot >= 0:
            books.append(self.live[slot])
            if is_read:
                self.commit(slot)
        for book in books:
            book.add_fill(side, event.price_units, lots, event.fee_units, digest)

    def commit(self, slot):
        """The strategy reads everything of its generation and commits its book, as the client does."""
        table, books = self.client[slot]
        generation = self.states[slot][1]
        for cursor in range(self.ring.tail):
            event = self.ring.records[cursor]
            if event.generation != generation or slot_of(event.client_order_id) != slot:
                continue
            book, through = books.setdefault(event.instrument, (BookTotals(), 0))
            if cursor < through:
                continue
            digest = fill_digest(
                event.trade_id, event.trade_type, event.price_units, event.amount_lots, event.fee_units
            )
            book.add_fill(event.trade_type, event.price_units, event.amount_lots, event.fee_units, digest)
            books[event.instrument] = (book, cursor + 1)
        for instrument, (book, through) in books.items():
            row = BookRow()
            book.to_row(row)
            row.set(through_cursor=through, generation=generation, instrument=instrument)
            table.write(instrument, row)

    def die(self, slot):
        state, generation = self.states[slot]
        if state != "ACTIVE":
            return
        self.states[slot] = ("DRAINING", generation)
        committed = BookTotals()
        for book, _ in self.client[slot][1].values():
            committed.add(book)
        lost = BookTotals(
            *(
                (getattr(self.live[slot], name) - getattr(committed, name))
                % (1 << 64 if name == "digest" else 1 << 200)
                for name in BookTotals.__dataclass_fields__
            )
        )
        lost.digest %= 1 << 64
        self.expected["departed"].add(committed)
        self.expected["orphaned"].add(lost)

        def settle():
            self.keeper.settle_death(slot, generation, self.client[slot][0])
            self.states[slot] = ("FREE", generation)

        self.survive(settle)

    def sum(self, group):
        totals = BookTotals()
        for slot in range(SLOTS if group < LedgerGroup.TOTAL else 1):
            for instrument in range(INSTRUMENTS):
                totals.add(self.keeper.totals(group, slot, instrument))
        return totals

    def check(self):
        self.fuse.left = None
        self.restart()
        assert self.sum(LedgerGroup.TOTAL) == self.expected["total"]
        assert self.sum(LedgerGroup.FOREIGN) == self.expected["foreign"]
        assert self.sum(LedgerGroup.DEPARTED) == self.expected["departed"]
        assert self.sum(LedgerGroup.ORPHANED) == self.expected["orphaned"]
        for slot, (state, _) in self.states.items():
            if state == "ACTIVE":
                found = BookTotals()
                for instrument in range(INSTRUMENTS):
                    found.add(self.keeper.totals(LedgerGroup.SESSION, slot, instrument))
                assert found == self.live[slot]


slots = st.integers(0, SLOTS - 1)
steps = st.one_of(
    st.tuples(st.just("attach"), slots),
    st.tuples(
        st.just("fill"),
        st.integers(-1, SLOTS - 1),
        st.integers(0, INSTRUMENTS - 1),
        st.integers(1, 9),
        st.integers(1, 2),
        st.booleans(),
    ),
    st.tuples(st.just("die"), slots),
    st.tuples(st.just("kill"), st.integers(0, 12)),
    st.tuples(st.just("restart")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=30))
def test_every_fill_is_in_one_book_wherever_gateways_and_strategies_are_killed(script):
    world = World()
    for name, *arguments in script:
        if name == "attach":
            world.attach(*arguments)
        elif name == "fill":
            slot, instrument, lots, side, is_read = arguments
            world.fill(slot, instrument, lots, side, is_read=is_read)
        elif name == "die":
            world.die(*arguments)
        elif name == "kill":
            world.fuse.left = arguments[0]
        else:
            world.restart()
    world.check()


@pytest.mark.parametrize("writes", range(12))
def test_a_gateway_killed_at_any_write_of_settling_a_death_settles_it_once(writes):
    world = World()
    world.attach(1)
    for number in range(4):
        world.fill(1, number % 2, 5 + number, 1 + number % 2, is_read=number < 2)
    world.fuse.left = writes
    world.die(1)
    world.check()


def test_a_late_fill_of_a_dead_session_is_orphaned_and_not_the_next_sessions():
    world = World()
    world.attach(0)
    generation = world.states[0][1]
    world.die(0)
    world.attach(0)
    event = OrderEvent()
    event.set(client_order_id=order_id(0, 9), generation=generation, trade_type=1, price_units=10, amount_lots=3)
    event.set(trade_id="late", event=OrderEventKind.PARTIALLY_FILLED)
    world.ring.publish(event)
    world.keeper.count(event, world.ring.tail - 1, 0)
    assert world.keeper.totals(LedgerGroup.ORPHANED, 0, 0).bought_lots == 3
    assert world.keeper.totals(LedgerGroup.SESSION, 0, 0).is_empty
