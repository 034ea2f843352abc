"""What belongs to a dYdX account reaches a strategy through the real gateway: leverage, TWAPs, funding, children."""

import pytest
from support.dydx_gateway import DydxGateway
from support.heard import Heard
from support.real_gateway import wait_for

from latentspeed.connectors import OrderParams, OrderState, OrderType, TradeType
from latentspeed.connectors.types import MarginMode, TimeInForce
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.tools.venues.dydx_v4.process import venue_process

PAIR, ISO = "BTC-USD", "ISO-USD"
HOUR_MS = 3_600_000


@pytest.fixture
def gateway(tmp_path):
    with venue_process("--block-ms", "200") as venue:
        gateway = DydxGateway(tmp_path, venue, pairs=(PAIR, ISO), options="parent_subaccount = true")
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.close()


@pytest.fixture
def connector(gateway):
    connector = RemoteConnector(gateway.engine, gateway.connector)
    connector.heard = Heard()
    connector.set_market_data_listener(connector.heard)
    connector.initialize().result(60)
    connector.connect().result(60)
    for pair in (PAIR, ISO):
        connector.subscribe(pair)
    connector.wait_ready().result(60)
    try:
        yield connector
    finally:
        connector.disconnect().result(60)


def bought(connector, pair, amount, price):
    """A position that an order at once has opened."""
    order = connector.get_order(
        connector.buy(OrderParams(pair, amount, price, OrderType.LIMIT, time_in_force=TimeInForce.IOC))
    )
    wait_for(lambda: order.is_done, f"never over: {order}")
    assert order.state is OrderState.FILLED, order.reason
    wait_for(lambda: (held := connector.get_position(pair)) and held.amount == amount, "the position never showed")


def test_leverage_margin_and_children_are_the_same_through_a_gateway(gateway, connector):
    assert connector.set_leverage(PAIR, 5).result(60) == 5
    connector.adjust_margin(ISO, 500.0).result(60)
    wait_for(lambda: connector.get_quote(ISO) is not None and connector.get_quote(ISO).ask > 0, "no quote")
    bought(connector, ISO, 10.0, 3.5)
    position = connector.get_position(ISO)
    assert position.margin_mode is MarginMode.ISOLATED
    wait_for(lambda: connector.get_position(ISO).margin_used > 0.0, "its margin never showed")
    bought(connector, PAIR, 0.001, 70_000.0)
    wait_for(lambda: connector.get_position(PAIR).leverage == 5, "its leverage never showed")


def test_a_twap_goes_on_over_a_crash_of_the_gateway_and_is_cancelled(gateway, connector):
    amount = 0.1
    order = connector.get_order(connector.place_twap(TradeType.BUY, PAIR, amount, 5))
    wait_for(lambda: order.fill_count >= 1, f"never traded: {order} {order.reason}")
    assert order.state is OrderState.PARTIALLY_FILLED
    gateway.kill()
    gateway.control("advance_clock", ms=60_000)
    gateway.start()
    before = order.fill_count
    gateway.control("advance_clock", ms=60_000)
    wait_for(lambda: order.fill_count > before, f"no slice was traded: {order}")
    assert connector.cancel(order.client_order_id)
    wait_for(lambda: order.state is OrderState.CANCELLED, f"never cancelled: {order}")
    assert 0.0 < order.filled_amount < amount
    assert connector.session_position(PAIR) == order.filled_amount
    assert connector.session_totals(PAIR).fill_count == order.fill_count


def test_funding_is_told_once_also_over_a_crash_of_the_gateway(gateway, connector):
    gateway.control("set_funding", ticker=PAIR, rate="0.00002")
    bought(connector, PAIR, 0.01, 70_000.0)
    gateway.control("advance_clock", ms=HOUR_MS)
    wait_for(lambda: connector.heard.fundings, "the payment was never told")
    (payment,) = connector.heard.fundings
    assert (payment.trading_pair, payment.position_amount, payment.rate) == (PAIR, 0.01, 0.00002)
    assert payment.amount_units < 0
    gateway.kill()
    gateway.control("advance_clock", ms=HOUR_MS)
    gateway.start()
    wait_for(lambda: len(connector.heard.fundings) > 1, "what was paid meanwhile was never told")
    first, second = connector.heard.fundings
    assert second.venue_utc_ns - first.venue_utc_ns > 0.9 * HOUR_MS * 10**6, "the first is not told again"
