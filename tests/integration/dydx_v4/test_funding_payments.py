"""What the account pays and receives as funding is told once, whenever the indexer comes to tell of it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from on_chain import MAKER_KEY, PAIR, connected, ended, limit, new_connector, run, until

from latentspeed.connectors.types import TimeInForce

HOUR_MS = 3_600_000
IOC = {"time_in_force": TimeInForce.IOC}
PRICE, RATE = 64_000, "0.000012"


async def next_hour(venue):
    """Lets the chain's clock go to just after the next full hour, and the block come that ends it."""
    now_ms = venue.now_ms()
    await venue.control("advance_clock", ms=HOUR_MS - now_ms % HOUR_MS)
    await venue.control("make_block", count=2)


async def holding(connector, amount=0.01):
    """A long position."""
    await ended(connector, connector.buy(limit(amount, 64_010, **IOC)))
    await until(lambda: (position := connector.get_position(PAIR)) and position.amount == amount)


async def prepare(venue, rate=RATE):
    await venue.control("set_price", ticker=PAIR, price=str(PRICE))
    await venue.control("set_funding", ticker=PAIR, rate=rate)


def paid(amount, rate=RATE):
    """What a long position pays, in 10^-8: minus size times price times rate."""
    return round(-Fraction(str(amount)) * PRICE * Fraction(rate) * 10**8)


@pytest.mark.parametrize("rate", [RATE, "-0.0002"])
def test_each_hour_is_paid_for_once_by_its_rate(rate):
    async def scenario(venue):
        await prepare(venue, rate)
        async with connected(venue) as connector:
            await holding(connector)
            for hours in (1, 2):
                await next_hour(venue)
                await until(lambda wanted=hours: len(connector.heard.fundings) == wanted, timeout_s=20.0)
            await connector.resync()
            assert len(connector.heard.fundings) == 2, "asked for again, and told before"
            for payment in connector.heard.fundings:
                assert (payment.trading_pair, payment.asset) == (PAIR, "USDC")
                assert payment.amount_units == paid(0.01, rate)
                assert payment.amount == payment.amount_units / 10**8
                assert (payment.rate, payment.position_amount) == (float(rate), 0.01)
                assert payment.venue_utc_ns // 10**6 % HOUR_MS < 60_000
            settled = venue.chain.ledger.subaccount(MAKER_KEY.address, 0)
            equity = settled.equity(venue.chain.markets) / 10**6
            await until(lambda: connector.get_balance("USDC").total == equity)

    run(scenario)


def test_a_short_position_is_paid_what_a_long_one_pays():
    async def scenario(venue):
        await prepare(venue)
        async with connected(venue) as connector:
            await ended(connector, connector.sell(limit(0.01, 63_990, **IOC)))
            await next_hour(venue)
            (payment,) = await until(lambda: connector.heard.fundings, timeout_s=20.0)
            assert payment.amount_units == -paid(0.01)
            assert payment.position_amount == -0.01

    run(scenario)


def test_what_was_paid_before_a_fresh_start_is_history_and_what_was_paid_while_away_is_not():
    async def scenario(venue):
        await prepare(venue)
        async with connected(venue) as first:
            await holding(first)
            await next_hour(venue)
            await until(lambda: first.heard.fundings, timeout_s=20.0)
            told = first.heard.fundings[0].venue_utc_ns
        await next_hour(venue)
        fresh, again = new_connector(venue), new_connector(venue)
        again.recover_orders([], fills_since_utc_ns=told + 1)
        for connector in (fresh, again):
            await connector.connect()
        try:
            await until(lambda: again.heard.fundings, timeout_s=20.0)
            for connector in (fresh, again):
                await connector.resync()
            assert [payment.amount_units for payment in again.heard.fundings] == [paid(0.01)]
            assert again.heard.fundings[0].venue_utc_ns > told
            assert not fresh.heard.fundings
        finally:
            for connector in (fresh, again):
                await connector.disconnect()

    run(scenario)


def test_a_connector_that_connects_again_tells_of_no_payment_twice_and_of_none_too_few():
    async def scenario(venue):
        await prepare(venue)
        async with connected(venue) as connector:
            await holding(connector)
            await next_hour(venue)
            await until(lambda: len(connector.heard.fundings) == 1, timeout_s=20.0)
            await connector.disconnect()
            await next_hour(venue)
            await connector.connect()
            await until(lambda: len(connector.heard.fundings) == 2, timeout_s=20.0)
            await connector.resync()
            assert len(connector.heard.fundings) == 2

    run(scenario)


def test_an_indexer_that_lists_payments_late_is_asked_again():
    async def scenario(venue):
        await prepare(venue)
        async with connected(venue, reconcile_every_s=0.0) as connector:
            await holding(connector)
            asked, ask = [], connector._rest.funding_payments

            async def late(since_ns):
                asked.append(since_ns)
                return [] if len(asked) < 3 else await ask(since_ns)

            connector._rest.funding_payments = late
            await next_hour(venue)
            await until(lambda: connector.heard.fundings, timeout_s=30.0)
            assert len(asked) >= 3

    run(scenario, timeout_s=60.0)
