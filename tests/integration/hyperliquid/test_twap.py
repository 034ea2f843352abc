"""TWAP orders on the local venue: sliced, counted, ended, and never sent twice."""

from __future__ import annotations

import time

import pytest
from connected import PAIR, TAKER_KEY, connected, ended, limit, market, resting, run, until

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, OrderType, PositionAction, TradeType
from latentspeed.connectors.transport import TransportError

SLICE_MS = 30_000


async def quoted(venue, maker):
    await resting(maker, maker.buy(limit(2.0, 63990)))
    await resting(maker, maker.sell(limit(2.0, 64010)))
    venue.set_price("BTC", "64000")


async def slices(venue, twap, count):
    """Lets so many slices be traded, one after the other."""
    for _ in range(count):
        before = twap.fill_count
        venue.clock.advance(SLICE_MS)
        await until(lambda before=before: twap.fill_count > before or twap.is_done, what=twap)


async def started(trader, *terms, **more):
    """A TWAP that the venue has begun to slice."""
    twap = trader.get_order(trader.place_twap(*terms, **more))
    await until(lambda: twap.exchange_order_id is not None, what=lambda: (twap, trader.heard.errors))
    return twap


@pytest.mark.parametrize("transport", ["http", "ws"])
def test_a_twap_is_an_order_that_is_filled_slice_by_slice_each_fill_once(transport):
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY, order_transport=transport) as trader:
            await quoted(venue, maker)
            twap = await started(trader, TradeType.BUY, PAIR, 0.1, 5)
            assert twap.exchange_order_id.startswith("twap77")
            await until(lambda: twap.state is OrderState.PARTIALLY_FILLED, what=twap)
            assert trader.get_open_orders() == [twap]
            await slices(venue, twap, 9)
            await until(lambda: twap.state is OrderState.FILLED, what=twap)
            assert (twap.filled_amount, twap.average_price, twap.fill_count) == (0.1, 64010.0, 10)
            assert twap.fee_units == sum(trade.fee_units for _, trade in trader.heard.trades) > 0
            await until(lambda: (held := trader.get_position(PAIR)) and held.amount == 0.1)
            assert [order for order, _ in trader.heard.trades] == [twap] * 10
            await trader.resync()
            assert len(trader.heard.trades) == 10
            assert not trader.heard.errors

    run(scenario)


def test_a_cancelled_twap_sends_no_further_slice_and_keeps_what_it_traded():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            twap = await started(trader, TradeType.SELL, PAIR, 0.1, 5, randomize=True)
            (row,) = venue.account(TAKER_KEY.address).twaps.values()
            assert (row.randomize, row.minutes, row.is_buy) == (True, 5, False)
            await until(lambda: twap.fill_count == 1)
            assert trader.cancel(twap.client_order_id)
            await until(lambda: twap.state is OrderState.CANCELLED, what=twap)
            assert venue.account(TAKER_KEY.address).twaps == {}
            assert not trader.cancel(twap.client_order_id)
            venue.clock.advance(2 * SLICE_MS)
            await trader.resync()
            assert (twap.filled_amount, twap.average_price) == (0.01, 63990.0)
            assert not trader.heard.errors

    run(scenario)


def test_a_twap_that_ends_at_the_venue_before_it_is_filled_is_cancelled_with_the_venues_word():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            by_hand = await started(trader, TradeType.BUY, PAIR, 0.1, 5)
            delisted = await started(trader, TradeType.BUY, PAIR, 0.2, 5)
            await until(lambda: by_hand.fill_count == delisted.fill_count == 1)
            number = int(by_hand.exchange_order_id.removeprefix("twap"))
            await trader._outbox.act({"type": "twapCancel", "a": by_hand.rule.asset_id, "t": number})
            await until(lambda: by_hand.state is OrderState.CANCELLED, what=by_hand)
            assert by_hand.reason == "terminated"
            venue.interventions.delist_market("BTC")
            venue.clock.advance(SLICE_MS)
            await until(lambda: delisted.state is OrderState.CANCELLED, what=delisted)
            assert delisted.reason.startswith("error") or delisted.reason == "terminated"
            assert delisted.fill_count == 1

    run(scenario)


def test_a_twap_that_finds_nobody_to_trade_with_ends_cancelled_finished_short_of_its_amount():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await resting(maker, maker.sell(limit(0.015, 64010)))
            await resting(maker, maker.buy(limit(1.0, 63990)))
            venue.set_price("BTC", "64000")
            twap = await started(trader, TradeType.BUY, PAIR, 0.1, 5)
            for _ in range(12):
                venue.clock.advance(SLICE_MS)
            await until(lambda: twap.is_done, what=twap)
            assert (twap.state, twap.reason, twap.filled_amount) == (OrderState.CANCELLED, "finished", 0.015)
            assert trader._tracker.orders_awaiting_fills == []

    run(scenario)


@pytest.mark.parametrize(
    ("amount", "minutes", "more", "text"),
    [
        (0.001, 30, {}, "TWAP order value too small"),
        (1.0, 1, {}, "Invalid TWAP duration"),
        (1.0, 5, {"position_action": PositionAction.CLOSE}, "Reduce-only TWAP order would increase position"),
    ],
)
def test_what_the_venue_refuses_fails_with_its_text(amount, minutes, more, text):
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            twap = await ended(trader, trader.place_twap(TradeType.BUY, PAIR, amount, minutes, **more))
            assert (twap.state, twap.exchange_order_id) == (OrderState.FAILED, None)
            assert text in twap.reason

    run(scenario)


def test_what_no_twap_can_be_is_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue) as trader:
            requests = trader._outbox.requests
            for amount, minutes, field in [
                (0.0, 5, "amount"),
                (0.000001, 5, "amount"),
                (0.1, 0, "minutes"),
                (0.1, True, "minutes"),
                (0.1, 2.5, "minutes"),
            ]:
                with pytest.raises(OrderRefused, match=field):
                    trader.place_twap(TradeType.BUY, PAIR, amount, minutes)
            with pytest.raises(OrderRefused, match="randomize"):
                trader.place_twap(TradeType.BUY, PAIR, 0.1, 5, randomize="yes")
            with pytest.raises(OrderRefused, match="only a TWAP order"):
                trader.buy(market(0.1, extra_params={"minutes": 5}))
            extra = {"minutes": 5, "slippage": 0.01}
            with pytest.raises(OrderRefused, match="slippage"):
                trader.buy(OrderParams(PAIR, 0.1, order_type=OrderType.TWAP, extra_params=extra))
            twap = await started(trader, TradeType.BUY, PAIR, 0.1, 5)
            with pytest.raises(OrderRefused, match="can be modified"):
                trader.modify(twap.client_order_id, amount=0.2)
            assert trader._outbox.requests == requests + 1

    run(scenario, prices={"BTC": "64000"})


def test_a_twap_whose_answer_was_lost_is_found_with_its_fills_and_not_sent_again():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            other = await started(trader, TradeType.BUY, PAIR, 0.1, 5)
            venue.faults.order("drop_next_reply", 1)
            twap = await started(trader, TradeType.BUY, PAIR, 0.1, 5)
            assert len(venue.account(TAKER_KEY.address).twaps) == 2
            numbers = [int(order.exchange_order_id.removeprefix("twap")) for order in (other, twap)]
            assert numbers[1] == numbers[0] + 1
            await until(lambda: twap.fill_count == other.fill_count == 1, what=(twap, other))

    run(scenario)


def test_a_twap_that_is_cancelled_before_its_number_is_known_is_cancelled_once_it_is():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            venue.faults.order("drop_next_reply", 1)
            twap = trader.get_order(trader.place_twap(TradeType.BUY, PAIR, 0.1, 5))
            await until(lambda: twap.is_submitted)
            assert trader.cancel(twap.client_order_id)
            await until(lambda: twap.state is OrderState.CANCELLED, timeout_s=60.0, what=twap)
            assert venue.account(TAKER_KEY.address).twaps == {}

    run(scenario)


def test_a_twap_that_is_cancelled_before_it_is_signed_is_never_sent():
    async def scenario(venue):
        async with connected(venue) as trader:
            twap = trader.get_order(trader.place_twap(TradeType.BUY, PAIR, 0.1, 5))
            trader.cancel(twap.client_order_id)
            await until(lambda: twap.is_done, what=twap)
            assert (twap.state, twap.reason) == (OrderState.CANCELLED, "never_sent")
            assert venue.account(trader.account_address).twap_history == []

    run(scenario, prices={"BTC": "64000"})


def test_a_twap_that_never_arrived_fails_once_the_venue_cannot_take_it_any_more():
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=300, expiry_margin_ms=100) as trader:
            venue.faults.order("http_500_burst", 1, path="/exchange")
            twap = await ended(trader, trader.place_twap(TradeType.BUY, PAIR, 0.1, 5))
            assert (twap.state, twap.reason) == (OrderState.FAILED, "never_accepted")
            assert venue.account(trader.account_address).twap_history == []

    run(scenario, prices={"BTC": "64000"})


def test_a_twap_of_unknown_fate_is_asked_about_ever_more_slowly_while_nobody_answers():
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=60_000, reconcile_every_s=0, stale_after_s=0) as trader:
            asked = []
            info = trader._rest.info

            async def noted(request, weight, **more):
                if request["type"] == "twapHistory":
                    asked.append(time.monotonic())
                    raise TransportError("nobody answers")
                return await info(request, weight, **more)

            trader._rest.info = noted
            venue.faults.order("http_500_burst", 1, path="/exchange")
            trader.place_twap(TradeType.BUY, PAIR, 0.1, 5)
            await until(lambda: len(asked) == 6)
            # Housekeeping looks at it every second; a gap is never shorter than asked for, however slow the machine.
            assert asked[5] - asked[4] > 1.5

    run(scenario, prices={"BTC": "64000"})


def test_a_twap_goes_on_through_a_lost_connection_and_its_fills_of_that_time_are_counted():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            twap = await started(trader, TradeType.BUY, PAIR, 0.1, 5)
            await until(lambda: twap.fill_count == 1)
            opened = trader._streams.link.opened
            venue.drop_sockets()
            venue.clock.advance(SLICE_MS)
            await until(lambda: trader._streams.link.opened > opened and trader.is_ready)
            await until(lambda: twap.fill_count == 2)
            await slices(venue, twap, 8)
            await until(lambda: twap.state is OrderState.FILLED, what=twap)
            assert (twap.filled_amount, twap.fill_count) == (0.1, 10)

    run(scenario)


def test_a_twap_of_somebody_else_on_the_account_moves_the_position_and_is_nobodys_order():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            terms = {"a": 0, "b": True, "s": "0.1", "r": False, "m": 5, "t": False}
            await trader._outbox.act({"type": "twapOrder", "twap": terms})
            await until(lambda: len(trader.heard.trades) == 1)
            (order, trade) = trader.heard.trades[0]
            assert order is None
            assert trade.exchange_order_id.startswith("twap")
            await until(lambda: (held := trader.get_position(PAIR)) and held.amount == 0.01)
            assert trader.get_open_orders() == []

    run(scenario)
