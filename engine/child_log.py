"""The log file of one child: rotated when the engine starts, followed while somebody wants its lines.

A child writes to the file itself and not through the supervisor: its output must go on when the supervisor has died.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROTATE_BYTES: Final = 16 * 2**20
READ_BYTES: Final = 2**18  # At one call: a child that prints without end must not keep the supervisor from its work.
LONGEST_LINE: Final = 2**14
TAIL_BYTES: Final = 2**13


class ChildLog:
    """Follows the lines that are appended to a log file, which may not be there yet."""

    def __init__(self, path: Path) -> None:
        """Rotates a long file to NAME.log.1 and stands at the end of it."""
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._size() > ROTATE_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        self.begin()

    def begin(self) -> None:
        """Says that what is written from now on is a new process's."""
        self._start = self._offset = self._size()
        self._partial = b""

    def new_lines(self) -> list[str]:
        """Returns the whole lines that came since the last call, as far as one call reads."""
        self._notice_truncation()
        data = self._read(self._offset, READ_BYTES)
        self._offset += len(data)
        *whole, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LONGEST_LINE:
            whole.append(self._partial)
            self._partial = b""
        return [_text(line) for line in whole]

    def remaining_lines(self) -> list[str]:
        """Returns every line that is left, an unfinished one too: for a process that has ended."""
        lines: list[str] = []
        while True:
            before = self._offset
            lines += self.new_lines()
            if self._offset == before:
                break
        if self._partial:
            lines.append(_text(self._partial))
            self._partial = b""
        return lines

    def last_line(self) -> str:
        """Returns the last line with something in it that the present process wrote, or an empty string."""
        self._notice_truncation()
        tail = self._read(max(self._start, self._size() - TAIL_BYTES), TAIL_BYTES)
        written = [line for line in (_text(line).strip() for line in tail.split(b"\n")) if line]
        return written[-1] if written else ""

    def _notice_truncation(self) -> None:
        if self._size() < self._offset:  # A log rotation by copy and truncate.
            self._start = self._offset = 0

    def _read(self, offset: int, count: int) -> bytes:
        try:
            with open(self.path, "rb") as file:
                file.seek(offset)
                return file.read(count)
        except OSError:  # Not there yet, or the disk has failed: a log is never worth an engine.
            return b""

    def _size(self) -> int:
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", "replace")
