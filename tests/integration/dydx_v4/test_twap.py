"""TWAP orders, which the chain itself slices: an order like others, that ends with its slices."""

from __future__ import annotations

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, new_connector, quote, run, until

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, OrderType, PositionAction, TradeType
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.connectors.dydx_v4.identifiers import order_uuid
from latentspeed.connectors.restored_order import restore_order

HALF_MINUTES = {"minutes": 5, "interval_s": 30}
LOW = {**HALF_MINUTES, "price_tolerance": 0.0}
"""Slices at the oracle price: the outside market asks for more, so that none is filled."""


def twap(amount=0.01, **extra):
    return OrderParams(PAIR, amount, order_type=OrderType.TWAP, extra_params={**HALF_MINUTES, **extra})


def parents(venue):
    return [order for order in venue.chain.stateful.values() if order.key.flags == 128]


async def opened(connector, order_id):
    order = connector.get_order(order_id)
    await until(lambda: order.state in (OrderState.OPEN, OrderState.PARTIALLY_FILLED))
    return order


async def pass_time(venue, seconds=30):
    """Lets the chain's clock go on, and the blocks come that make a slice and match it."""
    quote(venue)
    await venue.control("advance_clock", ms=seconds * 1000)
    await venue.control("make_block", count=3)


def test_a_twap_is_filled_slice_by_slice_and_each_fill_is_told_once():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await opened(connector, connector.place_twap(TradeType.BUY, PAIR, 0.01, 5))
            (standing,) = parents(venue)
            assert order.exchange_order_id == order_uuid(MAKER_KEY.address, 0, client_id_of(order.id64), 0, 128)
            terms = standing.fields["twap_parameters"]
            assert terms == {"duration": 300, "interval": 60, "price_tolerance": 50_000}
            for count in range(1, 6):
                await until(lambda wanted=count: len(connector.heard.trades) == wanted, timeout_s=20.0)
                assert order.filled_amount == pytest.approx(0.002 * count)
                await pass_time(venue, 60)
            await ended(connector, order.client_order_id)
            assert (order.state, order.fill_count, order.average_price) == (OrderState.FILLED, 5, 64_010.0)
            await connector.resync()
            assert len(connector.heard.trades) == 5
            assert all(trade.client_order_id == order.client_order_id for _, trade in connector.heard.trades)
            assert connector.get_position(PAIR).amount == 0.01
            assert not connector.foreign_orders

    run(scenario, timeout_s=90.0)


def test_a_twap_whose_slices_are_over_with_a_rest_is_expired_by_a_later_block_and_not_before():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await opened(connector, connector.buy(twap(price_tolerance=0.0)))
            for _ in range(11):
                await pass_time(venue)
            assert not parents(venue), "the chain is through with it, and has told nobody"
            assert not order.is_done
            await pass_time(venue, 120)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason, order.filled_amount) == (OrderState.EXPIRED, "EXPIRED", 0.0)

    run(scenario, timeout_s=90.0)


def test_a_twap_is_cancelled_like_any_other_order_and_keeps_what_it_has_traded():
    async def scenario(venue):
        async with connected(venue) as connector:
            order = await opened(connector, connector.buy(twap()))
            await until(lambda: order.filled_amount == 0.001)
            assert connector.cancel(order.client_order_id)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.CANCELLED, "USER_CANCELED")
            assert not parents(venue)
            await pass_time(venue)
            assert connector.get_position(PAIR).amount == 0.001

    run(scenario)


def test_a_twap_of_an_earlier_process_goes_on_in_the_next():
    async def scenario(venue):
        async with connected(venue) as first:
            order = await opened(first, first.buy(twap()))
            await until(lambda: order.filled_amount == 0.001)
        again = restore_order(
            order.client_order_id,
            order.rule,
            order.trade_type,
            order.order_type,
            order.amount_lots,
            state=OrderState.PARTIALLY_FILLED,
            exchange_order_id=order.exchange_order_id,
            filled_lots=order.filled_lots,
            notional_units=order.notional_units,
            fill_count=order.fill_count,
            trade_ids=order.trade_ids,
            nonce=order.nonce,
            venue_expiry_ms=order.venue_expiry_ms,
        )
        await pass_time(venue)
        second = new_connector(venue)
        second.recover_orders([again], known_trade_ids=order.trade_ids, fills_since_utc_ns=1)
        await second.connect()
        try:
            await until(lambda: again.filled_amount == pytest.approx(0.002), timeout_s=20.0)
            assert len(second.heard.trades) == 1
            assert second.cancel(again.client_order_id)
            assert (await ended(second, again.client_order_id)).state is OrderState.CANCELLED
            assert not parents(venue)
        finally:
            await second.disconnect()

    run(scenario, timeout_s=60.0)


def test_what_the_chain_does_not_slice_is_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            wrong = [
                (twap(minutes=4), "5 to 1440"),
                (twap(interval_s=29), "30 to 3600 seconds"),
                (twap(interval_s=40), "divide 5 minutes"),
                (twap(randomize=True), "even intervals"),
                (twap(price_tolerance=1.0), "a fraction"),
                (twap(0.0009), "10 slices of less than a lot"),
                (twap(good_til_s=60), "over with its minutes"),
                (twap(slippage=0.01), "only a market order"),
                (OrderParams(PAIR, 0.01, 64_000, extra_params={"interval_s": 60}), "only a TWAP order"),
            ]
            for params, text in wrong:
                with pytest.raises(OrderRefused, match=text):
                    connector.buy(params)
            with pytest.raises(OrderRefused, match="reduce-only"):
                connector.place_twap(TradeType.SELL, PAIR, 0.01, 5, position_action=PositionAction.CLOSE)
            assert connector._outbox.transactions == 0

    run(scenario)


def test_a_twap_that_the_chain_refuses_is_failed():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("refuse", codespace="clob", code=49)
            order = await ended(connector, connector.buy(twap()))
            assert order.state is OrderState.FAILED
            assert order.reason.startswith("clob_49")

    run(scenario)
