"""Reads go to the master, signatures come from its agent, and positions and balances follow the venue."""

from __future__ import annotations

import asyncio

import pytest
from connected import (
    AGENT_SECRET,
    MAKER_KEY,
    PAIR,
    TAKER_KEY,
    connected,
    ended,
    limit,
    new_connector,
    resting,
    run,
    until,
)
from eth_account import Account
from hyperliquid.exchange import Exchange

from latentspeed.connectors import ConnectorError, OrderState, PositionAction, TimeInForce
from latentspeed.connectors.hyperliquid.keys import SigningKey

AGENT = SigningKey.from_hex(AGENT_SECRET)
OTHER_AGENT = SigningKey(b"\x04" * 32)


async def approve_agent(venue):
    """The master approves an agent of the official client's making; returns the agent's key."""
    venue.account(MAKER_KEY.address)

    def approve():
        exchange = Exchange(Account.from_key("0x" + "01" * 32), venue.base_url)
        return exchange.approve_agent("bot")

    reply, secret = await asyncio.to_thread(approve)
    assert reply["status"] == "ok", reply
    return SigningKey.from_hex(secret)


def test_a_key_that_is_not_an_agent_of_the_account_is_refused_at_start():
    async def scenario(venue):
        agent = await approve_agent(venue)
        venue.account(TAKER_KEY.address)
        for key, account, text in [
            (OTHER_AGENT, MAKER_KEY.address, "is no agent of account"),
            (TAKER_KEY, MAKER_KEY.address, "is no agent of account"),
            (agent, TAKER_KEY.address, f"is an agent of {MAKER_KEY.address}"),
        ]:
            connector = new_connector(venue, key, account_address=account)
            with pytest.raises(ConnectorError, match=text):
                await connector.connect()

    run(scenario)


def test_positions_follow_fills_at_once_and_the_venue_exactly():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            position = []
            taker.heard.on_position = lambda held: position.append((held.amount, held.entry_price))
            ioc = {"time_in_force": TimeInForce.IOC}
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await resting(maker, maker.sell(limit(0.03, 65000)))
            await ended(taker, taker.buy(limit(0.02, 65000, **ioc)))
            assert (0.01, 64000.0) in position
            assert (0.02, 64500.0) in position
            await resting(maker, maker.buy(limit(0.05, 63000)))
            # One fill that closes and turns the position.
            await ended(taker, taker.sell(limit(0.05, 63000, **ioc)))
            assert position[-1][0] == -0.03
            state = await taker._rest.clearinghouse_state()
            (row,) = (entry.position for entry in state.assetPositions)
            await until(lambda: not taker._upkeep._refresh.is_waiting)
            held = taker.get_position(PAIR)
            assert held.amount == float(row.szi)
            await until(lambda: held.entry_price == row.entryPx == 63000.0)
            await until(lambda: taker.get_balance("USDC").total == float(state.marginSummary.accountValue))
            assert taker.get_all_positions() == [held]
            await resting(maker, maker.sell(limit(0.03, 64000)))
            close = {"position_action": PositionAction.CLOSE, **ioc}
            await ended(taker, taker.buy(limit(0.03, 64000, **close)))
            assert taker.get_all_positions() == []
            await taker.resync()
            assert (held.amount, held.leverage) == (0.0, 20)

    run(scenario)


def test_a_position_is_valued_as_the_mark_moves():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await ended(taker, taker.buy(limit(0.01, 64000, time_in_force=TimeInForce.IOC)))
            venue.set_price("BTC", "66000")
            held = taker.get_position(PAIR)
            await until(lambda: held.unrealized_pnl == pytest.approx(20.0))

    run(scenario, context_interval_ms=20)


def test_a_script_without_a_loop_trades(monkeypatch):
    from latentspeed.connectors import OrderParams, OrderType
    from latentspeed.connectors.hyperliquid import HyperliquidConfig, HyperliquidPerpetualConnector
    from latentspeed.tools.venues.hyperliquid.process import venue_process

    with venue_process("--seed", "7") as venue:
        monkeypatch.setenv("TEST_AGENT_KEY", "0x" + "01" * 32)
        connector = HyperliquidPerpetualConnector(
            HyperliquidConfig(domain="hyperliquid_perpetual_local", base_url=venue.url),
            SigningKey.from_environment("TEST_AGENT_KEY"),
        )
        connector.initialize().result(60)
        connector.subscribe(PAIR)
        connector.connect().result(60)
        connector.wait_ready().result(60)
        order_id = connector.buy(OrderParams(PAIR, 0.01, order_type=OrderType.MARKET))
        assert connector.get_order(order_id).get_exchange_order_id().result(60)
        assert connector.set_leverage(PAIR, 3).result(60) == 3
        connector.disconnect().result(60)
        order = connector.get_order(order_id)
        assert order.filled_lots > 0


def test_a_sub_accounts_lost_answers_and_restarts_are_settled_for_the_sub_account():
    async def scenario(venue):
        venue.account(MAKER_KEY.address)

        def create():
            return Exchange(Account.from_key("0x" + "01" * 32), venue.base_url).create_sub_account("sub")

        sub = (await asyncio.to_thread(create))["response"]["data"]
        venue.fund(sub, "5000")
        options = {"account_address": sub, "account_kind": "sub_account"}
        async with connected(venue, **options) as first:
            venue.faults.order("drop_next_reply", 1)
            order = first.get_order(first.buy(limit(0.01, 60000)))
            await resting(first, order.client_order_id)
            await until(lambda: not order.is_unknown)
            venue.faults.order("drop_next_reply", 1)
            venue.drop_sockets()
            lost = first.get_order(first.buy(limit(0.01, 60010)))
            await until(lambda: lost.state is OrderState.OPEN and not lost.is_unknown, what=lambda: lost)
            assert len(venue.account(sub).open_orders) == 2
        async with connected(venue, **options) as again:
            adopted = again.get_open_orders()
            assert {order.exchange_order_id for order in adopted} == {order.exchange_order_id, lost.exchange_order_id}
            again.cancel_all()
            await until(lambda: not again.get_open_orders())
            assert not venue.account(sub).open_orders
            assert not venue.account(MAKER_KEY.address).history

    run(scenario, sub_account_volume=0)
