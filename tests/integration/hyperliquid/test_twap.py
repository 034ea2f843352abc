"""TWAP orders on the local venue: sliced, counted, ended, and never sent twice."""

from __future__ import annotations

import pytest
from connected import PAIR, TAKER_KEY, connected, limit, resting, run, until

from latentspeed.connectors import OrderRefused, PositionAction, TradeType, VenueRejected
from latentspeed.connectors.hyperliquid import TwapState

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
        await until(lambda before=before: twap.fill_count > before or twap.state.is_final, what=twap)


@pytest.mark.parametrize("transport", ["http", "ws"])
def test_a_twap_is_traded_slice_by_slice_and_every_fill_counts_once(transport):
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY, order_transport=transport) as trader:
            await quoted(venue, maker)
            twap = trader.place_twap(TradeType.BUY, PAIR, 0.1, 5)
            assert await twap.started == twap.twap_id
            assert twap.state is TwapState.RUNNING
            await until(lambda: twap.fill_count == 1)
            await slices(venue, twap, 9)
            assert await twap.ended is TwapState.FINISHED
            assert (twap.filled_amount, twap.average_price, twap.fill_count) == (0.1, 64010.0, 10)
            await until(lambda: trader.get_position(PAIR).amount == 0.1)
            ours = [trade for order, trade in trader.heard.trades if order is None]
            assert (len(ours), sum(trade.amount_lots for trade in ours)) == (10, twap.filled_lots)
            await trader.resync()
            assert len(trader.heard.trades) == 10
            assert not trader.heard.errors

    run(scenario)


def test_a_cancelled_twap_sends_no_further_slice_and_keeps_what_it_traded():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            twap = trader.place_twap(TradeType.SELL, PAIR, 0.1, 5, randomize=True)
            await twap.started
            await until(lambda: twap.fill_count == 1)
            await trader.cancel_twap(twap)
            assert await twap.ended is TwapState.TERMINATED
            with pytest.raises(OrderRefused, match="TERMINATED, not RUNNING"):
                await trader.cancel_twap(twap)
            venue.clock.advance(2 * SLICE_MS)
            await trader.resync()
            assert (twap.filled_amount, twap.average_price) == (0.01, 63990.0)

    run(scenario)


@pytest.mark.parametrize(
    ("amount", "minutes", "more", "text"),
    [
        (0.0001, 5, {}, "TWAP order value too small"),
        (1.0, 1, {}, "Invalid TWAP duration"),
        (1.0, 5, {"position_action": PositionAction.CLOSE}, "Reduce-only TWAP order would increase position"),
    ],
)
def test_what_the_venue_refuses_fails_with_its_text(amount, minutes, more, text):
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            twap = trader.place_twap(TradeType.BUY, PAIR, amount, minutes, **more)
            with pytest.raises(VenueRejected, match=text):
                await twap.started
            assert (await twap.ended, twap.twap_id) == (TwapState.FAILED, 0)
            assert text in twap.reason
            assert "twap_failed" in [code for code, _ in trader.heard.errors]

    run(scenario)


def test_what_no_twap_can_be_is_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue) as trader:
            requests = trader._outbox.requests
            for amount, minutes, field in [(0.0, 5, "amount"), (0.000001, 5, "amount"), (0.1, 0, "minutes")]:
                with pytest.raises(OrderRefused, match=field):
                    trader.place_twap(TradeType.BUY, PAIR, amount, minutes)
            assert trader._outbox.requests == requests

    run(scenario)


def test_a_twap_whose_answer_was_lost_is_found_with_its_fills_and_not_sent_again():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            other = trader.place_twap(TradeType.BUY, PAIR, 0.1, 5)
            await other.started
            venue.faults.order("drop_next_reply", 1)
            twap = trader.place_twap(TradeType.BUY, PAIR, 0.1, 5)
            await twap.started
            assert len(venue.account(TAKER_KEY.address).twaps) == 2
            assert twap.twap_id == other.twap_id + 1
            await until(lambda: twap.fill_count == other.fill_count == 1)

    run(scenario)


def test_a_twap_that_never_arrived_fails_once_the_venue_cannot_take_it_any_more():
    async def scenario(venue):
        async with connected(venue, place_expiry_ms=300, expiry_margin_ms=100) as trader:
            venue.set_price("BTC", "64000")
            venue.faults.order("http_500_burst", 1, path="/exchange")
            twap = trader.place_twap(TradeType.BUY, PAIR, 0.1, 5)
            assert (await twap.ended, twap.reason) == (TwapState.FAILED, "never_accepted")
            assert venue.account(trader.account_address).twaps == {}

    run(scenario)


def test_a_twap_goes_on_through_a_lost_connection_and_its_fills_of_that_time_are_counted():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as trader:
            await quoted(venue, maker)
            twap = trader.place_twap(TradeType.BUY, PAIR, 0.1, 5)
            await twap.started
            await until(lambda: twap.fill_count == 1)
            opened = trader._streams.link.opened
            venue.drop_sockets()
            venue.clock.advance(SLICE_MS)
            await until(lambda: trader._streams.link.opened > opened and trader.is_ready)
            await until(lambda: twap.fill_count == 2)
            await slices(venue, twap, 8)
            assert await twap.ended is TwapState.FINISHED
            assert (twap.filled_amount, twap.fill_count) == (0.1, 10)

    run(scenario)
