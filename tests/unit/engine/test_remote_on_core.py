"""A strategy's connector and the gateway's core on one segment, without loop or process: what one writes, one reads."""

from __future__ import annotations

import time

import pytest
from support.remote_desk import RemoteDesk

from latentspeed.connectors import (
    ConnectorState,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    VenueRejected,
)


class Pair(RemoteDesk):
    """What a strategy does with single orders."""

    def place(self, price=60000.0):
        order_id = self.remote.buy(OrderParams("BTC-USD", 0.003, price, OrderType.LIMIT))
        return self.remote.get_order(order_id)


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.close()


def test_cancel_all_ends_what_works_and_what_was_not_read_yet(pair):
    working = pair.place()
    pair.settle()
    unread = [pair.place() for _ in range(3)]
    pair.remote.cancel_all()
    after = pair.place()
    pair.settle()
    assert working.state is OrderState.CANCELLED
    assert {(order.state, order.reason) for order in unread} == {(OrderState.CANCELLED, "never_sent")}
    assert after.state is OrderState.OPEN


def test_a_cancel_right_behind_its_place_ends_it(pair):
    order = pair.place()
    assert pair.remote.cancel(order.client_order_id)
    pair.settle()
    assert order.state is OrderState.CANCELLED
    assert pair.remote.cancel(order.client_order_id) is False


def test_what_another_session_writes_under_this_ones_id_changes_nothing_here(pair):
    order = pair.place()
    attacker = pair.desk.claim("attacker")
    attacker.place(client_order_id=order.id64)
    attacker.cancel(order.id64)
    attacker.push(kind=1, client_order_id=order.id64, instrument=7)
    pair.settle()
    attacker.place(client_order_id=order.id64)
    pair.settle()
    assert order.state is OrderState.OPEN
    assert not order.cancel_requested


def test_the_gate_closes_with_the_venue_and_opens_with_it(pair):
    order = pair.place()
    pair.settle()
    pair.desk.connector._set_connection_state(ConnectorState.CONNECTING)
    with pytest.raises(OrderRefused, match="RECOVERING"):
        pair.place()
    assert pair.remote.cancel(order.client_order_id)
    pair.settle()
    assert order.state is OrderState.CANCELLED
    pair.desk.connector._set_connection_state(ConnectorState.LIVE)
    again = pair.place()
    pair.settle()
    assert again.state is OrderState.OPEN


def test_a_refused_leverage_is_told_with_its_reason(pair):
    pending = pair.remote.set_leverage("BTC-USD", 50)
    pair.desk.connector._check_leverage = lambda *_: (_ for _ in ()).throw(OrderRefused("leverage", 50, "not today"))
    pair.settle()
    with pytest.raises(VenueRejected, match="not today"):
        pending.result(1)


def test_a_restart_between_a_place_and_its_reading_is_told_as_never_sent(pair):
    working = pair.place()
    pair.settle()
    unread = pair.place()
    pair.desk.restart()
    deadline = time.monotonic() + 60
    while not unread.is_done:
        assert time.monotonic() < deadline, unread
        pair.settle()
    assert (unread.state, unread.reason) == (OrderState.FAILED, "never_sent")
    assert working.state is OrderState.OPEN
    assert set(pair.desk.venue.received.values()) == {1}


TRIGGERS = [order_type for order_type in OrderType if order_type.has_trigger]


@pytest.mark.parametrize("order_type", TRIGGERS)
def test_a_trigger_order_reaches_the_venue_with_its_exact_trigger_price_and_survives_a_restart(pair, order_type):
    price = 9_400.1 if order_type.has_price else None
    params = OrderParams(
        "BTC-USD", 0.003, price, order_type, PositionAction.CLOSE, trigger_price=9_500.3
    )  # fmt: skip
    order = pair.remote.get_order(pair.remote.sell(params))
    pair.settle()
    assert order.state is OrderState.OPEN
    theirs = pair.desk.connector.get_order(order.client_order_id)
    assert (theirs.order_type, theirs.trigger_units) == (order_type, 95_003)
    assert theirs.price_units == (94_001 if price else 0)
    row = pair.desk.row(order.id64)
    assert (row.trigger_price, row.trigger_price_units) == (9_500.3, 95_003)
    assert row.position_action == PositionAction.CLOSE
    pair.desk.restart()
    restored = pair.desk.connector.get_order(order.client_order_id)
    assert restored is not theirs
    assert (restored.order_type, restored.trigger_units, restored.state) == (order_type, 95_003, OrderState.OPEN)
    pair.remote.cancel(order.client_order_id)
    pair.settle()
    assert order.state is OrderState.CANCELLED


@pytest.mark.parametrize("trigger_price", [None, 9_500.35, -1.0, 0.0, float("nan")])
def test_a_trigger_price_that_is_none_is_refused_before_anything_is_written(pair, trigger_price):
    with pytest.raises(OrderRefused, match="trigger_price"):
        pair.remote.sell(OrderParams("BTC-USD", 0.003, None, OrderType.STOP_MARKET, trigger_price=trigger_price))
    pair.settle()
    assert pair.desk.venue.orders == {}


def test_a_trigger_that_another_process_writes_is_checked_by_the_gateway(pair):
    client = pair.desk.claim("other")
    wrong = [
        client.place(order_type=OrderType.STOP_LIMIT, trigger_price=9_500.35),
        client.place(order_type=OrderType.STOP_LIMIT, trigger_price=0.0),
        client.place(order_type=OrderType.LIMIT, trigger_price=9_500.0),
    ]
    pair.settle()
    for id64 in wrong:
        state, reason = pair.desk.state(id64)
        assert state is OrderState.FAILED
        assert "trigger_price" in reason
