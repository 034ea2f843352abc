"""An entry with its exits, and exits of a position, on the local venue: sent as one, each an order of its own."""

from __future__ import annotations

import pytest
from connected import PAIR, TAKER_KEY, connected, ended, limit, market, resting, run, until, venue_orders

from latentspeed.connectors import (
    ExitParams,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TradeType,
)

TAKE, STOP = ExitParams(65_000.0), ExitParams(63_000.0)


async def quoted(venue, maker, bid=63990, ask=64010, amount=0.5):
    await resting(maker, maker.buy(limit(amount, bid)))
    await resting(maker, maker.sell(limit(amount, ask)))
    venue.set_price("BTC", "64000")


def bracket(connector, entry=None, take_profit=TAKE, stop_loss=STOP, side=TradeType.BUY):
    ids = connector.place_bracket(side, entry or limit(0.02, 64010), take_profit=take_profit, stop_loss=stop_loss)
    return [connector.get_order(name) for name in ids]


async def named(connector, *orders):
    """Waits until each order is live with its number at the venue known."""
    await until(
        lambda: all(order.exchange_order_id and order.state is OrderState.OPEN for order in orders),
        what=lambda: (orders, connector.heard.errors),
    )


@pytest.mark.parametrize("transport", ["http", "ws"])
def test_the_exits_of_a_filled_entry_are_armed_and_one_that_fills_ends_the_other(transport):
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY, order_transport=transport) as trader:
            await quoted(venue, maker)
            requests = trader._outbox.requests
            entry, take, stop = bracket(trader)
            assert [order.state for order in (entry, take, stop)] == [OrderState.PENDING_CREATE] * 3
            assert (await ended(trader, entry.client_order_id)).state is OrderState.FILLED
            await named(trader, take, stop)
            assert trader._outbox.requests == requests + 1
            assert (take.parent, stop.parent) == (entry.client_order_id,) * 2
            await resting(maker, maker.buy(limit(0.5, 65050)))
            venue.set_price("BTC", "65100")
            assert (await ended(trader, take.client_order_id)).state is OrderState.FILLED
            await ended(trader, stop.client_order_id)
            assert (stop.state, stop.reason) == (OrderState.CANCELLED, "siblingFilledCanceled")
            await until(lambda: (held := trader.get_position(PAIR)) and held.amount == 0.0)
            assert not trader.heard.errors

    run(scenario)


def test_exits_wait_for_their_entry_and_follow_it_when_it_is_cancelled():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            entry, take, stop = bracket(trader, limit(0.02, 63500))
            await named(trader, entry, take, stop)
            assert {order.waits for order in venue_orders(venue, TAKER_KEY)} == {None, "fill"}
            await trader.resync()
            assert [order.state for order in (entry, take, stop)] == [OrderState.OPEN] * 3
            trader.cancel(entry.client_order_id)
            for order in (entry, take, stop):
                assert (await ended(trader, order.client_order_id)).state is OrderState.CANCELLED
            assert venue_orders(venue, TAKER_KEY) == []

    run(scenario)


def test_an_entry_that_fills_in_part_and_is_cancelled_takes_its_exits_with_it():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            entry, take, stop = bracket(trader, limit(0.02, 63995))
            await named(trader, entry, take, stop)
            await ended(maker, maker.sell(limit(0.005, 63995)))
            await until(lambda: entry.filled_amount == 0.005)
            assert [order.state for order in (take, stop)] == [OrderState.OPEN] * 2
            trader.cancel(entry.client_order_id)
            for order in (entry, take, stop):
                assert (await ended(trader, order.client_order_id)).state is OrderState.CANCELLED
            assert entry.filled_amount == 0.005
            assert (take.filled_lots, stop.filled_lots) == (0, 0)

    run(scenario)


def test_exits_of_an_ioc_entry_that_fills_in_part_close_what_was_filled():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker, amount=0.01)
            entry, take, stop = bracket(trader, OrderParams(PAIR, 0.02, order_type=OrderType.MARKET))
            await ended(trader, entry.client_order_id)
            assert (entry.state, entry.filled_amount) == (OrderState.CANCELLED, 0.01)
            await named(trader, take, stop)
            await resting(maker, maker.buy(limit(0.5, 62900)))
            venue.set_price("BTC", "62950")
            await ended(trader, stop.client_order_id)
            await until(lambda: stop.filled_amount == 0.01)
            assert (stop.state, stop.amount) == (OrderState.CANCELLED, 0.02), (
                "closed what there was, not what was asked"
            )
            await ended(trader, take.client_order_id)
            await until(lambda: (held := trader.get_position(PAIR)) and held.amount == 0.0)

    run(scenario)


def test_a_refused_entry_takes_its_exits_with_it():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            entry = limit(0.02, 64010, order_type=OrderType.LIMIT_MAKER)
            orders = bracket(trader, entry)
            for order in orders:
                await ended(trader, order.client_order_id)
            assert orders[0].state is OrderState.FAILED
            assert orders[0].reason.startswith("badAloPxRejected")
            assert all(order.state in (OrderState.FAILED, OrderState.CANCELLED) for order in orders[1:])
            assert venue_orders(venue, TAKER_KEY) == []

    run(scenario)


def test_a_lost_answer_to_a_bracket_is_found_out_for_each_of_its_orders():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            venue.faults.order("drop_next_reply", 1)
            entry, take, stop = bracket(trader)
            assert (await ended(trader, entry.client_order_id)).state is OrderState.FILLED
            await named(trader, take, stop)
            assert len(venue_orders(venue, TAKER_KEY)) == 2

    run(scenario)


def test_exits_follow_the_size_of_a_position_that_grows_after_they_were_placed():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            await ended(trader, trader.buy(limit(0.01, 64010)))
            await until(lambda: (held := trader.get_position(PAIR)) and held.amount == 0.01)
            ids = trader.protect_position(PAIR, take_profit=TAKE, stop_loss=STOP)
            take, stop = trader.get_order(ids.take_profit), trader.get_order(ids.stop_loss)
            await named(trader, take, stop)
            assert ids.entry == ""
            assert (take.amount, take.has_open_size) == (0.01, True)
            await ended(trader, trader.buy(limit(0.03, 64010)))
            for price in (65050, 65040, 65030):
                await resting(maker, maker.buy(limit(0.015, price)))
            venue.set_price("BTC", "65100")
            await ended(trader, take.client_order_id)
            assert (take.state, take.filled_amount, take.amount, take.fill_count) == (OrderState.FILLED, 0.04, 0.04, 3)
            assert trader.heard.names(take.client_order_id)[-1] == "completed"
            await ended(trader, stop.client_order_id)
            assert (stop.state, stop.reason) == (OrderState.CANCELLED, "siblingFilledCanceled")
            assert "overfilled" not in [code for code, _ in trader.heard.errors]

    run(scenario)


def test_brackets_and_position_exits_are_adopted_after_a_restart_that_lost_everything():
    async def scenario(venue):
        async with connected(venue) as maker:
            await quoted(venue, maker)
            async with connected(venue, TAKER_KEY) as before:
                waiting = bracket(before, limit(0.02, 63500))
                await named(before, *waiting)
                await ended(before, before.buy(limit(0.01, 64010)))
                await until(lambda: (held := before.get_position(PAIR)) and held.amount == 0.01)
                ids = before.protect_position(PAIR, stop_loss=ExitParams(63_000.0, 62_900.0))
                await named(before, before.get_order(ids.stop_loss))
            async with connected(venue, TAKER_KEY) as after:
                for order in waiting:
                    adopted = after.get_order(order.client_order_id)
                    assert (adopted.order_type, adopted.trigger_units) == (order.order_type, order.trigger_units)
                    assert adopted.position_action in (order.position_action, PositionAction.NIL)
                stop = after.get_order(ids.stop_loss)
                assert (stop.order_type, stop.has_open_size, stop.price) == (OrderType.STOP_LIMIT, True, 62_900.0)
                after.cancel_all()
                await until(lambda: not venue_orders(venue, TAKER_KEY), what=lambda: after.heard.errors)

    run(scenario)


def test_leverage_of_the_entry_is_set_before_the_bracket_leaves():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            entry, take, stop = bracket(trader, limit(0.02, 64010, leverage=7))
            assert (await ended(trader, entry.client_order_id)).state is OrderState.FILLED
            await named(trader, take, stop)
            assert trader.get_leverage(PAIR) == 7
            entry, take, stop = bracket(trader, limit(0.02, 63500, leverage=7))
            trader.cancel(entry.client_order_id)
            for order in (entry, take, stop):
                await ended(trader, order.client_order_id)
            assert (entry.state, take.state) == (OrderState.CANCELLED, OrderState.FAILED)
            assert take.reason.startswith("never_sent")

    run(scenario)


def test_what_no_bracket_can_be_is_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue, TAKER_KEY) as trader:
            with pytest.raises(OrderRefused, match="no position"):
                trader.protect_position(PAIR, stop_loss=STOP)
            with pytest.raises(OrderRefused, match="no quote"):
                bracket(trader, market(0.01))
            with pytest.raises(OrderRefused, match="below"):
                bracket(trader, stop_loss=ExitParams(64_500.0))
            assert trader.get_open_orders() == []

    run(scenario)
