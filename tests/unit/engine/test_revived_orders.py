"""An order that was given up as never accepted, whose row another has taken, and that the venue has after all."""

import time

import pytest
from support.gateway_desk import GatewayDesk, order_text
from support.memory_venue import RULE, MemoryConnector

from latentspeed.connectors import OrderParams, OrderState, TradeType
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.ledger_keeper import is_fill
from latentspeed.engine.records import OrderEventKind

SIZES = SharedMemorySettings(
    sessions=2, orders_per_session=16, queue_capacity=64, event_ring=256, market_ring=64, instruments=4, balances=4
)


class Forgetful(MemoryConnector):
    """The venue's answer to a place never comes, and what the venue has open and nobody tracks is adopted."""

    is_silent = True

    def _schedule_place(self, order):
        if not self.is_silent:
            super()._schedule_place(order)
        elif self._tracker.mark_signed(order, nonce=1, venue_expiry_ms=time.time_ns() // 10**6 + 1):
            self._venue.place(order)
            self._tracker.mark_unknown(order.client_order_id, "timeout")

    def reconcile(self):
        for theirs in self._venue.orders.values():
            if theirs.is_open and self._tracker.get_order(theirs.client_order_id) is None:
                params = OrderParams(RULE.trading_pair, RULE.amount_from_lots(theirs.amount_lots), 60000.0)
                order = self.create_order(TradeType.BUY, params, client_order_id=theirs.client_order_id)
                order.is_submitted = order.is_adopted = True
                self._tracker.start_tracking_order(order)
        super().reconcile()


@pytest.fixture
def desk():
    with GatewayDesk(SIZES, connector=Forgetful) as desk:
        yield desk


@pytest.fixture
def revived(desk):
    """(the order's id, the id that took its row): given up, its row taken, then filled at the venue."""
    client = desk.claim()
    first = client.place(1, lots=300)
    desk.drain()
    late = time.time_ns() + 3600 * 10**9
    assert desk.connector._tracker.process_order_not_found(order_text(first), now_utc_ns=late)
    assert desk.state(first) == (OrderState.FAILED, "never_accepted")
    desk.connector.is_silent = False
    second = client.place(1 + SIZES.orders_per_session, lots=200)
    desk.drain()
    assert desk.state(second)[0] is OrderState.OPEN
    desk.connector.fill(order_text(first), 100)
    return client, first, second


def states(desk, id64, since=0):
    ring = desk.writer.ring("events")
    return [
        (event.revision, OrderState(event.state).name, event.trade_id if is_fill(event) else "")
        for event in desk.events(max(since, ring.tail - SIZES.event_ring))
        if event.client_order_id == id64 and event.event != OrderEventKind.COMMAND_RESULT
    ]


def test_its_session_is_told_and_the_order_that_has_its_row_is_untouched(desk, revived):
    client, first, second = revived
    told = [(state, trade) for _, state, trade in states(desk, first)]
    assert told[-3:] == [("FAILED", ""), ("OPEN", ""), ("PARTIALLY_FILLED", "1")]
    assert (desk.row(second).client_order_id, desk.row(second).fill_count) == (second, 0)
    counted = desk.core.keeper.totals(LedgerGroup.SESSION, client.slot, 0)
    assert (counted.fill_count, counted.bought_lots) == (1, 100)
    client.cancel(first)
    desk.drain()
    assert states(desk, first)[-1][1] == "CANCELLED"
    assert desk.state(second)[0] is OrderState.OPEN


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_killed_gateways_successor_counts_its_fills_once_and_goes_on_telling_of_it(desk, revived, restarts):
    client, first, second = revived
    for _ in range(restarts):
        desk.restart()
    before = states(desk, first)
    assert [trade for _, _, trade in before if trade] == ["1"]
    desk.connector.fill(order_text(first), 50)
    client.cancel(first)
    desk.drain()
    counted = desk.core.keeper.totals(LedgerGroup.TOTAL, 0, 0)
    assert (counted.fill_count, counted.bought_lots) == (2, 150)
    assert desk.core.keeper.totals(LedgerGroup.SESSION, client.slot, 0) == counted
    assert desk.core.keeper.totals(LedgerGroup.FOREIGN, 0, 0).is_empty
    after = states(desk, first)
    assert after[-1][1] == "CANCELLED"
    revisions = [revision for revision, _, _ in after]
    assert revisions == sorted(set(revisions)), "a client drops what looks older than what it has seen"
    assert (desk.row(second).client_order_id, desk.row(second).fill_count) == (second, 0)
