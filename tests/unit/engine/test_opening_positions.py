"""What the books start from: the venue's positions without the fills that the books count themselves."""

import time

import pytest
from support.gateway_desk import GatewayDesk, order_text
from support.memory_venue import RULE, MemoryConnector

from latentspeed.connectors import OrderParams, Position, TradeType, TradeUpdate
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.records import Position as PositionRecord


def foreign_fill(trade_id, lots, venue_utc_ns=None, side=TradeType.BUY):
    return TradeUpdate(
        trade_id, None, "9", RULE.trading_pair, side, 60000.0, RULE.amount_from_lots(lots), 600_000, lots,
        venue_utc_ns=venue_utc_ns or time.time_ns(),
    )  # fmt: skip


class WithFillsAtConnect(MemoryConnector):
    """Another program trades on the account while this one connects."""

    fills = ()
    position_lots = 0
    as_of_utc_ns = 0

    def connect(self):
        for fill in self.fills:
            self._tracker.process_foreign_trade(fill)
        if self.position_lots:
            self.update_position(Position(RULE.trading_pair, amount=RULE.amount_from_lots(self.position_lots)))
        return super().connect()

    def forget_history(self):
        self._tracker.ignore_fills((), self.as_of_utc_ns + 1)


def opening(desk):
    record = PositionRecord()
    desk.writer.table("positions").read(0, record)
    net = sum(desk.core.keeper.totals(group, 0, 0).net_lots for group in (LedgerGroup.TOTAL, LedgerGroup.FOREIGN))
    return record.amount_lots, record.opening_lots, net


@pytest.mark.parametrize(
    ("fills", "position_lots", "expected"),
    [
        ((), 500, (500, 500, 0)),
        ((foreign_fill("1", 200),), 500, (500, 300, 200)),
        ((foreign_fill("1", 200), foreign_fill("2", 50, side=TradeType.SELL)), 500, (500, 350, 150)),
        ((foreign_fill("1", 200),), 0, (0, -200, 200)),
    ],
)
def test_a_foreign_fill_while_the_gateway_connects_is_in_the_opening_position_or_in_the_books_but_not_in_both(
    fills, position_lots, expected
):
    connector = type("Connector", (WithFillsAtConnect,), {"fills": fills, "position_lots": position_lots})
    with GatewayDesk(connector=connector) as desk:
        position, start, counted = opening(desk)
        assert (position, start, counted) == expected
        assert start + counted == position
        desk.restart()
        assert opening(desk) == expected, "recorded once, for all gateways of the segment"


def test_a_fill_that_waits_for_its_order_while_the_account_is_read_is_not_counted_when_the_position_has_it():
    now = time.time_ns()
    connector = type("Connector", (WithFillsAtConnect,), {"position_lots": 500, "as_of_utc_ns": now})
    with GatewayDesk(connector=connector) as desk:
        tracker = desk.connector._tracker
        desk.core._row.started_utc_ns = 0
        tracker.process_trade_update(foreign_fill("1", 200, now - 1_000_000))
        tracker.process_trade_update(foreign_fill("2", 30, now + 1_000_000))
        desk.core.opened()
        tracker._clock_mono_ns = lambda: time.monotonic_ns() + 3600 * 10**9
        tracker.sweep()
        assert opening(desk) == (500, 500, 30)


def test_an_order_of_an_earlier_segment_that_the_venue_still_has_leaves_the_opening_position_as_it_was_before_it():
    class WithAdoption(WithFillsAtConnect):
        position_lots = 100

        def connect(self):
            for theirs in self._venue.orders.values():
                if self._tracker.get_order(theirs.client_order_id) is None:
                    order = self.create_order(TradeType.BUY, self.params, client_order_id=theirs.client_order_id)
                    order.is_submitted = order.is_adopted = True
                    self._tracker.start_tracking_order(order)
            return super().connect()

    with GatewayDesk(connector=WithAdoption) as desk:
        WithAdoption.position_lots = 100
        client = desk.claim()
        id64 = client.place(lots=300)
        desk.drain()
        order = desk.connector.get_order(order_text(id64))
        WithAdoption.params = OrderParams(RULE.trading_pair, order.amount, order.price)
        desk.connector.fill(order_text(id64), 60)
        WithAdoption.position_lots = 160
        desk.writer.unlink()
        desk.start()
        position, start, counted = opening(desk)
        assert (position, start, counted) == (160, 100, 60)
