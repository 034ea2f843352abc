"""Where a command prints its tables."""

from __future__ import annotations

from typing import Final

from rich.console import Console

PIPED_WIDTH: Final = 160


def report_console() -> Console:
    """A console as wide as the terminal; into a file or a pipe, wide enough that no column is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)
