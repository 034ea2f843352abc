"""Candles: the channel of a market and a resolution, and the history that REST has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from latentspeed.connectors.candle_feed import CandleKeeper
from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.messages import CandleRow, time_ns

CHANNEL: Final = "v4_candles"
RESOLUTIONS: Final = {
    "1m": ("1MIN", 60),
    "5m": ("5MINS", 300),
    "15m": ("15MINS", 900),
    "30m": ("30MINS", 1_800),
    "1h": ("1HOUR", 3_600),
    "4h": ("4HOURS", 14_400),
    "1d": ("1DAY", 86_400),
}
"""What the venue calls an interval, and its seconds."""
MOST_INTERVALS: Final = 4
_INTERVALS: Final = {resolution: interval for interval, (resolution, _) in RESOLUTIONS.items()}


@dataclass(frozen=True, slots=True)
class VenueCandle:
    """A row with its market and interval; see `candle_feed.CandleReport`."""

    coin: str
    interval: str
    start_ms: int
    last_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    count: int


def candle_of(row: CandleRow, ticker: str, interval: str) -> VenueCandle:
    """A row as a candle. Raises ValueError for text that is no number or no time."""
    start_ms = time_ns(row.started_at) // 1_000_000
    last_ms = start_ms + RESOLUTIONS[interval][1] * 1000 - 1
    prices = float(row.open), float(row.high), float(row.low), float(row.close)
    return VenueCandle(ticker, interval, start_ms, last_ms, *prices, float(row.base_token_volume), row.trades)


def candles_in(rows: Sequence[CandleRow], ticker: str, interval: str) -> list[VenueCandle]:
    """Rows of history, which come newest first, oldest first. Raises ValueError as `candle_of` does."""
    return [candle_of(row, ticker, interval) for row in reversed(rows)]


def iso_time(utc_ns: int) -> str:
    """A time as the indexer reads and writes it, to the millisecond."""
    moment = datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{utc_ns // 1_000_000 % 1000:03d}Z"


class CandleFeed(CandleKeeper):
    """Decodes the candles' channel; the first message of a subscription is history, of which the newest counts."""

    def names_of(self, ticker: str) -> list[str]:
        """What the channel calls the candles of a market."""
        return [f"{ticker}/{RESOLUTIONS[interval][0]}" for interval in self._intervals]

    def on_channel(self, name: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """A candle that runs, or the snapshot. Raises ValueError for what is no candle."""
        ticker, _, resolution = name.partition("/")
        interval = _INTERVALS.get(resolution)
        if interval is None:
            raise ValueError(f"{name!r:.80} is no market and resolution")
        if not is_snapshot:
            self.hear(candle_of(messages.CANDLE.decode(contents), ticker, interval), mono_ns)
            return
        rows = messages.CANDLES.decode(contents).candles
        known = self._candles.get((ticker, interval))
        # The snapshot holds what ended while nobody listened: no gap is left to be asked for.
        since_ms = known.start_utc_ns // 1_000_000 if known is not None and known.start_utc_ns else math.inf
        found = candles_in(rows, ticker, interval)
        self.take_history(ticker, interval, [candle for candle in found if candle.start_ms >= since_ms] or found[-1:])
