"""Budgets, clocks and listings: what keeps a connector welcome and correct for longer than a minute."""

from __future__ import annotations

import orjson
from connected import PAIR, connected, ended, limit, resting, run, until, venue_orders

from latentspeed.connectors import OrderParams, OrderState, OrderType


def test_cancels_go_out_when_places_have_to_wait_for_the_budget():
    async def scenario(venue):
        async with connected(venue, limit_requests=True) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            connector._budget.take(connector._budget.level - 190)
            waiting = connector.get_order(connector.buy(limit(0.01, 60001)))
            connector.cancel(order.client_order_id)
            await ended(connector, order.client_order_id)
            assert order.state is OrderState.CANCELLED
            assert waiting.nonce == 0
            connector._budget.take(-100)
            connector._outbox.wake()
            await resting(connector, waiting.client_order_id)

    run(scenario)


def test_a_place_that_waited_for_the_budget_goes_out_by_itself():
    async def scenario(venue):
        async with connected(venue, limit_requests=True) as connector:
            budget = connector._budget
            budget.__init__(1200.0, 2.0, 200.0)  # so that what is taken comes back while the test looks on
            budget.take(budget.level - 195)
            order = connector.get_order(connector.buy(limit(0.01, 60000)))
            assert order.nonce == 0
            await resting(connector, order.client_order_id)
            assert connector._budget.refused == 0

    run(scenario)


def test_under_the_venues_limits_a_burst_is_paced_and_nothing_is_turned_away():
    async def scenario(venue):
        async with connected(venue, limit_requests=True, max_batch=2, place_expiry_ms=20_000) as connector:
            order_ids = [connector.buy(limit(0.001, 50000 + number)) for number in range(100)]
            for order_id in order_ids:
                await resting(connector, order_id)
            assert not [error for error in connector.heard.errors if "429" in error[0]]

    run(scenario, ip_limits=True)


def test_a_turned_away_request_slows_the_connector_down():
    async def scenario(venue):
        async with connected(venue, limit_requests=True) as connector:
            venue.faults.order("http_429_burst", 1)
            order = await ended(connector, connector.buy(limit(0.01, 60000)))
            assert order.reason == "http_429"
            assert connector._budget.refused == 1

    run(scenario)


def test_an_order_reaches_a_venue_whose_clock_is_ahead_or_drifts():
    async def scenario(venue):
        venue.clock.advance(30_000)
        async with connected(venue) as connector:
            order = await resting(connector, connector.buy(limit(0.01, 60000)))
            assert order.venue_expiry_ms - order.nonce > 30_000
            venue.clock.advance(60_000)
            late = await ended(connector, connector.buy(limit(0.01, 60001)))
            assert (late.state, late.reason.split(":")[0]) == (OrderState.EXPIRED, "actionExpired")
            # One late order is enough to measure the clocks anew.
            await until(lambda: connector._skew_ms() > 80_000)
            await resting(connector, connector.buy(limit(0.01, 60002)))

    run(scenario)


def test_a_market_listed_while_running_can_be_traded():
    async def scenario(venue):
        async with connected(venue) as connector:
            heard = []
            connector.heard.on_trading_rule = heard.append
            meta = connector._rest.meta
            rules = await meta()

            async def with_listing():
                rules.universe.append(rules.universe[3].__class__(name="kNEW", szDecimals=0, maxLeverage=3))
                return rules

            connector._rest.meta = with_listing
            connector.housekeeping_interval_s = 0.02
            connector._upkeep._rules_due = 0.0
            await until(lambda: heard)
            assert [rule.trading_pair for rule in heard] == ["kNEW-USD"]
            assert connector.get_trading_rule("kNEW-USD").asset_id == len(rules.universe) - 1
            assert connector.get_trading_rule(PAIR).asset_id == 0

    run(scenario)


def test_a_market_whose_entry_cannot_be_read_holds_up_no_listing_and_stays_known():
    async def scenario(venue):
        async with connected(venue) as connector:
            sound = connector._rest.info

            async def with_a_broken_entry(request, weight, **others):
                content = await sound(request, weight, **others)
                if request["type"] != "meta":
                    return content
                meta = orjson.loads(content)
                meta["universe"][1]["szDecimals"] = "a few"
                return orjson.dumps(meta)

            before = connector.get_trading_rule("ETH-USD")
            connector._rest.info = with_a_broken_entry
            connector.housekeeping_interval_s = 0.02
            venue.interventions.list_market("kNEW", sz_decimals=0, price="0.0125")
            connector._upkeep._rules_due = 0.0
            await until(lambda: connector.get_trading_rule("kNEW-USD"))
            assert connector.get_trading_rule("ETH-USD") == before
            told = [text[:14] for code, text in connector.heard.errors if code == "malformed_message"]
            assert told == ["meta: entry 1:"]
            await resting(connector, connector.sell(OrderParams("ETH-USD", 0.02, 3100.0)))

    run(scenario)


def test_a_family_of_names_trades_with_its_case():
    async def scenario(venue):
        async with connected(venue, pairs=("kPEPE-USD",)) as connector:
            await until(lambda: connector.get_quote("kPEPE-USD").ask > 0)
            order_id = connector.buy(OrderParams("kPEPE-USD", 1000.0, order_type=OrderType.MARKET))
            order = await ended(connector, order_id)
            assert (order.state, order.filled_lots) == (OrderState.FILLED, 1000)
            await until(lambda: (held := connector.get_position("kPEPE-USD")) and held.amount == 1000.0)
            assert venue_orders(venue) == []

    run(scenario, market="synthetic")
