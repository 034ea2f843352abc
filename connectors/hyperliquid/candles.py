"""Candles of the subscribed pairs: the stream's, closed when their time is over, and the history of a gap.

The venue pushes the running candle and never says that one is closed: the next one says it, or the clock does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import msgspec

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.channels import Channel
from latentspeed.connectors.hyperliquid.messages import Message, RowDecoder, decoder
from latentspeed.connectors.hyperliquid.streams import Handler, Subscription
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.trading_rule import TradingRule

_MS = 1_000_000
LATE_MS = 3_000
"""How long after its end a candle may still change."""


class CandleRow(Message):
    """One candle as the venue writes it: `t` to `T` inclusive in milliseconds, prices and volume as text."""

    start_ms: int = msgspec.field(name="t")
    last_ms: int = msgspec.field(name="T")
    coin: str = msgspec.field(name="s")
    interval: str = msgspec.field(name="i")
    open: float = msgspec.field(name="o")
    close: float = msgspec.field(name="c")
    high: float = msgspec.field(name="h")
    low: float = msgspec.field(name="l")
    volume: float = msgspec.field(name="v")
    count: int = msgspec.field(name="n", default=0)

    @property
    def is_sound(self) -> bool:
        """Whether the numbers can be those of a candle."""
        return (
            0.0 < self.low <= min(self.open, self.close)
            and max(self.open, self.close) <= self.high < math.inf
            and 0.0 <= self.volume < math.inf
            and self.count >= 0
            and 0 <= self.start_ms <= self.last_ms < 1 << 52
        )


CANDLE = decoder(CandleRow)
CANDLE_ROWS = RowDecoder(CandleRow)


class CandleFeed:
    """Keeps the running candle of each subscribed pair and interval, and tells the listener of it."""

    def __init__(
        self, market: MarketState, intervals: Sequence[str], *, on_problem: Callable[[str, str], None]
    ) -> None:
        """Begins without pairs.

        Args:
            market: Where candles are kept.
            intervals: The intervals of every pair.
            on_problem: Called with a code and a text for what could not be understood.
        """
        self._market = market
        self._intervals = tuple(intervals)
        self._on_problem = on_problem
        self._candles: dict[tuple[str, str], Candle] = {}
        self._channels: dict[tuple[str, str], Channel] = {}
        # Candles of the connection before, and whether the stream has gone on beyond them already.
        self._interrupted: dict[tuple[str, str], bool] = {}

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel."""
        return {"candle": self._on_candle} if self._intervals else {}

    def add(self, trading_pair: str, symbol: str) -> None:
        """Begins to keep a pair's candles."""
        for interval in self._intervals:
            self._candles.setdefault((symbol, interval), self._market.candle(trading_pair, interval))

    def watch(self, symbol: str, interval: str, channel: Channel) -> None:
        """Names where it is shown that a pair's candles are heard of."""
        self._channels[symbol, interval] = channel

    def subscriptions_of(self, symbol: str) -> list[Subscription]:
        """The subscriptions of one pair."""
        return [{"type": "candle", "coin": symbol, "interval": interval} for interval in self._intervals]

    def _on_candle(self, data: msgspec.Raw, mono_ns: int) -> None:
        row = CANDLE.decode(data)
        key = row.coin, row.interval
        channel = self._channels.get(key)
        if channel is not None:
            channel.heard(mono_ns)
        if key in self._interrupted:
            if row.start_ms * _MS != self._candles[key].start_utc_ns:
                self._interrupted[key] = True  # what is in between comes first, see `gaps`
                return
            del self._interrupted[key]
        self.take(row, mono_ns)

    def take(self, row: CandleRow, mono_ns: int) -> None:
        """Takes a candle from the stream or from history; one before the running candle changes nothing."""
        candle = self._candles.get((row.coin, row.interval))
        if candle is None:
            return
        if not row.is_sound:
            self._on_problem("malformed_message", f"candle of {row.coin}: {row}")
            return
        start_ns = row.start_ms * _MS
        if start_ns < candle.start_utc_ns or (start_ns == candle.start_utc_ns and candle.is_closed):
            return
        if start_ns > candle.start_utc_ns:
            self._close(candle)
        _fill(candle, row, mono_ns)
        self._market.publish_candle(candle)

    def close_due(self, venue_now_ms: int) -> None:
        """Closes the candles whose time is over and after which nothing was traded."""
        for candle in self._candles.values():
            if candle.end_utc_ns and (venue_now_ms - LATE_MS) * _MS >= candle.end_utc_ns:
                self._close(candle)

    def interrupt(self) -> None:
        """The connection was lost: candles may end while nobody listens."""
        self._interrupted |= {key: False for key, candle in self._candles.items() if candle.end_utc_ns}

    def gaps(self, venue_now_ms: int) -> list[tuple[str, str, int]]:
        """The candles that ended while nobody listened: symbol, interval, and since when, in milliseconds.

        Each has to be followed by `take_history`, with or without rows.
        """
        found = []
        for key, has_gone_on in list(self._interrupted.items()):
            candle = self._candles[key]
            if has_gone_on or venue_now_ms * _MS >= candle.end_utc_ns:
                found.append((*key, candle.start_utc_ns // _MS))
            else:
                del self._interrupted[key]
        return found

    def take_history(self, symbol: str, interval: str, rows: Sequence[CandleRow]) -> None:
        """Takes what the venue says of a gap, oldest first, and lets the stream go on from there."""
        self._interrupted.pop((symbol, interval), None)
        mono_ns = time.monotonic_ns()
        for row in rows:
            self.take(row, mono_ns)

    def _close(self, candle: Candle) -> None:
        if candle.start_utc_ns and not candle.is_closed:
            candle.is_closed = True
            self._market.publish_candle(candle)


def candles_of(rows: Sequence[CandleRow], rule: TradingRule, venue_now_ms: int) -> list[Candle]:
    """Rows of history as candles; one whose time is not over yet is open, and an unsound one is left out."""
    candles = []
    for row in rows:
        if row.is_sound:
            candle = Candle(rule.trading_pair, row.interval)
            _fill(candle, row, time.monotonic_ns())
            candle.is_closed = row.last_ms < venue_now_ms
            candles.append(candle)
    return candles


def _fill(candle: Candle, row: CandleRow, mono_ns: int) -> None:
    candle.start_utc_ns = row.start_ms * _MS
    candle.end_utc_ns = (row.last_ms + 1) * _MS
    candle.open, candle.high, candle.low, candle.close = row.open, row.high, row.low, row.close
    candle.volume = row.volume
    candle.trade_count = row.count
    candle.is_closed = False
    candle.received_mono_ns = mono_ns
