"""Which row an order has, who owns it, and what is remembered of an order that has lost its row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledger_fakes import FakeTable, Fuse

from latentspeed.connectors import OrderState
from latentspeed.connectors.client_order_id import IN_PROCESS_SLOT, join
from latentspeed.engine import order_rows
from latentspeed.engine.order_rows import FINAL_STATES, OrderContext, OrderRows
from latentspeed.engine.records import Order

SLOTS, PER_SESSION = 3, 8


@pytest.fixture
def rows():
    return OrderRows(FakeTable(Fuse()), SLOTS, PER_SESSION)


def write(rows, id64, state=OrderState.OPEN, command_index=0):
    rows.write(rows.row_of(id64), Order(client_order_id=id64, state=state, command_index=command_index))


def context(rows, id64, **fields):
    return OrderContext(id64, rows.slot_of(id64), rows.row_of(id64), generation=1, instrument=0, **fields)


def test_a_session_has_a_block_of_rows_and_the_counter_chooses_one_of_them(rows):
    assert rows.row_of(join(9, 0, 1)) == 1
    assert rows.row_of(join(9, 2, 1)) == 2 * PER_SESSION + 1
    assert rows.row_of(join(9, 2, 1 + PER_SESSION)) == 2 * PER_SESSION + 1
    assert rows.slot_of(join(9, 2, 1)) == 2


@pytest.mark.parametrize("id64", [0, -1, join(9, SLOTS, 1), join(9, IN_PROCESS_SLOT, 1), 1 << 63, 2**64 - 1])
def test_an_id_that_no_session_here_can_have_made_has_neither_slot_nor_row(rows, id64):
    assert (rows.slot_of(id64), rows.row_of(id64), rows.context(id64)) == (-1, -1, None)
    assert rows.is_recorded(id64, 0) is False


@given(st.integers(0, 2**64 - 1))
def test_every_number_has_a_row_of_the_table_or_none(id64):
    rows = OrderRows(FakeTable(Fuse()), SLOTS, PER_SESSION)
    assert -1 <= rows.row_of(id64) < SLOTS * PER_SESSION
    assert (rows.slot_of(id64) < 0) == (rows.row_of(id64) < 0)


def test_the_holder_of_a_row_is_told_with_whether_it_has_ended(rows):
    first = join(9, 1, 3)
    assert rows.holder(rows.row_of(first)) == (0, False)
    assert rows.holder(-1) == (0, False)
    for state in OrderState:
        write(rows, first, state)
        assert rows.holder(rows.row_of(first)) == (first, not state.is_final)
        assert (state in FINAL_STATES) == state.is_final


def test_a_command_is_recorded_by_its_id_and_its_index(rows):
    first = join(9, 1, 3)
    write(rows, first, command_index=7)
    assert rows.is_recorded(first, 7)
    assert not rows.is_recorded(first, 8)
    assert not rows.is_recorded(first + PER_SESSION, 7)


def test_an_order_that_lost_its_row_is_remembered_without_one(rows):
    first, second = join(9, 1, 3), join(9, 1, 3 + PER_SESSION)
    rows.take(context(rows, first, fill_digest=5))
    rows.take(context(rows, second))
    assert rows.context(second).row == rows.row_of(second)
    assert (rows.context(first).row, rows.context(first).fill_digest) == (-1, 5)


def test_orders_without_a_row_are_remembered_in_bounded_number(rows, monkeypatch):
    monkeypatch.setattr(order_rows, "REMEMBERED", 2)
    ids = [join(9, 1, 3 + number * PER_SESSION) for number in range(4)]
    for id64 in ids:
        rows.take(context(rows, id64))
    assert [rows.context(id64) is not None for id64 in ids] == [False, True, True, True]


def test_taking_a_row_again_for_the_same_order_keeps_the_row(rows):
    first = join(9, 1, 3)
    rows.take(context(rows, first))
    rows.take(context(rows, first, command_index=4))
    assert (rows.context(first).row, rows.context(first).command_index) == (rows.row_of(first), 4)


def test_unfinished_rows_are_counted(rows):
    for counter, state in enumerate((OrderState.OPEN, OrderState.FILLED, OrderState.PENDING_CREATE), 1):
        write(rows, join(9, 0, counter), state)
    assert rows.count_unfinished() == 2
    assert [row.client_order_id for row in rows.read_all()] == [join(9, 0, counter) for counter in (1, 2, 3)]
