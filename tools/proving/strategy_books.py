"""What the strategy processes wrote down, line by line, and which fills of the gateway each line stands for.

A line is a fill, or a catch-up that stands for several fills of one order whose events the strategy missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from latentspeed.connectors import parse_client_order_id
from latentspeed.engine.order_reports import CATCH_UP_PREFIX
from latentspeed.tools.proving.books import BookFill


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Stands for `fill_count` fills: those of an order's first `through` that had not been told before."""

    client_order_id: int
    through: int
    fill_count: int
    amount_lots: int
    fee_units: int


@dataclass(frozen=True, slots=True)
class StrategyBook:
    """One strategy process's own book: what it wrote, and as which session it wrote it."""

    name: str
    slot: int
    generation: int
    fills: tuple[BookFill | CaughtUp, ...]


def read_strategy_books(folder: Path, connector: str) -> list[StrategyBook]:
    """The books that strategy processes wrote of one connector; a last line cut off by a kill is left out."""
    books, ending = [], f".{connector}.fills.jsonl"
    for path in sorted(folder.glob(f"*{ending}")):
        lines = path.read_bytes().split(b"\n")
        if not lines[0]:
            continue
        head = orjson.loads(lines[0])
        fills = tuple(_book_line(orjson.loads(line)) for line in lines[1:-1])
        books.append(
            StrategyBook(path.name.removesuffix(ending).rpartition("-")[0], head["slot"], head["generation"], fills)
        )
    return books


def committed_fills(
    book: StrategyBook, fill_count: int, published: Mapping[int, list[BookFill]], differences: list[str]
) -> list[BookFill]:
    """The first `fill_count` fills that a strategy wrote down, each catch-up replaced by the fills it stands for.

    `published` has the gateway's fills of each order, oldest first. A strategy writes a fill down before it commits it,
    so a killed one may have written one line more than it committed. Names in `differences` a catch-up that stands for
    something else than what was published, and fills that were committed and never written.
    """
    fills: list[BookFill] = []
    for line in book.fills:
        if len(fills) >= fill_count:
            break
        fills += [line] if isinstance(line, BookFill) else _stood_for(line, book, published, fills, differences)
    if len(fills) != fill_count:
        differences.append(f"{book.name}#{book.generation} committed {fill_count} fills and wrote down {len(fills)}")
    return fills


def _stood_for(
    line: CaughtUp,
    book: StrategyBook,
    published: Mapping[int, list[BookFill]],
    told: Iterable[BookFill],
    differences: list[str],
) -> list[BookFill]:
    keys = {fill.key for fill in told}
    missed = [fill for fill in published.get(line.client_order_id, [])[: line.through] if fill.key not in keys]
    found = (len(missed), sum(fill.amount_lots for fill in missed), sum(fill.fee_units for fill in missed))
    claimed = (line.fill_count, line.amount_lots, line.fee_units)
    if found != claimed:
        differences.append(
            f"{book.name}#{book.generation}: a catch-up of order {line.client_order_id:#x} stands for (fills, lots, "
            f"fee units) {claimed}, published were {found}"
        )
    return missed


def _book_line(values: dict[str, Any]) -> BookFill | CaughtUp:
    fill_count = values.pop("fill_count", 0)
    if not fill_count:
        return BookFill(**values)
    client_order_id, through = values["trade_id"].removeprefix(CATCH_UP_PREFIX).split(":")
    return CaughtUp(
        parse_client_order_id(client_order_id), int(through), fill_count, values["amount_lots"], values["fee_units"]
    )
