"""The same strategy class, in one process with a connector that is its own venue: no engine, no shared memory."""

import asyncio
import importlib.util
import time
from decimal import Decimal
from pathlib import Path

import pytest

from latentspeed.connectors import (
    ConnectorError,
    ConnectorState,
    NetworkConnector,
    OrderEventListener,
    OrderParams,
    OrderState,
    OrderType,
    OrderUpdate,
    PerpetualDerivativeBase,
    TradeUpdate,
    TradingRule,
)
from latentspeed.engine.in_process import InProcessHost, run_in_process
from latentspeed.engine.strategy import Strategy

EXAMPLE = Path(__file__).parents[3] / "examples" / "quoter.py"
RULE = TradingRule("BTC-USD", "BTC", 0, Decimal("0.00001"), Decimal("0.1"), 5, max_leverage=50, quote_asset="USDC")


class PaperConnector(NetworkConnector, PerpetualDerivativeBase):
    """Acknowledges what rests, fills what does not, quotes 100 times a second."""

    name = "hyperliquid"
    domain = "paper"

    def __init__(self):
        super().__init__()
        self.placed = 0
        self.cancelled = 0
        self._quoting = None

    async def _initialize(self):
        self._set_trading_rules([RULE])

    async def _connect(self):
        self._set_authenticated(True)
        self._set_connection_state(ConnectorState.SYNCING)
        self._set_connection_state(ConnectorState.LIVE)
        self._quoting = self._start(self._quote())

    async def _disconnect(self):
        self._set_connection_state(ConnectorState.DISCONNECTED)

    async def _resync(self):
        pass

    async def _quote(self):
        bid = 60_000.0
        while True:
            for pair in self._market.subscriptions:
                quote = self._market.quote(pair)
                quote.bid, quote.ask, quote.received_mono_ns = bid, bid + 1, time.monotonic_ns()
                self._publish_quote(quote)
                bid += 10.0
            await asyncio.sleep(0.01)

    def subscribe(self, trading_pair):
        self._rule(trading_pair)
        self._market.subscriptions[trading_pair] = None

    async def _place_order(self, order):
        self._mark_signed(order, nonce=1)
        self.placed += 1
        if order.order_type is OrderType.MARKET:
            fill = TradeUpdate(
                f"t{self.placed}",
                order.client_order_id,
                str(self.placed),
                order.trading_pair,
                order.trade_type,
                60_000.0,
                order.amount,
                600_000,
                order.amount_lots,
            )
            self.order_tracker.process_trade_update(fill)
        return str(self.placed), 1_000

    async def _cancel_order(self, order):
        self.cancelled += 1
        self.order_tracker.process_order_update(OrderUpdate(order.client_order_id, state=OrderState.CANCELLED))
        return True

    def set_leverage(self, trading_pair, leverage, margin_mode=None):
        raise NotImplementedError


def test_the_example_strategy_runs_unchanged_in_process():
    spec = importlib.util.spec_from_file_location("quoter_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    connector = PaperConnector()
    strategy = run_in_process(module.Quoter, {"hyperliquid": connector}, seconds=0.3)
    assert strategy.order is not None
    assert connector.placed >= 2
    assert connector.cancelled >= 2
    assert connector.get_open_orders() == []
    assert connector.connection_state is ConnectorState.DISCONNECTED


def test_callbacks_timers_and_stop_are_those_of_the_engine():
    heard = []

    class Mine(Strategy):
        def on_start(self):
            self.hl = self.connector("hyperliquid")
            self.subscribe(self.hl, "BTC-USD")
            self.every(0.02, self.tick)
            self.ticks = 0

        def on_quote(self, connector, quote):
            if "quote" not in heard:
                heard.append("quote")
                connector.buy(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET))

        def on_fill(self, connector, fill):
            heard.append(("fill", fill.amount))

        def on_order_event(self, connector, event):
            heard.append(event.kind.name)

        def tick(self):
            self.ticks += 1
            if self.ticks == 3:
                self.stop()

        def on_stop(self):
            heard.append("stop")

    strategy = run_in_process(Mine, {"hyperliquid": PaperConnector()}, seconds=10, name="mine", arguments=("a",))
    assert heard == ["quote", "UPDATED", "CREATED", ("fill", 0.001), "FILLED", "COMPLETED", "stop"]
    assert (strategy.ticks, strategy.name, strategy.arguments) == (3, "mine", ("a",))


def test_an_exception_in_a_callback_is_raised_after_the_orders_were_cancelled():
    connector = PaperConnector()

    class Broken(Strategy):
        def on_start(self):
            self.subscribe(self.connector("hyperliquid"), "BTC-USD")

        def on_quote(self, connector, quote):
            connector.buy(OrderParams("BTC-USD", 0.001, 50_000.0, OrderType.LIMIT))
            raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        run_in_process(Broken, {"hyperliquid": connector}, seconds=10)
    assert connector.placed == 1 or connector.cancelled == 0
    assert connector.get_open_orders() == []


def test_a_connector_that_was_not_given_is_named():
    class Wrong(Strategy):
        def on_start(self):
            self.connector("dydx")

    with pytest.raises(ConnectorError, match=r"'dydx'.*hyperliquid"):
        run_in_process(Wrong, {"hyperliquid": PaperConnector()}, seconds=1)


def test_inside_a_running_loop_the_host_is_awaited():
    class Brief(Strategy):
        def on_start(self):
            self.stop("at once")

    async def notebook():
        connector = PaperConnector()
        await InProcessHost({"hyperliquid": connector}, "brief").run(Brief())
        return connector.connection_state

    assert asyncio.run(notebook()) is ConnectorState.DISCONNECTED


def test_the_shared_usage_of_every_connector_works_in_process():
    """Create, set listener, initialise, connect, wait ready, buy, events."""
    created = []

    class Listener(OrderEventListener):
        def on_order_created(self, order):
            created.append(order.client_order_id)

    connector = PaperConnector()
    connector.set_order_event_listener(Listener())
    connector.initialize().result(60)
    connector.connect().result(60)
    connector.wait_ready().result(60)
    order_id = connector.buy(OrderParams("BTC-USD", 0.001, 50_000.0, OrderType.LIMIT))
    deadline = time.monotonic() + 60
    while created != [order_id]:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert connector.cancel(order_id)
    connector.disconnect().result(60)
