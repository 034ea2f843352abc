"""A gateway killed at any write while sessions die and cancel everything: the next one ends what it began."""

from __future__ import annotations

import pytest
from support.gateway_desk import GatewayDesk, order_text
from support.killable_segment import KillableWriter
from support.ledger_fakes import Fuse, Killed
from support.memory_venue import MemoryConnector

from latentspeed.connectors import OrderState
from latentspeed.engine.ledger import BookTotals, LedgerGroup
from latentspeed.engine.records import BookRow
from latentspeed.ipc import SessionState


class OutboxConnector(MemoryConnector):
    """Sends cancels at `flush`, a moment after they were asked for, as a connector with a loop does."""

    def __init__(self, venue, burn):
        self.outbox = []
        super().__init__(venue, burn)

    def _schedule_cancel(self, order):
        self.outbox.append(order)

    def flush(self):
        while self.outbox:
            super()._schedule_cancel(self.outbox.pop(0))


class Scene:
    """Two strategies: one dies with orders, fills and unread commands, the other cancels everything it has."""

    def __init__(self):
        self.fuse = Fuse()
        self.desk = desk = GatewayDesk(connector=OutboxConnector, wrap=lambda w: KillableWriter(w, self.fuse))
        self.dying, self.calm = desk.claim("dying"), desk.claim("calm")
        self.left = [self.dying.place() for _ in range(2)]
        self.calms = [self.calm.place() for _ in range(2)]
        desk.drain()
        desk.connector.fill(order_text(self.left[0]), 100)
        self.commit(1, 100)
        desk.connector.fill(order_text(self.left[0]), 50)
        self.unread = self.dying.place()
        self.dying.cancel(self.left[1])
        self.doomed = self.calm.place()
        self.calm.session.request_cancel_all()
        self.dying.session.close()
        desk.clients.remove(self.dying)

    def commit(self, fills, lots):
        """The dying strategy's own book, as far as it got."""
        totals = self.desk.core.keeper.totals(LedgerGroup.SESSION, self.dying.slot, 0)
        assert (totals.fill_count, totals.bought_lots) == (fills, lots)
        row = BookRow()
        totals.to_row(row)
        row.set(through_cursor=self.desk.writer.ring("events").tail, generation=self.dying.session.generation)
        self.dying.session.table("book").write(0, row)

    def go_on(self):
        """What the loop does: look at the sessions, drain, send, look again."""
        for _ in range(3):
            self.desk.core.sessions.poll()
            self.desk.core.drain_all()
            self.desk.connector.flush()
            self.desk.connector.fill(order_text(self.left[0]), 25)

    def survive(self):
        """Go on; where the gateway is killed, the next one does, and it may be killed too."""
        kills = 0
        while True:
            try:
                if kills:
                    self.desk.writer.close()
                    self.desk.start()
                self.go_on()
                return kills
            except Killed:
                kills += 1

    def check(self):
        desk, core = self.desk, self.desk.core
        assert desk.writer.sessions[self.dying.slot].state is SessionState.FREE
        assert [live.generation for live in core.sessions.live] == [self.calm.session.generation]
        for id64 in [*self.left, *self.calms]:
            theirs = desk.venue.orders[order_text(id64)]
            assert not theirs.is_open, f"{order_text(id64)} still works at the venue"
            assert desk.state(id64)[0] is theirs.state
        assert desk.state(self.unread)[0] is OrderState.FAILED
        assert desk.state(self.doomed)[1] == "never_sent"
        assert set(desk.venue.received.values()) == {1}
        for client in (self.dying, self.calm):
            told = {e.command_index for e in desk.events() if e.generation == client.session.generation}
            # A gateway killed between an order's row and its event: strategies compare rows when the next one comes.
            told |= {desk.row(client.id(counter)).command_index for counter in range(1, client.counter + 1)}
            assert set(range(3 if client is self.calm else 4)) <= told
        assert self.calm.session.queue.cancel_all_served == 1
        whole = BookTotals()
        for group in (LedgerGroup.DEPARTED, LedgerGroup.ORPHANED):
            whole.add(core.keeper.totals(group, self.dying.slot, 0))
        assert core.keeper.totals(LedgerGroup.DEPARTED, self.dying.slot, 0).bought_lots == 100
        assert whole == core.keeper.totals(LedgerGroup.TOTAL, 0, 0)
        assert whole.bought_lots == desk.venue.orders[order_text(self.left[0])].filled_lots


def writes_of_scene():
    scene = Scene()
    try:
        scene.fuse.left = 1 << 30
        scene.go_on()
        return (1 << 30) - scene.fuse.left
    finally:
        scene.fuse.left = None
        scene.desk.close()


def play(*kills):
    scene = Scene()
    try:
        scene.fuse.left = kills[0]
        burn, later = scene.fuse.burn, list(kills[1:])

        def burn_again():
            try:
                burn()
            except Killed:
                scene.fuse.left = later.pop(0) if later else None
                raise

        scene.fuse.burn = burn_again
        killed = scene.survive()
        scene.fuse.left = None
        scene.go_on()
        scene.check()
        return killed
    finally:
        scene.fuse.left = None
        scene.desk.close()


def test_nobody_is_killed_and_all_is_settled():
    assert play(1 << 30) == 0


def test_a_gateway_killed_at_any_single_write_is_succeeded_by_one_that_settles_all():
    writes = writes_of_scene()
    assert writes > 25
    for number in range(writes):
        assert play(number) == 1, f"killed at write {number}"


@pytest.mark.parametrize("second", [0, 3, 7, 12, 18])
def test_nor_does_it_matter_if_the_successor_is_killed_too(second):
    for number in range(0, writes_of_scene(), 4):
        play(number, second)
