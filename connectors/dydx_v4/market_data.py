"""Public data: markets, books and trades of the subscribed pairs, as quotes, books and trades."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from latentspeed.connectors.data_sources import OrderBookTrackerDataSource
from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.book import RawBook
from latentspeed.connectors.dydx_v4.decoding import finite, market_changes
from latentspeed.connectors.dydx_v4.messages import MarketRow, time_ns
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.quote import MarketTrade, Quote
from latentspeed.connectors.types import TradeType


class MarketFeed(OrderBookTrackerDataSource):
    """Decodes the public channels into the connector's market state."""

    def __init__(
        self,
        market: MarketState,
        publish_quote: Callable[[Quote], None],
        on_terms: Callable[[str, MarketRow], None],
        on_oracle: Callable[[str, float], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Has heard nothing yet.

        Args:
            market: Where everything is kept.
            publish_quote: Called when a quote was changed.
            on_terms: Called with the ticker and what a market's row says, whether or not it is new.
            on_oracle: Called with the ticker and the oracle price of a market, subscribed or not.
            on_problem: Called with a code and a text for what could not be understood.
        """
        self.on_snapshot: Callable[[str, RawBook], None] = lambda ticker, book: None
        """Called when a book begins anew."""
        self._market = market
        self._publish_quote = publish_quote
        self._on_terms = on_terms
        self._on_oracle = on_oracle
        self._on_problem = on_problem
        self._books: dict[str, RawBook] = {}

    def on_book(self, ticker: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """A book, or levels of it that changed."""
        raw = self._books.get(ticker)
        wrong: ValueError | None = None
        if is_snapshot:
            whole = messages.BOOK_SNAPSHOT.decode(contents)
            raw = RawBook()
            raw.reset(
                [(level.price, level.size) for level in whole.bids], [(level.price, level.size) for level in whole.asks]
            )
            self._books[ticker] = raw
            self.on_snapshot(ticker, raw)
        elif raw is None:
            return  # Changes of a book that has not come yet: a few levels are no book.
        else:
            changes = messages.BOOK_CHANGES.decode(contents)
            try:
                raw.update(changes.bids, changes.asks)
            except ValueError as error:
                wrong = error
        self.show_book(ticker, mono_ns)
        if wrong is not None:
            raise wrong

    def show_book(self, ticker: str, mono_ns: int) -> None:
        """Publishes a book and its top as they are now."""
        raw = self._books.get(ticker)
        if raw is None:
            return
        bids, asks = raw.shown()
        book = self._market.book(ticker)
        book.set_levels(bids, asks)
        book.received_mono_ns = mono_ns
        book.is_stale = False
        self._market.publish_book(book)
        self._quote_top(ticker, bids, asks, mono_ns)

    def _quote_top(
        self, ticker: str, bids: list[tuple[float, float]], asks: list[tuple[float, float]], mono_ns: int
    ) -> None:
        quote = self._market.quote(ticker)
        nothing = (float("nan"), float("nan"))
        quote.bid, quote.bid_size = bids[0] if bids else nothing
        quote.ask, quote.ask_size = asks[0] if asks else nothing
        quote.mid = (quote.bid + quote.ask) / 2
        quote.received_mono_ns = mono_ns
        quote.is_stale = False
        self._publish_quote(quote)

    def on_trades(self, ticker: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """Trades; those of the snapshot are history."""
        trades = messages.TRADES.decode(contents).trades
        if is_snapshot:
            if trades:
                self._market.quote(ticker).last = finite(trades[0].price)
            return
        for row in trades:
            try:
                trade = MarketTrade(
                    ticker,
                    finite(row.price),
                    finite(row.size),
                    TradeType.BUY if row.side == "BUY" else TradeType.SELL,
                    row.id,
                    time_ns(row.created_at),
                    mono_ns,
                )
            except ValueError as error:
                self._on_problem("malformed_message", f"trade {row.id}: {error}")
            else:
                self._market.publish_market_trade(trade)

    def on_markets(self, name: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """Oracle prices, funding and terms, of all markets; only what changed is there."""
        changes = market_changes(contents, self._on_problem)
        for ticker, row in (*changes.markets.items(), *changes.trading.items()):
            try:
                self._on_terms(ticker, row)
                if ticker in self._market.subscriptions:
                    self.take_market(ticker, row, mono_ns)
            except (ValueError, ArithmeticError) as error:
                self._on_problem("malformed_message", f"market {ticker}: {error!r}")
        for ticker, price in changes.oracle_prices.items():
            try:
                oracle = finite(price.oracle_price)
            except ValueError as error:
                self._on_problem("malformed_message", f"oracle price of {ticker}: {error}")
                continue
            self._on_oracle(ticker, oracle)
            if ticker in self._market.subscriptions:
                quote = self._market.quote(ticker)
                quote.oracle = quote.index = quote.mark = oracle
                quote.venue_utc_ns = time_ns(price.effective_at) if price.effective_at else quote.venue_utc_ns
                self._publish_quote(quote)

    def take_market(self, ticker: str, row: MarketRow, mono_ns: int) -> None:
        """Takes what a market's row says. The venue marks positions at the oracle price."""
        quote = self._market.quote(ticker)
        if row.oracle_price:
            quote.oracle = quote.index = quote.mark = finite(row.oracle_price)
        if row.next_funding_rate:
            quote.funding_rate = finite(row.next_funding_rate)
            hour_ns = 3600 * 10**9
            quote.next_funding_utc_ns = (time.time_ns() // hour_ns + 1) * hour_ns
        if row.open_interest:
            quote.open_interest = finite(row.open_interest)
        self._publish_quote(quote)

    def invalidate(self) -> None:
        """After the socket was lost: what was heard may be long gone."""
        self._books.clear()
        for pair in self._market.subscriptions:
            self._market.quote(pair).is_stale = True
            self._market.book(pair).is_stale = True

    def is_fresh(self, ticker: str, max_age_s: float) -> bool:
        """Whether the last quote of a market is younger than so many seconds."""
        quote = self._market.quotes.get(ticker)
        return (
            quote is not None
            and not quote.is_stale
            and quote.received_mono_ns > 0
            and time.monotonic_ns() - quote.received_mono_ns < max_age_s * 1e9
        )
