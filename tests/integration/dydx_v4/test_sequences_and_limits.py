"""What the chain counts: sequences, orders per blocks, open orders by equity."""

from __future__ import annotations

import asyncio
import time

from on_chain import MAKER_KEY, PAIR, connected, ended, limit, run, until

from latentspeed.connectors import ClientOrderIdGenerator, OrderParams, OrderState, OrderType

LONG = {"extra_params": {"good_til_s": 3600}}
FREE = {"stateful_limits": ()}


async def opened(connector, order_id):
    order = connector.get_order(order_id)
    await until(lambda: order.state is OrderState.OPEN)
    return order


def refuse_sequence(venue, detail, count=1):
    venue.chain.faults.refuse("sdk", 32, count, detail)


def test_01_long_term_orders_at_once_are_all_placed_once_though_one_sequence_is_refused():
    async def scenario(venue):
        async with connected(venue) as connector:
            refuse_sequence(venue, "timestamp nonce 1 rejected")
            orders = [connector.get_order(connector.buy(limit(0.001, 60_000 + n, **LONG))) for n in range(5)]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
            assert len(venue.chain.stateful) == 5
            assert len({order.nonce for order in orders}) == 5
            assert connector._sequences.refused == 1
            assert connector._outbox.transactions == 6 + connector._stateful_outbox.budget.refused

    run(scenario)


def test_nonces_follow_the_chains_clock_and_outlive_the_process():
    async def scenario(venue):
        stored = []
        # Ten minutes off this machine's clock, and a stored nonce that only a wrong clock can have made.
        venue.offset_ms = -600_000
        venue.chain.time_ms = venue.now_ms()
        venue.indexer.time_ms = venue.now_ms()
        ahead = time.time_ns() // 1_000_000
        async with connected(venue, last_nonce=ahead, store_nonce=stored.append) as connector:
            order = await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            assert abs(order.nonce - venue.now_ms()) < 5_000
            assert stored == [order.nonce] == [connector._sequences.last]
            assert connector._sequences.refused == 0
        soon = venue.now_ms() + 3_000
        async with connected(venue, last_nonce=soon, id_generator=ClientOrderIdGenerator(7)) as connector:
            order = await opened(connector, connector.buy(limit(0.001, 60_001, **LONG)))
            assert order.nonce == soon + 1, "above the last of the earlier process, whatever the clock says"

    run(scenario)


def test_more_transactions_than_the_chain_remembers_nonces_all_come_through():
    async def scenario(venue):
        async with connected(venue) as connector:
            orders = [connector.get_order(connector.buy(limit(0.001, 60_000 + n, **LONG))) for n in range(30)]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
            assert connector.cancel_all() == 30
            await asyncio.gather(*(ended(connector, order.client_order_id) for order in orders))
            assert {order.state for order in orders} == {OrderState.CANCELLED}
            assert not venue.chain.stateful

    run(scenario, **FREE)


def test_02_a_chain_that_counts_is_counted_for_from_the_number_that_it_expects():
    async def scenario(venue):
        async with connected(venue, sequences="counter") as connector:
            await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            account = venue.chain.ledger.account(MAKER_KEY.address)
            assert (account.sequence, connector._sequences.counter) == (1, 1)
            # Valid for a node, and in no block: the counter here runs ahead of the chain's.
            await venue.control("fault", name="drop_stateful")
            lost = connector.get_order(connector.buy(limit(0.001, 60_001, **LONG)))
            await until(lambda: lost.is_unknown)
            assert connector._sequences.counter == 2
            orders = [connector.get_order(connector.buy(limit(0.001, 60_002 + n, **LONG))) for n in range(4)]
            await until(lambda: all(order.state is OrderState.OPEN for order in orders))
            assert connector._sequences.refused == 1
            assert account.sequence == 5
            assert len(venue.chain.stateful) == 5
            assert connector.cancel(orders[0].client_order_id)
            assert (await ended(connector, orders[0].client_order_id)).state is OrderState.CANCELLED

    run(scenario, **FREE)


def test_a_chain_that_takes_no_times_is_found_out_by_its_refusal():
    async def scenario(venue):
        async with connected(venue) as connector:
            refuse_sequence(venue, "account sequence mismatch, expected 0, got 1763000000000")
            await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            assert (connector._sequences.counter, venue.chain.ledger.account(MAKER_KEY.address).sequence) == (1, 1)

    run(scenario)


def test_a_sequence_that_is_refused_for_ever_ends_the_order():
    async def scenario(venue):
        async with connected(venue) as connector:
            refuse_sequence(venue, "timestamp nonce 1 rejected", 5)
            order = await ended(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            assert (order.state, order.reason[:8]) == (OrderState.FAILED, "sdk_32: ")
            assert not venue.chain.stateful

    run(scenario)


def test_stateful_orders_wait_for_the_blocks_that_the_chain_allows_them():
    async def scenario(venue):
        async with connected(venue) as connector:
            ids = [connector.buy(limit(0.001, 60_000 + n, **LONG)) for n in range(6)]
            await until(lambda: all(connector.get_order(one).state is OrderState.OPEN for one in ids))
            heights = [order.created_height for order in venue.chain.stateful.values()]
            assert max(heights.count(height) for height in heights) <= 2
            budget = connector._stateful_outbox.budget
            shown = {limit.name: (limit.used, limit.capacity) for limit in connector.rate_limits()}
            assert shown["stateful_orders_per_100_blocks"] == (6 + budget.refused, 20)
            assert "stateful_orders_per_block" in shown
            assert shown["short_term_orders_per_5_blocks"] == (0, 4000)

    run(scenario)


def test_an_order_beyond_the_chains_long_limit_ends_at_once_and_is_never_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            ids = [connector.buy(limit(0.001, 60_000 + n, **LONG)) for n in range(4)]
            await until(lambda: all(connector.get_order(one).state is OrderState.OPEN for one in ids))
            order = await ended(connector, connector.buy(limit(0.001, 60_100, **LONG)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("never_sent: the chain's limit of long-term and conditional orders")
            # Cancels are not limited.
            assert connector.cancel_all() == 4
            await until(lambda: not venue.chain.stateful)
            # Short-term orders have a limit of their own.
            await opened(connector, connector.buy(limit(0.001, 60_200)))

    run(scenario, stateful_limits=((1, 2), (100, 4)))


def test_an_order_that_is_one_too_many_for_the_node_is_sent_again_with_a_later_block():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("refuse", codespace="clob", code=5001)
            order = await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            assert connector._stateful_outbox.budget.refused == 1
            assert len(venue.chain.stateful) == 1
            assert order.is_acknowledged

    run(scenario)


def test_a_waiting_order_that_is_cancelled_was_never_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("halt")
            ids = [connector.buy(limit(0.001, 60_000 + n, **LONG)) for n in range(3)]
            await until(lambda: connector._outbox.transactions == 2)
            assert connector.get_order(ids[2]).state is OrderState.PENDING_CREATE
            assert connector.cancel(ids[2])
            order = await ended(connector, ids[2])
            assert (order.state, order.reason) == (OrderState.CANCELLED, "never_sent")
            await venue.control("halt", is_halted=False)
            await until(lambda: len(venue.chain.stateful) == 2)
            assert connector._outbox.transactions == 2

    run(scenario)


def test_short_term_orders_keep_a_part_of_their_limit_for_cancels():
    async def scenario(venue):
        async with connected(venue, good_til_blocks=20) as connector:
            ids = [connector.buy(limit(0.001, 60_000 + n)) for n in range(12)]
            sent = [one for one in ids if connector.get_order(one).reason == ""]
            await until(lambda: sum(connector.get_order(one).is_done for one in ids) == 3)
            for one in ids[9:]:
                assert connector.get_order(one).reason.startswith("never_sent: the chain's limit of short-term")
            assert connector.cancel(sent[0])
            assert (await ended(connector, sent[0])).state is OrderState.CANCELLED
            assert connector._outbox.budget.refused == 0

    run(scenario, short_term_limit=10, short_term_blocks=20, block_interval_ms=100)


def test_the_equity_tier_is_named_when_it_refuses_an_order():
    async def scenario(venue):
        async with connected(venue) as connector:
            await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            order = await ended(
                connector,
                connector.buy(OrderParams(PAIR, 0.001, 66_000.0, OrderType.STOP_LIMIT, trigger_price=65_000.0)),
            )
            assert order.reason.startswith("clob_10001: Opening order would exceed equity tier limit of 1")
            await opened(connector, connector.buy(limit(0.001, 60_000)))

    run(scenario, equity_tiers=((0, 1),))
