"""A gateway restarted when the event ring has forgotten its fills counts none of them a second time."""

import time

import pytest
from msgspec.structs import replace
from support.gateway_desk import GatewayDesk, order_text
from support.ledger_fakes import Killed

from latentspeed.connectors import OrderState
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.ledger_keeper import FILL_KINDS
from latentspeed.engine.records import CommandKind

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


def test_a_fill_that_the_venue_tells_by_its_own_id_alone_is_counted_once_when_its_order_has_lost_its_row(desk):
    client = desk.claim()
    filled = client.place(1, lots=100)
    desk.drain()
    desk.connector.fill(order_text(filled), 100)
    [fill] = desk.venue.orders[order_text(filled)].fills
    client.counter = SIZES.orders_per_session
    other = client.place(1 + SIZES.orders_per_session, lots=100)  # in the row of the first
    desk.drain()
    assert desk.row(other).client_order_id == other
    before = totals(desk, LedgerGroup.TOTAL)
    desk.restart()
    told = replace(fill, client_order_id=None)
    assert not desk.connector._tracker.process_foreign_trade(told)
    assert desk.connector._tracker.process_foreign_trade(replace(told, trade_id="another"))
    assert totals(desk, LedgerGroup.TOTAL) == before
    assert totals(desk, LedgerGroup.FOREIGN).fill_count == 1


def fill_at_the_venue(desk, id64, lots, venue_ms):
    """A fill that the venue has and nobody has been told of yet."""
    order = desk.venue.orders[order_text(id64)]
    desk.venue.fill(order_text(id64), lots)
    order.fills[-1] = replace(order.fills[-1], venue_utc_ns=venue_ms * 1_000_000)
    return order.fills[-1]


def wrap_until(desk, client, tail, keep):
    """Publish until the ring's tail is there."""
    while desk.writer.ring("events").tail < tail:
        client.counter += 1
        if client.counter % SIZES.orders_per_session in keep:
            continue
        desk.drain()
        client.push(kind=CommandKind.CANCEL, client_order_id=client.id(client.counter))  # one result, no order
        desk.drain()


def test_a_fill_published_before_an_older_one_is_counted_once_when_the_ring_has_forgotten_it_alone(desk):
    client = desk.claim()
    open_order = client.place(1, lots=300)
    client.counter = 1
    desk.drain()
    now_ms = time.time_ns() // 1_000_000
    older = fill_at_the_venue(desk, open_order, 50, now_ms + 1_000)
    newer = fill_at_the_venue(desk, open_order, 100, now_ms + 2_000)
    desk.connector._tracker.process_trade_update(newer)
    cursor = desk.writer.ring("events").tail
    desk.connector._tracker.process_trade_update(older)
    before = totals(desk, LedgerGroup.TOTAL)
    assert before.fill_count == 2
    # The next gateway's epoch record is what pushes the newer fill over the edge.
    wrap_until(desk, client, cursor + SIZES.event_ring - 1, {1})
    desk.restart()
    row = desk.row(open_order)
    assert (row.fill_count, row.filled_lots) == (2, 150)
    assert totals(desk, LedgerGroup.TOTAL) == before
    assert totals(desk, LedgerGroup.FOREIGN).is_empty


def test_a_fill_that_no_gateway_has_heard_of_is_counted_although_the_ring_begins_after_it(desk):
    client = desk.claim()
    open_order = client.place(1, lots=300)
    client.counter = 1
    desk.drain()
    now_ms = time.time_ns() // 1_000_000
    desk.connector._tracker.process_trade_update(fill_at_the_venue(desk, open_order, 20, now_ms + 500))
    fill_at_the_venue(desk, open_order, 50, now_ms + 1_000)
    desk.connector._tracker.process_trade_update(fill_at_the_venue(desk, open_order, 100, now_ms + 200_000))
    wrap_until(desk, client, desk.writer.ring("events").tail + 2 * SIZES.event_ring, {1})
    desk.restart()
    assert (desk.row(open_order).fill_count, desk.row(open_order).filled_lots) == (3, 170)
    assert totals(desk, LedgerGroup.TOTAL).bought_lots == 170


def test_a_fill_that_stands_in_its_row_alone_is_told_and_counted_once_when_all_else_of_its_order_is_forgotten(desk):
    client = desk.claim()
    open_order = client.place(1, lots=300)
    client.counter = 1
    desk.drain()
    wrap_until(desk, client, desk.writer.ring("events").tail + 2 * SIZES.event_ring, {1})
    trade = fill_at_the_venue(desk, open_order, 50, time.time_ns() // 1_000_000)
    desk.core.publisher._ring = NoRing(desk.writer.ring("events").tail)
    with pytest.raises(Killed):
        desk.connector._tracker.process_trade_update(trade)
    assert desk.row(open_order).fill_count == 1
    desk.restart()
    assert (desk.row(open_order).fill_count, desk.row(open_order).filled_lots) == (1, 50)
    assert totals(desk, LedgerGroup.TOTAL).bought_lots == 50
    assert [event.trade_id for event in ring_events(desk) if event.event in FILL_KINDS] == [trade.trade_id]


def ring_events(desk):
    ring = desk.writer.ring("events")
    return desk.events(max(0, ring.tail - SIZES.event_ring))


class NoRing:
    """The gateway is killed where it would publish."""

    def __init__(self, tail):
        self.tail = tail

    def publish(self, record):
        raise Killed
