"""The gateway as a process beside a venue process: stopped, killed, left alone by its venue, and started twice."""

import os
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import orjson
import pytest
from eth_account import Account
from support.polling import poll_until
from support.real_gateway import KEY, RealGateway, wait_for

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, OrderType
from latentspeed.engine.gateway import EX_CONFIG, EX_ORDERS_LEFT, EX_SOFTWARE
from latentspeed.engine.segment_layout import attach_segment
from latentspeed.ipc import IpcError, SegmentRetired, SegmentState, clean
from latentspeed.tools.venues.hyperliquid.process import VenueProcess

ADDRESS = Account.from_key(KEY).address.lower()


class Venue:
    """A venue process that comes and goes on one port."""

    def __init__(self):
        self.port = 0
        self.start()

    def start(self):
        command = [sys.executable, "-m", "latentspeed.tools.venues.hyperliquid.cli", "--seed", "7"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        self.at = VenueProcess(**orjson.loads(self.process.stdout.readline()))
        self.port = urlsplit(self.at.url).port

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def venue():
    venue = Venue()
    yield venue
    if venue.process.returncode is None:
        venue.kill()


@pytest.fixture
def gateway(tmp_path, venue):
    gateway = RealGateway(tmp_path, venue.at)
    try:
        yield gateway
        if gateway.process is not None:
            assert KEY[2:] not in gateway.log()
            assert "Traceback" not in gateway.log(), gateway.log()
    finally:
        gateway.close()


@pytest.fixture
def attach(gateway):
    made = []

    def make(**options):
        made.append(gateway.attach("BTC-USD", background=False, **options))
        return made[-1]

    yield make
    for connector in made:
        connector.disconnect().result(60)


def rest(connector):
    """An order that rests far from the market; acknowledged."""
    price = connector.quantize_order_price("BTC-USD", connector.get_quote("BTC-USD").bid * 0.9)
    order = connector.get_order(connector.buy(OrderParams("BTC-USD", 0.001, price, OrderType.LIMIT_MAKER)))
    poll_until(connector, lambda: order.state is OrderState.OPEN, f"never acknowledged: {order}", 60)
    return order


def open_orders(gateway):
    return gateway.info(type="openOrders", user=ADDRESS)


def spawn(gateway, config=None, key=KEY):
    """Another gateway process, whose output is read."""
    command = [sys.executable, "-P", "-m", "latentspeed.engine.gateway", "--connector", gateway.connector]
    return subprocess.Popen(
        [*command, "--config", str(config or gateway.config)],
        env={**os.environ, "TEST_GATEWAY_KEY": key, "HOME": str(gateway.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process, timeout_s=60):
    """What a process that ends by itself has said, line by line, and its exit code."""
    try:
        text, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        text, _ = process.communicate()
        raise AssertionError(f"it did not end: {text}") from None
    assert "Traceback" not in text, text
    return text.splitlines(), process.returncode


def test_a_stop_cancels_every_order_and_leaves_no_process(gateway, attach):
    gateway.start()
    connector = attach(name="maker")
    orders = [rest(connector) for _ in range(3)]
    assert len(open_orders(gateway)) == 3
    assert gateway.stop() == 0
    assert open_orders(gateway) == []
    poll_until(connector, lambda: all(order.is_done for order in orders), f"not told: {orders}")
    assert {order.state for order in orders} == {OrderState.CANCELLED}
    with pytest.raises(OrderRefused):
        rest(connector)


def test_a_killed_gateways_successor_cancels_what_was_asked_for_meanwhile_and_keeps_the_rest(gateway, attach):
    gateway.start()
    connector = attach(name="maker")
    first, second = rest(connector), rest(connector)
    gateway.kill()
    assert connector.cancel(first.client_order_id)
    gateway.start()
    poll_until(connector, lambda: first.is_done, f"not cancelled: {first}", 60)
    assert (first.state, second.state) == (OrderState.CANCELLED, OrderState.OPEN)
    assert [order["cloid"][-16:] for order in open_orders(gateway)] == [second.client_order_id[2:]]
    assert gateway.stop() == 0
    assert open_orders(gateway) == []


def test_a_venue_that_goes_and_comes_back_closes_and_opens_the_gate(venue, gateway, attach):
    gateway.start()
    connector = attach(name="maker")
    order = rest(connector)
    with attach_segment(gateway.engine, "hyperliquid") as segment:
        venue.kill()
        wait_for(lambda: segment.state is SegmentState.RECOVERING, "the header never said so")
        with pytest.raises(OrderRefused, match="RECOVERING"):
            rest(connector)
        assert connector.cancel(order.client_order_id), "a cancel is always taken"
        beats = segment.heartbeat_mono_ns
        wait_for(lambda: segment.heartbeat_mono_ns > beats + 300_000_000, "the heart stopped with the venue")
        venue.start()
        poll_until(connector, lambda: segment.state is SegmentState.LIVE and connector.is_ready, "never back", 30)
    rest(connector)
    assert gateway.process.poll() is None


def test_a_venue_that_is_not_there_yet_is_waited_for(venue, gateway):
    venue.kill()
    process = spawn(gateway)
    try:
        wait_for(lambda: _state(gateway) is SegmentState.RECOVERING, "there is no segment")
        with attach_segment(gateway.engine, "hyperliquid") as segment:
            beats = segment.heartbeat_mono_ns
            wait_for(lambda: segment.heartbeat_mono_ns > beats + 300_000_000, "its heart does not beat")
            wait_for(segment.errors, "it does not say what it waits for")
            assert segment.errors()[0].code == "venue_unreachable"
            venue.start()
            wait_for(lambda: segment.state is SegmentState.LIVE, "it did not go live", 60)
        process.send_signal(signal.SIGTERM)
        lines, code = ended(process)
        assert code == 0, lines
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_asked_to_stop_while_its_venue_is_not_there_it_ends_at_once(venue, gateway):
    venue.kill()
    process = spawn(gateway)
    try:
        wait_for(lambda: _state(gateway) is SegmentState.RECOVERING, "there is no segment")
        with attach_segment(gateway.engine, "hyperliquid") as segment:
            wait_for(segment.errors, "it does not say what it waits for")
    finally:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        lines, code = ended(process)
    assert code == 0, lines
    assert time.monotonic() - began < 30


def test_asked_to_stop_in_the_middle_of_recovery_it_leaves_what_it_cannot_settle_to_the_next(venue, gateway, attach):
    gateway.start()
    connector = attach(name="maker", cancel_on_death=False)
    order = rest(connector)
    gateway.kill()
    assert connector.cancel(order.client_order_id)
    venue.process.send_signal(signal.SIGSTOP)
    try:
        process = spawn(gateway)
        wait_for(lambda: _state(gateway) is SegmentState.RECOVERING, "it never began")
        with attach_segment(gateway.engine, "hyperliquid") as segment:
            wait_for(lambda: segment.epoch == 2, "it never took over")
        process.send_signal(signal.SIGTERM)
        lines, code = ended(process, 30)
    finally:
        venue.process.send_signal(signal.SIGCONT)
    assert code == EX_ORDERS_LEFT, lines
    gateway.start()
    poll_until(connector, lambda: order.is_done, f"the cancel was forgotten: {order}", 60)
    assert order.state is OrderState.CANCELLED
    assert gateway.stop() == 0


def test_a_stop_without_a_venue_says_that_orders_may_be_open_and_the_next_gateway_settles_them(venue, gateway, attach):
    gateway.start()
    connector = attach(name="maker")
    rest(connector)
    venue.process.send_signal(signal.SIGSTOP)
    try:
        assert gateway.stop() == EX_ORDERS_LEFT
    finally:
        venue.process.send_signal(signal.SIGCONT)
    assert "could not be confirmed" in gateway.log()
    gateway.start()
    wait_for(lambda: len(open_orders(gateway)) <= 1, "more orders than were placed")
    assert gateway.stop() == 0
    assert open_orders(gateway) == []


def test_a_second_gateway_of_a_segment_is_refused_in_one_line(gateway):
    gateway.start()
    lines, code = ended(spawn(gateway))
    assert code == 1
    assert [line for line in lines if "ERROR" in line] == lines
    assert f"process {gateway.process.pid} holds its writer lock" in lines[0]
    assert len(lines) == 1
    with attach_segment(gateway.engine, "hyperliquid") as segment:
        assert (segment.state, segment.epoch) == (SegmentState.LIVE, 1)
    assert gateway.stop() == 0


def test_a_second_gateway_with_the_same_key_is_refused_in_one_line_and_leaves_no_segment(gateway):
    gateway.start()
    other = gateway.config.with_name("other.toml")
    other.write_text(gateway.config.read_text().replace(gateway.engine, f"{gateway.engine}-b"))
    try:
        lines, code = ended(spawn(gateway, other))
        assert code == EX_CONFIG
        assert len(lines) == 1
        assert f"the signer {ADDRESS} is in use by pid {gateway.process.pid}" in lines[0]
    finally:
        clean(f"{gateway.engine}-b.hyperliquid")
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ('"ETH-USD"]', '"NOPE-USD"]', "connectors.hyperliquid.trading_pairs: trading_pair='NOPE-USD'"),
        ("base_url", "bas_url", "connectors.hyperliquid.options.bas_url"),
        ('type = "hyperliquid"', 'type = "hyperliqid"', "hyperliqid"),
        ("instruments = 32", "instruments = 1", "shared_memory.instruments = 1"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line_and_a_code_that_says_that_no_restart_helps(gateway, old, new, fact):
    text = gateway.config.read_text()
    assert old in text
    gateway.config.write_text(text.replace(old, new))
    lines, code = ended(spawn(gateway))
    assert code == EX_CONFIG, lines
    errors = [line for line in lines if "ERROR" in line]
    assert len(errors) == 1, lines
    assert fact in errors[0]


def test_a_key_that_is_none_is_not_shown(gateway):
    bad = "59" * 31 + "zz"
    lines, code = ended(spawn(gateway, key=bad))
    assert code == EX_CONFIG
    assert len(lines) == 1
    assert bad not in lines[0]
    assert "TEST_GATEWAY_KEY" in lines[0]


def _state(gateway):
    try:
        with attach_segment(gateway.engine, "hyperliquid") as segment:
            return segment.state
    except IpcError:  # not there yet, or half-built
        return None


def test_a_venue_that_changes_a_lot_ends_the_segment_and_nothing_is_read_on_another_grid(gateway, attach):
    gateway.start()
    connector = attach()
    order = rest(connector)
    gateway.kill()
    gateway.control("set_size_decimals", coin="BTC", sz_decimals=6)
    refusing = spawn(gateway)
    lines, code = ended(refusing)
    assert code == EX_SOFTWARE, lines
    assert any("BTC-USD has lots of 0.000001" in line for line in lines), lines
    with pytest.raises(SegmentRetired):
        connector._link.session.check()
    connector.disconnect().result(60)
    gateway.start()
    wait_for(lambda: not open_orders(gateway), f"nobody owns {order.client_order_id}, and it stays open")
    again = attach()
    assert again.get_trading_rule("BTC-USD").amount_text(1) == "0.000001"
    assert rest(again).amount_lots == 1000
