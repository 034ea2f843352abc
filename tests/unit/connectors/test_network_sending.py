"""What a network connector sends, in which order, what answers mean, cancels and leverage."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.network_venue import (
    DEADLINE_S,
    PARAMS,
    S,
    a_fill,
    in_loop,
    levered,
    until,
)

from latentspeed.connectors import (
    NotReady,
    OrderNeverSent,
    OrderUpdate,
    ReportSource,
    TradeType,
    VenueRejected,
    VenueUnreachable,
)


def test_nothing_is_sent_before_the_session_is_live_and_no_order_is_left_behind(connector):
    connector.initialize().result(DEADLINE_S)
    with pytest.raises(NotReady, match="DISCONNECTED"):
        connector.buy(PARAMS)
    assert connector.get_open_orders() == []
    connector.disconnect().result(DEADLINE_S)


def test_an_order_is_pending_submit_with_its_nonce_before_its_bytes_are_written(connector):
    async def scenario():
        order_ids = [connector.buy(PARAMS) for _ in range(3)]
        await until(lambda: len(connector.venue.arrived) == 3)
        assert connector.venue.arrived == [
            ("place", order_id, S.PENDING_SUBMIT, nonce) for nonce, order_id in enumerate(order_ids, 1)
        ]

    in_loop(connector, scenario)


def test_cancels_leave_before_places_that_wait_with_them(connector):
    async def scenario():
        first = connector.buy(PARAMS)
        await until(lambda: connector.get_order(first).state is S.OPEN)
        connector.buy(PARAMS)
        connector.cancel(first)
        await until(lambda: len(connector.venue.arrived) == 3)
        assert connector.venue.kinds() == ["place", "cancel", "place"]
        assert connector.venue.arrived[1][2] is S.PENDING_CANCEL

    in_loop(connector, scenario)


def test_a_cancel_that_meets_its_own_unsent_order_leaves_nothing_to_send(connector):
    async def scenario():
        order_id = connector.buy(PARAMS)
        assert connector.cancel(order_id) is True
        order = connector.get_order(order_id)
        await until(lambda: order.is_done)
        await asyncio.sleep(0.01)
        assert (order.state, order.reason, connector.venue.arrived) == (S.CANCELLED, "never_sent", [])
        assert connector.recorder.events == ["cancelled"]

    in_loop(connector, scenario)


def test_an_order_that_expired_before_it_was_signed_is_never_sent(connector):
    async def scenario():
        late = connector.create_order(TradeType.BUY, PARAMS, expire_mono_ns=time.monotonic_ns())
        timely = connector.create_order(TradeType.BUY, PARAMS, expire_mono_ns=time.monotonic_ns() + 10**10)
        connector.submit_order(late)
        connector.submit_order(timely)
        await until(lambda: timely.state is S.OPEN)
        assert (late.state, late.reason) == (S.EXPIRED, "never_sent")
        assert connector.venue.kinds() == ["place"]

    in_loop(connector, scenario)


OUTCOMES = [
    (VenueRejected("Insufficient margin"), S.FAILED, "Insufficient margin", False),
    (VenueUnreachable("timed out"), S.PENDING_SUBMIT, "timed out", True),
    (ConnectionResetError(), S.PENDING_SUBMIT, "ConnectionResetError", True),
    (OrderNeverSent("no socket"), S.FAILED, "no socket", False),
    (OrderNeverSent("never_sent", is_expired=True), S.EXPIRED, "never_sent", False),
]


@pytest.mark.parametrize(("outcome", "state", "reason", "is_unknown"), OUTCOMES)
def test_only_an_answer_ends_an_order_and_silence_leaves_it_unknown(connector, outcome, state, reason, is_unknown):
    async def scenario():
        connector.venue.outcome = outcome
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.is_done or order.is_unknown)
        assert (order.state, order.reason, order.is_unknown) == (state, reason, is_unknown)
        if is_unknown:
            assert connector.recorder.errors == ["place_unanswered"]
            await until(lambda: [order.client_order_id] in connector.queried)

    in_loop(connector, scenario)


def test_the_stream_may_tell_the_whole_story_before_the_reply(connector):
    async def scenario():
        connector.venue.hold = asyncio.Event()
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: connector.venue.arrived)
        connector.order_tracker.process_order_update(OrderUpdate(order.client_order_id, "77", S.OPEN))
        connector.order_tracker.process_trade_update(a_fill(order))
        connector.venue.hold.set()
        await until(lambda: not connector._tasks)
        assert connector.recorder.events == ["updated", "created", "filled", "completed"]

    in_loop(connector, scenario)


def test_a_batch_that_cannot_be_sent_settles_each_order_by_whether_it_was_signed(connector, monkeypatch):
    def half_signed(cancels, places):
        connector._mark_signed(places[0], nonce=1)
        raise RuntimeError("encoder broke")

    async def scenario():
        resting = connector.get_order(connector.buy(PARAMS))
        await until(lambda: resting.state is S.OPEN)
        with monkeypatch.context() as patch:
            patch.setattr(connector, "_flush_outbox", half_signed)
            connector.cancel(resting.client_order_id)
            signed, unsigned = (connector.get_order(connector.buy(PARAMS)) for _ in range(2))
            await until(lambda: unsigned.is_done)
        assert (signed.state, signed.is_unknown) == (S.PENDING_SUBMIT, True)
        assert (unsigned.state, unsigned.reason) == (S.FAILED, "never_sent")
        assert resting.state is S.PENDING_CANCEL
        assert "send_failed" in connector.recorder.errors
        await until(lambda: resting.is_done)
        assert resting.state is S.CANCELLED, "the cancel is sent again"

    in_loop(connector, scenario)


# Cancelling.


def test_a_cancel_without_an_answer_is_repeated_until_there_is_one(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        connector.venue.cancel_outcome = VenueUnreachable("timed out")
        connector.cancel(order.client_order_id)
        await until(lambda: connector.venue.kinds().count("cancel") >= 3)
        assert order.state is S.PENDING_CANCEL
        connector.venue.cancel_outcome = True
        await until(lambda: order.is_done)
        assert order.state is S.CANCELLED

    in_loop(connector, scenario)


def test_a_refused_cancel_ends_nothing_and_asks_the_venue_what_the_order_is(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        connector.venue.cancel_outcome = VenueRejected("Order was never placed, already canceled, or filled.")
        connector.cancel(order.client_order_id)
        await until(lambda: [order.client_order_id] in connector.queried)
        assert order.state is S.PENDING_CANCEL
        assert connector.venue.kinds().count("cancel") == 1, "a refused cancel is not repeated by itself"
        connector.order_tracker.process_order_update(
            OrderUpdate(order.client_order_id, state=S.OPEN, source=ReportSource.SNAPSHOT)
        )
        assert order.state is S.OPEN
        connector.venue.cancel_outcome = True
        assert connector.cancel(order.client_order_id) is True
        await until(lambda: order.state is S.CANCELLED)

    in_loop(connector, scenario)


def test_asking_ten_times_for_one_cancel_sends_one(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        assert all(connector.cancel(order.client_order_id) for _ in range(10))
        await until(lambda: order.is_done)
        assert connector.venue.kinds() == ["place", "cancel"]
        assert connector.cancel(order.client_order_id) is False

    in_loop(connector, scenario)


def test_cancel_all_cancels_what_is_live(connector):
    async def scenario():
        orders = [connector.get_order(connector.buy(PARAMS)) for _ in range(5)]
        await until(lambda: all(order.state is S.OPEN for order in orders))
        assert connector.cancel_all() == 5
        await until(lambda: all(order.state is S.CANCELLED for order in orders))
        assert connector.cancel_all() == 0

    in_loop(connector, scenario)


def test_missing_fills_are_fetched(connector):
    async def scenario():
        order = connector.get_order(connector.buy(PARAMS))
        await until(lambda: order.state is S.OPEN)
        connector.order_tracker.process_order_update(OrderUpdate(order.client_order_id, state=S.FILLED))
        await until(lambda: [order.client_order_id] in connector.fetched)

    in_loop(connector, scenario)


# Leverage.


def test_leverage_is_acknowledged_before_its_order_is_sent(connector):
    async def scenario():
        with_leverage = connector.get_order(connector.buy(levered(5)))
        without = connector.get_order(connector.buy(PARAMS))
        await until(lambda: with_leverage.state is S.OPEN)
        assert connector.venue.kinds() == ["leverage", "place", "leverage acknowledged", "place"]
        assert connector.venue.arrived[1][1] == without.client_order_id, "nobody else waits for it"
        assert connector.get_leverage("BTC-USD") == 5
        again = connector.get_order(connector.buy(levered(5)))
        await until(lambda: again.state is S.OPEN)
        assert connector.venue.kinds().count("leverage") == 1, "what is in force is not asked for again"

    in_loop(connector, scenario)


def test_orders_that_want_the_same_leverage_share_one_request_and_others_queue(connector):
    async def scenario():
        orders = [connector.get_order(connector.buy(levered(leverage))) for leverage in (5, 5, 7, 7, 5)]
        await until(lambda: all(order.state is S.OPEN for order in orders))
        asked = [leverage for kind, leverage, *_ in connector.venue.arrived if kind == "leverage acknowledged"]
        assert asked == [5, 7, 5]

    in_loop(connector, scenario)


def test_an_order_whose_leverage_is_refused_fails_with_the_reason_and_is_never_sent(connector):
    async def scenario():
        connector.venue.leverage_error = VenueRejected("Invalid leverage value")
        orders = [connector.get_order(connector.buy(levered(leverage))) for leverage in (5, 5, 7)]
        await until(lambda: all(order.is_done for order in orders))
        assert {order.state for order in orders} == {S.FAILED}
        assert {order.reason for order in orders} == {"not_prepared: Invalid leverage value"}
        assert "place" not in connector.venue.kinds()
        connector.venue.leverage_error = None
        after = connector.get_order(connector.buy(levered(5)))
        await until(lambda: after.state is S.OPEN)

    in_loop(connector, scenario)


def test_an_order_that_waits_for_its_leverage_can_be_cancelled_or_expire_unsent(connector):
    async def scenario():
        cancelled = connector.get_order(connector.buy(levered(5)))
        soon = time.monotonic_ns() + 100_000
        expiring = connector.create_order(TradeType.BUY, levered(5), expire_mono_ns=soon)
        connector.submit_order(expiring)
        await until(lambda: connector.venue.kinds() == ["leverage"] or connector.venue.arrived)
        connector.cancel(cancelled.client_order_id)
        await until(lambda: cancelled.is_done and expiring.is_done)
        assert (cancelled.state, cancelled.reason) == (S.CANCELLED, "never_sent")
        assert (expiring.state, expiring.reason) == (S.EXPIRED, "never_sent")
        await until(lambda: not connector._tasks)
        assert "place" not in connector.venue.kinds()
        assert not connector._prepared

    in_loop(connector, scenario)
