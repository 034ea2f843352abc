"""One candle of a market: what was traded in one interval."""

from __future__ import annotations

import copy
import math
from typing import Self


class Candle:
    """Open, high, low and close of the interval from `start_utc_ns` up to, and without, `end_utc_ns`.

    `volume` is in units of the base asset. An open candle goes on changing; a closed one is final. Objects are reused
    by their connector.
    """

    __slots__ = (
        "close",
        "end_utc_ns",
        "high",
        "interval",
        "is_closed",
        "low",
        "open",
        "received_mono_ns",
        "start_utc_ns",
        "trade_count",
        "trading_pair",
        "volume",
    )

    def __init__(self, trading_pair: str, interval: str) -> None:
        self.trading_pair = trading_pair
        self.interval = interval
        self.start_utc_ns = 0
        self.end_utc_ns = 0
        self.open = math.nan
        self.high = math.nan
        self.low = math.nan
        self.close = math.nan
        self.volume = 0.0
        self.trade_count = 0
        self.is_closed = False
        self.received_mono_ns = 0

    def copy(self) -> Self:
        """A copy that the connector does not change."""
        return copy.copy(self)

    def __repr__(self) -> str:
        prices = f"{self.open} {self.high} {self.low} {self.close}"
        state = "closed" if self.is_closed else "open"
        return (
            f"Candle({self.trading_pair} {self.interval} {self.start_utc_ns}: {prices}, volume {self.volume}, {state})"
        )
