"""What the tracker keeps, holds, gives up and forgets, and what it tells of it."""

import pytest

from latentspeed.connectors import (
    ConnectorError,
    OrderEnded,
    OrderState,
    ReportSource,
)

S = OrderState


def test_a_fill_that_overtakes_the_reply_is_counted_when_the_reply_names_its_order(kit):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    early = kit.fill(order, "1", 4, client_order_id=None, exchange_order_id="77")
    assert tracker.process_trade_update(early) is False
    assert tracker.held_count == 1
    tracker.process_order_update(kit.update(order, S.OPEN, exchange_order_id="77"))
    assert recorder.take() == ["created", "partially_filled"]
    assert (order.filled_lots, tracker.held_count) == (4, 0)


def test_reports_of_an_order_that_is_not_tracked_yet_wait_for_it(kit):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.process_trade_update(kit.fill(order, "1", 10))
    tracker.process_order_update(kit.update(order, S.OPEN, exchange_order_id="77"))
    assert recorder.events == []
    tracker.start_tracking_order(order)
    assert recorder.take() == ["created", "filled", "completed"]
    assert tracker.get_order_by_exchange_id("77") is order


def test_a_fill_that_no_order_claims_in_time_is_told_once_without_an_order(kit):
    tracker, recorder, clock = kit.make_tracker(held_age_s=10.0)
    stranger = kit.make_order(10)
    foreign = kit.fill(stranger, "1", 4)
    tracker.process_trade_update(foreign)
    clock.advance(9.9)
    tracker.sweep()
    assert recorder.errors == []
    clock.advance(0.2)
    tracker.sweep()
    assert recorder.errors == ["fill_of_unknown_order"]
    assert recorder.trades == [(None, "1")]
    tracker.process_trade_update(foreign)
    clock.advance(20)
    tracker.sweep()
    assert recorder.trades == [(None, "1")], "the next snapshot of fills repeats it, and nobody hears of it again"
    assert tracker.unmatched_fills == 1


def test_holding_is_bounded_and_the_oldest_fill_gives_way(kit):
    tracker, recorder, _ = kit.make_tracker(held_capacity=3)
    strangers = [kit.make_order(10) for _ in range(5)]
    for number, stranger in enumerate(strangers):
        tracker.process_trade_update(kit.fill(stranger, str(number), 1))
        tracker.process_order_update(kit.update(stranger, S.OPEN))
    assert tracker.held_count == 6
    assert recorder.trades == [(None, "0"), (None, "1")]


def test_a_flood_of_foreign_order_reports_does_not_push_out_a_fill(kit):
    tracker, recorder, _ = kit.make_tracker(held_capacity=3)
    order = kit.make_order(10)
    tracker.process_trade_update(kit.fill(order, "1", 4))
    for _ in range(50):
        tracker.process_order_update(kit.update(kit.make_order(), S.OPEN))
    tracker.start_tracking_order(order)
    assert order.filled_lots == 4
    assert recorder.errors == []


def test_foreign_fills_are_told_once_and_are_no_error(kit):
    tracker, recorder, _ = kit.make_tracker()
    foreign = kit.fill(kit.make_order(), "1", 4, client_order_id=None, exchange_order_id="5")
    assert tracker.process_foreign_trade(foreign) is True
    assert tracker.process_foreign_trade(foreign) is False
    assert (recorder.trades, recorder.errors) == ([(None, "1")], [])


def test_finished_orders_are_kept_in_bounded_number_and_time(kit):
    tracker, _, clock = kit.make_tracker(finished_capacity=3, finished_age_s=60)
    orders = [kit.make_order(10) for _ in range(5)]
    for number, order in enumerate(orders):
        tracker.start_tracking_order(order)
        tracker.process_order_update(kit.update(order, S.CANCELLED, exchange_order_id=str(number)))
    assert [tracker.get_order(order.client_order_id) is order for order in orders] == [False, False, True, True, True]
    assert tracker.get_order_by_exchange_id("0") is None
    assert tracker.get_order_by_exchange_id("4") is orders[4]
    clock.advance(61)
    tracker.sweep()
    assert tracker.fillable_orders == []


def test_a_late_fill_finds_its_finished_order(kit):
    tracker, recorder, clock = kit.make_tracker(finished_age_s=60)
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_order_update(kit.update(order, S.CANCELLED, exchange_order_id="77"))
    clock.advance(30)
    tracker.sweep()
    tracker.process_trade_update(kit.fill(order, "1", 3, client_order_id=None, exchange_order_id="77"))
    assert (order.state, order.filled_lots) == (S.CANCELLED, 3)
    assert recorder.take() == ["created", "cancelled", "partially_filled"]
    assert tracker.reducer.late_fills == 1


def test_nothing_grows_over_many_orders(kit):
    tracker, _, clock = kit.make_tracker(finished_capacity=10, held_capacity=10, finished_age_s=1e9)
    for number in range(500):
        order = kit.make_order(10)
        tracker.start_tracking_order(order)
        tracker.process_order_update(kit.update(order, S.FILLED, exchange_order_id=str(number)))
        if number % 2:
            tracker.process_trade_update(kit.fill(order, "1", 10))
        else:
            tracker.process_order_update(kit.update(order, S.CANCELLED))
        tracker.process_trade_update(kit.fill(kit.make_order(), "9", 1))
        tracker.process_order_update(kit.update(kit.make_order(), S.OPEN))
        clock.advance(1)
    registry = tracker._registry
    assert len(registry) == len(registry._by_exchange_id) == len(registry._finished) == 10
    assert len(tracker.reducer.awaiting_fills) <= 10
    assert tracker.held_count == 20
    assert len(tracker._unmatched_fills._held._by_id) == 10
    assert len(tracker._unmatched_fills._given_up) <= 500


def test_two_orders_cannot_have_one_id_and_starting_twice_is_harmless(kit):
    tracker, recorder, _ = kit.make_tracker()
    order, other = kit.make_order(), kit.make_order()
    other.client_order_id = order.client_order_id
    tracker.start_tracking_order(order)
    tracker.start_tracking_order(order)
    with pytest.raises(ValueError, match="is taken by"):
        tracker.start_tracking_order(other)
    assert tracker.active_orders == [order]
    assert recorder.events == []


def test_an_exchange_id_that_another_order_has_is_reported_and_not_taken_over(kit):
    tracker, recorder, _ = kit.make_tracker()
    first, second = kit.make_order(), kit.make_order()
    for order in (first, second):
        tracker.start_tracking_order(order)
        tracker.process_order_update(kit.update(order, S.OPEN, exchange_order_id="77"))
    assert recorder.errors == ["exchange_id_conflict"]
    assert tracker.get_order_by_exchange_id("77") is first
    assert second.exchange_order_id is None


def test_a_replaced_order_is_found_by_every_id_it_had_and_shows_the_newest(kit):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    for oid in ("99", "100", "98"):
        tracker.process_order_update(kit.update(order, S.OPEN, exchange_order_id=oid))
    assert order.exchange_order_id == "100"
    assert all(tracker.get_order_by_exchange_id(oid) is order for oid in ("98", "99", "100"))


@pytest.mark.parametrize("wrong", [{"lots": 0}, {"lots": -1}, {"lots": 1, "trading_pair": "ETH-USD"}])
def test_a_fill_that_cannot_be_the_orders_is_an_error_and_not_counted(kit, wrong):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    assert tracker.process_trade_update(kit.fill(order, "1", **wrong)) is False
    assert recorder.errors == ["impossible_fill"]
    assert (order.filled_lots, recorder.events) == (0, [])


def test_more_fills_than_the_amount_are_counted_and_reported(kit):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_trade_update(kit.fill(order, "1", 8))
    tracker.process_trade_update(kit.fill(order, "2", 8))
    tracker.process_trade_update(kit.fill(order, "3", 8))
    assert (order.state, order.filled_lots, order.remaining_lots) == (S.FILLED, 24, 0)
    assert recorder.events == ["created", "partially_filled", "filled", "completed", "partially_filled"]
    assert recorder.errors == ["overfilled", "overfilled"]


# The venue says filled, and fills are missing.


def test_missing_fills_are_asked_for_once_and_the_order_waits_for_them(kit):
    tracker, _recorder, _ = kit.make_tracker()
    asked = []
    tracker.reducer.fills_missing_handler = asked.append
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_order_update(kit.update(order, S.FILLED, exchange_order_id="77"))
    tracker.process_order_update(kit.update(order, S.FILLED, exchange_order_id="77"))
    assert (order.state, order.is_awaiting_fills, asked) == (S.OPEN, True, [order])
    assert tracker.orders_awaiting_fills == [order]
    tracker.process_trade_update(kit.fill(order, "1", 10))
    assert (order.state, order.is_awaiting_fills, tracker.orders_awaiting_fills) == (S.FILLED, False, [])


def test_a_cancelled_order_waits_for_the_fills_that_the_venue_speaks_of(kit):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_order_update(kit.update(order, S.CANCELLED, filled_lots=3))
    assert (order.state, tracker.orders_awaiting_fills) == (S.CANCELLED, [order])
    tracker.process_trade_update(kit.fill(order, "1", 3))
    assert (order.state, order.filled_lots, tracker.orders_awaiting_fills) == (S.CANCELLED, 3, [])


def test_an_order_that_the_venue_shrank_ends_cancelled_when_its_fills_are_there(kit):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_trade_update(kit.fill(order, "1", 3))
    tracker.process_order_update(kit.update(order, S.FILLED, filled_lots=3))
    assert (order.state, order.reason, order.is_awaiting_fills) == (S.CANCELLED, "reduced", False)


# The venue does not know the order.


def test_not_found_proves_nothing_before_the_venue_expiry_and_a_margin(kit):
    tracker, _, _ = kit.make_tracker(never_accepted_margin_s=10.0)
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    assert tracker.process_order_not_found(order.client_order_id, now_utc_ns=10**20) is False, "it was never sent"
    tracker.mark_signed(order, nonce=1, venue_expiry_ms=100_000)
    tracker.mark_unknown(order.client_order_id, "timeout")
    assert tracker.process_order_not_found(order.client_order_id, now_utc_ns=109_999_999_999) is False
    assert (order.state, order.is_unknown, order.reason) == (S.PENDING_SUBMIT, True, "timeout")
    assert tracker.unknown_orders == [order]
    assert tracker.process_order_not_found(order.client_order_id, now_utc_ns=110_000_000_000) is True
    assert (order.state, order.is_unknown, order.reason) == (S.FAILED, False, "never_accepted")
    assert tracker.unknown_orders == []


def test_an_order_without_a_venue_expiry_stays_unknown(kit):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.mark_signed(order)
    assert tracker.process_order_not_found(order.client_order_id, now_utc_ns=10**20) is False
    assert order.is_active


def test_an_accepted_order_is_aged_out_only_when_it_is_absent_everywhere(kit):
    tracker, _recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.mark_signed(order, venue_expiry_ms=1)
    tracker.process_order_update(kit.update(order, S.OPEN))
    assert tracker.process_order_not_found(order.client_order_id) is False
    assert order.state is S.OPEN
    assert tracker.process_order_not_found(order.client_order_id, is_absent=True) is True
    assert (order.state, order.reason) == (S.CANCELLED, "aged_out")
    tracker.process_trade_update(kit.fill(order, "1", 10))
    assert order.state is S.FILLED


def test_an_order_that_the_venue_called_filled_is_not_aged_out_but_awaits_its_fills(kit):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_order_update(kit.update(order, S.FILLED))
    assert tracker.process_order_not_found(order.client_order_id, is_absent=True) is False
    assert (order.is_active, order.is_awaiting_fills) == (True, True)


def test_an_order_thought_never_accepted_is_live_again_when_the_venue_shows_it(kit):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.mark_signed(order, venue_expiry_ms=1)
    tracker.process_order_not_found(order.client_order_id)
    assert tracker.active_orders == []
    tracker.process_order_update(kit.update(order, S.OPEN, exchange_order_id="77"))
    assert tracker.active_orders == [order]
    assert recorder.take() == ["updated", "failed", "created"]


def test_a_signed_order_is_never_signed_again(kit):
    tracker, recorder, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    assert tracker.mark_signed(order, nonce=1) is True
    assert tracker.mark_signed(order, nonce=2) is False
    assert order.nonce == 1
    ended = kit.make_order(10)
    tracker.start_tracking_order(ended)
    tracker.process_order_update(kit.update(ended, S.CANCELLED, "never_sent", source=ReportSource.LOCAL))
    assert tracker.mark_signed(ended, nonce=3) is False
    assert "created" not in recorder.events


# Amounts and ids of an order.


def test_sums_are_exact_whatever_floats_would_do(kit):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(3000)
    tracker.start_tracking_order(order)
    for number in range(3000):
        tracker.process_trade_update(kit.fill(order, str(number), 1, price_units=500_000 + 10 * (number % 3)))
    assert order.state is S.FILLED
    assert (order.filled_lots, order.filled_amount) == (3000, 3.0)
    assert order.notional_units == sum(500_000 + 10 * (number % 3) for number in range(3000))
    assert order.average_price == 50001.0
    assert (order.fee_units, order.fee_paid, order.fee_asset) == (21000, 0.00021, "USDC")


def test_fees_in_several_assets_are_kept_apart(kit):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.process_trade_update(kit.fill(order, "1", 1, fee_units=5, fee_asset="USDC"))
    tracker.process_trade_update(kit.fill(order, "2", 1, fee_units=-2, fee_asset="BTC"))
    tracker.process_trade_update(kit.fill(order, "3", 1, fee_units=0, fee_asset=""))
    assert order.fees == {"USDC": 5, "BTC": -2}
    assert (order.fee_asset, order.fee_units) == ("BTC", -2)


def test_the_exchange_order_id_can_be_waited_for(kit):
    tracker, _, _ = kit.make_tracker()
    order, doomed = kit.make_order(), kit.make_order()
    for item in (order, doomed):
        tracker.start_tracking_order(item)
    waiting, hopeless = order.get_exchange_order_id(), doomed.get_exchange_order_id()
    assert not waiting.done()
    tracker.process_order_update(kit.update(order, S.OPEN, exchange_order_id="77"))
    tracker.process_order_update(kit.update(doomed, S.FAILED, "no margin"))
    assert waiting.result(0) == "77"
    assert order.get_exchange_order_id().result(0) == "77"
    with pytest.raises(OrderEnded, match="ended FAILED without"):
        hopeless.result(0)
    assert issubclass(OrderEnded, ConnectorError)


@pytest.mark.parametrize("is_swapped", [False, True])
def test_of_two_reasons_for_an_end_the_one_that_says_more_stays_whichever_comes_first(kit, is_swapped):
    tracker, _, _ = kit.make_tracker()
    order = kit.make_order(10)
    tracker.start_tracking_order(order)
    tracker.mark_signed(order)
    reasons = ["rejected", "postOnlyModeRejected: Only post-only orders allowed"]
    for reason in reversed(reasons) if is_swapped else reasons:
        tracker.process_order_update(kit.update(order, S.FAILED, reason=reason))
    assert order.reason == reasons[1]
