"""RemoteConnector: market and account changes reach the listener, the latest of each, own orders first."""

import pytest
from support.fake_gateway import SMALL, wait_until
from support.polling import poll_all, poll_until

from latentspeed.connectors import MarketDataListener, OrderParams, OrderState, OrderType, TradeType
from latentspeed.engine.records import CommandKind


class Tape(MarketDataListener):
    """Writes down what it hears."""

    def __init__(self, connector):
        self.heard = []
        connector.set_market_data_listener(self)

    def on_quote(self, quote):
        self.heard.append(("quote", quote.trading_pair, quote.bid))

    def on_book(self, book):
        self.heard.append(("book", book.trading_pair, book.best_bid))

    def on_market_trade(self, trade):
        self.heard.append(("trade", trade.trading_pair, trade.trade_id))

    def on_position(self, position):
        self.heard.append(("position", position.trading_pair, position.amount))

    def on_balance(self, balance):
        self.heard.append(("balance", balance.asset, balance.total))

    def of(self, kind):
        return [item for item in self.heard if item[0] == kind]


def test_a_subscriber_hears_at_once_what_is_known(gateway, attach):
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    gateway.book("BTC-USD", [(60_000.0, 1.0)], [(60_001.0, 1.0)])
    remote = attach(gateway)
    tape = Tape(remote)
    remote.subscribe("BTC-USD")
    poll_until(remote, lambda: tape.of("book"))
    assert tape.heard == [("quote", "BTC-USD", 60_000.0), ("book", "BTC-USD", 60_000.0)]


def test_only_subscribed_pairs_are_told(remote, gateway):
    tape = Tape(remote)
    remote.subscribe("BTC-USD")
    gateway.quote("ETH-USD", 3_000.0, 3_001.0)
    gateway.trade("ETH-USD", 3_000.0, 1.0, TradeType.BUY, 1)
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    poll_until(remote, lambda: tape.heard)
    assert tape.heard == [("quote", "BTC-USD", 60_000.0)]
    wait_until(lambda: gateway.of_kind(CommandKind.SUBSCRIBE), "the gateway never heard of it")
    assert gateway.of_kind(CommandKind.SUBSCRIBE)[0].instrument == 0


def test_a_slow_strategy_hears_the_latest_quote_once_and_every_trade(remote, gateway):
    tape = Tape(remote)
    remote.subscribe("BTC-USD")
    for number in range(20):
        gateway.quote("BTC-USD", 60_000.0 + number, 60_001.0 + number)
        gateway.trade("BTC-USD", 60_000.0, 0.1, TradeType.SELL, number)
    remote.poll()
    assert tape.of("quote") == [("quote", "BTC-USD", 60_019.0)]
    assert [item[2] for item in tape.of("trade")] == [str(number) for number in range(20)]


def test_a_lapped_strategy_hears_every_cell_and_is_told_how_much_is_gone(remote, gateway):
    tape = Tape(remote)
    errors = []
    remote.set_error_event_listener(type("E", (), {"on_error": lambda self, error: errors.append(error)})())
    remote.subscribe("BTC-USD")
    remote.subscribe("ETH-USD")
    gateway.quote("ETH-USD", 3_000.0, 3_001.0)
    gateway.balance(0, "USDC", 100.0, 90.0)
    for number in range(SMALL.market_ring + 10):
        gateway.trade("BTC-USD", 60_000.0, 0.1, TradeType.SELL, number)
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    poll_until(remote, lambda: len(tape.of("quote")) == 2 and tape.of("balance"))
    assert [error.code for error in errors] == ["market_lapped"]
    assert remote._session.feed.lost > 0
    gateway.trade("BTC-USD", 60_000.0, 0.1, TradeType.SELL, 999)
    poll_until(remote, lambda: ("trade", "BTC-USD", "999") in tape.heard)


def test_positions_and_balances_are_told(remote, gateway):
    tape = Tape(remote)
    gateway.position("BTC-USD", 0.25)
    gateway.position("ETH-USD", -1.0)
    gateway.balance(0, "USDC", 100.0, 90.0)
    poll_until(remote, lambda: len(tape.heard) == 3)
    assert tape.heard == [
        ("position", "BTC-USD", 0.25),
        ("position", "ETH-USD", -1.0),
        ("balance", "USDC", 100.0),
    ]


def test_own_order_events_come_before_market_data(remote, gateway):
    heard = []

    class Both(Tape):
        def on_quote(self, quote):
            heard.append("quote")
            if len(heard) == 1:
                # An order event that arrives while the first quote is being handled goes before the next quote.
                gateway.cancelled(order_id)

    class Orders(type(remote.recorder)):
        def on_order_cancelled(self, order):
            heard.append("cancelled")

        def __getattribute__(self, name):
            return object.__getattribute__(self, name)

    Both(remote)
    remote.subscribe("BTC-USD")
    remote.subscribe("ETH-USD")
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    remote.set_order_event_listener(Orders())
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    gateway.quote("ETH-USD", 3_000.0, 3_001.0)
    poll_until(remote, lambda: len(heard) == 3)
    assert heard == ["quote", "cancelled", "quote"]


@pytest.mark.usefixtures("soon_silent")
def test_prices_wait_while_no_order_could_be_sent_on_them(remote, gateway):
    tape = Tape(remote)
    remote.subscribe("BTC-USD")
    poll_all(remote)
    gateway.beats = False
    wait_until(lambda: not remote._link.is_taking_orders, "the gateway never looked stuck")
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    gateway.position("BTC-USD", 1.0)
    poll_until(remote, lambda: tape.of("position"))
    assert tape.of("quote") == []
    gateway.beats = True
    poll_until(remote, lambda: tape.of("quote"))


def test_cells_that_a_restarted_gateway_has_emptied_are_not_told(remote, gateway):
    tape = Tape(remote)
    remote.subscribe("BTC-USD")
    gateway.quote("BTC-USD", 60_000.0, 60_001.0)
    poll_until(remote, lambda: tape.of("quote"))
    gateway.void_market()
    gateway.position("BTC-USD", 1.0)
    poll_until(remote, lambda: tape.of("position"))
    assert remote.get_quote("BTC-USD") is None
    assert len(tape.of("quote")) == 1
    gateway.quote("BTC-USD", 59_000.0, 59_001.0)
    poll_until(remote, lambda: len(tape.of("quote")) == 2)


def test_a_trade_carries_price_size_and_side(remote, gateway):
    trades = []

    class Trades(MarketDataListener):
        def on_market_trade(self, trade):
            trades.append(trade.copy())

    remote.set_market_data_listener(Trades())
    remote.subscribe("ETH-USD")
    gateway.trade("ETH-USD", 3_000.5, 0.25, TradeType.SELL, 42)
    gateway.trade("ETH-USD", 3_001.0, 0.5, TradeType.BUY, 43)
    poll_until(remote, lambda: len(trades) == 2)
    assert [(t.trading_pair, t.price, t.amount, t.side, t.trade_id) for t in trades] == [
        ("ETH-USD", 3_000.5, 0.25, TradeType.SELL, "42"),
        ("ETH-USD", 3_001.0, 0.5, TradeType.BUY, "43"),
    ]
