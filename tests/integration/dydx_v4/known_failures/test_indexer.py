"""What connectors have got wrong about the indexer's answers, by the numbers under which it is known."""

from __future__ import annotations

import asyncio
import time

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, limit, new_connector, run, until

from latentspeed.connectors import OrderState
from latentspeed.connectors.dydx_v4.indexer import BURST, IndexerRest
from latentspeed.connectors.transport import HttpClient, HttpStatusError


def test_26_a_refusal_for_too_many_requests_waits_as_many_milliseconds_as_it_says():
    async def scenario(venue):
        http = HttpClient(venue.rest_url, timeout_s=30.0)
        rest = IndexerRest(http, MAKER_KEY.address, 0)
        try:
            await venue.control("fail_rest", status=429)
            began = time.monotonic()
            assert await rest.height() > 0
            assert 1.5 <= time.monotonic() - began < 60.0
            (height,) = rest.rate_limits()
            assert (height.name, height.refused, height.capacity) == ("indexer_height", 1, BURST)
            # Another kind of question has a budget of its own, and waits for nothing.
            await rest.now()
            (other,) = [budget for budget in rest.rate_limits() if budget.name != "indexer_height"]
            assert (other.refused, other.blocked_s) == (0, 0.0)
            await venue.control("fail_rest", status=429, count=8)
            with pytest.raises(HttpStatusError) as refused:
                await rest.now()
            assert (refused.value.status, refused.value.retry_after) == (429, "1500")
        finally:
            await http.close()

    run(scenario, block_interval_ms=0)


def test_26_the_indexers_own_limit_is_kept_to():
    async def scenario(venue):
        http = HttpClient(venue.rest_url, timeout_s=5.0)
        rest = IndexerRest(http, MAKER_KEY.address, 0)
        try:
            began = time.monotonic()
            for _ in range(BURST + 5):
                await rest.height()
            assert time.monotonic() - began > 0.8, "what has not been used up may be used at once, the rest may not"
            (budget,) = rest.rate_limits()
            assert budget.refused == 0
        finally:
            await http.close()

    run(scenario, rest_limits=True, block_interval_ms=0)


def test_26_an_answer_of_404_is_understood():
    async def scenario(venue):
        connector = new_connector(venue, subaccount=77)
        http = HttpClient(venue.rest_url, timeout_s=5.0)
        try:
            rest = connector._make_rest(http)
            assert await rest.subaccount() is None
            assert await rest.order("00000000-0000-0000-0000-000000000000") is None
            assert await rest.fills(0) == []
        finally:
            await http.close()

    run(scenario, block_interval_ms=0)


def test_30_an_indexer_that_is_a_hundred_blocks_behind_lets_nothing_expire():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=4) as connector:
            order_id = connector.buy(limit(0.001, 64_000))
            order = connector.get_order(order_id)
            await until(lambda: order.state is OrderState.OPEN)
            last_block = connector._lifetimes.of(order)
            venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
            await venue.control("make_block", count=100)
            assert venue.chain.height > last_block + 90
            # The node's height is known by now, and proves nothing.
            connector._lifetimes.on_node_height(await connector._nodes.height())
            await connector.resync()
            await asyncio.sleep(0.3)
            assert connector._lifetimes.indexer_lag > 90
            assert order.is_active
            assert connector._lifetimes.indexer_height < last_block
            await ended(connector, order_id)
            assert order.state is OrderState.FILLED, "its fill was in a block that the indexer had not come to"
            await until(lambda: any(code == "indexer_lags" for code, _ in connector.heard.errors))

    run(scenario, block_interval_ms=0, on_chain_lag_ms=3_000)


def test_35_an_answer_with_rows_that_nobody_understands_gives_the_others():
    async def scenario(venue):
        markets, orders = venue.queries.markets, venue.queries.orders
        venue.queries.markets = lambda ticker=None: {**markets(ticker), "BAD-USD": {"ticker": "BAD-USD", "status": 3}}
        venue.queries.orders = lambda *which: [{"id": None}, *orders(*which)]
        async with connected(venue) as connector:
            assert PAIR in connector._market.rules
            assert "BAD-USD" not in connector._market.rules
            order_id = connector.buy(limit(0.001, 60_000))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            await connector.resync()
            assert {code for code, _ in connector.heard.errors} == {"malformed_message"}
            assert connector.is_ready

    run(scenario)
