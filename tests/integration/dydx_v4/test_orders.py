"""Orders on a simulated chain: what proves their states, and what does not."""

from __future__ import annotations

import asyncio

import pytest
from on_chain import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, new_connector, quote, run, until

from latentspeed.connectors import (
    ConnectorState,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TimeInForce,
)
from latentspeed.connectors.dydx_v4.identifiers import order_uuid
from latentspeed.connectors.dydx_v4.order_forms import client_id_of


def market(amount, **more):
    return OrderParams(PAIR, amount, order_type=OrderType.MARKET, **more)


def test_a_resting_order_opens_and_is_filled_by_a_block():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.001, 64_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            assert order.exchange_order_id == order_uuid(MAKER_KEY.address, 0, client_id_of(order.id64), 0, 0)
            assert order.exchange_order_id in venue.indexer.live
            venue.outside.take("BTC", False, 10**8, 64_000 * 10**8)
            await ended(connector, order_id)
            assert order.state is OrderState.FILLED
            assert (order.filled_amount, order.average_price) == (0.001, 64_000)
            # One basis point of 64 dollars.
            assert (order.fee_paid, order.fee_asset) == (0.0064, "USDC")
            await until(lambda: connector.get_position(PAIR) and connector.get_position(PAIR).amount == 0.001)
            assert connector.heard.names(order_id) == ["updated", "created", "filled", "completed"]

    run(scenario)


def test_a_market_order_takes_the_book_within_its_bound():
    async def scenario(venue):
        async with connected(venue, TAKER_KEY) as connector:
            order = await ended(connector, connector.buy(market(0.01)))
            assert (order.state, order.average_price) == (OrderState.FILLED, 64_010)
            order = await ended(connector, connector.sell(market(0.004, position_action=PositionAction.CLOSE)))
            assert (order.state, order.average_price) == (OrderState.FILLED, 63_990)
            await until(lambda: (held := connector.get_position(PAIR)) and held.amount == 0.006)
            balance = connector.get_balance("USDC")
            await until(lambda: balance.total < 100_000)

    run(scenario)


def test_a_cancelled_order_ends_when_nothing_can_fill_it_any_more():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.001, 60_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            assert connector.cancel(order_id)
            await until(lambda: order.client_order_id in connector._account.removals)
            assert order.state is OrderState.PENDING_CANCEL, "what one node has removed is not over"
            await ended(connector, order_id)
            assert (order.state, order.reason) == (OrderState.CANCELLED, "USER_CANCELED")
            assert connector._lifetimes.indexer_height > 0

    run(scenario)


def test_an_order_that_nobody_fills_expires_with_its_last_block():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=3) as connector:
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert (order.state, order.reason) == (OrderState.EXPIRED, "EXPIRED")

    run(scenario)


def test_a_post_only_order_that_would_trade_fails():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await ended(connector, connector.buy(limit(0.001, 64_010, OrderType.LIMIT_MAKER)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("clob_2003: ")

    run(scenario)


def test_a_cancel_of_an_order_that_the_venue_has_thrown_out_does_not_change_why_it_ended():
    async def scenario(venue):
        async with connected(venue) as connector:
            resting = connector.sell(limit(0.001, 64_005))
            order = connector.get_order(resting)
            await until(lambda: order.state is OrderState.OPEN)
            connector.buy(limit(0.001, 64_005, time_in_force=TimeInForce.IOC))
            await until(lambda: connector._account.removals.get(resting) == "SELF_TRADE_ERROR")
            sent = connector._outbox.transactions
            assert connector.cancel(resting)
            await until(lambda: connector._outbox.transactions > sent and not order.cancel_in_flight)
            await ended(connector, resting)
            assert (order.state, order.reason) == (OrderState.FAILED, "SELF_TRADE_ERROR")

    run(scenario)


def test_an_immediate_order_without_a_match_expires_and_with_a_part_is_cancelled():
    async def scenario(venue):
        async with connected(venue) as connector:
            nothing = connector.buy(limit(0.001, 60_000, time_in_force=TimeInForce.IOC))
            quote(venue, size=0.002)
            part = connector.buy(limit(0.005, 64_010, time_in_force=TimeInForce.IOC))
            order = await ended(connector, nothing)
            assert (order.state, order.reason) == (
                OrderState.EXPIRED,
                "IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK",
            )
            order = await ended(connector, part)
            assert (order.state, order.filled_amount) == (OrderState.CANCELLED, 0.002)

    run(scenario)


def test_many_cancels_go_in_one_transaction():
    async def scenario(venue):
        async with connected(venue) as connector:
            ids = [connector.buy(limit(0.001, 60_000 - number)) for number in range(20)]
            await until(lambda: all(connector.get_order(one).state is OrderState.OPEN for one in ids))
            sent = connector._outbox.transactions
            assert connector.cancel_all() == 20
            await until(lambda: not venue.chain.memclob.resting)
            assert connector._outbox.transactions == sent + 1
            for one in ids:
                assert (await ended(connector, one)).state is OrderState.CANCELLED

    run(scenario)


def test_reduce_only_orders_that_rest_and_leverage_beyond_the_market_are_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            with pytest.raises(OrderRefused, match="reduce-only"):
                connector.sell(limit(0.001, 65_000, position_action=PositionAction.CLOSE))
            with pytest.raises(OrderRefused, match="leverage"):
                connector.sell(limit(0.001, 65_000, leverage=51))
            with pytest.raises(OrderRefused, match="leverage"):
                connector.set_leverage(PAIR, 51)
            for params in (limit(0.00015, 64_000), limit(0.001, 64_000.5), limit(0.0, 64_000)):
                with pytest.raises(OrderRefused):
                    connector.buy(params)
            assert connector._outbox.transactions == 0

    run(scenario)


def test_a_lost_answer_leaves_the_order_to_its_last_block_and_sends_no_second_one():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=6) as connector:
            await venue.control("lose_answers")
            order_id = connector.buy(limit(0.001, 60_000))
            order = connector.get_order(order_id)
            await until(lambda: order.is_acknowledged)
            assert len(venue.chain.memclob.resting) == 1
            await ended(connector, order_id)
            assert order.state is OrderState.EXPIRED
            assert connector._outbox.transactions == 1

    run(scenario)


@pytest.mark.parametrize("is_there", [False, True])
def test_an_order_of_which_nobody_says_anything_is_over_with_its_last_block(is_there):
    """Whether it never arrived or stood there unheard leaves no trace: it has expired either way."""

    async def scenario(venue):
        async with connected(venue, good_til_blocks=4) as connector:
            if is_there:
                await venue.control("lose_answers")
                await venue.control("fault", name="hide_order")
                venue.reports.publish_subaccount = lambda *what: None
            else:
                await venue.control("fail_node", status=502)
            order = connector.get_order(connector.buy(limit(0.001, 60_000)))
            await until(lambda: order.is_unknown)
            assert len(venue.history.orders) == is_there
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.EXPIRED, "never_confirmed")
            assert "created" not in connector.heard.names(order.client_order_id)

    run(scenario)


def test_a_refusal_is_told_by_codespace_and_code():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("refuse", codespace="clob", code=34)
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert order.reason.startswith("clob_34: ")
            # The same number of another module means something else.
            await venue.control("refuse", codespace="sdk", code=4)
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert order.reason.startswith("sdk_4: ")
            assert not connector.is_ready

    run(scenario)


def test_a_stale_height_is_refreshed_once_and_the_order_sent_again():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("refuse", codespace="clob", code=10)
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            await venue.control("refuse", codespace="clob", code=10, count=2)
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert order.reason.startswith("clob_10: ")

    run(scenario)


def test_a_match_that_the_proposer_did_not_have_is_no_fill():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("fault", name="drop_match")
            order = await ended(connector, connector.buy(limit(0.001, 64_010, time_in_force=TimeInForce.IOC)))
            assert (order.filled_lots, order.state) == (0, OrderState.EXPIRED)
            assert not connector.heard.trades

    run(scenario)


def test_a_cancel_that_the_proposer_missed_lets_the_order_fill():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.001, 64_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            await venue.control("fault", name="miss_cancel", count=100)
            connector.cancel(order_id)
            venue.outside.take("BTC", False, 10**8, 64_000 * 10**8)
            await ended(connector, order_id)
            assert order.state is OrderState.FILLED

    run(scenario)


def test_fills_while_the_socket_was_away_are_counted_once():
    async def scenario(venue):
        async with connected(venue) as connector:
            ids = [connector.buy(limit(0.001, 64_000)) for _ in range(3)]
            await until(lambda: all(connector.get_order(one).state is OrderState.OPEN for one in ids))
            await venue.control("drop_sockets")
            venue.outside.take("BTC", False, 200_000, 64_000 * 10**8)
            venue.chain.make_block()
            for one in ids[:2]:
                assert (await ended(connector, one)).state is OrderState.FILLED
            await until(lambda: connector.connection_state is ConnectorState.LIVE)
            assert len(connector.heard.trades) == 2
            assert len({trade.trade_id for _, trade in connector.heard.trades}) == 2

    run(scenario)


def test_a_fill_of_somebody_elses_order_is_told_without_an_order():
    async def scenario(venue):
        async with connected(venue) as watcher, connected(venue) as other:
            other_id = other.buy(limit(0.001, 64_010, time_in_force=TimeInForce.IOC))
            await ended(other, other_id)
            (order, trade) = await until(lambda: watcher.heard.trades and watcher.heard.trades[0])
            assert order is None
            assert trade.amount == 0.001

    run(scenario)


def test_orders_of_an_earlier_process_are_settled_with_their_fills():
    async def scenario(venue):
        first = new_connector(venue, good_til_blocks=20)
        first.subscribe(PAIR)
        await first.connect()
        await first.wait_ready()
        filled, resting = first.buy(limit(0.001, 64_000)), first.buy(limit(0.001, 60_000))
        await until(lambda: first.get_order(resting).state is OrderState.OPEN)
        orders = [first.get_order(filled), first.get_order(resting)]
        since = first.current_timestamp_ns()
        await first.disconnect()
        venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
        venue.chain.make_block()
        second = new_connector(venue)
        second.subscribe(PAIR)
        second.recover_orders(orders, fills_since_utc_ns=since - 10**9)
        await second.connect()
        try:
            assert (await ended(second, filled)).state is OrderState.FILLED
            assert [trade.client_order_id for _, trade in second.heard.trades] == [filled]
            assert second.cancel(resting)
            assert (await ended(second, resting)).state is OrderState.CANCELLED
        finally:
            await second.disconnect()

    run(scenario)


def test_a_cancel_for_an_earlier_processs_order_that_comes_while_connecting_is_sent_at_the_end_of_it():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=20) as first:
            resting = [first.buy(limit(0.001, 60_000)) for _ in range(2)]
            orders = [first.get_order(order_id) for order_id in resting]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
        for order in orders:
            order.cancel_requested = True  # as the table of an earlier gateway may have it
        second = new_connector(venue)
        second.recover_orders(orders, fills_since_utc_ns=1)
        assert all(second.cancel(order_id) for order_id in resting)
        connecting = second.connect()
        # The loop runs, and nothing that a signature needs is known yet.
        await asyncio.sleep(0)
        assert all(second.cancel(order_id) for order_id in resting), "sent once: a batch names no order twice"
        await connecting
        try:
            for order_id in resting:
                assert (await ended(second, order_id)).state is OrderState.CANCELLED
            assert "send_failed" not in [code for code, _ in second.heard.errors]
        finally:
            await second.disconnect()

    run(scenario)


def test_a_halted_chain_is_stale_and_comes_back():
    async def scenario(venue):
        async with connected(venue, stale_after_s=0.5) as connector:
            await venue.control("halt")
            await until(lambda: connector.connection_state is ConnectorState.STALE)
            await venue.control("halt", is_halted=False)
            await until(lambda: connector.connection_state is ConnectorState.LIVE)
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)

    run(scenario)


def test_an_indexer_that_lags_lets_nothing_expire_too_early():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=4) as connector:
            order_id = connector.buy(limit(0.001, 60_000))
            order = connector.get_order(order_id)
            await until(lambda: order.is_submitted)
            last_block = connector._lifetimes.of(order)
            await until(lambda: venue.chain.height > last_block)
            assert order.is_active
            await ended(connector, order_id)
            assert venue.indexer.height >= last_block

    run(scenario, on_chain_lag_ms=400)


def test_two_hundred_orders_at_once_are_each_placed_once():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=20) as connector:
            ids = [connector.buy(limit(0.001, 60_000 + number)) for number in range(200)]
            await until(lambda: all(connector.get_order(one).state is OrderState.OPEN for one in ids))
            assert len(venue.chain.memclob.resting) == 200
            connector.cancel_all()
            await asyncio.gather(*(ended(connector, one) for one in ids))
            assert {connector.get_order(one).state for one in ids} == {OrderState.CANCELLED}

    run(scenario, block_interval_ms=300)


def test_orders_of_another_program_are_forgotten_when_the_venue_lists_them_no_more():
    async def scenario(venue):
        async with connected(venue, reconcile_every_s=0) as connector, connected(venue, engine_instance=78) as other:
            order = other.get_order(other.buy(limit(0.001, 60_000)))
            await until(lambda: len(connector.foreign_orders) == 1, 25.0)
            row = connector.foreign_orders[0]
            await until(lambda: order.is_done, 25.0)
            assert order.state is OrderState.EXPIRED
            # As if nobody had told its end.
            connector._account.foreign_orders[row.id] = row
            await connector.resync()
            assert connector.foreign_orders == []

    run(scenario, timeout_s=90)
