"""Strategy: its callbacks, its loop, its end."""

import logging
import sys
import threading
import time

import pytest
from support.fake_gateway import SMALL, FakeGateway, answering, unique_engine, wait_until

from latentspeed.connectors import ConnectorState, OrderParams, OrderState, OrderType, PositionAction, TradeType
from latentspeed.engine import strategy_loop
from latentspeed.engine.order_rows import OrderRows
from latentspeed.engine.records import BookRow, OrderEventKind
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.engine.strategy import Strategy
from latentspeed.engine.strategy_loop import StrategyLoop, StrategyOptions
from latentspeed.ipc import SegmentState

LIMIT = OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT)
MARKET = OrderParams("BTC-USD", 0.001, None, OrderType.MARKET)


class Base(Strategy):
    """Starts on one pair and writes down what it is told; ends after a deadline whatever happens."""

    def on_start(self):
        self.heard = []
        self.hl = self.connector("hyperliquid")
        self.subscribe(self.hl, "BTC-USD")
        self.deadline = time.monotonic() + 60
        self.every(0.05, self.check_deadline)
        self.begin()

    def begin(self):
        pass

    def check_deadline(self):
        assert time.monotonic() < self.deadline, f"the test's strategy was never stopped: {self.heard}"

    def on_stop(self):
        self.heard.append("stop")


def run_strategy(gateway, strategy, *, act=None, **options):
    """Runs a strategy in this thread while `act` acts on the gateway in another; returns the exit code."""
    options = {"engine": gateway.engine, "name": "test", "start_timeout_s": 5.0, **options}
    errors = []

    def acting():
        try:
            act()
        except BaseException as error:
            errors.append(error)
            strategy.stop("the test's other thread failed")

    thread = threading.Thread(target=acting) if act is not None else None
    if thread is not None:
        thread.start()
    code = StrategyLoop(StrategyOptions(**options)).run(strategy)
    if thread is not None:
        thread.join()
    if errors:
        raise errors[0]
    return code


@pytest.mark.parametrize("idle", ["spin", "backoff", "park"])
def test_every_callback_is_made_whatever_the_idle_strategy(answering_gateway, idle):
    gateway = answering_gateway

    class All(Base):
        def on_quote(self, connector, quote):
            self.heard.append(("quote", quote.bid))
            connector.buy(MARKET)

        def on_book(self, connector, book):
            self.heard.append(("book", book.best_bid))

        def on_trade(self, connector, trade):
            self.heard.append(("trade", trade.price))

        def on_fill(self, connector, fill):
            self.heard.append(("fill", fill.amount))
            assert connector is self.hl

        def on_order_event(self, connector, event):
            self.heard.append((event.kind.name, event.order.state.name))
            assert event.client_order_id == event.order.client_order_id
            assert (event.fill is not None) == (event.kind is OrderEventKind.FILLED)

        def on_position(self, connector, position):
            self.heard.append(("position", position.amount))

        def on_connector_state(self, connector, state):
            self.heard.append(("state", state.name))
            self.stop("all heard")

    strategy = All()

    def act():
        wait_until(lambda: getattr(strategy, "hl", None), "never started")
        gateway.quote("BTC-USD", 60_000.0, 60_001.0)
        wait_until(lambda: ("COMPLETED", "FILLED") in strategy.heard, "never filled")
        gateway.book("BTC-USD", [(60_000.0, 1.0)], [(60_001.0, 1.0)])
        gateway.trade("BTC-USD", 60_000.5, 0.1, TradeType.BUY, 1)
        gateway.position("BTC-USD", 0.001)
        gateway.position("ETH-USD", 5.0)
        wait_until(lambda: len(strategy.heard) == 9, f"not all heard: {strategy.heard}")
        gateway.venue(ConnectorState.STALE)

    assert run_strategy(gateway, strategy, act=act, idle=idle) == 0
    assert strategy.heard[:6] == [
        ("quote", 60_000.0),
        ("UPDATED", "PENDING_SUBMIT"),
        ("CREATED", "OPEN"),
        ("fill", 0.001),
        ("FILLED", "FILLED"),
        ("COMPLETED", "FILLED"),
    ]
    assert sorted(strategy.heard[6:9]) == [("book", 60_000.0), ("position", 0.001), ("trade", 60_000.5)]
    assert strategy.heard[9:] == [("state", "STALE"), "stop"]


def test_timers_are_called_and_stop_ends_in_order(answering_gateway):
    class Ticking(Base):
        def begin(self):
            self.ticks = 0
            self.every(0.01, self.tick)

        def tick(self):
            self.ticks += 1
            if self.ticks == 10:
                self.stop("ten ticks")

    strategy = Ticking()
    assert run_strategy(answering_gateway, strategy) == 0
    assert strategy.ticks == 10
    assert strategy.heard == ["stop"]


def test_an_exception_in_a_callback_ends_it_and_cancels_its_orders(answering_gateway, caplog):
    class Broken(Base):
        def begin(self):
            self.order = self.hl.get_order(self.hl.buy(LIMIT))

        def on_order_event(self, connector, event):
            self.heard.append(event.kind.name)
            if event.kind is OrderEventKind.CREATED:
                raise ZeroDivisionError("in a callback")

    strategy = Broken()
    with caplog.at_level(logging.ERROR):
        assert run_strategy(answering_gateway, strategy) == 1
    assert strategy.heard == ["UPDATED", "CREATED", "stop"]
    assert strategy.order.state is OrderState.CANCELLED
    assert "ZeroDivisionError: in a callback" in caplog.text
    assert answering_gateway.cancel_alls == 1
    wait_until(lambda: answering_gateway.deaths, "the session was not given up")


@pytest.mark.parametrize("where", ["on_start", "on_quote", "timer", "on_stop"])
def test_it_ends_with_an_error_wherever_it_raises(answering_gateway, where):
    class Broken(Base):
        def begin(self):
            if where == "on_start":
                raise ValueError(where)
            if where == "timer":
                self.every(0.001, self.raise_it)
            if where == "on_stop":
                self.stop("to see on_stop")

        def raise_it(self):
            raise ValueError(where)

        def on_quote(self, connector, quote):
            if where == "on_quote":
                raise ValueError(where)

        def on_stop(self):
            super().on_stop()
            if where == "on_stop":
                raise ValueError(where)

    answering_gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    strategy = Broken()
    assert run_strategy(answering_gateway, strategy) == 1
    assert strategy.heard == ["stop"]


def test_a_fill_whose_callback_raised_is_not_committed_as_taken_in(answering_gateway):
    class Broken(Base):
        def begin(self):
            self.fills = 0
            self.hl.buy(MARKET)

        def on_fill(self, connector, fill):
            self.fills += 1
            if self.fills == 1:
                connector.buy(MARKET)
            else:
                raise ValueError("second fill")

    books = []

    def look(gateway, session, command):
        answering(gateway, session, command)

    answering_gateway.on_command = look
    settle = answering_gateway._serve_session

    def settling(session):
        if not session.is_locked():
            row = BookRow()
            session.table("book").read(0, row)
            books.append((row.fill_count, row.generation == session.generation))
        settle(session)

    answering_gateway._serve_session = settling
    assert run_strategy(answering_gateway, Broken()) == 1
    wait_until(lambda: books, "the death was never settled")
    assert books[0] == (1, True)


def test_at_the_end_its_orders_are_cancelled_and_their_last_fills_are_told(answering_gateway):
    class Flattening(Base):
        def begin(self):
            self.fills = []
            self.resting = [self.hl.get_order(self.hl.buy(LIMIT)) for _ in range(3)]
            self.stop("at once")

        def on_fill(self, connector, fill):
            self.fills.append(fill.amount)

        def on_stop(self):
            super().on_stop()
            self.hl.sell(OrderParams("BTC-USD", 0.002, None, OrderType.MARKET, PositionAction.CLOSE))

    strategy = Flattening()
    assert run_strategy(answering_gateway, strategy) == 0
    assert strategy.fills == [0.002]
    assert [order.state for order in strategy.resting] == [OrderState.CANCELLED] * 3


def test_orders_that_are_to_be_kept_are_left_alone(answering_gateway):
    class Keeping(Base):
        def begin(self):
            self.order = self.hl.get_order(self.hl.buy(LIMIT))

        def on_order_event(self, connector, event):
            if event.kind is OrderEventKind.CREATED:
                self.stop("resting")

    answering_gateway.settles_deaths = False
    strategy = Keeping()
    assert run_strategy(answering_gateway, strategy, cancel_on_death=False) == 0
    assert answering_gateway.cancel_alls == 0
    claims = [session.claim for session in answering_gateway.writer.sessions if session.claim is not None]
    assert [claim.cancel_on_death for claim in claims] == [False]


def test_one_loop_trades_across_two_connectors(answering_gateway):
    class Arbitrage(Strategy):
        def on_start(self):
            self.one, self.two = self.connector("one"), self.connector("two")
            assert self.connector("one") is self.one
            self.subscribe(self.one, "BTC-USD")
            self.done = []

        def on_quote(self, connector, quote):
            assert connector is self.one
            self.two.sell(MARKET)

        def on_fill(self, connector, fill):
            self.done.append(connector.name)
            self.stop("hedged")

    engine = unique_engine("cross")
    with FakeGateway(engine, "one", on_command=answering) as one, FakeGateway(engine, "two", on_command=answering):
        one.quote("BTC-USD", 60_000.0, 60_001.0)
        strategy = Arbitrage()
        assert run_strategy(one, strategy) == 0
        assert strategy.done == ["two"]


def test_a_gateways_restart_is_lived_through_by_catching_order_refused(answering_gateway):
    from latentspeed.connectors import OrderRefused

    gateway = answering_gateway

    class Patient(Base):
        def begin(self):
            self.order = None
            self.states = []
            self.every(0.01, self.try_it)

        def try_it(self):
            try:
                self.hl.buy(MARKET)
            except OrderRefused:
                self.heard.append("refused")

        def on_connector_state(self, connector, state):
            self.states.append(state)

        def on_order_event(self, connector, event):
            if "refused" in self.heard and self.states and self.states[-1] is ConnectorState.LIVE:
                self.stop("traded again")

    strategy = Patient()

    def act():
        wait_until(lambda: gateway.orders, "no order was placed")
        gateway.cancelled(f"LS{next(iter(gateway.orders)):016x}")
        gateway.die()
        wait_until(lambda: "refused" in strategy.heard, "places were never refused")
        gateway.start()

    assert run_strategy(gateway, strategy, act=act) == 0
    assert strategy.states[0] is ConnectorState.DISCONNECTED
    assert strategy.states[-1] is ConnectorState.LIVE


def test_a_start_waits_for_the_sessions_that_dead_strategies_left_to_be_settled(answering_gateway, attach, monkeypatch):
    gateway = answering_gateway
    gateway.settles_deaths = False
    others = [attach(gateway) for _ in range(SMALL.sessions)]
    for other in others:
        other.disconnect().result(60)

    class Started(Base):
        def begin(self):
            self.stop("started")

    attempts = []
    connect = RemoteConnector.connect
    monkeypatch.setattr(RemoteConnector, "connect", lambda self: attempts.append(self) or connect(self))
    monkeypatch.setattr(strategy_loop, "ATTACH_SLICE_S", 0.05)
    strategy = Started()

    def act():
        wait_until(lambda: len(attempts) > 2, "it did not try again")
        gateway.settles_deaths = True

    assert run_strategy(gateway, strategy, act=act) == 0


def test_a_start_without_a_live_gateway_fails_in_one_line(answering_gateway, caplog):
    answering_gateway.go(SegmentState.RECOVERING)
    with caplog.at_level(logging.ERROR, logger="latentspeed.strategy"):
        assert run_strategy(answering_gateway, Base(), start_timeout_s=0.2) == 1
    [record] = caplog.records
    assert "GatewayDown" in record.message
    assert "RECOVERING" in record.message
    assert record.exc_info is None


def test_a_retired_segment_ends_the_strategy_with_an_error(answering_gateway, caplog):
    class Waiting(Base):
        pass

    strategy = Waiting()

    def act():
        wait_until(lambda: getattr(strategy, "hl", None), "never started")
        answering_gateway.retire()

    with caplog.at_level(logging.ERROR):
        assert run_strategy(answering_gateway, strategy, act=act) == 1
    assert "SegmentRetired" in caplog.text


def test_a_missing_gateway_ends_the_start_with_an_error_that_names_it(caplog):
    class Lonely(Strategy):
        def on_start(self):
            self.connector("nowhere")

    options = StrategyOptions(engine=unique_engine("none"), name="lonely", start_timeout_s=0.05)
    with caplog.at_level(logging.ERROR):
        assert StrategyLoop(options).run(Lonely()) == 1
    assert "nowhere" in caplog.text


def test_a_strategy_that_is_not_running_says_how_to_run_it():
    with pytest.raises(RuntimeError, match="run\\(Strategy\\)"):
        Strategy().connector("hyperliquid")


def test_the_order_table_rows_are_those_that_the_gateway_computes(answering_gateway, attach):
    remote = attach(answering_gateway)
    rows = OrderRows(answering_gateway.writer.table("orders"), 4, 16)
    for _ in range(20):
        order_id = remote.buy(MARKET)
        id64 = remote.get_order(order_id).id64
        assert remote._session.block.row_of(id64) == rows.row_of(id64)
        wait_until(lambda i=id64: i in answering_gateway.orders, "never read")
        remote.poll()
        wait_until(lambda o=order_id: remote.poll() + 1 and not remote.get_order(o).is_active, "never filled")


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (3, 3), ("text", 1)])
def test_sys_exit_in_a_callback_ends_it_with_that_code(answering_gateway, code, expected):
    class Exiting(Base):
        def begin(self):
            self.every(0.001, lambda: sys.exit(code))

    strategy = Exiting()
    assert run_strategy(answering_gateway, strategy) == expected
    assert strategy.heard == ["stop"]


def test_a_strategy_may_have_timers_and_no_connector(answering_gateway):
    class Alone(Strategy):
        def on_start(self):
            self.ticks = 0
            self.every(0.005, self.tick)

        def tick(self):
            self.ticks += 1
            if self.ticks == 3:
                self.stop()

    strategy = Alone()
    assert run_strategy(answering_gateway, strategy) == 0
    assert strategy.ticks == 3
