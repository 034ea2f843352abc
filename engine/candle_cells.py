"""Where candles stand in shared memory: per instrument four intervals, of each the last closed and the running candle.

    candles    | instrument 0                                   | instrument 1 ...
               | interval 0        | interval 1        | 2 | 3  |
               | running | closed  | running | closed  | ...

An interval's place is that in which the connector first told of it. A strategy that is slower than an interval is told
of the last closed candle only; the others are the venue's to ask.
"""

from __future__ import annotations

from typing import NamedTuple

from latentspeed.connectors.candle import Candle
from latentspeed.engine import records
from latentspeed.ipc import TableReader, TableWriter

INTERVALS = 4
CELLS = 2 * INTERVALS
"""Rows of one instrument."""


class CandleCell(NamedTuple):
    """Which of an instrument's rows: also the `side` of the market event that tells of it."""

    place: int
    is_closed: bool

    @property
    def code(self) -> int:
        """The row within the instrument's rows."""
        return 2 * self.place + self.is_closed


def cell_of(code: int) -> CandleCell:
    """The cell of a code. Codes come from shared memory, so that every number has one."""
    return CandleCell(code // 2 % INTERVALS, bool(code % 2))


class CandleWriter:
    """Writes candles into their cells."""

    def __init__(self, table: TableWriter) -> None:
        self._table = table
        self._record = records.Candle()
        self._places: dict[str, int] = {}

    def write(self, number: int, candle: Candle, published_mono_ns: int) -> int:
        """Writes a candle of an instrument; returns its code, or -1 where its interval has no place any more."""
        place = self._places.get(candle.interval)
        if place is None:
            place = len(self._places)
            if place >= INTERVALS:
                return -1
            self._places[candle.interval] = place
        record = self._record
        record.trading_pair = candle.trading_pair
        record.interval = candle.interval
        record.open = candle.open
        record.high = candle.high
        record.low = candle.low
        record.close = candle.close
        record.volume = candle.volume
        record.trade_count = candle.trade_count
        record.start_utc_ns = candle.start_utc_ns
        record.end_utc_ns = candle.end_utc_ns
        record.is_closed = candle.is_closed
        record.received_mono_ns = candle.received_mono_ns
        record.published_mono_ns = published_mono_ns
        code = CandleCell(place, candle.is_closed).code
        self._table.write(number * CELLS + code, record)
        return code

    def void(self, instruments: int) -> None:
        """Empties the cells of an earlier gateway: what they show may be long over, and places are given anew."""
        record = self._record
        for row in range(instruments * CELLS):
            if self._table.read(row, record) and record.received_mono_ns:
                record.clear()
                self._table.write(row, record)


class CandleReader:
    """Reads candles into objects that are made once and reused."""

    def __init__(self, table: TableReader) -> None:
        self._table = table
        self._record = records.Candle()
        self._candles: dict[int, Candle] = {}

    def read(self, number: int, code: int) -> Candle | None:
        """The candle in a cell of an instrument; None while there is none."""
        row = number * CELLS + code % CELLS
        record = self._record
        if not self._table.read(row, record) or not record.received_mono_ns:
            return None
        candle = self._candles.get(row)
        if candle is None or candle.interval != record.interval:
            candle = self._candles[row] = Candle(record.trading_pair, record.interval)
        take_numbers(candle, record)
        candle.received_mono_ns = record.received_mono_ns
        return candle

    def latest(self, number: int, interval: str) -> Candle | None:
        """The newest candle of an interval, running or closed; None where the connector does not have that interval."""
        newest = None
        for place in range(INTERVALS):
            for is_closed in (False, True):
                candle = self.read(number, CandleCell(place, is_closed).code)
                if candle is None or candle.interval != interval:
                    continue
                if newest is None or candle.start_utc_ns > newest.start_utc_ns or is_closed_twin(candle, newest):
                    newest = candle
        return newest


def is_closed_twin(candle: Candle, other: Candle) -> bool:
    """Whether it is the same candle in its final form."""
    return candle.is_closed and candle.start_utc_ns == other.start_utc_ns


def take_numbers(candle: Candle, record: records.Candle | records.HistoryCandle) -> None:
    """Makes a candle say what a record says, besides when that was received."""
    candle.open = record.open
    candle.high = record.high
    candle.low = record.low
    candle.close = record.close
    candle.volume = record.volume
    candle.trade_count = record.trade_count
    candle.start_utc_ns = record.start_utc_ns
    candle.end_utc_ns = record.end_utc_ns
    candle.is_closed = record.is_closed
