"""Whatever is lost or told twice between gateway and strategy, orders and books end equal, each fill once."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from latentspeed.connectors import OrderState, OrderType, TradeEventListener, TradeType, TradingRule
from latentspeed.connectors.client_order_id import format_client_order_id
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.engine.ledger import BookTotals
from latentspeed.engine.order_block import OrderBlock
from latentspeed.engine.order_reports import CatchUpTrade, OrderReports
from latentspeed.engine.own_books import OwnBooks
from latentspeed.engine.records import BookRow, Order, OrderEvent, OrderEventKind

RULE = TradingRule("BTC-USD", "BTC", 0, Decimal("0.001"), Decimal("0.1"))
LOTS = 12
MASK = (1 << 64) - 1


class Rows:
    """The order table."""

    def __init__(self):
        self.rows = {}

    def read(self, index, out):
        row = self.rows.get(index)
        if row is None:
            out.clear()
            return 0
        out.assign_from(row)
        return 1


class Book:
    """The session's book table."""

    def __init__(self):
        self.row = BookRow()

    def write(self, index, record):
        self.row = record.copy()
        return 1


class Ear(TradeEventListener):
    def __init__(self):
        self.trades = []

    def on_trade(self, order, trade):
        self.trades.append(trade)


class World:
    """A gateway with two orders, a ring, and a client that may be made to miss any part of it."""

    def __init__(self):
        self.rows = Rows()
        self.ring = []
        self.lost = 0
        self.cursor = 0
        self.tracker = ClientOrderTracker()
        self.ear = Ear()
        self.tracker.events.set_trade_listener(self.ear)
        self.book = Book()
        self.books = OwnBooks(self.book, generation=7)
        self.block = OrderBlock(self.rows, slot=0, incarnation=5, capacity=4)
        self.reports = OrderReports(self.tracker, self.rows, self.block, self.books)
        self.orders = []
        self.fills = []
        for side in (TradeType.BUY, TradeType.SELL):
            id64 = self.block.next_id()
            order = InFlightOrder(format_client_order_id(id64), RULE, side, OrderType.LIMIT, LOTS, 1000)
            self.tracker.start_tracking_order(order)
            self.reports.expect(order, len(self.orders), 0)
            self.block.occupy(order)
            record = Order(
                client_order_id=id64,
                trading_pair="BTC-USD",
                trade_type=side,
                order_amount_lots=LOTS,
                state=1,
                revision=0,
            )
            self.orders.append((order, record))
            self.fills.append([])
            self.rows.rows[self.block.row_of(id64)] = record.copy()

    def publish(self, index, kind, trade=None, *, ring=True, **fields):
        _, record = self.orders[index]
        record.set(revision=record.revision + 1, **fields)
        self.rows.rows[self.block.row_of(record.client_order_id)] = record.copy()
        if ring:
            self.tell(index, kind, trade)

    def tell(self, index, kind, trade=None):
        _, record = self.orders[index]
        names = set(OrderEvent.dtype.names)
        values = {name: value for name, value in record.as_dict().items() if name in names}
        self.ring.append(OrderEvent(**values, event=kind, **(trade or {})))

    def acknowledge(self, index):
        if self.orders[index][1].state < OrderState.OPEN:
            self.publish(index, OrderEventKind.CREATED, state=OrderState.OPEN, acknowledged_mono_ns=1)

    def fill(self, index, lots, units, *, ring=True):
        _, record = self.orders[index]
        lots = min(lots, LOTS - record.filled_lots)
        if lots == 0:
            return
        number = len(self.fills[index])
        trade = {
            "trade_id": f"{index}-{number}",
            "price_units": units,
            "amount_lots": lots,
            "fee_units": number + 1,
            "price": units / 10,
            "amount": lots / 1000,
        }
        self.fills[index].append(trade)
        digest = fill_digest(trade["trade_id"], record.trade_type, units, lots, number + 1)
        is_full = record.filled_lots + lots == LOTS
        is_final = OrderState(record.state).is_final
        self.publish(
            index,
            OrderEventKind.FILLED if is_full else OrderEventKind.PARTIALLY_FILLED,
            trade,
            ring=ring,
            state=OrderState.FILLED if is_full else record.state if is_final else OrderState.PARTIALLY_FILLED,
            fill_count=record.fill_count + 1,
            filled_lots=record.filled_lots + lots,
            filled_value=record.filled_value + lots * units,
            total_fee_units=record.total_fee_units + number + 1,
            fill_digest=(record.fill_digest + digest) & MASK,
            acknowledged_mono_ns=1,
        )

    def cancel(self, index, *, ring=True):
        if not OrderState(self.orders[index][1].state).is_final:
            self.publish(index, OrderEventKind.CANCELLED, ring=ring, state=OrderState.CANCELLED, acknowledged_mono_ns=1)

    def read(self, count):
        """The client reads up to `count` events."""
        for event in self.ring[self.cursor : self.cursor + count]:
            self.cursor += 1
            self.reports.apply(event)
            self.books.commit(self.cursor)

    def lap(self):
        """What the client has not read is overwritten; it goes on at the tail and asks the rows."""
        self.lost += len(self.ring) - self.cursor
        self.cursor = len(self.ring)
        self.reports.resync()
        self.books.commit(self.cursor)

    def restart(self, retold):
        """A new gateway tells some fills again, carrying the totals of now."""
        self.reports.suspect_all()
        for index, number in retold:
            if number < len(self.fills[index]):
                self.tell(index, OrderEventKind.PARTIALLY_FILLED, self.fills[index][number])

    def settle(self):
        self.read(len(self.ring))
        self.reports.settle_suspects(0)
        self.books.commit(self.cursor)


ORDERS = st.integers(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("fill"), ORDERS, st.integers(1, 5), st.integers(990, 1010)),
    st.tuples(st.just("fill_unheard"), ORDERS, st.integers(1, 5), st.integers(990, 1010)),
    st.tuples(st.just("acknowledge"), ORDERS),
    st.tuples(st.just("cancel"), ORDERS),
    st.tuples(st.just("cancel_unheard"), ORDERS),
    st.tuples(st.just("read"), st.integers(1, 4)),
    st.tuples(st.just("lap")),
    st.tuples(st.just("restart"), st.lists(st.tuples(ORDERS, st.integers(0, 5)), max_size=6)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_client_and_gateway_end_equal_whatever_was_lost_or_told_twice(steps):
    world = World()
    for name, *arguments in steps:
        if name == "fill_unheard":
            # Killed between row and event: a new gateway follows, which need not tell it.
            world.fill(*arguments, ring=False)
            world.restart([])
        elif name == "cancel_unheard":
            world.cancel(*arguments, ring=False)
            world.restart([])
        else:
            getattr(world, name)(*arguments)
    world.settle()
    expected = BookTotals()
    for order, record in world.orders:
        assert order.filled_lots == record.filled_lots
        assert order.notional_units == record.filled_value
        assert order.fill_count == record.fill_count
        assert sum(order.fees.values()) == record.total_fee_units
        if record.state != OrderState.PENDING_CREATE:
            assert order.state == record.state
        told = [trade for trade in world.ear.trades if trade.client_order_id == order.client_order_id]
        assert len({trade.trade_id for trade in told}) == len(told), "a fill was told twice"
        assert sum(trade.amount_lots for trade in told) == record.filled_lots
        assert sum(getattr(trade, "fill_count", 1) for trade in told) == record.fill_count
        assert all(isinstance(trade, CatchUpTrade) == trade.trade_id.startswith("catch-up:") for trade in told)
        expected.add_fills(
            record.fill_count,
            record.trade_type,
            record.filled_lots,
            record.filled_value,
            record.total_fee_units,
            record.fill_digest,
        )
    assert BookTotals.from_row(world.book.row) == expected
    assert world.reports.differences == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(ORDERS, st.integers(1, 5), st.integers(990, 1010)), max_size=10), st.randoms())
def test_without_loss_every_fill_is_told_with_its_own_id_however_often_it_is_repeated(fills, random):
    world = World()
    for fill in fills:
        world.fill(*fill)
        if random.random() < 0.5:
            world.read(random.randint(1, 3))
        if random.random() < 0.3:
            world.restart([(random.randint(0, 1), random.randint(0, 4)) for _ in range(3)])
    world.settle()
    told = [trade.trade_id for trade in world.ear.trades]
    assert sorted(told) == sorted(trade["trade_id"] for trades in world.fills for trade in trades)
