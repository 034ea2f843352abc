"""RemoteConnector: attaching, the getters, and every refusal before anything is written."""

import asyncio
import os

import numpy as np
import pytest
from support.fake_gateway import SMALL, FakeGateway, answering, unique_engine, wait_until
from support.polling import poll_all, poll_until

from latentspeed.connectors import (
    ConnectorState,
    ConnectorType,
    MarginMode,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
)
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.ipc import GatewayDown, SegmentNotFound


def limit(price=60_000.0, amount=0.001, **fields):
    return OrderParams("BTC-USD", amount, price, OrderType.LIMIT, **fields)


# The usage that every connector shares: create, set listener, initialise, connect, wait ready, buy, events


def test_a_plain_script_trades_without_an_event_loop(answering_gateway, attach):
    connector = attach(answering_gateway, connect=False, background=True)
    connector.initialize().result(60)
    connector.connect().result(60)
    connector.wait_ready().result(60)
    assert connector.is_connected
    order_id = connector.buy(limit())
    order = connector.get_order(order_id)
    wait_until(lambda: order.state is OrderState.OPEN, "never acknowledged")
    assert order.get_exchange_order_id().result(60) == order.exchange_order_id
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
        exchange_order_id = await asyncio.wait_for(order.get_exchange_order_id(), 60)
        assert exchange_order_id == order.exchange_order_id
        leverage = await asyncio.wait_for(connector.set_leverage("BTC-USD", 7), 60)
        assert leverage == 7
        await connector.disconnect()

    asyncio.run(notebook())


def test_a_strategys_loop_polls_by_itself_and_result_reads_without_calling_listeners(answering_gateway, attach):
    connector = attach(answering_gateway)
    order_id = connector.buy(limit())
    assert connector.set_leverage("BTC-USD", 3, MarginMode.ISOLATED).result(60) == 3
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
    remote.connect().result(60)
    assert [session.slot for session in gateway.writer.sessions if session.is_locked()] == slots


def test_after_disconnecting_it_can_be_connected_again(remote, gateway):
    remote.disconnect().result(60)
    assert remote.connection_state is ConnectorState.DISCONNECTED
    with pytest.raises(OrderRefused):
        remote.buy(limit())
    remote.connect().result(60)
    remote.buy(limit())


def test_without_a_segment_attaching_says_which_is_missing():
    connector = RemoteConnector(unique_engine("none"), "hyperliquid", background=False, timeout_s=0.05)
    with pytest.raises(SegmentNotFound, match="hyperliquid"):
        connector.initialize().result(60)


def test_without_a_gateway_connecting_fails_after_its_deadline(gateway):
    gateway.die()
    connector = RemoteConnector(gateway.engine, "hyperliquid", background=False, timeout_s=0.2)
    connector.initialize().result(60)
    with pytest.raises(GatewayDown):
        connector.connect().result(60)
    connector.disconnect().result(60)


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
    pending.result(60)
    assert remote.is_ready


def test_sessions_are_limited_and_the_next_one_is_told(gateway, attach):
    for _ in range(SMALL.sessions):
        attach(gateway)
    extra = RemoteConnector(gateway.engine, "hyperliquid", background=False, timeout_s=0.2)
    with pytest.raises(Exception, match="taken"):
        extra.connect().result(60)
    extra.disconnect().result(60)


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
        first.disconnect().result(60)
        second.disconnect().result(60)
