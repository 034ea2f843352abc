"""A strategy trades spot through the real gateway: orders, fees in the base token, balances, and no positions."""

import pytest
from support.real_gateway import RealGateway, wait_for

from latentspeed.connectors import (
    ConnectorType,
    MarginMode,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
)
from latentspeed.tools.venues.hyperliquid.process import venue_process

PAIR = "HYPE-USDC"


@pytest.fixture
def gateway(tmp_path):
    with venue_process("--seed", "7", "--spot", "USDC=10000", "--spot", "HYPE=100") as venue:
        gateway = RealGateway(tmp_path, venue, pairs=(PAIR,), market="spot")
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.close()


@pytest.fixture
def connector(gateway):
    connector = gateway.attach(PAIR)
    try:
        yield connector
    finally:
        connector.disconnect().result(60)


def test_spot_is_traded_through_the_gateway_and_shown_in_balances_alone(connector):
    assert connector.connector_type is ConnectorType.SPOT
    assert connector.get_balance("HYPE").total == connector.get_available_balance("HYPE") == 100.0
    ask = connector.get_quote(PAIR).ask
    bought = connector.get_order(connector.buy(OrderParams(PAIR, 2.0, None, OrderType.MARKET)))
    wait_for(lambda: bought.state is OrderState.FILLED, f"never filled: {bought}")
    assert bought.fee_asset == "HYPE"
    assert bought.fee_paid == 2.0 * 0.0007
    wait_for(lambda: connector.get_balance("HYPE").total == 102.0 - bought.fee_paid, "the balance never showed")
    assert connector.get_balance("USDC").total == pytest.approx(10_000 - 2.0 * bought.average_price, abs=1e-8)
    assert connector.session_position(PAIR) == 2.0
    bid = connector.quantize_order_price(PAIR, ask * 0.9)
    resting = connector.get_order(connector.buy(OrderParams(PAIR, 1.0, bid, OrderType.LIMIT_MAKER)))
    wait_for(lambda: resting.state is OrderState.OPEN, f"never open: {resting}")
    usdc = connector.get_balance("USDC")
    wait_for(lambda: usdc.copy().total - connector.get_available_balance("USDC") > 0.9 * bid, "nothing was held")
    lower = connector.quantize_order_price(PAIR, bid * 0.99)
    changed = connector.get_order(connector.modify(resting.client_order_id, price=lower))
    wait_for(lambda: changed.state is OrderState.OPEN, f"never changed: {changed}")
    assert connector.cancel(changed.client_order_id)
    wait_for(lambda: changed.state is OrderState.CANCELLED, f"never cancelled: {changed}")
    wait_for(lambda: connector.get_available_balance("USDC") == connector.get_balance("USDC").total, "still held")
    assert connector.get_position(PAIR) is None
    assert connector.get_all_positions() == []
    assert {balance.asset for balance in connector.get_all_balances()} == {"USDC", "HYPE"}


def test_what_only_margin_has_is_refused_before_anything_is_sent(connector):
    for refused in (
        lambda: connector.set_leverage(PAIR, 1),
        lambda: connector.set_margin_mode(PAIR, MarginMode.ISOLATED),
        lambda: connector.adjust_margin(PAIR, 5.0),
        lambda: connector.sell(OrderParams(PAIR, 1.0, 30.0, position_action=PositionAction.CLOSE)),
        lambda: connector.buy(OrderParams(PAIR, 1.0, 30.0, leverage=1)),
        lambda: connector.buy(OrderParams(PAIR, 1.0, None, OrderType.STOP_MARKET, trigger_price=40.0)),
        lambda: connector.protect_position(PAIR),
    ):
        with pytest.raises(OrderRefused):
            refused()
    assert connector.get_open_orders() == []


def test_a_restarted_gateway_goes_on_with_spot_orders_and_balances(gateway, connector):
    order = connector.get_order(connector.sell(OrderParams(PAIR, 1.0, 60.0)))
    wait_for(lambda: order.state is OrderState.OPEN, f"never open: {order}")
    gateway.kill()
    gateway.start()
    wait_for(lambda: connector.is_ready, "never ready again")
    assert order.state is OrderState.OPEN
    assert connector.get_available_balance("HYPE") == 99.0
    assert connector.cancel(order.client_order_id)
    wait_for(lambda: order.state is OrderState.CANCELLED, f"never cancelled: {order}")
