"""A resync asks in one order, believes no absence too early, and says what it found."""

import time

import pytest

from latentspeed.connectors import OrderState, ReportSource
from latentspeed.connectors.reconciliation import PositionDifference, Reconciliation

S = OrderState
SNAPSHOT = {"source": ReportSource.SNAPSHOT}


@pytest.fixture
def tracker(kit):
    """A tracker on the real clock, since a resync compares times with it."""
    tracker, recorder, _ = kit.make_tracker()
    tracker._clock_mono_ns = tracker.reducer._clock_mono_ns = tracker._registry._clock_mono_ns = time.monotonic_ns
    tracker.recorder = recorder
    return tracker


def placed(kit, tracker, state=S.OPEN, **more):
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.mark_signed(order, nonce=1, venue_expiry_ms=1)
    if state is not S.PENDING_SUBMIT:
        tracker.process_order_update(kit.update(order, state, **more))
    tracker.recorder.take()
    return order


def test_fills_come_before_orders_and_orders_before_the_single_ones(kit, tracker):
    resync = Reconciliation(tracker)
    resync.add_open_orders([])
    with pytest.raises(RuntimeError, match="fills first"):
        resync.add_fills([])
    resync.add_order_not_found("LS0000000000000001")
    with pytest.raises(RuntimeError, match="OPEN_ORDERS before ORDERS"):
        resync.add_open_orders([])
    resync.finish()
    with pytest.raises(RuntimeError):
        resync.add_order(kit.update(kit.make_order(), S.OPEN))


def test_what_happened_in_the_gap_is_counted_once_and_settled(kit, tracker):
    filled, cancelled, resting = (placed(kit, tracker) for _ in range(3))
    tracker.process_trade_update(kit.fill(filled, "1", 4))
    tracker.recorder.take()
    resync = Reconciliation(tracker)
    assert resync.add_fills([kit.fill(filled, "1", 4), kit.fill(filled, "2", 6), kit.fill(cancelled, "3", 1)]) == 2
    missing = resync.add_open_orders([kit.update(resting, S.OPEN, **SNAPSHOT)])
    assert missing == [cancelled]
    resync.add_order(kit.update(cancelled, S.CANCELLED, filled_lots=1, **SNAPSHOT))
    report = resync.finish()
    assert tracker.recorder.take() == ["filled", "completed", "partially_filled", "cancelled"]
    assert (report.fills_seen, report.fills_counted, report.open_orders_seen) == (3, 2, 1)
    assert report.orders_settled == [filled.client_order_id, cancelled.client_order_id]
    assert report.is_clean
    assert report.started_utc_ns <= report.finished_utc_ns


def test_an_order_sent_after_the_questions_is_not_missed_in_the_answers(kit, tracker):
    unsigned = kit.make_order()
    tracker.start_tracking_order(unsigned)
    resync = Reconciliation(tracker)
    late = placed(kit, tracker)
    resync.add_fills([])
    assert resync.add_open_orders([]) == []
    resync.finish()
    assert (late.state, unsigned.state) == (S.OPEN, S.PENDING_CREATE)


def test_absence_does_not_age_out_an_order_that_was_accepted_just_before(kit, tracker):
    fresh = placed(kit, tracker)
    resync = Reconciliation(tracker, settling_s=10.0)
    assert resync.add_open_orders([]) == [fresh]
    assert resync.add_order_not_found(fresh.client_order_id) is False
    assert fresh.state is S.OPEN
    old = placed(kit, tracker)
    old.acknowledged_mono_ns -= 11 * 10**9
    resync = Reconciliation(tracker, settling_s=10.0)
    resync.add_open_orders([])
    assert resync.add_order_not_found(old.client_order_id) is True
    assert (old.state, old.reason) == (S.CANCELLED, "aged_out")


def test_an_unknown_order_is_settled_by_its_expiry_and_reported_until_then(kit, tracker):
    order = placed(kit, tracker, S.PENDING_SUBMIT)
    tracker.mark_unknown(order.client_order_id, "timeout")
    resync = Reconciliation(tracker)
    assert resync.add_open_orders([]) == [order]
    assert resync.add_order_not_found(order.client_order_id, now_utc_ns=0) is False
    report = resync.finish()
    assert (report.orders_unknown, report.is_clean) == ([order.client_order_id], False)
    resync = Reconciliation(tracker)
    assert resync.add_order_not_found(order.client_order_id, now_utc_ns=10**12) is True
    assert (order.state, order.reason) == (S.FAILED, "never_accepted")
    assert resync.finish().is_clean


def test_a_snapshot_older_than_the_stream_changes_nothing(kit, tracker):
    order = placed(kit, tracker)
    resync = Reconciliation(tracker)
    tracker.process_order_update(kit.update(order, S.CANCELLED))
    tracker.recorder.take()
    assert resync.add_open_orders([kit.update(order, S.OPEN, **SNAPSHOT)]) == []
    report = resync.finish()
    assert (order.state, tracker.recorder.take()) == (S.CANCELLED, [])
    assert report.ghost_orders == [], "it ended a moment ago; the venue's list may be older"


def test_an_order_that_ended_here_long_ago_and_is_open_there_is_a_ghost(kit, tracker):
    order, stranger = placed(kit, tracker), kit.make_order()
    tracker.process_order_update(kit.update(order, S.CANCELLED))
    tracker._registry._finished[order.client_order_id] -= 11 * 10**9
    resync = Reconciliation(tracker)
    ghost = kit.update(order, S.OPEN, exchange_order_id="5", **SNAPSHOT)
    untracked = kit.update(stranger, S.OPEN, exchange_order_id="6", **SNAPSHOT)
    foreign = kit.update(stranger, S.OPEN, **SNAPSHOT)
    foreign = type(foreign)(None, "7", S.OPEN, source=ReportSource.SNAPSHOT)
    resync.add_open_orders([ghost, untracked, foreign])
    report = resync.finish()
    assert report.ghost_orders == [ghost, untracked]
    assert report.foreign_orders == 1
    assert tracker.recorder.errors == ["ghost_order", "ghost_order"]
    assert not report.is_clean


def test_an_order_known_only_by_its_exchange_id_is_found(kit, tracker):
    order = placed(kit, tracker, exchange_order_id="77")
    resync = Reconciliation(tracker)
    named = type(kit.update(order, S.OPEN))(None, "77", S.OPEN, source=ReportSource.SNAPSHOT, filled_lots=2)
    assert resync.add_open_orders([named]) == []
    assert order.is_awaiting_fills


def test_fills_that_the_venue_speaks_of_and_does_not_show_are_reported(kit, tracker):
    order = placed(kit, tracker)
    tracker.process_order_update(kit.update(order, S.FILLED))
    resync = Reconciliation(tracker)
    resync.add_fills([kit.fill(order, "1", 4)])
    report = resync.finish()
    assert report.orders_awaiting_fills == [order.client_order_id]
    assert tracker.recorder.errors == ["fills_missing"]


def test_positions_are_compared_in_lots(tracker):
    resync = Reconciliation(tracker)
    resync.compare_positions({"A": 5, "B": -3, "C": 0}, {"A": 5, "B": -2, "D": 1})
    report = resync.finish()
    assert report.position_differences == [PositionDifference("B", -3, -2), PositionDifference("D", 0, 1)]
    assert tracker.recorder.errors == ["position_difference", "position_difference"]
    assert not report.is_clean
