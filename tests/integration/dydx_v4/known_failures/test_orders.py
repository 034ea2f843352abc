"""What connectors have got wrong about orders on dYdX, by the numbers under which it is known."""

from __future__ import annotations

import asyncio

import pytest
from on_chain import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, new_connector, run, until

from latentspeed.connectors import (
    ConnectorState,
    NotReady,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TimeInForce,
)
from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.connectors.dydx_v4.identifiers import order_uuid
from latentspeed.connectors.dydx_v4.node_line import UnknownAccount
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.dydx_v4.wire import OrderFlags, OrderId, Side, WireOrder

IOC = {"time_in_force": TimeInForce.IOC}


def test_03_the_same_number_of_two_modules_means_two_things():
    async def scenario(venue):
        async with connected(venue) as connector:
            asked, query = [], venue.node._abci_query
            venue.node._abci_query = lambda call: asked.append(call["path"]) or query(call)
            await venue.control("refuse", codespace="clob", code=4)
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert order.reason.startswith("clob_4: ")
            assert connector.is_ready, "a refused size is no refused signature"
            assert not asked, "nor a reason to ask for the account"
            order_id = connector.buy(limit(0.001, 60_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            # A cancel of the same order waits already: as good as ours.
            await venue.control("refuse", codespace="clob", code=32)
            connector.cancel(order_id)
            await until(lambda: order.cancel_requested and not order.cancel_in_flight)
            assert not connector.heard.errors
            await venue.control("refuse", codespace="sdk", code=32)
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert (order.state, order.reason[:8]) == (OrderState.FAILED, "sdk_32: ")

    run(scenario)


def test_04_no_order_is_made_before_the_height_is_known():
    async def scenario(venue):
        connector = new_connector(venue)
        connector.subscribe(PAIR)
        await connector.initialize()
        with pytest.raises(NotReady):
            connector.buy(limit(0.001, 60_000))
        heights = []
        status = venue.node._status_row
        venue.node._status_row = lambda: heights.append(venue.chain.height) or status()
        await connector.connect()
        await connector.wait_ready()
        try:
            assert heights
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            assert connector._lifetimes.of(connector.get_order(order_id)) > heights[0]
        finally:
            await connector.disconnect()

    run(scenario)


@pytest.mark.parametrize(("lag", "transactions"), [(3, 1), (10, 1), (25, 2)])
def test_05_a_height_that_is_behind_costs_one_more_try_at_most(lag, transactions):
    async def scenario(venue):
        async with connected(venue) as connector:
            connector._lifetimes.correct(venue.chain.height)
            venue.chain.config = venue.config
            await venue.control("make_block", count=lag)
            known = connector._lifetimes.chain_height
            assert venue.chain.height - known == lag
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: len(venue.chain.memclob.resting) == 1)
            assert connector._outbox.transactions == transactions
            assert connector.get_order(order_id).is_active

    # The indexer tells of blocks late enough that only a node can be asked.
    run(scenario, block_interval_ms=0, on_chain_lag_ms=5_000)


def test_08_what_is_off_the_grid_is_refused_and_never_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            for amount, price in ((0.00015, 64_000), (0.001, 63_990.5), (0.00001, 64_000)):
                with pytest.raises(OrderRefused):
                    connector.buy(limit(amount, price))
            rule = connector._market.rules[PAIR]
            order_id = connector.buy(limit(rule.quantize_amount(0.00019), rule.quantize_price(60_000.4)))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            assert connector._outbox.transactions == 1

    run(scenario)


def test_09_a_check_that_passes_opens_nothing():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=4) as connector:
            venue.indexer.is_deaf = True
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: venue.chain.memclob.resting)
            order = connector.get_order(order_id)
            assert order.state is OrderState.PENDING_SUBMIT
            await ended(connector, order_id)
            assert "created" not in connector.heard.names(order_id)
            assert order.state is OrderState.EXPIRED

    run(scenario)


@pytest.mark.parametrize("log", ["", "[]"])
def test_10_success_is_a_code_of_zero_whatever_the_log_says(log):
    async def scenario(venue):
        async with connected(venue) as connector:
            broadcast = venue.node._broadcast

            def logged(text):
                answer = broadcast(text)
                answer["result"]["log"] = log
                return answer

            venue.node._broadcast = logged
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            connector.cancel(order_id)
            assert (await ended(connector, order_id)).state is OrderState.CANCELLED
            assert not connector.heard.errors

    run(scenario)


def test_11_a_removal_that_may_be_undone_is_no_end_and_silence_after_it_is_none_either():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=10) as connector:
            filled, silent = connector.buy(limit(0.001, 64_000)), connector.buy(limit(0.001, 60_000))
            orders = [connector.get_order(one) for one in (filled, silent)]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
            await venue.control("fault", name="miss_cancel", count=100)
            connector.cancel(filled)
            await until(lambda: orders[0].cancel_requested and not orders[0].cancel_in_flight)
            for order in orders:
                row = venue.indexer.live[order.exchange_order_id]
                gone = {**row, "status": "BEST_EFFORT_CANCELED", "removalReason": "ORDER_REMOVAL_REASON_USER_CANCELED"}
                venue.sockets.publish_subaccount(MAKER_KEY.address, 0, {"orders": [gone]})
            await until(lambda: len(connector._account.removals) == 2)
            assert [order.state for order in orders] == [OrderState.PENDING_CANCEL, OrderState.OPEN]
            venue.outside.take("BTC", False, 10**8, 64_000 * 10**8)
            assert (await ended(connector, filled)).state is OrderState.FILLED
            assert orders[1].is_active
            # Its end is told as the passing of its last block, as that of every order that was cancelled before.
            assert (await ended(connector, silent)).state is OrderState.CANCELLED

    run(scenario)


def test_12_a_fill_that_stream_and_rest_both_tell_of_counts_once():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.002, 64_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            await until(lambda: connector.heard.trades)
            await connector.resync()
            await venue.control("drop_sockets")
            await until(lambda: connector.connection_state is not ConnectorState.LIVE)
            await until(lambda: connector.connection_state is ConnectorState.LIVE)
            assert len(connector.heard.trades) == 1
            assert connector.get_order(order_id).filled_amount == 0.001

    run(scenario)


def test_18_an_answer_that_comes_too_late_makes_no_second_order():
    async def scenario(venue):
        async with connected(venue, request_timeout_s=0.3, good_til_blocks=20) as connector:
            await venue.control("delay_answers", ms=600)
            order_id = connector.buy(limit(0.001, 64_010, **IOC))
            order = await ended(connector, order_id)
            assert order.state is OrderState.FILLED
            await until(lambda: any(code == "no_answer" for code, _ in connector.heard.errors))
            assert connector._outbox.transactions == 1
            await until(lambda: connector.get_position(PAIR) and connector.get_position(PAIR).amount == 0.001)
            assert len(connector.heard.trades) == 1
            # Of this one nobody says anything, until it fills.
            await venue.control("fault", name="hide_order")
            silent = connector.get_order(connector.buy(limit(0.001, 64_001)))
            await until(lambda: silent.is_unknown)
            assert (silent.state, silent.reason) == (OrderState.PENDING_SUBMIT, "no_answer")
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            assert (await ended(connector, silent.client_order_id)).state is OrderState.FILLED
            assert connector._outbox.transactions == 2
            assert len(venue.history.orders) == 2, "no order came twice"

    run(scenario, block_interval_ms=200)


@pytest.mark.parametrize("number", [1, 128])
def test_20_the_configured_subaccount_is_the_one_that_trades_and_is_heard_of(number):
    async def scenario(venue):
        await venue.control("fund", address=MAKER_KEY.address, usd=5_000, number=number)
        venue.chain.make_block()
        async with connected(venue, subaccount=number) as connector:
            resting = connector.buy(limit(0.001, 60_000))
            order = connector.get_order(resting)
            await until(lambda: order.state is OrderState.OPEN)
            assert order.exchange_order_id == order_uuid(MAKER_KEY.address, number, client_id_of(order.id64), 0, 0)
            assert (await ended(connector, connector.buy(limit(0.001, 64_010, **IOC)))).state is OrderState.FILLED
            await until(lambda: connector.get_position(PAIR) and connector.get_position(PAIR).amount == 0.001)
            await until(lambda: 4_900 < connector.get_balance("USDC").total < 5_000)
            assert venue.chain.ledger.subaccount(MAKER_KEY.address, number).positions
            assert not venue.chain.ledger.subaccount(MAKER_KEY.address, 0).positions

    run(scenario)


def test_22_a_comparison_sees_orders_with_a_block_and_orders_with_a_time():
    async def scenario(venue):
        async with connected(venue) as connector:
            account = await connector._nodes.account(MAKER_KEY.address)
            signer = TransactionSigner(MAKER_KEY, venue.config.chain_id, account.number)
            long_id = OrderId(MAKER_KEY.address, 0, 7, OrderFlags.LONG_TERM, 0)
            short_id = OrderId(MAKER_KEY.address, 0, 8, OrderFlags.SHORT_TERM, 0)
            until_s = venue.chain.time_ms // 1000 + 3600
            long = WireOrder(long_id, Side.BUY, 10_000_000, 6_000_000_000, good_til_time=until_s)
            short = WireOrder(short_id, Side.BUY, 10_000_000, 6_000_000_000, good_til_block=venue.chain.height + 20)
            for order in (long, short):
                sequence = account.sequence if order is long else 0
                transaction = signer.transaction([wire.place_order(order)], sequence=sequence)
                assert (await connector._nodes.broadcast(transaction)).code == 0
            uuids = {order_uuid(MAKER_KEY.address, 0, 7, 0, 64), order_uuid(MAKER_KEY.address, 0, 8, 0, 0)}
            # The stream tells of both, too: what is left after that is what was asked for.
            await until(lambda: {row.id for row in connector.foreign_orders} == uuids)
            connector._account.foreign_orders.clear()
            await connector.resync()
            assert {row.id for row in connector.foreign_orders} == uuids

    run(scenario)


def test_23_an_account_without_money_is_told_clearly_and_breaks_nothing():
    async def scenario(venue):
        connector = new_connector(venue)
        connector.subscribe(PAIR)
        with pytest.raises(UnknownAccount, match="never received anything"):
            await connector.connect()
        assert connector.connection_state is ConnectorState.DISCONNECTED
        await venue.control("fund", address=MAKER_KEY.address, usd=1_000)
        venue.chain.make_block()
        await connector.connect()
        await connector.wait_ready()
        await connector.disconnect()
        # The wallet is known by now, this subaccount is not: it is empty, which is no error.
        async with connected(venue, subaccount=3) as empty:
            assert empty.get_balance("USDC") is None
            order = await ended(empty, empty.buy(limit(0.001, 64_010, **IOC)))
            assert order.filled_lots == 0
            await venue.control("fund", address=MAKER_KEY.address, usd=500, number=3)
            await until(lambda: empty.resync() and empty.get_balance("USDC") is not None)

    run(scenario, initial_balance=0)


def test_24_an_order_that_the_venue_calls_open_is_partially_filled_by_its_fills():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=20) as connector:
            order_id = connector.buy(limit(0.003, 64_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            await until(lambda: order.state is OrderState.PARTIALLY_FILLED)
            assert venue.indexer.orders[order.exchange_order_id]["status"] == "OPEN"
            assert order.filled_amount == 0.001

    run(scenario, block_interval_ms=200)


def test_25_a_short_position_has_its_sign_once():
    async def scenario(venue):
        async with connected(venue, TAKER_KEY) as connector:
            await ended(connector, connector.sell(limit(0.003, 63_990, **IOC)))
            await until(lambda: connector.get_position(PAIR) and connector.get_position(PAIR).amount == -0.003)
            await connector.resync()
            assert connector.get_position(PAIR).amount == -0.003
            await ended(connector, connector.buy(limit(0.003, 64_010, **IOC)))
            await until(lambda: (held := connector.get_position(PAIR)) and held.amount == 0.0)

    run(scenario)


def test_27_a_batch_of_cancels_of_which_one_was_filled_ends_each_by_itself():
    async def scenario(venue):
        async with connected(venue) as connector:
            ids = [connector.buy(limit(0.001, price)) for price in (64_000, 60_000, 60_001, 60_002)]
            orders = [connector.get_order(one) for one in ids]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            assert orders[0].is_active, "its fill is in no block yet"
            connector.cancel_all()
            states = [(await ended(connector, one)).state for one in ids]
            assert states == [OrderState.FILLED, *[OrderState.CANCELLED] * 3]

    run(scenario, block_interval_ms=300)


def test_32_a_chain_that_was_begun_anew_is_signed_for_by_its_new_account_number():
    async def scenario(venue):
        async with connected(venue) as connector:
            account = venue.chain.ledger.account(MAKER_KEY.address)
            account.number += 1_000
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            assert connector._outbox.transactions == 2
            assert [code for code, _ in connector.heard.errors] == ["account_changed"]
            assert connector.is_ready
            # A signature that is wrong for another reason is not tried again and again.
            await venue.control("refuse", codespace="sdk", code=4)
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert (order.reason[:7], connector._outbox.transactions) == ("sdk_4: ", 3)
            assert not connector.is_ready

    run(scenario)


def test_33_a_market_that_takes_fewer_orders_or_has_another_tick_is_known_at_once():
    async def scenario(venue):
        async with connected(venue) as connector:
            resting = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(resting).state is OrderState.OPEN)
            await venue.control("set_status", ticker=PAIR, status="POST_ONLY")
            await until(lambda: connector._terms[PAIR].status == "POST_ONLY")
            with pytest.raises(OrderRefused, match="POST_ONLY"):
                connector.buy(limit(0.001, 60_000))
            maker = connector.buy(limit(0.001, 60_000, OrderType.LIMIT_MAKER))
            await until(lambda: connector.get_order(maker).state is OrderState.OPEN)
            await venue.control("set_status", ticker=PAIR, status="PAUSED")
            await until(lambda: not connector._market.rules[PAIR].is_active)
            with pytest.raises(OrderRefused):
                connector.buy(limit(0.001, 60_000, OrderType.LIMIT_MAKER))
            await venue.control("set_status", ticker=PAIR, status="ACTIVE")
            await until(lambda: connector._market.rules[PAIR].is_active)
            change = {"trading": {PAIR: {"tickSize": "5", "subticksPerTick": 500_000}}}
            venue.sockets.publish("v4_markets", "v4_markets", change)
            await until(lambda: not connector._market.rules[PAIR].is_active)
            assert any(code == "trading_grid_changed" for code, _ in connector.heard.errors)
            with pytest.raises(OrderRefused):
                connector.buy(limit(0.001, 60_000))
            # Orders that live are still read by the grid on which they were made.
            assert connector.cancel(maker)
            assert (await ended(connector, maker)).state is OrderState.CANCELLED

    run(scenario)


def test_33_a_market_that_is_paused_before_anybody_hears_of_it_refuses_with_its_code():
    async def scenario(venue):
        async with connected(venue) as connector:
            venue.chain.markets[PAIR].terms.status = "PAUSED"
            order = await ended(connector, connector.buy(limit(0.001, 60_000)))
            assert order.reason.startswith("clob_34: ")

    run(scenario)


def test_34_reduce_only_orders_that_would_rest_are_refused_before_they_are_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            for kind in (OrderType.LIMIT, OrderType.LIMIT_MAKER):
                with pytest.raises(OrderRefused, match="reduce-only"):
                    connector.sell(limit(0.001, 65_000, kind, position_action=PositionAction.CLOSE))
            assert connector._outbox.transactions == 0
            await ended(connector, connector.buy(limit(0.001, 64_010, **IOC)))
            close = OrderParams(PAIR, 0.001, 63_990, position_action=PositionAction.CLOSE, **IOC)
            assert (await ended(connector, connector.sell(close))).state is OrderState.FILLED

    run(scenario)


def test_36_a_fill_in_an_orders_last_block_counts():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=3) as connector:
            order_id = connector.buy(limit(0.001, 64_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            last_block = connector._lifetimes.of(order)
            while venue.chain.height < last_block - 1:
                venue.chain.make_block()
            await until(lambda: connector._lifetimes.indexer_height == last_block - 1)
            await connector._resynchroniser.settle()
            assert order.is_active, "it may fill in one more block"
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            venue.chain.make_block()
            assert venue.chain.height == last_block
            for _ in range(4):
                venue.chain.make_block()
                await asyncio.sleep(0.01)
            await ended(connector, order_id)
            assert order.state is OrderState.FILLED
            (row,) = venue.indexer.fills[MAKER_KEY.address, 0]
            assert row["createdAtHeight"] == str(last_block)

    run(scenario, block_interval_ms=0)
