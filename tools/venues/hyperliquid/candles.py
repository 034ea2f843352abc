"""Candles: one-minute buckets kept as trades happen, longer ones added up when asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

MINUTE_MS = 60_000
KEPT = 5000
INTERVALS_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1440 * MINUTE_MS,
    "3d": 3 * 1440 * MINUTE_MS,
    "1w": 7 * 1440 * MINUTE_MS,
    "1M": 30 * 1440 * MINUTE_MS,
}


class Candle:
    """Open, high, low and close in price units, volume in lots, number of trades."""

    __slots__ = ("close", "count", "high", "lots", "low", "open", "start_ms")

    def __init__(self, start_ms: int, price: int) -> None:
        self.start_ms = start_ms
        self.open = self.high = self.low = self.close = price
        self.lots = 0
        self.count = 0


class Candles:
    """The last five thousand minutes of one market."""

    __slots__ = ("minutes",)

    def __init__(self) -> None:
        self.minutes: deque[Candle] = deque(maxlen=KEPT)

    def add(self, time_ms: int, price: int, lots: int) -> None:
        """Count one trade."""
        start = time_ms - time_ms % MINUTE_MS
        if not self.minutes or self.minutes[-1].start_ms < start:
            self.minutes.append(Candle(start, price))
        candle = self.minutes[-1]
        candle.high = max(candle.high, price)
        candle.low = min(candle.low, price)
        candle.close = price
        candle.lots += lots
        candle.count += 1

    def of(self, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles of an interval whose buckets begin in [start, end], oldest first."""
        width = INTERVALS_MS[interval]
        merged: dict[int, Candle] = {}
        for minute in self.minutes:
            bucket = minute.start_ms - minute.start_ms % width
            if bucket + width <= start_ms or bucket > end_ms:
                continue
            candle = merged.get(bucket)
            if candle is None:
                candle = merged[bucket] = Candle(bucket, minute.open)
            candle.high = max(candle.high, minute.high)
            candle.low = min(candle.low, minute.low)
            candle.close = minute.close
            candle.lots += minute.lots
            candle.count += minute.count
        return list(merged.values())


def candle_row(
    candle: Candle, coin: str, interval: str, price_text: Callable[[int], str], size_text: Callable[[int], str]
) -> dict[str, Any]:
    """The candle object: prices and volume are strings, the count is a number."""
    return {
        "t": candle.start_ms,
        "T": candle.start_ms + INTERVALS_MS[interval] - 1,
        "s": coin,
        "i": interval,
        "o": price_text(candle.open),
        "c": price_text(candle.close),
        "h": price_text(candle.high),
        "l": price_text(candle.low),
        "v": size_text(candle.lots),
        "n": candle.count,
    }
