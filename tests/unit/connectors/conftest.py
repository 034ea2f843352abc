"""What the connector tests share: a market, orders, reports of them, and listeners that write everything down."""

from __future__ import annotations

import itertools
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import settings
from support.network_venue import MemoryConnector

from latentspeed.connectors import (
    ClientOrderTracker,
    InFlightOrder,
    OrderType,
    OrderUpdate,
    TradeType,
    TradeUpdate,
    TradingRule,
    format_client_order_id,
)

# A busy machine is no reason to fail a property.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

RULE = TradingRule(
    "BTC-USD",
    "BTC",
    0,
    Decimal("0.001"),
    Decimal("0.1"),
    significant_figures=5,
    min_notional=Decimal(10),
    max_leverage=20,
    quote_asset="USD",
    base_asset="BTC",
)
_numbers = itertools.count(1)


class Recorder:
    """Listens to everything; an entry is the event's short name, `lines` adds state and filled lots."""

    def __init__(self):
        self.events = []
        self.lines = []
        self.trades = []
        self.errors = []
        self.revisions = []
        self.market = []

    def take(self):
        """The events since the last call."""
        events, self.events = self.events, []
        return events

    def on_trade(self, order, trade):
        self.trades.append((order.client_order_id if order else None, trade.trade_id))

    def on_error(self, error):
        self.errors.append(error.code)

    def _order_event(self, name, order, trade=None):
        self.events.append(name)
        self.revisions.append(order.revision)
        self.lines.append((name, order.state.name, order.filled_lots, trade.trade_id if trade else None))

    def __getattr__(self, name):
        if name.startswith("on_order_"):
            return lambda order, trade=None: self._order_event(name.removeprefix("on_order_"), order, trade)
        if name.startswith("on_"):
            return lambda subject: self.market.append((name.removeprefix("on_"), subject))
        raise AttributeError(name)


class Clock:
    """A monotonic clock that only moves when told to."""

    def __init__(self):
        self.now_ns = 1_000_000_000_000

    def __call__(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += int(seconds * 1e9)


def make_order(amount_lots=10, price_units=500_000, *, order_type=OrderType.LIMIT, rule=RULE, **more):
    """A buy of 0.010 BTC at 50000 with an id of its own."""
    client_order_id = format_client_order_id((7 << 32) | (255 << 24) | next(_numbers))
    return InFlightOrder(client_order_id, rule, TradeType.BUY, order_type, amount_lots, price_units, **more)


def update(order, state, reason="", **more):
    """A report about an order's state, by its client order id."""
    client_order_id = order if isinstance(order, str) else order.client_order_id
    return OrderUpdate(client_order_id, state=state, reason=reason, **more)


def fill(order, trade_id, lots, price_units=500_000, **more):
    """A fill of an order, by its client order id."""
    more.setdefault("client_order_id", order.client_order_id)
    more.setdefault("exchange_order_id", None)
    more.setdefault("trading_pair", "BTC-USD")
    more.setdefault("fee_units", 7 * lots)
    more.setdefault("fee_asset", "USDC")
    return TradeUpdate(
        trade_id=trade_id,
        trade_type=TradeType.BUY,
        price=RULE.price_from_units(price_units),
        amount=RULE.amount_from_lots(lots),
        price_units=price_units,
        amount_lots=lots,
        **more,
    )


def make_tracker(**limits):
    """A tracker with a recorder on every listener and a clock of its own."""
    clock, recorder = Clock(), Recorder()
    tracker = ClientOrderTracker(clock_mono_ns=clock, **limits)
    tracker.events.set_order_listener(recorder)
    tracker.events.set_trade_listener(recorder)
    tracker.events.set_error_listener(recorder)
    return tracker, recorder, clock


@pytest.fixture(scope="session")
def kit():
    """The helpers above by name."""
    return SimpleNamespace(
        RULE=RULE,
        Recorder=Recorder,
        Clock=Clock,
        make_order=make_order,
        make_tracker=make_tracker,
        update=update,
        fill=fill,
    )


@pytest.fixture
def connector(kit):
    """A connector to a venue in memory, and a recorder that hears everything of it."""
    connector = MemoryConnector(kit.RULE)
    connector.recorder = kit.Recorder()
    connector.set_order_event_listener(connector.recorder)
    connector.set_trade_event_listener(connector.recorder)
    connector.set_error_event_listener(connector.recorder)
    connector.set_market_data_listener(connector.recorder)
    return connector
