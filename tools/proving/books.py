"""The three books: what the venue, the gateway and the strategies each say was traded, compared fill by fill.

All figures are integers (price units, lots, fee units), so two books agree exactly or the difference is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.engine.ledger import BookTotals


@dataclass(frozen=True, slots=True, order=True)
class BookFill:
    """One fill as one book has it.

    `trade_id` and `order_id` are the venue's; `side` is 1 for a buy and 2 for a sell; prices are in price units, sizes
    in lots and fees in fee units of the pair's trading rule.
    """

    trading_pair: str
    trade_id: str
    order_id: str
    side: int
    price_units: int
    amount_lots: int
    fee_units: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a fill the same fill in every book."""
        return (self.trading_pair, self.trade_id, self.order_id)


@dataclass(slots=True)
class Comparison:
    """What comparing the books found; `differences` is empty exactly when they agree."""

    fills: int = 0
    orphaned: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def agree(self) -> bool:
        """True where no difference was found."""
        return not self.differences


def compare_books(
    venue: Iterable[BookFill],
    gateway: Iterable[BookFill],
    strategies: Mapping[str, Iterable[BookFill]],
    orphaned: Iterable[BookFill],
) -> Comparison:
    """Compare three books fill by fill; a fill doubled in one book is a difference too."""
    orphans = list(orphaned)
    client = [fill for fills in strategies.values() for fill in fills] + orphans
    books = {"venue": list(venue), "gateway": list(gateway), "strategies": client}
    result = Comparison(fills=len(books["venue"]), orphaned=len(orphans))
    for name, fills in books.items():
        for key, count in Counter(fill.key for fill in fills).items():
            if count > 1:
                result.differences.append(f"{name} has fill {_name(key)} {count} times")
    by_key = {name: {fill.key: fill for fill in fills} for name, fills in books.items()}
    for key in sorted(set().union(*by_key.values())):
        _compare_fill(key, {name: fills.get(key) for name, fills in by_key.items()}, result.differences)
    return result


def compare_totals(
    where: str, expected: Mapping[str, BookTotals], found: Mapping[str, BookTotals], differences: list[str]
) -> None:
    """Compare two sets of totals by trading pair and name what differs."""
    for pair in sorted(set(expected) | set(found)):
        left, right = expected.get(pair, BookTotals()), found.get(pair, BookTotals())
        for name in BookTotals.__dataclass_fields__:
            if getattr(left, name) != getattr(right, name):
                differences.append(f"{where}: {pair} {name} is {getattr(right, name)}, expected {getattr(left, name)}")


def compare_positions(opening: int, net_lots: int, positions: Mapping[str, int], pair: str) -> list[str]:
    """Each named position in lots must be the opening position plus the net of all fills."""
    expected = opening + net_lots
    return [
        f"position {pair}: {name} says {lots} lots, opening {opening} plus fills {net_lots} is {expected}"
        for name, lots in positions.items()
        if lots != expected
    ]


def totals_of(fills: Iterable[BookFill]) -> dict[str, BookTotals]:
    """The totals of a list of fills, by trading pair."""
    totals: dict[str, BookTotals] = {}
    for fill in fills:
        digest = fill_digest(fill.trade_id, fill.side, fill.price_units, fill.amount_lots, fill.fee_units)
        book = totals.setdefault(fill.trading_pair, BookTotals())
        book.add_fill(fill.side, fill.price_units, fill.amount_lots, fill.fee_units, digest)
    return totals


def _compare_fill(key: tuple[str, str, str], found: Mapping[str, BookFill | None], differences: list[str]) -> None:
    missing = [name for name, fill in found.items() if fill is None]
    if missing:
        holders = [name for name, fill in found.items() if fill is not None]
        differences.append(f"fill {_name(key)} is in {' and '.join(holders)} but not in {' and '.join(missing)}")
        return
    for name in ("side", "price_units", "amount_lots", "fee_units"):
        values = {book: getattr(fill, name) for book, fill in found.items()}
        if len(set(values.values())) > 1:
            differences.append(f"fill {_name(key)}: {name} differs: {values}")


def _name(key: tuple[str, str, str]) -> str:
    pair, trade_id, order_id = key
    return f"{trade_id} of order {order_id} in {pair}"
