"""In-memory stand-ins for a table and a ring, which can stop the writer at any chosen write."""

from __future__ import annotations

from latentspeed.engine.records import BookRow, OrderEvent
from latentspeed.ipc import RecordKind


class Killed(BaseException):
    """The writer was killed here; what it had written stays."""


class Fuse:
    """Counts writes and kills the writer at one of them."""

    def __init__(self):
        self.left = None

    def burn(self):
        if self.left is not None:
            if self.left == 0:
                self.left = None
                raise Killed
            self.left -= 1


class FakeTable:
    """A table of cells: a write is whole or did not happen."""

    def __init__(self, fuse):
        self._fuse = fuse
        self.rows: dict[int, BookRow] = {}

    def read(self, index, out):
        row = self.rows.get(index)
        if row is None:
            out.clear()
            return 0
        out.assign_from(row)
        return 1

    def write(self, index, record):
        self._fuse.burn()
        self.rows[index] = record.copy()
        return 1


class FakeRing:
    """A broadcast ring that forgets all but the last `capacity` records."""

    def __init__(self, fuse, capacity=1 << 12):
        self._fuse = fuse
        self.capacity = capacity
        self.records: list[OrderEvent] = []

    @property
    def tail(self):
        return len(self.records)

    def publish(self, record):
        self._fuse.burn()
        record.event_index = len(self.records)
        record.record_kind = RecordKind.DATA
        self.records.append(record.copy())
        return len(self.records) - 1

    def read_at(self, cursor, out):
        if not max(0, self.tail - self.capacity) <= cursor < self.tail:
            return False
        out.assign_from(self.records[cursor])
        return True
