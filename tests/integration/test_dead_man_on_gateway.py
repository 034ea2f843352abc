"""A gateway that is killed leaves no order behind for longer than it said: the venue cancels by itself."""

import time

import pytest
from eth_account import Account
from support.real_gateway import KEY, RealGateway, wait_for

from latentspeed.connectors import OrderParams, OrderState, OrderType
from latentspeed.tools.venues.hyperliquid.process import venue_process

PAIR = "BTC-USD"
ADDRESS = Account.from_key(KEY).address


@pytest.fixture
def gateway(tmp_path, request):
    with venue_process("--seed", "7", "--no-volume-needed") as venue:
        gateway = RealGateway(tmp_path, venue, options=f"dead_man_switch_s = {request.param}")
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.close()


@pytest.fixture
def order(gateway):
    """An order of a strategy, far from the market."""
    connector = gateway.attach(PAIR, name="quoter", cancel_on_death=False)
    price = connector.quantize_order_price(PAIR, connector.get_quote(PAIR).bid * 0.9)
    order = connector.get_order(connector.buy(OrderParams(PAIR, 0.001, price, OrderType.LIMIT_MAKER)))
    wait_for(lambda: order.state is OrderState.OPEN, f"never acknowledged: {order}")
    yield order
    connector.disconnect().result(60)


def open_orders(gateway):
    return gateway.info(type="openOrders", user=ADDRESS)


def last_status(gateway):
    return gateway.info(type="historicalOrders", user=ADDRESS)[0]["status"]


@pytest.mark.parametrize("gateway", [60], indirect=True)
def test_a_killed_gateways_orders_are_cancelled_in_time_and_its_successor_knows(gateway, order):
    gateway.kill()
    # Until then they stay: the venue waits for the time that was given.
    gateway.control("advance_clock", ms=20_000)
    time.sleep(0.3)
    assert len(open_orders(gateway)) == 1
    gateway.control("advance_clock", ms=41_500)
    wait_for(lambda: not open_orders(gateway), "the venue never cancelled")
    assert last_status(gateway) == "scheduledCancel"
    gateway.start()
    wait_for(lambda: order.is_done, f"the strategy never heard: {order}")
    assert (order.state, order.reason) == (OrderState.CANCELLED, "scheduledCancel")


@pytest.mark.parametrize("gateway", [8], indirect=True)
def test_a_living_gateways_orders_stay_and_so_do_those_that_it_was_told_to_leave(gateway, order):
    time.sleep(10.5)
    assert len(open_orders(gateway)) == 1
    assert order.state is OrderState.OPEN
    gateway.config.write_text(gateway.config.read_text().replace("state_dir", "cancel_on_stop = false\nstate_dir"))
    gateway.kill()
    gateway.start()
    assert len(open_orders(gateway)) == 1
    assert gateway.stop() == 0
    gateway.control("advance_clock", ms=3_600_000)
    time.sleep(0.3)
    assert len(open_orders(gateway)) == 1
