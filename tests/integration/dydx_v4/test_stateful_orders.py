"""Orders that the chain keeps: long-term ones, and those that wait for a trigger."""

from __future__ import annotations

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, limit, new_connector, quote, run, until

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, OrderType, PositionAction, TimeInForce
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.connectors.dydx_v4.identifiers import order_uuid

LONG = {"extra_params": {"good_til_s": 3600}}
NONCE_FROM = 1 << 40


def stop(kind, amount, trigger, price=None, **more):
    return OrderParams(PAIR, amount, price, kind, trigger_price=trigger, **more)


def on_chain(venue):
    """The stateful orders that the chain has."""
    return list(venue.chain.stateful.values())


async def opened(connector, order_id):
    order = connector.get_order(order_id)
    await until(lambda: order.state is OrderState.OPEN)
    return order


def test_a_long_term_order_is_open_once_a_block_has_it_and_not_before():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("halt")
            order = connector.get_order(connector.buy(limit(0.001, 64_000, **LONG)))
            await until(lambda: venue.chain.pending_orders)
            await until(lambda: order.sent_mono_ns)
            assert order.state is OrderState.PENDING_SUBMIT, "the check of one node is no block"
            await venue.control("halt", is_halted=False)
            await opened(connector, order.client_order_id)
            (standing,) = on_chain(venue)
            assert order.exchange_order_id == order_uuid(MAKER_KEY.address, 0, client_id_of(order.id64), 0, 64)
            assert order.venue_expiry_ms == standing.good_til_time * 1000
            assert 3590 < standing.good_til_time - venue.now_ms() / 1000 <= 3601
            assert order.nonce > NONCE_FROM
            venue.outside.take("BTC", False, 10**8, 64_000 * 10**8)
            await ended(connector, order.client_order_id)
            assert (order.state, order.filled_amount, order.average_price) == (OrderState.FILLED, 0.001, 64_000)

    run(scenario)


def test_a_long_term_order_is_cancelled_by_a_block():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await opened(connector, connector.buy(limit(0.001, 60_000, OrderType.LIMIT_MAKER, **LONG)))
            assert connector.cancel(order.client_order_id)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.CANCELLED, "USER_CANCELED")
            assert not on_chain(venue)
            assert connector._stateful_outbox.sequences.refused == 0

    run(scenario)


def test_long_term_orders_can_be_the_rule_and_a_number_of_blocks_the_exception():
    async def scenario(venue):
        async with connected(venue, limit_orders="long_term", long_term_s=120) as connector:
            long = await opened(connector, connector.buy(limit(0.001, 60_000)))
            short = await opened(connector, connector.buy(limit(0.001, 60_001, extra_params={"good_til_blocks": 15})))
            immediate = connector.buy(limit(0.001, 60_002, time_in_force=TimeInForce.IOC))
            (standing,) = on_chain(venue)
            assert 100 < standing.good_til_time - venue.now_ms() / 1000 <= 121
            assert (long.nonce > 0, short.nonce) == (True, 0)
            assert (await ended(connector, immediate)).nonce == 0
            assert connector.cancel_all() == 2
            assert (await ended(connector, long.client_order_id)).state is OrderState.CANCELLED
            assert (await ended(connector, short.client_order_id)).state is OrderState.CANCELLED

    run(scenario)


def test_a_long_term_order_expires_with_the_first_block_after_its_time():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await opened(connector, connector.buy(limit(0.001, 60_000, extra_params={"good_til_s": 60})))
            await venue.control("advance_clock", ms=61_000)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.EXPIRED, "EXPIRED")

    run(scenario)


def test_an_end_that_nobody_told_of_is_asked_for():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await opened(connector, connector.buy(limit(0.001, 60_000, extra_params={"good_til_s": 60})))
            tell, venue.indexer._tell = venue.indexer._tell, lambda *told: None
            await venue.control("advance_clock", ms=61_000)
            await until(lambda: not on_chain(venue))
            venue.indexer._tell = tell
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.EXPIRED, "EXPIRED")
            cancelled = await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            venue.indexer._tell = lambda *told: None
            connector.cancel(cancelled.client_order_id)
            await until(lambda: not on_chain(venue))
            venue.indexer._tell = tell
            await ended(connector, cancelled.client_order_id)
            assert (cancelled.state, cancelled.reason) == (OrderState.CANCELLED, "USER_CANCELED")

    run(scenario)


def test_28_a_post_only_long_term_order_that_would_trade_is_accepted_and_fails_a_block_later():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await ended(connector, connector.buy(limit(0.001, 64_010, OrderType.LIMIT_MAKER, **LONG)))
            assert (order.state, order.reason) == (OrderState.FAILED, "POST_ONLY_WOULD_CROSS_MAKER_ORDER")
            assert not connector.heard.trades

    run(scenario)


def test_an_order_that_no_block_takes_is_unknown_until_none_can_take_it():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("fault", name="drop_stateful")
            order = connector.get_order(connector.buy(limit(0.001, 60_000, **LONG)))
            await until(lambda: order.is_unknown)
            assert (order.state, order.reason) == (OrderState.PENDING_SUBMIT, "in_no_block_yet")
            await venue.control("advance_clock", ms=45_000)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.FAILED, "never_accepted")
            await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))

    run(scenario)


def test_a_lost_answer_of_a_long_term_order_sends_no_second_one():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("lose_answers")
            order = await opened(connector, connector.buy(limit(0.001, 60_000, **LONG)))
            assert len(on_chain(venue)) == 1
            assert order.is_acknowledged
            assert connector._outbox.transactions == 1

    run(scenario)


@pytest.mark.parametrize(
    ("kind", "is_buy", "trigger", "price", "moved_to"),
    [
        (OrderType.STOP_LIMIT, True, 65_000.0, 65_500.0, 65_200),
        (OrderType.STOP_LIMIT, False, 63_000.0, 62_500.0, 62_900),
        (OrderType.TAKE_PROFIT_LIMIT, True, 63_000.0, 65_500.0, 62_900),
        (OrderType.TAKE_PROFIT_LIMIT, False, 65_000.0, 62_500.0, 65_200),
        (OrderType.STOP_MARKET, True, 65_000.0, None, 65_200),
        (OrderType.STOP_MARKET, False, 63_000.0, None, 62_900),
        (OrderType.TAKE_PROFIT_MARKET, True, 63_000.0, None, 62_900),
        (OrderType.TAKE_PROFIT_MARKET, False, 65_000.0, None, 65_200),
    ],
)
def test_an_order_waits_for_its_trigger_and_then_trades(kind, is_buy, trigger, price, moved_to):
    async def scenario(venue):
        async with connected(venue) as connector:
            place = connector.buy if is_buy else connector.sell
            order = await opened(connector, place(stop(kind, 0.002, trigger, price)))
            (standing,) = on_chain(venue)
            assert standing.key.flags == 32
            assert standing.condition == (1 if kind.name.startswith("STOP") else 2), "never condition type 0"
            assert not standing.is_triggered
            if price is None:
                bound = trigger * (1.1 if is_buy else 0.9)
                assert float(standing.market.price_text(standing.price)) == pytest.approx(bound, abs=1)
                assert standing.time_in_force == 1
            assert venue.indexer.orders[order.exchange_order_id]["status"] == "UNTRIGGERED"
            quote(venue, moved_to - 10, moved_to + 10)
            await venue.control("set_price", ticker=PAIR, price=str(moved_to))
            await ended(connector, order.client_order_id)
            assert (order.state, order.average_price) == (OrderState.FILLED, moved_to + (10 if is_buy else -10))

    run(scenario)


def test_a_triggered_market_order_that_finds_nothing_expires_and_one_without_money_fails():
    async def scenario(venue):
        async with connected(venue) as connector:
            lonely = await opened(connector, connector.buy(stop(OrderType.STOP_MARKET, 0.002, 65_000.0)))
            poor = await opened(connector, connector.buy(stop(OrderType.STOP_LIMIT, 100.0, 65_000.0, 65_000.0)))
            venue.outside.set_quotes("BTC", [], [])
            await venue.control("set_price", ticker=PAIR, price="65100")
            await ended(connector, lonely.client_order_id)
            assert (lonely.state, lonely.reason) == (OrderState.EXPIRED, "IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK")
            await ended(connector, poor.client_order_id)
            assert (poor.state, poor.reason) == (OrderState.FAILED, "UNDERCOLLATERALIZED")

    run(scenario)


def test_a_stop_that_reduces_only_closes_a_position_and_never_opens_one():
    async def scenario(venue):
        async with connected(venue) as connector:
            await ended(connector, connector.buy(OrderParams(PAIR, 0.002, order_type=OrderType.MARKET)))
            closing = stop(OrderType.STOP_MARKET, 0.01, 63_000.0, position_action=PositionAction.CLOSE)
            order = await opened(connector, connector.sell(closing))
            quote(venue, 62_890, 62_910)
            await venue.control("set_price", ticker=PAIR, price="62900")
            await ended(connector, order.client_order_id)
            assert (order.state, order.filled_amount) == (OrderState.CANCELLED, 0.002)
            await until(lambda: connector.get_position(PAIR) is None or connector.get_position(PAIR).amount == 0)
            with pytest.raises(OrderRefused, match="reduce-only"):
                connector.sell(
                    stop(OrderType.STOP_LIMIT, 0.01, 63_000.0, 63_000.0, position_action=PositionAction.CLOSE)
                )

    run(scenario)


def test_stateful_orders_of_an_earlier_process_are_found_by_the_ids_that_follow_from_them():
    async def scenario(venue):
        first = new_connector(venue, limit_orders="long_term")
        first.subscribe(PAIR)
        await first.connect()
        await first.wait_ready()
        filled, resting = first.buy(limit(0.001, 64_000)), first.buy(limit(0.001, 60_000))
        await opened(first, resting)
        waiting = first.sell(stop(OrderType.STOP_MARKET, 0.001, 63_000.0))
        await opened(first, waiting)
        orders = [first.get_order(one) for one in (filled, resting, waiting)]
        last_nonce = first._sequences.last
        since = first.current_timestamp_ns()
        await first.disconnect()
        for order in orders:
            order.exchange_order_id, order.exchange_order_ids = None, ()  # as if nothing had been heard of them
        venue.outside.take("BTC", False, 100_000, 64_000 * 10**8)
        venue.chain.make_block()
        # Configured otherwise now: what was sent is what it was.
        second = new_connector(venue, limit_orders="short_term", last_nonce=last_nonce)
        second.subscribe(PAIR)
        second.recover_orders(orders, fills_since_utc_ns=since - 10**9)
        await second.connect()
        try:
            assert (await ended(second, filled)).state is OrderState.FILLED
            await until(lambda: second.get_order(waiting).exchange_order_id)
            assert second.get_order(waiting).exchange_order_id in venue.indexer.orders
            for one in (resting, waiting):
                assert second.cancel(one)
                assert (await ended(second, one)).state is OrderState.CANCELLED
            assert not on_chain(venue)
        finally:
            await second.disconnect()

    run(scenario)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        (limit(0.001, 60_000, extra_params={"good_til_s": 0}), "1 to "),
        (limit(0.001, 60_000, extra_params={"good_til_s": 96 * 86_400}), "1 to "),
        (limit(0.001, 60_000, extra_params={"good_til_s": "day"}), "1 to "),
        (limit(0.001, 60_000, extra_params={"good_til_blocks": 21}), "1 to 20"),
        (limit(0.001, 60_000, extra_params={"good_til_blocks": 5, "good_til_s": 60}), "not both"),
        (limit(0.001, 60_000, time_in_force=TimeInForce.IOC, extra_params={"good_til_s": 60}), "never rests"),
        (stop(OrderType.STOP_LIMIT, 0.001, 61_000.0, 61_000.0, extra_params={"good_til_blocks": 5}), "until a time"),
    ],
)
def test_a_lifetime_that_an_order_cannot_have_is_refused_before_anything_is_sent(params, rule):
    async def scenario(venue):
        async with connected(venue) as connector:
            with pytest.raises(OrderRefused, match=rule):
                connector.buy(params)
            assert connector._outbox.transactions == 0

    run(scenario)
