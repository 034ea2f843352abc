"""An answer that is lost, late or a refusal at the door never loses, doubles or forgets an order."""

from __future__ import annotations

import pytest
from connected import PAIR, TAKER_KEY, connected, ended, limit, resting, run, until, venue_orders

from latentspeed.connectors import OrderState, TimeInForce
from latentspeed.connectors.transport import SocketTiming

TRANSPORTS = pytest.mark.parametrize("transport", ["http", "ws"])


def test_a_dropped_reply_to_a_taking_order_counts_its_fill_once():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.02, 64000)))
            venue.faults.order("drop_next_reply", 1)
            order = await ended(taker, taker.buy(limit(0.02, 64000, time_in_force=TimeInForce.IOC)))
            assert (order.state, order.filled_lots, order.fill_count) == (OrderState.FILLED, 2000, 1)
            await taker.resync()
            assert (order.filled_lots, order.fill_count, len(taker.heard.trades)) == (2000, 1, 1)
            assert len(venue.fills(taker.account_address)) == 1

    run(scenario)


def test_a_batch_whose_reply_was_dropped_is_resolved_order_by_order():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.02, 64000)))
            venue.faults.order("drop_next_reply", 1)
            rests = taker.buy(limit(0.01, 60000))
            fills = taker.buy(limit(0.02, 64000))
            fails = taker.buy(limit(0.01, 60001, time_in_force=TimeInForce.IOC))
            await resting(taker, rests)
            assert (await ended(taker, fills)).state is OrderState.FILLED
            assert (await ended(taker, fails)).state is OrderState.EXPIRED
            assert len(venue_orders(venue, TAKER_KEY)) == 1

    run(scenario)


def test_a_reply_later_than_the_timeout_leaves_the_order_unknown_until_the_venue_has_told():
    async def scenario(venue):
        async with connected(venue, request_timeout_s=0.2) as connector:
            venue.faults.order("delay_reply_ms", 600)
            order_id = connector.buy(limit(0.01, 60000))
            order = connector.get_order(order_id)
            await until(lambda: any(code == "no_answer" for code, _ in connector.heard.errors))
            assert order.is_active
            venue.faults.reset()
            await resting(connector, order_id)
            assert not order.is_unknown
            assert len(venue_orders(venue)) == 1

    # The stream's message comes after the reply, so it does not tell either.
    run(scenario, push_order="after")


@pytest.mark.parametrize("fault", ["http_500_burst", "http_502_burst"])
def test_an_order_the_venue_never_took_fails_only_when_its_expiry_has_passed(fault):
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=400, expiry_margin_ms=200) as connector:
            venue.faults.order(fault, 1)
            order_id = connector.buy(limit(0.01, 60000))
            order = connector.get_order(order_id)
            await until(lambda: order.is_unknown)
            assert order.is_active
            assert order.reason == ("http_500" if "500" in fault else "http_502")
            expiry_ms = order.venue_expiry_ms
            await ended(connector, order_id)
            assert (order.state, order.reason) == (OrderState.FAILED, "never_accepted")
            assert venue.clock.now_ms() >= expiry_ms + 200
            assert venue_orders(venue) == []
            assert connector.heard.names(order_id)[-1] == "failed"

    run(scenario)


def test_an_order_turned_away_at_the_door_fails_once_the_venue_has_confirmed_it():
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=60_000) as connector:
            venue.faults.order("http_429_burst", 2)
            order = await ended(connector, connector.buy(limit(0.01, 60000)))
            assert (order.state, order.reason) == (OrderState.FAILED, "http_429")
            await resting(connector, connector.buy(limit(0.01, 60001)))

    run(scenario)


def test_queries_that_fail_too_are_asked_again():
    async def scenario(venue):
        async with connected(venue) as connector:
            venue.faults.order("drop_next_reply", 1)
            venue.faults.order("http_502_burst", 0)
            order_id = connector.buy(limit(0.01, 60000))
            await until(lambda: venue_orders(venue))
            venue.faults.order("http_500_burst", 2)
            await resting(connector, order_id)
            await until(lambda: venue.faults.armed == {})

    run(scenario, push_order="after")


@TRANSPORTS
def test_a_cancel_whose_reply_was_dropped_is_settled(transport):
    async def scenario(venue):
        async with connected(venue, order_transport=transport) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.faults.order("drop_next_reply", 1)
            connector.cancel(order.client_order_id)
            await ended(connector, order.client_order_id)
            assert order.state is OrderState.CANCELLED
            assert venue_orders(venue) == []

    run(scenario)


def test_a_cancel_that_did_not_arrive_is_sent_again():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.faults.order("http_500_burst", 1)
            connector.cancel(order.client_order_id)
            await ended(connector, order.client_order_id)
            assert order.state is OrderState.CANCELLED
            assert venue_orders(venue) == []

    run(scenario)


def test_a_duplicate_nonce_is_doubt_and_not_refusal():
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=300, expiry_margin_ms=100) as connector:
            await resting(connector, connector.buy(limit(0.01, 60000)))
            connector._nonces.last -= 1_000_000
            used = connector.get_open_orders()[0].nonce
            connector._nonces._clock_ms = lambda: used
            order_id = connector.buy(limit(0.01, 60001))
            order = connector.get_order(order_id)
            await until(lambda: order.is_unknown)
            assert order.reason == "duplicateNonce"
            await ended(connector, order_id)
            assert order.reason == "never_accepted"
            assert len(venue_orders(venue)) == 1

    run(scenario)


def test_an_order_without_a_connection_is_known_not_to_be_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            await resting(connector, connector.buy(limit(0.01, 60000)))
            await connector._line.close()
            order = await ended(connector, connector.buy(limit(0.01, 60001)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("never_sent")
            assert order.trading_pair == PAIR

    run(scenario)


def test_a_cancel_that_cannot_be_sent_for_a_while_is_not_taken_for_a_refused_one():
    """The venue, asked by HTTP, says that the order is open; the socket that would carry the cancel is away."""
    away = SocketTiming(heartbeat_s=1.0, silence_s=8.0, first_delay_s=5.0, longest_delay_s=5.0)

    async def scenario(venue):
        async with connected(venue, order_transport="ws", socket_timing=away) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.drop_sockets()
            await until(lambda: not connector.is_connected)
            connector.cancel(order.client_order_id)
            await until(lambda: connector._settler.queries >= 6 or order.is_done, 15)
            assert "cancel_rejected" not in {code for code, _ in connector.heard.errors}
            await until(lambda: order.is_done, 15, what=lambda: connector.heard.errors)
            assert order.state is OrderState.CANCELLED
            assert venue_orders(venue) == []

    run(scenario, timeout_s=200)
