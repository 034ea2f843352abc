"""What connectors have got wrong on dYdX and no socket is needed to show, by the numbers under which it is known."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors import OrderType
from latentspeed.connectors.client_order_id import ClientOrderIdGenerator
from latentspeed.connectors.dydx_v4.book import RawBook
from latentspeed.connectors.dydx_v4.book_check import differences
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.markets import MarketTerms, market_terms
from latentspeed.connectors.dydx_v4.messages import BookSnapshot, MarketRow, SnapshotLevel
from latentspeed.connectors.dydx_v4.order_forms import OrderForms
from latentspeed.connectors.dydx_v4.protobuf import fields
from latentspeed.connectors.dydx_v4.subaccounts import Subaccounts
from latentspeed.connectors.dydx_v4.wire import Condition, OrderFlags
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import TradeType


def market(ticker="BTC-USD", **more):
    """A market as REST shows it."""
    row = {
        "clob_pair_id": "0",
        "status": "ACTIVE",
        "oracle_price": "64000",
        "initial_margin_fraction": "0.02",
        "tick_size": "1",
        "step_size": "0.0001",
        "step_base_quantums": 1_000_000,
        "subticks_per_tick": 100_000,
    }
    return MarketRow(ticker=ticker, **(row | more))


def grid(a, q, step, tick) -> MarketTerms:
    """The terms of a market by its chain's integers: resolution, conversion exponent, quantums and subticks."""
    row = market(
        step_size=f"{Decimal(step).scaleb(a):f}",
        tick_size=f"{Decimal(tick).scaleb(q - 6 - a):f}",
        step_base_quantums=step,
        subticks_per_tick=tick,
    )
    return market_terms([row])["BTC-USD"]


TIA = grid(-6, -9, 1_000_000, 1_000_000)
GRIDS = [
    grid(-10, -9, 1_000_000, 100_000),
    grid(-9, -9, 1_000_000, 100_000),
    grid(-7, -9, 1_000_000, 1_000_000),
    grid(-4, -9, 1_000_000, 1_000_000),
    grid(1, -9, 1_000_000, 1_000_000),
]


@given(st.sampled_from(GRIDS), st.integers(1, 10**7), st.integers(1, 10**7))
def test_07_numbers_on_the_grid_reach_the_chain_exactly(terms, lots, ticks):
    price, amount = terms.rule.price_from_units(ticks), terms.rule.amount_from_lots(lots)
    # A float is what a strategy has: the nearest to the decimal that it means.
    assert terms.subticks(terms.rule.price_units(price)) == ticks * terms.subticks_per_tick
    assert terms.rule.amount_lots(amount) * terms.quantums_per_lot == lots * terms.quantums_per_lot
    assert float(str(price)) == price


def test_07_the_price_that_others_have_lost_a_tick_of():
    assert TIA.subticks(TIA.rule.price_units(8.45)) == 84_500_000_000 // 10


def test_14_levels_that_cross_are_left_out_and_equal_prices_too():
    book = RawBook()
    book.reset([("100", "1"), ("99", "1")], [("101", "1"), ("102", "1")])
    book.update([("101", "2")], [])
    assert book.shown() == ([(101.0, 2.0), (100.0, 1.0), (99.0, 1.0)], [(102.0, 1.0)])
    book.update([], [("100", "3")])
    bids, asks = book.shown()
    assert (bids[0], asks[0]) == ((99.0, 1.0), (100.0, 3.0))
    assert set(book.levels(True)) == {101.0, 100.0, 99.0}, "nothing is taken out of what was told"


@given(
    st.lists(st.tuples(st.booleans(), st.integers(90, 110), st.integers(0, 3)), max_size=60),
)
def test_14_what_is_shown_never_crosses_and_holds_only_what_was_told(changes):
    book = RawBook()
    told = {True: {}, False: {}}
    for is_bid, price, size in changes:
        level = [(str(price), str(size))]
        book.update(level if is_bid else [], [] if is_bid else level)
        told[is_bid][float(price)] = float(size)
    bids, asks = book.shown()
    assert not bids or not asks or bids[0][0] < asks[0][0]
    for is_bid, side in ((True, bids), (False, asks)):
        assert side == sorted(side, reverse=is_bid)
        assert all(told[is_bid][price] == size > 0 for price, size in side)
        assert book.levels(is_bid) == {price: size for price, size in told[is_bid].items() if size}


def levels(*rows):
    return [SnapshotLevel(str(price), str(size)) for price, size in rows]


def test_15_what_rest_cannot_know_is_no_difference():
    book = RawBook()
    book.reset([("100", "1"), ("99", "2")], [("101", "1"), ("98", "4")])
    same = BookSnapshot(levels((100, 1), (99, 2)), levels((101, 1)))
    assert differences(book, same) == {}, "the ask at 98 crosses: REST leaves it out"
    assert differences(book, BookSnapshot()) == {}, "an indexer that has just been started has no levels"
    book.correct(False, 98.0, 0.0)
    other = BookSnapshot(levels((100, 1), (97, 5)), levels((101, 3)))
    assert differences(book, other) == {(True, 97.0): 5.0, (True, 99.0): 0.0, (False, 101.0): 3.0}
    deep = BookSnapshot(levels(*((1000 - number, 1) for number in range(100))), [])
    assert (True, 100.0) not in differences(book, deep), "REST shows 100 levels only"


def test_19_a_hundred_thousand_client_ids_are_different_and_a_restart_repeats_none():
    first, second = ClientOrderIdGenerator(60_000_000), ClientOrderIdGenerator(60_000_001)
    ids = {client_id_of(first.next()) for _ in range(100_000)}
    assert len(ids) == 100_000
    assert max(ids) < 1 << 32
    assert not ids & {client_id_of(second.next()) for _ in range(100_000)}


def test_30_only_the_indexers_height_ends_an_order():
    class Order:
        client_order_id = "LS0000000000000001"
        is_submitted = True
        order_type = OrderType.LIMIT
        nonce = 0

    lifetimes, order = Lifetimes(2), Order()
    lifetimes.on_indexer_height(1_000)
    lifetimes.begin(order, 1_010)
    lifetimes.on_node_height(1_500)
    assert lifetimes.over([order]) == []
    assert lifetimes.indexer_lag == 500
    lifetimes.on_indexer_height(1_011)
    assert lifetimes.over([order]) == [], "its last block may still be told of"
    lifetimes.on_indexer_height(1_012)
    assert lifetimes.over([order]) == [order]


def test_33_a_part_of_a_row_changes_what_it_says_and_nothing_else():
    terms = market_terms([market()])["BTC-USD"]
    assert not terms.is_changed(MarketRow(next_funding_rate="0.1"))
    paused = terms.changed(MarketRow(status="PAUSED"))
    assert (paused.rule.is_active, paused.rule.tick_size) == (False, 1)
    other = terms.changed(MarketRow(tick_size="5"))
    assert not terms.rule.has_grid_of(other.rule)
    old = terms.outdated()
    assert not old.changed(MarketRow(status="ACTIVE")).rule.is_active, "its grid is another by now"


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial_margin_fraction": ""},
        {"initial_margin_fraction": "0"},
        {"tick_size": "many"},
        {"step_size": "-1"},
        {"step_base_quantums": 0},
        {"clob_pair_id": "x"},
    ],
)
def test_35_a_market_that_makes_no_grid_is_told_of_and_hides_no_other(wrong):
    told = []
    found = market_terms([market("BAD-USD", **wrong), market()], lambda code, text: told.append((code, text)))
    assert list(found) == ["BTC-USD"]
    assert [code for code, _ in told] == ["malformed_message"]
    assert "BAD-USD" in told[0][1]


@pytest.mark.parametrize(
    ("kind", "condition"),
    [
        (OrderType.STOP_LIMIT, Condition.STOP_LOSS),
        (OrderType.STOP_MARKET, Condition.STOP_LOSS),
        (OrderType.TAKE_PROFIT_LIMIT, Condition.TAKE_PROFIT),
        (OrderType.TAKE_PROFIT_MARKET, Condition.TAKE_PROFIT),
    ],
)
def test_06_an_order_that_waits_for_a_trigger_says_which(kind, condition):
    terms = market_terms([market()])["BTC-USD"]
    owner = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art"
    forms = OrderForms(owner, Subaccounts(0), 7, {"BTC-USD": terms}, lambda order: 0)
    price = 60_000 if kind.has_price else 0
    order = InFlightOrder("LS0000000000000001", terms.rule, TradeType.SELL, kind, 10, price, trigger_units=61_000)
    form = forms.place(order, good_til_time=1_800_000_000)
    assert (form.id.flags, form.condition) == (OrderFlags.CONDITIONAL, condition)
    assert form.trigger_subticks == 61_000 * 100_000
    assert form.subticks > 0
    number = {Condition.STOP_LOSS: 1, Condition.TAKE_PROFIT: 2}[condition]
    assert dict(fields(form.encode()))[10] == number
