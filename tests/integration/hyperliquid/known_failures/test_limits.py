"""Failures of real connectors with ticks, listings and limits, each under its number in the list of known failures."""

from __future__ import annotations

import asyncio
import time

import pytest
from connected import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, resting, run, until

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, PositionAction, TimeInForce, TradeType
from latentspeed.connectors.hyperliquid import limits as own_limits
from latentspeed.tools.venues.hyperliquid import limits as venue_limits

NEW_MARKETS = {"rules_every_s": 0.1}
IOC = {"time_in_force": TimeInForce.IOC}


def test_10_prices_are_on_the_tick_of_their_own_size_across_ten_and_a_hundred_thousand():
    async def scenario(venue):
        async with connected(venue) as connector:
            wanted = [
                (9_999.94, 9_999.9), (9_999.96, 10_000.0), (10_000.4, 10_000.0), (10_000.6, 10_001.0),
                (99_999.4, 99_999.0), (99_999.6, 100_000.0), (100_000.4, 100_000.0), (100_001.2, 100_001.0),
                (123_456.7, 123_457.0),
            ]  # fmt: skip
            venue.set_price("BTC", "100000")
            for raw, on_tick in wanted:
                assert connector.quantize_order_price(PAIR, raw) == on_tick
                side = connector.buy if raw < 100_000 else connector.sell
                order = await resting(connector, side(limit(0.01, on_tick)))
                (at_venue,) = (await connector._rest.open_orders())[:1]
                assert float(at_venue.limitPx) == on_tick
                connector.cancel(order.client_order_id)
                await ended(connector, order.client_order_id)
            for off_tick in (10_000.5, 100_000.5, 9_999.95):
                with pytest.raises(OrderRefused, match="price"):
                    connector.buy(limit(0.01, off_tick))
            refused = [text for code, text in connector.heard.errors if "tick" in text]
            assert refused == []

    run(scenario)


def test_33_a_market_that_is_listed_while_running_has_its_precision_and_trades():
    async def scenario(venue):
        async with (
            connected(venue, rules_every_s=0.1) as maker,
            connected(venue, TAKER_KEY, rules_every_s=0.1) as taker,
        ):
            heard = []
            maker.heard.on_trading_rule = heard.append
            for connector in (maker, taker):
                connector.housekeeping_interval_s = 0.02
            asset = venue.interventions.list_market("kNEW", sz_decimals=0, price="0.0125")
            await until(lambda: all(c.get_trading_rule("kNEW-USD") for c in (maker, taker)))
            rule = maker.get_trading_rule("kNEW-USD")
            assert (rule.asset_id, float(rule.lot_size), float(rule.tick_size)) == (asset, 1.0, 0.000001)
            assert [found.trading_pair for found in heard] == ["kNEW-USD"]
            maker.subscribe("kNEW-USD")
            order = await resting(maker, maker.sell(OrderParams("kNEW-USD", 1000.0, 0.0125)))
            await ended(taker, taker.buy(OrderParams("kNEW-USD", 1000.0, 0.0125, **IOC)))
            assert (await ended(maker, order.client_order_id)).filled_lots == 1000
            assert maker.get_position("kNEW-USD").amount == -1000.0
            with pytest.raises(OrderRefused, match="lot"):
                maker.sell(OrderParams("kNEW-USD", 1000.5, 0.0125))
            close = {"position_action": PositionAction.CLOSE}
            await resting(taker, taker.sell(OrderParams("kNEW-USD", 1000.0, 0.0124, **close)))
            await ended(maker, maker.buy(OrderParams("kNEW-USD", 1000.0, 0.0124, **close, **IOC)))
            venue.interventions.delist_market("kNEW")
            await until(lambda: not maker.get_trading_rule("kNEW-USD").is_active)
            with pytest.raises(OrderRefused, match="kNEW"):
                maker.sell(OrderParams("kNEW-USD", 1000.0, 0.0125))

    run(scenario)


@pytest.mark.parametrize(
    ("options", "listing", "pair", "amount", "price"),
    [
        ({"spot": True, "pairs": ("HYPE-USDC",)}, ("list_pair", "NEW", "USDC", 1, "2.5"), "NEW-USDC", 20.0, 2.5),
        ({"dexs": ("xyz",)}, ("list_market", "xyz:TIN", 1, 5, "330.25"), "xyz:TIN-USD", 1.5, 330.25),
    ],
)
def test_33_a_spot_pair_and_a_market_of_a_builder_dex_are_traded_once_listed(options, listing, pair, amount, price):
    name, *terms = listing

    async def scenario(venue):
        for key in (MAKER_KEY, TAKER_KEY):
            venue.account(key.address)
            venue.give(key.address, "USDC", "5000", place="xyz")
        options["rules_every_s"] = 0.1
        async with connected(venue, **options) as maker, connected(venue, TAKER_KEY, **options) as taker:
            for connector in (maker, taker):
                connector.housekeeping_interval_s = 0.02
            asset = getattr(venue.interventions, name)(*terms)
            await until(lambda: all(c.get_trading_rule(pair) for c in (maker, taker)), timeout_s=20.0)
            rule = maker.get_trading_rule(pair)
            assert (rule.asset_id, float(rule.lot_size)) == (asset, 0.1)
            if options.get("spot"):
                venue.give(MAKER_KEY.address, "NEW", "100")
                await until(lambda: maker.get_available_balance("NEW") == 100.0)
            for connector in (maker, taker):
                connector.subscribe(pair)
            order = await resting(maker, maker.sell(OrderParams(pair, amount, price)))
            await ended(taker, taker.buy(OrderParams(pair, amount, price, **IOC)))
            assert (await ended(maker, order.client_order_id)).filled_amount == amount
            with pytest.raises(OrderRefused, match="lot"):
                taker.buy(OrderParams(pair, amount + 0.05, price))
            assert taker.heard.errors == []

    run(scenario, initial_spot={"USDC": "1000"})


def test_33_an_order_keeps_the_lots_it_was_made_with_when_the_markets_lot_changes():
    async def scenario(venue):
        async with connected(venue, **NEW_MARKETS) as maker, connected(venue, TAKER_KEY) as taker:
            pair = "ETH-USD"
            order = await resting(maker, maker.sell(OrderParams(pair, 0.02, 3100.0)))
            assert order.amount_lots == 200
            meta = await maker._rest.meta()
            (entry,) = [row for row in meta.universe if row.name == "ETH"]
            entry.szDecimals = 3

            async def changed():
                return meta

            maker._rest.meta = changed
            maker.housekeeping_interval_s = 0.02
            await until(lambda: not maker.get_trading_rule(pair).is_active)
            with pytest.raises(OrderRefused, match="not active"):
                maker.sell(OrderParams(pair, 0.02, 3100.0))
            await ended(taker, taker.buy(OrderParams(pair, 0.02, 3100.0, **IOC)))
            await ended(maker, order.client_order_id)
            assert (order.state, order.filled_lots, order.filled_amount) == (OrderState.FILLED, 200, 0.02)
            assert maker.get_position(pair).amount == -0.02

    run(scenario)


def test_35_the_address_limit_holds_up_orders_and_never_cancels(monkeypatch):
    monkeypatch.setattr(own_limits, "TRICKLE_S", 1.0)
    monkeypatch.setattr(venue_limits, "TRICKLE_MS", 60_000)

    async def scenario(venue):
        async with connected(venue) as connector:
            first = [await resting(connector, connector.buy(limit(0.01, 50000 + n))) for n in range(5)]
            account = venue.account(MAKER_KEY.address)
            venue.interventions.exhaust_address_budget(MAKER_KEY.address)
            # The venue's one request in a while is spent, so that the next one is refused.
            await resting(connector, connector.buy(limit(0.01, 51000)))
            refused = await ended(connector, connector.buy(limit(0.01, 51001)))
            assert refused.state is OrderState.FAILED
            assert refused.reason.startswith("addressLimit: Too many cumulative requests")
            venue_limits.TRICKLE_MS = 300  # less than what the connector leaves between two, however late one arrives
            asked = connector._outbox.requests
            started = time.monotonic()
            waiting = [connector.get_order(connector.buy(limit(0.01, 52000 + n))) for n in range(8)]
            for order in first:
                connector.cancel(order.client_order_id)
            for order in first:
                await ended(connector, order.client_order_id)
                assert order.state is OrderState.CANCELLED
            assert sum(bool(order.nonce) for order in waiting) < len(waiting) / 2, "cancels do not wait"
            await until(lambda: sum(bool(order.nonce) for order in waiting) >= 2)
            placed = [order for order in waiting if order.nonce]
            assert len(placed) <= 1 + time.monotonic() - started, "one at a time, and not at once"
            assert connector._outbox.requests - asked <= len(placed) + len(first)
            assert not [order for order in waiting if order.state is OrderState.FAILED]
            shown = {limit.name: limit for limit in connector.rate_limits()}["address_actions"]
            assert shown.refused == 1
            assert shown.used >= shown.capacity
            # The venue has forgiven: everything flows again once it has said so.
            account.actions_used = 0
            venue.config.address_limits = False
            await connector._read_limits()
            connector._outbox.wake()
            for order in waiting:
                await resting(connector, order.client_order_id)

    run(scenario)


def test_35_what_waits_too_long_for_its_turn_expires_unsent():
    async def scenario(venue):
        async with connected(venue) as connector:
            venue.interventions.exhaust_address_budget(MAKER_KEY.address)
            await resting(connector, connector.buy(limit(0.01, 51000)))
            await ended(connector, connector.buy(limit(0.01, 51001)))
            expiry = time.monotonic_ns() + 300_000_000
            order = connector.create_order(TradeType.BUY, limit(0.01, 51002), expire_mono_ns=expiry)
            connector.submit_order(order)
            await ended(connector, order.client_order_id)
            assert (order.state, order.reason, order.nonce) == (OrderState.EXPIRED, "never_sent", 0)

    run(scenario)


def test_35_the_budget_is_known_before_the_venue_has_to_refuse():
    async def scenario(venue):
        async with connected(venue, limit_requests=True) as connector:
            venue.account(MAKER_KEY.address).actions_used = 9_998
            await connector._read_limits()
            await resting(connector, connector.buy(limit(0.01, 51000)))
            await resting(connector, connector.buy(limit(0.01, 51001)))
            waits = connector.get_order(connector.buy(limit(0.01, 51002)))
            await asyncio.sleep(0.3)
            assert waits.nonce == 0
            assert "address_limit" not in {code for code, _ in connector.heard.errors}

    run(scenario, address_limits=True)


def test_35_a_batch_is_no_larger_than_what_is_left():
    async def scenario(venue):
        async with connected(venue, limit_requests=True) as connector:
            venue.account(MAKER_KEY.address).actions_used = 9_990
            await connector._read_limits()
            orders = [connector.get_order(connector.buy(limit(0.01, 50000 + n))) for n in range(20)]
            await until(lambda: sum(order.state is OrderState.OPEN for order in orders) == 10)
            await asyncio.sleep(0.2)
            assert sum(bool(order.nonce) for order in orders) == 10

    run(scenario, address_limits=True)
