"""Candles as a connector hears them: closed when their time is over, and filled up after a gap.

Venues push the running candle and do not say that one is closed: the next one says it, or the clock does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.channels import Channel
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.trading_rule import TradingRule

_MS = 1_000_000
_END_OF_TIME_MS = 1 << 43
"""Later times no longer fit in nanoseconds."""
LATE_MS = 3_000
"""How long after its end a candle may still change."""


class CandleReport(Protocol):
    """One candle as a venue tells it: from `start_ms` to `last_ms` inclusive, of the market that it calls `coin`."""

    @property
    def start_ms(self) -> int: ...
    @property
    def last_ms(self) -> int: ...
    @property
    def coin(self) -> str: ...
    @property
    def interval(self) -> str: ...
    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...
    @property
    def volume(self) -> float: ...
    @property
    def count(self) -> int: ...


def is_sound(report: CandleReport) -> bool:
    """Whether the numbers can be those of a candle, and its times those of this age."""
    return (
        0.0 < report.low <= min(report.open, report.close)
        and max(report.open, report.close) <= report.high < math.inf
        and 0.0 <= report.volume < math.inf
        and report.count >= 0
        and 0 <= report.start_ms <= report.last_ms < _END_OF_TIME_MS
    )


class CandleKeeper:
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

    def add(self, trading_pair: str, symbol: str) -> None:
        """Begins to keep a pair's candles."""
        for interval in self._intervals:
            self._candles.setdefault((symbol, interval), self._market.candle(trading_pair, interval))

    def watch(self, symbol: str, interval: str, channel: Channel) -> None:
        """Names where it is shown that a pair's candles are heard of."""
        self._channels[symbol, interval] = channel

    def hear(self, row: CandleReport, mono_ns: int) -> None:
        """Takes a candle from the stream."""
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

    def take(self, row: CandleReport, mono_ns: int) -> None:
        """Takes a candle from the stream or from history; one before the running candle changes nothing."""
        candle = self._candles.get((row.coin, row.interval))
        if candle is None:
            return
        if not is_sound(row):
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

    def take_history(self, symbol: str, interval: str, rows: Sequence[CandleReport]) -> None:
        """Takes what the venue says of a gap, oldest first, and lets the stream go on from there."""
        self._interrupted.pop((symbol, interval), None)
        mono_ns = time.monotonic_ns()
        for row in rows:
            self.take(row, mono_ns)

    def _close(self, candle: Candle) -> None:
        if candle.start_utc_ns and not candle.is_closed:
            candle.is_closed = True
            self._market.publish_candle(candle)


def candles_of(rows: Sequence[CandleReport], rule: TradingRule, venue_now_ms: int) -> list[Candle]:
    """Rows of history as candles; one whose time is not over yet is open, and an unsound one is left out."""
    candles = []
    for row in rows:
        if is_sound(row):
            candle = Candle(rule.trading_pair, row.interval)
            _fill(candle, row, time.monotonic_ns())
            candle.is_closed = row.last_ms < venue_now_ms
            candles.append(candle)
    return candles


def _fill(candle: Candle, row: CandleReport, mono_ns: int) -> None:
    candle.start_utc_ns = row.start_ms * _MS
    candle.end_utc_ns = (row.last_ms + 1) * _MS
    candle.open, candle.high, candle.low, candle.close = row.open, row.high, row.low, row.close
    candle.volume = row.volume
    candle.trade_count = row.count
    candle.is_closed = False
    candle.received_mono_ns = mono_ns
