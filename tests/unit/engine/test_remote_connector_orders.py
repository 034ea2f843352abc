"""RemoteConnector: what the gateway reports becomes the session's orders, each fill once, whatever was lost."""

import time

import pytest
from support.fake_gateway import SMALL, answering, wait_until
from support.polling import poll_all, poll_until

from latentspeed.connectors import OrderParams, OrderState, OrderType
from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.engine.ledger import BookTotals
from latentspeed.engine.order_reports import CatchUpTrade
from latentspeed.engine.records import BookRow, CommandKind, OrderEventKind
from latentspeed.ipc import SegmentState

UNITS = 600_000


def place(remote, gateway, amount=0.001, *, state=OrderState.OPEN, side="buy"):
    """An order that the gateway has acknowledged and that the connector knows as open."""
    order_id = getattr(remote, side)(OrderParams("BTC-USD", amount, 60_000.0, OrderType.LIMIT))
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is state)
    return order_id


def committed(gateway, remote, number=0):
    """The session's own book as the gateway sees it."""
    session = next(s for s in gateway.writer.sessions if s.incarnation == remote._session.incarnation)
    row = BookRow()
    session.table("book").read(number, row)
    return row


def totals_of(gateway, order_id):
    """The book that an order's row implies."""
    record = gateway.order(order_id).record
    totals = BookTotals()
    totals.add_fills(
        record.fill_count,
        record.trade_type,
        record.filled_lots,
        record.filled_value,
        record.total_fee_units,
        record.fill_digest,
    )
    return totals


def flood(gateway, count):
    """Publish events of another session, enough to lap a reader that does not read."""
    from latentspeed.engine.records import OrderEvent

    event = OrderEvent(generation=999_999, client_order_id=1, event=OrderEventKind.UPDATED)
    for _ in range(count):
        with gateway.lock:
            gateway.writer.ring("events").publish(event)


# The life of an order


def test_an_order_goes_through_its_states_with_stage_times(remote, gateway):
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    order = remote.get_order(order_id)
    assert order.state is OrderState.PENDING_CREATE
    assert order.price == 60_000.0
    gateway.submit(order_id)
    poll_until(remote, lambda: order.state is OrderState.PENDING_SUBMIT)
    assert (order.nonce, order.venue_expiry_ms) == (1_700_000_000_000, 1_700_000_002_000)
    assert order.signed_mono_ns
    gateway.acknowledge(order_id, "77")
    poll_until(remote, lambda: order.state is OrderState.OPEN)
    assert order.exchange_order_id == "77"
    assert order.acknowledged_mono_ns == gateway.order(order_id).record.acknowledged_mono_ns
    gateway.fill(order_id, 40, UNITS, "t1")
    poll_until(remote, lambda: order.state is OrderState.PARTIALLY_FILLED)
    gateway.fill(order_id, 60, UNITS - 10, "t2", fee_units=-3)
    poll_until(remote, lambda: order.state is OrderState.FILLED)
    assert order.fill_count == 2
    assert order.fee_units == 7
    assert order.average_price == pytest.approx(59_999.4)
    assert remote.recorder.names() == ["updated", "created", "partially_filled", "filled", "completed"]


@pytest.mark.parametrize(
    ("end", "event", "state"),
    [
        (lambda g, i: g.cancelled(i, "user"), "cancelled", OrderState.CANCELLED),
        (lambda g, i: g.expired(i), "expired", OrderState.EXPIRED),
        (lambda g, i: g.failed(i, "Insufficient margin"), "failed", OrderState.FAILED),
    ],
)
def test_an_end_is_told_with_its_reason(remote, gateway, end, event, state):
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    end(gateway, order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is state)
    assert remote.recorder.names(order_id) == [event]
    assert remote.get_order(order_id).reason == gateway.order(order_id).record.reason
    assert remote.get_open_orders() == []


def test_a_requested_cancel_and_an_unknown_fate_are_shown(remote, gateway):
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    order = remote.get_order(order_id)
    gateway.submit(order_id)
    gateway.publish(gateway.order(order_id), OrderEventKind.UPDATED, is_unknown=True, reason="timeout")
    poll_until(remote, lambda: order.is_unknown)
    gateway.publish(
        gateway.order(order_id),
        OrderEventKind.UPDATED,
        state=OrderState.PENDING_CANCEL,
        cancel_requested=True,
    )
    poll_until(remote, lambda: order.state is OrderState.PENDING_CANCEL)
    assert "created" not in remote.recorder.names(order_id), "a requested cancel is no sign of acceptance"
    gateway.publish(gateway.order(order_id), OrderEventKind.UPDATED, state=OrderState.OPEN, cancel_requested=False)
    poll_until(remote, lambda: order.state is OrderState.OPEN)


def test_a_failure_that_the_venue_overrules_is_overruled_here_too(remote, gateway):
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    gateway.failed(order_id, "never_accepted")
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.FAILED)
    gateway.acknowledge(order_id)
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)


def test_a_late_fill_after_the_cancel_still_counts(remote, gateway):
    order_id = place(remote, gateway)
    gateway.cancelled(order_id)
    poll_until(remote, lambda: not remote.get_order(order_id).is_active)
    gateway.fill(order_id, 30, UNITS, "late")
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 1)
    assert remote.get_order(order_id).state is OrderState.CANCELLED
    assert remote.session_position("BTC-USD") == 0.0003


def test_events_of_other_sessions_are_not_ours(answering_gateway, attach):
    mine, other = attach(answering_gateway), attach(answering_gateway)
    other_id = other.buy(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET))
    poll_until(other, lambda: other.get_order(other_id).state is OrderState.FILLED)
    poll_all(mine)
    assert mine.recorder.events == []
    assert mine.session_position("BTC-USD") == 0.0
    assert other.session_position("BTC-USD") == 0.001


def test_a_listener_may_trade_from_inside_its_callback(answering_gateway, attach):
    remote = attach(answering_gateway)
    made = []

    class Chain(type(remote.recorder)):
        def on_trade(self, order, trade):
            if len(made) < 3:
                made.append(remote.sell(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET)))

    remote.set_trade_event_listener(Chain())
    remote.buy(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET))
    poll_until(remote, lambda: len(made) == 3 and not remote.get_open_orders())
    assert remote.session_position("BTC-USD") == -0.002


# The session's own books


def test_own_books_are_committed_after_the_callbacks_returned(remote, gateway):
    seen = []

    class Look(type(remote.recorder)):
        def on_trade(self, order, trade):
            seen.append(committed(gateway, remote).fill_count)

    remote.set_trade_event_listener(Look())
    order_id = place(remote, gateway)
    gateway.fill(order_id, 40, UNITS, "t1")
    gateway.fill(order_id, 60, UNITS, "t2")
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.FILLED)
    assert seen == [0, 1]
    row = committed(gateway, remote)
    assert BookTotals.from_row(row) == totals_of(gateway, order_id)
    assert row.generation == remote._session.generation
    assert row.through_cursor <= gateway.writer.ring("events").tail


def test_a_sale_is_counted_on_its_side(remote, gateway):
    order_id = place(remote, gateway, side="sell")
    gateway.fill(order_id, 100, UNITS, "t1")
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.FILLED)
    assert remote.session_totals("BTC-USD").sold_value == 100 * UNITS
    assert remote.session_position("BTC-USD") == -0.001


def test_a_session_starts_with_empty_books_whatever_its_slot_held(gateway, attach):
    first = attach(gateway)
    slot = first._link.session.slot
    order_id = place(first, gateway)
    gateway.fill(order_id, 100, UNITS, "t1")
    poll_until(first, lambda: first.get_order(order_id).is_done)
    first.disconnect().result(60)
    wait_until(lambda: slot in gateway.deaths, "the death was never settled")
    second = attach(gateway)
    assert second._link.session.slot == slot
    assert second.session_position("BTC-USD") == 0.0
    assert second.get_order(order_id) is None
    assert len(second.snapshot("orders")) == 0
    other = place(second, gateway)
    gateway.fill(other, 10, UNITS, "t2")
    poll_until(second, lambda: second.get_order(other).fill_count == 1)
    assert BookTotals.from_row(committed(gateway, second)) == totals_of(gateway, other)


# Repetitions, laps, restarts


def test_a_fill_told_again_counts_once(remote, gateway):
    order_id = place(remote, gateway)
    gateway.fill(order_id, 40, UNITS, "t1")
    gateway.repeat_fill(order_id, 40, UNITS, "t1")
    gateway.fill(order_id, 20, UNITS, "t2")
    gateway.repeat_fill(order_id, 40, UNITS, "t1")
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 2)
    poll_all(remote)
    assert [fill.trade_id for fill in remote.recorder.fills] == ["t1", "t2"]
    assert BookTotals.from_row(committed(gateway, remote)) == totals_of(gateway, order_id)


def test_a_reader_that_was_lapped_catches_up_from_the_rows_and_says_how_many_fills_it_stands_for(remote, gateway):
    errors = []
    remote.set_error_event_listener(type("E", (), {"on_error": lambda self, error: errors.append(error.code)})())
    order_id = place(remote, gateway)
    gateway.fill(order_id, 10, UNITS, "t1")
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 1)
    for number in range(2, 6):
        gateway.fill(order_id, 10, UNITS + 10 * number, f"t{number}")
    flood(gateway, SMALL.event_ring + 5)
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 5)
    catch_up = remote.recorder.fills[-1]
    assert isinstance(catch_up, CatchUpTrade)
    assert (catch_up.fill_count, catch_up.amount_lots) == (4, 40)
    assert catch_up.trade_id == f"catch-up:{order_id}:5"
    assert catch_up.price == pytest.approx(60_003.5)
    order = remote.get_order(order_id)
    assert order.notional_units == gateway.order(order_id).record.filled_value
    assert errors == ["events_lapped"]
    poll_until(remote, lambda: BookTotals.from_row(committed(gateway, remote)) == totals_of(gateway, order_id))


def test_after_a_lap_fills_that_the_catch_up_holds_are_dropped_and_the_next_ones_counted(remote, gateway):
    order_id = place(remote, gateway)
    gateway.fill(order_id, 10, UNITS, "t1")
    flood(gateway, SMALL.event_ring + 5)
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 1)
    gateway.repeat_fill(order_id, 10, UNITS, "t1")
    gateway.fill(order_id, 10, UNITS, "t2")
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 2)
    poll_all(remote)
    assert [fill.trade_id for fill in remote.recorder.fills] == [f"catch-up:{order_id}:1", "t2"]
    assert BookTotals.from_row(committed(gateway, remote)) == totals_of(gateway, order_id)


def test_an_order_that_ended_during_a_lap_is_known_as_ended(remote, gateway):
    filled, cancelled, failed = (place(remote, gateway) for _ in range(3))
    gateway.fill(filled, 100, UNITS, "t1")
    gateway.cancelled(cancelled)
    gateway.fill(failed, 30, UNITS, "t2")
    gateway.failed(failed, "liquidated")
    flood(gateway, SMALL.event_ring + 5)
    poll_until(remote, lambda: not remote.get_open_orders())
    states = [remote.get_order(order_id).state for order_id in (filled, cancelled, failed)]
    assert states == [OrderState.FILLED, OrderState.CANCELLED, OrderState.FAILED]
    assert remote.session_position("BTC-USD") == 0.0013


def test_a_fill_whose_event_was_lost_with_the_gateway_is_caught_up_after_the_restart(remote, gateway):
    order_id = place(remote, gateway)
    gateway.fill(order_id, 10, UNITS, "t1")
    gateway.fill(order_id, 20, UNITS, "t2", ring=False)
    gateway.restart()
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 2)
    assert [type(fill) for fill in remote.recorder.fills][1] is CatchUpTrade
    poll_until(remote, lambda: BookTotals.from_row(committed(gateway, remote)) == totals_of(gateway, order_id))


def test_a_restarted_gateway_that_tells_every_fill_again_changes_nothing(remote, gateway):
    order_id = place(remote, gateway)
    for number in (1, 2):
        gateway.fill(order_id, 10, UNITS, f"t{number}")
    gateway.fill(order_id, 20, UNITS, "t3", ring=False)
    gateway.restart(SegmentState.RECOVERING)
    for number, lots in ((1, 10), (2, 10), (3, 20)):
        gateway.repeat_fill(order_id, lots, UNITS, f"t{number}")
    gateway.go(SegmentState.LIVE)
    poll_until(remote, lambda: remote.get_order(order_id).fill_count == 3)
    poll_all(remote)
    assert [fill.trade_id for fill in remote.recorder.fills] == ["t1", "t2", "t3"]
    assert BookTotals.from_row(committed(gateway, remote)) == totals_of(gateway, order_id)


def test_a_session_goes_on_after_a_restart_with_its_orders_and_its_generation(gateway, attach):
    gateway.on_command = answering
    remote = attach(gateway)
    remote.subscribe("BTC-USD")
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.OPEN)
    generation = remote._session.generation
    gateway.restart()
    again = None

    def placed():
        nonlocal again
        if again is None and remote._link.is_taking_orders:
            again = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
        return again is not None and remote.get_order(again).state is OrderState.OPEN

    poll_until(remote, placed)
    assert remote._session.generation == generation
    poll_until(remote, lambda: len(gateway.of_kind(CommandKind.SUBSCRIBE)) == 2)
    gateway.fill(order_id, 100, UNITS, "t1")
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.FILLED)


def test_places_that_waited_while_the_gateway_was_down_end_as_its_successor_says(remote, gateway):
    gateway.reads_commands = False
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    gateway.die()
    gateway.reads_commands = True
    gateway.on_command = lambda g, session, command: (
        g.failed(order_id, "never_sent") if command.kind == CommandKind.PLACE else g.result(command)
    )
    gateway.start()
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.FAILED)
    assert remote.get_order(order_id).reason == "never_sent"


def test_a_place_that_was_read_and_left_no_trace_ends_after_the_restart(remote, gateway):
    order_id = remote.buy(OrderParams("BTC-USD", 0.001, 60_000.0, OrderType.LIMIT))
    gateway.order(order_id)
    with gateway.lock:
        gateway.writer.table("orders").clear(gateway.order(order_id).row)
    gateway.restart()
    poll_until(remote, lambda: remote.get_order(order_id).state is OrderState.FAILED)
    assert remote.get_order(order_id).reason == "never_sent"


def test_commands_that_a_dead_gateway_had_read_fail_after_the_restart(remote, gateway):
    pending = remote.set_leverage("BTC-USD", 5)
    wait_until(lambda: gateway.commands, "the command was never read")
    gateway.restart()
    poll_until(remote, pending.done)
    with pytest.raises(Exception, match="restarted"):
        pending.result(0)


def test_resync_compares_every_order_with_its_row(remote, gateway):
    order_id = place(remote, gateway)
    gateway.fill(order_id, 10, UNITS, "t1", ring=False)
    pending = remote.resync()
    poll_until(remote, pending.done)
    assert remote.get_order(order_id).fill_count == 1


def test_a_fill_of_an_order_that_was_forgotten_still_counts(remote, gateway):
    order_id = place(remote, gateway)
    gateway.cancelled(order_id)
    poll_until(remote, lambda: not remote.get_order(order_id).is_active)
    remote.order_tracker.stop_tracking_order(order_id)
    remote._session.reports._prune()
    assert remote._session.reports.order(int(order_id[2:], 16)) is None
    gateway.fill(order_id, 10, UNITS, "late")
    poll_until(remote, lambda: remote.session_totals("BTC-USD").fill_count == 1)
    assert BookTotals.from_row(committed(gateway, remote)) == totals_of(gateway, order_id)


def test_books_stay_exact_when_a_row_ran_ahead_of_the_ring_at_a_lap(remote, gateway):
    """The row already holds a fill whose event is still to be read: the cursor is committed only once it was."""
    order_id = place(remote, gateway)
    flood(gateway, SMALL.event_ring + 5)
    take_row = remote._session.reports.resync

    def resync_late():
        gateway.fill(order_id, 10, UNITS, "t1")
        take_row()

    remote._session.reports.resync = resync_late
    remote.poll()
    poll_all(remote)
    row = committed(gateway, remote)
    digest = fill_digest("t1", 1, UNITS, 10, 10)
    assert (row.fill_count, row.digest) == (1, digest)
    assert row.through_cursor == gateway.writer.ring("events").tail
    assert remote.get_order(order_id).fill_count == 1
    time.sleep(0)
