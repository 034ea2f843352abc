"""What a restarted gateway settles from the segment alone, before it asks the venue anything.

    an order's row says      then
    PENDING_CREATE           it was never signed: FAILED never_sent
    PENDING_SUBMIT           its fate is unknown: never signed again, settled by asking the venue by id
    live                     tracked again; the first resync tells what became of it
    live, cancel requested   the same, and the cancel is sent again
    final, not long ago      tracked too, because a fill may still be on its way

    a queued command         then
    already in the table     skipped: its order is settled by the row
    a place                  FAILED never_sent: it was meant for a market that is seconds old
    a cancel                 carried out
    anything else            refused: who asked for it asks the new gateway

The event ring says which fills were published, so none is counted twice: a gateway killed between a fill's row and its
event has told nobody of the fill, and the order is restored without it. Every step may be killed and run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from latentspeed.connectors import (
    InFlightOrder,
    OrderState,
    OrderType,
    PositionAction,
    TimeInForce,
    TradeType,
    format_client_order_id,
    restore_order,
)
from latentspeed.engine.commands import CommandProcessor
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.ledger_keeper import FILL_KINDS, LedgerKeeper
from latentspeed.engine.live_session import LiveSession
from latentspeed.engine.order_rows import OrderContext, OrderRows
from latentspeed.engine.publisher import OrderPublisher
from latentspeed.engine.records import Order, OrderEvent, OrderEventKind

if TYPE_CHECKING:
    from latentspeed.connectors import PerpetualDerivativeBase
    from latentspeed.ipc import RingWriter, SegmentWriter

# How far back the venue is asked for fills, and for how long a final order is remembered: far longer than a fill that
# the venue has booked takes to reach its fill history.
FILL_MARGIN_NS = 60 * 1_000_000_000


class Recovery:
    """Settles an existing segment for a new gateway.

    Parameters: the gateway's parts, wired but not yet connected.
    """

    def __init__(
        self,
        connector: PerpetualDerivativeBase,
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

    def replay_books(self, book_cursor: int) -> None:
        """Count the fill that an earlier gateway may have published and not counted."""
        self._keeper.replay(book_cursor, self._rows.slot_of)

    def restore_orders(self, started_utc_ns: int, newest_fill_utc_ns: int) -> int:
        """Give the connector the orders of the table and the fills of the ring; returns how many orders.

        `started_utc_ns` is when the segment's first gateway went live: no fill of ours is older.
        `newest_fill_utc_ns` is the venue time of the newest fill ever published, which the ring may have forgotten.
        """
        published = PublishedFills(self._writer.ring("events"), newest_fill_utc_ns)
        restored = []
        recent = time.time_ns() - FILL_MARGIN_NS
        for row in self._rows.read_all():
            if OrderState(row.state).is_final and row.published_utc_ns < recent:
                continue
            published.withdraw_untold(row)
            order = self._restore(row, published.trade_ids.get(row.client_order_id, set()))
            if order is not None:
                restored.append(order)
        since = max(started_utc_ns, published.complete_since, published.newest_utc_ns - FILL_MARGIN_NS)
        known = [
            (format_client_order_id(order), trade) if order else trade
            for order, trades in published.trade_ids.items()
            for trade in trades
        ]
        self._connector.recover_orders(restored, known_trade_ids=known, fills_since_utc_ns=since)
        for order in restored:
            context = self._rows.context(order.id64)
            if order.cancel_requested or (context is not None and context.is_cancel_due):
                self._connector.cancel(order.client_order_id)
        return len(restored)

    def settle_queues(self, commands: CommandProcessor, sessions: Iterable[LiveSession]) -> None:
        """Dispose of every command that was queued before this gateway's epoch, session by session."""
        for live in sessions:
            commands.dispose_unread(live, "never_sent")

    def _restore(self, row: Order, trade_ids: set[str]) -> InFlightOrder | None:
        rule = self._connector.get_trading_rule(row.trading_pair)
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
            )
        )
        return order


class PublishedFills:
    """The fills that the event ring still holds.

    Attributes: `trade_ids` by client order id; `newest_utc_ns` the venue time of the newest fill ever published;
    `complete_since` the venue time from which on the ring holds every fill, 0 where it holds them all.
    """

    def __init__(self, ring: RingWriter, newest_utc_ns: int = 0) -> None:
        self.trade_ids: dict[int, set[str]] = {}
        self.newest_utc_ns = newest_utc_ns
        self.complete_since = 0
        self._totals: dict[int, OrderEvent] = {}
        event = OrderEvent()
        start = max(0, ring.tail - ring.capacity)
        self._is_whole = start == 0
        oldest = 0
        for cursor in range(start, ring.tail):
            if not ring.read_at(cursor, event) or event.event == OrderEventKind.COMMAND_RESULT:
                continue
            if event.event in FILL_KINDS:
                self.trade_ids.setdefault(event.client_order_id, set()).add(event.trade_id)
                self.newest_utc_ns = max(self.newest_utc_ns, event.venue_utc_ns)
                oldest = oldest or event.venue_utc_ns
            self._totals[event.client_order_id] = event.copy()
        oldest = oldest or newest_utc_ns
        if oldest and not self._is_whole:
            # A block's fills carry one time and are published together, so those of the oldest one's time all were.
            # Where the ring has forgotten every fill, those up to the newest one's time all were.
            self.complete_since = oldest + 1_000_000

    def withdraw_untold(self, row: Order) -> None:
        """Take out of a row the fill that an earlier gateway wrote there and did not live to publish."""
        told = self._totals.get(row.client_order_id)
        if told is None and not self._is_whole:
            return  # nothing of this order is in the ring: its last event was overwritten, so it was published
        if row.fill_count == (told.fill_count if told is not None else 0):
            return
        row.fill_count = told.fill_count if told is not None else 0
        row.filled_lots = told.filled_lots if told is not None else 0
        row.filled_value = told.filled_value if told is not None else 0
        row.total_fee_units = told.total_fee_units if told is not None else 0
        row.fill_digest = told.fill_digest if told is not None else 0
        row.total_fee_asset = told.total_fee_asset if told is not None else ""
        if row.state == OrderState.FILLED or (row.state == OrderState.PARTIALLY_FILLED and not row.fill_count):
            row.state = OrderState.PARTIALLY_FILLED if row.fill_count else OrderState.OPEN
