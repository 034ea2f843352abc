"""REST that knows less than the stream has told: nothing that is known is forgotten, and nothing is ended too soon."""

from __future__ import annotations

from on_chain import MAKER_KEY, PAIR, connected, ended, limit, run, until

from latentspeed.connectors import OrderState, TimeInForce

IOC = {"time_in_force": TimeInForce.IOC}
A_LITTLE_MS, LONG_MS = 1500, 15_000


def test_a_position_that_the_stream_told_of_is_not_taken_back_by_an_older_answer():
    async def scenario(venue):
        async with connected(venue) as connector:
            amounts, worth = [], connector.get_balance("USDC").total
            connector.heard.on_position = lambda position: amounts.append(position.amount)
            await venue.control("lag_indexer", rest_ms=A_LITTLE_MS)
            await connector.resync()
            order = await ended(connector, connector.buy(limit(0.001, 64_010, **IOC)))
            assert order.state is OrderState.FILLED
            await until(lambda: connector.get_position(PAIR) and connector.get_position(PAIR).amount == 0.001)
            await connector.resync()
            assert connector.get_position(PAIR).amount == 0.001, "REST still says that nothing is held"
            # The money is asked for again until REST has come to the fill.
            await until(lambda: connector.get_balance("USDC").total != worth, timeout_s=20.0)
            assert set(amounts[amounts.index(0.001) :]) == {0.001}

    run(scenario)


def test_why_an_order_was_removed_is_not_forgotten_because_rest_does_not_know_it_yet():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=20) as connector:
            order = connector.get_order(connector.buy(limit(0.001, 64_000)))
            await until(lambda: order.state is OrderState.OPEN)
            await venue.control("lag_indexer", rest_ms=LONG_MS)
            await connector.resync()
            venue.chain.ledger.subaccount(MAKER_KEY.address, 0).quote = -(10**9)
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            await until(lambda: connector._account.removals)
            (row,) = await connector._rest.live_orders()
            assert row.status == "BEST_EFFORT_OPENED", "REST knows nothing of the removal"
            await connector.resync()
            await venue.control("lag_indexer", rest_ms=0)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.FAILED, "UNDERCOLLATERALIZED")

    run(scenario, block_interval_ms=200)


def test_an_order_whose_fill_no_stream_told_is_not_ended_before_rest_has_come_to_its_last_block():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=3) as connector:
            order = connector.get_order(connector.buy(limit(0.001, 64_000)))
            await until(lambda: order.state is OrderState.OPEN)
            await venue.control("lag_indexer", rest_ms=LONG_MS)
            await connector.resync()
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            told = venue.reports.publish_subaccount
            venue.reports.publish_subaccount = lambda *what: None
            last_block = connector._lifetimes.of(order)
            while venue.chain.height < last_block + 5:
                venue.chain.make_block()
            await until(lambda: connector._lifetimes.indexer_height >= last_block + 5)
            assert (await connector._rest.block())[0] < last_block
            await connector._resynchroniser.settle()
            assert order.is_active, "the stream is past its last block, and REST has its fill"
            venue.reports.publish_subaccount = told
            await venue.control("lag_indexer", rest_ms=0)
            await connector._resynchroniser.settle()
            assert (order.state, order.fill_count) == (OrderState.FILLED, 1)

    run(scenario, block_interval_ms=0)
