"""Quotes, books, positions and balances as strategies see them."""

import math

import pytest

from latentspeed.connectors import (
    Balance,
    ConnectorType,
    MarginMode,
    OrderBook,
    OrderRefused,
    Pending,
    PerpetualDerivativeBase,
    Position,
    Quote,
    SpotExchangeBase,
    TradeType,
)
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.quote import MarketTrade


def test_a_book_keeps_the_best_levels_that_fit_in_place():
    book = OrderBook("BTC-USD", depth=3)
    arrays = book.bids, book.asks
    book.set_levels([(10 - n, 1 + n) for n in range(5)], [(11, 2)])
    assert (book.bids, book.asks) == arrays or (book.bids is arrays[0] and book.asks is arrays[1])
    assert (book.bid_count, book.ask_count, book.depth) == (3, 1, 3)
    assert book.bid_levels().tolist() == [[10, 1], [9, 2], [8, 3]]
    assert (book.best_bid, book.best_ask, book.mid, book.is_crossed) == (10, 11, 10.5, False)
    copy = book.copy()
    book.set_levels([], [])
    assert math.isnan(book.best_bid)
    assert math.isnan(book.mid)
    assert copy.bid_levels().tolist() == [[10, 1], [9, 2], [8, 3]]


def test_the_worst_price_for_an_amount_is_found_or_the_book_is_too_thin():
    book = OrderBook("BTC-USD")
    book.set_levels([(10, 1.0), (9, 2.0)], [(11, 0.1), (12, 0.2), (13, 5)])
    assert book.price_for_amount(TradeType.BUY, 0.1) == 11
    assert book.price_for_amount(TradeType.BUY, 0.1 + 0.2) == 12
    assert book.price_for_amount(TradeType.BUY, 0.31) == 13
    assert book.price_for_amount(TradeType.SELL, 3.0) == 9
    assert book.price_for_amount(TradeType.SELL, 3.1) is None
    assert OrderBook("BTC-USD").price_for_amount(TradeType.BUY, 1) is None


def test_what_is_copied_does_not_change_any_more():
    for thing, name in (
        (Quote("A"), "bid"),
        (Position("A"), "amount"),
        (Balance("A"), "total"),
        (MarketTrade("A"), "price"),
    ):
        copy = thing.copy()
        setattr(thing, name, 5.0)
        assert getattr(copy, name) != 5.0
        assert "A" in repr(thing)


def test_a_new_quote_knows_nothing():
    quote = Quote("BTC-USD")
    assert all(math.isnan(value) for value in (quote.bid, quote.ask, quote.mark, quote.mid, quote.funding_rate))
    assert quote.venue_utc_ns == quote.received_mono_ns == 0


class Base:
    """The least a connector needs; nothing here sends anything."""

    name = domain = "test"

    def initialize(self):
        return Pending.resolved(None)

    connect = disconnect = resync = initialize
    subscribe = _schedule_place = _schedule_cancel = _place_order = _cancel_order = lambda self, *_: None
    _place_order_and_process_update = _cancel_order

    def set_leverage(self, trading_pair, leverage, margin_mode=None):
        return Pending.resolved(self._check_leverage(trading_pair, leverage))


class Perpetual(Base, PerpetualDerivativeBase):
    pass


class Spot(Base, SpotExchangeBase):
    pass


@pytest.fixture
def perpetual(kit):
    connector = Perpetual()
    connector._set_trading_rules([kit.RULE])
    connector.recorder = kit.Recorder()
    connector.set_market_data_listener(connector.recorder)
    return connector


def test_an_interface_with_a_missing_method_cannot_be_made():
    class Unfinished(PerpetualDerivativeBase):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()


def test_a_perpetual_connector_says_what_it_is(perpetual):
    assert perpetual.connector_type is ConnectorType.DERIVATIVE_PERPETUAL
    assert Spot().connector_type is ConnectorType.SPOT


def test_positions_are_kept_in_place_and_told(perpetual):
    assert perpetual.get_position("BTC-USD") is None
    perpetual.update_position(Position("BTC-USD", 1.5, 50000.0, leverage=5))
    held = perpetual.get_position("BTC-USD")
    perpetual.update_position(Position("BTC-USD", -2.0, 51000.0, 7, MarginMode.ISOLATED))
    assert perpetual.get_position("BTC-USD") is held
    assert (held.amount, held.leverage, held.margin_mode) == (-2.0, 7, MarginMode.ISOLATED)
    assert perpetual.get_all_positions() == [held]
    assert perpetual.get_leverage("BTC-USD") == 7
    assert [name for name, _ in perpetual.recorder.market] == ["position", "position"]


def test_a_market_that_is_not_in_a_snapshot_is_flat(perpetual):
    perpetual.update_position(Position("BTC-USD", 1.5, leverage=5))
    perpetual.update_positions_snapshot([Position("ETH-USD", 2.0)])
    assert perpetual.get_position("BTC-USD").amount == 0.0
    assert [position.trading_pair for position in perpetual.get_all_positions()] == ["ETH-USD"]
    told = len(perpetual.recorder.market)
    perpetual.update_positions_snapshot([Position("ETH-USD", 2.0)])
    assert len(perpetual.recorder.market) == told + 1, "what was flat already is not told again"


def test_reference_prices_and_funding_are_none_until_known(perpetual):
    assert perpetual.get_mark_price("BTC-USD") is None
    assert perpetual.get_funding_rate("BTC-USD") is None
    perpetual.update_funding_rate("BTC-USD", 0.0000125, 99)
    assert perpetual.get_funding_rate("BTC-USD") == 0.0000125
    assert perpetual.get_mark_price("BTC-USD") is None
    quote = perpetual.get_quote("BTC-USD")
    quote.mark, quote.oracle = 50001.0, 50002.0
    assert (perpetual.get_mark_price("BTC-USD"), perpetual.get_index_price("BTC-USD")) == (50001.0, 50002.0)
    quote.index = 50003.0
    assert perpetual.get_index_price("BTC-USD") == 50003.0
    assert quote.next_funding_utc_ns == 99


def test_leverage_is_checked_before_it_is_asked_for(perpetual):
    assert perpetual.set_leverage("BTC-USD", 20).result(0) == 20
    for wrong in (0, 21, 1.5):
        with pytest.raises(OrderRefused, match="leverage"):
            perpetual.set_leverage("BTC-USD", wrong)
    perpetual.update_leverage("BTC-USD", 3)
    assert perpetual.get_leverage("BTC-USD") == 3
    assert perpetual.get_leverage("ETH-USD") is None


def test_balances_are_told_when_they_change(kit):
    connector, recorder = Spot(), kit.Recorder()
    connector.set_market_data_listener(recorder)
    connector._market.update_balance("USDC", 100.0, 90.0)
    connector._market.update_balance("USDC", 100.0, 90.0, venue_utc_ns=5)
    connector._market.update_balance("USDC", 100.0, 80.0)
    connector._market.update_balance("BTC", 0.0, 0.0)
    assert len(recorder.market) == 3
    assert connector.get_balance("USDC").available == connector.get_available_balance("USDC") == 80.0
    assert (connector.get_balance("ETH"), connector.get_available_balance("ETH")) == (None, 0.0)
    assert [balance.asset for balance in connector.get_all_balances()] == ["USDC"]


def test_rules_that_are_new_or_changed_are_told(kit, perpetual):
    import dataclasses

    assert perpetual.get_trading_rule("BTC-USD") == kit.RULE
    assert perpetual.get_trading_rule("XXX-USD") is None
    perpetual._set_trading_rules([kit.RULE])
    assert perpetual.recorder.market == []
    other = dataclasses.replace(kit.RULE, trading_pair="ETH-USD", symbol="ETH")
    closed = dataclasses.replace(kit.RULE, is_active=False)
    perpetual._set_trading_rules({"BTC-USD": closed, "ETH-USD": other})
    assert perpetual.recorder.market == [("trading_rule", closed), ("trading_rule", other)]
    assert perpetual.get_all_trading_rules() == [closed, other]
    assert perpetual._market.rules_by_symbol["ETH"] is other


def test_a_market_listener_that_raises_is_counted(kit, perpetual):
    class Broken:
        def on_quote(self, quote):
            raise RuntimeError("broken on purpose")

    perpetual.set_market_data_listener(Broken())
    perpetual.update_funding_rate("BTC-USD", 0.1)
    assert perpetual._events.listener_errors == 1


def test_a_public_trade_is_told_and_is_the_last_price(kit):
    connector, recorder = Spot(), kit.Recorder()
    connector.set_market_data_listener(recorder)
    trade = MarketTrade("BTC-USD", 50000.0, 0.1, TradeType.SELL, "9")
    connector._market.publish_market_trade(trade)
    assert recorder.market == [("market_trade", trade)]
    assert connector.get_quote("BTC-USD").last == 50000.0
    book = connector._market.book("BTC-USD")
    connector._market.publish_book(book)
    assert connector.get_book("BTC-USD") is book


def test_reference_price_is_mid_then_mark_then_last(perpetual):
    market: MarketState = perpetual._market
    assert market.reference_price("BTC-USD") is None
    quote = market.quote("BTC-USD")
    assert market.reference_price("BTC-USD") is None
    quote.last = 1.0
    assert market.reference_price("BTC-USD") == 1.0
    quote.mark = 2.0
    assert market.reference_price("BTC-USD") == 2.0
    quote.bid, quote.ask = 2.0, 4.0
    assert market.reference_price("BTC-USD") == 3.0
    quote.mid = 4.0
    assert market.reference_price("BTC-USD") == 4.0
