"""RemoteConnector: what is refused before anything is written, and what is written otherwise."""

import json
import time

import pytest
from support.fake_gateway import SMALL, wait_until
from support.polling import poll_until

from latentspeed.connectors import (
    MarginMode,
    NotReady,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TradeType,
    VenueRejected,
)
from latentspeed.engine.records import CommandKind, OrderEventKind
from latentspeed.engine.refusals import GatewayNotReady, OrderBlockFull
from latentspeed.ipc import CommandQueueFull, SegmentState


def limit(price=60_000.0, amount=0.001, **fields):
    return OrderParams("BTC-USD", amount, price, OrderType.LIMIT, **fields)


# Refusals: nothing is written


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (OrderParams("DOGE-USD", 1.0, 1.0), "trading_pair"),
        (limit(price=60_000.05), "price"),
        (limit(amount=0.0000015), "amount"),
        (limit(amount=0.0001), "amount"),
        (limit(amount=-0.001), "amount"),
        (OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.STOP_LIMIT, trigger_price=60_000.0), "order_type"),
        (OrderParams("BTC-USD", 0.001, None, OrderType.LIMIT), "price"),
        (limit(leverage=51), "leverage"),
        (limit(extra_params={"note": "x" * 100}), "extra_params"),
        (limit(extra_params={"note": object()}), "extra_params"),
        (limit(extra_params={"colour": "red"}), "grouping, note"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_before_anything_is_written(remote, gateway, params, field):
    with pytest.raises(OrderRefused) as refusal:
        remote.buy(params)
    assert field in str(refusal.value)
    assert remote.get_open_orders() == []
    time.sleep(0.005)
    assert gateway.commands == []


def test_a_place_needs_a_live_gateway(remote, gateway):
    gateway.go(SegmentState.RECOVERING)
    with pytest.raises(GatewayNotReady, match="RECOVERING"):
        remote.buy(limit())
    assert remote.get_open_orders() == []
    gateway.go(SegmentState.LIVE)
    remote.buy(limit())


def test_not_ready_is_an_order_refused_so_that_a_strategy_outlives_a_restart(remote, gateway):
    gateway.go(SegmentState.STOPPING)
    with pytest.raises(OrderRefused):
        remote.sell(limit())
    with pytest.raises(NotReady):
        remote.sell(limit())


@pytest.mark.usefixtures("soon_silent")
def test_a_place_needs_a_fresh_heartbeat(remote, gateway):
    gateway.beats = False
    wait_until(
        lambda: time.monotonic_ns() - remote._link.reader.heartbeat_mono_ns > 1_010_000_000, "it went on beating"
    )
    with pytest.raises(GatewayNotReady, match="heartbeat"):
        remote.buy(limit())
    gateway.beats = True
    wait_until(lambda: remote._link.is_taking_orders, "the heartbeat never came back")
    remote.buy(limit())


def test_a_full_queue_raises_at_once_and_leaves_no_trace_of_the_order(remote, gateway):
    gateway.reads_commands = False
    with gateway.lock:
        pass  # a turn that had begun has ended
    accepted = []
    for _ in range(SMALL.queue_capacity - SMALL.queue_capacity // 8):
        accepted.append(remote.buy(limit()))
    with pytest.raises(CommandQueueFull):
        remote.buy(limit())
    assert [order.client_order_id for order in remote.get_open_orders()] == accepted
    assert remote.cancel(accepted[0]), "the last eighth is kept for cancels"
    gateway.reads_commands = True
    wait_until(lambda: len(gateway.of_kind(CommandKind.PLACE)) == len(accepted), "places were lost")
    following = remote.buy(limit())
    wait_until(lambda: len(gateway.of_kind(CommandKind.PLACE)) == len(accepted) + 1, "the next place was lost")
    assert following not in accepted


def test_a_full_order_block_raises_before_anything_is_sent(answering_gateway, attach):
    remote = attach(answering_gateway)
    ids = []
    for _ in range(SMALL.orders_per_session):
        ids.append(remote.buy(limit()))
        wait_until(lambda: len(answering_gateway.commands) == len(ids), "a command was not read")
    with pytest.raises(OrderBlockFull, match="16"):
        remote.buy(limit())
    assert len(remote.get_open_orders()) == SMALL.orders_per_session
    answering_gateway.cancelled(ids[5])
    poll_until(remote, lambda: not remote.get_order(ids[5]).is_active)
    again = remote.buy(limit())
    assert int(again[2:], 16) & 15 == int(ids[5][2:], 16) & 15, "the only free row is taken"
    assert again != ids[5]


def test_rows_of_live_orders_of_an_earlier_session_are_skipped(gateway, attach):
    first = attach(gateway, cancel_on_death=False)
    kept = [first.buy(limit()) for _ in range(3)]
    for order_id in kept:
        gateway.acknowledge(order_id)
    gateway.settles_deaths = False
    first.disconnect().result(60)
    with gateway.lock:
        for session in gateway.writer.sessions:
            if not session.is_locked() and session.state == 2:
                session.drain()
                session.free()
    second = attach(gateway)
    rows = {int(order_id[2:], 16) & 15 for order_id in kept}
    made = [second.buy(limit()) for _ in range(5)]
    assert not rows & {int(order_id[2:], 16) & 15 for order_id in made}
    assert second.get_order(kept[0]) is None
    assert second.cancel(kept[0]) is False, "an order of another session is not ours to cancel"


def test_a_command_carries_the_whole_order(remote, gateway):
    before = time.monotonic_ns()
    order_id = remote.sell(
        OrderParams(
            "ETH-USD",
            0.5,
            3_000.1,
            OrderType.LIMIT,
            PositionAction.CLOSE,
            leverage=4,
            extra_params={"grouping": "na"},
        )
    )
    wait_until(lambda: gateway.commands, "nothing was read")
    command = gateway.commands[0]
    assert command.kind == CommandKind.PLACE
    assert f"LS{command.client_order_id:016x}" == order_id
    assert (command.instrument, command.trade_type, command.order_type) == (1, TradeType.SELL, OrderType.LIMIT)
    assert (command.position_action, command.leverage) == (PositionAction.CLOSE, 4)
    assert (command.price, command.amount) == (3_000.1, 0.5)
    assert json.loads(command.extra_params) == {"grouping": "na"}
    assert before < command.written_mono_ns < time.monotonic_ns()
    assert command.expire_mono_ns - command.written_mono_ns == 2_000_000_000


def test_ids_count_up_and_carry_session_and_incarnation(remote, gateway):
    session = next(session for session in gateway.writer.sessions if session.is_locked())
    ids = [int(remote.buy(limit())[2:], 16) for _ in range(3)]
    assert [value & 0xFFFFFF for value in ids] == [1, 2, 3]
    assert {value >> 24 & 0xFF for value in ids} == {session.slot}
    assert {value >> 32 for value in ids} == {session.incarnation}


# Cancels and other commands


def test_cancelling_an_unknown_or_finished_order_returns_false(remote, gateway):
    assert remote.cancel("LS0000000100000001") is False
    assert remote.cancel("nonsense") is False
    order_id = remote.buy(limit())
    gateway.acknowledge(order_id)
    gateway.cancelled(order_id)
    poll_until(remote, lambda: not remote.get_order(order_id).is_active)
    assert remote.cancel(order_id) is False
    assert gateway.of_kind(CommandKind.CANCEL) == []


def test_a_cancel_is_accepted_while_the_gateway_recovers_and_is_sent_once(remote, gateway):
    order_id = remote.buy(limit())
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    gateway.go(SegmentState.RECOVERING)
    assert remote.cancel(order_id)
    assert remote.cancel(order_id)
    wait_until(lambda: gateway.of_kind(CommandKind.CANCEL), "the cancel was never read")
    assert len(gateway.of_kind(CommandKind.CANCEL)) == 1


def test_a_cancel_that_the_gateway_refused_can_be_repeated(remote, gateway):
    order_id = remote.buy(limit())
    gateway.acknowledge(order_id)
    remote.cancel(order_id)
    wait_until(lambda: gateway.of_kind(CommandKind.CANCEL), "the cancel was never read")
    gateway.result(gateway.of_kind(CommandKind.CANCEL)[0], ok=False, reason="unknown_order")
    order = remote.get_order(order_id)
    poll_until(remote, lambda: not order.cancel_in_flight)
    remote.cancel(order_id)
    wait_until(lambda: len(gateway.of_kind(CommandKind.CANCEL)) == 2, "the second cancel was never read")


def test_a_cancel_that_the_venue_refuses_is_an_error_event_with_its_reason(remote, gateway):
    errors = []
    remote.set_error_event_listener(type("E", (), {"on_error": lambda self, error: errors.append(error)})())
    order_id = remote.buy(limit())
    gateway.acknowledge(order_id)
    remote.cancel(order_id)
    wait_until(lambda: gateway.of_kind(CommandKind.CANCEL), "the cancel was never read")
    gateway.result(gateway.of_kind(CommandKind.CANCEL)[0])
    order = gateway.order(order_id)
    gateway.publish(order, OrderEventKind.UPDATED, state=OrderState.PENDING_CANCEL, cancel_requested=True)
    gateway.result(gateway.of_kind(CommandKind.CANCEL)[0], ok=False, reason="Order was never placed")
    poll_until(remote, lambda: errors)
    assert (errors[0].code, errors[0].client_order_id) == ("cancel_rejected", order_id)
    assert "never placed" in errors[0].message
    assert not remote.get_order(order_id).cancel_in_flight
    gateway.publish(order, OrderEventKind.UPDATED, state=OrderState.OPEN, cancel_requested=False)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)


def test_cancel_all_is_one_word_for_all_orders(answering_gateway, attach):
    remote = attach(answering_gateway)
    ids = [remote.buy(limit()) for _ in range(4)]
    wait_until(lambda: len(answering_gateway.commands) == 4, "not all were read")
    poll_until(remote, lambda: all(remote.get_order(i).state is OrderState.OPEN for i in ids))
    assert remote.cancel_all() == 4
    poll_until(remote, lambda: not remote.get_open_orders())
    assert answering_gateway.of_kind(CommandKind.CANCEL) == []
    assert answering_gateway.cancel_alls == 1


def test_leverage_that_the_venue_refuses_fails_with_its_reason(remote, gateway):
    pending = remote.set_leverage("BTC-USD", 20)
    wait_until(lambda: gateway.commands, "the command was never read")
    assert gateway.commands[0].leverage == 20
    gateway.result(gateway.commands[0], ok=False, reason="too much for the position")
    with pytest.raises(VenueRejected, match="too much"):
        pending.result(60)


def test_margin_is_asked_for_by_command_and_known_once_it_is_answered(remote, gateway):
    mode = remote.set_margin_mode("BTC-USD", MarginMode.ISOLATED)
    change = remote.adjust_margin("BTC-USD", -12.5)
    wait_until(lambda: len(gateway.commands) == 2, "the commands were never read")
    first, second = gateway.commands
    assert (first.kind, first.margin_mode) == (CommandKind.SET_MARGIN_MODE, MarginMode.ISOLATED)
    assert (second.kind, second.amount) == (CommandKind.ADJUST_MARGIN, -12.5)
    assert remote.get_margin_mode("BTC-USD") is None
    gateway.result(first)
    gateway.result(second, ok=False, reason="no isolated position")
    assert mode.result(60) is MarginMode.ISOLATED
    assert remote.get_margin_mode("BTC-USD") is MarginMode.ISOLATED
    with pytest.raises(VenueRejected, match="no isolated position"):
        change.result(60)
    for wrong in (0.0, float("nan"), True, "7"):
        with pytest.raises(OrderRefused, match="amount"):
            remote.adjust_margin("BTC-USD", wrong)
    with pytest.raises(OrderRefused, match="trading_pair"):
        remote.set_margin_mode("NONE-USD", MarginMode.CROSS)


def test_leverage_out_of_range_is_refused_at_once(remote, gateway):
    with pytest.raises(OrderRefused, match="1 to 50"):
        remote.set_leverage("BTC-USD", 51)


def test_a_subscription_before_connecting_is_sent_on_connecting(gateway, attach):
    connector = attach(gateway, connect=False)
    connector.subscribe("ETH-USD")
    connector.connect().result(60)
    wait_until(lambda: gateway.of_kind(CommandKind.SUBSCRIBE), "never subscribed")
    assert gateway.of_kind(CommandKind.SUBSCRIBE)[0].instrument == 1
    with pytest.raises(OrderRefused):
        connector.subscribe("DOGE-USD")
