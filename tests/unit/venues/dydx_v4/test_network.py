"""Nodes with memories of their own: what one knows and another does not, and what a block makes of it."""

from __future__ import annotations

import random

import pytest
from support.dydx_desk import BTC_STEP, BTC_TICK, Desk

from latentspeed.connectors.dydx_v4.wire import OrderFlags, Side

PRICE = 64_000


class Nodes:
    """A desk with several nodes that hear of each other at once, unless that is lost."""

    def __init__(self, count=2, **config):
        self.desk = Desk(nodes=count, gossip_ms=0, stateful_limits=(), **config)
        self.network = self.desk.chain.network

    def at(self, number):
        return self.network.memories[number]

    def trader(self, name, node=0):
        trader = self.desk.trader(name)
        trader.node = node
        return trader

    def lots(self, node):
        """What stands at a node, in steps, by owner's client id."""
        resting = self.at(node).memclob.resting
        return {key.client_id: order.lots // BTC_STEP for key, order in resting.items()}

    def block(self):
        return self.desk.make_block()


@pytest.fixture
def nodes():
    return Nodes()


def test_what_one_node_takes_all_have_and_a_block_fills_once(nodes):
    maker, taker = nodes.trader("maker", node=1), nodes.trader("taker", node=0)
    assert maker.sell(5, PRICE) == ("", 0)
    assert nodes.lots(0) == nodes.lots(1) == {1: 5}
    assert taker.buy(2, PRICE) == ("", 0)
    assert nodes.lots(0) == nodes.lots(1) == {1: 3}
    block = nodes.block()
    assert len(block.fills) == 1
    assert (maker.position(), taker.position()) == (-2, 2)
    assert nodes.lots(0) == nodes.lots(1) == {1: 3}
    assert not nodes.block().fills


def test_an_order_that_only_one_node_knows_stands_there_alone_and_is_never_filled(nodes):
    maker, taker = nodes.trader("maker", node=1), nodes.trader("taker", node=0)
    nodes.at(1).lost_gossip = 1
    assert maker.sell(5, PRICE) == ("", 0)
    assert (nodes.lots(0), nodes.lots(1)) == ({}, {1: 5})
    assert nodes.desk.notes.orders() == [], "the indexer listens to the first node"
    assert taker.buy(2, PRICE) == ("", 0)
    assert (nodes.lots(0), nodes.lots(1)) == ({1: 2}, {1: 3}), "matched there, resting here"
    for _ in range(20):
        assert not nodes.block().fills
    assert (nodes.lots(0), nodes.lots(1)) == ({}, {})
    assert (maker.position(), taker.position()) == (0, 0)


def test_a_match_that_the_proposer_does_not_have_is_undone_and_made_again(nodes):
    maker, taker = nodes.trader("maker", node=0), nodes.trader("taker", node=1)
    nodes.network.listen_to(nodes.at(1))
    maker.sell(5, PRICE)
    nodes.at(1).lost_gossip = 1
    taker.buy(2, PRICE)
    nodes.desk.notes.said.clear()
    assert (nodes.lots(0), nodes.lots(1)) == ({1: 5}, {1: 3})
    assert not nodes.block().fills
    assert nodes.lots(1) == {1: 3}, "the node still has both orders and matches them again"
    assert nodes.desk.notes.orders() == [], "which is no news"
    nodes.network.proposer = nodes.at(1)
    assert [fill.match.quantums for fill in nodes.block().fills] == [2 * BTC_STEP]
    assert (maker.position(), taker.position()) == (-2, 2)
    assert nodes.lots(0) == nodes.lots(1) == {1: 3}


def test_nodes_that_propose_in_turn_fill_what_the_one_knew_when_it_is_its_turn():
    nodes = Nodes(rotate_proposers=True)
    maker, taker = nodes.trader("maker", node=1), nodes.trader("taker", node=1)
    nodes.at(1).lost_gossip = 2
    maker.sell(5, PRICE)
    taker.buy(5, PRICE)
    fills = [len(nodes.block().fills) for _ in range(4)]
    assert sorted(fills) == [0, 0, 0, 1]
    assert (maker.position(), taker.position()) == (-5, 5)


def test_a_cancel_that_has_not_reached_the_proposer_stops_no_fill(nodes):
    maker, taker = nodes.trader("maker", node=1), nodes.trader("taker", node=0)
    maker.sell(5, PRICE)
    nodes.at(1).lost_gossip = 1
    assert maker.cancel(1) == ("", 0)
    assert (nodes.lots(0), nodes.lots(1)) == ({1: 5}, {})
    taker.buy(2, PRICE)
    assert len(nodes.block().fills) == 1
    assert (maker.position(), nodes.lots(0), nodes.lots(1)) == (-2, {1: 3}, {})


def test_the_other_node_knows_from_a_block_what_is_left_of_an_order(nodes):
    maker, taker = nodes.trader("maker", node=0), nodes.trader("taker", node=0)
    maker.sell(5, PRICE)
    nodes.network.memories[0].lost_gossip = 1
    taker.buy(2, PRICE)
    assert nodes.lots(1) == {1: 5}
    nodes.block()
    assert nodes.lots(1) == {1: 3}
    maker.node = 1
    assert maker.sell(5, PRICE, client_id=1, good_til_block=nodes.desk.chain.height + 15) == ("", 0), "a replacement"
    assert nodes.lots(0) == nodes.lots(1) == {1: 3}


def test_a_long_term_order_waits_at_the_node_that_took_it_until_that_node_proposes(nodes):
    maker = nodes.trader("maker", node=1)
    nodes.at(1).lost_gossip = 1
    assert maker.sell(5, PRICE, flags=OrderFlags.LONG_TERM) == ("", 0)
    assert maker.sell(5, PRICE, flags=OrderFlags.LONG_TERM, sequence=1) == ("", 0), "the node counts what it has"
    maker.node = 0
    assert maker.sell(5, PRICE, flags=OrderFlags.LONG_TERM, sequence=2) == ("sdk", 32), "the other has heard of none"
    assert not nodes.block().placed
    nodes.network.proposer = nodes.at(1)
    assert len(nodes.block().placed) == 2
    assert nodes.lots(0) == nodes.lots(1) == {1: 5, 2: 5}
    assert maker.sell(5, PRICE, flags=OrderFlags.LONG_TERM, sequence=2) == ("", 0)


def test_what_both_nodes_were_given_is_in_one_block_once(nodes):
    maker = nodes.trader("maker", node=0)
    nodes.network.cut(nodes.at(1), True)
    nonce = nodes.desk.clock.now_ms
    raw = maker.signer.transaction([_long_term(maker)], sequence=nonce)
    for number in (0, 1):
        nodes.desk.chain.broadcast(raw, node=number)
    nodes.network.cut(nodes.at(1), False)
    assert len(nodes.block().placed) == 1
    nodes.network.proposer = nodes.at(1)
    assert not nodes.block().placed
    assert nodes.lots(0) == nodes.lots(1) == {7: 3}


def _long_term(trader):
    from latentspeed.connectors.dydx_v4 import wire

    return wire.place_order(trader.order(Side.SELL, 3, PRICE, flags=OrderFlags.LONG_TERM, client_id=7))


def test_a_node_that_was_cut_off_gives_its_mempool_when_it_is_joined_and_no_short_term_order(nodes):
    maker = nodes.trader("maker", node=1)
    nodes.network.cut(nodes.at(1), True)
    maker.sell(5, PRICE)
    maker.sell(4, PRICE, flags=OrderFlags.LONG_TERM)
    assert nodes.lots(0) == {}
    nodes.network.cut(nodes.at(1), False)
    assert len(nodes.block().placed) == 1
    assert (nodes.lots(0), nodes.lots(1)) == ({2: 4}, {1: 5, 2: 4})


def test_a_node_that_restarts_has_what_is_on_the_chain_and_nothing_else(nodes):
    maker, taker = nodes.trader("maker", node=1), nodes.trader("taker", node=0)
    maker.sell(4, PRICE, flags=OrderFlags.LONG_TERM)
    nodes.block()
    maker.sell(5, PRICE)
    taker.buy(1, PRICE)
    nodes.block()
    assert nodes.lots(1) == {1: 3, 2: 5}
    nodes.network.start(nodes.at(1))
    assert (nodes.lots(0), nodes.lots(1)) == ({1: 3, 2: 5}, {1: 3})


def test_another_node_proposes_when_the_first_is_down_and_without_any_there_is_no_block(nodes):
    maker, taker = nodes.trader("maker", node=1), nodes.trader("taker", node=1)
    nodes.network.stop(nodes.at(0))
    maker.sell(5, PRICE)
    taker.buy(5, PRICE)
    assert len(nodes.block().fills) == 1
    nodes.network.stop(nodes.at(1))
    assert nodes.block() is None
    nodes.network.start(nodes.at(0))
    assert nodes.block().height == nodes.desk.chain.height


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_lost_nothing_is_filled_beyond_its_size_and_nodes_agree_with_the_chain(seed):
    rng = random.Random(seed)
    nodes = Nodes(3, rotate_proposers=bool(seed % 2))
    traders = [nodes.trader(name) for name in ("a", "b", "c")]
    sizes = {}
    confirmed = {}
    for _ in range(60):
        for _ in range(rng.randrange(6)):
            trader, memory = rng.choice(traders), nodes.at(rng.randrange(3))
            trader.node = memory.number
            memory.lost_gossip = rng.random() < 0.3
            if rng.random() < 0.2 and trader.last_client_id:
                trader.cancel(rng.randrange(1, trader.last_client_id + 1))
                continue
            size = rng.randrange(1, 9)
            until = nodes.desk.chain.height + rng.randrange(1, 15)
            side = rng.choice((Side.BUY, Side.SELL))
            if trader.place(side, size, PRICE + rng.randrange(-3, 4), good_til_block=until) == ("", 0):
                sizes[trader.address, trader.last_client_id] = size * BTC_STEP
        if rng.random() < 0.1:
            nodes.network.start(nodes.at(rng.randrange(3)))
        block = nodes.block()
        for fill in block.fills:
            for order in (fill.match.maker, fill.match.taker):
                name = order.key[0], order.key[2]
                confirmed[name] = confirmed.get(name, 0) + fill.match.quantums
                assert order.good_til_block >= block.height
        for memory in nodes.network.memories:
            book = memory.markets["BTC-USD"].book
            bid, ask = book.best_bid(), book.best_ask()
            assert bid is None or ask is None or bid < ask
            for key, order in memory.memclob.resting.items():
                assert order.good_til_block > block.height
                matched = sum(one.quantums for one in memory.memclob.matches if order in (one.maker, one.taker))
                assert order.lots == order.quantums - confirmed.get((key[0], key[2]), 0) - matched
    assert confirmed, "something was filled"
    assert all(confirmed[name] <= sizes[name] for name in confirmed)
    assert sum(trader.position() for trader in traders) == 0
    assert all(price % BTC_TICK == 0 for price in nodes.at(0).markets["BTC-USD"].book.bids.levels)
