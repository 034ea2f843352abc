"""The latest of everything that a connector knows about its markets and its account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.funding import FundingPayment
from latentspeed.connectors.order_book import OrderBook
from latentspeed.connectors.position import Balance
from latentspeed.connectors.quote import MarketTrade, Quote
from latentspeed.connectors.trading_rule import TradingRule


class MarketState:
    """Rules, quotes, books and balances by name. Objects are made once and changed in place."""

    __slots__ = ("_events", "balances", "books", "candles", "quotes", "rules", "rules_by_symbol", "subscriptions")

    def __init__(self, events: EventDispatcher) -> None:
        self._events = events
        self.rules: dict[str, TradingRule] = {}
        self.rules_by_symbol: dict[str, TradingRule] = {}
        self.quotes: dict[str, Quote] = {}
        self.books: dict[str, OrderBook] = {}
        self.balances: dict[str, Balance] = {}
        self.candles: dict[tuple[str, str], Candle] = {}
        self.subscriptions: dict[str, None] = {}

    def set_rules(self, rules: Iterable[TradingRule]) -> None:
        """Replaces all rules, and tells the listener of those that are new or changed.

        A market's grid is kept for the life of this process: orders and fills are integers on it. Where the venue has
        changed its tick or lot, the old grid stays, no order is taken any more, and an error event says so.
        """
        old = self.rules
        self.rules = {rule.trading_pair: self._on_its_grid(rule, old.get(rule.trading_pair)) for rule in rules}
        self.rules_by_symbol = {rule.symbol: rule for rule in self.rules.values()}
        for pair, rule in self.rules.items():
            if old.get(pair) != rule:
                self._events.market_data("on_trading_rule", rule)

    def _on_its_grid(self, rule: TradingRule, before: TradingRule | None) -> TradingRule:
        if before is None or before.has_grid_of(rule):
            return rule
        self._events.error(
            "trading_grid_changed",
            f"{rule.trading_pair} has lots of {rule.lot_size:f} and ticks of {rule.tick_size:f} now, and had lots of "
            f"{before.lot_size:f} and ticks of {before.tick_size:f}: no orders are taken until a new start",
            trading_pair=rule.trading_pair,
        )
        return replace(before, symbol=rule.symbol, asset_id=rule.asset_id, is_active=False)

    def quote(self, trading_pair: str) -> Quote:
        """The quote of a market, made if it is the first."""
        quote = self.quotes.get(trading_pair)
        if quote is None:
            quote = self.quotes[trading_pair] = Quote(trading_pair)
        return quote

    def book(self, trading_pair: str) -> OrderBook:
        """The book of a market, made if it is the first."""
        book = self.books.get(trading_pair)
        if book is None:
            book = self.books[trading_pair] = OrderBook(trading_pair)
        return book

    def candle(self, trading_pair: str, interval: str) -> Candle:
        """The latest candle of a market and interval, made if it is the first."""
        key = trading_pair, interval
        candle = self.candles.get(key)
        if candle is None:
            candle = self.candles[key] = Candle(trading_pair, interval)
        return candle

    def publish_candle(self, candle: Candle) -> None:
        """Tells the listener that a candle was changed or closed."""
        self._events.market_data("on_candle", candle)

    def publish_funding(self, payment: FundingPayment) -> None:
        """Tells the listener of a funding payment."""
        self._events.market_data("on_funding", payment)

    def publish_book(self, book: OrderBook) -> None:
        """Tells the listener that a book was changed."""
        self._events.market_data("on_book", book)

    def publish_market_trade(self, trade: MarketTrade) -> None:
        """Tells the listener of a public trade, and takes its price as the last one."""
        self.quote(trade.trading_pair).last = trade.price
        self._events.market_data("on_market_trade", trade)

    def update_balance(
        self, asset: str, total: float, available: float, *, venue_utc_ns: int = 0, received_mono_ns: int = 0
    ) -> None:
        """Takes a balance from the venue, and tells the listener if it changed."""
        balance = self.balances.get(asset)
        if balance is None:
            balance = self.balances[asset] = Balance(asset)
        elif balance.total == total and balance.available == available:
            balance.venue_utc_ns, balance.received_mono_ns = venue_utc_ns, received_mono_ns
            return
        balance.total, balance.available = total, available
        balance.venue_utc_ns, balance.received_mono_ns = venue_utc_ns, received_mono_ns
        self._events.market_data("on_balance", balance)

    def has_all_quotes(self) -> bool:
        """Whether every subscribed market has been quoted."""
        quotes = self.quotes
        return all((quote := quotes.get(pair)) is not None and quote.received_mono_ns for pair in self.subscriptions)

    def reference_price(self, trading_pair: str) -> float | None:
        """A price to value an order without one: mid, else mark, else last; None when nothing is known."""
        quote = self.quotes.get(trading_pair)
        if quote is None:
            return None
        for price in (quote.mid, (quote.bid + quote.ask) / 2, quote.mark, quote.last):
            if price > 0.0:
                return price
        return None
