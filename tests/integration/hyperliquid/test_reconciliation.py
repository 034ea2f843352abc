"""Every difference between the venue and the connector that no stream has told is found by the next comparison."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from connected import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, resting, run, until
from eth_account import Account
from hyperliquid.exchange import Exchange

from latentspeed.connectors import OrderState, Position, ReportSource, TimeInForce, TradeType

IOC = {"time_in_force": TimeInForce.IOC}


def deafen(connector):
    """From now on the connector hears nothing of its account by the socket."""
    for channel in ("orderUpdates", "userFills", "user", "userFundings"):
        connector._streams.set_handler(channel, lambda data, mono_ns: None)


async def cancel_elsewhere(venue, order):
    client = await asyncio.to_thread(Exchange, Account.from_key("0x" + "01" * 32), venue.base_url)
    reply = await asyncio.to_thread(client.cancel, "BTC", int(order.exchange_order_id))
    assert reply["response"]["data"]["statuses"] == ["success"], reply


def test_an_order_that_the_venue_has_ended_is_found():
    async def scenario(venue):
        async with connected(venue, reconcile_every_s=0.3) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            connector.housekeeping_interval_s = 0.05
            deafen(connector)
            await cancel_elsewhere(venue, order)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason) == (OrderState.CANCELLED, "canceled")

    run(scenario)


def test_a_fill_that_nobody_told_of_is_found_once():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            order = await resting(maker, maker.sell(limit(0.03, 64000)))
            deafen(maker)
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            assert order.filled_lots == 0
            for _ in range(2):
                await maker.resync()
            assert (order.state, order.filled_lots, order.fill_count) == (OrderState.PARTIALLY_FILLED, 1000, 1)
            assert len(maker.heard.trades) == 1

    run(scenario)


def test_a_position_that_differs_is_corrected():
    async def scenario(venue):
        async with connected(venue) as maker, connected(venue, TAKER_KEY) as taker:
            await resting(maker, maker.sell(limit(0.01, 64000)))
            await ended(taker, taker.buy(limit(0.01, 64000, **IOC)))
            await until(lambda: maker.get_position(PAIR) and maker.get_position(PAIR).amount == -0.01)
            await until(lambda: not maker._upkeep._refresh.is_waiting)
            told = []
            maker.heard.on_position = lambda position: told.append(position.amount)
            maker.get_position(PAIR).amount = -0.05
            await maker.resync()
            assert maker.get_position(PAIR).amount == -0.01
            assert -0.01 in told

    run(scenario)


def test_a_position_that_the_venue_no_longer_has_is_flat():
    async def scenario(venue):
        async with connected(venue) as connector:
            connector.update_position(Position(PAIR, 0.5, 60000.0, leverage=20))
            await connector.resync()
            assert connector.get_position(PAIR).amount == 0.0
            assert connector.get_all_positions() == []

    run(scenario)


def test_a_balance_that_differs_is_corrected():
    async def scenario(venue):
        async with connected(venue, reconcile_every_s=0.3) as connector:
            connector.housekeeping_interval_s = 0.05
            told = []
            connector.heard.on_balance = lambda balance: told.append(balance.total)
            venue.fund(MAKER_KEY.address, "500")
            await until(lambda: 100_500.0 in told)
            assert connector.get_balance("USDC").total == 100_500.0

    run(scenario)


@pytest.mark.parametrize("page", [2000, 60])
def test_fills_of_a_gap_are_paged_until_dry_across_milliseconds_that_a_page_cuts(page):
    async def scenario(venue):
        async with connected(venue) as connector:
            order = connector.create_order(TradeType.BUY, limit(0.1, 60000))
            order.is_submitted = True
            connector.start_tracking_order(order)
            cloid = connector._cloid_of(order)
            now = venue.clock.now_ms()
            # Many fills share a millisecond, and more than one page ends inside of one.
            count = 2 * page + 137
            rows = [
                {
                    "coin": "BTC", "px": "60000.0", "sz": "0.00001", "side": "B", "time": now + number // 45,
                    "startPosition": "0.0", "dir": "Open Long", "closedPnl": "0.0", "hash": "0x" + "12" * 32,
                    "oid": 77_000_000_001, "crossed": False, "fee": "0.0001", "tid": 1_000_000 + number,
                    "feeToken": "USDC", "twapId": None, "cloid": cloid,
                }
                for number in range(count)
            ]  # fmt: skip
            asked = []

            async def info(request, weight, *, urgent=False):
                asked.append(request["startTime"])
                return orjson.dumps([row for row in rows if row["time"] >= request["startTime"]][:page])

            connector._rest.info = info
            for row in await connector._rest.fills(now - 1, now + 10**6):
                connector._reports.take_fill(row, ReportSource.SNAPSHOT)
            assert (order.fill_count, order.filled_lots) == (count, count)
            assert len(asked) >= 3

    run(scenario)


def test_fills_of_a_fresh_start_are_counted_from_the_venues_time_also_where_this_clock_is_minutes_ahead():
    async def scenario(venue):
        venue.clock.advance(-300_000)
        async with connected(venue) as connector:
            assert abs(connector._fills_from_ms - venue.clock.now_ms()) < 60_000

    run(scenario)
