"""The simulated chain slices TWAP orders as the real one does: by its block clock, with what is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.dydx_desk import BTC_STEP, BTC_TICK

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.wire import OrderFlags, Side, Twap

OK = ("", 0)
TWAP = OrderFlags.TWAP


def place(trader, size, *, duration=300, interval=30, tolerance=10_000, side=Side.BUY, subticks=0, **more):
    order = trader.order(side, size, 0, flags=TWAP, twap=Twap(duration, interval, tolerance))
    message = wire.place_order(replace(order, subticks=subticks, **more))
    return order.id, trader.send(message, sequence=trader.desk.clock.now_ms)


def slices(desk):
    """The slice that lives, as (steps, dollars)."""
    living = [order for key, order in desk.chain.stateful.items() if key.flags == 256]
    return [(order.quantums // BTC_STEP, order.price / BTC_TICK) for order in living]


def interval(desk, seconds=30):
    desk.make_block(seconds * 1000)


def test_the_first_slice_comes_with_the_block_of_the_order_and_one_each_interval_after_it(desk, taker):
    _, sent = place(taker, 100)
    assert sent == OK
    desk.make_block()
    assert slices(desk) == [(10, 64_640)], "a tenth, a hundredth above the oracle price"
    desk.make_block(4000)
    assert not slices(desk), "good for three seconds"
    for left in range(9, 0, -1):
        interval(desk, 30)
        # Nothing was filled: what is left is spread over the slices that are left, up to three times the first.
        assert slices(desk) == [(min(100 // left, 30), 64_640)]
        desk.make_block(4000)
    interval(desk, 30)
    assert not slices(desk)
    assert not desk.chain.stateful, "over, with a rest"
    assert not [order for block in desk.notes.blocks for order, _ in block.removed if order.parent is None]


def test_fills_of_slices_are_the_parents(desk, maker, taker):
    assert maker.sell(100, 64_100, good_til_block=desk.chain.height + 30) == OK
    name, _ = place(taker, 100)
    for _ in range(10):
        desk.make_block(30_000)  # the slice is made
        desk.make_block()  # and its match is a fill
    assert taker.position() == 100
    (parent,) = [order for order in desk.chain.stateful.values() if order.key.flags == 128]
    assert (parent.key.client_id, parent.confirmed) == (name.client_id, 100 * BTC_STEP)
    interval(desk, 30)
    assert not desk.chain.stateful


def test_a_price_of_its_own_takes_the_place_of_the_oracles_and_a_sale_asks_for_less(desk, taker):
    place(taker, 100, subticks=63_000 * BTC_TICK)
    desk.make_block()
    assert slices(desk) == [(10, 63_000)]
    other = desk.trader("other")
    place(other, 100, side=Side.SELL, tolerance=50_000)
    desk.make_block()
    assert (10, 60_800) in slices(desk)


def test_a_cancel_ends_the_parent_and_its_living_slice(desk, taker):
    name, _ = place(taker, 100)
    desk.make_block()
    assert slices(desk)
    until = desk.clock.now_ms // 1000 + 7200
    cancel = wire.cancel_order(name, good_til_time=until)
    assert taker.send(cancel, sequence=desk.clock.now_ms) == OK
    desk.make_block()
    assert not desk.chain.stateful
    assert not desk.chain.memclob.resting
    (reason,) = [reason for order, reason in desk.notes.blocks[-1].removed if order.parent is None]
    assert reason.name == "USER_CANCELED"


def test_a_slice_that_cannot_be_paid_ends_its_parent(desk, taker):
    assert place(taker, 20_000_000)[1] == OK, "placing a TWAP takes no collateral"
    desk.make_block()
    assert not desk.chain.stateful
    ((order, reason),) = desk.notes.blocks[-1].removed
    assert (order.key.flags, reason.name) == (128, "UNDERCOLLATERALIZED")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"interval": 29}, 12),
        ({"interval": 3601, "duration": 7202}, 12),
        ({"duration": 270}, 12),
        ({"duration": 86_430}, 12),
        ({"interval": 40}, 12),
        ({"tolerance": 1_000_000}, 12),
        ({"size": 9}, 12),
        ({"twap": None}, 12),
        ({"subticks": BTC_TICK + 1}, 12),
        ({"reduce_only": True}, 9003),
    ],
)
def test_terms_that_the_chain_does_not_take_are_refused(desk, taker, wrong, code):
    assert place(taker, **{"size": 100, **wrong})[1] == ("clob", code)


def test_slices_are_not_for_users_and_a_twap_counts_once_for_the_equity_tier(desk, taker):
    order = taker.order(Side.BUY, 10, 64_000, flags=OrderFlags.LONG_TERM)
    stolen = replace(order, id=replace(order.id, flags=256))
    assert taker.send(wire.place_order(stolen), sequence=desk.clock.now_ms) == ("clob", 3000)
    place(taker, 100)
    desk.make_block()
    assert len(desk.chain.stateful) == 2
    assert taker.send(wire.place_order(order), sequence=desk.clock.now_ms + 1) == OK
