"""The book against a naive oracle: price-time priority, whole lots, never crossed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from latentspeed.tools.venues.matching import Book, BookOrder

OWNERS = ["ann", "bob", "cid"]

places = st.tuples(
    st.just("place"), st.sampled_from(OWNERS), st.booleans(), st.integers(95, 105), st.integers(1, 9), st.booleans()
)
cancels = st.tuples(st.just("cancel"), st.integers(0, 200))
reduces = st.tuples(st.just("reduce"), st.integers(0, 200), st.integers(1, 9))
commands = st.lists(st.one_of(places, places, places, cancels, reduces), max_size=60)


class NaiveBook:
    """Price-time priority by sorting a list: slow and plain."""

    def __init__(self):
        self.resting = []

    def place(self, oid, owner, is_buy, price, lots, rests):
        """Trade, then rest; returns fills and self-trade removals as (kind, maker id, lots)."""
        events = []
        best_first = sorted(
            (order for order in self.resting if order["is_buy"] != is_buy),
            key=lambda order: (order["price"] if is_buy else -order["price"], order["seq"]),
        )
        for maker in best_first:
            if not lots or (maker["price"] > price if is_buy else maker["price"] < price):
                break
            if maker["owner"] == owner:
                events.append(("removed", maker["oid"], maker["lots"]))
                self.resting.remove(maker)
                continue
            traded = min(lots, maker["lots"])
            lots -= traded
            maker["lots"] -= traded
            events.append(("fill", maker["oid"], traded))
            if not maker["lots"]:
                self.resting.remove(maker)
        if lots and rests:
            self.resting.append(
                {"oid": oid, "owner": owner, "is_buy": is_buy, "price": price, "lots": lots, "seq": oid}
            )
        return events, lots

    def depth(self, is_buy):
        """Levels as (price, lots, count), best first."""
        levels = {}
        for order in self.resting:
            if order["is_buy"] == is_buy:
                lots, count = levels.get(order["price"], (0, 0))
                levels[order["price"]] = (lots + order["lots"], count + 1)
        return [(price, *levels[price]) for price in sorted(levels, reverse=is_buy)]


@settings(max_examples=300, deadline=None)
@given(commands)
def test_every_sequence_of_orders_trades_as_a_sorted_list_would(sequence):
    book, naive, orders = Book(), NaiveBook(), {}
    placed = cancelled = traded = 0
    for oid, command in enumerate(sequence):
        if command[0] == "place":
            _, owner, is_buy, price, lots, rests = command
            order = orders[oid] = BookOrder(oid, owner, is_buy, price, lots)
            events = []
            book.match(
                order,
                lambda maker, taker, size, events=events: events.append(("fill", maker.oid, size)),
                lambda maker, why, events=events: events.append(("removed", maker.oid, maker.lots)),
            )
            if order.lots and rests:
                book.rest(order)
            expected, left = naive.place(oid, owner, is_buy, price, lots, rests)
            assert events == expected
            assert order.lots == left
            placed += lots
            traded += 2 * sum(size for kind, _, size in events if kind == "fill")
            cancelled += sum(size for kind, _, size in events if kind == "removed") + (0 if rests else left)
        else:
            found = [row for row in naive.resting if row["oid"] == command[1]]
            if not found:
                continue
            (row,) = found
            if command[0] == "cancel" or command[2] >= row["lots"]:
                book.cancel(orders[row["oid"]])
                naive.resting.remove(row)
                cancelled += row["lots"]
            else:
                book.reduce(orders[row["oid"]], command[2])
                row["lots"] -= command[2]
                cancelled += command[2]
        for is_buy in (True, False):
            assert book.depth(is_buy, 1000) == naive.depth(is_buy)
        bid, ask = book.best_bid(), book.best_ask()
        assert bid is None or ask is None or bid < ask, "the book is crossed"
        resting = sum(row["lots"] for row in naive.resting)
        assert placed == traded + cancelled + resting, "lots were made or lost"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OWNERS), st.integers(95, 105), st.integers(1, 9)), max_size=20))
def test_passing_over_an_owner_leaves_its_orders_untouched(resting):
    book = Book()
    orders = [BookOrder(oid, owner, False, price, lots) for oid, (owner, price, lots) in enumerate(resting)]
    for order in orders:
        book.rest(order)
    taker = BookOrder(999, "tape", True, 100, 20)
    fills = []
    book.match_others(
        taker,
        "ann",
        lambda maker, taker, lots: fills.append((maker.price, maker.oid, lots)),
        lambda maker, why: None,
        lambda maker, lots: lots,
    )
    assert fills == sorted(fills), "not in price-time order"
    assert sum(lots for _, _, lots in fills) == 20 - taker.lots
    for oid, (owner, price, lots) in enumerate(resting):
        if owner == "ann" or price > 100:
            assert orders[oid].lots == lots
    reachable = sum(lots for owner, price, lots in resting if owner != "ann" and price <= 100)
    assert taker.lots == max(0, 20 - reachable)


def test_a_maker_that_may_not_trade_is_taken_off_and_the_next_one_trades():
    book = Book()
    first, second = BookOrder(1, "ann", False, 100, 5), BookOrder(2, "bob", False, 100, 5)
    book.rest(first)
    book.rest(second)
    taker = BookOrder(3, "cid", True, 100, 4)
    fills, removed = [], []
    book.match(
        taker,
        lambda maker, taker, lots: fills.append((maker.oid, lots)),
        lambda maker, why: removed.append((maker.oid, why)),
        lambda maker, lots: 0 if maker is first else lots,
    )
    assert fills == [(2, 4)]
    assert removed == [(1, "refused")]


def test_an_order_reduced_in_place_keeps_its_turn():
    book = Book()
    first, second = BookOrder(1, "ann", True, 100, 5), BookOrder(2, "bob", True, 100, 5)
    book.rest(first)
    book.rest(second)
    book.reduce(first, 3)
    assert [order.oid for order in book.crossing(False, 100)] == [1, 2]
    assert book.depth(True, 5) == [(100, 7, 2)]
