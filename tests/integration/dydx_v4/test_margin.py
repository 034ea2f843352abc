"""Margin, leverage and collateral are what the chain says, and leverage is set when a block has set it."""

from __future__ import annotations

import math

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, limit, run, until

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, OrderType, VenueRejected
from latentspeed.connectors.types import MarginMode, TimeInForce
from latentspeed.tools.venues.dydx_v4.markets import MarketTerms, default_markets

IOC = {"time_in_force": TimeInForce.IOC}
ISO = "ISO-USD"
ISO_CHILD = 128 * (1 + 99)


def on_chain(venue, number=0):
    return venue.chain.ledger.subaccount(MAKER_KEY.address, number)


async def holding(connector, amount=0.1, **more):
    """A long position of BTC at 64,010, and what the chain has of it."""
    order_id = connector.buy(limit(amount, 64_010, **IOC, **more))
    assert (await ended(connector, order_id)).state is OrderState.FILLED
    await until(lambda: (position := connector.get_position(PAIR)) and position.amount == amount)
    await connector.resync()


def test_a_position_shows_its_margin_leverage_and_the_price_of_its_liquidation():
    async def scenario(venue):
        async with connected(venue) as connector:
            await holding(connector)
            position, chain = connector.get_position(PAIR), venue.chain
            assert position.margin_used == pytest.approx(0.1 * 64_000 * 0.02)
            assert (position.leverage, position.margin_mode) == (50, MarginMode.CROSS)
            # A long position that is worth less than the account: no price above zero liquidates it.
            assert math.isnan(position.liquidation_price)
            await ended(connector, connector.sell(limit(1.1, 63_990, **IOC)))
            await connector.resync()
            price = connector.get_position(PAIR).liquidation_price
            subaccount = on_chain(venue)
            for shift, is_enough in ((-1, True), (1, False)):
                await venue.control("set_price", ticker=PAIR, price=str(math.floor(price) + shift))
                backed = subaccount.equity(chain.markets) >= subaccount.requirement(chain.markets, initial=False)
                assert backed is is_enough, "the chain's own arithmetic"

    run(scenario)


def test_leverage_is_set_by_a_block_and_binds_margin():
    async def scenario(venue):
        async with connected(venue) as connector:
            await holding(connector)
            free = connector.get_balance("USDC").available
            assert await connector.set_leverage(PAIR, 7) == 7
            assert on_chain(venue).own_margin_ppm == {PAIR: 1_000_000 // 7}
            assert connector.get_leverage(PAIR) == 7
            await until(lambda: connector.get_position(PAIR).margin_used == pytest.approx(6400 * 0.142857))
            assert connector.get_position(PAIR).leverage == 7
            chain, subaccount = venue.chain, on_chain(venue)
            left = subaccount.equity(chain.markets) - subaccount.requirement(chain.markets, initial=True)
            await until(lambda: connector.get_balance("USDC").available == pytest.approx(left / 10**6))
            assert left / 10**6 < free
        async with connected(venue) as later:
            assert later.get_leverage(PAIR) == 7, "read from the chain at the start"

    run(scenario)


def test_an_orders_leverage_is_in_force_before_the_order_is_sent():
    async def scenario(venue):
        async with connected(venue) as connector:
            order_id = connector.buy(limit(0.001, 60_000, leverage=5))
            await until(lambda: connector.get_order(order_id).state is OrderState.OPEN)
            assert on_chain(venue).own_margin_ppm == {PAIR: 200_000}

    run(scenario)


def test_leverage_that_the_margin_does_not_allow_is_refused_by_the_chain():
    async def scenario(venue):
        async with connected(venue) as connector:
            for _ in range(3):
                await ended(connector, connector.buy(limit(1.0, 64_010, **IOC)))
                venue.outside.set_quotes("BTC", [(63_990 * 10**8, 10**8)], [(64_010 * 10**8, 10**8)])
            await until(lambda: connector.get_position(PAIR).amount == 3.0)
            with pytest.raises(VenueRejected, match=r"subaccounts_703: .*violates margin requirements"):
                await connector.set_leverage(PAIR, 1)
            assert connector.get_leverage(PAIR) == 50
            assert on_chain(venue).own_margin_ppm == {}

    run(scenario)


def test_leverage_that_no_block_takes_was_never_set():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("fault", name="drop_stateful")
            setting = connector.set_leverage(PAIR, 5)
            await until(lambda: connector._outbox.transactions)
            await venue.control("advance_clock", ms=45_000)
            with pytest.raises(VenueRejected, match="in_no_block"):
                await setting
            assert connector.get_leverage(PAIR) is None
            assert await connector.set_leverage(PAIR, 5) == 5

    run(scenario)


def test_leverage_whose_answer_was_lost_is_found_to_be_set():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("lose_answers")
            assert await connector.set_leverage(PAIR, 5) == 5

    run(scenario)


def test_a_chain_that_knows_no_leverage_says_so():
    async def scenario(venue):
        async with connected(venue) as connector:
            await venue.control("refuse", codespace="sdk", code=2)
            with pytest.raises(VenueRejected, match="sdk_2"):
                await connector.set_leverage(PAIR, 5)
            with pytest.raises(OrderRefused, match="BTC-USD is CROSS here"):
                connector.set_leverage(PAIR, 5, MarginMode.ISOLATED)

    run(scenario)


def test_a_market_with_much_open_interest_binds_more():
    terms = MarketTerms("BTC-USD", 0, -10, -9, 1_000_000, 100_000, 20_000, 12_000, lower_cap=3_200, upper_cap=9_600)
    markets = (terms, *(market for market in default_markets() if market.ticker != "BTC-USD"))

    async def scenario(venue):
        async with connected(venue) as connector:
            await holding(connector)
            # 6,400 dollars are half way between the caps: half of what is left to the whole is added.
            wanted = 6400 * (0.02 + 0.5 * 0.98)
            # Open interest is told some blocks later; what a position binds is told with the next comparison.
            await until(lambda: connector.get_quote(PAIR).open_interest == 0.1)
            await connector.resync()
            assert connector.get_position(PAIR).margin_used == pytest.approx(wanted)
            assert on_chain(venue).requirement(venue.chain.markets, initial=True) == round(wanted * 10**6)
            chain, subaccount = venue.chain, on_chain(venue)
            free = subaccount.equity(chain.markets) - subaccount.requirement(chain.markets, initial=True)
            assert connector.get_balance("USDC").available == pytest.approx(free / 10**6)

    run(scenario, markets=markets)


def test_margin_of_a_child_comes_from_its_parent_and_goes_back():
    async def scenario(venue):
        venue.outside.set_quotes("ISO", [(24 * 10**7, 10**13)], [(26 * 10**7, 10**13)])
        async with connected(venue, pairs=(PAIR, ISO), parent_subaccount=True) as connector:
            total = connector.get_balance("USDC").total
            await connector.adjust_margin(ISO, 250.5)
            assert on_chain(venue, ISO_CHILD).quote == 250_500_000
            assert connector.get_balance("USDC").total == total, "it has moved within the parent"
            assert connector.get_balance("USDC").available == total - 250.5
            assert await connector.set_leverage(ISO, 2) == 2
            assert on_chain(venue, ISO_CHILD).own_margin_ppm == {ISO: 500_000}
            order_id = connector.buy(OrderParams(ISO, 100, 2.6, OrderType.LIMIT, **IOC))
            assert (await ended(connector, order_id)).state is OrderState.FILLED
            await connector.resync()
            assert connector.get_position(ISO).margin_used == pytest.approx(125.0)
            await connector.adjust_margin(ISO, -100)
            with pytest.raises(VenueRejected, match="undercollateralized"):
                await connector.adjust_margin(ISO, -100)
            with pytest.raises(OrderRefused, match="only what a child"):
                connector.adjust_margin(PAIR, 10)

    run(scenario)
