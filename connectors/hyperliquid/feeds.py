"""Everything that a session listens to, made and joined: market data, candles, fundings, and the account's streams.

    socket -> Streams -> MarketFeed      bbo, l2Book, trades, activeAssetCtx
                      -> CandleFeed      candle
                      -> AccountReports  orderUpdates, userFills
                      -> FundingReports  userFundings
                      -> UserEvents      user (subscribed as userEvents)

Each subscription is a channel of the watch, so that it can be seen which of them has fallen silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from latentspeed.connectors.channels import Channel, ChannelWatch
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.hyperliquid import user_events
from latentspeed.connectors.hyperliquid.account_reports import AccountReports
from latentspeed.connectors.hyperliquid.candles import CandleFeed, CandleRow
from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.connectors.hyperliquid.fundings import CountedFundings, FundingReports
from latentspeed.connectors.hyperliquid.market_data import MarketFeed, subscriptions_of
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.streams import Handler, Key, Streams, Subscription, subscription_key
from latentspeed.connectors.hyperliquid.user_events import UserEvents
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.quote import Quote
from latentspeed.connectors.trading_rule import TradingRule

CHECKS_AT_ONCE = 2
"""Silent pairs that are asked about at each tick, so that a silent venue cannot use up the request weight."""


class Feeds:
    """The streams of one session. Used in the loop's thread."""

    def __init__(
        self,
        config: HyperliquidConfig,
        rest: RestClient,
        streams: Streams,
        market: MarketState,
        tracker: ClientOrderTracker,
        reports: AccountReports,
        *,
        account: str,
        account_handlers: Mapping[str, Handler],
        counted_fundings: CountedFundings,
        publish_quote: Callable[[Quote], None],
        on_mark: Callable[[str, float], None],
        on_balance_moved: Callable[[], None],
        ask_about: Callable[[InFlightOrder, str], None],
        compare: Callable[[], None],
        ask: Callable[[str, Coroutine[Any, Any, object]], None],
        venue_now_ms: Callable[[], int],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Subscribes to the account's streams.

        Args:
            config: What to subscribe to, and how long silence is borne.
            rest: Asks the venue about gaps and silences.
            streams: The socket.
            market: Where everything is kept.
            tracker: Whose orders these are.
            reports: Takes orders and fills.
            account: The address that is read, lower case.
            account_handlers: Who takes which channel of what the account holds.
            counted_fundings: The funding payments that were told before.
            publish_quote: Called when a quote was changed.
            on_mark: Called with a pair and its new mark price.
            on_balance_moved: Called when the account's balance has changed without a fill.
            ask_about: Asks what became of an order, for a reason.
            compare: Starts a comparison with the venue.
            ask: Starts a question whose failure is reported.
            venue_now_ms: The venue's clock.
            on_problem: Called with a code and a text.
        """
        self.watch = ChannelWatch(config.stale_after_s)
        self.market = MarketFeed(
            market,
            publish_quote=publish_quote,
            on_mark=on_mark,
            on_problem=on_problem,
            watch=self.watch,
            channels=config.market_channels,
        )
        self.candles = CandleFeed(market, config.candle_intervals, on_problem=on_problem)
        self.fundings = FundingReports(
            market, account=account, counted=counted_fundings, on_payment=on_balance_moved, on_problem=on_problem
        )
        self.events = UserEvents(
            tracker,
            self.fundings,
            account=account,
            ask_about=ask_about,
            on_liquidation=compare,
            on_problem=on_problem,
        )
        self._config = config
        self._rest = rest
        self._streams = streams
        self._market_state = market
        self._ask = ask
        self._venue_now_ms = venue_now_ms
        self._on_problem = on_problem
        self.unheard_pairs: frozenset[str] = frozenset()
        """The pairs with a channel that was confirmed, should repeat itself, and has said nothing on this socket."""
        self._channels: dict[Key, Channel] = {}
        self._checking: set[str] = set()
        for channel, handler in (self.market.handlers | self.candles.handlers).items():
            streams.set_handler(channel, handler)
        reported = reports.handlers | self.fundings.handlers | self.events.handlers
        for channel, handler in (*reported.items(), *account_handlers.items()):
            name = user_events.SUBSCRIPTION if channel == user_events.CHANNEL else channel
            shown = self.watch.add(name)
            streams.set_handler(channel, _watched(shown, handler))
            self._want({"type": name, "user": account}, shown)
        streams.on_subscription = self._on_subscription

    # Subscriptions

    def subscribe(self, rule: TradingRule) -> None:
        """Asks for a market's data."""
        pair, symbol = rule.trading_pair, rule.symbol
        self.market.add(pair, symbol)
        for subscription in subscriptions_of(symbol, self._config.market_channels):
            if subscription["type"] == "l2Book" and self._config.fast_books is not None:
                subscription["fast"] = self._config.fast_books
            self._want(subscription, self.watch.add(subscription["type"], pair))
        self.candles.add(pair, symbol)
        for subscription in self.candles.subscriptions_of(symbol):
            channel = self.watch.add(f"candle {subscription['interval']}", pair)
            self.candles.watch(symbol, subscription["interval"], channel)
            self._want(subscription, channel)

    def _want(self, subscription: Subscription, channel: Channel) -> None:
        self._channels[subscription_key(subscription)] = channel
        self._streams.subscribe([subscription])

    def _on_subscription(self, key: Key, text: str) -> None:
        """The venue has confirmed a subscription, or refused it with a text."""
        channel = self._channels.get(key)
        if channel is None:
            return
        channel.is_refused = bool(text)
        channel.confirmed_mono_ns = 0 if text else time.monotonic_ns()
        channel.is_down = False

    # Losses and silences

    def went_up(self) -> None:
        """The socket is open again and everything is subscribed: gaps are filled."""
        now_ms = self._venue_now_ms()
        for symbol, interval, since_ms in self.candles.gaps(now_ms):
            self._ask("candles", self._fill_candles(symbol, interval, since_ms))
        self._ask("fundings", self._fill_fundings())

    def went_down(self) -> None:
        """The socket was lost: nothing is fresh any more."""
        self.unheard_pairs = frozenset()
        self.market.invalidate()
        self.candles.interrupt()
        self.watch.went_down()

    def tick(self) -> None:
        """Once a second while the session is live: candles are closed, and silent prices are checked."""
        self.candles.close_due(self._venue_now_ms())
        limit_s = self._config.stale_after_s
        if not limit_s:
            return
        for pair in self.market.to_check(limit_s):
            self.market.mark_stale(pair)
        never = self.watch.never_heard()
        self.unheard_pairs = frozenset(channel.trading_pair for channel in never)
        if never:
            names = ", ".join(f"{channel.name} of {channel.trading_pair}" for channel in never)
            for pair in self.unheard_pairs:
                self.market.mark_stale(pair)
            self._on_problem("market_data_silent", f"confirmed, and nothing heard in {limit_s} s: {names}")
            self._streams.link.drop(f"nothing was heard of {names}")
        for pair in self.market.to_check(min(limit_s, self._config.quote_max_age_s) / 2)[:CHECKS_AT_ONCE]:
            if pair not in self._checking:
                self._checking.add(pair)
                self._ask("silence_check", self._check(pair))

    async def _check(self, pair: str) -> None:
        """Asks the venue for the book of a silent pair: has the market gone quiet, or has the stream stalled?"""
        try:
            said_ns = self.market.said_mono_ns(pair)
            answer = await self._rest.book(self._market_state.rules[pair].symbol)
            if answer is None or self.market.said_mono_ns(pair) != said_ns or not self._streams.is_up:
                return
            if not self.market.check(pair, answer, time.monotonic_ns()):
                self.market.mark_stale(pair)
                self._on_problem("market_data_stalled", f"{pair}: the stream is silent, and the book has moved")
                self._streams.link.drop(f"the market data of {pair} has stalled")
        finally:
            self._checking.discard(pair)

    async def _fill_candles(self, symbol: str, interval: str, since_ms: int) -> None:
        rows: list[CandleRow] = []
        try:
            rows = await self._rest.candles(symbol, interval, since_ms, self._venue_now_ms())
        finally:
            self.candles.take_history(symbol, interval, rows)

    async def _fill_fundings(self) -> None:
        """The stream's snapshot fills short gaps; a long one is asked for, and a gap within an hour has nothing."""
        since_ms = max(self.fundings.counted.newest_ms, self.fundings.counted.counts_from_ms)
        hour_ms = 3_600_000
        if self._venue_now_ms() // hour_ms > since_ms // hour_ms:
            for row in await self._rest.fundings(since_ms):
                self.fundings.take(row)


def _watched(channel: Channel, handler: Handler) -> Handler:
    def take(data: msgspec.Raw, mono_ns: int) -> None:
        channel.heard(mono_ns)
        handler(data, mono_ns)

    return take
