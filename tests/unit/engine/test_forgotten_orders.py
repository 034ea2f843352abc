"""A fill of an own order that nobody remembers any more is still its session's, and never a foreign one."""

import time

import pytest
from support.gateway_desk import GatewayDesk, order_text
from support.memory_venue import MemoryConnector

from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.ledger_keeper import is_fill

SIZES = SharedMemorySettings(
    sessions=2, orders_per_session=16, queue_capacity=64, event_ring=256, market_ring=64, instruments=4, balances=4
)


class Slow(MemoryConnector):
    """Gives up what waits for its order as soon as it is swept."""

    def give_up(self):
        self._tracker._clock_mono_ns = lambda: time.monotonic_ns() + 3600 * 10**9
        self._tracker.sweep()
        self._tracker._clock_mono_ns = time.monotonic_ns


@pytest.fixture
def desk():
    with GatewayDesk(SIZES, connector=Slow) as desk:
        yield desk


@pytest.fixture
def forgotten(desk):
    """A session and its order, which has ended, lost its row, and got a fill that its gateway did not live to tell."""
    client = desk.claim()
    order = client.place(1, lots=300)
    desk.drain()
    client.cancel(order)
    client.place(1 + SIZES.orders_per_session, lots=200)
    desk.drain()
    desk.venue.orders[order_text(order)].is_cancelled = False
    desk.venue.fill(order_text(order), 100)
    desk.venue.orders[order_text(order)].is_cancelled = True
    return client, order


def fills(desk):
    return [event for event in desk.events() if is_fill(event)]


def totals(desk, group, slot=0):
    found = desk.core.keeper.totals(group, slot, 0)
    return found.fill_count, found.bought_lots


@pytest.mark.parametrize("restarts", [1, 2])
def test_its_living_session_is_told_and_counts_it_once(desk, forgotten, restarts):
    client, order = forgotten
    for _ in range(restarts):
        desk.restart()
        desk.connector.give_up()
    (event,) = fills(desk)
    assert (event.client_order_id, event.generation, event.amount_lots) == (order, client.session.generation, 100)
    assert totals(desk, LedgerGroup.SESSION, client.slot) == totals(desk, LedgerGroup.TOTAL) == (1, 100)
    assert totals(desk, LedgerGroup.FOREIGN) == (0, 0)


def test_where_its_session_is_gone_it_is_orphaned(desk, forgotten):
    client, order = forgotten
    client.session.close()
    desk.core.sessions.poll()
    desk.restart()
    desk.connector.give_up()
    assert [event.client_order_id for event in fills(desk)] == [order]
    assert totals(desk, LedgerGroup.ORPHANED, client.slot) == totals(desk, LedgerGroup.TOTAL) == (1, 100)
    assert totals(desk, LedgerGroup.FOREIGN) == (0, 0)
