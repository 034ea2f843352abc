"""Candles of the indexer, made of trades."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final
from uuid import uuid5

from latentspeed.tools.venues.dydx_v4.markets import decimal_text
from latentspeed.tools.venues.dydx_v4.rows import NAMESPACE, Row, iso

RESOLUTIONS: Final[dict[str, int]] = {
    "1MIN": 60_000,
    "5MINS": 300_000,
    "15MINS": 900_000,
    "30MINS": 1_800_000,
    "1HOUR": 3_600_000,
    "4HOURS": 14_400_000,
    "1DAY": 86_400_000,
}
KEPT: Final = 1000


class Candles:
    """Candles by market and resolution, oldest first."""

    def __init__(self) -> None:
        self._candles: dict[str, list[Row]] = {}

    def of(self, ticker: str, resolution: str) -> list[Row]:
        """The candles of a market, newest first."""
        return self._candles.get(f"{ticker}/{resolution}", [])[::-1]

    def update(self, ticker: str, trades: list[Row], time_ms: int) -> Iterator[tuple[str, Row]]:
        """Counts trades of one moment; yields each candle that changed, with its name."""
        for resolution, length_ms in RESOLUTIONS.items():
            name = f"{ticker}/{resolution}"
            started = iso(time_ms // length_ms * length_ms)
            candles = self._candles.setdefault(name, [])
            if not candles or candles[-1]["startedAt"] != started:
                price = trades[0]["price"]
                candles.append(
                    {
                        "id": str(uuid5(NAMESPACE, f"{started}-{ticker}-{resolution}")),
                        "startedAt": started,
                        "ticker": ticker,
                        "resolution": resolution,
                        "low": price,
                        "high": price,
                        "open": price,
                        "close": price,
                        "baseTokenVolume": "0",
                        "usdVolume": "0",
                        "trades": 0,
                        "startingOpenInterest": "0",
                    }
                )
                del candles[:-KEPT]
            candle = candles[-1]
            for trade in trades:
                price, size = Decimal(trade["price"]), Decimal(trade["size"])
                candle["low"] = decimal_text(min(Decimal(candle["low"]), price))
                candle["high"] = decimal_text(max(Decimal(candle["high"]), price))
                candle["close"] = trade["price"]
                candle["baseTokenVolume"] = decimal_text(Decimal(candle["baseTokenVolume"]) + size)
                candle["usdVolume"] = decimal_text(Decimal(candle["usdVolume"]) + size * price)
                candle["trades"] += 1
            yield name, dict(candle)
