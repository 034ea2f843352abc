"""A venue, a lossy wire and a reducer: after a resync the books agree, whatever the wire did."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from latentspeed.connectors import OrderState, OrderUpdate, ReportSource, TradeType, TradeUpdate
from latentspeed.connectors.reconciliation import Reconciliation

AMOUNT = 10
EXPIRY_MS = 1_000
LONG_AFTER_EXPIRY_NS = 3_600 * 10**9


@dataclass
class VenueOrder:
    """What the venue itself knows of one order, in its own simple words."""

    client_order_id: str
    oid: str
    status: str = "in flight"  # in flight, lost, open, filled, canceled, rejected
    fills: list[TradeUpdate] = field(default_factory=list)
    cancel: str = ""  # what became of the last cancel: refused, or unanswered

    @property
    def filled(self):
        return sum(fill.amount_lots for fill in self.fills)

    def report(self, source, *, with_client_id=True):
        state = {
            "open": OrderState.OPEN,
            "filled": OrderState.FILLED,
            "canceled": OrderState.CANCELLED,
            "rejected": OrderState.FAILED,
        }[self.status]
        reason = "no margin" if self.status == "rejected" else ""
        client_order_id = self.client_order_id if with_client_id else None
        return OrderUpdate(client_order_id, self.oid, state, reason, 0, source, self.filled or None)

    def expected_state(self):
        """Where the connector must be once it has heard everything."""
        if self.status == "lost":
            return OrderState.FAILED
        if self.status == "open":
            if self.cancel == "unanswered":
                return OrderState.PENDING_CANCEL
            return OrderState.PARTIALLY_FILLED if self.fills else OrderState.OPEN
        ends = {"filled": OrderState.FILLED, "canceled": OrderState.CANCELLED, "rejected": OrderState.FAILED}
        return ends[self.status]


class OrdersOverALossyWire(RuleBasedStateMachine):
    """Messages wait in `wire` and are delivered in any order, several times, or never."""

    @initialize()
    def start(self):
        self.tracker, self.recorder, self.clock = self.kit.make_tracker(held_age_s=1e9)
        self.orders = []
        self.venue = []
        self.wire = []
        self.trade_count = 0

    @precondition(lambda self: len(self.orders) < 3)
    @rule()
    def place(self):
        order = self.kit.make_order(AMOUNT)
        self.tracker.start_tracking_order(order)
        self.tracker.mark_signed(order, nonce=1, venue_expiry_ms=EXPIRY_MS)
        self.orders.append(order)
        self.venue.append(VenueOrder(order.client_order_id, str(4_000_000_000 + len(self.venue))))

    def pick(self, data, *statuses):
        candidates = [order for order in self.venue if order.status in statuses]
        return data.draw(st.sampled_from(candidates)) if candidates else None

    @rule(data=st.data(), outcome=st.sampled_from(["open", "open", "rejected", "lost"]))
    def request_arrives_or_not(self, data, outcome):
        if (order := self.pick(data, "in flight")) is None:
            return
        order.status = outcome
        if outcome != "lost":
            self.wire.append(order.report(ReportSource.REPLY))
            self.wire.append(order.report(ReportSource.STREAM))

    @rule(data=st.data(), lots=st.integers(1, AMOUNT), by_oid=st.booleans())
    def venue_fills(self, data, lots, by_oid):
        if (order := self.pick(data, "open")) is None:
            return
        lots = min(lots, AMOUNT - order.filled)
        self.trade_count += 1
        order.fills.append(self.fill(order, lots, by_oid))
        self.wire.append(order.fills[-1])
        if order.filled == AMOUNT:
            order.status = "filled"
            self.wire.append(order.report(ReportSource.STREAM))

    def fill(self, order, lots, by_oid):
        units = 500_000 + 10 * (self.trade_count % 7)
        return TradeUpdate(
            trade_id=str(self.trade_count),
            client_order_id=None if by_oid else order.client_order_id,
            exchange_order_id=order.oid,
            trading_pair="BTC-USD",
            trade_type=TradeType.BUY,
            price=self.kit.RULE.price_from_units(units),
            amount=self.kit.RULE.amount_from_lots(lots),
            price_units=units,
            amount_lots=lots,
            fee_units=3 * lots,
            fee_asset="USDC",
        )

    @rule(data=st.data())
    def venue_cancels(self, data):
        if (order := self.pick(data, "open")) is not None:
            order.status = "canceled"
            self.wire.append(order.report(ReportSource.STREAM, with_client_id=data.draw(st.booleans())))

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), is_refused=st.booleans())
    def cancel(self, data, is_refused):
        number = data.draw(st.integers(0, len(self.orders) - 1))
        order, at_venue = self.orders[number], self.venue[number]
        self.tracker.mark_cancel_requested(order)
        if at_venue.status == "open" and not is_refused:
            at_venue.status = "canceled"
            self.wire.append(OrderUpdate(order.client_order_id, state=OrderState.CANCELLED, source=ReportSource.REPLY))
        else:
            at_venue.cancel = "refused" if is_refused else "unanswered"
            self.tracker.process_cancel_failed(order.client_order_id, at_venue.cancel, is_answer=is_refused)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def reply_is_lost(self, data):
        self.tracker.mark_unknown(data.draw(st.sampled_from(self.orders)).client_order_id, "timeout")

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), stays=st.booleans())
    def deliver(self, data, stays):
        number = data.draw(st.integers(0, len(self.wire) - 1))
        report = self.wire[number] if stays else self.wire.pop(number)
        self.hand_over(report)

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def lose(self, data):
        self.wire.pop(data.draw(st.integers(0, len(self.wire) - 1)))

    def hand_over(self, report):
        if isinstance(report, TradeUpdate):
            self.tracker.process_trade_update(report)
        else:
            self.tracker.process_order_update(report)

    @rule()
    def resync(self):
        resync = Reconciliation(self.tracker, settling_s=-1.0)
        resync.add_fills(fill for order in self.venue for fill in order.fills)
        missing = resync.add_open_orders(
            order.report(ReportSource.SNAPSHOT) for order in self.venue if order.status == "open"
        )
        for order in missing:
            at_venue = self.venue[self.orders.index(order)]
            if at_venue.status in ("in flight", "lost"):
                late = at_venue.status == "lost"
                resync.add_order_not_found(order.client_order_id, now_utc_ns=LONG_AFTER_EXPIRY_NS if late else 0)
            else:
                resync.add_order(at_venue.report(ReportSource.SNAPSHOT))
        resync.finish()
        for at_venue in self.venue:
            if at_venue.status == "open" and at_venue.cancel == "refused":
                at_venue.cancel = ""  # the snapshot is evidence that it lives
        self.check_agreement()

    def check_agreement(self):
        for order, at_venue in zip(self.orders, self.venue, strict=True):
            if at_venue.status == "in flight":
                continue
            expected = at_venue.expected_state()
            assert order.state is expected, (order, at_venue.status, self.recorder.lines)
            assert order.trade_ids == {fill.trade_id for fill in at_venue.fills}
            assert order.filled_lots == at_venue.filled
            assert order.notional_units == sum(fill.price_units * fill.amount_lots for fill in at_venue.fills)
            assert order.fee_units == 3 * at_venue.filled
            assert not order.is_unknown
            assert not order.is_awaiting_fills

    @invariant()
    def each_fill_is_told_once_and_every_event_has_its_revision(self):
        if not hasattr(self, "recorder"):
            return
        assert len(set(self.recorder.trades)) == len(self.recorder.trades)
        assert sum(order.revision for order in self.orders) == len(self.recorder.events)
        for order in self.orders:
            assert order.state is order.derived_state()
            assert order.is_active is (order in self.tracker.active_orders)

    def teardown(self):
        if not hasattr(self, "venue"):
            return
        for order in self.venue:
            if order.status == "in flight":
                order.status = "lost"
        self.resync()
        for report in self.wire:
            self.hand_over(report)
        self.check_agreement()
        assert self.tracker.reducer.overfills == 0


def test_after_a_resync_the_books_agree_whatever_the_wire_did(kit):
    class Machine(OrdersOverALossyWire):
        pass

    Machine.kit = kit
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
