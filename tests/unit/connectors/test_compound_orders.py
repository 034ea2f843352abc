"""Orders that belong to other orders: replacements, brackets, and exits whose size only their end tells."""

from __future__ import annotations

import itertools

import pytest

from latentspeed.connectors import (
    ClientOrderTracker,
    ExitParams,
    OrderLimits,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PerpetualDerivativeBase,
    Position,
    PositionAction,
    ReportSource,
    TimeInForce,
    TradeType,
    restore_order,
)
from latentspeed.connectors.types import ConnectorState

S = OrderState


class Desk(PerpetualDerivativeBase):
    """A connector that keeps what it is given to send."""

    order_limits = OrderLimits(
        order_types=frozenset(OrderType) - {OrderType.UNKNOWN},
        replaceable_types=frozenset({OrderType.LIMIT}),
        has_brackets=True,
    )
    name = domain = "desk"
    initialize = connect = disconnect = resync = subscribe = set_leverage = None
    _place_order = _place_order_and_process_update = _cancel_order = None

    def __init__(self, rule):
        super().__init__()
        self.sent = []
        self.fails = False
        self._set_trading_rules([rule])
        self._connection_state = ConnectorState.LIVE

    def _schedule_place(self, order):
        if self.fails:
            raise RuntimeError("the line is cut")
        self.sent.append(order)

    def _schedule_cancel(self, order):
        self._tracker.mark_cancel_requested(order)

    def report(self, order, state, **more):
        from latentspeed.connectors import OrderUpdate

        self._tracker.mark_signed(order)
        self._tracker.process_order_update(OrderUpdate(order.client_order_id, state=state, **more))


@pytest.fixture
def desk(kit):
    return Desk(kit.RULE)


def resting(desk, amount=0.01, price=50_000.0, **more):
    order = desk.get_order(desk.buy(OrderParams("BTC-USD", amount, price, **more)))
    desk.report(order, S.OPEN)
    return order


# Modify


def test_a_modify_is_a_new_order_that_names_the_old_and_leaves_it_as_it_is(desk):
    old = resting(desk, position_action=PositionAction.OPEN)
    new = desk.get_order(desk.modify(old.client_order_id, price=51_000.0))
    assert (new.replaces, old.replaced_by) == (old.client_order_id, new.client_order_id)
    assert (new.price, new.amount, new.trade_type, new.position_action) == (
        51_000.0,
        0.01,
        TradeType.BUY,
        old.position_action,
    )
    assert (old.state, new.state) == (S.OPEN, S.PENDING_CREATE)
    assert desk.sent == [old, new]


def test_without_an_amount_a_modify_has_what_is_left(desk, kit):
    old = resting(desk)
    desk._tracker.process_trade_update(kit.fill(old, "1", 4))
    assert desk.get_order(desk.modify(old.client_order_id, price=51_000.0)).amount == 0.006


def test_neither_order_ends_because_the_other_did(desk, kit):
    old = resting(desk)
    new = desk.get_order(desk.modify(old.client_order_id, price=51_000.0))
    desk.report(new, S.OPEN)
    assert old.state is S.OPEN
    desk.report(old, S.CANCELLED, reason="modified")
    assert new.state is S.OPEN
    desk._tracker.process_trade_update(kit.fill(old, "late", 10))
    assert (old.state, old.filled_lots, new.filled_lots) == (S.FILLED, 10, 0)


@pytest.mark.parametrize("end", [S.FAILED, S.EXPIRED])
def test_a_modify_can_be_repeated_once_the_last_one_was_refused(desk, end):
    old = resting(desk)
    first = desk.get_order(desk.modify(old.client_order_id, price=51_000.0))
    with pytest.raises(OrderRefused, match="replacing it already"):
        desk.modify(old.client_order_id, price=52_000.0)
    desk.report(first, end)
    second = desk.modify(old.client_order_id, price=52_000.0)
    assert old.replaced_by == second


@pytest.mark.parametrize(
    "state", [S.PENDING_CREATE, S.PENDING_SUBMIT, S.PENDING_CANCEL, S.FILLED, S.CANCELLED, S.FAILED]
)
def test_only_an_order_that_rests_can_be_modified(desk, state):
    order = desk.get_order(desk.buy(OrderParams("BTC-USD", 0.01, 50_000.0)))
    order.state = state
    with pytest.raises(OrderRefused, match=f"it is {state.name}"):
        desk.modify(order.client_order_id, price=51_000.0)
    assert desk.sent == [order]


def test_a_modify_that_could_not_be_handed_over_leaves_no_trace_that_matters(desk):
    old = resting(desk)
    desk.fails = True
    with pytest.raises(RuntimeError):
        desk.modify(old.client_order_id, price=51_000.0)
    desk.fails = False
    assert desk.get_open_orders() == [old]
    assert desk.modify(old.client_order_id, price=51_000.0)


@pytest.mark.parametrize("more", [{"order_type": OrderType.LIMIT_MAKER}, {"time_in_force": TimeInForce.IOC}])
def test_what_the_venue_does_not_replace_is_refused(desk, more):
    with pytest.raises(OrderRefused, match="can be modified: LIMIT"):
        desk.modify(resting(desk, **more).client_order_id, price=51_000.0)


@pytest.mark.parametrize("is_new_first", [False, True])
def test_a_replacement_and_its_original_know_each_other_after_a_restart_in_any_order(kit, is_new_first):
    old, new = kit.make_order(), kit.make_order()
    rows = [
        restore_order(old.client_order_id, kit.RULE, TradeType.BUY, OrderType.LIMIT, 10, 500_000, state=S.OPEN),
        restore_order(
            new.client_order_id, kit.RULE, TradeType.BUY, OrderType.LIMIT, 10, 510_000,
            state=S.PENDING_SUBMIT, replaces=old.client_order_id,
        ),
    ]  # fmt: skip
    tracker = ClientOrderTracker()
    tracker.recover_orders(reversed(rows) if is_new_first else rows)
    assert tracker.get_order(old.client_order_id).replaced_by == new.client_order_id
    assert tracker.get_order(new.client_order_id).is_unknown


# Brackets


def test_a_bracket_is_tracked_as_a_whole_before_any_of_it_is_handed_over(desk):
    seen = []
    desk._schedule_place = lambda order: seen.append(len(desk.get_open_orders()))
    ids = desk.place_bracket(
        TradeType.SELL,
        OrderParams("BTC-USD", 0.01, 50_000.0),
        take_profit=ExitParams(45_000.0, 45_100.0),
        stop_loss=ExitParams(55_000.0),
    )
    assert seen == [3, 3, 3]
    entry, take, stop = map(desk.get_order, ids)
    assert (take.order_type, stop.order_type) == (OrderType.TAKE_PROFIT_LIMIT, OrderType.STOP_MARKET)
    assert {take.trade_type, stop.trade_type} == {TradeType.BUY}
    assert entry.group == take.group == stop.group == tuple(ids)
    assert (entry.parent, take.parent, stop.parent) == ("", ids.entry, ids.entry)


def test_a_bracket_that_could_not_be_handed_over_is_not_tracked(desk):
    desk.fails = True
    with pytest.raises(RuntimeError):
        desk.place_bracket(TradeType.BUY, OrderParams("BTC-USD", 0.01, 50_000.0), stop_loss=ExitParams(45_000.0))
    assert desk.get_open_orders() == []


def test_a_connector_without_brackets_refuses_them(desk):
    desk.order_limits = OrderLimits()
    with pytest.raises(OrderRefused, match="no brackets"):
        desk.place_bracket(TradeType.BUY, OrderParams("BTC-USD", 0.01, 50_000.0), stop_loss=ExitParams(45_000.0))


@pytest.mark.parametrize(("amount", "side"), [(0.02, TradeType.SELL), (-0.02, TradeType.BUY)])
def test_exits_of_a_position_are_on_its_other_side(desk, amount, side):
    desk.update_position(Position("BTC-USD", amount=amount, entry_price=50_000.0))
    ids = desk.protect_position("BTC-USD", stop_loss=ExitParams(45_000.0 if amount > 0 else 55_000.0))
    order = desk.get_order(ids.stop_loss)
    assert (ids.entry, ids.take_profit) == ("", "")
    assert (order.trade_type, order.amount, order.has_open_size) == (side, 0.02, True)
    assert order.position_action is PositionAction.CLOSE


# Exits whose size follows a position


def reports_of_an_exit(kit, order):
    """The position had grown from 10 to 25 lots when the exit was triggered."""
    return [
        kit.update(order, S.OPEN),
        kit.fill(order, "a", 12),
        kit.fill(order, "b", 13),
        kit.update(order, S.FILLED, filled_lots=25),
    ]


def test_an_exit_that_follows_a_position_is_filled_by_what_the_venue_says_in_any_order_of_reports(kit):
    for repeated in range(4):
        for order_of_arrival in itertools.permutations(range(4)):
            order = kit.make_order(10, 0, order_type=OrderType.STOP_MARKET, trigger_units=450_000, has_open_size=True)
            reports = reports_of_an_exit(kit, order)
            tracker, recorder, _ = kit.make_tracker()
            tracker.start_tracking_order(order)
            tracker.mark_signed(order)
            for index in (*order_of_arrival, repeated):
                report = reports[index]
                if hasattr(report, "trade_id"):
                    tracker.process_trade_update(report)
                else:
                    tracker.process_order_update(report)
            assert (order.state, order.filled_lots, order.amount_lots) == (S.FILLED, 25, 25), order_of_arrival
            assert not order.is_awaiting_fills
            assert recorder.events.count("completed") == 1, (order_of_arrival, recorder.events)
            assert recorder.errors == []


def test_it_is_not_filled_while_the_venue_has_not_said_so(kit):
    order = kit.make_order(10, 0, order_type=OrderType.STOP_MARKET, trigger_units=450_000, has_open_size=True)
    tracker, recorder, _ = kit.make_tracker()
    tracker.start_tracking_order(order)
    tracker.process_trade_update(kit.fill(order, "a", 12))
    assert (order.state, order.amount_lots) == (S.PARTIALLY_FILLED, 12)
    tracker.process_order_update(kit.update(order, S.FILLED))
    assert order.state is S.FILLED
    tracker.process_trade_update(kit.fill(order, "b", 13))
    assert (order.state, order.filled_lots, order.amount_lots) == (S.FILLED, 25, 25)
    assert recorder.errors == []


@pytest.mark.parametrize("state", [S.OPEN, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED])
def test_it_comes_back_from_a_row_as_what_it_was(kit, state):
    filled = 0 if state is S.OPEN else 10
    order = restore_order(
        kit.make_order().client_order_id, kit.RULE, TradeType.SELL, OrderType.STOP_MARKET, 10,
        state=state, filled_lots=filled, trigger_units=450_000, has_open_size=True,
    )  # fmt: skip
    assert order.state is state
    assert (order.trigger_price, order.has_open_size) == (45_000.0, True)


def test_one_that_was_filled_before_a_report_said_so_completes_with_the_report(kit):
    order = kit.make_order(10, 0, order_type=OrderType.STOP_MARKET, trigger_units=450_000, has_open_size=True)
    tracker, recorder, _ = kit.make_tracker()
    tracker.start_tracking_order(order)
    tracker.process_trade_update(kit.fill(order, "a", 10))
    recorder.take()
    tracker.process_order_update(kit.update(order, S.FILLED, filled_lots=10, source=ReportSource.SNAPSHOT))
    assert recorder.take() == ["completed"]
