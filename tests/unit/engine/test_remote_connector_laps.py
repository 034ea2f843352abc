"""What a lapped reader cannot learn from its orders' rows: it is told all the same, or told that it cannot be known."""

import pytest
from support.fake_gateway import SMALL, answering, wait_until
from support.polling import poll_all, poll_until

from latentspeed.connectors import OrderParams, OrderState, OrderType, VenueUnreachable
from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.engine import remote_session
from latentspeed.engine.ledger import BookTotals, LedgerGroup, ledger_index
from latentspeed.engine.records import BookRow, CommandKind, OrderEvent, OrderEventKind
from latentspeed.ipc import SessionState

LIMIT = OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT)


@pytest.fixture
def errors(remote):
    heard = []
    remote.set_error_event_listener(type("E", (), {"on_error": lambda self, error: heard.append(error)})())
    return heard


def lap(gateway):
    """Publish events of another session, enough to lap a reader that does not read."""
    event = OrderEvent(generation=999_999, client_order_id=1, event=OrderEventKind.UPDATED)
    with gateway.lock:
        for _ in range(SMALL.event_ring + 5):
            gateway.writer.ring("events").publish(event)


def count_for_session(gateway, remote, *fills):
    """What a gateway's ledger says that this session traded: (trade id, lots, units) each."""
    totals, row = BookTotals(), BookRow()
    for trade_id, lots, units in fills:
        totals.add_fill(1, units, lots, 10, fill_digest(trade_id, 1, units, lots, 10))
    totals.to_row(row)
    with gateway.lock:
        row.through_cursor = gateway.writer.ring("events").tail
        index = ledger_index(LedgerGroup.SESSION, remote.session_slot, 0, SMALL.sessions, SMALL.instruments)
        gateway.writer.table("ledger").write(index, row)
    return totals


def place_and_cancel(remote, gateway):
    order_id = remote.buy(LIMIT)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    gateway.cancelled(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).is_done)


def test_a_late_fill_that_no_row_shows_any_more_is_in_the_books_and_told(remote, gateway, errors):
    gateway.on_command = answering
    place_and_cancel(remote, gateway)
    for _ in range(SMALL.orders_per_session):
        place_and_cancel(remote, gateway)
    # Another has the row by now, so the late fill of the first order stands in the ring alone, and is overwritten.
    totals = count_for_session(gateway, remote, ("late", 40, 600_000))
    lap(gateway)
    poll_until(remote, lambda: len(errors) == 2)
    assert [error.code for error in errors] == ["events_lapped", "fills_missed"]
    assert "bought 40 lots" in errors[1].message
    assert remote.session_totals("BTC-USD") == totals
    assert remote.session_position("BTC-USD") == 0.0004
    session = next(s for s in gateway.writer.sessions if s.state == SessionState.ACTIVE)
    row = BookRow()

    def is_committed():
        return session.table("book").read(0, row) and BookTotals.from_row(row) == totals

    poll_until(remote, is_committed)


def test_after_a_lap_nothing_is_added_that_the_rows_have_told(remote, gateway, errors):
    order_id = remote.buy(LIMIT)
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    gateway.fill(order_id, 30, 600_000, "t1")
    totals = count_for_session(gateway, remote, ("t1", 30, 600_000))
    lap(gateway)
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 1)
    poll_until(remote, lambda: not remote._session._audit.is_due)
    assert remote.session_totals("BTC-USD") == totals
    assert [error.code for error in errors] == ["events_lapped"]


def test_a_fill_that_the_gateway_has_yet_to_count_is_waited_for(remote, gateway, errors):
    order_id = remote.buy(LIMIT)
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    gateway.fill(order_id, 30, 600_000, "t1")
    lap(gateway)
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 1)
    count_for_session(gateway, remote)
    poll_all(remote)
    assert remote._session._audit.is_due
    count_for_session(gateway, remote, ("t1", 30, 600_000), ("t2", 10, 600_000))
    poll_until(remote, lambda: remote.session_position("BTC-USD") == 0.0004)
    assert errors[-1].code == "fills_missed"


def test_a_place_refused_without_a_row_ends_though_the_answer_was_overwritten(remote, gateway):
    def refuse_without_a_row(gateway, session, command):
        pass  # its event is among those that are overwritten

    gateway.on_command = refuse_without_a_row
    publish = gateway.publish
    gateway.publish = lambda *arguments, **fields: None
    order_id = remote.buy(LIMIT)
    wait_until(lambda: gateway.commands, "the place was never read")
    gateway.publish = publish
    lap(gateway)
    poll_until(remote, lambda: remote.get_order(order_id).is_done)
    assert remote.get_order(order_id).state is OrderState.FAILED
    assert remote.get_order(order_id).reason == "never_sent"


def test_a_result_that_was_overwritten_is_not_waited_for_for_ever(remote, gateway, monkeypatch):
    monkeypatch.setattr(remote_session, "ANSWER_GRACE_NS", 0)
    pending = remote.set_leverage("BTC-USD", 5)
    wait_until(lambda: gateway.of_kind(CommandKind.SET_LEVERAGE), "the command was never read")
    gateway.result(gateway.of_kind(CommandKind.SET_LEVERAGE)[0])
    lap(gateway)
    with pytest.raises(VenueUnreachable, match="not known"):
        pending.result(60)
