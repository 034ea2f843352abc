"""RemoteConnector: attaching, the getters, and every refusal before anything is written."""

import asyncio
import json
import os
import time

import numpy as np
import pytest
from support.fake_gateway import SMALL, FakeGateway, answering, unique_engine, wait_until
from support.polling import poll_all, poll_until

from latentspeed.connectors import (
    ConnectorState,
    ConnectorType,
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
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.ipc import CommandQueueFull, GatewayDown, SegmentNotFound, SegmentState


def limit(price=60_000.0, amount=0.001, **fields):
    return OrderParams("BTC-USD", amount, price, OrderType.LIMIT, **fields)


# The usage that every connector shares: create, set listener, initialise, connect, wait ready, buy, events


def test_a_plain_script_trades_without_an_event_loop(answering_gateway, attach):
    connector = attach(answering_gateway, connect=False, background=True)
    connector.initialize().result(5)
    connector.connect().result(5)
    connector.wait_ready().result(5)
    assert connector.is_connected
    order_id = connector.buy(limit())
    order = connector.get_order(order_id)
    wait_until(lambda: order.state is OrderState.OPEN, "never acknowledged")
    assert order.get_exchange_order_id().result(5) == order.exchange_order_id
    answering_gateway.fill(order_id, 100, 600_000, "t1")
    wait_until(lambda: connector.recorder.names(order_id)[-1] == "completed", "never filled")
    assert connector.recorder.names(order_id) == ["updated", "created", "filled", "completed"]
    assert [fill.trade_id for fill in connector.recorder.fills] == ["t1"]


def test_it_works_inside_a_running_event_loop(answering_gateway, attach):
    async def notebook():
        connector = attach(answering_gateway, connect=False, background=True)
        await connector.initialize()
        await connector.connect()
        await connector.wait_ready()
        order = connector.get_order(connector.buy(limit()))
        exchange_order_id = await asyncio.wait_for(order.get_exchange_order_id(), 5)
        assert exchange_order_id == order.exchange_order_id
        leverage = await asyncio.wait_for(connector.set_leverage("BTC-USD", 7), 5)
        assert leverage == 7
        await connector.disconnect()

    asyncio.run(notebook())


def test_a_strategys_loop_polls_by_itself_and_result_reads_without_calling_listeners(answering_gateway, attach):
    connector = attach(answering_gateway)
    order_id = connector.buy(limit())
    assert connector.set_leverage("BTC-USD", 3, MarginMode.ISOLATED).result(5) == 3
    assert connector.recorder.events == []
    poll_all(connector)
    assert connector.recorder.names(order_id) == ["updated", "created"]


def test_identity_is_that_of_the_gateways_connector(remote, gateway):
    assert remote.name == "hyperliquid"
    assert remote.domain == "hyperliquid_perpetual_local"
    assert remote.connector_type is ConnectorType.DERIVATIVE_PERPETUAL


def test_the_gateway_sees_who_claimed_the_session(gateway, attach):
    attach(gateway, name="quoter", tag=77, cancel_on_death=False)
    claim = next(session.claim for session in gateway.writer.sessions if session.claim is not None)
    assert (claim.name, claim.tag, claim.cancel_on_death, claim.pid) == ("quoter", 77, False, os.getpid())


def test_connecting_twice_keeps_the_session(remote, gateway):
    slots = [session.slot for session in gateway.writer.sessions if session.is_locked()]
    remote.connect().result(5)
    assert [session.slot for session in gateway.writer.sessions if session.is_locked()] == slots


def test_after_disconnecting_it_can_be_connected_again(remote, gateway):
    remote.disconnect().result(5)
    assert remote.connection_state is ConnectorState.DISCONNECTED
    with pytest.raises(OrderRefused):
        remote.buy(limit())
    remote.connect().result(5)
    remote.buy(limit())


def test_without_a_segment_attaching_says_which_is_missing():
    connector = RemoteConnector(unique_engine("none"), "hyperliquid", background=False, timeout_s=0.05)
    with pytest.raises(SegmentNotFound, match="hyperliquid"):
        connector.initialize().result(5)


def test_without_a_gateway_connecting_fails_after_its_deadline(gateway):
    gateway.die()
    connector = RemoteConnector(gateway.engine, "hyperliquid", background=False, timeout_s=0.2)
    connector.initialize().result(5)
    with pytest.raises(GatewayDown):
        connector.connect().result(5)
    connector.disconnect().result(5)


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
    first.disconnect().result(5)
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
        pending.result(5)


def test_leverage_out_of_range_is_refused_at_once(remote, gateway):
    with pytest.raises(OrderRefused, match="1 to 50"):
        remote.set_leverage("BTC-USD", 51)


def test_a_subscription_before_connecting_is_sent_on_connecting(gateway, attach):
    connector = attach(gateway, connect=False)
    connector.subscribe("ETH-USD")
    connector.connect().result(5)
    wait_until(lambda: gateway.of_kind(CommandKind.SUBSCRIBE), "never subscribed")
    assert gateway.of_kind(CommandKind.SUBSCRIBE)[0].instrument == 1
    with pytest.raises(OrderRefused):
        connector.subscribe("DOGE-USD")


# Getters


def test_getters_show_what_stands_in_the_tables(remote, gateway):
    assert remote.get_quote("BTC-USD") is None
    assert remote.get_position("BTC-USD") is None
    assert remote.get_balance("USDC") is None
    assert remote.get_mark_price("BTC-USD") is None
    gateway.quote("BTC-USD", 60_000.0, 60_001.0, mark=60_000.5, oracle=60_000.7, index=float("nan"), funding_rate=1e-5)
    gateway.book("BTC-USD", [(60_000.0, 1.0), (59_999.0, 2.0)], [(60_001.0, 3.0)])
    gateway.position("BTC-USD", -0.5, entry_price=61_000.0, leverage=5, margin_mode=1)
    gateway.balance(0, "USDC", 1000.0, 900.0)
    quote = remote.get_quote("BTC-USD")
    assert (quote.trading_pair, quote.bid, quote.ask, quote.bid_size, quote.ask_size) == (
        "BTC-USD",
        60_000.0,
        60_001.0,
        1.0,
        2.0,
    )
    assert remote.get_mark_price("BTC-USD") == 60_000.5
    assert remote.get_index_price("BTC-USD") == 60_000.7
    assert remote.get_funding_rate("BTC-USD") == 1e-5
    book = remote.get_book("BTC-USD")
    assert book.bid_levels().tolist() == [[60_000.0, 1.0], [59_999.0, 2.0]]
    assert book.ask_levels().tolist() == [[60_001.0, 3.0]]
    position = remote.get_position("BTC-USD")
    assert (position.amount, position.entry_price, position.leverage) == (-0.5, 61_000.0, 5)
    assert position.margin_mode is MarginMode.ISOLATED
    assert [p.trading_pair for p in remote.get_all_positions()] == ["BTC-USD"]
    balance = remote.get_balance("USDC")
    assert (balance.total, balance.available) == (1000.0, 900.0)
    assert remote.get_balance("HYPE") is None
    assert remote.get_quote("DOGE-USD") is None


def test_records_are_reused_and_copies_are_kept(remote, gateway):
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    quote = remote.get_quote("BTC-USD")
    kept = quote.copy()
    gateway.quote("BTC-USD", 50_000.0, 50_001.0)
    assert remote.get_quote("BTC-USD") is quote
    assert (quote.bid, kept.bid) == (50_000.0, 60_000.0)


def test_trading_rules_are_rebuilt_exactly(remote):
    rule = remote.get_trading_rule("BTC-USD")
    assert str(rule.lot_size) == "0.00001"
    assert rule.significant_figures == 5
    assert rule.max_leverage == 50
    assert [rule.trading_pair for rule in remote.get_all_trading_rules()] == ["BTC-USD", "ETH-USD"]
    assert remote.quantize_order_price("BTC-USD", 60_000.4) == 60_000.0
    assert remote.quantize_order_amount("BTC-USD", 0.000019) == 0.00001


def test_snapshots_are_validated_structured_arrays(answering_gateway, attach):
    remote = attach(answering_gateway)
    answering_gateway.quote("ETH-USD", 3_000.0, 3_001.0)
    quotes = remote.snapshot("quotes")
    assert quotes["trading_pair"].tolist() == [b"", b"ETH-USD"]
    assert quotes["ask"].tolist() == [0.0, 3_001.0]
    ids = [remote.buy(limit()) for _ in range(2)]
    poll_until(remote, lambda: all(remote.get_order(i).state is OrderState.OPEN for i in ids))
    orders = remote.snapshot("orders")
    assert [f"LS{value:016x}" for value in orders["client_order_id"]] == ids
    assert set(orders["state"]) == {int(OrderState.OPEN)}
    out = np.zeros(1, dtype=quotes.dtype)
    assert remote.read_many("quotes", out, 1) is out
    assert out["bid"].tolist() == [3_000.0]


def test_ready_needs_quotes_of_all_subscribed_pairs(remote, gateway):
    assert remote.is_ready
    remote.subscribe("BTC-USD")
    assert not remote.is_ready
    pending = remote.wait_ready()
    with pytest.raises(TimeoutError):
        pending.result(0.02)
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    pending.result(5)
    assert remote.is_ready


def test_sessions_are_limited_and_the_next_one_is_told(gateway, attach):
    for _ in range(SMALL.sessions):
        attach(gateway)
    extra = RemoteConnector(gateway.engine, "hyperliquid", background=False, timeout_s=0.2)
    with pytest.raises(Exception, match="taken"):
        extra.connect().result(5)
    extra.disconnect().result(5)


def test_two_connectors_trade_with_two_gateways_without_mixing(attach):
    engine = unique_engine("two")
    with (
        FakeGateway(engine, "one", on_command=answering) as one,
        FakeGateway(engine, "two", on_command=answering) as two,
    ):
        first, second = attach(one), attach(two)
        a, b = first.buy(limit()), second.sell(limit())
        poll_until(first, lambda: first.get_order(a).state is OrderState.OPEN)
        poll_until(second, lambda: second.get_order(b).state is OrderState.OPEN)
        assert len(one.commands) == len(two.commands) == 1
        first.disconnect().result(5)
        second.disconnect().result(5)
