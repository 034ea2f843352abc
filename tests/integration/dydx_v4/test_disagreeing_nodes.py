"""A connector on a chain whose nodes know different things: no order is lost, doubled, or called over too early."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from on_chain import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, run, until

from latentspeed.connectors import OrderState
from latentspeed.connectors.errors import NotReady

NODES = {"nodes": 2, "gossip_ms": 10, "block_interval_ms": 100}


def run_nodes(scenario, **config):
    run(scenario, timeout_s=90.0, **(NODES | config))


def at(venue, node):
    """What stands at a node."""
    return [key.client_id for key in venue.chain.network.memories[node].memclob.resting]


def position(venue, key):
    held = venue.chain.ledger.subaccount(key.address, 0).positions.get(PAIR)
    return held.quantums / 10**10 if held is not None else 0.0


async def opened(connector, order_id):
    order = connector.get_order(order_id)
    await until(lambda: order.state is OrderState.OPEN)
    return order


def test_an_order_that_only_its_own_node_knows_ends_with_its_last_block_and_no_sooner():
    async def scenario(venue):
        async with connected(venue, node_urls=(venue.rpc_urls[1],), good_til_blocks=10) as connector:
            await venue.control("lose_gossip", node=1)
            order = connector.get_order(connector.buy(limit(0.001, 64_010)))
            await until(lambda: at(venue, 1) or venue.chain.network.memories[1].memclob.matches)
            assert not at(venue, 0)
            last = connector._lifetimes.of(order)
            await ended(connector, order.client_order_id)
            assert venue.indexer.height > last
            assert (order.state, order.filled_amount) == (OrderState.EXPIRED, 0.0)
            assert position(venue, MAKER_KEY) == 0.0

    run_nodes(scenario)


def test_an_open_order_that_the_proposer_has_not_heard_of_is_never_filled():
    async def scenario(venue):
        await venue.control("hear_node", node=1)
        urls = {"node_urls": (venue.rpc_urls[1],)}
        async with connected(venue, **urls) as maker, connected(venue, TAKER_KEY) as taker:
            await venue.control("lose_gossip", node=1)
            order = await opened(maker, maker.sell(limit(0.002, 64_000)))
            other = taker.get_order(taker.buy(limit(0.001, 64_000, extra_params={"good_til_blocks": 5})))
            await ended(taker, other.client_order_id)
            await ended(maker, order.client_order_id)
            assert (order.state, order.filled_amount, other.filled_amount) == (OrderState.EXPIRED, 0.0, 0.0)
            assert position(venue, MAKER_KEY) == position(venue, TAKER_KEY) == 0.0

    run_nodes(scenario)


def test_a_cancel_that_the_proposer_misses_is_no_end_and_the_fill_counts():
    async def scenario(venue):
        await venue.control("hear_node", node=1)
        urls = {"node_urls": (venue.rpc_urls[1],), "good_til_blocks": 20}
        async with connected(venue, **urls) as maker, connected(venue, TAKER_KEY) as taker:
            order = await opened(maker, maker.sell(limit(0.002, 64_000)))
            await until(lambda: len(at(venue, 0)) == 1)
            await venue.control("lose_gossip", node=1)
            assert maker.cancel(order.client_order_id)
            await until(lambda: not at(venue, 1))
            bought = await ended(taker, taker.buy(limit(0.001, 64_000)))
            assert bought.filled_amount == 0.001
            await ended(maker, order.client_order_id)
            assert (order.state, order.filled_amount) == (OrderState.CANCELLED, 0.001)
            assert position(venue, MAKER_KEY) == -0.001

    run_nodes(scenario)


def test_orders_outlive_the_node_that_took_them_and_what_comes_next_goes_to_another():
    async def scenario(venue):
        urls = {"node_urls": tuple(venue.rpc_urls), "good_til_blocks": 20}
        async with (
            connected(venue, **urls) as maker,
            connected(venue, TAKER_KEY, node_urls=(venue.rpc_urls[1],)) as taker,
        ):
            await venue.control("hear_node", node=1)
            order = await opened(maker, maker.sell(limit(0.002, 64_000)))
            await venue.control("stop_node", node=0)
            assert at(venue, 0) == []
            bought = await ended(taker, taker.buy(limit(0.001, 64_000)))
            assert bought.filled_amount == 0.001, "the other node proposes, and has the order"
            await until(lambda: order.filled_amount == 0.001)
            placed = []
            while "node_changed" not in [code for code, _ in maker.heard.errors]:
                placed.append(maker.get_order(maker.buy(limit(0.001, 60_000))))
                await asyncio.sleep(0.1)
            await opened(maker, placed[-1].client_order_id)
            await venue.control("stop_node", is_stopped=False, node=0)
            for one in (order, *placed):
                maker.cancel(one.client_order_id)
                await ended(maker, one.client_order_id)
            assert position(venue, MAKER_KEY) == -0.001

    run_nodes(scenario)


def test_a_long_term_order_that_no_other_node_heard_of_is_found_when_its_node_proposes():
    async def scenario(venue):
        urls = {"node_urls": (venue.rpc_urls[1],)}
        async with connected(venue, **urls) as maker:
            await venue.control("lose_gossip", node=1)
            order = maker.get_order(maker.sell(limit(0.002, 65_000, extra_params={"good_til_s": 600})))
            await until(lambda: venue.chain.network.memories[1].mempool)
            first = venue.chain.height
            await until(lambda: venue.chain.height > first + 5)
            assert order.is_active
            assert order.state is OrderState.PENDING_SUBMIT
            await venue.control("set_proposer", node=1)
            await opened(maker, order.client_order_id)
            assert maker.cancel(order.client_order_id)
            assert (await ended(maker, order.client_order_id)).state is OrderState.CANCELLED

    run_nodes(scenario)


@pytest.mark.parametrize("seed", [3, 11, 20])
def test_whatever_nodes_know_or_forget_books_and_fills_agree_in_the_end(seed):
    async def scenario(venue):
        rng = random.Random(seed)
        urls = {"node_urls": tuple(venue.rpc_urls), "good_til_blocks": 8, "reconcile_every_s": 1.0}
        back = {**urls, "node_urls": tuple(reversed(venue.rpc_urls))}
        async with connected(venue, **urls) as first, connected(venue, TAKER_KEY, **back) as second:
            placed = []
            for _ in range(80):
                connector = rng.choice((first, second))
                price = 64_000 + rng.randrange(-1, 2)
                trade = rng.choice((connector.buy, connector.sell))
                with contextlib.suppress(NotReady):
                    placed.append((connector, trade(limit(0.001 * rng.randrange(1, 4), price))))
                if placed and rng.random() < 0.3:
                    who, order_id = rng.choice(placed[-6:])
                    who.cancel(order_id)
                await _trouble(venue, rng)
                await asyncio.sleep(0.03)
            await venue.control("reset_faults")
            for connector, order_id in placed:
                order = connector.get_order(order_id)
                await until(lambda order=order: order.is_done, 60.0)
            # Whatever was traded till then, the two trade now.
            sold = await opened(first, first.sell(limit(0.001, 63_995, extra_params={"good_til_blocks": 20})))
            bought = await ended(second, second.buy(limit(0.001, 63_995)))
            assert bought.filled_amount == 0.001
            await ended(first, sold.client_order_id)
            for connector, key in ((first, MAKER_KEY), (second, TAKER_KEY)):
                await connector.resync()
                _agree(venue, connector, key, [order_id for who, order_id in placed if who is connector])

    run_nodes(scenario, nodes=3, rotate_proposers=True)


async def _trouble(venue, rng):
    node, kind = rng.randrange(3), rng.random()
    if kind < 0.25:
        await venue.control("lose_gossip", node=node)
    elif kind < 0.35:
        await venue.control("cut_node", node=node, is_cut=rng.random() < 0.3)
    elif kind < 0.42:
        await venue.control("restart_node", node=node)
    elif kind < 0.47 and node != 2:
        await venue.control("stop_node", is_stopped=rng.random() < 0.5, node=node)
    elif kind < 0.55:
        await venue.control("hear_node", node=2)
    elif kind < 0.60:
        await venue.control("lose_answers", node=node)


def _agree(venue, connector, key, order_ids):
    """Every fill of the venue was counted once, for the right order, and the position is the chain's."""
    rows = venue.indexer.fills.get((key.address, 0), [])
    heard = [trade.trade_id for _, trade in connector.heard.trades]
    assert sorted(heard) == sorted(row["id"] for row in rows)
    by_order = {}
    for order, trade in connector.heard.trades:
        assert order is not None
        by_order[order.client_order_id] = by_order.get(order.client_order_id, 0) + trade.amount_lots
    for order_id in order_ids:
        order = connector.get_order(order_id)
        assert order.filled_lots == by_order.get(order_id, 0) <= order.amount_lots
    held = connector.get_position(PAIR)
    assert (held.amount if held is not None else 0.0) == pytest.approx(position(venue, key), abs=1e-12)
