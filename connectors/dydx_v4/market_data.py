"""Public data: markets, books and trades of the subscribed pairs, as quotes, books and trades."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.book import RawBook
from latentspeed.connectors.dydx_v4.messages import MarketRow, time_ns
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.quote import MarketTrade, Quote
from latentspeed.connectors.types import TradeType


class MarketFeed:
    """Decodes the public channels into the connector's market state."""

    def __init__(
        self, market: MarketState, publish_quote: Callable[[Quote], None], on_status: Callable[[str, str], None]
    ) -> None:
        """Has heard nothing yet; `on_status` is told the ticker and the new status of a market."""
        self._market = market
        self._publish_quote = publish_quote
        self._on_status = on_status
        self._books: dict[str, RawBook] = {}

    def on_book(self, ticker: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """A book, or levels of it that changed."""
        raw = self._books.setdefault(ticker, RawBook())
        if is_snapshot:
            whole = messages.BOOK_SNAPSHOT.decode(contents)
            raw.reset(
                [(level.price, level.size) for level in whole.bids], [(level.price, level.size) for level in whole.asks]
            )
        else:
            changes = messages.BOOK_CHANGES.decode(contents)
            raw.update(changes.bids, changes.asks)
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
                self._market.quote(ticker).last = float(trades[0].price)
            return
        for row in trades:
            self._market.publish_market_trade(
                MarketTrade(
                    ticker,
                    float(row.price),
                    float(row.size),
                    TradeType.BUY if row.side == "BUY" else TradeType.SELL,
                    row.id,
                    time_ns(row.created_at),
                    mono_ns,
                )
            )

    def on_markets(self, name: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """Oracle prices, funding and terms, of all markets; only what changed is there."""
        changes = messages.MARKET_CHANGES.decode(contents)
        for ticker, row in (*changes.markets.items(), *changes.trading.items()):
            if not is_snapshot and row.status:
                self._on_status(ticker, row.status)
            if ticker in self._market.subscriptions:
                self.take_market(ticker, row, mono_ns)
        for ticker, price in changes.oracle_prices.items():
            if ticker in self._market.subscriptions:
                quote = self._market.quote(ticker)
                quote.oracle = quote.index = quote.mark = float(price.oracle_price)
                quote.venue_utc_ns = time_ns(price.effective_at) if price.effective_at else quote.venue_utc_ns
                self._publish_quote(quote)

    def take_market(self, ticker: str, row: MarketRow, mono_ns: int) -> None:
        """Takes what a market's row says. The venue marks positions at the oracle price."""
        quote = self._market.quote(ticker)
        if row.oracle_price:
            quote.oracle = quote.index = quote.mark = float(row.oracle_price)
        if row.next_funding_rate:
            quote.funding_rate = float(row.next_funding_rate)
            hour_ns = 3600 * 10**9
            quote.next_funding_utc_ns = (time.time_ns() // hour_ns + 1) * hour_ns
        if row.open_interest:
            quote.open_interest = float(row.open_interest)
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
