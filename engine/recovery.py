"""What a restarted gateway settles from the segment alone, before it asks the venue anything.

    an order's row says      then
    PENDING_CREATE           it was never signed: FAILED never_sent
    PENDING_SUBMIT           its fate is unknown: never signed again, settled by asking the venue by id
    live                     tracked again; the first resync tells what became of it
    live, cancel requested   the same, and the cancel is sent again
    final                    tracked too, because a fill may still be on its way

    a queued command         then
    already in the table     skipped: its order is settled by the row
    a place                  FAILED never_sent: it was meant for a market that is seconds old
    a cancel                 carried out
    anything else            refused: who asked for it asks the new gateway

The event ring says which fills were published, so none is counted twice. A gateway killed between a fill's row and its
event has told nobody of the fill: the row says where the event should be, and the order is restored without it. Of the
fills that the ring has forgotten, each row says how many are its order's, and their digest: when the venue tells them
again, they are told from new ones exactly, in whatever order they were published. Fills of orders without a row have a
time to go by: none that is forgotten is newer. Every step may be killed and run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from latentspeed.connectors import (
    ForgottenFills,
    InFlightOrder,
    OrderState,
    OrderType,
    PositionAction,
    TimeInForce,
    TradeType,
    format_client_order_id,
    restore_order,
)
from latentspeed.connectors.fill_digest import DIGESTS, fill_digest
from latentspeed.engine.commands import CommandProcessor
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.ledger_keeper import LedgerKeeper, is_fill
from latentspeed.engine.live_session import LiveSession
from latentspeed.engine.order_rows import LatestFill, OrderContext, OrderRows
from latentspeed.engine.publisher import OrderPublisher
from latentspeed.engine.records import Order, OrderEvent

if TYPE_CHECKING:
    from latentspeed.connectors import ConnectorBase
    from latentspeed.ipc import RingWriter, SegmentWriter

# How far before the newest fill the venue is asked for fills: far longer than a fill takes to reach its history. What
# an order lacks is asked for from its making on.
FILL_MARGIN_NS = 60 * 1_000_000_000


class Recovery:
    """Settles an existing segment for a new gateway.

    Parameters: the gateway's parts, wired but not yet connected.
    """

    def __init__(
        self,
        connector: ConnectorBase,
        writer: SegmentWriter,
        rows: OrderRows,
        publisher: OrderPublisher,
        keeper: LedgerKeeper,
        instruments: Instruments,
    ) -> None:
        self._connector = connector
        self._writer = writer
        self._rows = rows
        self._publisher = publisher
        self._keeper = keeper
        self._instruments = instruments

    def replay_books(self, book_cursor: int) -> int:
        """Count the fill that an earlier gateway may have published and not counted; its venue time, or 0."""
        return self._keeper.replay(book_cursor, self._rows.slot_of)

    def restore_orders(self, started_utc_ns: int, newest_fill_utc_ns: int) -> int:
        """Give the connector the orders of the table and the fills of the ring; returns how many orders.

        `started_utc_ns` is when the segment's first gateway went live: no fill of ours is older.
        `newest_fill_utc_ns` is the venue time of the newest fill ever published, which the ring may have forgotten.
        """
        published = PublishedFills(self._writer.ring("events"), newest_fill_utc_ns)
        restored: list[InFlightOrder] = []
        forgotten: dict[str, ForgottenFills] = {}
        for row in self._rows.read_all():
            if not published.has_told(row):
                withdraw_latest_fill(row)
                self._rows.write(self._rows.row_of(row.client_order_id), row)
            order = self._restore(row, published.digests.get(row.client_order_id, {}))
            if order is not None:
                restored.append(order)
                forgotten[order.client_order_id] = published.forgotten(row)
        self._connector.recover_orders(
            restored,
            known_trade_ids=published.known,
            counted_until_utc_ns=max(started_utc_ns, published.newest_forgotten_utc_ns + 1),
            forgotten=forgotten,
            fills_since_utc_ns=max(started_utc_ns, newest_fill_utc_ns - FILL_MARGIN_NS),
        )
        for order in restored:
            context = self._rows.context(order.id64)
            if order.cancel_requested or (context is not None and context.is_cancel_due):
                self._connector.cancel(order.client_order_id)
        return len(restored)

    def settle_queues(self, commands: CommandProcessor, sessions: Iterable[LiveSession]) -> None:
        """Dispose of every command that was queued before this gateway's epoch, session by session."""
        for live in sessions:
            commands.dispose_unread(live, "never_sent")

    def _restore(self, row: Order, trade_ids: Iterable[str]) -> InFlightOrder | None:
        # A pair that the venue lists no more may still have orders of ours there.
        rule = self._connector.get_trading_rule(row.trading_pair) or self._instruments.rule(row.trading_pair)
        if rule is None or row.order_amount_lots <= 0:
            return None  # refused before it was an order
        order = restore_order(
            format_client_order_id(row.client_order_id),
            rule,
            TradeType(row.trade_type),
            OrderType(row.order_type),
            row.order_amount_lots,
            row.order_price_units,
            state=OrderState(row.state),
            position_action=PositionAction(row.position_action),
            time_in_force=TimeInForce(row.time_in_force),
            exchange_order_id=row.exchange_order_id or None,
            reason=row.reason,
            filled_lots=row.filled_lots,
            notional_units=row.filled_value,
            fee_units=row.total_fee_units,
            fee_asset=row.total_fee_asset,
            fill_count=row.fill_count,
            trade_ids=trade_ids,
            revision=row.revision,
            nonce=row.nonce,
            venue_expiry_ms=row.venue_expiry_utc_ms,
            leverage=row.leverage or None,
            trigger_units=row.trigger_price_units,
            replaces=format_client_order_id(row.replaces_order_id) if row.replaces_order_id else "",
            parent=format_client_order_id(row.parent_order_id) if row.parent_order_id else "",
            has_open_size=row.has_open_size,
            strategy_tag=row.strategy_tag,
            last_update_utc_ns=row.venue_utc_ns,
            created_mono_ns=row.command_read_mono_ns,
        )
        order.signed_mono_ns = row.signed_mono_ns
        order.sent_mono_ns = row.sent_mono_ns
        order.acknowledged_mono_ns = row.acknowledged_mono_ns
        self._rows.take(
            OrderContext(
                client_order_id=row.client_order_id,
                slot=self._rows.slot_of(row.client_order_id),
                row=self._rows.row_of(row.client_order_id),
                generation=row.generation,
                instrument=row.instrument,
                command_index=row.command_index,
                written_mono_ns=row.command_written_mono_ns,
                read_mono_ns=row.command_read_mono_ns,
                fill_digest=row.fill_digest,
                is_cancel_due=row.cancel_requested and not OrderState(row.state).is_final,
                latest_fill=_latest_fill(row),
            )
        )
        return order


def _latest_fill(row: Order) -> LatestFill | None:
    if not row.latest_fill_lots:
        return None
    return LatestFill(
        row.fill_cursor, row.latest_fill_lots, row.latest_fill_value, row.latest_fill_fee_units, row.latest_fill_digest
    )


class PublishedFills:
    """The fills that the event ring still holds, and what is known of those that it has forgotten.

    Attributes: `digests` by client order id and trade id; `by_venue` by the venue's order id and trade id, ours and
    others'; `newest_forgotten_utc_ns` the venue time of the newest one that was overwritten, 0 where none was.
    """

    def __init__(self, ring: RingWriter, newest_utc_ns: int) -> None:
        """`newest_utc_ns` is the venue time of the newest fill ever published."""
        self.digests: dict[int, dict[str, int]] = {}
        self.by_venue: set[tuple[str, str]] = set()
        self._ring = ring
        self._event = OrderEvent()
        self._start = max(0, ring.tail - ring.capacity)
        self.newest_forgotten_utc_ns = newest_utc_ns
        is_first = True
        event = self._event
        for cursor in range(self._start, ring.tail):
            if not ring.read_at(cursor, event) or not is_fill(event):
                continue
            if is_first:
                # Fills come out of order too, so the oldest one's own time would say nothing of those before it.
                self.newest_forgotten_utc_ns = event.newest_fill_before_utc_ns
                is_first = False
            if event.client_order_id:
                digest = fill_digest(
                    event.trade_id, event.trade_type, event.price_units, event.amount_lots, event.fee_units
                )
                self.digests.setdefault(event.client_order_id, {})[event.trade_id] = digest
            if event.exchange_order_id:
                self.by_venue.add((event.exchange_order_id, event.trade_id))

    @property
    def known(self) -> Iterator[tuple[str, str]]:
        """Each fill by trade id and its order's id: the venue's, and ours where it has one.

        Not every venue tells our id with a fill; where the order's row has another order since, only its own is left.
        """
        yield from self.by_venue
        for order, trades in self.digests.items():
            name = format_client_order_id(order)
            yield from ((name, trade) for trade in trades)

    def forgotten(self, row: Order) -> ForgottenFills:
        """The fills that a row counts and the ring holds no more."""
        held = self.digests.get(row.client_order_id, {})
        return ForgottenFills(max(0, row.fill_count - len(held)), (row.fill_digest - sum(held.values())) % DIGESTS)

    def has_told(self, row: Order) -> bool:
        """Whether the latest fill in a row was published: a gateway may have been killed between the two."""
        if not row.latest_fill_lots or row.fill_cursor < self._start:
            return True
        event = self._event
        is_there = self._ring.read_at(row.fill_cursor, event) and is_fill(event)
        return is_there and event.client_order_id == row.client_order_id


def withdraw_latest_fill(row: Order) -> None:
    """Take out of a row the fill that nobody was told of; the venue tells it again, and then everybody is told."""
    row.fill_count -= 1
    row.filled_lots -= row.latest_fill_lots
    row.filled_value -= row.latest_fill_value
    row.total_fee_units -= row.latest_fill_fee_units
    row.fill_digest = (row.fill_digest - row.latest_fill_digest) % DIGESTS
    row.fill_cursor = row.latest_fill_digest = 0
    row.latest_fill_lots = row.latest_fill_value = row.latest_fill_fee_units = 0
    if not row.fill_count:
        row.total_fee_asset = ""
    if row.state == OrderState.FILLED or (row.state == OrderState.PARTIALLY_FILLED and not row.fill_count):
        row.state = OrderState.PARTIALLY_FILLED if row.fill_count else OrderState.OPEN
