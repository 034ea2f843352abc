"""Strategies on the real gateway and a venue that speaks the real protocol: trade, crash, come back, lose nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from eth_account import Account
from support.polling import poll_until
from support.real_gateway import KEY, RealGateway, wait_for

from latentspeed.connectors import (
    ConnectorState,
    ExitParams,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TradeType,
)
from latentspeed.engine.ledger import BookTotals, LedgerGroup, ledger_index
from latentspeed.engine.records import BookRow
from latentspeed.engine.segment_layout import attach_segment, sizes_of
from latentspeed.tools.venues.hyperliquid.process import venue_process

EXAMPLE = Path(__file__).parents[2] / "examples" / "quoter.py"
ADDRESS = Account.from_key(KEY).address.lower()


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
def attach(gateway):
    made = []

    def make(*, background=False, **options):
        made.append(gateway.attach("BTC-USD", background=background, **options))
        return made[-1]

    yield make
    for connector in made:
        connector.disconnect().result(60)


def market(amount=0.001, **fields):
    return OrderParams("BTC-USD", amount, None, OrderType.MARKET, **fields)


def far_bid(connector, amount=0.001):
    price = connector.quantize_order_price("BTC-USD", connector.get_quote("BTC-USD").bid * 0.9)
    return OrderParams("BTC-USD", amount, price, OrderType.LIMIT_MAKER)


def ledger(gateway, group, slot=0, instrument=0):
    """A row of the gateway's own books."""
    with attach_segment(gateway.engine, "hyperliquid") as segment:
        sizes = sizes_of(segment)
        row = BookRow()
        segment.table("ledger").read(ledger_index(group, slot, instrument, sizes.sessions, sizes.instruments), row)
        return BookTotals.from_row(row)


def number(connector, pair="BTC-USD"):
    return connector._view.number(pair)


def test_a_plain_script_trades_on_the_venue(attach):
    connector = attach(background=True)
    assert connector.get_trading_rule("BTC-USD").max_leverage == 40
    resting = connector.get_order(connector.buy(far_bid(connector)))
    wait_for(lambda: resting.state is OrderState.OPEN, f"never acknowledged: {resting}")
    assert resting.get_exchange_order_id().result(60) == resting.exchange_order_id
    assert connector.set_leverage("BTC-USD", 7).result(60) == 7
    bought = connector.get_order(connector.buy(market()))
    wait_for(lambda: bought.state is OrderState.FILLED, f"never filled: {bought}")
    wait_for(lambda: (connector.get_position("BTC-USD") or resting).amount == 0.001, "the position never showed")
    assert connector.session_position("BTC-USD") == 0.001
    assert connector.cancel(resting.client_order_id)
    wait_for(lambda: resting.state is OrderState.CANCELLED, f"never cancelled: {resting}")
    assert connector.cancel(resting.client_order_id) is False
    crossing = connector.quantize_order_price("BTC-USD", connector.get_quote("BTC-USD").ask * 1.05)
    refused = connector.get_order(connector.buy(OrderParams("BTC-USD", 0.001, crossing, OrderType.LIMIT_MAKER)))
    wait_for(lambda: refused.is_done, f"never refused: {refused}")
    assert refused.state is OrderState.FAILED
    assert "badAloPx" in refused.reason


def test_two_strategies_have_books_of_their_own_that_add_up_to_the_gateways(gateway, attach):
    one, two = attach(name="one", tag=1), attach(name="two", tag=2)
    first = one.get_order(one.buy(market(0.003)))
    second = two.get_order(two.sell(market(0.001)))
    poll_until(one, lambda: first.is_done, timeout_s=60)
    poll_until(two, lambda: second.is_done, timeout_s=60)
    assert (one.session_position("BTC-USD"), two.session_position("BTC-USD")) == (0.003, -0.001)
    expected = BookTotals()
    expected.add(one.session_totals("BTC-USD"))
    expected.add(two.session_totals("BTC-USD"))
    assert ledger(gateway, LedgerGroup.TOTAL, instrument=number(one)) == expected
    assert one.get_position("BTC-USD").amount == 0.002


def test_a_session_lives_through_a_kill_of_its_gateway(gateway, attach):
    connector = attach(name="maker", tag=3)
    states = []
    connector.set_market_data_listener(
        type("L", (), {"__getattr__": lambda self, name: lambda subject: states.append((name, subject))})()
    )
    resting = connector.get_order(connector.buy(far_bid(connector)))
    poll_until(connector, lambda: resting.state is OrderState.OPEN, timeout_s=60)
    filled = connector.get_order(connector.buy(market()))
    poll_until(connector, lambda: filled.is_done, timeout_s=60)
    generation = connector.session_generation
    gateway.kill()
    poll_until(connector, lambda: ("on_connection_state", ConnectorState.DISCONNECTED) in states, timeout_s=60)
    with pytest.raises(OrderRefused):
        connector.buy(market())
    assert connector.cancel(resting.client_order_id), "the cancel waits for the successor"
    gateway.start()
    poll_until(connector, lambda: resting.state is OrderState.CANCELLED, f"never cancelled: {resting}", 60)
    poll_until(connector, lambda: connector.is_ready, "never ready again", 60)
    assert connector.session_generation == generation
    again = connector.get_order(connector.sell(market(position_action=PositionAction.CLOSE)))
    poll_until(connector, lambda: again.is_done, f"never filled: {again}", 60)
    assert again.state is OrderState.FILLED
    assert connector.session_position("BTC-USD") == 0.0
    assert connector.session_totals("BTC-USD") == ledger(gateway, LedgerGroup.TOTAL, instrument=number(connector))


def test_stops_modifies_and_brackets_of_a_strategy_live_through_a_kill_of_its_gateway(gateway, attach):
    connector = attach(name="maker", tag=3)

    def at(share):
        return connector.quantize_order_price("BTC-USD", connector.get_quote("BTC-USD").bid * share)

    def order(name):
        return connector.get_order(name)

    def position():
        held = connector.get_position("BTC-USD")
        return held and held.amount

    def live(*orders):
        return all(each.state is OrderState.OPEN and each.exchange_order_id for each in orders)

    stop = order(connector.sell(OrderParams("BTC-USD", 0.001, None, OrderType.STOP_MARKET, trigger_price=at(0.8))))
    old = order(connector.buy(far_bid(connector)))
    ids = connector.place_bracket(
        TradeType.BUY,
        OrderParams("BTC-USD", 0.001, at(0.9)),
        take_profit=ExitParams(at(1.2)),
        stop_loss=ExitParams(at(0.8), at(0.79)),
    )
    entry, take, loss = map(order, ids)
    poll_until(connector, lambda: live(stop, old, entry, take, loss), timeout_s=60)
    new = order(connector.modify(old.client_order_id, price=at(0.85)))
    poll_until(connector, lambda: live(new) and old.is_done, timeout_s=60)
    assert old.state is OrderState.CANCELLED
    gateway.kill()
    gateway.start()
    poll_until(connector, lambda: connector.is_ready, "never ready again", 60)
    alive = (stop, new, entry, take, loss)
    connector.resync()
    poll_until(connector, lambda: live(*alive), timeout_s=60)
    listed = gateway.info(type="frontendOpenOrders", user=ADDRESS)
    assert {row["oid"] for row in listed} == {int(each.exchange_order_id) for each in alive}
    newer = order(connector.modify(new.client_order_id, amount=0.002))
    poll_until(connector, lambda: live(newer) and new.is_done, timeout_s=60)
    bought = order(connector.buy(market(0.002)))
    poll_until(connector, lambda: bought.is_done and position() == 0.002, timeout_s=60)
    protecting = connector.protect_position("BTC-USD", stop_loss=ExitParams(at(0.7)))
    guard = order(protecting.stop_loss)
    poll_until(connector, lambda: live(guard), timeout_s=60)
    gateway.control("set_price", coin="BTC", price=str(int(at(0.65))))
    poll_until(connector, lambda: guard.is_done and stop.is_done, timeout_s=60)
    connector.cancel_all()
    poll_until(connector, lambda: not connector.get_open_orders(), timeout_s=60)
    assert gateway.info(type="frontendOpenOrders", user=ADDRESS) == []
    assert connector.session_totals("BTC-USD") == ledger(gateway, LedgerGroup.TOTAL, instrument=number(connector))


def test_orders_in_flight_at_a_kill_all_end_and_their_fills_are_counted_once(gateway, attach):
    connector = attach(name="taker", tag=4)
    orders = []
    for round_number in range(3):
        for _ in range(8):
            orders.append(connector.get_order(connector.buy(market(0.0005))))
        gateway.kill()
        gateway.start()
        poll_until(connector, lambda: not connector.get_open_orders(), f"left open in round {round_number}", 40)
        poll_until(connector, lambda: connector.is_ready, "never ready again", 60)
    states = {order.state for order in orders}
    assert states <= {OrderState.FILLED, OrderState.FAILED, OrderState.EXPIRED, OrderState.CANCELLED}, states
    fills = gateway.info(type="userFills", user=ADDRESS)
    venue_lots = sum(round(float(fill["sz"]) * 1e5) for fill in fills)
    assert sum(order.filled_lots for order in orders) == venue_lots
    assert connector.session_totals("BTC-USD").bought_lots == venue_lots
    assert connector.session_totals("BTC-USD") == ledger(gateway, LedgerGroup.TOTAL, instrument=number(connector))


def test_a_killed_strategys_orders_are_cancelled_and_the_quoter_runs_as_it_stands(gateway):
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE)],
        env={**os.environ, "LATENTSPEED_ENGINE": gateway.engine, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: gateway.info(type="openOrders", user=ADDRESS), "the quoter never quoted")
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Balance(USDC" in line:
                break
        assert any("Balance(USDC 100000" in line for line in lines), lines
        process.kill()
        process.wait()
        wait_for(lambda: not gateway.info(type="openOrders", user=ADDRESS), "its order was not cancelled")
        second = subprocess.Popen(
            [sys.executable, str(EXAMPLE)],
            env={**os.environ, "LATENTSPEED_ENGINE": gateway.engine},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: gateway.info(type="openOrders", user=ADDRESS), "the second quoter never quoted")
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0
            assert not gateway.info(type="openOrders", user=ADDRESS)
        finally:
            if second.poll() is None:
                second.kill()
                second.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
