"""Tables, figures and ages as the inspector writes them in a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text


def new_table(title: str, *columns: str) -> Table:
    """A table with a title and column headers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 1))
    for column in columns:
        table.add_column(column, header_style="dim", no_wrap=column in ("id", "pair", "price", "age"))
    return table


def add_row(table: Table, *cells: str | Text) -> None:
    """Adds a row; names and reasons come from other processes and are never read as markup or control codes."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in cells))


def plain(words: str) -> str:
    """Text without control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in words)


def age(seconds: float | None) -> str:
    """An age in the unit that reads best; a dash for what never happened."""
    if seconds is None:
        return "-"
    for limit, scale, unit in ((1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min")):
        if seconds < limit:
            value = seconds * scale
            return f"{value:.0f} {unit}" if value >= 10 or unit == "ms" else f"{value:.1f} {unit}"
    return f"{seconds / 3600:.1f} h"


def estimate(seconds: float | None, error_s: float | None) -> str:
    """A figure that two clocks make, in milliseconds, never without its error; a dash where it is not known."""
    if seconds is None or error_s is None:
        return "-"
    return f"about {seconds * 1e3:.1f} \N{PLUS-MINUS SIGN}{error_s * 1e3:.1f} ms"


def number(value: float) -> str:
    """A price or an amount without float noise; empty for zero and for what is not known (NaN)."""
    return f"{value:.10g}" if value and value == value else ""
