"""The dead-man switch: armed from the loop that trades, taken back at an orderly end, and silent about nothing."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from types import SimpleNamespace

import pytest
from connected import MAKER_KEY, PAIR, connected, limit, new_connector, resting, run, until, venue_orders

from latentspeed.connectors import OrderState
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid import dead_man
from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.tools.venues.hyperliquid.process import venue_process

ARMED = {"dead_man_switch_s": 5}
FREE = {"schedule_cancel_volume": 0}


def told(connector, code):
    return [text for heard, text in connector.heard.errors if heard == code]


def scheduled_ms(venue):
    return venue.account(MAKER_KEY.address).scheduled_cancel_ms


def test_a_living_process_arms_it_before_the_first_order_and_it_never_goes_off():
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            assert 5_000 <= scheduled_ms(venue) - venue.clock.now_ms() <= 6_000
            assert connector.dead_man_armed_until_ms == scheduled_ms(venue)
            times, end = set(), time.monotonic() + 8.0
            while time.monotonic() < end:
                times.add(scheduled_ms(venue))
                await asyncio.sleep(0.05)
            assert len(times) >= 3
            assert order.state is OrderState.OPEN
            assert venue_orders(venue)

    run(scenario, **FREE)


def test_an_orderly_end_takes_it_back_and_leaves_the_orders():
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            await resting(connector, connector.buy(limit(0.01, 60000)))
            assert scheduled_ms(venue)
        assert scheduled_ms(venue) is None
        venue.clock.advance(3600 * 1000)
        venue.tick()
        assert len(venue_orders(venue)) == 1

    run(scenario, **FREE)


def post(url, **body):
    """Blocks the caller, and with it the loop that it runs in."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def test_a_loop_that_hangs_does_not_arm_it_again_and_hears_of_it_when_it_is_back():
    async def scenario(venue):
        async with connected(SimpleNamespace(base_url=venue.url), **ARMED) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            assert connector.dead_man_armed_until_ms
            # From here on the loop stands still, while the venue's time goes by.
            post(venue.control_url, do="advance_clock", ms=4_000)
            assert post(venue.url + "/info", type="openOrders", user=MAKER_KEY.address)
            post(venue.control_url, do="advance_clock", ms=3_000)
            end = time.monotonic() + 5
            while post(venue.url + "/info", type="openOrders", user=MAKER_KEY.address):
                assert time.monotonic() < end, "the venue never cancelled"
                time.sleep(0.02)
            row = post(venue.url + "/info", type="historicalOrders", user=MAKER_KEY.address)[0]
            assert row["status"] == "scheduledCancel"
            await until(lambda: order.is_done)
            assert (order.state, order.reason) == (OrderState.CANCELLED, "scheduledCancel")
            assert len(told(connector, "dead_man_fired")) == 1

    with venue_process("--no-volume-needed") as venue:
        asyncio.run(asyncio.wait_for(scenario(venue), 60))


def test_a_venue_that_does_not_take_it_is_told_of_once_and_asked_seldom(monkeypatch):
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            await resting(connector, connector.buy(limit(0.01, 60000)))
            (reason,) = told(connector, "dead_man_refused")
            assert reason.startswith("Cannot set scheduled cancel time until enough volume traded. Required: $1000000.")
            assert connector.dead_man_armed_until_ms == 0
            requests = connector._outbox.requests
            await asyncio.sleep(2.5)
            assert connector._outbox.requests == requests
            assert len(told(connector, "dead_man_refused")) == 1

    run(scenario)


def test_it_is_armed_once_the_venue_takes_it(monkeypatch):
    monkeypatch.setattr(dead_man, "REFUSED_AGAIN_S", 0.1)

    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            assert told(connector, "dead_man_refused")
            venue.account(MAKER_KEY.address).volume = 2 * 10**12
            await until(lambda: connector.dead_man_armed_until_ms)
            assert scheduled_ms(venue) == connector.dead_man_armed_until_ms

    run(scenario)


def test_after_ten_times_a_day_what_is_armed_is_taken_back_and_trading_goes_on():
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            account = venue.account(MAKER_KEY.address)
            account.scheduled_cancels.extend([venue.clock.now_ms() // (24 * 3600 * 1000)] * 10)
            connector._dead_man.retry()
            await until(lambda: told(connector, "dead_man_refused"))
            await until(lambda: scheduled_ms(venue) is None)
            assert connector.dead_man_armed_until_ms == 0
            assert order.state is OrderState.OPEN

    run(scenario, **FREE)


def test_an_answer_that_is_lost_is_told_of_and_it_is_armed_again():
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            before = connector.dead_man_armed_until_ms
            venue.faults.order("drop_next_reply", 1)
            connector._dead_man.retry()
            await until(lambda: told(connector, "dead_man_failed"))
            await until(lambda: connector.dead_man_armed_until_ms > before)

    run(scenario, **FREE)


def test_an_answer_that_is_late_does_not_use_up_the_time_that_is_left():
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            venue.faults.order("delay_reply_ms", 60_000)
            times = {scheduled_ms(venue)}
            connector._dead_man.retry()
            while len(times) < 4:
                times.add(scheduled_ms(venue))
                assert venue.clock.now_ms() < max(times), "the time is used up"
                await asyncio.sleep(0.02)
            assert told(connector, "dead_man_failed")
            venue.faults.reset()
            await until(lambda: connector.dead_man_armed_until_ms > max(times))

    run(scenario, **FREE)


def test_what_was_armed_without_an_answer_is_taken_back_too():
    async def scenario(venue):
        connector = new_connector(venue, **ARMED)
        venue.faults.order("drop_next_reply", 1)
        await connector.connect()
        assert connector.dead_man_armed_until_ms == 0
        assert scheduled_ms(venue)
        await connector.disconnect()
        assert scheduled_ms(venue) is None

    run(scenario, **FREE)


def test_an_arming_that_is_on_its_way_at_the_end_does_not_outlive_it():
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            await resting(connector, connector.buy(limit(0.01, 60000)))
            venue.faults.order("delay_reply_ms", 700)
            connector._dead_man.retry()
            connector._dead_man.tick()
            await asyncio.sleep(0.05)
        assert scheduled_ms(venue) is None
        assert len(venue_orders(venue)) == 1

    run(scenario, **FREE)


def test_a_venue_whose_clock_has_run_ahead_is_measured_and_armed():
    async def scenario(venue):
        async with connected(venue, **ARMED) as connector:
            venue.clock.advance(4_000)
            connector._dead_man.retry()
            await until(lambda: connector.dead_man_armed_until_ms > venue.clock.now_ms() + 4_900, timeout_s=60)
            assert any("at least 5 seconds" in reason for reason in told(connector, "dead_man_refused"))

    run(scenario, **FREE)


def test_it_stays_armed_when_a_cancel_has_no_answer_at_the_end():
    async def scenario(venue):
        connector = new_connector(venue, **ARMED)
        connector.subscribe(PAIR)
        await connector.connect()
        await connector.wait_ready()
        order = await resting(connector, connector.buy(limit(0.01, 60000)))
        venue.faults.order("http_500_burst", 1_000)
        connector.cancel(order.client_order_id)
        await until(lambda: order.cancel_requested)
        await connector.disconnect()
        assert told(connector, "dead_man_left_armed") == ["a cancel has no answer yet"]
        assert scheduled_ms(venue)
        venue.faults.reset()

    run(scenario, **FREE)


@pytest.mark.parametrize("seconds", [-1, 4.9, 86_401, float("nan")])
def test_a_time_that_the_venue_does_not_take_is_refused(seconds):
    with pytest.raises(InvalidOption, match=r"^dead_man_switch_s="):
        HyperliquidConfig(dead_man_switch_s=seconds)
