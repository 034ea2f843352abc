"""A fake gateway and connectors attached to it."""

from __future__ import annotations

import pytest
from support.fake_gateway import FakeGateway, answering, unique_engine

from latentspeed.connectors import OrderEventListener, TradeEventListener
from latentspeed.engine import gateway_link
from latentspeed.engine.remote_connector import RemoteConnector

SOON_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def late_silence(request, monkeypatch):
    """A busy machine may leave a gateway's thread alone for seconds: it counts as silent after a minute.

    Tests of what silence does use `soon_silent`.
    """
    is_soon = "soon_silent" in request.fixturenames
    monkeypatch.setattr(gateway_link, "STALE_NS", SOON_NS if is_soon else 60 * SOON_NS)
    monkeypatch.setattr(gateway_link, "HOLD_BACK_NS", (SOON_NS if is_soon else 60 * SOON_NS) // 2)


@pytest.fixture
def soon_silent():
    """A gateway counts as silent after a second, as it does outside of tests."""


class Recorder(OrderEventListener, TradeEventListener):
    """Writes down what it is told: (event, client order id, state) and fills."""

    def __init__(self):
        self.events = []
        self.fills = []

    def on_trade(self, order, trade):
        self.fills.append(trade)

    def __getattribute__(self, name):
        if name.startswith("on_order_"):
            events = object.__getattribute__(self, "events")
            return lambda order, trade=None: events.append((name[9:], order.client_order_id, order.state))
        return object.__getattribute__(self, name)

    def names(self, client_order_id=None):
        """The events in order, of one order or of all."""
        return [name for name, order_id, _ in self.events if client_order_id in (None, order_id)]


@pytest.fixture
def gateway():
    """A live gateway that reads commands and leaves the answers to the test."""
    with FakeGateway(unique_engine("client")) as gateway:
        yield gateway


@pytest.fixture
def answering_gateway():
    """A live gateway that acknowledges every order at once."""
    with FakeGateway(unique_engine("client"), on_command=answering) as gateway:
        yield gateway


@pytest.fixture
def attach():
    """Makes connected connectors, polled by the test, and disconnects them at the end."""
    made = []

    def make(gateway, *, connect=True, background=False, **options):
        connector = RemoteConnector(gateway.engine, gateway.connector, background=background, timeout_s=60.0, **options)
        made.append(connector)
        connector.recorder = Recorder()
        connector.set_order_event_listener(connector.recorder)
        connector.set_trade_event_listener(connector.recorder)
        if connect:
            connector.initialize().result(60)
            connector.connect().result(60)
        return connector

    yield make
    for connector in made:
        connector.disconnect().result(60)


@pytest.fixture
def remote(gateway, attach):
    """A connector attached to `gateway`, polled by the test."""
    return attach(gateway)
