"""A restarted process settles what the one before it left: known orders, orphans, and orders it may have sent."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

import pytest
from connected import (
    PAIR,
    TAKER_KEY,
    connected,
    ended,
    limit,
    new_connector,
    resting,
    run,
    until,
    venue_orders,
)

from latentspeed.connectors import (
    ClientOrderIdGenerator,
    OrderState,
    OrderType,
    TimeInForce,
    TradeType,
    restore_order,
)

INCARNATIONS = iter(range(1000, 2000))


def restored(order, **changes):
    """The order as another process would build it from what was published of it."""
    facts = {
        "state": order.state,
        "exchange_order_id": order.exchange_order_id,
        "filled_lots": order.filled_lots,
        "notional_units": order.notional_units,
        "fee_units": order.fee_units,
        "fee_asset": order.fee_asset,
        "fill_count": order.fill_count,
        "trade_ids": order.trade_ids,
        "nonce": order.nonce,
        "venue_expiry_ms": order.venue_expiry_ms,
        "strategy_tag": order.strategy_tag,
        "revision": order.revision,
    }
    return restore_order(
        order.client_order_id,
        order.rule,
        order.trade_type,
        order.order_type,
        order.amount_lots,
        order.price_units,
        **(facts | changes),
    )


@asynccontextmanager
async def second_life(venue, orders, held_age_s=10.0, **recovery):
    """The connector of the process that comes after, having taken over `orders`."""
    connector = new_connector(venue, id_generator=ClientOrderIdGenerator(next(INCARNATIONS)))
    connector.housekeeping_interval_s = 0.05
    connector.order_tracker._unmatched_fills._held._age_ns = int(held_age_s * 1e9)
    connector.subscribe(PAIR)
    connector.recover_orders(orders, **recovery)
    await connector.connect()
    await connector.wait_ready()
    try:
        yield connector
    finally:
        await connector.disconnect()


def test_known_orders_are_settled_and_orphans_are_adopted():
    async def scenario(venue):
        started_ns = time.time_ns()
        async with connected(venue) as first:
            known = await resting(first, first.buy(limit(0.01, 60000)))
            gone = await resting(first, first.buy(limit(0.01, 60001)))
            filled = await resting(first, first.buy(limit(0.02, 60002)))
            orphan = first.create_order(
                TradeType.BUY, limit(0.03, 59000, order_type=OrderType.LIMIT_MAKER), strategy_tag=5
            )
            first.submit_order(orphan)
            await resting(first, orphan.client_order_id)
        survivors = [restored(order) for order in (known, gone, filled)]
        async with connected(venue, TAKER_KEY) as taker:
            await ended(taker, taker.sell(limit(0.02, 60002, time_in_force=TimeInForce.IOC)))
        async with connected(venue, engine_instance=77) as meddler:
            await until(lambda: meddler.get_order(gone.client_order_id))
            meddler.cancel(gone.client_order_id)
            await ended(meddler, gone.client_order_id)

        async with second_life(venue, survivors, fills_since_utc_ns=started_ns) as second:
            assert survivors[0].state is OrderState.OPEN
            assert survivors[1].state is OrderState.CANCELLED
            assert (survivors[2].state, survivors[2].filled_lots, survivors[2].fill_count) == (
                OrderState.FILLED,
                2000,
                1,
            )
            adopted = second.get_order(orphan.client_order_id)
            assert adopted is not None
            assert (adopted.state, adopted.strategy_tag, adopted.order_type) == (
                OrderState.OPEN,
                5,
                OrderType.LIMIT_MAKER,
            )
            assert (adopted.amount, adopted.price, adopted.exchange_order_id) == (
                0.03,
                59000.0,
                orphan.exchange_order_id,
            )
            assert second.heard.names(orphan.client_order_id) == ["created"]
            assert second.cancel_all() == 2
            await ended(second, known.client_order_id)
            await ended(second, orphan.client_order_id)
            assert venue_orders(venue) == []
            assert len(second.heard.trades) == 1

    run(scenario)


def test_an_orphan_is_adopted_with_the_fills_it_had():
    async def scenario(venue):
        async with connected(venue) as first:
            orphan = await resting(first, first.buy(limit(0.03, 60000)))
        async with connected(venue, TAKER_KEY) as taker:
            await ended(taker, taker.sell(limit(0.01, 60000, time_in_force=TimeInForce.IOC)))
        # Much later than the fill: history that nobody else counts.
        async with second_life(venue, [], fills_since_utc_ns=time.time_ns() + 10**9) as second:
            adopted = second.get_order(orphan.client_order_id)
            await until(lambda: adopted.filled_lots == 1000, what=lambda: adopted)
            assert (adopted.state, adopted.fill_count) == (OrderState.PARTIALLY_FILLED, 1)
            assert not adopted.is_awaiting_fills

    run(scenario)


def test_an_orphan_that_lost_its_row_is_adopted_without_the_fills_that_were_counted():
    async def scenario(venue):
        async with connected(venue, TAKER_KEY) as taker:
            async with connected(venue) as first:
                orphan = await resting(first, first.buy(limit(0.03, 60000)))
                await ended(taker, taker.sell(limit(0.01, 60000, time_in_force=TimeInForce.IOC)))
                await until(lambda: orphan.fill_count == 1)
                ((_, counted),) = first.heard.trades
            await ended(taker, taker.sell(limit(0.005, 60000, time_in_force=TimeInForce.IOC)))
            known = [(orphan.client_order_id, counted.trade_id)]
            since = counted.venue_utc_ns - 10**9
            options = {
                "known_trade_ids": known,
                "forgotten": {},
                "fills_since_utc_ns": since,
                "counted_until_utc_ns": 1,
            }
            async with second_life(venue, [], **options) as second:
                await until(lambda: second.heard.trades)
                await second.resync()
                assert [trade.amount_lots for _, trade in second.heard.trades] == [500]

    run(scenario)


def test_orders_that_may_have_been_sent_are_asked_for_and_never_sent_again():
    async def scenario(venue):
        started_ns = time.time_ns()
        async with connected(venue, place_expiry_ms=1000) as first:
            landed = await resting(first, first.buy(limit(0.01, 60000)))
            lost = first.create_order(TradeType.BUY, limit(0.01, 60001))
            unsigned = first.create_order(TradeType.BUY, limit(0.01, 60002))
        expiry_ms = time.time_ns() // 1_000_000 + 600
        survivors = [
            restored(landed, state=OrderState.PENDING_SUBMIT, exchange_order_id=None),
            restored(lost, state=OrderState.PENDING_SUBMIT, nonce=1, venue_expiry_ms=expiry_ms),
            restored(unsigned),
        ]
        async with second_life(venue, survivors, fills_since_utc_ns=started_ns) as second:
            assert survivors[0].state is OrderState.OPEN
            assert (survivors[2].state, survivors[2].reason) == (OrderState.FAILED, "never_sent")
            assert survivors[1].is_unknown
            assert survivors[1].is_active
            await ended(second, lost.client_order_id)
            assert (survivors[1].state, survivors[1].reason) == (OrderState.FAILED, "never_accepted")
            assert venue.clock.now_ms() >= expiry_ms
            assert [order.cloid[-16:] for order in venue_orders(venue)] == [f"{landed.id64:016x}"]

    run(scenario)


def test_fills_counted_before_are_not_counted_again_and_those_of_the_gap_are():
    async def scenario(venue):
        async with connected(venue, TAKER_KEY) as taker:
            async with connected(venue) as first:
                order = await resting(first, first.buy(limit(0.03, 60000)))
                await ended(taker, taker.sell(limit(0.01, 60000, time_in_force=TimeInForce.IOC)))
                await until(lambda: order.fill_count == 1)
                counted_ns = order.last_update_utc_ns
                known = [trade.trade_id for _, trade in first.heard.trades]
            survivor = restored(order)
            await ended(taker, taker.sell(limit(0.01, 60000, time_in_force=TimeInForce.IOC)))
            async with second_life(venue, [survivor], known_trade_ids=known, fills_since_utc_ns=counted_ns) as second:
                await until(lambda: survivor.fill_count == 2)
                assert len(second.heard.trades) == 1
                assert survivor.filled_lots == 2000
                assert survivor.notional_units == sum(600000 * 1000 for _ in range(2))
                await second.resync()
                assert survivor.fill_count == 2

    run(scenario)


def test_a_fill_of_an_order_nobody_remembers_is_shown_with_its_id():
    async def scenario(venue):
        started_ns = time.time_ns()
        async with connected(venue) as first:
            order = await resting(first, first.buy(limit(0.01, 60000)))
        async with connected(venue, TAKER_KEY) as taker:
            await ended(taker, taker.sell(limit(0.01, 60000, time_in_force=TimeInForce.IOC)))
        async with second_life(venue, [], held_age_s=0.1, fills_since_utc_ns=started_ns) as second:
            await until(lambda: second.heard.trades)
            ((owner, trade),) = second.heard.trades
            assert owner is None
            assert trade.client_order_id == order.client_order_id
            assert second.get_position(PAIR).amount == 0.01

    run(scenario)


@pytest.mark.parametrize("ahead_ms", [0, 90_000, -90_000])
def test_history_is_silent_at_a_fresh_start(ahead_ms):
    async def scenario(venue):
        venue.clock.advance(ahead_ms)
        async with connected(venue) as first, connected(venue, TAKER_KEY) as taker:
            await resting(first, first.buy(limit(0.01, 60000)))
            await ended(taker, taker.sell(limit(0.01, 60000, time_in_force=TimeInForce.IOC)))
        # A fresh start goes by the venue's clock: its history is none of the future.
        venue.clock.advance(10)
        async with connected(venue) as second:
            await second.resync()
            second.order_tracker._clock_mono_ns = lambda: time.monotonic_ns() + 3600 * 10**9
            second.order_tracker.sweep()
            assert second.order_tracker.held_count == 0
            assert second.heard.trades == []
            assert second.heard.errors == []
            assert second.get_position(PAIR).amount == 0.01

    run(scenario)


def test_nonces_go_on_above_the_last_one_used():
    async def scenario(venue):
        stored = []
        ahead = time.time_ns() // 1_000_000 + 30_000
        async with connected(venue, nonce_store=(ahead, stored.append)) as connector:
            first = await resting(connector, connector.buy(limit(0.01, 60000)))
            assert first.nonce == ahead + 1
            assert stored == [ahead + 1]

    run(scenario)


def test_an_order_whose_nonce_could_not_be_kept_is_never_sent():
    async def scenario(venue):
        def store(nonce):
            raise OSError("the disk is full")

        async with connected(venue, nonce_store=(0, store), has_faults=True) as connector:
            order = await ended(connector, connector.buy(limit(0.01, 60000)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("never_sent")
            assert "the disk is full" in order.reason
            assert "signing_failed" in {code for code, _ in connector.heard.errors}
            assert venue_orders(venue) == []

    run(scenario)


def test_a_program_that_starts_again_within_a_second_gives_no_id_twice():
    async def scenario(venue):
        options = {"engine_instance": 77}
        async with connected(venue, id_generator=ClientOrderIdGenerator(5, 255), **options) as first:
            kept = await resting(first, first.buy(limit(0.01, 60000)))
        async with connected(venue, id_generator=ClientOrderIdGenerator(5, 255), **options) as again:
            assert again.get_order(kept.client_order_id).exchange_order_id == kept.exchange_order_id
            order = await resting(again, again.buy(limit(0.01, 60010)))
            assert order.client_order_id != kept.client_order_id
            assert len(venue_orders(venue)) == 2

    run(scenario)
