"""Candles on a simulated chain: the stream's, those of history, and those that a lost socket has missed."""

from __future__ import annotations

import pytest
from on_chain import PAIR, connected, limit, new_connector, run, until

from latentspeed.connectors import ConnectorState, OrderRefused, TimeInForce
from latentspeed.connectors.dydx_v4.candles import iso_time
from latentspeed.connectors.errors import InvalidOption

MINUTE_NS = 60 * 10**9


def taker(connector, price):
    """A trade of ours, which makes a candle."""
    return connector.buy(limit(0.001, price, time_in_force=TimeInForce.IOC))


def test_a_running_candle_is_told_of_and_closed_by_the_clock():
    async def scenario(venue):
        async with connected(venue, candle_intervals=("1m", "1h")) as connector:
            taker(connector, 64_010)
            candle = await until(lambda: connector.get_candle(PAIR, "1m"))
            await until(lambda: candle.trade_count == 1)
            assert (candle.open, candle.high, candle.low, candle.close) == (64_010,) * 4
            assert candle.volume == 0.001
            assert candle.end_utc_ns - candle.start_utc_ns == MINUTE_NS
            assert candle.start_utc_ns % MINUTE_NS == 0
            assert connector.get_candle(PAIR, "1h").end_utc_ns % (60 * MINUTE_NS) == 0
            names = {(channel.name, channel.trading_pair) for channel, _ in connector.channels()}
            assert {("v4_candles", "BTC-USD/1MIN"), ("v4_candles", "BTC-USD/1HOUR")} <= names
            assert not candle.is_closed
            connector._candles.close_due(candle.end_utc_ns // 10**6 + 3_001)
            assert candle.is_closed
            assert not connector.heard.errors
            # One clock says the time of both ends here.
            skew = await until(lambda: connector.clock_skew)
            assert abs(skew.skew_ns) <= skew.error_ns + 10**6

    run(scenario)


def test_history_is_what_the_stream_has_told():
    async def scenario(venue):
        async with connected(venue, candle_intervals=("1m",)) as connector:
            taker(connector, 64_010)
            candle = await until(lambda: connector.get_candle(PAIR, "1m"))
            await until(lambda: candle.trade_count == 1)
            (row,) = await connector.fetch_candles(PAIR, "1m", candle.start_utc_ns)
            assert (row.open, row.volume, row.start_utc_ns) == (candle.open, candle.volume, candle.start_utc_ns)
            assert await connector.fetch_candles(PAIR, "1m", candle.start_utc_ns + MINUTE_NS) == []
            with pytest.raises(OrderRefused):
                connector.fetch_candles(PAIR, "2m", 0)

    run(scenario)


def test_a_candle_that_ended_while_nobody_listened_comes_with_the_next_snapshot():
    async def scenario(venue):
        async with connected(venue, candle_intervals=("1m",)) as connector:
            taker(connector, 64_010)
            candle = await until(lambda: connector.get_candle(PAIR, "1m"))
            await until(lambda: candle.trade_count == 1)
            first = candle.start_utc_ns
            told = []
            connector.heard.on_candle = lambda one: told.append((one.start_utc_ns, one.is_closed))
            await venue.control("drop_sockets")
            await until(lambda: connector.connection_state is not ConnectorState.LIVE)
            rows = venue.indexer.candles._candles["BTC-USD/1MIN"]
            rows.append({**rows[-1], "startedAt": iso_time(first + MINUTE_NS), "close": "64020", "high": "64020"})
            await until(lambda: candle.start_utc_ns == first + MINUTE_NS)
            assert (first, True) in told
            assert candle.close == 64_020

    run(scenario)


def test_intervals_that_the_venue_does_not_have_are_refused():
    async def scenario(venue):
        with pytest.raises(InvalidOption, match="candle_intervals"):
            new_connector(venue, candle_intervals=("2m",))

    run(scenario)
