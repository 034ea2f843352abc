"""A strategy trades the market of a builder dex from a configuration file through a real gateway."""

import pytest
from support.real_gateway import KEY, RealGateway, wait_for

from latentspeed.connectors import (
    MarginMode,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    VenueRejected,
)
from latentspeed.connectors.hyperliquid import SigningKey
from latentspeed.tools.venues.hyperliquid.process import venue_process

SILVER, OIL = "xyz:SILVER-USD", "hed:OIL-USDH"
ACCOUNT = SigningKey.from_hex(KEY).address


@pytest.fixture
def gateway(tmp_path):
    with venue_process("--seed", "7") as venue:
        gateway = RealGateway(
            tmp_path, venue, pairs=("BTC-USD", SILVER, OIL), options='dexs = ["xyz", "hed"]\nrules_every_s = 0.5'
        )
        try:
            gateway.info(type="clearinghouseState", user=ACCOUNT)
            gateway.control("give", user=ACCOUNT, token="USDC", amount="5000", place="xyz")
            gateway.control("give", user=ACCOUNT, token="USDH", amount="3000", place="hed")
            gateway.start()
            yield gateway
        finally:
            gateway.close()


@pytest.fixture
def connector(gateway):
    connector = gateway.attach(SILVER, OIL)
    try:
        yield connector
    finally:
        connector.disconnect().result(60)


def held(gateway, dex):
    rows = gateway.info(type="clearinghouseState", user=ACCOUNT, dex=dex)["assetPositions"]
    return {row["position"]["coin"]: row["position"]["szi"] for row in rows}


def test_markets_of_two_dexs_are_traded_through_one_gateway_each_with_its_own_collateral(gateway, connector):
    rule = connector.get_trading_rule(SILVER)
    assert (rule.symbol, rule.asset_id) == ("xyz:SILVER", 110_000)
    assert connector.get_trading_rule(OIL).quote_asset == "USDH"
    bought = connector.get_order(connector.buy(OrderParams(SILVER, 5.0, None, OrderType.MARKET, leverage=5)))
    wait_for(lambda: bought.is_done, f"never filled: {bought}")
    assert (bought.state, bought.fee_asset) == (OrderState.FILLED, "USDC"), bought.reason
    oil = connector.get_order(connector.sell(OrderParams(OIL, 3.0, None, OrderType.MARKET)))
    wait_for(lambda: oil.is_done, f"never filled: {oil}")
    assert (oil.state, oil.fee_asset) == (OrderState.FILLED, "USDH"), oil.reason
    assert (held(gateway, "xyz"), held(gateway, "hed")) == ({"xyz:SILVER": "5.0"}, {"hed:OIL": "-3.0"})
    wait_for(lambda: (connector.get_position(SILVER) or bought).amount == 5.0, "the position never showed")
    wait_for(lambda: connector.get_position(SILVER).leverage == 5, "its leverage never showed")
    wait_for(lambda: connector.get_balance("hed:USDH").total < 3000.0, "the fee never showed")
    assert {"USDC", "xyz:USDC", "hed:USDH"} <= {balance.asset for balance in connector.get_all_balances()}
    assert (connector.session_position(SILVER), connector.session_position(OIL)) == (5.0, -3.0)
    with pytest.raises(VenueRejected, match="Cannot switch leverage type"):
        connector.set_leverage(OIL, 3, MarginMode.ISOLATED).result(10)
    resting = connector.get_order(connector.buy(OrderParams(SILVER, 1.0, 60.0, OrderType.LIMIT_MAKER)))
    wait_for(lambda: resting.state is OrderState.OPEN, f"never open: {resting} {resting.reason}")
    gateway.kill()
    gateway.start()
    wait_for(lambda: connector.is_ready, "never ready again", 30)
    assert resting.state is OrderState.OPEN
    assert connector.cancel(resting.client_order_id)
    wait_for(lambda: resting.state is OrderState.CANCELLED, f"never cancelled: {resting}")
    close = OrderParams(SILVER, 5.0, None, OrderType.MARKET, PositionAction.CLOSE)
    sold = connector.get_order(connector.sell(close))
    wait_for(lambda: sold.is_done, f"never closed: {sold}")
    assert held(gateway, "xyz") == {}


def test_a_market_that_a_dex_lists_while_running_reaches_the_strategy_and_is_traded(gateway, connector):
    with pytest.raises(OrderRefused):
        connector.buy(OrderParams("xyz:TIN-USD", 1.0, 300.0))
    asset = gateway.control("list_market", coin="xyz:TIN", sz_decimals=1, price="330")["asset"]
    wait_for(lambda: connector.get_trading_rule("xyz:TIN-USD") is not None, "never listed", 30)
    assert connector.get_trading_rule("xyz:TIN-USD").asset_id == asset
    connector.subscribe("xyz:TIN-USD")
    wait_for(lambda: connector.get_quote("xyz:TIN-USD") is not None, "never quoted", 30)
    bought = connector.get_order(connector.buy(OrderParams("xyz:TIN-USD", 1.5, None, OrderType.MARKET)))
    wait_for(lambda: bought.is_done, f"never filled: {bought}")
    assert (bought.state, held(gateway, "xyz")) == (OrderState.FILLED, {"xyz:TIN": "1.5"}), bought.reason
