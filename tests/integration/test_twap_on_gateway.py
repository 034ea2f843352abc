"""A strategy has the venue slice an order through the real gateway: its fills, its cancel, its death, a restart."""

import os
import signal
import subprocess
import sys

import pytest
from support.real_gateway import KEY, RealGateway, wait_for

from latentspeed.connectors import OrderRefused, OrderState, OrderType, PositionAction, TradeType
from latentspeed.connectors.hyperliquid import SigningKey
from latentspeed.engine.segment_layout import attach_segment
from latentspeed.tools.inspector.read import Inspector
from latentspeed.tools.venues.hyperliquid.process import venue_process

PAIR = "BTC-USD"
SLICE_MS = 30_000
ACCOUNT = SigningKey.from_hex(KEY).address
DYING = """
import sys, time
from latentspeed.connectors import TradeType
from latentspeed.engine.remote_connector import RemoteConnector
connector = RemoteConnector(sys.argv[1], "hyperliquid", name="dying", cancel_on_death=sys.argv[2] == "cancel")
connector.initialize().result(60)
connector.connect().result(60)
connector.subscribe("BTC-USD")
connector.wait_ready().result(20)
order = connector.get_order(connector.place_twap(TradeType.BUY, "BTC-USD", 0.1, 5))
while not order.fill_count:
    time.sleep(0.01)
print(order.client_order_id, flush=True)
time.sleep(600)
"""


@pytest.fixture
def gateway(tmp_path):
    with venue_process("--seed", "7") as venue:
        gateway = RealGateway(tmp_path, venue)
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


def snapshot(gateway):
    """What the inspector shows of the gateway."""
    with Inspector(gateway.engine) as inspector:
        (segment,) = inspector.snapshot().segments
    return segment


def history(gateway):
    """Statuses of the account's TWAPs at the venue, oldest first, by number."""
    found = {}
    rows = gateway.info(type="twapHistory", user=ACCOUNT)
    for row in sorted(rows, key=lambda row: row["status"]["status"] != "activated"):
        found.setdefault(row["twapId"], []).append(row["status"]["status"])
    return found


def slice_by_slice(gateway, order, until):
    while not until():
        before = order.fill_count
        gateway.control("advance_clock", ms=SLICE_MS)
        wait_for(lambda before=before: order.fill_count > before or until(), f"no slice was traded: {order}")


def test_a_twap_is_an_order_of_its_session_with_its_fills_books_and_state(gateway, connector):
    assert OrderType.TWAP in connector.order_limits.order_types
    order = connector.get_order(connector.place_twap(TradeType.BUY, PAIR, 0.1, 5, randomize=True))
    wait_for(lambda: order.fill_count == 1, f"never traded: {order} {order.reason}")
    assert order.state is OrderState.PARTIALLY_FILLED
    (shown,) = [row for row in snapshot(gateway).orders if row.is_live]
    assert (shown.order_type, shown.amount, shown.filled_amount) == ("TWAP", 0.1, order.filled_amount)
    slice_by_slice(gateway, order, lambda: order.is_done)
    assert (order.state, order.filled_amount) == (OrderState.FILLED, 0.1)
    assert connector.session_position(PAIR) == 0.1
    fills = gateway.info(type="userFills", user=ACCOUNT)
    assert connector.session_totals(PAIR).fill_count == order.fill_count == len(fills)
    assert {f"twap{fill['twapId']}" for fill in fills} == {order.exchange_order_id}
    wait_for(lambda: (held := connector.get_position(PAIR)) and held.amount == 0.1, "the position never showed")


def test_a_twap_is_cancelled_like_any_order_and_what_no_twap_can_be_is_refused(gateway, connector):
    for amount, minutes in ((0.0, 5), (0.1, 0), (0.1, "5")):
        with pytest.raises(OrderRefused):
            connector.place_twap(TradeType.SELL, PAIR, amount, minutes)
    refused = connector.get_order(
        connector.place_twap(TradeType.SELL, PAIR, 0.1, 5, position_action=PositionAction.CLOSE)
    )
    wait_for(lambda: refused.is_done, f"never refused: {refused}")
    assert refused.state is OrderState.FAILED
    assert refused.reason.startswith("reduceOnlyRejected") or "Reduce-only TWAP" in refused.reason
    order = connector.get_order(connector.place_twap(TradeType.SELL, PAIR, 0.1, 5))
    wait_for(lambda: order.fill_count == 1, f"never traded: {order} {order.reason}")
    assert connector.cancel(order.client_order_id)
    wait_for(lambda: order.state is OrderState.CANCELLED, f"never cancelled: {order}")
    assert list(history(gateway).values()) == [["activated", "terminated"]]
    other = connector.get_order(connector.place_twap(TradeType.BUY, PAIR, 0.1, 5))
    wait_for(lambda: other.state is OrderState.PARTIALLY_FILLED, f"never traded: {other}")
    connector.cancel_all()
    wait_for(lambda: other.state is OrderState.CANCELLED, f"never cancelled: {other}")


@pytest.mark.parametrize(("policy", "ends"), [("cancel", True), ("keep", False)])
def test_the_death_of_a_strategy_cancels_its_twaps_as_its_orders_unless_it_keeps_them(gateway, policy, ends):
    strategy = subprocess.Popen(
        [sys.executable, "-P", "-c", DYING, gateway.engine, policy], stdout=subprocess.PIPE, env=os.environ
    )
    try:
        assert strategy.stdout.readline()
    finally:
        strategy.send_signal(signal.SIGKILL)
        strategy.wait()
        strategy.stdout.close()
    wait_for(lambda: not snapshot(gateway).sessions, "its session was never settled")
    if ends:
        wait_for(lambda: list(history(gateway).values()) == [["activated", "terminated"]], "it was never cancelled")
    else:
        assert list(history(gateway).values()) == [["activated"]]


def test_a_restarted_gateway_goes_on_with_a_twap_and_counts_each_fill_once(gateway, connector):
    order = connector.get_order(connector.place_twap(TradeType.BUY, PAIR, 0.1, 5))
    wait_for(lambda: order.fill_count == 1, f"never traded: {order} {order.reason}")
    gateway.kill()
    gateway.control("advance_clock", ms=SLICE_MS)
    gateway.start()
    wait_for(lambda: order.fill_count == 2, f"the fill of the gap never came: {order}")
    slice_by_slice(gateway, order, lambda: order.fill_count >= 4)
    assert order.state is OrderState.PARTIALLY_FILLED
    assert connector.cancel(order.client_order_id)
    wait_for(lambda: order.state is OrderState.CANCELLED, f"never cancelled: {order}")
    fills = gateway.info(type="userFills", user=ACCOUNT)
    wait_for(lambda: connector.session_totals(PAIR).fill_count == len(fills), f"{order} of {len(fills)} fills")
    assert connector.session_position(PAIR) == order.filled_amount
    assert list(history(gateway).values()) == [["activated", "terminated"]]


def test_a_gateway_that_was_killed_before_the_answer_came_finds_the_twap_and_does_not_send_it_again(gateway, connector):
    gateway.control("silent_sockets", on=True, channels=["user"])  # which would tell the number before the answer does
    gateway.control("delay_reply_ms", value=4000)
    order = connector.get_order(connector.place_twap(TradeType.BUY, PAIR, 0.1, 5))
    wait_for(lambda: order.is_submitted, f"never signed: {order}")
    with attach_segment(gateway.engine, gateway.connector) as segment:
        # What is signed is written in the same turn of the gateway's loop, and in the next ones its heart beats.
        beat = segment.heartbeat_mono_ns
        wait_for(lambda: segment.heartbeat_mono_ns > beat, "its heart stopped")
    gateway.kill()
    gateway.control("reset_faults")
    assert order.exchange_order_id is None
    gateway.start()
    wait_for(lambda: order.state is OrderState.PARTIALLY_FILLED, f"never found: {order} {order.reason}", 60)
    assert len(history(gateway)) == 1
    assert connector.cancel(order.client_order_id)
    wait_for(lambda: order.state is OrderState.CANCELLED, f"never cancelled: {order}")
