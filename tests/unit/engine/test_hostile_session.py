"""A session that writes anything at all: nothing is raised, nobody else is harmed, and its slot comes back."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gateway_desk import GatewayDesk, order_text

from latentspeed.connectors import OrderState
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.records import BookRow, Command, CommandKind
from latentspeed.ipc import CellBusy, SessionFenced, SessionState

FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, -1e300, 60000.0, 2**53]),
    st.floats(),
)
WORDS = st.one_of(st.sampled_from([0, 1, 2, 3, 255, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))
BYTES = st.integers(0, 255)
KNOWN = st.sampled_from([0, 1, 2])
TIMES = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.one_of(
    st.binary(max_size=96),
    st.sampled_from(
        [
            b"\xff\xfe{",
            b'{"slippage": 0.1}',
            b'{"slippage": "\\u0000\\ud800"}',
            b"[" * 96,
            b'{"a":' * 19,
            b"1e999",
            b"null",
            b"NaN",
            b'{"\xed\xa0\x80": 1}',
        ]
    ),
).map(lambda text: text.replace(b"\0", b" "))

COMMANDS = st.fixed_dictionaries(
    {
        "kind": st.one_of(st.just(int(CommandKind.PLACE)), st.sampled_from([1, 1, 2, 3, 4, 5]), BYTES),
        "instrument": st.one_of(st.just(0), WORDS),
        "trade_type": st.one_of(KNOWN, BYTES),
        "order_type": st.one_of(KNOWN, BYTES),
        "position_action": st.one_of(KNOWN, BYTES),
        "time_in_force": st.one_of(KNOWN, BYTES),
        "margin_mode": BYTES,
        "leverage": st.integers(0, 65535),
        "price": FLOATS,
        "amount": FLOATS,
        "trigger_price": FLOATS,
        "expire_mono_ns": st.one_of(st.just(2**62), TIMES),
        "extra_params": TEXTS,
    }
)
IDS = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 70))


@pytest.fixture(scope="module")
def attached():
    with GatewayDesk() as desk:
        yield desk, desk.claim("hostile"), desk.claim("honest")
        assert "command_failed" not in desk.errors(), "something was refused by chance, not by a check"


def overwrite_command(client, index, fields):
    """A command that was pushed becomes another, but for its index and generation."""
    command = Command()
    command.set(**fields)
    client.overwrite(index, "instrument", bytes(command)[Command.dtype.fields["instrument"][1] :])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(COMMANDS, IDS), min_size=1, max_size=6))
def test_whatever_a_command_holds_it_is_disposed_of_and_others_go_on(attached, commands):
    desk, hostile, honest = attached
    indexes = []
    for fields, number in commands:
        order_id = hostile.id(number) if number <= 70 else number
        indexes.append(hostile.push(kind=CommandKind.SUBSCRIBE))
        overwrite_command(hostile, indexes[-1], {**fields, "client_order_id": order_id})
    placed = honest.place()
    told = desk.writer.ring("events").tail
    desk.drain()
    assert hostile.session.queue.head == hostile.session.queue.tail
    mine = {event.command_index for event in desk.events(told) if event.generation == hostile.session.generation}
    assert set(indexes) <= mine
    assert desk.state(placed)[0] is OrderState.OPEN
    assert len(desk.core.sessions.live) == 2
    desk.connector.cancel_all()


@pytest.fixture
def pair():
    with GatewayDesk() as desk:
        yield desk, desk.claim("hostile"), desk.claim("honest")


@pytest.mark.parametrize("tail", [2**64 - 1, 10**6, 2**32])
def test_a_tail_that_cannot_be_revokes_its_session_alone(pair, tail):
    desk, hostile, honest = pair
    resting, placed = hostile.place(), honest.place()
    desk.drain()
    hostile.set_tail(tail)
    assert desk.core.has_work()
    desk.drain()
    assert desk.core.has_work() is False
    assert desk.state(resting)[0] is OrderState.CANCELLED
    assert desk.state(placed)[0] is OrderState.OPEN
    assert desk.writer.sessions[hostile.slot].state is SessionState.FREE
    assert "tail" in desk.errors()["session_revoked"]
    with pytest.raises(SessionFenced):
        hostile.place()
    honest.place()
    desk.drain()


def test_a_command_with_another_index_revokes_its_session(pair):
    desk, hostile, _ = pair
    index = hostile.place() and hostile.session.queue.tail - 1
    hostile.overwrite(index, "command_index", (5).to_bytes(8, "little"))
    desk.drain()
    assert desk.venue.orders == {}
    assert "command_index" in desk.errors()["session_revoked"]


def test_a_long_queue_that_is_broken_further_on_revokes_its_session(pair):
    desk, hostile, honest = pair
    for _ in range(100):
        hostile.push(kind=CommandKind.SUBSCRIBE, client_order_id=hostile.no_order)
    hostile.overwrite(90, "command_index", (5).to_bytes(8, "little"))
    placed = honest.place()
    desk.drain()
    assert desk.state(placed)[0] is OrderState.OPEN
    assert [live.slot for live in desk.core.sessions.live] == [honest.slot]


def test_a_level_of_cancel_alls_that_never_stands_still_keeps_nobody_busy(pair):
    desk, hostile, honest = pair
    for level in range(1, 50):
        hostile.poke(128, struct.pack("<QQ", level * 2**57 % 2**64, 2**63))
        desk.core.drain_all()
    desk.drain()
    assert desk.core.has_work() is False
    placed = honest.place()
    desk.drain()
    assert desk.state(placed)[0] is OrderState.OPEN


@pytest.mark.parametrize(
    "book",
    [
        {"fill_count": 2**64 - 1},
        {"fill_count": 1, "bought_lots": 2**63 - 1, "bought_value": -(2**63)},
        {"fill_count": 1, "fee_units": 2**63 - 1, "digest": 2**64 - 1},
        {"fill_count": 5, "bought_lots": 5},
    ],
)
def test_a_book_that_cannot_be_added_up_counts_as_never_committed(pair, book):
    desk, hostile, honest = pair
    placed, others = hostile.place(), honest.place()
    desk.drain()
    desk.connector.fill(order_text(placed), 100)
    desk.connector.fill(order_text(others), 50)
    keeper = desk.core.keeper
    keeper.totals(LedgerGroup.DEPARTED, hostile.slot, 0).fee_units = 1
    keeper.totals(LedgerGroup.DEPARTED, hostile.slot, 0).bought_lots = 1
    row = BookRow()
    row.set(generation=hostile.session.generation, through_cursor=2**64 - 1, **book)
    hostile.session.table("book").write(0, row)
    hostile.session.close()
    desk.clients.remove(hostile)
    desk.core.sessions.poll()
    assert desk.writer.sessions[hostile.slot].state is SessionState.FREE
    assert keeper.totals(LedgerGroup.ORPHANED, hostile.slot, 0).bought_lots == 100
    assert f"slot {hostile.slot}" in desk.errors()["session_book_damaged"]
    again = desk.claim("again")
    assert again.slot == hostile.slot


def test_a_session_whose_settling_fails_is_settled_later_and_holds_up_nobody(pair):
    desk, hostile, honest = pair
    hostile.session.close()
    desk.clients.remove(hostile)
    settle, failures = desk.core.keeper.settle_death, iter([CellBusy("book", 0, 1024), OverflowError("no")])

    def fail(*arguments):
        for error in failures:
            raise error
        return settle(*arguments)

    desk.core.keeper.settle_death = fail
    for _ in range(2):
        desk.core.sessions.poll()
        assert desk.writer.sessions[hostile.slot].state is SessionState.DRAINING
    desk.core.sessions.poll()
    assert desk.writer.sessions[hostile.slot].state is SessionState.FREE
    assert [live.slot for live in desk.core.sessions.live] == [honest.slot]
    assert "CellBusy" in desk.errors()["session_not_settled"]


def test_a_name_with_a_line_break_stays_on_one_line_of_the_log(caplog):
    with GatewayDesk() as desk, caplog.at_level("INFO"):
        desk.claim("quiet\nERROR forged")
        assert any("forged" in line for line in caplog.messages)
        assert not any("\n" in line for line in caplog.messages)


def test_orders_of_a_revoked_session_that_is_to_keep_them_stay():
    with GatewayDesk() as desk:
        client = desk.claim("keeper", cancel_on_death=False)
        resting = client.place()
        desk.drain()
        client.set_tail(2**40)
        desk.drain()
        assert desk.state(resting)[0] is OrderState.OPEN
        assert desk.core.sessions.live == ()
