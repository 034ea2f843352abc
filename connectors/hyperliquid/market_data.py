"""Market data of the subscribed pairs: from the venue's messages to the reused quotes, books and trades.

The touch comes from `bbo`, which is pushed only when it changes, and is confirmed by `l2Book`, which comes regularly.
What was received before a reconnect is not fresh until the venue has sent it again. Prices that have gone silent are
compared with what the venue answers when it is asked: the same means that the market is quiet, anything else that the
stream has stalled, and then quote and book are marked as stale.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import msgspec

from latentspeed.connectors.channels import Channel, ChannelWatch
from latentspeed.connectors.data_sources import OrderBookTrackerDataSource
from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.fills import side_of
from latentspeed.connectors.hyperliquid.messages import L2Book, Level
from latentspeed.connectors.hyperliquid.streams import Handler, Subscription
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.quote import MarketTrade, Quote

_HOUR_NS = 3_600_000_000_000
_MS = 1_000_000
_REMEMBERED_TRADES = 512
CHANNELS = ("bbo", "l2Book", "trades", "activeAssetCtx")
REGULAR = frozenset(("l2Book", "activeAssetCtx"))
"""Channels that the venue repeats, so that their silence means something."""
COMPARED_LEVELS = 5


class _Feed:
    """What is known of one pair's stream on this connection; times are 0 when nothing has come yet."""

    __slots__ = (
        "bbo",
        "book",
        "book_venue_ns",
        "channels",
        "context",
        "quote",
        "recent",
        "recent_ids",
        "touch_mono_ns",
        "touch_venue_ns",
        "trade",
        "trades",
    )

    def __init__(self, quote: Quote, channels: dict[str, Channel]) -> None:
        self.quote = quote
        self.channels = channels
        self.bbo, self.book, self.trades, self.context = (
            channels.get(name) or Channel(name, quote.trading_pair) for name in CHANNELS
        )
        self.trade = MarketTrade(quote.trading_pair)
        self.touch_mono_ns = 0
        self.touch_venue_ns = 0
        self.book_venue_ns = 0
        self.recent: deque[int] = deque(maxlen=_REMEMBERED_TRADES)
        self.recent_ids: set[int] = set()

    @property
    def price_channel(self) -> Channel:
        """The channel whose silence puts the prices in doubt."""
        return self.book if "l2Book" in self.channels else self.bbo

    @property
    def heard_mono_ns(self) -> int:
        """When anything of this pair was heard; where nothing repeats itself, a check counts too."""
        channels = self.channels.values()
        heard = max(channel.heard_mono_ns for channel in channels)
        if heard and not self.channels.keys() & {"activeAssetCtx"}:
            return max(heard, *(channel.checked_mono_ns for channel in channels))
        return heard


class MarketFeed(OrderBookTrackerDataSource):
    """Keeps the latest market data of the subscribed pairs and tells the listener of changes."""

    def __init__(
        self,
        market: MarketState,
        *,
        publish_quote: Callable[[Quote], None],
        on_mark: Callable[[str, float], None],
        on_problem: Callable[[str, str], None],
        watch: ChannelWatch | None = None,
        channels: tuple[str, ...] = CHANNELS,
    ) -> None:
        """Begins without pairs.

        Args:
            market: Where quotes and books are kept.
            watch: Where the channels are shown.
            channels: Those that are subscribed for each pair.
            publish_quote: Called when a quote was changed.
            on_mark: Called with a pair and its new mark price.
            on_problem: Called with a code and a text for what could not be understood.
        """
        self._market = market
        self._publish_quote = publish_quote
        self._on_mark = on_mark
        self._on_problem = on_problem
        self._watch = watch if watch is not None else ChannelWatch()
        self._channels = channels
        self._by_pair: dict[str, _Feed] = {}
        self._by_symbol: dict[str, _Feed] = {}

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel."""
        return {
            "bbo": self._on_bbo,
            "l2Book": self._on_book,
            "trades": self._on_trades,
            "activeAssetCtx": self._on_context,
            "activeSpotAssetCtx": self._on_spot_context,
        }

    def add(self, trading_pair: str, symbol: str) -> None:
        """Begins to keep a pair."""
        if trading_pair not in self._by_pair:
            channels = {
                name: self._watch.add(name, trading_pair, is_regular=name in REGULAR) for name in self._channels
            }
            feed = _Feed(self._market.quote(trading_pair), channels)
            self._by_pair[trading_pair] = self._by_symbol[symbol] = feed

    def invalidate(self) -> None:
        """Nothing is fresh any more: the connection was lost."""
        for feed in self._by_pair.values():
            self._mark_stale(feed)
            feed.touch_mono_ns = feed.touch_venue_ns = feed.book_venue_ns = 0
            for channel in feed.channels.values():
                channel.heard_mono_ns = channel.checked_mono_ns = 0
            feed.quote.received_mono_ns = 0

    def is_fresh(self, trading_pair: str, max_age_s: float) -> bool:
        """Whether the touch was said or confirmed on this connection, and not too long ago."""
        feed = self._by_pair.get(trading_pair)
        return feed is not None and bool(feed.touch_mono_ns) and _age_s(feed.touch_mono_ns) <= max_age_s

    def silent_pairs(self, longer_than_s: float) -> list[str]:
        """The pairs that were heard of on this connection, but not for so long."""
        return [
            pair
            for pair, feed in self._by_pair.items()
            if feed.heard_mono_ns and _age_s(feed.heard_mono_ns) > longer_than_s
        ]

    # --- silence ---

    def to_check(self, longer_than_s: float) -> list[str]:
        """The pairs whose prices were heard of, but not for so long; the longest silent first."""
        silent = []
        for pair, feed in self._by_pair.items():
            channel = feed.price_channel
            said_ns = max(channel.heard_mono_ns, channel.checked_mono_ns)
            if channel.heard_mono_ns and _age_s(said_ns) > longer_than_s:
                silent.append((said_ns, pair))
        return [pair for _, pair in sorted(silent)]

    @property
    def stale_pairs(self) -> list[str]:
        """The pairs whose prices are known or feared to have moved on without us."""
        return [pair for pair, feed in self._by_pair.items() if feed.quote.is_stale and feed.touch_mono_ns]

    def mark_stale(self, trading_pair: str) -> None:
        """Marks quote and book as stale, and shows it; the next message of the venue takes that back."""
        self._mark_stale(self._by_pair[trading_pair])

    def said_mono_ns(self, trading_pair: str) -> int:
        """When the prices of a pair were last heard of."""
        return self._by_pair[trading_pair].price_channel.heard_mono_ns

    def check(self, trading_pair: str, answer: L2Book, mono_ns: int) -> bool:
        """Compares what is kept with what the venue answered; the same is fresh again. False when it differs."""
        feed = self._by_pair[trading_pair]
        quote = feed.quote
        bids, asks = answer.levels
        if "l2Book" in feed.channels:
            book = self._market.book(trading_pair)
            sides = ((bids, book.bid_levels()), (asks, book.ask_levels()))
            is_same = all(_as_pairs(said) == [tuple(row) for row in kept[:COMPARED_LEVELS]] for said, kept in sides)
        else:
            kept_touch = [(quote.bid, quote.bid_size), (quote.ask, quote.ask_size)]
            is_same = [_as_pairs(bids[:1]), _as_pairs(asks[:1])] == [
                [] if math.isnan(price) else [(price, size)] for price, size in kept_touch
            ]
        if is_same:
            feed.price_channel.checked_mono_ns = mono_ns
            feed.touch_mono_ns = quote.received_mono_ns = mono_ns
            feed.touch_venue_ns = quote.venue_utc_ns = answer.time * _MS
            quote.is_stale = False
            self._publish_quote(quote)
            if "l2Book" in feed.channels:
                book.is_stale = False
                book.received_mono_ns = mono_ns
                feed.book_venue_ns = book.venue_utc_ns = answer.time * _MS
                self._market.publish_book(book)
        return is_same

    def _mark_stale(self, feed: _Feed) -> None:
        quote = feed.quote
        if feed.touch_mono_ns and not quote.is_stale:
            quote.is_stale = True
            self._publish_quote(quote)
        book = self._market.books.get(quote.trading_pair)
        if book is not None and not book.is_stale:
            book.is_stale = True
            self._market.publish_book(book)

    # --- messages ---

    def _on_bbo(self, data: msgspec.Raw, mono_ns: int) -> None:
        message = messages.BBO.decode(data)
        feed = self._by_symbol.get(message.coin)
        if feed is None:
            return
        feed.bbo.heard(mono_ns)
        bid, ask = message.bbo
        if not (_is_sound(bid) and _is_sound(ask)):
            self._on_problem("malformed_message", f"bbo of {message.coin}: {bytes(data)[:200]!r}")
            return
        venue_ns = message.time * _MS
        if venue_ns >= feed.touch_venue_ns:
            _set_touch(feed, bid, ask, venue_ns, mono_ns)
            self._publish_quote(feed.quote)

    def _on_book(self, data: msgspec.Raw, mono_ns: int) -> None:
        message = messages.L2_BOOK.decode(data)
        feed = self._by_symbol.get(message.coin)
        if feed is None:
            return
        feed.book.heard(mono_ns)
        bids, asks = message.levels
        if not (all(map(_is_sound, bids)) and all(map(_is_sound, asks))):
            self._on_problem("malformed_message", f"l2Book of {message.coin}: {bytes(data)[:200]!r}")
            return
        venue_ns = message.time * _MS
        if venue_ns < feed.book_venue_ns:
            return
        feed.book_venue_ns = venue_ns
        quote = feed.quote
        book = self._market.book(quote.trading_pair)
        book.set_levels([(level.px, level.sz) for level in bids], [(level.px, level.sz) for level in asks])
        book.venue_utc_ns = venue_ns
        book.received_mono_ns = mono_ns
        book.is_stale = False
        if venue_ns >= feed.touch_venue_ns:
            before = quote.bid, quote.ask, quote.bid_size, quote.ask_size, bool(feed.touch_mono_ns)
            _set_touch(feed, bids[0] if bids else None, asks[0] if asks else None, venue_ns, mono_ns)
            if before != (quote.bid, quote.ask, quote.bid_size, quote.ask_size, True):
                self._publish_quote(quote)
        self._market.publish_book(book)

    def _on_trades(self, data: msgspec.Raw, mono_ns: int) -> None:
        rows = messages.PUBLIC_TRADES.decode(
            data, lambda text: self._on_problem("malformed_message", f"trades: {text}")
        )
        for row in rows:
            feed = self._by_symbol.get(row.coin)
            if feed is None:
                continue
            if not (0.0 < row.px < math.inf and 0.0 < row.sz < math.inf):
                self._on_problem("malformed_message", f"trade of {row.coin}: {row}")
                continue
            feed.trades.heard(mono_ns)
            if not _is_new_trade(feed, row.tid):
                continue
            trade = feed.trade
            trade.price = row.px
            trade.amount = row.sz
            trade.side = side_of(row.side)
            trade.trade_id = str(row.tid)
            trade.venue_utc_ns = row.time * _MS
            trade.received_mono_ns = mono_ns
            self._market.publish_market_trade(trade)

    def _on_context(self, data: msgspec.Raw, mono_ns: int) -> None:
        message = messages.ACTIVE_ASSET_CONTEXT.decode(data)
        feed = self._by_symbol.get(message.coin)
        if feed is None:
            return
        feed.context.heard(mono_ns)
        quote, context = feed.quote, message.ctx
        if not (0.0 < context.markPx < math.inf and 0.0 <= context.oraclePx < math.inf and abs(context.funding) < 1.0):
            self._on_problem("malformed_message", f"activeAssetCtx of {message.coin}: {bytes(data)[:200]!r}")
            return
        quote.mark = context.markPx
        quote.oracle = quote.index = context.oraclePx
        quote.funding_rate = context.funding
        quote.open_interest = context.openInterest
        if context.midPx is not None and not feed.touch_mono_ns:
            quote.mid = context.midPx
        now_ns = time.time_ns()
        quote.next_funding_utc_ns = now_ns - now_ns % _HOUR_NS + _HOUR_NS
        self._publish_quote(quote)
        self._on_mark(quote.trading_pair, context.markPx)

    def _on_spot_context(self, data: msgspec.Raw, mono_ns: int) -> None:
        """The answer to a subscription of `activeAssetCtx` for a spot market, which has a mark and nothing else."""
        message = messages.ACTIVE_ASSET_CONTEXT.decode(data)
        feed = self._by_symbol.get(message.coin)
        if feed is None:
            return
        feed.context.heard(mono_ns)
        quote, context = feed.quote, message.ctx
        if not 0.0 < context.markPx < math.inf:
            self._on_problem("malformed_message", f"activeSpotAssetCtx of {message.coin}: {bytes(data)[:200]!r}")
            return
        quote.mark = context.markPx
        if context.midPx is not None and not feed.touch_mono_ns:
            quote.mid = context.midPx
        self._publish_quote(quote)


def subscriptions_of(symbol: str, channels: tuple[str, ...]) -> list[Subscription]:
    """The subscriptions of one pair."""
    return [{"type": channel, "coin": symbol} for channel in channels]


def _set_touch(feed: _Feed, bid: Level | None, ask: Level | None, venue_ns: int, mono_ns: int) -> None:
    quote = feed.quote
    quote.bid, quote.bid_size = (bid.px, bid.sz) if bid is not None else (math.nan, math.nan)
    quote.ask, quote.ask_size = (ask.px, ask.sz) if ask is not None else (math.nan, math.nan)
    if bid is not None and ask is not None:
        quote.mid = (bid.px + ask.px) / 2
    quote.venue_utc_ns = venue_ns
    quote.received_mono_ns = mono_ns
    quote.is_stale = False
    feed.touch_venue_ns = venue_ns
    feed.touch_mono_ns = mono_ns


def _age_s(mono_ns: int) -> float:
    return (time.monotonic_ns() - mono_ns) / 1e9


def _as_pairs(levels: list[Level]) -> list[tuple[float, float]]:
    return [(level.px, level.sz) for level in levels[:COMPARED_LEVELS]]


def _is_sound(level: Level | None) -> bool:
    return level is None or (0.0 < level.px < math.inf and 0.0 <= level.sz < math.inf)


def _is_new_trade(feed: _Feed, tid: int) -> bool:
    """False for a trade that was told already: a subscription may begin with recent ones."""
    if tid == 0:
        return True
    if tid in feed.recent_ids:
        return False
    if len(feed.recent) == _REMEMBERED_TRADES:
        feed.recent_ids.discard(feed.recent[0])
    feed.recent.append(tid)
    feed.recent_ids.add(tid)
    return True
