"""Fills that an earlier process counted are told from new ones, by ids, by time and by the sum of their digests."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors import ForgottenFills, TradeType, TradeUpdate
from latentspeed.connectors.counted_before import CountedBefore
from latentspeed.connectors.fill_digest import DIGESTS, fill_digest

ORDER = "LS0000000100000001"
UNTIL = 1_000


def fill(number, *, utc_ns=500, lots=1, order=ORDER, exchange="77"):
    return TradeUpdate(str(number), order, exchange, "BTC-USD", TradeType.BUY, 1.0, 1.0, 10, lots, venue_utc_ns=utc_ns)


def forgotten(*fills):
    digests = (fill_digest(f.trade_id, f.trade_type, f.price_units, f.amount_lots, f.fee_units) for f in fills)
    return ForgottenFills(len(fills), sum(digests) % DIGESTS)


def counted(*fills, known=()):
    before = CountedBefore()
    before.take_over(known, UNTIL, {ORDER: forgotten(*fills)})
    return before


def test_an_order_that_has_forgotten_no_fill_takes_every_one_that_is_not_known_however_old():
    before = counted(known=[(ORDER, "1")])
    assert before.sift(ORDER, fill(1)) == []
    assert before.sift(ORDER, fill(2, utc_ns=1)) == [fill(2, utc_ns=1)]


def test_a_fill_newer_than_every_forgotten_one_is_new_at_once():
    before = counted(fill(1))
    late = fill(2, utc_ns=UNTIL)
    assert before.sift(ORDER, late) == [late]
    assert before.orders_in_doubt == []


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.permutations(range(n + 2)), st.sets(st.integers(0, n + 1), max_size=2))
    )
)
def test_in_whatever_order_fills_are_told_the_new_ones_come_out_once_and_the_forgotten_ones_never(told_and_new):
    told, new = told_and_new
    before = counted(*(fill(number) for number in told if number not in new))
    found = [out.trade_id for number in told for out in before.sift(ORDER, fill(number))]
    assert sorted(found) == sorted(map(str, new))
    assert before.orders_in_doubt == []
    # Told again, the forgotten ones are known; the new ones are the order's to know.
    assert [out for number in set(told) - new for out in before.sift(ORDER, fill(number))] == []


def test_a_fill_waits_as_long_as_it_may_be_one_of_the_forgotten():
    before = counted(fill(1), fill(2))
    assert before.sift(ORDER, fill(3)) == before.sift(ORDER, fill(1)) == []
    assert before.orders_in_doubt == [ORDER]
    assert before.sift(ORDER, fill(3)) == [], "told again, it is still one fill"
    assert before.sift(ORDER, fill(2)) == [fill(3)]
    assert before.orders_in_doubt == []


def test_a_fill_with_another_size_than_the_forgotten_one_is_not_taken_for_it():
    before = counted(fill(1))
    assert before.sift(ORDER, fill(1, lots=2)) == []
    assert before.orders_in_doubt == [ORDER], "the venue contradicts itself: nothing is counted twice"


def test_too_many_candidates_are_not_tried_for_ever():
    before = counted(*(fill(number) for number in range(30)))
    for number in itertools.chain(range(100, 160), range(29)):
        assert before.sift(ORDER, fill(number)) == []


def test_an_order_of_which_no_sums_are_known_goes_by_the_time():
    before = counted()
    assert before.sift("LS0000000100000002", fill(1)) == []
    assert before.sift("LS0000000100000002", fill(1, utc_ns=UNTIL)) == [fill(1, utc_ns=UNTIL)]


@pytest.mark.parametrize(
    ("trade", "was_counted"),
    [
        (fill(1, order=None, exchange="5", utc_ns=UNTIL), True),
        (fill(1, order=None, exchange="6", utc_ns=UNTIL), False),
        (fill(1, utc_ns=UNTIL), False),
        (fill(2, order=None, exchange="6", utc_ns=UNTIL - 1), True),
    ],
)
def test_a_foreign_fill_is_known_by_the_venues_order_id_so_that_the_other_side_of_the_trade_is_not(trade, was_counted):
    assert counted(known=[("5", "1")]).has_fill_of_nobody(trade) is was_counted
