"""A gateway restarted when the event ring has forgotten its fills counts none of them a second time."""

import pytest
from support.gateway_desk import GatewayDesk, order_text

from latentspeed.connectors import OrderState
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import LedgerGroup

SIZES = SharedMemorySettings(
    sessions=2, orders_per_session=16, queue_capacity=64, event_ring=64, market_ring=64, instruments=4, balances=4
)


@pytest.fixture
def desk():
    with GatewayDesk(SIZES) as desk:
        yield desk


def wrap_the_ring(desk, client, keep):
    """Orders that come and go without a fill until nothing older is left; `keep` is the counter whose row is taken."""
    start = desk.writer.ring("events").tail
    while desk.writer.ring("events").tail < start + 2 * SIZES.event_ring:
        client.counter += 1
        if client.counter % SIZES.orders_per_session == keep:
            continue
        id64 = client.place(client.counter)
        client.cancel(id64)
        desk.drain()


def totals(desk, group, slot=0):
    return desk.core.keeper.totals(group, slot, 0)


def test_a_fill_of_an_open_order_that_the_ring_has_forgotten_is_counted_once(desk):
    client = desk.claim()
    open_order = client.place(1, lots=300)
    client.counter = 1
    desk.drain()
    desk.connector.fill(order_text(open_order), 100)
    filled = client.place(2, lots=200)
    client.counter = 2
    desk.drain()
    desk.connector.fill(order_text(filled), 200)
    before = totals(desk, LedgerGroup.TOTAL)
    assert (before.fill_count, before.bought_lots) == (2, 300)
    wrap_the_ring(desk, client, keep=1)
    for _ in range(2):
        desk.restart()
        row = desk.row(open_order)
        assert (row.state, row.fill_count, row.filled_lots) == (OrderState.PARTIALLY_FILLED, 1, 100)
        assert totals(desk, LedgerGroup.TOTAL) == before
        assert totals(desk, LedgerGroup.FOREIGN).is_empty
        assert desk.connector._tracker.held_count == 0
    desk.connector.fill(order_text(open_order), 200)
    assert (desk.row(open_order).state, desk.row(open_order).fill_count) == (OrderState.FILLED, 2)


def test_a_fill_while_no_gateway_lived_is_counted_although_the_ring_holds_none(desk):
    client = desk.claim()
    open_order = client.place(1, lots=300)
    client.counter = 1
    desk.drain()
    desk.connector.fill(order_text(open_order), 100)
    wrap_the_ring(desk, client, keep=1)
    desk.writer.close()
    desk.venue.fill(order_text(open_order), 50)
    desk.start()
    assert (desk.row(open_order).fill_count, desk.row(open_order).filled_lots) == (2, 150)
    assert totals(desk, LedgerGroup.TOTAL).bought_lots == 150
