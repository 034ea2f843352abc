"""Spot on the local venue: what is refused, who owns which order, TWAP, and balances that move without an order."""

from __future__ import annotations

import asyncio

import pytest
from connected import MAKER_KEY, PAIR, TAKER_KEY, connected, ended, limit, new_connector, resting, run, until

from latentspeed.connectors import (
    ConnectorType,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PerpetualDerivativeBase,
    TimeInForce,
    TradeType,
)
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid import HyperliquidConfig, HyperliquidSpotConnector, SigningKey
from latentspeed.connectors.hyperliquid.config import LOCAL, SPOT_MAINNET, SPOT_TESTNET
from latentspeed.connectors.hyperliquid.nonces import now_ms

HYPE = "HYPE-USDC"
SPOT = {"USDC": "1000", "HYPE": "100"}
OTHER_AGENT = SigningKey(b"\x09" * 32)


def spot(amount, price, **more):
    return OrderParams(HYPE, amount, price, **more)


def test_the_venue_says_what_the_balance_does_not_allow():
    async def scenario(venue):
        async with connected(venue, pairs=(HYPE,), spot=True) as trader:
            assert trader.connector_type is ConnectorType.SPOT
            assert not isinstance(trader, PerpetualDerivativeBase)
            too_much = await ended(trader, trader.sell(spot(100.01, 31.5)))
            assert too_much.state is OrderState.FAILED
            assert too_much.reason.startswith("insufficientSpotBalanceRejected")
            await resting(trader, trader.sell(spot(60.0, 31.5)))
            held = await ended(trader, trader.sell(spot(60.0, 32.0)))  # what an order holds is not there twice
            assert held.reason.startswith("insufficientSpotBalanceRejected")
            await until(lambda: trader.get_available_balance("HYPE") == 40.0)
            assert trader.get_available_balance("USDH") == 0.0
            lapsed = await ended(trader, trader.buy(spot(1.0, 31.0, time_in_force=TimeInForce.IOC)))
            assert (lapsed.state, lapsed.reason.split(":")[0]) == (OrderState.EXPIRED, "iocCancelRejected")

    run(scenario, initial_spot=SPOT)


def test_what_spot_does_not_have_is_refused_before_anything_is_sent():
    async def scenario(venue):
        async with connected(venue, pairs=(HYPE,), spot=True) as trader:
            for params in (
                spot(0.1, 31.5),  # below ten of the quote token
                spot(1.0, 31.5, leverage=2),
                spot(1.0, 31.1234567),
                spot(1.001, 31.5),
                spot(1.0, None, order_type=OrderType.STOP_MARKET, trigger_price=30.0),
                OrderParams("HYPE-USD", 1.0, 31.5),
            ):
                with pytest.raises(OrderRefused):
                    trader.buy(params)
            with pytest.raises(OrderRefused, match="no quote"):
                trader.buy(spot(1.0, None, order_type=OrderType.MARKET))
            assert trader.get_open_orders() == []

    run(scenario, initial_spot=SPOT)


def test_spot_and_perpetuals_of_one_account_leave_each_other_alone():
    async def scenario(venue):
        master = MAKER_KEY.address
        venue.account(master)
        venue.state.agents.approve(master, OTHER_AGENT.address, "spot", now_ms())
        agent = {"account_address": master, "pairs": (HYPE,), "spot": True}
        async with connected(venue) as perpetual:
            future = await resting(perpetual, perpetual.buy(limit(0.01, 60000)))
            async with connected(venue, OTHER_AGENT, **agent) as trader:
                assert trader.get_open_orders() == trader.foreign_orders == []
                order = await resting(trader, trader.buy(spot(1.0, 31.0)))
                await perpetual.resync()
                await trader.resync()
                assert perpetual.get_open_orders() == [future]
                assert trader.get_open_orders() == [order]
                assert trader.cancel_all() == 1
                await ended(trader, order.client_order_id)
                assert future.state is OrderState.OPEN
                left = await resting(trader, trader.buy(spot(1.0, 30.0)))
            # The engine's next gateway finds its own, and no order of the other market.
            async with connected(venue, OTHER_AGENT, **agent) as successor:
                assert [known.client_order_id for known in successor.get_open_orders()] == [left.client_order_id]
            assert perpetual.heard.errors == []

    run(scenario, initial_spot=SPOT)


def test_a_twap_sells_slice_by_slice_and_the_balances_follow():
    async def scenario(venue):
        async with (
            connected(venue, TAKER_KEY, pairs=(HYPE,), spot=True) as maker,
            connected(venue, pairs=(HYPE,), spot=True) as trader,
        ):
            await resting(maker, maker.buy(spot(20.0, 31.5)))
            await until(lambda: trader.get_quote(HYPE).bid == 31.5)
            with pytest.raises(OrderRefused):
                trader.place_twap(TradeType.SELL, "BTC-USD", 20.0, 5)
            twap = trader.get_order(trader.place_twap(TradeType.SELL, HYPE, 20.0, 5))
            await until(lambda: twap.fill_count == 1, what=lambda: (twap, trader.heard.errors))
            while not twap.is_done:
                before = twap.fill_count
                venue.clock.advance(30_000)
                await until(lambda before=before: twap.fill_count > before or twap.is_done, what=twap)
            assert (twap.state, twap.filled_amount, twap.average_price) == (OrderState.FILLED, 20.0, 31.5)
            await until(lambda: trader.get_balance("HYPE").total == 80.0)
            fees = sum(trade.fee_units for _, trade in trader.heard.trades)
            assert {trade.fee_asset for _, trade in trader.heard.trades} == {"USDC"}
            await until(lambda: trader.get_balance("USDC").total == round(1630 - fees / 10**8, 8))

    run(scenario, initial_spot=SPOT)


def test_balances_that_move_without_an_order_are_pushed():
    async def scenario(venue):
        async with connected(venue, pairs=(HYPE,), spot=True, reconcile_every_s=0) as trader:
            venue.give(MAKER_KEY.address, "USDH", "12.5")
            await until(lambda: trader.get_available_balance("USDH") == 12.5)
            venue.drop_sockets()
            venue.give(MAKER_KEY.address, "HYPE", "1.00000001")
            await until(lambda: not trader.is_connected)
            await until(lambda: trader.is_ready and trader.get_balance("HYPE").total == 101.00000001)

    run(scenario, initial_spot=SPOT)


def test_a_domain_belongs_to_one_kind_of_market():
    with pytest.raises(InvalidOption, match="hyperliquid_spot_testnet"):
        HyperliquidSpotConnector(HyperliquidConfig(), MAKER_KEY)
    assert HyperliquidSpotConnector(HyperliquidConfig(domain=SPOT_MAINNET), MAKER_KEY).config.is_mainnet
    testnet = HyperliquidConfig(domain=SPOT_TESTNET)
    assert (testnet.is_mainnet, testnet.rest_url) == (False, "https://api.hyperliquid-testnet.xyz")
    fee = {"builder_address": "0x" + "0a" * 20, "builder_fee_tenths_bp": 1000}
    assert HyperliquidConfig(domain=SPOT_MAINNET, **fee).builder_fee_tenths_bp == 1000
    for wrong in ({"domain": LOCAL, "base_url": "http://127.0.0.1:1", **fee}, {"domain": SPOT_MAINNET, "dexs": ("x",)}):
        with pytest.raises(InvalidOption):
            HyperliquidConfig(**wrong)


def test_a_spot_connector_says_which_pair_is_unknown_when_it_connects():
    async def scenario(venue):
        connector = new_connector(venue, spot=True)
        connector.subscribe(PAIR)
        with pytest.raises(OrderRefused, match=PAIR):
            await connector.connect()
        await asyncio.sleep(0)

    run(scenario)
