"""Placing, filling, cancelling, refusing: what every order must come to when nothing goes wrong."""

from __future__ import annotations

from latentspeed.connectors import OrderState, OrderType, PositionAction, TimeInForce
from latentspeed.tools.conformance.case import Case
from latentspeed.tools.conformance.harness import Ability
from latentspeed.tools.conformance.needs import needs

UNFILLED_END = (OrderState.EXPIRED, OrderState.CANCELLED, OrderState.FAILED)


class OrderCases:
    """Orders without trouble."""

    async def test_a_limit_order_rests_and_is_cancelled(self, case: Case) -> None:
        """From nothing to the book and away again."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        assert order.exchange_order_id
        (at_venue,) = await case.open_orders(maker)
        assert at_venue.client_order_id == order.client_order_id
        assert at_venue.exchange_order_id == order.exchange_order_id
        assert maker.cancel(order)
        assert (await maker.ended(order)).state is OrderState.CANCELLED
        assert await case.open_orders(maker) == []
        await case.agree(maker)

    async def test_an_order_is_visible_before_anything_was_sent(self, case: Case) -> None:
        """The id comes at once and names an order that is not yet known to the venue."""
        maker = await case.join("maker")
        order = maker.buy()
        assert order.state in (OrderState.PENDING_CREATE, OrderState.PENDING_SUBMIT)
        assert order.client_order_id.startswith("LS")
        assert order in maker.connector.get_open_orders(maker.pair)
        exchange_order_id = order.get_exchange_order_id()
        await maker.resting(order)
        assert await exchange_order_id == order.exchange_order_id

    async def test_a_taking_order_is_filled_on_both_sides(self, case: Case) -> None:
        """One trade, two fills, the same price and amount, a taker and a maker."""
        maker, taker = await case.maker_and_taker()
        sell = await maker.resting(maker.sell(at=0.0))
        buy = await taker.ended(taker.buy(at=0.0))
        await maker.ended(sell)
        assert (buy.state, sell.state) == (OrderState.FILLED, OrderState.FILLED)
        assert buy.filled_lots == sell.filled_lots == buy.amount_lots
        assert buy.average_price == sell.average_price == maker.at(0.0)
        assert [fill.is_taker for fill in taker.fills_of(buy)] == [True]
        assert [fill.is_taker for fill in maker.fills_of(sell)] == [False]
        await case.agree(maker)
        await case.agree(taker)

    async def test_an_order_fills_in_parts_and_the_rest_rests(self, case: Case) -> None:
        """Partly filled by what is there, filled by what comes."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        buy = await taker.until_state(taker.buy(3, at=0.0), OrderState.PARTIALLY_FILLED)
        await taker.until(lambda: len(taker.fills_of(buy)) == 1, "the first fill")
        maker.sell(2, at=0.0)
        await taker.ended(buy)
        assert (buy.state, buy.filled_lots, buy.fill_count) == (OrderState.FILLED, buy.amount_lots, 2)
        await case.agree(maker)
        await case.agree(taker)

    async def test_a_partly_filled_order_is_cancelled_and_keeps_its_fills(self, case: Case) -> None:
        """What was traded stays, what was not is gone."""
        maker, taker = await case.maker_and_taker()
        sell = await maker.resting(maker.sell(3, at=0.0))
        await taker.ended(taker.buy(at=0.0))
        await maker.until_state(sell, OrderState.PARTIALLY_FILLED)
        maker.cancel(sell)
        await maker.ended(sell)
        assert (sell.state, sell.filled_lots) == (OrderState.CANCELLED, sell.amount_lots // 3)
        assert await case.open_orders(maker) == []
        await case.agree(maker)

    @needs(Ability.IOC)
    async def test_an_immediate_order_takes_what_is_there_and_nothing_else(self, case: Case) -> None:
        """Its remainder never rests."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        buy = await taker.ended(taker.buy(3, at=0.0, time_in_force=TimeInForce.IOC))
        assert (buy.state, buy.filled_lots) == (OrderState.CANCELLED, buy.amount_lots // 3)
        assert await case.open_orders(taker) == []
        await case.agree(taker)

    @needs(Ability.IOC)
    async def test_an_immediate_order_that_meets_nobody_ends_unfilled(self, case: Case) -> None:
        """It ends with a reason, and without a fill."""
        taker = await case.join("taker")
        buy = await taker.ended(taker.buy(time_in_force=TimeInForce.IOC))
        assert buy.state in UNFILLED_END
        assert buy.reason
        assert buy.filled_lots == 0
        await case.agree(taker)

    @needs(Ability.LIMIT_MAKER)
    async def test_a_post_only_order_rests_or_fails_and_never_takes(self, case: Case) -> None:
        """One that would trade is refused, with the reason."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0, order_type=OrderType.LIMIT_MAKER))
        crossing = await taker.ended(taker.buy(at=0.001, order_type=OrderType.LIMIT_MAKER))
        assert (crossing.state, crossing.filled_lots) == (OrderState.FAILED, 0)
        assert crossing.reason
        await case.agree(taker)

    @needs(Ability.MARKET)
    async def test_a_market_order_takes_the_best_price(self, case: Case) -> None:
        """It pays what stands in the book."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        await taker.until(lambda: getattr(taker.connector.get_quote(taker.pair), "ask", 0) > 0, "a quote")
        buy = await taker.ended(taker.buy(at=None, order_type=OrderType.MARKET))
        assert (buy.state, buy.average_price) == (OrderState.FILLED, maker.at(0.0))
        await case.agree(taker)

    @needs(Ability.MARKET)
    async def test_a_market_order_never_pays_a_price_far_beyond_the_touch(self, case: Case) -> None:
        """What lies a quarter away from the touch is left alone."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        far = await maker.resting(maker.sell(at=0.25))
        await taker.until(lambda: getattr(taker.connector.get_quote(taker.pair), "ask", 0) > 0, "a quote")
        buy = await taker.ended(taker.buy(2, at=None, order_type=OrderType.MARKET))
        assert buy.is_done
        assert buy.filled_lots == buy.amount_lots // 2
        assert far.filled_lots == 0
        await case.agree(taker)

    @needs(Ability.REDUCE_ONLY)
    async def test_a_reduce_only_order_without_a_position_ends_unfilled(self, case: Case) -> None:
        """It may not open a position."""
        maker, taker = await case.maker_and_taker()
        await maker.resting(maker.sell(at=0.0))
        buy = taker.buy(at=0.0, position_action=PositionAction.CLOSE, time_in_force=TimeInForce.IOC)
        await taker.ended(buy)
        assert buy.state in UNFILLED_END
        assert buy.filled_lots == 0
        await case.agree(taker)

    async def test_an_order_beyond_the_accounts_means_fails_with_the_reason(self, case: Case) -> None:
        """Or rests, where a venue checks only when it trades; it is never lost."""
        maker, taker = await case.maker_and_taker()
        sizes = 1_000_000
        buy = taker.buy(sizes, at=-0.01)
        await taker.until(lambda: buy.is_done or buy.state is OrderState.OPEN, buy)
        if buy.is_done:
            assert (buy.state, buy.filled_lots) == (OrderState.FAILED, 0)
            assert buy.reason
        await taker.at_rest()
        await maker.resting(maker.buy())
        await case.agree(taker)

    async def test_a_cancel_of_nothing_is_refused_here(self, case: Case) -> None:
        """Neither an unknown id nor a finished order makes a request."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        assert not maker.connector.cancel("LS00000000000000ff")
        maker.cancel(order)
        await maker.ended(order)
        assert not maker.cancel(order)
        assert maker.connector.cancel_all() == 0

    async def test_cancelling_again_and_again_cancels_once(self, case: Case) -> None:
        """One end, one event."""
        maker = await case.join("maker")
        order = await maker.resting(maker.buy())
        for _ in range(5):
            maker.cancel(order)
        await maker.ended(order)
        assert maker.names(order).count("cancelled") == 1
        await case.agree(maker)

    async def test_a_cancel_right_after_the_order_leaves_nothing_open(self, case: Case) -> None:
        """Whether the cancel overtakes the order, meets it, or comes after."""
        maker = await case.join("maker")
        orders = [maker.buy() for _ in range(5)]
        for order in orders:
            maker.cancel(order)
        for order in orders:
            assert (await maker.ended(order)).state in (OrderState.CANCELLED, OrderState.FAILED)
        assert await case.open_orders(maker) == []
        await case.agree(maker)

    async def test_a_cancel_that_races_a_fill_tells_what_happened(self, case: Case) -> None:
        """Filled or cancelled: the venue decides, and both sides agree."""
        maker, taker = await case.maker_and_taker()
        for _ in range(3):
            sell = await maker.resting(maker.sell(at=0.0))
            buy = taker.buy(at=0.0)
            maker.cancel(sell)
            await maker.ended(sell)
            await taker.until(lambda buy=buy: buy.is_done or buy.state is OrderState.OPEN, buy)  # type: ignore[misc]
            await taker.at_rest()
            assert sell.filled_lots == buy.filled_lots
        await case.agree(maker)
        await case.agree(taker)

    async def test_many_orders_at_once_are_each_placed_once(self, case: Case) -> None:
        """A burst is neither lost nor doubled."""
        maker = await case.join("maker")
        orders = [maker.buy(at=-0.01 - 0.001 * index) for index in range(20)]
        for order in orders:
            await maker.resting(order)
        assert len({order.exchange_order_id for order in orders}) == 20
        assert {order.client_order_id for order in await case.open_orders(maker)} == {
            order.client_order_id for order in orders
        }
        assert maker.connector.cancel_all() == 20
        for order in orders:
            await maker.ended(order)
        await case.agree(maker)

    @needs(Ability.STOP_MARKET)
    async def test_a_stop_order_waits_and_is_cancelled(self, case: Case) -> None:
        """A price that is not reached triggers nothing."""
        maker = await case.join("maker")
        trigger = maker.at(0.1)
        stop = await maker.resting(maker.buy(at=None, order_type=OrderType.STOP_MARKET, trigger_price=trigger))
        maker.cancel(stop)
        assert (await maker.ended(stop)).state is OrderState.CANCELLED
        await case.agree(maker)

    @needs(Ability.STOP_LIMIT, Ability.MOVE_PRICE)
    async def test_a_stop_order_is_triggered_by_the_price(self, case: Case) -> None:
        """It rests where its limit says and fills there."""
        maker, taker = await case.maker_and_taker()
        await taker.resting(taker.sell(at=0.05))
        stop = maker.buy(at=0.05, order_type=OrderType.STOP_LIMIT, trigger_price=maker.at(0.02))
        await maker.resting(stop)
        assert stop.filled_lots == 0
        await case.harness.move_price(maker.pair, maker.at(0.03))
        assert (await maker.ended(stop)).state is OrderState.FILLED
        await case.agree(maker)
