"""Orders through a node's gRPC: the rules are those of JSON-RPC, over a protocol that tells less of what it does."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import grpc
import pytest
from on_chain import MAKER_KEY, TAKER_KEY, connected, ended, limit, new_connector, run, until
from relay import Relay

from latentspeed.connectors import OrderState, OrderType
from latentspeed.connectors.dydx_v4 import DydxConfig, DydxV4PerpetualConnector
from latentspeed.connectors.dydx_v4.config import LOCAL
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.node_line import UnknownAccount
from latentspeed.connectors.errors import VenueUnreachable
from latentspeed.tools.venues.dydx_v4.process import venue_process

REQUEST_TIMEOUT_S = 1.5
SLOW = {"block_interval_ms": 200}
"""Blocks that leave an order alive for longer than an answer may take."""


def run_by_grpc(scenario, **config):
    run(scenario, timeout_s=60.0, grpc_port=0, **config)


def by_grpc(venue, number=0):
    return f"grpc://{venue.grpc_urls[number]}"


def orders_of(venue, key=MAKER_KEY):
    """What the chain has ever taken of an owner."""
    return [order for order in venue.history.orders if order.key.owner == key.address]


async def opened(connector, order_id):
    order = connector.get_order(order_id)
    await until(lambda: order.state is OrderState.OPEN)
    return order


def test_orders_are_placed_filled_and_cancelled_through_grpc_alone():
    async def scenario(venue):
        maker = connected(venue, node_urls=(by_grpc(venue),))
        taker = connected(venue, TAKER_KEY, node_urls=(by_grpc(venue),))
        async with maker as maker, taker as taker:
            resting = await opened(maker, maker.sell(limit(0.002, 64_000)))
            bought = await ended(taker, taker.buy(limit(0.001, 64_000)))
            assert (bought.state, bought.filled_amount) == (OrderState.FILLED, 0.001)
            assert maker.cancel(resting.client_order_id)
            resting = await ended(maker, resting.client_order_id)
            assert (resting.state, resting.filled_amount) == (OrderState.CANCELLED, 0.001)
            batch = [maker.buy(limit(0.001, 60_000 + step)) for step in range(5)]
            for order_id in batch:
                await opened(maker, order_id)
            assert maker.cancel_all() == 5
            for order_id in batch:
                assert (await ended(maker, order_id)).state is OrderState.CANCELLED
            kept = await opened(maker, maker.buy(limit(0.001, 60_000, extra_params={"good_til_s": 600})))
            assert maker.cancel(kept.client_order_id)
            assert (await ended(maker, kept.client_order_id)).state is OrderState.CANCELLED
            assert not [code for code, _ in maker.heard.errors if "failed" in code or code == "limits_unknown"]

    run_by_grpc(scenario)


def test_what_a_node_refuses_fails_with_codespace_and_code():
    async def scenario(venue):
        async with connected(venue, node_urls=(by_grpc(venue),)) as connector:
            crossing = await ended(connector, connector.buy(limit(0.001, 64_500, OrderType.LIMIT_MAKER)))
            assert crossing.state is OrderState.FAILED
            assert crossing.reason.startswith("clob_2003: Post-only order would cross")

    run_by_grpc(scenario)


def test_an_order_whose_answer_is_lost_is_neither_repeated_nor_sent_to_another_node():
    async def scenario(venue):
        urls = (by_grpc(venue), by_grpc(venue, 1))
        async with connected(venue, node_urls=urls) as connector:
            await venue.control("lose_answers", node=0)
            order = await opened(connector, connector.buy(limit(0.001, 60_000)))
            assert len(orders_of(venue)) == 1
            assert venue.nodes[1].broadcasts == 0
            assert "node_changed" not in [code for code, _ in connector.heard.errors]
            assert connector.cancel(order.client_order_id)
            assert (await ended(connector, order.client_order_id)).state is OrderState.CANCELLED

    run_by_grpc(scenario, nodes=2)


def test_a_deadline_that_passes_proves_nothing():
    async def scenario(venue):
        settings = {"node_urls": (by_grpc(venue),), "request_timeout_s": REQUEST_TIMEOUT_S}
        async with connected(venue, **settings) as connector:
            await venue.control("delay_answers", ms=4000)
            order = connector.get_order(connector.buy(limit(0.001, 64_010)))
            await until(lambda: "no_answer" in [code for code, _ in connector.heard.errors])
            await ended(connector, order.client_order_id)
            assert (order.state, order.filled_amount) == (OrderState.FILLED, 0.001)
            assert len(orders_of(venue)) == 1
            await venue.control("delay_answers", ms=0)
            await opened(connector, connector.buy(limit(0.001, 60_000)))

    run_by_grpc(scenario)


def test_a_connection_that_has_died_without_a_word_takes_no_second_order_with_it():
    async def scenario(venue):
        host, _, port = venue.grpc_url.rpartition(":")
        async with Relay(host, int(port)) as relay:
            url = f"grpc://127.0.0.1:{relay.port}"
            settings = {"node_urls": (url,), "request_timeout_s": REQUEST_TIMEOUT_S, "good_til_blocks": 20}
            async with connected(venue, **settings) as connector:
                assert relay.connections == 1
                relay.silence()
                lost = connector.get_order(connector.buy(limit(0.001, 60_000)))
                await until(lambda: "no_answer" in [code for code, _ in connector.heard.errors])
                await opened(connector, connector.buy(limit(0.001, 60_001)))
                assert relay.connections == 2
                lost = await ended(connector, lost.client_order_id)
                assert lost.state in (OrderState.FAILED, OrderState.EXPIRED)
                assert len(orders_of(venue)) == 1

    run_by_grpc(scenario, **SLOW)


def test_a_node_that_cannot_be_reached_is_left_for_the_next_whichever_way_that_speaks():
    async def scenario(venue):
        async with Relay("127.0.0.1", 1) as relay:
            await relay.cut()
            nobody = f"grpc://127.0.0.1:{relay.port}"
            await relay.listen()
            await relay.cut()
            async with connected(venue, node_urls=(nobody, venue.rpc_url)) as connector:
                await opened(connector, connector.buy(limit(0.001, 60_000)))
                assert "node_changed" in [code for code, _ in connector.heard.errors]
            async with connected(venue, TAKER_KEY, node_urls=(nobody, by_grpc(venue))) as connector:
                await opened(connector, connector.buy(limit(0.001, 60_000)))
            await relay.listen()

    run_by_grpc(scenario)


def test_a_node_that_comes_back_is_used_at_once_and_what_came_in_between_was_never_sent():
    async def scenario(venue):
        host, _, port = venue.grpc_url.rpartition(":")
        async with Relay(host, int(port)) as relay:
            url = f"grpc://127.0.0.1:{relay.port}"
            async with connected(venue, node_urls=(url,), request_timeout_s=REQUEST_TIMEOUT_S) as connector:
                await relay.cut()
                while True:
                    # The first may leave for a connection of which nobody knows yet that it is gone.
                    order = connector.get_order(connector.buy(limit(0.001, 60_000)))
                    await until(lambda order=order: order.is_unknown or order.is_done)
                    if order.is_done:
                        break
                assert order.state is OrderState.FAILED
                assert order.reason.startswith("never_sent")
                await relay.listen()
                await opened(connector, connector.buy(limit(0.001, 60_001)))
                assert len(orders_of(venue)) == 1

    run_by_grpc(scenario)


def test_an_address_that_the_chain_does_not_know_is_said_to_be_unknown():
    async def scenario(venue):
        connector = new_connector(venue, node_urls=(by_grpc(venue),))
        with pytest.raises(UnknownAccount, match="never received anything"):
            await connector.connect()

    run_by_grpc(scenario, initial_balance=0)


def test_a_connector_in_a_loop_of_its_own_trades_by_grpc():
    with venue_process("--quiet", "--block-ms", "100", "--grpc-port", "0") as venue:
        config = DydxConfig(
            domain=LOCAL, node_urls=(f"grpc://{venue.grpc_url}",), indexer_url=venue.rest_url, ws_url=venue.ws_url
        )
        connector = DydxV4PerpetualConnector(config, DydxKey(b"\x03" * 32))
        connector.subscribe("BTC-USD")
        connector.connect().result(30)
        connector.wait_ready().result(30)
        try:
            order = connector.get_order(connector.buy(limit(0.001, 60_000)))
            order_is = asyncio.run(_state(order, OrderState.OPEN))
            assert order_is is OrderState.OPEN
            assert connector.cancel(order.client_order_id)
            assert asyncio.run(_state(order, OrderState.CANCELLED)) is OrderState.CANCELLED
        finally:
            connector.disconnect().result(60)


async def _state(order, wanted):
    await until(lambda: order.state is wanted, 20.0)
    return order.state


def test_without_a_node_connecting_says_which_could_not_be_reached():
    async def scenario(venue):
        async with Relay("127.0.0.1", 1) as relay:
            await relay.cut()
            connector = new_connector(venue, node_urls=(f"grpc://127.0.0.1:{relay.port}",))
            with pytest.raises(VenueUnreachable, match=f"grpc://127.0.0.1:{relay.port}: no connection"):
                await connector.connect()
            await relay.listen()

    run_by_grpc(scenario)


def test_grpc_is_imported_only_where_a_node_is_reached_by_it():
    program = "import sys, latentspeed.connectors.dydx_v4, latentspeed.connectors.dydx_v4.factory as factory\n"
    made = (
        "factory.create_connector(name='d', domain='dydx_v4_perpetual', account_address=None, secret='01' * 32,"
        " options={}, engine_instance=1, last_nonce=0, store_nonce=print)\nassert 'grpc' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", program + made], check=True, timeout=60)
    assert grpc.__version__
