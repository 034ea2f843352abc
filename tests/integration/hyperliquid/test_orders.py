"""Placing, filling and cancelling through real sockets, with orders sent by HTTP and through the socket."""

from __future__ import annotations

import asyncio
import time

import pytest
from connected import (
    PAIR,
    TAKER_KEY,
    connected,
    ended,
    limit,
    market,
    resting,
    run,
    until,
    venue_orders,
)

from latentspeed.connectors import (
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    TimeInForce,
    TradeType,
)
from latentspeed.connectors.hyperliquid.wire import decode_cloid

TRANSPORTS = pytest.mark.parametrize("transport", ["http", "ws"])


@TRANSPORTS
def test_a_limit_order_rests_and_is_cancelled(transport):
    async def scenario(venue):
        async with connected(venue, order_transport=transport) as connector:
            order_id = connector.buy(limit(0.01, 60000))
            assert connector.get_order(order_id).state is OrderState.PENDING_CREATE
            order = await resting(connector, order_id)
            assert await order.get_exchange_order_id() == str(venue_orders(venue)[0].oid)
            assert (order.nonce > 0, order.venue_expiry_ms > order.nonce) == (True, True)
            assert 0 < order.signed_mono_ns <= order.sent_mono_ns <= order.acknowledged_mono_ns
            assert decode_cloid(venue_orders(venue)[0].cloid) == (77, 0, order.id64)
            assert connector.cancel(order_id)
            await ended(connector, order_id)
            assert order.state is OrderState.CANCELLED
            assert venue_orders(venue) == []
            assert not connector.cancel(order_id)
            assert not connector.cancel("LS0000000000000001")
            assert connector.heard.names(order_id) == ["updated", "created", "updated", "cancelled"]

    run(scenario)


def test_the_order_is_shown_as_signed_before_the_venue_can_know_of_it():
    async def scenario(venue):
        async with connected(venue) as connector:
            seen = []

            def on_event(name, order):
                if order.state is OrderState.PENDING_SUBMIT:
                    seen.append((order.nonce, order.venue_expiry_ms, order.sent_mono_ns, len(venue_orders(venue))))

            connector.heard.on_event = on_event
            await resting(connector, connector.buy(limit(0.01, 60000)))
            assert len(seen) == 1
            nonce, expiry_ms, sent, at_venue = seen[0]
            assert nonce > 0
            assert 1900 <= expiry_ms - nonce <= 2100
            assert (sent, at_venue) == (0, 0)

    run(scenario)


@TRANSPORTS
@pytest.mark.parametrize("push_order", ["before", "after", "random"])
def test_a_fill_is_counted_once_whatever_comes_first(push_order, transport):
    async def scenario(venue):
        async with (
            connected(venue, order_transport=transport) as maker,
            connected(venue, TAKER_KEY, order_transport=transport) as taker,
        ):
            maker_order = await resting(maker, maker.sell(limit(0.02, 64000)))
            taker_ids = [taker.buy(limit(0.005, 64001, time_in_force=TimeInForce.IOC)) for _ in range(4)]
            for order_id in taker_ids:
                order = await ended(taker, order_id)
                assert (order.state, order.filled_lots, order.fill_count) == (OrderState.FILLED, 500, 1)
                assert order.average_price == 64000.0
            await ended(maker, maker_order.client_order_id)
            assert (maker_order.state, maker_order.filled_lots, maker_order.fill_count) == (OrderState.FILLED, 2000, 4)
            names = maker.heard.names(maker_order.client_order_id)
            assert names[:2] == ["updated", "created"]
            assert names[-2:] == ["filled", "completed"]
            assert names.count("partially_filled") == 3
            for connector in (maker, taker):
                rows = venue.fills(connector.account_address)
                assert sorted(trade.trade_id for _, trade in connector.heard.trades) == sorted(
                    str(row["tid"]) for row in rows
                )
            fee_units = sum(round(float(row["fee"]) * 10**8) for row in venue.fills(maker.account_address))
            assert maker_order.fee_units == fee_units
            await until(lambda: maker.get_position(PAIR) and maker.get_position(PAIR).amount == -0.02)
            await until(lambda: taker.get_position(PAIR) and taker.get_position(PAIR).amount == 0.02)
            assert taker.get_position(PAIR).entry_price == 64000.0

    run(scenario, push_order=push_order)


def test_an_ioc_order_that_finds_nothing_expires():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.01, 60000, time_in_force=TimeInForce.IOC))
            order = await ended(connector, order_id)
            assert order.state is OrderState.EXPIRED
            assert order.reason.startswith("iocCancelRejected")

    run(scenario)


def test_a_post_only_order_rests_or_is_refused_with_the_venues_reason():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000, order_type=OrderType.LIMIT_MAKER)))
            order = await ended(taker, taker.buy(limit(0.01, 64000, order_type=OrderType.LIMIT_MAKER)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("badAloPxRejected: Post only order would have immediately matched")
            assert taker.heard.names(order.client_order_id)[-1] in ("failed", "updated")
            assert "created" not in taker.heard.names(order.client_order_id)
            await resting(taker, taker.buy(limit(0.01, 63999, order_type=OrderType.LIMIT_MAKER)))

    run(scenario)


def test_what_breaks_a_rule_is_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            for params, field in [
                (limit(0.01, 60000.5), "price"),
                (limit(0.000001, 60000), "amount"),
                (limit(0.0001, 60000), "amount"),
                (OrderParams("NOPE-USD", 1.0, 1.0), "trading_pair"),
                (OrderParams("OLDX-USD", 1.0, 1.0), "trading_pair"),
                (limit(0.01, 60000, order_type=OrderType.STOP_LIMIT), "trigger_price"),
                (limit(0.01, 60000, order_type=OrderType.STOP_LIMIT, trigger_price=61000.5), "trigger_price"),
                (limit(0.01, 60000, trigger_price=61000.0), "trigger_price"),
                (limit(0.01, 60000, extra_params={"slippage": 0.1}), "slippage"),
                (market(0.01, extra_params={"slippage": 1.5}), "slippage"),
                (limit(0.01, 60000, leverage=41), "leverage"),
            ]:
                with pytest.raises(OrderRefused, match=field):
                    connector.buy(params)
            assert venue_orders(venue) == []
            assert connector.get_open_orders() == []

    run(scenario)


@TRANSPORTS
def test_two_hundred_concurrent_placements_all_arrive_once_in_signed_batches(transport):
    async def scenario(venue):
        async with connected(venue, order_transport=transport, max_requests_in_flight=4) as connector:
            # One leaves alone and occupies nothing for long; the burst that follows forms batches.
            order_ids = [connector.buy(limit(0.001, 50000 + number)) for number in range(200)]
            orders = [await resting(connector, order_id) for order_id in order_ids]
            assert len({order.exchange_order_id for order in orders}) == 200
            assert sorted(decode_cloid(order.cloid).order_id for order in venue_orders(venue)) == sorted(
                order.id64 for order in orders
            )
            assert connector._outbox.requests <= 10
            assert connector.cancel_all() == 200
            for order_id in order_ids:
                assert (await ended(connector, order_id)).state is OrderState.CANCELLED
            assert venue_orders(venue) == []
            assert connector.heard.errors == []

    run(scenario)


def test_placements_one_by_one_under_load_all_arrive_once():
    async def scenario(venue):
        async with connected(venue, max_requests_in_flight=4) as connector:
            order_ids = []
            for number in range(200):
                order_ids.append(connector.buy(limit(0.001, 50000 + number)))
                if number % 3 == 0:
                    await asyncio.sleep(0)
            orders = [await resting(connector, order_id) for order_id in order_ids]
            nonces = {order.nonce for order in orders}
            assert len(venue_orders(venue)) == 200
            assert len(nonces) == connector._outbox.requests < 200

    run(scenario, block_interval_ms=10)


def test_a_lone_order_leaves_in_the_same_turn_of_the_loop():
    async def scenario(venue):
        async with connected(venue) as connector:
            await resting(connector, connector.buy(limit(0.01, 60000)))
            order = connector.get_order(connector.buy(limit(0.01, 60001)))
            await asyncio.sleep(0)
            assert order.state is OrderState.PENDING_SUBMIT
            await resting(connector, order.client_order_id)

    run(scenario)


def test_a_cancel_that_overtakes_its_order_in_the_block_is_sent_again():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.01, 60000))
            await until(lambda: connector.get_order(order_id).sent_mono_ns)
            connector.cancel(order_id)
            order = await ended(connector, order_id)
            assert order.state is OrderState.CANCELLED
            assert venue_orders(venue) == []

    # In a block cancels go before orders that rest or take, so this cancel meets nothing the first time.
    run(scenario, block_interval_ms=100)


def test_an_order_cancelled_before_it_was_signed_is_never_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.01, 60000))
            connector.cancel(order_id)
            order = await ended(connector, order_id)
            assert (order.state, order.reason, order.nonce) == (OrderState.CANCELLED, "never_sent", 0)
            assert connector.heard.names(order_id) == ["cancelled"]

    run(scenario)


def test_an_order_whose_time_has_passed_is_never_sent():
    async def scenario(venue):
        async with connected(venue, max_requests_in_flight=1) as connector:
            venue.faults.order("delay_reply_ms", 150)
            first = connector.buy(limit(0.01, 60000))
            await until(lambda: connector.get_order(first).sent_mono_ns)
            late = connector.create_order(
                TradeType.BUY, limit(0.01, 60001), expire_mono_ns=time.monotonic_ns() + 50_000_000
            )
            connector.submit_order(late)
            await ended(connector, late.client_order_id)
            assert (late.state, late.reason, late.nonce) == (OrderState.EXPIRED, "never_sent", 0)
            venue.faults.reset()
            await resting(connector, first)

    run(scenario)


def test_an_orders_own_time_bounds_what_the_venue_may_take():
    async def scenario(venue):
        async with connected(venue) as connector:
            short, long = (
                connector.create_order(
                    TradeType.BUY, limit(0.01, 60000), expire_mono_ns=time.monotonic_ns() + life_ms * 1_000_000
                )
                for life_ms in (400, 1500)
            )
            connector.submit_order(short)
            connector.submit_order(long)
            await resting(connector, short.client_order_id)
            await resting(connector, long.client_order_id)
            assert 300 <= short.venue_expiry_ms - short.nonce <= 400
            assert 1300 <= long.venue_expiry_ms - long.nonce <= 1500

    run(scenario)


def test_leverage_is_acknowledged_before_its_order_is_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            assert await connector.set_leverage(PAIR, 10) == 10
            order_id = connector.buy(limit(0.01, 60000, leverage=7))
            assert connector.get_leverage(PAIR) == 10
            await resting(connector, order_id)
            assert connector.get_leverage(PAIR) == 7
            holding = venue.account(connector.account_address).holdings[0]
            assert holding.leverage == 7

    run(scenario)


def test_an_order_whose_leverage_was_refused_is_never_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            venue.faults.order("http_500_burst", 1)
            order = await ended(connector, connector.buy(limit(0.01, 60000, leverage=7)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("not_prepared")
            assert order.nonce == 0

    run(scenario)


def test_foreign_orders_are_shown_and_never_cancelled():
    async def scenario(venue):
        async with (
            connected(venue) as connector,
            connected(venue, engine_instance=78, nonce_store=(int(time.time() * 1000) + 500, lambda n: None)) as other,
        ):
            theirs = await resting(other, other.buy(limit(0.01, 60000)))
            ours = await resting(connector, connector.buy(limit(0.01, 60001)))
            await connector.resync()
            assert [str(row.oid) for row in connector.foreign_orders] == [theirs.exchange_order_id]
            assert connector.cancel_all() == 1
            await ended(connector, ours.client_order_id)
            assert [str(order.oid) for order in venue_orders(venue)] == [theirs.exchange_order_id]
            assert theirs.is_active

    run(scenario)
