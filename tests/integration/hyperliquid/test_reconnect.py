"""A lost socket loses nothing: fills, orders and positions are compared before the connector is live again."""

from __future__ import annotations

import asyncio

import pytest
from connected import PAIR, TAKER_KEY, connected, ended, limit, market, new_connector, resting, run, until, venue_orders

from latentspeed.connectors import (
    ConnectorState,
    NotReady,
    OrderRefused,
    OrderState,
    TimeInForce,
    TradeType,
    VenueUnreachable,
)
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.connectors.transport import SocketTiming

SLOW_TO_RETURN = SocketTiming(heartbeat_s=1.0, silence_s=4.0, first_delay_s=0.4, longest_delay_s=0.5)


@pytest.mark.parametrize("with_close_frame", [False, True])
def test_fills_while_disconnected_are_counted_once_before_it_is_live_again(with_close_frame):
    async def scenario(venue):
        async with (
            connected(venue, socket_timing=SLOW_TO_RETURN) as maker,
            connected(venue, TAKER_KEY, socket_timing=SLOW_TO_RETURN) as taker,
        ):
            filled = await resting(maker, maker.sell(limit(0.01, 64000)))
            partly = await resting(maker, maker.sell(limit(0.02, 64001)))
            cancelled = await resting(maker, maker.sell(limit(0.01, 65000)))
            venue.drop_sockets(with_close_frame)
            await until(lambda: maker.connection_state is ConnectorState.CONNECTING)
            with pytest.raises(NotReady):
                maker.buy(limit(0.01, 60000))
            # Requests still work: the taker's go by HTTP, and so does the maker's cancel.
            taker_order = taker.create_order(TradeType.BUY, limit(0.02, 64001, time_in_force=TimeInForce.IOC))
            taker.start_tracking_order(taker_order)
            taker._outbox.add_place(taker_order)
            taker._outbox.flush()
            maker.cancel(cancelled.client_order_id)
            await until(lambda: len(venue_orders(venue)) == 1)
            seen_at_live = []
            state_heard = maker.heard.on_connection_state
            maker.heard.on_connection_state = lambda state: (
                state_heard(state),
                seen_at_live.append((filled.filled_lots, partly.filled_lots)) if state is ConnectorState.LIVE else None,
            )
            await until(lambda: maker.is_ready)
            assert seen_at_live == [(1000, 1000)]
            assert (filled.state, partly.state, cancelled.state) == (
                OrderState.FILLED,
                OrderState.PARTIALLY_FILLED,
                OrderState.CANCELLED,
            )
            assert (filled.fill_count, partly.fill_count) == (1, 1)
            assert maker.get_position(PAIR).amount == -0.02
            await until(lambda: taker.is_ready)
            assert (await ended(taker, taker_order.client_order_id)).filled_lots == 2000
            assert len(maker.heard.trades) == 2
            assert len(taker.heard.trades) == len(venue.fills(taker.account_address)) == 2

    run(scenario)


def test_it_comes_back_again_and_again_with_every_subscription_once():
    async def scenario(venue):
        async with connected(venue, pairs=(PAIR, "ETH-USD")) as maker:
            for number in range(4):
                venue.drop_sockets()
                await until(lambda: maker.connection_state is not ConnectorState.LIVE)
                await until(lambda: maker.is_ready)
                await resting(maker, maker.buy(limit(0.01, 60000 + number)))
            assert maker._streams.link.opened == 5
            (socket,) = venue.streams.sockets
            assert len(socket.subscriptions) == 4 + 2 * 4
            assert len(venue_orders(venue)) == 4

    run(scenario)


def test_orders_wait_for_the_comparison_after_a_reconnect():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.faults.order("http_500_burst", 3)
            venue.drop_sockets()
            await until(lambda: "resync_failed" in {code for code, _ in connector.heard.errors})
            assert connector.connection_state is ConnectorState.SYNCING
            with pytest.raises(NotReady):
                connector.buy(limit(0.01, 60001))
            await until(lambda: connector.is_ready)
            assert order.state is OrderState.OPEN

    run(scenario)


def test_market_data_of_the_connection_before_is_not_fresh():
    async def scenario(venue):
        async with connected(venue, quote_max_age_s=60.0) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await until(lambda: taker.get_quote(PAIR).ask == 64000)
            taker._feed.invalidate()
            assert not taker.is_ready
            with pytest.raises(OrderRefused, match="no quote"):
                taker.buy(market(0.01))
            venue.drop_sockets()
            await until(lambda: not taker.is_connected)
            await until(lambda: taker.is_ready)
            assert (await ended(taker, taker.buy(market(0.01)))).state is OrderState.FILLED

    run(scenario)


def test_silence_makes_it_stale_and_data_makes_it_live_again():
    async def scenario(venue):
        async with connected(venue, stale_after_s=0.5) as connector:
            connector.housekeeping_interval_s = 0.05
            await until(lambda: connector.connection_state is ConnectorState.STALE)
            assert "market_data_silent" in {code for code, _ in connector.heard.errors}
            with pytest.raises(NotReady, match="STALE"):
                connector.buy(limit(0.01, 60000))
            await until(lambda: connector._streams.link.opened == 2)
            await until(lambda: connector.connection_state is ConnectorState.LIVE)

    run(scenario, context_interval_ms=60_000)


def test_a_new_socket_that_never_speaks_is_stale_too():
    async def scenario(venue):
        async with connected(venue, stale_after_s=0.5) as connector:
            connector.housekeeping_interval_s = 0.05
            taken = []
            state_heard = connector.heard.on_connection_state

            def try_at_once(state):
                state_heard(state)
                if state is ConnectorState.STALE:
                    try:
                        taken.append(connector.buy(limit(0.01, 60000)))
                    except NotReady as refusal:
                        taken.append(refusal)

            venue.faults.order("silent_sockets", 1)
            venue.drop_sockets()
            await until(lambda: connector.connection_state is ConnectorState.CONNECTING)
            connector.heard.on_connection_state = try_at_once
            await until(lambda: taken)
            assert "STALE" in str(taken[0])
            venue.faults.reset()
            await until(lambda: connector.is_ready)

    run(scenario)


def test_a_periodic_comparison_finds_what_the_stream_did_not_tell():
    async def scenario(venue):
        async with connected(venue, reconcile_every_s=0.3) as connector:
            connector.housekeeping_interval_s = 0.05
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            connector._streams.set_handler("orderUpdates", lambda data, mono_ns: None)
            connector._streams.set_handler("userFills", lambda data, mono_ns: None)
            async with connected(venue, TAKER_KEY) as taker:
                await ended(taker, taker.sell(limit(0.01, 60000, time_in_force=TimeInForce.IOC)))
            await ended(connector, order.client_order_id)
            assert (order.state, order.filled_lots) == (OrderState.FILLED, 1000)
            await until(lambda: (held := connector.get_position(PAIR)) and held.amount == 0.01)

    run(scenario)


def test_a_pair_can_be_subscribed_while_connected():
    async def scenario(venue):
        async with connected(venue) as connector:
            connector.subscribe("kPEPE-USD")
            with pytest.raises(OrderRefused, match="NOPE"):
                connector.subscribe("NOPE-USD")
            await until(lambda: connector.get_quote("kPEPE-USD") and connector.get_quote("kPEPE-USD").ask > 0)
            await until(lambda: connector.get_book("kPEPE-USD") and connector.get_book("kPEPE-USD").bid_count == 20)
            quote = connector.get_quote("kPEPE-USD")
            await until(lambda: quote.mark > 0 and quote.funding_rate == quote.funding_rate)
            assert connector.get_index_price("kPEPE-USD") == quote.oracle
            assert quote.next_funding_utc_ns % 3_600_000_000_000 == 0

    run(scenario, market="synthetic")


def test_connecting_to_nothing_fails_with_the_reason():
    async def scenario(venue):
        connector = new_connector(venue, connect_timeout_s=0.5)
        await venue.stop()
        with pytest.raises(VenueUnreachable, match="no connection"):
            await connector.connect()
        assert connector.connection_state is ConnectorState.DISCONNECTED

    run(scenario)


def test_a_subscribed_pair_that_does_not_exist_fails_the_connect():
    async def scenario(venue):
        connector = new_connector(venue)
        connector.subscribe("NOPE-USD")
        with pytest.raises(OrderRefused, match="NOPE-USD"):
            await connector.connect()
        assert connector.connection_state is ConnectorState.DISCONNECTED

    run(scenario)


def test_it_can_be_closed_and_opened_again():
    async def scenario(venue):
        connector = new_connector(venue)
        connector.subscribe(PAIR)
        for _ in range(3):
            await connector.connect()
            await connector.wait_ready()
            await resting(connector, connector.buy(limit(0.01, 60000)))
            await connector.disconnect()
            assert connector.connection_state is ConnectorState.DISCONNECTED
            assert not connector.is_ready
            names = [task.get_name() for task in asyncio.all_tasks()]
            assert not {"socket", "synchronise", "reconcile"} & set(names)
        assert len(venue_orders(venue)) == 3

    run(scenario)


def test_what_needs_a_session_says_so_without_one():
    async def scenario(venue):
        connector = new_connector(venue)
        await connector.initialize()
        with pytest.raises(NotReady):
            connector.buy(limit(0.01, 60000))
        await connector.connect()
        await connector.disconnect()
        for pending in (connector.resync(), connector.set_leverage(PAIR, 5)):
            with pytest.raises(NotReady):
                await pending
        assert connector.foreign_orders == []
        assert connector.rate_limits() == []

    run(scenario)


def test_the_main_network_is_never_a_plain_address():
    with pytest.raises(InvalidOption, match="plain text"):
        HyperliquidConfig(base_url="http://192.0.2.1")
