"""The demo's report is worth something only if it catches a fill that is dropped, doubled or altered in any book."""

from dataclasses import replace

import pytest

from latentspeed.engine.ledger import BookTotals
from latentspeed.tools.proving.books import BookFill, compare_books, compare_positions, compare_totals, totals_of

FILLS = [
    BookFill("BTC-USD", f"{9000 + n}", f"{70_000_000_000 + n // 2}", 1 + n % 2, 600_000 + n, 100 + n, 2700 + n)
    for n in range(8)
]
BOOKS = ("venue", "gateway", "maker", "taker", "orphaned")


def books():
    return {
        "venue": list(FILLS),
        "gateway": list(reversed(FILLS)),
        "maker": FILLS[:3],
        "taker": FILLS[3:6],
        "orphaned": FILLS[6:],
    }


def compare(found):
    strategies = {"maker": found["maker"], "taker": found["taker"]}
    return compare_books(found["venue"], found["gateway"], strategies, found["orphaned"])


def test_equal_books_agree_whatever_their_order():
    result = compare(books())
    assert result.agree
    assert (result.fills, result.orphaned) == (8, 2)


@pytest.mark.parametrize("book", BOOKS)
def test_a_fill_dropped_from_any_one_book_is_named(book):
    found = books()
    dropped = found[book].pop(1)
    differences = compare(found).differences
    assert len(differences) == 1
    assert dropped.trade_id in differences[0]
    assert "not in" in differences[0]


@pytest.mark.parametrize("book", BOOKS)
def test_a_fill_doubled_in_any_one_book_is_named(book):
    found = books()
    doubled = found[book][0]
    found[book].append(doubled)
    differences = compare(found).differences
    assert any(doubled.trade_id in difference and "2 times" in difference for difference in differences)


@pytest.mark.parametrize("book", BOOKS)
@pytest.mark.parametrize("field", ["price_units", "amount_lots", "fee_units", "side"])
def test_a_fill_altered_by_one_unit_in_any_one_book_is_named(book, field):
    found = books()
    altered = found[book][0]
    found[book][0] = replace(altered, **{field: 3 - altered.side if field == "side" else getattr(altered, field) + 1})
    differences = compare(found).differences
    assert len(differences) == 1
    assert altered.trade_id in differences[0]
    assert field in differences[0]


def test_a_fill_that_only_strategies_claim_is_named():
    found = books()
    found["maker"] = [*found["maker"], replace(FILLS[0], trade_id="1")]
    assert compare(found).differences == [
        f"fill 1 of order {FILLS[0].order_id} in BTC-USD is in strategies but not in venue and gateway"
    ]


@pytest.mark.parametrize("field", BookTotals.__dataclass_fields__)
def test_totals_that_differ_in_one_integer_are_named(field):
    expected, found = totals_of(FILLS), totals_of(FILLS)
    setattr(found["BTC-USD"], field, getattr(found["BTC-USD"], field) + 1)
    differences = []
    compare_totals("ledger", expected, found, differences)
    assert len(differences) == 1
    assert field in differences[0]


def test_two_alterations_that_cancel_in_the_sums_still_show_in_the_digest():
    swapped = [replace(FILLS[0], fee_units=FILLS[1].fee_units), replace(FILLS[1], fee_units=FILLS[0].fee_units)]
    differences = []
    compare_totals("ledger", totals_of(FILLS), totals_of([*swapped, *FILLS[2:]]), differences)
    assert [difference.split(" is ")[0] for difference in differences] == ["ledger: BTC-USD digest"]


def test_a_position_off_by_one_lot_is_named_with_its_book():
    assert compare_positions(5, 10, {"venue": 15, "gateway": 15}, "BTC-USD") == []
    (difference,) = compare_positions(5, 10, {"venue": 15, "gateway": 14}, "BTC-USD")
    assert "gateway says 14" in difference
