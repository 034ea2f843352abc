"""Leverage, margin mode and margin of a position follow what was asked for, each alone and together."""

from __future__ import annotations

import asyncio

import pytest
from connected import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, resting, run, until
from eth_account import Account
from hyperliquid.exchange import Exchange

from latentspeed.connectors import MarginMode, NotReady, OrderParams, OrderRefused, VenueRejected

ISOLATED, CROSS = MarginMode.ISOLATED, MarginMode.CROSS


def at_venue(venue, key=MAKER_KEY, coin="BTC"):
    """Leverage and margin mode as the venue has them."""
    holding = venue.state.holding(venue.account(key.address), venue.market(coin))
    return holding.leverage, CROSS if holding.is_cross else ISOLATED


async def buy(maker, taker, amount, price):
    """The taker buys from the maker."""
    await resting(maker, maker.sell(limit(amount, price)))
    await ended(taker, taker.buy(limit(amount, price)))
    await taker.resync()


def test_leverage_and_margin_mode_are_set_together_and_each_alone():
    async def scenario(venue):
        async with connected(venue) as connector:
            assert await connector.set_leverage(PAIR, 10, ISOLATED) == 10
            assert at_venue(venue) == (10, ISOLATED)
            assert await connector.set_leverage(PAIR, 5) == 5
            assert at_venue(venue) == (5, ISOLATED)
            assert await connector.set_margin_mode(PAIR, CROSS) is CROSS
            assert at_venue(venue) == (5, CROSS)
            assert (connector.get_leverage(PAIR), connector.get_margin_mode(PAIR)) == (5, CROSS)

    run(scenario)


async def set_elsewhere(client, leverage):
    """Sets a leverage by the official client, whose key is the connector's: not in the same millisecond."""
    await asyncio.sleep(0.005)
    reply = await asyncio.to_thread(client.update_leverage, leverage, "BTC", False)
    assert reply["status"] == "ok", reply
    await asyncio.sleep(0.005)


def test_what_another_client_changed_meanwhile_is_kept():
    async def scenario(venue):
        async with connected(venue) as connector:
            assert await connector.set_leverage(PAIR, 10) == 10
            client = await asyncio.to_thread(Exchange, Account.from_key("0x" + "01" * 32), venue.base_url)
            await set_elsewhere(client, 3)
            assert await connector.set_leverage(PAIR, 7) == 7
            assert at_venue(venue) == (7, ISOLATED)
            await set_elsewhere(client, 4)
            assert await connector.set_margin_mode(PAIR, CROSS) is CROSS
            assert at_venue(venue) == (4, CROSS)

    run(scenario)


def test_the_mode_stays_while_there_is_a_position_and_the_venue_says_so():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await buy(maker, taker, 0.01, 64000)
            with pytest.raises(VenueRejected, match=r"Cannot switch leverage type with open position\."):
                await taker.set_margin_mode(PAIR, ISOLATED)
            with pytest.raises(VenueRejected, match=r"Position does not use isolated margin\."):
                await taker.adjust_margin(PAIR, 10)
            assert taker.get_position(PAIR).margin_mode is CROSS
            assert await taker.set_leverage(PAIR, 4) == 4
            assert at_venue(venue, TAKER_KEY) == (4, CROSS)
            await taker.resync()
            assert taker.get_position(PAIR).margin_used == pytest.approx(160.0)

    run(scenario)


def test_margin_of_an_isolated_position_is_added_and_taken_out_and_shown():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await taker.set_leverage(PAIR, 10, ISOLATED)
            await buy(maker, taker, 0.01, 64000)
            position = taker.get_position(PAIR)
            assert (position.margin_mode, position.leverage) == (ISOLATED, 10)
            margin, liquidation = position.margin_used, position.liquidation_price
            cash = taker.get_balance("USDC").available
            await taker.adjust_margin(PAIR, 100.5)
            assert position.margin_used == pytest.approx(margin + 100.5)
            assert position.liquidation_price < liquidation
            assert taker.get_balance("USDC").available == pytest.approx(cash - 100.5)
            await taker.adjust_margin(PAIR, -50.25)
            assert position.margin_used == pytest.approx(margin + 50.25)
            with pytest.raises(VenueRejected, match="sufficient margin"):
                await taker.adjust_margin(PAIR, -80)
            assert position.margin_used == pytest.approx(margin + 50.25)

    run(scenario)


def test_a_market_that_is_isolated_only_is_never_asked_for_cross_margin_and_keeps_its_margin():
    async def scenario(venue):
        pair = "THIN-USD"
        async with connected(venue, pairs=(pair,)) as maker, connected(venue, TAKER_KEY, pairs=(pair,)) as taker:
            for wrong in (
                lambda: taker.set_leverage(pair, 2, CROSS),
                lambda: taker.set_margin_mode(pair, CROSS),
            ):
                with pytest.raises(OrderRefused, match="isolated margin only"):
                    wrong()
            assert taker.get_margin_mode(pair) is ISOLATED
            assert await taker.set_leverage(pair, 2) == 2
            assert at_venue(venue, TAKER_KEY, "THIN") == (2, ISOLATED)
            price = venue.market("THIN").mark / 10**6
            price = taker.quantize_order_price(pair, price)
            await resting(maker, maker.sell(OrderParams(pair, 100.0, price)))
            await ended(taker, taker.buy(OrderParams(pair, 100.0, price)))
            await taker.resync()
            position = taker.get_position(pair)
            margin = position.margin_used
            assert position.margin_mode is ISOLATED
            await taker.adjust_margin(pair, 5)
            assert position.margin_used == pytest.approx(margin + 5)
            with pytest.raises(VenueRejected, match="cannot be removed"):
                await taker.adjust_margin(pair, -1)
            for wrong in (0.0, -1.0, 1e-9, float("nan"), 1000.0):
                with pytest.raises(OrderRefused, match="leverage"):
                    taker.top_up_margin(pair, wrong)
            mark = venue.market("THIN").mark * 100 / 10**6
            await taker.top_up_margin(pair, 1.25)
            assert position.margin_used == pytest.approx(mark / 1.25, rel=1e-3)
            with pytest.raises(VenueRejected, match="does not need more margin"):
                await taker.top_up_margin(pair, 1.5)

    run(scenario, prices={"THIN": "1"})


def test_an_order_that_asks_for_a_leverage_keeps_the_margin_mode():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await taker.set_leverage(PAIR, 10, ISOLATED)
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await ended(taker, taker.buy(limit(0.01, 64000, leverage=3)))
            assert at_venue(venue, TAKER_KEY) == (3, ISOLATED)
            await until(lambda: (held := taker.get_position(PAIR)) and held.margin_mode is ISOLATED)

    run(scenario)


@pytest.mark.parametrize("amount", [0, 0.0, float("nan"), float("inf"), True, "5", 1e-9])
def test_an_amount_that_is_none_is_refused_before_anything_is_sent(amount):
    async def scenario(venue):
        async with connected(venue) as connector:
            with pytest.raises(OrderRefused, match="amount"):
                connector.adjust_margin(PAIR, amount)
            assert connector._outbox.requests == 0

    run(scenario)


def test_without_a_session_nothing_is_asked_for():
    async def scenario(venue):
        async with connected(venue) as connector:
            pass
        with pytest.raises(NotReady):
            await connector.set_margin_mode(PAIR, ISOLATED)
        with pytest.raises(NotReady):
            await connector.adjust_margin(PAIR, 1)
        with pytest.raises(OrderRefused, match="isolated margin only"):
            connector.top_up_margin(PAIR, 2)

    run(scenario)
