"""Markets of builder dexs on the local venue: margin and balances of each dex, funding, restarts, wrong names."""

from __future__ import annotations

import pytest
from connected import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, new_connector, resting, run, until

from latentspeed.connectors import MarginMode, OrderParams, OrderRefused, OrderState, PositionAction, TimeInForce
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid.config import LOCAL, HyperliquidConfig

HOUR_MS = 3_600_000
SILVER, NVDA, OIL = "xyz:SILVER-USD", "xyz:NVDA-USD", "hed:OIL-USDH"
DEXS = {"dexs": ("xyz", "hed"), "pairs": (PAIR, SILVER, NVDA, OIL)}
IOC = {"time_in_force": TimeInForce.IOC}


def fund(venue):
    for key in (MAKER_KEY, TAKER_KEY):
        venue.account(key.address)
        venue.give(key.address, "USDC", "5000", place="xyz")
        venue.give(key.address, "USDH", "3000", place="hed")


async def buy(maker, taker, pair, amount, price):
    await resting(maker, maker.sell(OrderParams(pair, amount, price)))
    order = await ended(taker, taker.buy(OrderParams(pair, amount, price, **IOC)))
    assert order.state is OrderState.FILLED, order


def test_each_dex_has_its_own_collateral_and_positions():
    async def scenario(venue):
        fund(venue)
        async with connected(venue, **DEXS) as maker, connected(venue, TAKER_KEY, **DEXS) as taker:
            totals = {balance.asset: balance.total for balance in taker.get_all_balances()}
            assert totals == {"USDC": 100_000.0, "xyz:USDC": 5000.0, "hed:USDH": 3000.0}
            await buy(maker, taker, SILVER, 10.0, 80.5)
            await buy(maker, taker, PAIR, 0.01, 64000.0)
            await until(lambda: taker.get_balance("xyz:USDC").total < 5000.0)
            await until(lambda: taker.get_available_balance("xyz:USDC") < taker.get_balance("xyz:USDC").total)
            await until(lambda: taker.get_balance("USDC").total < 100_000.0)
            assert taker.get_balance("hed:USDH").total == 3000.0
            # A state of one dex says nothing of the positions in another.
            await taker.resync()
            assert {position.trading_pair: position.amount for position in taker.get_all_positions()} == {
                SILVER: 10.0,
                PAIR: 0.01,
            }
            await resting(maker, maker.buy(OrderParams(SILVER, 10.0, 80.5)))
            close = OrderParams(SILVER, 10.0, 80.5, position_action=PositionAction.CLOSE, **IOC)
            assert (await ended(taker, taker.sell(close))).state is OrderState.FILLED
            await taker.resync()
            assert [position.trading_pair for position in taker.get_all_positions()] == [PAIR]
            assert taker.heard.errors == maker.heard.errors == []

    run(scenario)


def test_a_position_that_is_gone_while_away_is_flat_afterwards():
    async def scenario(venue):
        fund(venue)
        async with connected(venue, **DEXS) as maker, connected(venue, TAKER_KEY, **DEXS) as taker:
            await buy(maker, taker, SILVER, 10.0, 80.5)
            await buy(maker, taker, OIL, 2.0, 62.4)
            for name in ("userFills", "orderUpdates"):
                taker._streams.set_handler(name, lambda data, mono_ns: None)
            async with connected(venue, TAKER_KEY, engine_instance=5, **DEXS) as elsewhere:
                await resting(maker, maker.buy(OrderParams(SILVER, 10.0, 80.5)))
                close = OrderParams(SILVER, 10.0, 80.5, position_action=PositionAction.CLOSE, **IOC)
                await ended(elsewhere, elsewhere.sell(close))
            await taker.resync()
            assert [position.trading_pair for position in taker.get_all_positions()] == [OIL]

    run(scenario)


def test_isolated_only_markets_of_a_dex_refuse_cross_margin_and_take_leverage():
    async def scenario(venue):
        fund(venue)
        async with connected(venue, **DEXS) as trader:
            with pytest.raises(OrderRefused, match="isolated margin only"):
                trader.set_margin_mode(NVDA, MarginMode.CROSS)
            assert await trader.set_leverage(NVDA, 3) == 3
            assert await trader.set_leverage(SILVER, 5, MarginMode.ISOLATED) == 5
            assert await trader._ask_leverage(trader.get_trading_rule(SILVER)) == (5, MarginMode.ISOLATED)

    run(scenario)


def test_funding_on_a_dex_is_paid_in_its_collateral():
    async def scenario(venue):
        fund(venue)
        async with connected(venue, **DEXS) as maker, connected(venue, TAKER_KEY, **DEXS) as taker:
            payments = []
            taker.heard.on_funding = payments.append
            await buy(maker, taker, OIL, 2.0, 62.4)
            venue.clock.advance(HOUR_MS)
            venue.tick()
            await until(lambda: payments)
            assert (payments[0].trading_pair, payments[0].asset, payments[0].position_amount) == (OIL, "USDH", 2.0)

    run(scenario)


def test_the_next_gateway_adopts_the_open_orders_of_every_dex():
    async def scenario(venue):
        fund(venue)
        async with connected(venue, **DEXS) as first:
            left = [
                await resting(first, first.buy(OrderParams(SILVER, 10.0, 70.0))),
                await resting(first, first.buy(OrderParams(OIL, 2.0, 60.0))),
                await resting(first, first.buy(limit(0.01, 60000))),
            ]
        async with connected(venue, **DEXS) as second:
            adopted = {order.client_order_id: order.trading_pair for order in second.get_open_orders()}
            assert adopted == {order.client_order_id: order.trading_pair for order in left}
            assert second.cancel_all() == 3
            await until(lambda: not second.get_open_orders())
        assert not venue.account(MAKER_KEY.address).open_orders

    run(scenario)


def test_a_dex_that_the_venue_does_not_have_stops_the_start():
    async def scenario(venue):
        with pytest.raises(InvalidOption, match="no such dex"):
            await new_connector(venue, dexs=("XYZ",)).connect()

    run(scenario)


@pytest.mark.parametrize("dexs", [("",), ("xyz", "xyz"), ("xyz:SILVER",), (3,)])
def test_dexs_are_named_once_each_and_by_name(dexs):
    with pytest.raises(InvalidOption, match="dexs"):
        HyperliquidConfig(domain=LOCAL, base_url="http://127.0.0.1:1", dexs=dexs)
