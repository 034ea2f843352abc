"""Orders of an earlier process: what was published of them, and how the venue settles them."""

import pytest

from latentspeed.connectors import (
    OrderState,
    OrderType,
    TradeType,
    restore_order,
)

S = OrderState


def restored(kit, state, **more):
    template = kit.make_order()
    return restore_order(
        template.client_order_id, kit.RULE, TradeType.BUY, OrderType.LIMIT, 10, 500_000, state=state, **more
    )


@pytest.mark.parametrize(
    ("state", "known"),
    [
        (S.PENDING_CREATE, {}),
        (S.PENDING_SUBMIT, {"nonce": 5, "venue_expiry_ms": 9}),
        (S.PENDING_SUBMIT, {"exchange_order_id": "77"}),
        (S.OPEN, {"exchange_order_id": "77"}),
        (S.OPEN, {}),
        (S.PARTIALLY_FILLED, {"filled_lots": 4, "fill_count": 2, "average_price": 50000.5, "trade_ids": ["1", "2"]}),
        (S.PENDING_CANCEL, {"exchange_order_id": "77", "filled_lots": 1, "average_price": 50000.0}),
        (S.PENDING_CANCEL, {}),
        (S.FILLED, {"filled_lots": 10, "average_price": 50000.0}),
        (S.CANCELLED, {"filled_lots": 3, "average_price": 50000.0, "reason": "canceled"}),
        (S.EXPIRED, {"reason": "never_sent"}),
        (S.FAILED, {"reason": "no margin", "exchange_order_id": "77"}),
    ],
)
def test_a_restored_order_is_what_was_published_of_it(kit, state, known):
    order = restored(kit, state, revision=9, fee_units=12, fee_asset="USDC", **known)
    assert (order.state, order.revision, order.fee_units) == (state, 9, 12)
    for name, value in known.items():
        expected = set(value) if name == "trade_ids" else value
        assert getattr(order, name) == expected, name


def test_a_restored_average_price_gives_back_the_exact_sum(kit):
    exact = 7 * 500_010 + 2 * 500_020
    average = kit.RULE.average_price(exact, 9)
    assert restored(kit, S.PARTIALLY_FILLED, filled_lots=9, average_price=average).notional_units == exact


def test_recovered_orders_are_settled_by_the_venue_and_not_by_guessing(kit):
    tracker, recorder, _ = kit.make_tracker()
    unsigned, signed = restored(kit, S.PENDING_CREATE), restored(kit, S.PENDING_SUBMIT, venue_expiry_ms=1)
    live, done = restored(kit, S.OPEN, exchange_order_id="77"), restored(kit, S.CANCELLED)
    tracker.recover_orders([unsigned, signed, live, done])
    assert (unsigned.state, unsigned.reason) == (S.FAILED, "never_sent")
    assert (signed.state, signed.is_unknown, signed.reason) == (S.PENDING_SUBMIT, True, "recovered")
    assert tracker.active_orders == [signed, live]
    assert tracker.get_order_by_exchange_id("77") is live
    assert recorder.take() == ["failed", "updated"]
    tracker.process_order_update(kit.update(live, S.OPEN, exchange_order_id="77"))
    assert recorder.take() == [], "its creation was told by the earlier process"
    tracker.process_order_not_found(signed.client_order_id)
    assert (signed.state, signed.reason) == (S.FAILED, "never_accepted")


def test_fills_that_the_earlier_process_counted_are_not_counted_again(kit):
    tracker, _recorder, _ = kit.make_tracker()
    order = restored(
        kit, S.PARTIALLY_FILLED, filled_lots=3, average_price=50000.0, trade_ids=["own"], exchange_order_id="77"
    )
    tracker.recover_orders(
        [order], known_trade_ids=["known", (order.client_order_id, "pair")], counted_until_utc_ns=1_000
    )
    fresh = kit.make_order(10)
    tracker.start_tracking_order(fresh)
    for trade_id, time_ns in (("own", 5_000), ("known", 5_000), ("pair", 5_000), ("old", 999)):
        assert tracker.process_trade_update(kit.fill(order, trade_id, 1, venue_utc_ns=time_ns)) is False, trade_id
    assert order.filled_lots == 3
    assert tracker.process_trade_update(kit.fill(order, "new", 1, venue_utc_ns=1_000)) is True
    assert order.filled_lots == 4
    assert tracker.process_trade_update(kit.fill(fresh, "known", 1, venue_utc_ns=999)) is True, "made in this process"
    stranger = kit.make_order()
    tracker.process_trade_update(kit.fill(stranger, "history", 1, venue_utc_ns=999))
    tracker.process_trade_update(kit.fill(stranger, "known", 1, venue_utc_ns=5_000))
    assert tracker.held_count == 0


def test_a_row_that_says_filled_without_its_fills_comes_back_live_and_awaiting(kit):
    tracker, _, _ = kit.make_tracker()
    order = restored(kit, S.FILLED, filled_lots=9, average_price=50000.0)
    tracker.recover_orders([order])
    assert (order.state, order.is_awaiting_fills) == (S.PARTIALLY_FILLED, True)
    assert tracker.orders_awaiting_fills == [order]
