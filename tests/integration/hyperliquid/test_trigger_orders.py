"""Stops and take-profits on the local venue: armed, triggered, filled, shrunk, cancelled, adopted after a restart."""

from __future__ import annotations

import pytest
from connected import (
    MAKER_KEY,
    PAIR,
    TAKER_KEY,
    connected,
    ended,
    limit,
    resting,
    run,
    until,
    venue_orders,
)

from latentspeed.connectors import OrderParams, OrderState, OrderType, PositionAction
from latentspeed.connectors.hyperliquid.wire import decode_cloid
from latentspeed.tools.venues.hyperliquid.actions import CancelByCloid

TRANSPORTS = pytest.mark.parametrize("transport", ["http", "ws"])


def trigger(order_type, amount, trigger_price, price=None, action=PositionAction.NIL, **more):
    return OrderParams(PAIR, amount, price, order_type, action, trigger_price=trigger_price, **more)


async def quoted(venue, maker, bid=63990, ask=64010, amount=0.5):
    """A book around 64000, and a mark there."""
    await resting(maker, maker.buy(limit(amount, bid)))
    await resting(maker, maker.sell(limit(amount, ask)))
    venue.set_price("BTC", "64000")


async def armed(connector, order_id):
    """The order, once its number at the venue is known."""
    order = await resting(connector, order_id)
    await until(lambda: order.exchange_order_id, what=lambda: (order, connector.heard.errors))
    return order


@TRANSPORTS
def test_a_stop_is_armed_then_triggered_then_filled_and_every_step_is_seen(transport):
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY, order_transport=transport) as taker:
            await quoted(venue, maker)
            order = await armed(taker, taker.buy(trigger(OrderType.STOP_MARKET, 0.01, 64500.0)))
            at_venue = venue_orders(venue, TAKER_KEY)[0]
            assert (at_venue.trigger.is_market, at_venue.waits) == (True, "trigger")
            venue.set_price("BTC", "64600")
            await ended(taker, order.client_order_id)
            assert (order.state, order.filled_amount, order.average_price) == (OrderState.FILLED, 0.01, 64010.0)
            names = taker.heard.names(order.client_order_id)
            assert names.count("created") == 1
            assert names[-2:] == ["filled", "completed"]
            assert taker.get_position(PAIR).amount == 0.01
            assert not taker.heard.errors

    run(scenario)


def test_a_stop_limit_rests_at_its_price_once_triggered_and_is_cancelled_like_any_other():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await quoted(venue, maker)
            order = await armed(taker, taker.sell(trigger(OrderType.STOP_LIMIT, 0.01, 63500.0, 63995.0)))
            venue.set_price("BTC", "63400")
            await until(lambda: venue_orders(venue, TAKER_KEY)[0].waits is None)
            await taker.resync()
            assert order.state is OrderState.OPEN
            taker.cancel(order.client_order_id)
            await ended(taker, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.CANCELLED, "canceled")
            assert order.filled_lots == 0

    run(scenario)


def test_an_armed_order_is_cancelled_before_its_number_is_known():
    async def scenario(venue):
        async with connected(venue, TAKER_KEY) as taker:
            venue.set_price("BTC", "64000")
            order_id = taker.sell(trigger(OrderType.STOP_MARKET, 0.01, 63500.0))
            order = taker.get_order(order_id)
            await until(lambda: order.is_acknowledged)
            taker.cancel(order_id)
            assert (await ended(taker, order_id)).state is OrderState.CANCELLED

    run(scenario)


@pytest.mark.parametrize(
    ("order_type", "side", "trigger_price"),
    [
        (OrderType.STOP_MARKET, "buy", 63000.0),
        (OrderType.STOP_LIMIT, "sell", 65000.0),
        (OrderType.TAKE_PROFIT_MARKET, "buy", 65000.0),
        (OrderType.TAKE_PROFIT_LIMIT, "sell", 63000.0),
    ],
)
def test_a_trigger_that_was_passed_already_is_refused_with_the_venues_reason(order_type, side, trigger_price):
    async def scenario(venue):
        async with connected(venue, TAKER_KEY) as taker:
            venue.set_price("BTC", "64000")
            price = trigger_price if order_type.has_price else None
            order = await ended(taker, getattr(taker, side)(trigger(order_type, 0.01, trigger_price, price)))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("badTriggerPxRejected: Invalid TP/SL price")

    run(scenario)


def test_a_take_profit_larger_than_the_position_ends_with_what_there_was_to_close():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await quoted(venue, maker)
            await ended(taker, taker.buy(limit(0.01, 64010)))
            exit_ = await armed(
                taker, taker.sell(trigger(OrderType.TAKE_PROFIT_MARKET, 0.05, 64500.0, None, PositionAction.CLOSE))
            )
            venue.set_price("BTC", "64600")
            await ended(taker, exit_.client_order_id)
            await until(lambda: exit_.filled_lots and not exit_.is_awaiting_fills)
            assert (exit_.state, exit_.filled_amount) == (OrderState.CANCELLED, 0.01)
            await until(lambda: (held := taker.get_position(PAIR)) and held.amount == 0.0)

    run(scenario)


def test_a_reduce_only_stop_ends_when_its_position_is_closed():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await quoted(venue, maker)
            await ended(taker, taker.buy(limit(0.01, 64010)))
            params = trigger(OrderType.STOP_LIMIT, 0.01, 63500.0, 63400.0, PositionAction.CLOSE)
            stop = await armed(taker, taker.sell(params))
            await ended(taker, taker.sell(limit(0.01, 63990)))
            venue.set_price("BTC", "63400")
            await ended(taker, stop.client_order_id)
            assert (stop.state, stop.reason) == (OrderState.CANCELLED, "reduceOnlyCanceled")

    run(scenario)


def test_armed_orders_are_adopted_as_what_they_are_after_a_restart_that_lost_everything():
    async def scenario(venue):
        venue.set_price("BTC", "64000")
        wanted = [
            ("sell", trigger(OrderType.STOP_MARKET, 0.01, 63500.0)),
            ("sell", trigger(OrderType.STOP_LIMIT, 0.02, 63400.0, 63300.0)),
            ("buy", trigger(OrderType.TAKE_PROFIT_LIMIT, 0.03, 63200.0, 63250.0)),
            ("buy", trigger(OrderType.TAKE_PROFIT_MARKET, 0.04, 63100.0)),
            ("buy", limit(0.05, 60000, order_type=OrderType.LIMIT_MAKER)),
        ]
        async with connected(venue) as before:
            placed = [await armed(before, getattr(before, side)(params)) for side, params in wanted]
        async with connected(venue) as after:
            for order in placed:
                adopted = after.get_order(order.client_order_id)
                for name in ("order_type", "trigger_units", "amount_lots", "trade_type", "exchange_order_id", "state"):
                    assert getattr(adopted, name) == getattr(order, name), (name, adopted)
                if order.order_type.has_price:
                    assert adopted.price_units == order.price_units
            assert after.cancel_all() == len(placed)
            await until(lambda: not venue_orders(venue))

    run(scenario)


def test_a_lost_answer_to_a_trigger_order_is_found_out_by_its_client_id():
    async def scenario(venue):
        async with connected(venue, MAKER_KEY) as connector:
            venue.set_price("BTC", "64000")
            venue.faults.order("drop_next_reply", 1)
            order = await armed(connector, connector.sell(trigger(OrderType.STOP_MARKET, 0.01, 63500.0)))
            theirs = venue_orders(venue)
            assert [decode_cloid(row.cloid).order_id for row in theirs] == [order.id64]
            assert order.exchange_order_id == str(theirs[0].oid)

    run(scenario)


def test_fast_cancels_leave_those_of_trigger_orders_apart_and_all_arrive(monkeypatch):
    async def scenario(venue):
        async with connected(venue, fast_cancels=True) as connector:
            venue.set_price("BTC", "64000")
            seen = []
            cancel = venue.exchange._handlers[CancelByCloid]
            monkeypatch.setitem(
                venue.exchange._handlers,
                CancelByCloid,
                lambda account, action: seen.append((action.f is True, len(action.cancels))) or cancel(account, action),
            )
            orders = [await armed(connector, connector.buy(limit(0.01, 60000 + number))) for number in range(3)]
            for number in range(2):
                stop = trigger(OrderType.STOP_MARKET, 0.01, 63000.0 - number)
                orders.append(await armed(connector, connector.sell(stop)))
            assert connector.cancel_all() == 5
            for order in orders:
                assert (await ended(connector, order.client_order_id)).state is OrderState.CANCELLED
            assert seen == [(True, 3), (False, 2)]

    run(scenario)
