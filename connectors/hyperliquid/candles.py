"""Candles of the subscribed pairs as the venue writes them; what is made of them is the framework's."""

from __future__ import annotations

import msgspec

from latentspeed.connectors.candle_feed import CandleKeeper, candles_of
from latentspeed.connectors.hyperliquid.messages import Message, decoder, row_decoder
from latentspeed.connectors.hyperliquid.streams import Handler, Subscription

__all__ = ["CANDLE", "CANDLE_ROWS", "CandleFeed", "CandleRow", "candles_of"]


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


CANDLE = decoder(CandleRow)
CANDLE_ROWS = row_decoder(CandleRow)


class CandleFeed(CandleKeeper):
    """Decodes the stream's candles."""

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel."""
        return {"candle": self._on_candle} if self._intervals else {}

    def subscriptions_of(self, symbol: str) -> list[Subscription]:
        """The subscriptions of one pair."""
        return [{"type": "candle", "coin": symbol, "interval": interval} for interval in self._intervals]

    def _on_candle(self, data: msgspec.Raw, mono_ns: int) -> None:
        self.hear(CANDLE.decode(data), mono_ns)
