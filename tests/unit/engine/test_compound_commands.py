"""Modify and brackets from a strategy through its queue: all of a command's orders or none, never lost, never twice."""

from __future__ import annotations

from contextlib import suppress

import pytest
from support.remote_desk import RemoteDesk

from latentspeed.connectors import (
    ExitParams,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    Pending,
    Position,
    PositionAction,
    TradeType,
)
from latentspeed.engine.records import CommandKind
from latentspeed.ipc import CommandQueueFull

TAKE, STOP = ExitParams(70_000.0), ExitParams(50_000.0)


class Killed(BaseException):
    """Nothing of the gateway runs after this."""


class Pair(RemoteDesk):
    """What a strategy does with orders that belong together."""

    def resting(self, price=60_000.0, amount=0.003):
        order = self.remote.get_order(self.remote.buy(OrderParams("BTC-USD", amount, price)))
        self.settle()
        assert order.state is OrderState.OPEN
        return order

    def bracket(self, take_profit=TAKE, stop_loss=STOP, **more):
        entry = OrderParams("BTC-USD", 0.003, **({"price": 60_000.0} | more))
        ids = self.remote.place_bracket(TradeType.BUY, entry, take_profit=take_profit, stop_loss=stop_loss)
        return [self.remote.get_order(name) for name in ids if name]


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.close()


# Modify


def test_a_modify_through_the_queue_ends_the_old_order_and_places_the_new(pair):
    old = pair.resting()
    new = pair.remote.get_order(pair.remote.modify(old.client_order_id, price=60_100.0))
    assert (old.state, new.state) == (OrderState.OPEN, OrderState.PENDING_CREATE)
    pair.settle()
    assert (old.state, new.state) == (OrderState.CANCELLED, OrderState.OPEN)
    row = pair.desk.row(new.id64)
    assert (row.replaces_order_id, row.order_price, row.order_amount) == (old.id64, 60_100.0, 0.003)
    assert pair.desk.venue.received == {old.client_order_id: 1, new.client_order_id: 1}


def test_a_modify_that_the_venue_refuses_leaves_the_old_order_live(pair):
    old = pair.resting()
    pair.desk.venue.cancel = lambda name: False
    new = pair.remote.get_order(pair.remote.modify(old.client_order_id, amount=0.004))
    pair.settle()
    assert (new.state, new.reason) == (OrderState.FAILED, "modifyTooLate")
    assert old.state is OrderState.OPEN
    again = pair.remote.get_order(pair.remote.modify(old.client_order_id, amount=0.004))
    assert again.replaces == old.client_order_id


def test_a_modify_of_another_sessions_order_is_refused(pair):
    old = pair.resting()
    attacker = pair.desk.claim("attacker")
    id64 = attacker.place(kind=CommandKind.MODIFY, replaces_order_id=old.id64, price=60_100.0)
    unknown = attacker.place(kind=CommandKind.MODIFY, replaces_order_id=12345, price=60_100.0)
    pair.settle()
    for wrong in (id64, unknown):
        state, reason = pair.desk.state(wrong)
        assert state is OrderState.FAILED
        assert "is not of this session" in reason
    assert old.state is OrderState.OPEN


def test_a_modify_that_was_queued_when_the_gateway_died_fails_and_leaves_the_old_order_live(pair):
    old = pair.resting()
    new = pair.remote.get_order(pair.remote.modify(old.client_order_id, price=60_100.0))
    pair.desk.restart()
    pair.settle()
    assert (new.state, new.reason) == (OrderState.FAILED, "never_sent")
    assert old.state is OrderState.OPEN
    assert new.client_order_id not in pair.desk.venue.received


@pytest.mark.parametrize("burns", range(1, 8))
def test_a_gateway_killed_anywhere_in_a_modify_leaves_one_order_or_the_other(pair, burns):
    old = pair.resting()

    left = [burns]

    def burn():
        left[0] -= 1
        if not left[0]:
            raise Killed

    connector = pair.desk.connector
    place = pair.desk.venue.place
    connector._burn = burn
    pair.desk.venue.place = lambda order: (burn(), place(order), burn())[1]
    new = pair.remote.get_order(pair.remote.modify(old.client_order_id, price=60_100.0))
    with suppress(Killed):
        pair.desk.core.drain_all()
    pair.desk.venue.place = place
    pair.desk.restart()
    pair.settle()
    theirs = {name: order.is_open for name, order in pair.desk.venue.orders.items()}
    for order in (old, new):
        assert order.is_active == theirs.get(order.client_order_id, False), (order, theirs)
    assert pair.desk.venue.received.get(new.client_order_id, 0) <= 1
    restored = pair.desk.connector.get_order(new.client_order_id)
    if restored is not None:
        assert restored.replaces == old.client_order_id


def test_what_cannot_be_modified_is_refused_before_anything_is_written(pair):
    old = pair.resting()
    tail = pair.remote._open_session.writer.next_index
    for changes, fact in [({}, "changes"), ({"price": 60_000.05}, "price"), ({"amount": 0.0}, "amount")]:
        with pytest.raises(OrderRefused, match=fact):
            pair.remote.modify(old.client_order_id, **changes)
    assert pair.remote._open_session.writer.next_index == tail


# Brackets


def test_a_bracket_is_one_command_and_three_orders(pair):
    entry, take, stop = pair.bracket()
    assert pair.remote._open_session.writer.next_index == pair.remote._open_session.writer.read_index + 1
    pair.settle()
    assert [order.state for order in (entry, take, stop)] == [OrderState.OPEN] * 3
    theirs = [pair.desk.connector.get_order(order.client_order_id) for order in (entry, take, stop)]
    assert [order.order_type for order in theirs] == [
        OrderType.LIMIT,
        OrderType.TAKE_PROFIT_MARKET,
        OrderType.STOP_MARKET,
    ]
    assert {order.group for order in theirs} == {tuple(order.client_order_id for order in theirs)}
    for exit_ in theirs[1:]:
        assert (exit_.trade_type, exit_.position_action) == (TradeType.SELL, PositionAction.CLOSE)
        assert (exit_.amount, exit_.parent) == (0.003, entry.client_order_id)
        assert pair.desk.row(exit_.id64).parent_order_id == entry.id64
    assert (theirs[1].trigger_price, theirs[2].trigger_price) == (70_000.0, 50_000.0)
    pair.desk.restart()
    assert pair.desk.connector.get_order(stop.client_order_id).parent == entry.client_order_id


def test_exits_with_limits_and_a_bracket_of_one_exit(pair):
    entry, stop = pair.bracket(take_profit=None, stop_loss=ExitParams(50_000.0, 49_900.0))
    pair.settle()
    theirs = pair.desk.connector.get_order(stop.client_order_id)
    assert (theirs.order_type, theirs.price, theirs.trigger_price) == (OrderType.STOP_LIMIT, 49_900.0, 50_000.0)
    assert theirs.parent == entry.client_order_id


def test_exits_of_a_position_have_an_open_size(pair):
    pair.desk.connector.update_position(Position("BTC-USD", amount=-0.01, entry_price=60_000.0))
    pair.desk.core.publish_instruments()
    pair.settle()
    assert pair.remote.get_position("BTC-USD").amount == -0.01
    ids = pair.remote.protect_position("BTC-USD", take_profit=ExitParams(50_000.0), stop_loss=ExitParams(70_000.0))
    assert ids.entry == ""
    pair.settle()
    for name in ids[1:]:
        theirs = pair.desk.connector.get_order(name)
        assert (theirs.trade_type, theirs.amount, theirs.has_open_size) == (TradeType.BUY, 0.01, True)
        assert pair.remote.get_order(name).state is OrderState.OPEN
        assert pair.desk.row(theirs.id64).has_open_size
    pair.desk.restart()
    assert pair.desk.connector.get_order(ids.stop_loss).has_open_size


def test_a_bracket_that_the_gateway_refuses_fails_as_a_whole(pair):
    pair.desk.connector._check_can_place = lambda: (_ for _ in ()).throw(OrderRefused("venue", 0, "closed"))
    orders = pair.bracket()
    pair.settle()
    assert {(order.state, "closed" in order.reason) for order in orders} == {(OrderState.FAILED, True)}
    assert pair.desk.venue.orders == {}


def test_a_bracket_that_was_queued_when_the_gateway_died_fails_as_a_whole(pair):
    orders = pair.bracket()
    pair.desk.restart()
    pair.settle()
    assert {(order.state, order.reason) for order in orders} == {(OrderState.FAILED, "never_sent")}


def test_a_cancel_of_everything_right_behind_a_bracket_ends_all_of_it(pair):
    orders = pair.bracket()
    pair.remote.cancel_all()
    pair.settle()
    assert {(order.state, order.reason) for order in orders} == {(OrderState.CANCELLED, "never_sent")}
    assert pair.desk.venue.orders == {}


def test_a_full_queue_takes_no_part_of_a_bracket(pair):
    writer = pair.remote._open_session.writer
    with suppress(CommandQueueFull):
        while True:
            writer.subscribe(0, Pending())
    with pytest.raises(CommandQueueFull):
        pair.bracket()
    assert pair.remote.get_open_orders() == []
    pair.settle()
    orders = pair.bracket()
    pair.settle()
    assert [order.state for order in orders] == [OrderState.OPEN] * 3


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"take_profit": None, "stop_loss": None}, "take-profit, a stop-loss, or both"),
        ({"take_profit": ExitParams(59_000.0)}, "above 60000.0"),
        ({"stop_loss": ExitParams(61_000.0)}, "below 60000.0"),
        ({"take_profit": ExitParams(49_000.0), "price": None, "order_type": OrderType.MARKET}, "above 50000.0"),
        ({"take_profit": ExitParams(70_000.5)}, "trigger_price"),
        ({"stop_loss": ExitParams(50_000.0, 49_900.5)}, "price"),
        ({"stop_loss": ExitParams("low")}, "finite number"),
        ({"stop_loss": 50_000.0}, "ExitParams are required"),
        ({"price": 60_000.05}, "price"),
        ({"position_action": PositionAction.CLOSE}, "does not close"),
        ({"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": 61_000.0}, "does not wait"),
    ],
)
def test_a_bracket_that_breaks_a_rule_is_refused_before_anything_is_written(pair, changes, fact):
    with pytest.raises(OrderRefused, match=fact):
        pair.bracket(**changes)
    assert pair.remote.get_open_orders() == []
    pair.settle()
    assert pair.desk.venue.orders == {}
    assert pair.resting().state is OrderState.OPEN, "the ids that were offered can be used"


def test_a_flat_account_has_no_position_to_protect(pair):
    with pytest.raises(OrderRefused, match="no position"):
        pair.remote.protect_position("BTC-USD", stop_loss=STOP)


@pytest.mark.parametrize(
    "fields",
    [
        {"order_type": 0},
        {"take_profit_order_id": 5},
        {"order_type": 200},
        {"trade_type": 0},
        {"take_profit_order_id": "own", "take_profit_trigger": float("nan")},
        {"take_profit_order_id": "self", "take_profit_trigger": 70_000.0},
        {"take_profit_order_id": "own", "take_profit_trigger": 70_000.0, "stop_loss_order_id": "own"},
        {"order_type": 0, "stop_loss_order_id": "own", "stop_loss_trigger": -1.0},
        {"take_profit_order_id": "same row", "take_profit_trigger": 70_000.0},
    ],
)
def test_a_bracket_that_no_client_of_ours_writes_is_disposed_of_and_harms_nobody(pair, fields):
    client = pair.desk.claim("hostile")
    values = {"own": client.id(60), "self": client.id(1), "same row": client.id(1 + 64)}
    fields = {name: values.get(value, value) for name, value in fields.items()}
    client.place(kind=CommandKind.BRACKET, **fields)
    index = client.push(kind=CommandKind.SUBSCRIBE, instrument=0)
    pair.settle()
    assert pair.desk.venue.orders == {}
    assert [event.command_ok for event in pair.desk.results() if event.command_index == index][-1]
    assert pair.resting().state is OrderState.OPEN
