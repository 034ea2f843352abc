"""The outcome of an order is a function of the set of its reports: any order of arrival, any repetition."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentspeed.connectors import OrderState, OrderUpdate, ReportSource

AMOUNT = 10
S = OrderState


def outcome_by_hand(reports):
    """What a set of reports means, written down without the reducer: state, lots, value, fees, what is awaited."""
    fills = {report.trade_id: report for report in reports if hasattr(report, "trade_id")}
    updates = [report for report in reports if not hasattr(report, "trade_id")]
    lots = sum(fill.amount_lots for fill in fills.values())
    said = [update.filled_lots or 0 for update in updates]
    said += [AMOUNT for update in updates if update.state is S.FILLED and update.filled_lots is None]
    shrunk = any(
        update.state is S.FILLED and update.filled_lots is not None and update.filled_lots < AMOUNT
        for update in updates
    )
    inferred = [update for update in updates if (update.state, update.source) == (S.FAILED, ReportSource.INFERRED)]
    proven = {update.state for update in updates if update not in inferred}
    accepted = bool(fills) or any(said) or proven & {S.OPEN, S.CANCELLED, S.FILLED}
    if lots >= AMOUNT:
        state = S.FILLED
    elif S.CANCELLED in proven or shrunk:
        state = S.CANCELLED
    elif S.EXPIRED in proven:
        state = S.EXPIRED
    elif S.FAILED in proven or (inferred and not accepted):
        state = S.FAILED
    elif lots:
        state = S.PARTIALLY_FILLED
    elif accepted:
        state = S.OPEN
    else:
        state = S.PENDING_SUBMIT
    value = sum(fill.amount_lots * fill.price_units for fill in fills.values())
    fees = sum(fill.fee_units for fill in fills.values())
    return state, lots, value, fees, set(fills), max([0, *said]) > lots


def outcome_by_the_reducer(kit, order, reports):
    tracker, recorder, _ = kit.make_tracker()
    tracker.start_tracking_order(order)
    tracker.mark_signed(order)
    for report in reports:
        if hasattr(report, "trade_id"):
            tracker.process_trade_update(report)
        else:
            tracker.process_order_update(report)
    assert tracker.held_count == 0
    assert order.revision == len(recorder.events)
    assert recorder.revisions == sorted(set(recorder.revisions))
    return recorder, (
        order.state,
        order.filled_lots,
        order.notional_units,
        order.fee_units,
        order.trade_ids,
        order.is_awaiting_fills,
    )


def check_events(recorder, order, reports):
    """Each event once per real change, and in the documented order."""
    counts = Counter(recorder.events)
    for name in ("created", "filled", "completed", "cancelled", "expired"):
        assert counts[name] <= 1, recorder.lines
    assert counts["filled"] == counts["completed"] == (order.state is S.FILLED)
    trades = [trade_id for _, trade_id in recorder.trades]
    assert sorted(trades) == sorted(order.trade_ids), "each fill is told once"
    assert counts["partially_filled"] + counts["filled"] == len(order.trade_ids)
    if "created" in recorder.events:
        before = set(recorder.events[: recorder.events.index("created")])
        assert before <= {"updated", "failed"}, "nothing shows acceptance before created"


def copies(kit, order):
    """A new order like this one under the same id, since reports name it."""
    twin = kit.make_order(AMOUNT)
    twin.client_order_id = order.client_order_id
    return twin


def stories(kit, order):
    """Sets of reports as venues send them, with both ids, either, or only the client's."""
    u, f = kit.update, kit.fill
    both = {"exchange_order_id": "77"}
    only = {"client_order_id": None, "exchange_order_id": "77"}
    return {
        "rest, stream and fills of an order taken at once": [
            u(order, S.FILLED, filled_lots=10, source=ReportSource.REPLY, **both),
            u(order, S.OPEN, **both),
            u(order, S.FILLED, **both),
            f(order, "1", 4),
            f(order, "2", 6, price_units=500_010, **only),
        ],
        "cancelled while it is being filled": [
            u(order, S.OPEN, source=ReportSource.REPLY, **both),
            u(order, S.CANCELLED, source=ReportSource.REPLY),
            u(order, S.CANCELLED, "canceled", filled_lots=7, **both),
            f(order, "1", 3, **only),
            f(order, "2", 4),
        ],
        "cancel confirmed and completed in one block": [
            u(order, S.CANCELLED, source=ReportSource.REPLY, **both),
            f(order, "1", 4, **only),
            f(order, "2", 6, **only),
            u(order, S.OPEN, **both),
        ],
        "immediate-or-cancel remainder": [
            u(order, S.FILLED, filled_lots=3, source=ReportSource.REPLY, **both),
            u(order, S.CANCELLED, "iocCanceled", filled_lots=3, **both),
            u(order, S.OPEN, **both),
            f(order, "1", 3),
        ],
        "rejected with an id": [
            u(order, S.FAILED, "perpMarginRejected", **both),
            u(order, S.FAILED, "Insufficient margin", source=ReportSource.REPLY),
            u(order, S.FAILED, "never_accepted", source=ReportSource.INFERRED),
        ],
        "thought lost and alive after all": [
            u(order, S.FAILED, "never_accepted", source=ReportSource.INFERRED),
            u(order, S.OPEN, **both),
            f(order, "1", 4, **only),
            u(order, S.OPEN, filled_lots=4, source=ReportSource.SNAPSHOT, **both),
        ],
        "filled after a failure": [
            u(order, S.FAILED, "rejected", **both),
            f(order, "1", 10, **only),
            u(order, S.EXPIRED, "expired"),
        ],
    }


@pytest.mark.parametrize("number", range(7))
def test_every_order_of_arrival_ends_the_same(kit, number):
    order = kit.make_order(AMOUNT)
    title, reports = list(stories(kit, order).items())[number]
    expected = outcome_by_hand(reports)
    reasons = set()
    for arrival in itertools.permutations(reports):
        twin = copies(kit, order)
        recorder, outcome = outcome_by_the_reducer(kit, twin, arrival)
        assert outcome == expected, (title, arrival)
        check_events(recorder, twin, arrival)
        reasons.add((twin.reason, twin.exchange_order_id, twin.last_update_utc_ns))
    assert len(reasons) == 1, title


REPORTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([S.OPEN, S.FILLED, S.CANCELLED, S.EXPIRED, S.FAILED]),
            st.sampled_from([ReportSource.REPLY, ReportSource.STREAM, ReportSource.SNAPSHOT, ReportSource.INFERRED]),
            st.sampled_from([None, 0, 4, 10]),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["client", "both", "exchange"]),
        ),
        st.tuples(
            st.sampled_from(["1", "2", "3", "4"]),
            st.sampled_from(["client", "both", "exchange"]),
        ),
    ),
    min_size=1,
    max_size=8,
)
IDS = {
    "client": {},
    "both": {"exchange_order_id": "77"},
    "exchange": {"client_order_id": None, "exchange_order_id": "77"},
}
LOTS = {"1": 1, "2": 4, "3": 5, "4": 6}


@settings(max_examples=300)
@given(drawn=REPORTS, data=st.data())
def test_any_reports_in_any_order_and_number_end_as_their_set_says(kit, drawn, data):
    order = kit.make_order(AMOUNT)
    reports = [kit.update(order, S.OPEN, "", exchange_order_id="77")]
    for item in drawn:
        if len(item) == 2:
            reports.append(kit.fill(order, item[0], LOTS[item[0]], **IDS[item[1]]))
            continue
        state, source, filled_lots, reason, ids = item
        report = kit.update(order, state, reason, source=source, filled_lots=filled_lots, **IDS["both"])
        if ids == "exchange":
            report = OrderUpdate(None, "77", state, reason, 0, source, filled_lots)
        reports.append(report)
    expected = outcome_by_hand(reports)
    arrival = data.draw(st.permutations(reports + data.draw(st.lists(st.sampled_from(reports), max_size=4))))
    twin = copies(kit, order)
    recorder, outcome = outcome_by_the_reducer(kit, twin, arrival)
    assert outcome == expected
    check_events(recorder, twin, arrival)
