"""Candles that a strategy has asked for, on their way from the gateway through a ring of their own.

    strategy    COMMAND (CANDLES: interval and span)  ->  gateway asks the venue
    gateway     history ring: every candle, each with who asked and in which command; then events ring: the result
    strategy    at the result: reads the history ring from where it stood when the command was written

The ring is small and everybody's: an answer has at most MOST_CANDLES, a session has one question open at a time, and
who reads an answer too late is told so and asks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.errors import OrderRefused, VenueUnreachable
from latentspeed.engine.candle_cells import take_numbers
from latentspeed.engine.records import HistoryCandle
from latentspeed.ipc import Lapped, RecordKind

if TYPE_CHECKING:
    from latentspeed.ipc import RingReader, RingSource, RingWriter

MOST_CANDLES = 1000
HISTORY_RING = 2048
INTERVAL_LENGTH = 8


def encode_terms(interval: str, start_utc_ns: int, end_utc_ns: int) -> bytes:
    """The terms of a question as a command carries them. Raises OrderRefused for what cannot be any."""
    if not isinstance(interval, str) or not 0 < len(interval) <= INTERVAL_LENGTH or not interval.isalnum():
        raise OrderRefused("interval", interval, "the name of an interval, such as '1m'")
    for name, value in (("start_utc_ns", start_utc_ns), ("end_utc_ns", end_utc_ns)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
            raise OrderRefused(name, value, "nanoseconds since the epoch are required, a whole number")
    return orjson.dumps([interval, start_utc_ns, end_utc_ns])


def decode_terms(text: str) -> tuple[str, int, int]:
    """The terms that another process wrote. Raises OrderRefused or ValueError for what is none."""
    terms = orjson.loads(text)
    if not isinstance(terms, list) or len(terms) != 3:
        raise ValueError("the terms of a question are an interval, a start and an end")
    interval, start_utc_ns, end_utc_ns = terms
    encode_terms(interval, start_utc_ns, end_utc_ns)
    return interval, start_utc_ns, end_utc_ns


class HistoryWriter:
    """Publishes answers."""

    def __init__(self, ring: RingWriter) -> None:
        self._ring = ring

    def publish(self, requester: int, command_index: int, candles: Sequence[Candle]) -> int:
        """Publish the newest MOST_CANDLES of an answer, oldest first; returns how many."""
        kept = candles[-MOST_CANDLES:]
        rows = np.zeros(len(kept), dtype=HistoryCandle.dtype)
        for row, candle in zip(rows, kept, strict=True):
            row["requester"] = requester
            row["command_index"] = command_index
            for name in ("open", "high", "low", "close", "volume", "start_utc_ns", "end_utc_ns", "is_closed"):
                row[name] = getattr(candle, name)
            row["trade_count"] = candle.trade_count
        if len(rows):
            self._ring.publish_many(rows)
        return len(rows)


class HistoryAnswer:
    """One question's answer, to be read when its result has come. Made before the question is written."""

    def __init__(self, ring: RingSource, requester: int, trading_pair: str, interval: str) -> None:
        self._reader: RingReader = ring.reader()
        self._requester = requester
        self._trading_pair = trading_pair
        self._interval = interval

    def read(self, command_index: int) -> list[Candle]:
        """The candles of the answer to a command, oldest first.

        Raises VenueUnreachable where other answers have overwritten the ring meanwhile.
        """
        record, found = HistoryCandle(), []
        try:
            while kind := self._reader.read(record):
                if kind != RecordKind.DATA or record.requester != self._requester:
                    continue
                if record.command_index == command_index:
                    found.append(self._candle(record))
        except Lapped:
            raise VenueUnreachable("the answer was overwritten before it was read: ask again") from None
        return found

    def _candle(self, record: HistoryCandle) -> Candle:
        candle = Candle(self._trading_pair, self._interval)
        take_numbers(candle, record)
        return candle
