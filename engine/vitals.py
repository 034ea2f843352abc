"""A connector's own health in shared memory: every subscription with its age and state, every budget with its use."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, TypeVar

from latentspeed.engine import records
from latentspeed.engine.segment_layout import LIMIT_ROWS, channel_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentspeed.connectors import ConnectorBase
    from latentspeed.ipc import Record, SegmentWriter, TableWriter

T = TypeVar("T")

EVERY_NS = 250_000_000
"""How often the rows are written at most."""


class VitalsPublisher:
    """Writes the tables `channels` and `limits`.

    Parameters: `writer` the segment, made for so many `instruments`; `connector` whose health it is;
    `on_problem(code, text)` is told once when there are more channels or budgets than rows.
    """

    def __init__(
        self, writer: SegmentWriter, instruments: int, connector: ConnectorBase, on_problem: Callable[[str, str], None]
    ) -> None:
        self._connector = connector
        self._channels = writer.table("channels")
        self._limits = writer.table("limits")
        self._channel = records.Channel()
        self._limit = records.Limit()
        self._on_problem = on_problem
        self._rooms = {"channels": channel_rows(instruments), "limits": LIMIT_ROWS}
        # What an earlier gateway of this segment left is cleared with the first rows.
        self._counts = {
            "channels": _count_used(self._channels, self._channel, self._rooms["channels"]),
            "limits": _count_used(self._limits, self._limit, self._rooms["limits"]),
        }
        self._due_ns = 0
        self._is_full = False

    def publish(self) -> None:
        """Write what the connector says now, if it is time."""
        now = monotonic_ns()
        if now < self._due_ns:
            return
        self._due_ns = now + EVERY_NS
        self._publish_channels(now)
        self._publish_limits(now)

    def _publish_channels(self, now: int) -> None:
        record = self._channel
        shown = self._fitting("channels", self._connector.channels())
        for row, (channel, state) in enumerate(shown):
            record.name = channel.name
            record.trading_pair = channel.trading_pair
            record.state = state
            record.is_regular = channel.is_regular
            record.messages = channel.messages
            record.heard_mono_ns = channel.heard_mono_ns
            record.checked_mono_ns = channel.checked_mono_ns
            record.published_mono_ns = now
            self._channels.write(row, record)
        record.clear()
        for row in range(len(shown), self._counts["channels"]):
            self._channels.write(row, record)
        self._counts["channels"] = len(shown)

    def _publish_limits(self, now: int) -> None:
        record = self._limit
        shown = self._fitting("limits", self._connector.rate_limits())
        for row, limit in enumerate(shown):
            record.name = limit.name
            record.used = limit.used
            record.capacity = limit.capacity
            record.reserve = limit.reserve
            record.refused = limit.refused
            record.blocked_s = limit.blocked_s
            record.published_mono_ns = now
            self._limits.write(row, record)
        record.clear()
        for row in range(len(shown), self._counts["limits"]):
            self._limits.write(row, record)
        self._counts["limits"] = len(shown)

    def _fitting(self, table: str, items: list[T]) -> list[T]:
        room = self._rooms[table]
        if len(items) > room and not self._is_full:
            self._is_full = True
            self._on_problem(f"{table}_full", f"{len(items)} {table} do not fit {room} rows: the rest is not shown")
        return items[:room]


def _count_used(table: TableWriter, record: Record, room: int) -> int:
    """How many rows were ever written."""
    row = 0
    while row < room and table.read(row, record):
        row += 1
    record.clear()
    return row
