"""Whatever the order of publication, the ring's size and the moments of death: each fill is told and counted once."""

from __future__ import annotations

import time
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.gateway_desk import GatewayDesk, order_text
from support.killable_segment import KillableWriter
from support.ledger_fakes import Fuse, Killed
from support.memory_venue import RULE, MemoryConnector

from latentspeed.connectors import TradeType, TradeUpdate
from latentspeed.connectors.fill_digest import DIGESTS, fill_digest
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.ledger_keeper import is_fill
from latentspeed.engine.records import CommandKind, OrderEvent

MS = 1_000_000


class SlowToTell(MemoryConnector):
    """Tells of fills only when it is asked to, and in a comparison with the venue in any order."""

    def reconcile(self):
        trades = [trade for order in self._venue.orders.values() for trade in order.fills]
        trades += self._venue.foreign
        self._venue.random.shuffle(trades)
        for trade in trades:
            self.tell(trade)
        told, fills = self._venue.orders, {}
        for order_id, order in told.items():
            fills[order_id], order.fills = order.fills, Told(order.fills)
        try:
            super().reconcile()
        finally:
            for order_id, order in told.items():
                order.fills = fills[order_id]

    def tell(self, trade):
        if trade.client_order_id is None:
            self._tracker.process_foreign_trade(trade)
        else:
            self._tracker.process_trade_update(trade)


class Told(list):
    """Fills that count for the order's state and are not told again."""

    def __iter__(self):
        return iter(())

    def __len__(self):
        return list.__len__(self)


class NotedWriter(KillableWriter):
    """Notes each fill that has come into the event ring, for good."""

    def __init__(self, writer, fuse, published):
        super().__init__(writer, fuse)
        object.__setattr__(self, "published", published)

    def ring(self, name):
        ring = super().ring(name)
        publish, event = ring.publish, OrderEvent()

        def noted(record):
            publish(record)
            if name == "events" and ring.read_at(ring.tail - 1, event) and is_fill(event):
                self.published.append((event.client_order_id, event.trade_id))

        ring.__dict__["publish"] = noted
        return ring


class Story:
    """A venue, an account of what its fills must add up to, and gateways that come and go."""

    def __init__(self, ring, seed):
        self.fuse = Fuse()
        self.published = []
        sizes = SharedMemorySettings(
            sessions=2,
            orders_per_session=64,
            queue_capacity=64,
            event_ring=ring,
            market_ring=64,
            instruments=4,
            balances=4,
        )
        self.desk = GatewayDesk(
            sizes,
            connector=lambda venue, _: SlowToTell(self.prepare(venue, seed), self.fuse.burn),
            wrap=lambda writer: NotedWriter(writer, self.fuse, self.published),
        )
        self.client = self.desk.claim()
        self.orders = []
        self.untold = []
        self.now_ms = time.time_ns() // MS + 1_000
        self.newest_ms = self.now_ms
        self.trades = 0

    def prepare(self, venue, seed):
        if not hasattr(venue, "foreign"):
            venue.foreign = []
            venue.random = Random(seed)
        return venue

    def guarded(self, action):
        """Do something as the gateway; where it is killed, others start until one lives."""
        try:
            action()
        except Killed:
            self.restart()

    def restart(self):
        while True:
            self.desk.writer.close()
            try:
                self.desk.start()
                break
            except Killed:
                self.fuse.left = None

    # What may happen

    def place(self):
        if len(self.orders) < 12:
            self.orders.append(self.client.place(lots=100_000))
            self.guarded(self.desk.drain)

    def fill(self, index, step_ms, lots):
        """A fill at the venue, of any time before or after the others, that nobody has been told of."""
        known = [id64 for id64 in self.orders if order_text(id64) in self.desk.venue.orders]
        if known:
            order = self.desk.venue.orders[order_text(known[index % len(known)])]
            order.fills.append(self.trade(order, lots, self.now_ms + step_ms))
            self.untold.append(order.fills[-1])

    def foreign_fill(self, lots):
        """A fill of another program's order, which the venue tells at once: no order's row tells of it later."""
        self.newest_ms += 1
        trade = self.trade(None, lots, self.newest_ms)
        self.desk.venue.foreign.append(trade)
        self.guarded(lambda: self.desk.connector.tell(trade))

    def trade(self, order, lots, venue_ms):
        self.trades += 1
        self.newest_ms = max(self.newest_ms, venue_ms)
        return TradeUpdate(
            trade_id=str(self.trades),
            client_order_id=order.client_order_id if order is not None else None,
            exchange_order_id=order.exchange_order_id if order is not None else "9",
            trading_pair=RULE.trading_pair,
            trade_type=TradeType.BUY,
            price=RULE.price_from_units(600_000),
            amount=RULE.amount_from_lots(lots),
            price_units=600_000,
            amount_lots=lots,
            fee=0.01,
            fee_units=1_000_000 + lots,
            fee_asset="USDC",
            venue_utc_ns=venue_ms * MS,
        )

    def tell(self, index):
        if self.untold:
            trade = self.untold.pop(index % len(self.untold))
            self.guarded(lambda: self.desk.connector.tell(replace(trade)))

    def noise(self, count):
        """Events that are no fills push the others out of the ring."""
        for _ in range(count):
            self.client.push(kind=CommandKind.CANCEL, client_order_id=self.client.no_order)
            self.guarded(self.desk.drain)

    def kill(self, writes):
        self.fuse.left = writes

    # What must hold

    def check(self):
        self.fuse.left = None
        self.restart()
        desk = self.desk
        fills = [trade for order in desk.venue.orders.values() for trade in order.fills]
        told = sorted(self.published)
        expected = [(int(trade.client_order_id[2:], 16), trade.trade_id) for trade in fills]
        assert told == sorted(expected + [(0, trade.trade_id) for trade in desk.venue.foreign])
        for group, theirs in ((LedgerGroup.TOTAL, fills), (LedgerGroup.FOREIGN, desk.venue.foreign)):
            totals = desk.core.keeper.totals(group, 0, 0)
            assert (totals.fill_count, totals.digest) == (len(theirs), digest_of(theirs)), group.name
        for id64 in self.orders:
            order = desk.venue.orders.get(order_text(id64))
            row = desk.row(id64)
            theirs = order.fills if order is not None else []
            assert (row.fill_count, row.fill_digest) == (len(theirs), digest_of(theirs)), order_text(id64)
            assert row.filled_lots == sum(trade.amount_lots for trade in theirs)
            assert row.filled_value == sum(trade.amount_lots * trade.price_units for trade in theirs)
            assert row.total_fee_units == sum(trade.fee_units for trade in theirs)


def digest_of(trades):
    return (
        sum(fill_digest(t.trade_id, t.trade_type, t.price_units, t.amount_lots, t.fee_units) for t in trades) % DIGESTS
    )


steps = st.one_of(
    st.tuples(st.just("place")),
    st.tuples(st.just("fill"), st.integers(0, 11), st.integers(-3, 3), st.integers(1, 9)),
    st.tuples(st.just("fill"), st.integers(0, 11), st.integers(-200_000, 200_000), st.integers(1, 9)),
    st.tuples(st.just("foreign_fill"), st.integers(1, 9)),
    st.tuples(st.just("tell"), st.integers(0, 11)),
    st.tuples(st.just("tell"), st.integers(0, 11)),
    st.tuples(st.just("noise"), st.integers(1, 70)),
    st.tuples(st.just("kill"), st.integers(0, 12)),
    st.tuples(st.just("restart")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=30), st.sampled_from((16, 32, 64)), st.integers(0, 1 << 30))
def test_each_fill_is_told_and_counted_once_whatever_happens(script, ring, seed):
    story = Story(ring, seed)
    try:
        story.place()
        for name, *arguments in script:
            getattr(story, name)(*arguments)
        story.check()
    finally:
        story.fuse.left = None
        story.desk.close()
