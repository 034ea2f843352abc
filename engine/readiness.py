"""How a child says that it is ready, each way seen from the supervisor."""

from __future__ import annotations

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

READY_FD_VARIABLE: Final = "LATENTSPEED_READY_FD"
_LONGEST_LINE: Final = 4096


class Readiness(ABC):
    """One way to become ready, armed anew before each start of the child."""

    def arm(self) -> int | None:
        """Prepares for a start; returns a descriptor that the child inherits, which `armed` closes here, or None."""
        return None

    def armed(self) -> None:
        """Says that the child was started, or could not be."""
        return None

    @abstractmethod
    def is_ready(self, lines: Sequence[str]) -> bool:
        """Returns whether the child is ready, given the lines that it printed since the last call. Never blocks."""

    def close(self) -> None:
        """Gives up waiting."""
        return None


class ReadyAtOnce(Readiness):
    """Ready as soon as it runs."""

    def is_ready(self, lines: Sequence[str]) -> bool:
        return True


class ReadyLine(Readiness):
    """Ready when a line of its output contains a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def is_ready(self, lines: Sequence[str]) -> bool:
        return any(self._text in line for line in lines)


class ReadyFile(Readiness):
    """Ready when a file is there that is not the one from before the start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: tuple[int, int] | None = None

    def arm(self) -> int | None:
        self._before = self._identity()
        return None

    def is_ready(self, lines: Sequence[str]) -> bool:
        return self._identity() not in (None, self._before)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


class ReadyPipe(Readiness):
    """Ready when the JSON line `{"ready": true, "pid": N}` comes out of a pipe that the child inherits."""

    def __init__(self) -> None:
        self._reader = -1
        self._writer = -1
        self._text = b""

    def arm(self) -> int | None:
        self.close()
        self._text = b""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        return self._writer

    def armed(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def is_ready(self, lines: Sequence[str]) -> bool:
        if self._reader < 0:
            return False
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._reader, _LONGEST_LINE)
            self._text += chunk
            if not chunk or len(self._text) > _LONGEST_LINE:
                self.close()
        line, end, _ = self._text.partition(b"\n")
        if not end:
            return False
        self.close()
        try:
            message = json.loads(line)
        except ValueError:
            return False
        return isinstance(message, dict) and message.get("ready") is True

    def close(self) -> None:
        self.armed()
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1
