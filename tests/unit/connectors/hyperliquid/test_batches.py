"""What waits leaves in batches that suit each kind of order, and nothing is left behind or sent twice."""

from __future__ import annotations

import time
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentspeed.connectors.client_order_id import IN_PROCESS_SLOT, format_client_order_id, join
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.hyperliquid.batches import ActionKind, WaitingPlaces
from latentspeed.connectors.hyperliquid.messages import AssetMeta
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.hyperliquid.order_forms import OrderForms
from latentspeed.connectors.hyperliquid.wire import encode_cloid
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import OrderState, OrderType, ReportSource, TimeInForce, TradeType

BTC = perpetual_rule(AssetMeta(name="BTC", szDecimals=5, maxLeverage=40), 3)
_numbers = count(1)


class Desk:
    """A waiting line, and what was ended in it."""

    def __init__(self, life_ms=5000):
        self.tracker = ClientOrderTracker()
        self.ended = {}
        self.quote = 640_000
        forms = OrderForms(lambda order: encode_cloid(7, 1, order.id64), lambda order: self.quote)
        self.waiting = WaitingPlaces(self.tracker, forms, self.end, life_ms=life_ms)

    def end(self, order, state, reason):
        self.ended[order.client_order_id] = (state, reason)
        self.tracker.process_order_update(
            OrderUpdate(order.client_order_id, state=state, reason=reason, source=ReportSource.LOCAL)
        )

    def make(self, order_type=OrderType.LIMIT, **more):
        name = format_client_order_id(join(7, IN_PROCESS_SLOT, next(_numbers)))
        price_units = 600_000 if order_type.has_price else 0
        trigger_units = 610_000 if order_type.has_trigger else 0
        order = InFlightOrder(
            name, BTC, TradeType.BUY, order_type, 1000, price_units, trigger_units=trigger_units, **more
        )
        self.tracker.start_tracking_order(order)
        return order

    def add(self, order_type=OrderType.LIMIT, **more):
        order = self.make(order_type, **more)
        self.waiting.add(order)
        return order

    def group(self, *order_types, **more):
        orders = [self.make(order_type, **more) for order_type in order_types]
        for order in orders:
            order.group = tuple(each.client_order_id for each in orders)
            self.waiting.add(order)
        return orders

    def drain(self, most=40):
        """Every batch until nothing leaves any more: [(kind, orders)]."""
        batches = []
        while (batch := self.waiting.next_batch(most)) is not None:
            self.waiting.remove(batch.orders)
            batches.append((batch.kind, batch.orders))
        return batches


@pytest.fixture
def desk():
    return Desk()


def replacement(desk, state=OrderState.OPEN):
    old = desk.make()
    desk.tracker.process_order_update(OrderUpdate(old.client_order_id, "77", state))
    return old, desk.add(replaces=old.client_order_id)


def cancel_locally(desk, order):
    desk.tracker.process_order_update(
        OrderUpdate(order.client_order_id, state=OrderState.CANCELLED, reason="never_sent", source=ReportSource.LOCAL)
    )


def test_post_only_orders_leave_apart_from_those_that_may_take(desk):
    orders = [desk.add(kind) for kind in (OrderType.LIMIT_MAKER, OrderType.LIMIT, OrderType.LIMIT_MAKER)]
    orders.append(desk.add(OrderType.STOP_MARKET))
    posted, taken = desk.drain()
    assert posted == (ActionKind.POST, [orders[0], orders[2]])
    assert taken == (ActionKind.TAKE, [orders[1], orders[3]])


def test_an_order_that_expires_soon_does_not_cut_the_life_of_others(desk):
    soon = time.monotonic_ns() + 500_000_000
    orders = [desk.add(), desk.add(expire_mono_ns=soon), desk.add()]
    batch = desk.waiting.next_batch(40)
    assert (batch.orders, batch.life_ms) == ([orders[0], orders[2]], 5000)
    desk.waiting.remove(batch.orders)
    batch = desk.waiting.next_batch(40)
    assert batch.orders == [orders[1]]
    assert 0 < batch.life_ms <= 500


def test_no_more_orders_leave_at_once_than_may_but_a_group_is_never_taken_apart(desk):
    for _ in range(5):
        desk.add()
    group = desk.group(OrderType.LIMIT, OrderType.TAKE_PROFIT_MARKET, OrderType.STOP_MARKET)
    assert [len(orders) for _, orders in desk.drain(most=2)] == [2, 2, 1, 3]
    assert all(order.client_order_id not in desk.ended for order in group)


def test_a_market_order_without_a_quote_ends_here_and_holds_up_nobody(desk):
    desk.quote = 0
    orders = [desk.add(OrderType.MARKET), desk.add()]
    assert desk.drain() == [(ActionKind.TAKE, [orders[1]])]
    assert desk.ended[orders[0].client_order_id][0] is OrderState.FAILED


def test_an_order_whose_time_has_passed_ends_expired(desk):
    order = desk.add(expire_mono_ns=1)
    assert desk.drain() == []
    assert desk.ended == {order.client_order_id: (OrderState.EXPIRED, "never_sent")}
    assert len(desk.waiting) == 0


def test_replacements_share_an_action_that_names_what_each_replaces(desk):
    pairs = [replacement(desk) for _ in range(3)]
    plain = desk.add()
    batch = desk.waiting.next_batch(40)
    assert (batch.kind, batch.orders) == (ActionKind.REPLACE, [new for _, new in pairs])
    action = batch.action()
    assert action["type"] == "batchModify"
    assert [entry["oid"] for entry in action["modifies"]] == [encode_cloid(7, 1, old.id64) for old, _ in pairs]
    kept = batch.keep([True, False, True]).action()["modifies"]
    assert kept == [action["modifies"][0], action["modifies"][2]]
    desk.waiting.remove(batch.orders)
    assert desk.drain() == [(ActionKind.TAKE, [plain])]


@pytest.mark.parametrize("end", [OrderState.CANCELLED, OrderState.FILLED, "being cancelled", "forgotten"])
def test_a_replacement_of_what_has_ended_is_never_sent(desk, end):
    old, new = replacement(desk)
    if end == "forgotten":
        desk.tracker.stop_tracking_order(old.client_order_id)
    elif end == "being cancelled":
        desk.tracker.mark_cancel_requested(old)
    else:
        old.state = end
    assert desk.drain() == []
    assert desk.ended[new.client_order_id][0] is OrderState.FAILED
    assert "has ended or is being cancelled" in new.reason


def test_a_group_waits_until_all_of_it_is_there_and_goes_alone(desk):
    orders = [desk.make(kind) for kind in (OrderType.LIMIT, OrderType.TAKE_PROFIT_MARKET, OrderType.STOP_MARKET)]
    for order in orders:
        order.group = tuple(each.client_order_id for each in orders)
    plain = desk.add()
    for order in orders[1:]:
        desk.waiting.add(order)
    assert desk.drain() == [(ActionKind.TAKE, [plain])], "the entry is still being prepared"
    assert len(desk.waiting) == 2
    desk.waiting.add(orders[0])
    kind, sent = desk.drain()[0]
    assert (kind, sent) == (ActionKind.WITH_EXITS, orders)


def test_a_group_leaves_without_an_exit_that_was_cancelled_and_not_without_its_entry(desk):
    orders = desk.group(OrderType.LIMIT, OrderType.TAKE_PROFIT_MARKET, OrderType.STOP_MARKET)
    cancel_locally(desk, orders[1])
    assert desk.drain() == [(ActionKind.WITH_EXITS, [orders[0], orders[2]])]
    orders = desk.group(OrderType.LIMIT, OrderType.TAKE_PROFIT_MARKET, OrderType.STOP_MARKET)
    cancel_locally(desk, orders[0])
    assert desk.drain() == []
    assert [desk.ended[order.client_order_id][0] for order in orders[1:]] == [OrderState.FAILED] * 2
    assert len(desk.waiting) == 0


def test_a_group_whose_entry_cannot_be_priced_ends_as_a_whole(desk):
    desk.quote = 0
    orders = desk.group(OrderType.MARKET, OrderType.TAKE_PROFIT_MARKET, OrderType.STOP_MARKET)
    assert desk.drain() == []
    assert [desk.ended[order.client_order_id][0] for order in orders] == [OrderState.FAILED] * 3
    assert len(desk.waiting) == 0


def test_exits_of_a_position_are_sent_as_such_without_a_size(desk):
    orders = desk.group(OrderType.TAKE_PROFIT_MARKET, OrderType.STOP_LIMIT, has_open_size=True)
    batch = desk.waiting.next_batch(40)
    assert (batch.kind, batch.orders) == (ActionKind.POSITION_EXITS, orders)
    action = batch.action()
    assert action["grouping"] == "positionTpsl"
    assert [entry["s"] for entry in action["orders"]] == ["0", "0"]


KINDS = st.sampled_from(
    [OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.MARKET, OrderType.STOP_LIMIT, "ioc", "modify"]
)


@given(st.lists(st.tuples(KINDS, st.sampled_from([0, 1, 300, 4000])), max_size=30), st.integers(1, 7))
def test_every_order_leaves_once_or_ends_and_those_of_a_kind_keep_their_order(wanted, most):
    desk = Desk()
    added = []
    now_ns = time.monotonic_ns()
    for kind, life_ms in wanted:
        if kind == "modify":
            added.append(replacement(desk)[1])
            continue
        more = {"time_in_force": TimeInForce.IOC} if kind == "ioc" else {}
        expire = now_ns + life_ms * 1_000_000 if life_ms else 0
        added.append(desk.add(OrderType.LIMIT if kind == "ioc" else kind, expire_mono_ns=expire, **more))
    batches = desk.drain(most)
    sent = [order for _, orders in batches for order in orders]
    assert len(desk.waiting) == 0
    assert sorted([order.client_order_id for order in sent] + list(desk.ended)) == sorted(
        order.client_order_id for order in added
    )
    assert all(1 <= len(orders) <= most for _, orders in batches)
    for kind in ActionKind:
        long_lived = [
            order.id64 for of, orders in batches if of is kind for order in orders if not order.expire_mono_ns
        ]
        assert long_lived == sorted(long_lived)
