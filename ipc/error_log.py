"""Distinct errors: each once, with when it was first and last seen and how often.

A table of `ErrorRecord`; an error is its code and its text. When all rows are taken, the last row counts the rest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from latentspeed.ipc._core import Mapping, Record, TableReader, TableWriter
from latentspeed.ipc.layout import ErrorRecord, SectionKind, SegmentLayout

_CODE_SIZE = 32
_TEXT_SIZE = 192
OVERFLOW_CODE = "more_errors"
OVERFLOW_TEXT = "further distinct errors: the log is full"


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One distinct error."""

    code: str
    text: str
    first_utc_ns: int
    last_utc_ns: int
    count: int


class ErrorLog:
    """The error log's one writer."""

    def __init__(self, mapping: Mapping, layout: SegmentLayout) -> None:
        self._table = TableWriter(mapping, *_place(layout))
        self._rows = {
            (entry.code, entry.text): index for index, entry in enumerate(read_entries(mapping, layout)) if entry.count
        }
        self._record = ErrorRecord()

    def record(self, code: str, text: str) -> int:
        """Count an error; code and text are cut to 32 and 192 bytes. Returns how often it was seen."""
        key = (_cut(code, _CODE_SIZE), _cut(text, _TEXT_SIZE))
        if key not in self._rows and len(self._rows) >= len(self._table) - 1:
            key = (OVERFLOW_CODE, OVERFLOW_TEXT)
        index = self._rows.setdefault(key, len(self._rows))
        now = time.time_ns()
        self._table.read(index, self._record)
        values = self._record.as_dict()
        count = values["count"] + 1
        first = values["first_utc_ns"] or now
        self._record.set(code=key[0], text=key[1], first_utc_ns=first, last_utc_ns=now, count=count)
        self._table.write(index, self._record)
        return int(count)


def read_entries(mapping: Mapping, layout: SegmentLayout) -> list[ErrorEntry]:
    """The errors so far, in the order in which they were first seen. Raises CellBusy."""
    table = TableReader(mapping, *_place(layout))
    record = ErrorRecord()
    entries = []
    for index in range(len(table)):
        if table.read(index, record) == 0:
            break
        values = record.as_dict()
        entries.append(ErrorEntry(**values))
    return entries


def _place(layout: SegmentLayout) -> tuple[int, int, type[Record], str]:
    section = layout.section(SectionKind.ERRORS)
    return section.offset, section.count, ErrorRecord, section.name


def _cut(text: str, size: int) -> str:
    """At most `size` bytes of UTF-8, whole characters, no NUL."""
    return text.replace("\0", " ").encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
