"""Every state of an order against everything that can happen to it: the state after it, and the events."""

import pytest

from latentspeed.connectors import OrderState, ReportSource

LOTS = 10


def sign(kit, tracker, order):
    tracker.mark_signed(order, nonce=5, venue_expiry_ms=1_000)


def lose(kit, tracker, order):
    tracker.mark_unknown(order.client_order_id, "timeout")


def report(state, **more):
    return lambda kit, tracker, order: tracker.process_order_update(kit.update(order, state, **more))


def fill(trade_id, lots):
    return lambda kit, tracker, order: tracker.process_trade_update(kit.fill(order, trade_id, lots))


def request_cancel(kit, tracker, order):
    tracker.mark_cancel_requested(order)


def refuse_cancel(kit, tracker, order):
    tracker.process_cancel_failed(order.client_order_id, "never placed, already canceled, or filled")


def not_found_early(kit, tracker, order):
    tracker.process_order_not_found(order.client_order_id, now_utc_ns=0)


def not_found_late(kit, tracker, order):
    tracker.process_order_not_found(order.client_order_id, now_utc_ns=3600 * 10**9)


OPEN, FILLED, CANCELLED, EXPIRED, FAILED = (
    report(state)
    for state in (OrderState.OPEN, OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.FAILED)
)
NEVER_ACCEPTED = report(OrderState.FAILED, reason="never_accepted", source=ReportSource.INFERRED)
SNAPSHOT_OPEN = report(OrderState.OPEN, source=ReportSource.SNAPSHOT)

# How each state is reached.
STATES = {
    "PENDING_CREATE": [],
    "PENDING_SUBMIT": [sign],
    "unknown": [sign, lose],
    "OPEN": [sign, OPEN],
    "PARTIALLY_FILLED": [sign, OPEN, fill("1", 4)],
    "awaiting fills": [sign, FILLED],
    "PENDING_CANCEL": [sign, OPEN, request_cancel],
    "cancel refused": [sign, OPEN, request_cancel, refuse_cancel],
    "FILLED": [sign, OPEN, fill("1", 4), fill("2", 6)],
    "CANCELLED": [sign, OPEN, CANCELLED],
    "EXPIRED": [sign, EXPIRED],
    "FAILED": [sign, FAILED],
    "never accepted": [sign, NEVER_ACCEPTED],
}
STIMULI = {
    "signed": sign,
    "lost": lose,
    "open": OPEN,
    "open in a snapshot": SNAPSHOT_OPEN,
    "part of a fill": fill("1", 4),
    "the rest of a fill": fill("2", 6),
    "a whole fill": fill("3", LOTS),
    "filled": FILLED,
    "cancelled": CANCELLED,
    "expired": EXPIRED,
    "failed": FAILED,
    "never accepted": NEVER_ACCEPTED,
    "cancel requested": request_cancel,
    "cancel refused": refuse_cancel,
    "not found, early": not_found_early,
    "not found, late": not_found_late,
}
# Every change that there is: the state after it and what is known besides, and the events in their order. Whatever is
# not in the table changes nothing and emits nothing.
LEGAL = {
    "PENDING_CREATE": {
        "signed": ("PENDING_SUBMIT", "updated"),
        "lost": ("PENDING_SUBMIT, unknown", "updated"),
        "open": ("OPEN", "created"),
        "open in a snapshot": ("OPEN", "created"),
        "part of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "the rest of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "a whole fill": ("FILLED", "created filled completed"),
        "filled": ("OPEN, awaiting fills", "created"),
        "cancelled": ("CANCELLED", "created cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "failed"),
        "never accepted": ("FAILED", "failed"),
        "cancel requested": ("PENDING_CANCEL", "updated"),
    },
    "PENDING_SUBMIT": {
        "lost": ("PENDING_SUBMIT, unknown", "updated"),
        "open": ("OPEN", "created"),
        "open in a snapshot": ("OPEN", "created"),
        "part of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "the rest of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "a whole fill": ("FILLED", "created filled completed"),
        "filled": ("OPEN, awaiting fills", "created"),
        "cancelled": ("CANCELLED", "created cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "failed"),
        "never accepted": ("FAILED", "failed"),
        "cancel requested": ("PENDING_CANCEL", "updated"),
        "not found, late": ("FAILED", "failed"),
    },
    "unknown": {
        "open": ("OPEN", "created"),
        "open in a snapshot": ("OPEN", "created"),
        "part of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "the rest of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "a whole fill": ("FILLED", "created filled completed"),
        "filled": ("OPEN, awaiting fills", "created"),
        "cancelled": ("CANCELLED", "created cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "failed"),
        "never accepted": ("FAILED", "failed"),
        "cancel requested": ("PENDING_CANCEL, unknown", "updated"),
        "not found, late": ("FAILED", "failed"),
    },
    "OPEN": {
        "part of a fill": ("PARTIALLY_FILLED", "partially_filled"),
        "the rest of a fill": ("PARTIALLY_FILLED", "partially_filled"),
        "a whole fill": ("FILLED", "filled completed"),
        "filled": ("OPEN, awaiting fills", "updated"),
        "cancelled": ("CANCELLED", "cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "failed"),
        "cancel requested": ("PENDING_CANCEL", "updated"),
    },
    "PARTIALLY_FILLED": {
        "the rest of a fill": ("FILLED", "filled completed"),
        "a whole fill": ("FILLED", "filled completed"),
        "filled": ("PARTIALLY_FILLED, awaiting fills", "updated"),
        "cancelled": ("CANCELLED", "cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "failed"),
        "cancel requested": ("PENDING_CANCEL", "updated"),
    },
    "awaiting fills": {
        "part of a fill": ("PARTIALLY_FILLED, awaiting fills", "partially_filled"),
        "the rest of a fill": ("PARTIALLY_FILLED, awaiting fills", "partially_filled"),
        "a whole fill": ("FILLED", "filled completed"),
        "cancelled": ("CANCELLED, awaiting fills", "cancelled"),
        "expired": ("EXPIRED, awaiting fills", "expired"),
        "failed": ("FAILED, awaiting fills", "failed"),
        "cancel requested": ("PENDING_CANCEL, awaiting fills", "updated"),
    },
    "PENDING_CANCEL": {
        "part of a fill": ("PENDING_CANCEL", "partially_filled"),
        "the rest of a fill": ("PENDING_CANCEL", "partially_filled"),
        "a whole fill": ("FILLED", "filled completed"),
        "filled": ("PENDING_CANCEL, awaiting fills", "updated"),
        "cancelled": ("CANCELLED", "cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "failed"),
        "cancel refused": ("PENDING_CANCEL, cancel refused", ""),
    },
    "cancel refused": {
        "open in a snapshot": ("OPEN", "updated"),
        "part of a fill": ("PENDING_CANCEL, cancel refused", "partially_filled"),
        "the rest of a fill": ("PENDING_CANCEL, cancel refused", "partially_filled"),
        "a whole fill": ("FILLED", "filled completed"),
        "filled": ("PENDING_CANCEL, awaiting fills, cancel refused", "updated"),
        "cancelled": ("CANCELLED", "cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "failed"),
        "cancel requested": ("PENDING_CANCEL", ""),
    },
    "FILLED": {
        "a whole fill": ("FILLED", "partially_filled"),
    },
    "CANCELLED": {
        "part of a fill": ("CANCELLED", "partially_filled"),
        "the rest of a fill": ("CANCELLED", "partially_filled"),
        "a whole fill": ("FILLED", "filled completed"),
        "filled": ("CANCELLED, awaiting fills", "updated"),
    },
    "EXPIRED": {
        "part of a fill": ("EXPIRED", "partially_filled"),
        "the rest of a fill": ("EXPIRED", "partially_filled"),
        "a whole fill": ("FILLED", "filled completed"),
        "filled": ("EXPIRED, awaiting fills", "updated"),
        "cancelled": ("CANCELLED", "cancelled"),
    },
    "FAILED": {
        "part of a fill": ("FAILED", "partially_filled"),
        "the rest of a fill": ("FAILED", "partially_filled"),
        "a whole fill": ("FILLED", "filled completed"),
        "filled": ("FAILED, awaiting fills", "updated"),
        "cancelled": ("CANCELLED", "cancelled"),
        "expired": ("EXPIRED", "expired"),
    },
    "never accepted": {
        "open": ("OPEN", "created"),
        "open in a snapshot": ("OPEN", "created"),
        "part of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "the rest of a fill": ("PARTIALLY_FILLED", "created partially_filled"),
        "a whole fill": ("FILLED", "created filled completed"),
        "filled": ("OPEN, awaiting fills", "created"),
        "cancelled": ("CANCELLED", "created cancelled"),
        "expired": ("EXPIRED", "expired"),
        "failed": ("FAILED", "updated"),
    },
}


def shown(order):
    """The state and what is known besides."""
    besides = {
        "unknown": order.is_unknown,
        "awaiting fills": order.is_awaiting_fills,
        "cancel refused": order.cancel_rejected and order.is_active,
    }
    return ", ".join([order.state.name, *(name for name, is_so in besides.items() if is_so)])


def reach(kit, state):
    """An order brought into a state, its tracker, and a recorder that starts now."""
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(LOTS)
    tracker.start_tracking_order(order)
    for step in STATES[state]:
        step(kit, tracker, order)
    recorder.take()
    return tracker, recorder, order


@pytest.mark.parametrize("stimulus", STIMULI)
@pytest.mark.parametrize("state", STATES)
def test_what_happens_to_an_order_in_each_state(kit, state, stimulus):
    tracker, recorder, order = reach(kit, state)
    before, revision = shown(order), order.revision
    STIMULI[stimulus](kit, tracker, order)
    events = recorder.take()
    expected_state, expected_events = LEGAL[state].get(stimulus, (before, ""))
    assert (shown(order), " ".join(events)) == (expected_state, expected_events), f"{stimulus} in {state}"
    assert order.revision == revision + len(events)
    assert order.is_active is (order in tracker.active_orders)


@pytest.mark.parametrize("stimulus", sorted(set(STIMULI) - {"cancel requested", "cancel refused"}))
@pytest.mark.parametrize("state", STATES)
def test_the_same_thing_twice_is_the_same_as_once(kit, state, stimulus):
    tracker, recorder, order = reach(kit, state)
    STIMULI[stimulus](kit, tracker, order)
    after = shown(order), order.filled_lots, order.revision
    recorder.take()
    STIMULI[stimulus](kit, tracker, order)
    assert (shown(order), order.filled_lots, order.revision) == after
    assert recorder.take() == []


def test_no_state_is_left_backwards_but_for_the_two_documented_exceptions():
    rank = [*OrderState][1:6]
    for state, row in LEGAL.items():
        for stimulus, (after, _) in row.items():
            start = OrderState[state] if state in OrderState.__members__ else None
            end = OrderState[after.split(",")[0]]
            if start is None or start.is_final:
                continue
            assert end.is_final or rank.index(end) >= rank.index(start), (state, stimulus)
    assert LEGAL["cancel refused"]["open in a snapshot"] == ("OPEN", "updated")
    assert LEGAL["never accepted"]["open"] == ("OPEN", "created")
