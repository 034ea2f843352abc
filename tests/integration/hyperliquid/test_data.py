"""Candles, funding and the venue's own events reach the listener once each, through every gap."""

from __future__ import annotations

import time

import pytest
from connected import PAIR, TAKER_KEY, connected, ended, limit, resting, run, until

from latentspeed.connectors import ChannelState, OrderRefused, TimeInForce
from latentspeed.connectors.hyperliquid.fundings import CountedFundings

HOUR_MS = 3_600_000
IOC = {"time_in_force": TimeInForce.IOC}


def listen(connector):
    """Keeps what the connector tells of candles and fundings."""
    candles, payments = [], []
    connector.heard.on_candle = lambda candle: candles.append(candle.copy())
    connector.heard.on_funding = payments.append
    return candles, payments


async def trade(maker, taker, price, amount=0.01):
    """One trade between the two."""
    await resting(maker, maker.sell(limit(amount, price)))
    await ended(taker, taker.buy(limit(amount, price, **IOC)))


async def at_start_of_hour(venue):
    """Sets the venue's clock to a second after a full hour."""
    venue.clock.advance(HOUR_MS - venue.clock.now_ms() % HOUR_MS + 1_000)


async def later(venue, ms, *connectors):
    """Time passes at the venue, and the connectors notice it."""
    venue.clock.advance(ms)
    for connector in connectors:
        await connector.resync()


def test_candles_run_close_and_begin_anew():
    async def scenario(venue):
        await at_start_of_hour(venue)
        async with connected(venue) as maker, connected(venue, TAKER_KEY, candle_intervals=("1m", "1h")) as taker:
            candles, _ = listen(taker)
            for price in (64000, 64010, 63990):
                await trade(maker, taker, price)
            await until(lambda: candles and [c.trade_count for c in candles if c.interval == "1m"][-1] == 3)
            minute = [c for c in candles if c.interval == "1m"][-1]
            assert (minute.open, minute.high, minute.low, minute.close) == (64000, 64010, 63990, 63990)
            assert minute.volume == pytest.approx(0.03)
            assert minute.end_utc_ns - minute.start_utc_ns == 60 * 10**9
            assert not any(c.is_closed for c in candles)
            await later(venue, 60_000, maker, taker)
            await trade(maker, taker, 64050)
            await until(lambda: [c for c in candles if c.interval == "1m" and c.is_closed])
            (closed,) = [c for c in candles if c.is_closed]
            assert (closed.start_utc_ns, closed.close, closed.trade_count) == (minute.start_utc_ns, 63990, 3)
            await until(lambda: [c for c in candles if c.interval == "1m"][-1].open == 64050)
            hour = [c for c in candles if c.interval == "1h"][-1]
            assert hour.trade_count == 4
            assert ("candle 1m", PAIR) in {(c.name, c.trading_pair) for c, _ in taker.channels()}

    run(scenario)


def test_a_candle_is_closed_by_the_clock_when_nobody_trades_any_more():
    async def scenario(venue):
        await at_start_of_hour(venue)
        async with connected(venue) as maker, connected(venue, TAKER_KEY, candle_intervals=("1m",)) as taker:
            candles, _ = listen(taker)
            taker.housekeeping_interval_s = 0.02
            await trade(maker, taker, 64000)
            await until(lambda: candles)
            venue.clock.advance(70_000)
            await taker.resync()  # which notices the clock
            await until(lambda: candles[-1].is_closed)
            assert len([c for c in candles if c.is_closed]) == 1

    run(scenario)


def test_candles_that_ended_during_a_gap_are_told_in_order_after_it():
    async def scenario(venue):
        await at_start_of_hour(venue)
        async with connected(venue) as maker, connected(venue, TAKER_KEY, candle_intervals=("1m",)) as taker:
            candles, _ = listen(taker)
            await trade(maker, taker, 64000)
            await until(lambda: candles)
            taker._streams.set_handler("candle", lambda data, mono_ns: None)
            for price in (64100, 64200):
                await later(venue, 60_000, maker, taker)
                await trade(maker, taker, price)
            taker._streams.set_handler("candle", taker._feeds.candles.handlers["candle"])
            venue.drop_sockets()
            await until(lambda: [c for c in candles if c.close == 64200])
            closed = [(c.close, c.trade_count) for c in candles if c.is_closed]
            assert closed == [(64000, 1), (64100, 1)]

    run(scenario)


def test_history_of_candles_is_fetched_and_knows_what_is_still_open():
    async def scenario(venue):
        await at_start_of_hour(venue)
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            start_ns = venue.clock.now_ms() * 10**6 - 60 * 10**9
            await trade(maker, taker, 64000)
            await later(venue, 60_000, maker, taker)
            await trade(maker, taker, 64100)
            found = await taker.fetch_candles(PAIR, "1m", start_ns)
            assert [(c.close, c.is_closed) for c in found] == [(64000, True), (64100, False)]
            with pytest.raises(OrderRefused, match="2m"):
                taker.fetch_candles(PAIR, "2m", start_ns)
            with pytest.raises(OrderRefused, match="NOPE"):
                taker.fetch_candles("NOPE-USD", "1m", start_ns)

    run(scenario)


def test_a_funding_payment_is_told_once_and_moves_the_balance():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            _, payments = listen(taker)
            _, received = listen(maker)
            await trade(maker, taker, 64000)
            before = taker.get_balance("USDC").total
            venue.clock.advance(HOUR_MS)
            venue.tick()
            await until(lambda: payments and received)
            # Each way of hearing of it once more: the stream again, and the question after a reconnect.
            await until(lambda: taker._feeds.fundings.repeated >= 1)
            venue.drop_sockets()
            await until(lambda: not taker.is_connected)
            await until(lambda: taker.is_ready)
            await until(lambda: taker._feeds.fundings.repeated >= 2)
            (paid,), (got,) = payments, received
            assert (paid.trading_pair, paid.asset, paid.position_amount) == (PAIR, "USDC", 0.01)
            assert paid.rate == pytest.approx(0.0000125)
            assert paid.amount < 0 < got.amount
            assert paid.amount_units == -got.amount_units == round(paid.amount * 10**8)
            row = venue.account(taker.account_address).fundings[-1]
            assert float(row["delta"]["usdc"]) == paid.amount
            await until(lambda: taker.get_balance("USDC").total < before)

    run(scenario)


def test_a_funding_payment_is_not_told_again_by_a_session_that_is_opened_anew():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            _, payments = listen(taker)
            await trade(maker, taker, 64000)
            for count in (1, 2):
                venue.clock.advance(HOUR_MS)
                venue.tick()
                await until(lambda count=count: len(payments) == count, 25.0)
            await taker.disconnect()
            await taker.connect()
            await until(lambda: taker._feeds.fundings.repeated >= 2, 25.0)
            assert len(payments) == 2

    run(scenario, timeout_s=90)


def test_a_forgotten_funding_payment_is_history_and_never_told_again():
    counted = CountedFundings(capacity=2)
    for hour in (10, 11, 12):
        counted.add("BTC", hour * HOUR_MS + 40)
    assert not counted.has("BTC", 10 * HOUR_MS)
    assert counted.has("BTC", 11 * HOUR_MS)
    assert 10 * HOUR_MS + 40 < counted.counts_from_ms < 11 * HOUR_MS


def test_fundings_of_a_long_gap_are_asked_for():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            _, payments = listen(taker)
            await trade(maker, taker, 64000)
            for name in ("userFundings", "user"):
                taker._streams.set_handler(name, lambda data, mono_ns: None)
            for _ in range(3):
                venue.clock.advance(HOUR_MS)
                venue.tick()
            venue.drop_sockets()
            await until(lambda: len(payments) == 3)
            assert payments[0].venue_utc_ns < payments[1].venue_utc_ns < payments[2].venue_utc_ns

    run(scenario)


def test_predicted_fundings_and_paid_rates_can_be_asked_for():
    async def scenario(venue):
        async with connected(venue) as connector:
            venue.clock.advance(HOUR_MS)
            venue.tick()
            expected = await connector.fetch_predicted_fundings()
            here = [row for row in expected if row.trading_pair == PAIR and row.venue == "HlPerp"]
            assert here
            assert here[0].next_utc_ns > time.time_ns()
            assert abs(here[0].rate) < 0.01
            rates = await connector.fetch_funding_rates(PAIR, 0)
            assert rates
            assert rates[-1][1] == pytest.approx(0.0000125)

    run(scenario)


def test_every_subscription_is_shown_with_its_state_and_goes_down_with_the_socket():
    async def scenario(venue):
        async with connected(venue, candle_intervals=("5m",)) as connector:
            await until(lambda: dict(shown(connector))["activeAssetCtx", PAIR] is ChannelState.LIVE)
            states = dict(shown(connector))
            assert states["orderUpdates", ""] is ChannelState.WAITING
            assert states["userFills", ""] is ChannelState.LIVE
            assert set(states) == {
                ("orderUpdates", ""),
                ("userFills", ""),
                ("userFundings", ""),
                ("userEvents", ""),
                ("bbo", PAIR),
                ("l2Book", PAIR),
                ("trades", PAIR),
                ("activeAssetCtx", PAIR),
                ("candle 5m", PAIR),
            }
            await venue.stop()
            await until(lambda: set(dict(shown(connector)).values()) == {ChannelState.DOWN})

    run(scenario)


def shown(connector):
    return [((channel.name, channel.trading_pair), state) for channel, state in connector.channels()]
