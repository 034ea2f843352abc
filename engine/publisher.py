"""From the connector's orders to shared memory: every report becomes a table row first, then a ring entry, then a book.

The connector calls these listeners synchronously, so an order stands in the table as PENDING_SUBMIT before its bytes
are written to the socket, and a fill stands in the table and the ring before the next message is decoded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic_ns, time_ns

from latentspeed.connectors import (
    InFlightOrder,
    OrderEventListener,
    OrderState,
    TradeEventListener,
    TradeUpdate,
    parse_client_order_id,
)
from latentspeed.connectors.fill_digest import DIGESTS, fill_digest
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.ledger_keeper import LedgerKeeper
from latentspeed.engine.order_rows import LatestFill, OrderContext, OrderRows
from latentspeed.engine.record_fields import (
    ORDER_IDENTITY_FIELDS,
    ORDER_PROGRESS_FIELDS,
    ORDER_TERMS_FIELDS,
    padded_dtype,
)
from latentspeed.engine.records import (
    Command,
    CommandKind,
    Order,
    OrderEvent,
    OrderEventKind,
)
from latentspeed.engine.stages import StageClock
from latentspeed.ipc import RingWriter

_NO_FILL = LatestFill(0, 0, 0, 0, 0)
_EPOCHS = 1 << 16
REASON_BYTES = 64
ASSET_LENGTH = 12
_COMMAND_KINDS = frozenset(map(int, CommandKind))

log = logging.getLogger(__name__)


def clip(reason: str) -> bytes:
    """A reason as it fits its field, whatever is in it; a character cut in half reads back as an escape."""
    if not reason:
        return b""
    return reason.replace("\0", " ").encode("utf-8", "surrogatepass")[:REASON_BYTES]


def _body_of(record: Order | OrderEvent, size: int) -> memoryview:
    """The bytes of an order's own fields: a row begins with them, an event has the ring's leading words before."""
    fields = record.dtype.fields
    assert fields is not None
    start = fields["client_order_id"][1]
    return memoryview(record).cast("B")[start : start + size]


class OrderPublisher(OrderEventListener, TradeEventListener):
    """Publishes orders, fills and command results.

    Parameters: `rows` the order table; `ring` the event ring; `keeper` the gateway's books; `instruments` the numbers
    of the pairs; `stages` records latencies; `save_book_cursor` keeps how far the books have come and the time of the
    newest fill at the venue; `on_failure` ends a process that cannot publish; `generation_of` is that of the live
    session that made an id, or 0; `epoch` is the writer's, which every row carries; `newest_fill_utc_ns` is the venue
    time of the newest fill that any gateway of this segment has published.
    """

    def __init__(
        self,
        rows: OrderRows,
        ring: RingWriter,
        keeper: LedgerKeeper,
        instruments: Instruments,
        stages: StageClock,
        save_book_cursor: Callable[[int, int], None],
        on_failure: Callable[[Exception], None],
        generation_of: Callable[[int], int],
        epoch: int,
        newest_fill_utc_ns: int = 0,
    ) -> None:
        self._rows = rows
        self._ring = ring
        self._keeper = keeper
        self._instruments = instruments
        self._stages = stages
        self._save_book_cursor = save_book_cursor
        self._on_failure = on_failure
        self._generation_of = generation_of
        self._epoch = epoch
        self._row = Order()
        self._event = OrderEvent()
        # A row and an event have an order's fields in common: filled once, copied as bytes.
        size = padded_dtype([*ORDER_IDENTITY_FIELDS, *ORDER_TERMS_FIELDS, *ORDER_PROGRESS_FIELDS], multiple=4).itemsize
        self._row_body = _body_of(self._row, size)
        self._event_body = _body_of(self._event, size)
        self.fills = 0
        self.events = 0
        self.newest_fill_utc_ns = newest_fill_utc_ns
        self.is_closed = False
        """Whether results that come now, such as of a leverage change, are nobody's any more."""

    def on_order_created(self, order: InFlightOrder) -> None:
        """The venue acknowledged the order."""
        self._publish(order, OrderEventKind.CREATED)
        context = self._rows.context(order.id64)
        if context is not None:
            self._stages.acknowledged(order, context)

    def on_order_updated(self, order: InFlightOrder) -> None:
        """Something else of the order changed: submitted, cancel requested, fate unknown."""
        self._publish(order, OrderEventKind.UPDATED)

    def on_order_partially_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """A fill that leaves something open."""
        self._publish(order, OrderEventKind.PARTIALLY_FILLED, trade)

    def on_order_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """The fill that completes the order."""
        self._publish(order, OrderEventKind.FILLED, trade)

    def on_order_completed(self, order: InFlightOrder) -> None:
        """All fills of a filled order are in."""
        self._publish(order, OrderEventKind.COMPLETED)

    def on_order_cancelled(self, order: InFlightOrder) -> None:
        """The order is off the book."""
        self._publish(order, OrderEventKind.CANCELLED)

    def on_order_expired(self, order: InFlightOrder) -> None:
        """The order lapsed."""
        self._publish(order, OrderEventKind.EXPIRED)

    def on_order_failed(self, order: InFlightOrder) -> None:
        """The venue or the gateway refused the order; `reason` says why."""
        self._publish(order, OrderEventKind.FAILED)

    def on_trade(self, order: InFlightOrder | None, trade: TradeUpdate) -> None:
        """A fill of the account; those of orders that are remembered come through the order callbacks."""
        if order is None:
            self._publish_fill_of_nobody(trade)

    def publish_row(self, order: InFlightOrder, context: OrderContext) -> None:
        """Publish an order's row alone: PENDING_CREATE, before the command leaves the queue."""
        self._fill_row(order, context)
        self._rows.write(context.row, self._row)

    def publish_cancel_due(self, order: InFlightOrder, context: OrderContext) -> None:
        """Keep in an order's row that its cancel was asked for, before whoever asked is answered.

        The connector sends it a moment later; a gateway killed before that has a successor that reads it here.
        """
        context.is_cancel_due = True
        if context.row >= 0:
            self._fill_row(order, context)
            self._rows.write(context.row, self._row)

    def publish_refusal(self, command: Command, context: OrderContext, reason: str) -> None:
        """Dispose of a place that never became an order: its row and an event say FAILED and why."""
        self._dispose(command, context, OrderState.FAILED, OrderEventKind.FAILED, reason)

    def publish_expiry(self, command: Command, context: OrderContext, reason: str) -> None:
        """Dispose of a place that was read too late: its row and an event say EXPIRED and why."""
        self._dispose(command, context, OrderState.EXPIRED, OrderEventKind.EXPIRED, reason)

    def publish_annihilation(self, command: Command, context: OrderContext, reason: str) -> None:
        """Dispose of a place whose cancel came first: its row and an event say CANCELLED and why."""
        self._dispose(command, context, OrderState.CANCELLED, OrderEventKind.CANCELLED, reason)

    def publish_result(
        self, command: Command, generation: int, client_order_id: int, *, ok: bool, reason: str = ""
    ) -> None:
        """Dispose of a command that makes no order; `client_order_id` tells whose the result is, not the command."""
        if self.is_closed:
            return
        event = self._event
        event.clear()
        event.set(
            client_order_id=client_order_id,
            command_index=command.command_index,
            generation=generation,
            instrument=command.instrument,
            command_written_mono_ns=command.written_mono_ns,
            event=OrderEventKind.COMMAND_RESULT,
            command_kind=command.kind if command.kind in _COMMAND_KINDS else CommandKind.UNKNOWN,
            command_ok=ok,
            reason=clip(reason),
        )
        self._send(event)

    def publish_cancel_refused(self, client_order_id: str, reason: str) -> None:
        """Tell an order's session that the venue refused its cancel; the order's own state is told by other events."""
        context = self._rows.context(parse_client_order_id(client_order_id))
        if context is None:
            return
        event = self._event
        event.clear()
        event.client_order_id = context.client_order_id
        event.generation = context.generation
        event.instrument = context.instrument
        event.event = OrderEventKind.COMMAND_RESULT
        event.command_kind = CommandKind.CANCEL
        event.reason = clip(reason)
        self._send(event)

    def _dispose(
        self, command: Command, context: OrderContext, state: OrderState, kind: OrderEventKind, reason: str
    ) -> None:
        row = self._row
        row.clear()
        row.set(
            client_order_id=context.client_order_id,
            command_index=context.command_index,
            generation=context.generation,
            instrument=context.instrument,
            trading_pair=self._instruments.pair(context.instrument),
            trade_type=command.trade_type,
            order_type=command.order_type,
            position_action=command.position_action,
            time_in_force=command.time_in_force,
            leverage=command.leverage,
            order_price=command.price,
            order_amount=command.amount,
            trigger_price=command.trigger_price,
            replaces_order_id=command.replaces_order_id,
            state=state,
            revision=1,
            epoch=self._epoch,
            reason=clip(reason),
            command_written_mono_ns=context.written_mono_ns,
            command_read_mono_ns=context.read_mono_ns,
            published_mono_ns=monotonic_ns(),
            published_utc_ns=time_ns(),
        )
        if context.row >= 0:
            self._rows.take(context)
            self._rows.write(context.row, row)
        self._event.clear()
        self._event_body[:] = self._row_body
        self._event.event = kind
        self._send(self._event)

    def _publish(self, order: InFlightOrder, kind: OrderEventKind, trade: TradeUpdate | None = None) -> None:
        """Publish an order's change; a gateway that cannot must not go on trading, and its successor settles."""
        try:
            self._publish_order(order, kind, trade)
        except Exception as error:
            log.critical("order %s could not be published", order.client_order_id, exc_info=True)
            self._on_failure(error)

    def _publish_order(self, order: InFlightOrder, kind: OrderEventKind, trade: TradeUpdate | None) -> None:
        context = self._rows.context(order.id64) or self._foreign_context(order)
        event = self._event
        event.clear()
        if trade is not None:
            digest = self._fill_trade(event, trade)
            context.fill_digest = (context.fill_digest + digest) % DIGESTS
            value = trade.price_units * trade.amount_lots
            fee_units = trade.fee_units if trade.fee_asset == order.fee_asset else 0
            context.latest_fill = LatestFill(self._ring.tail, trade.amount_lots, value, fee_units, digest)
        self._fill_row(order, context)
        if context.row >= 0:
            self._rows.write(context.row, self._row)
        self._event_body[:] = self._row_body
        event.event = kind
        if trade is None:
            self._send(event)
            return
        event.venue_utc_ns = trade.venue_utc_ns
        self._count(event, self._send(event), context.slot)

    def _publish_fill_of_nobody(self, trade: TradeUpdate) -> None:
        event = self._event
        event.clear()
        self._fill_trade(event, trade)
        event.instrument = self._instruments.number(trade.trading_pair)
        event.trading_pair = trade.trading_pair
        event.trade_type = trade.trade_type
        event.exchange_order_id = trade.exchange_order_id or ""
        event.venue_utc_ns = trade.venue_utc_ns
        event.event = OrderEventKind.PARTIALLY_FILLED
        slot = -1
        if trade.client_order_id is not None:
            # An order of ours that nobody remembers: its session, where it still lives, counts the fill as its own.
            event.client_order_id = parse_client_order_id(trade.client_order_id)
            event.generation = self._generation_of(event.client_order_id)
            slot = self._rows.slot_of(event.client_order_id)
        self._count(event, self._send(event), slot)

    def _count(self, event: OrderEvent, cursor: int, slot: int) -> None:
        self._keeper.count(event, cursor, slot)
        self.newest_fill_utc_ns = max(self.newest_fill_utc_ns, event.venue_utc_ns)
        self._save_book_cursor(cursor + 1, self.newest_fill_utc_ns)
        self.fills += 1

    def _send(self, event: OrderEvent) -> int:
        cursor = event.event_index = self._ring.tail
        event.published_mono_ns = monotonic_ns()
        self.events += 1
        try:
            self._ring.publish(event)
        except Exception as error:
            self._on_failure(error)
            raise
        return cursor

    def _foreign_context(self, order: InFlightOrder) -> OrderContext:
        """The context of an order that an earlier segment's session placed, or that is no longer remembered."""
        row = self._rows.row_of(order.id64)
        holder, is_unfinished = self._rows.holder(row)
        if holder > order.id64 or (is_unfinished and holder != order.id64):
            row = -1  # another's by now
        context = OrderContext(
            client_order_id=order.id64,
            slot=self._rows.slot_of(order.id64),
            row=row,
            generation=self._generation_of(order.id64),
            instrument=self._instruments.number(order.trading_pair),
        )
        self._rows.take(context)
        # An earlier gateway may have told of it, and nothing here says up to which revision.
        order.revision = max(order.revision, self._epoch % _EPOCHS << 16)
        return context

    def _fill_trade(self, event: OrderEvent, trade: TradeUpdate) -> int:
        event.price = trade.price
        event.amount = trade.amount
        event.fee = trade.fee
        event.price_units = trade.price_units
        event.amount_lots = trade.amount_lots
        event.fee_units = trade.fee_units
        event.trade_id = trade.trade_id
        event.fee_asset = _asset_text(trade.fee_asset)
        event.is_taker = trade.is_taker
        event.newest_fill_before_utc_ns = self.newest_fill_utc_ns
        return fill_digest(trade.trade_id, trade.trade_type, trade.price_units, trade.amount_lots, trade.fee_units)

    def _fill_row(self, order: InFlightOrder, context: OrderContext) -> None:
        if order.cancel_requested:
            context.is_cancel_due = False  # from here on the order itself says so
        latest = context.latest_fill or _NO_FILL
        self._row.set(
            client_order_id=order.id64,
            command_index=context.command_index,
            generation=context.generation,
            instrument=context.instrument,
            trading_pair=order.trading_pair,
            exchange_order_id=order.exchange_order_id or "",
            trade_type=order.trade_type,
            order_type=order.order_type,
            position_action=order.position_action,
            time_in_force=order.time_in_force,
            strategy_tag=order.strategy_tag,
            leverage=order.leverage or 0,
            order_price=order.price or 0.0,
            order_amount=order.amount,
            trigger_price=order.trigger_price or 0.0,
            order_price_units=order.price_units,
            order_amount_lots=order.amount_lots,
            trigger_price_units=order.trigger_units,
            replaces_order_id=parse_client_order_id(order.replaces) if order.replaces else 0,
            parent_order_id=parse_client_order_id(order.parent) if order.parent else 0,
            has_open_size=order.has_open_size,
            state=order.state,
            is_unknown=order.is_unknown,
            cancel_requested=order.cancel_requested or context.is_cancel_due,
            revision=order.revision,
            fill_count=order.fill_count,
            epoch=self._epoch,
            filled_lots=order.filled_lots,
            filled_amount=order.filled_amount,
            filled_value=order.notional_units,
            fill_digest=context.fill_digest,
            average_price=order.average_price or 0.0,
            total_fee_units=order.fee_units,
            total_fee_asset=_asset_text(order.fee_asset),
            nonce=order.nonce,
            venue_expiry_utc_ms=order.venue_expiry_ms,
            reason=clip(order.reason),
            command_written_mono_ns=context.written_mono_ns,
            command_read_mono_ns=context.read_mono_ns,
            signed_mono_ns=order.signed_mono_ns,
            sent_mono_ns=order.sent_mono_ns,
            acknowledged_mono_ns=order.acknowledged_mono_ns,
            venue_utc_ns=order.last_update_utc_ns,
            published_mono_ns=monotonic_ns(),
            published_utc_ns=time_ns(),
            fill_cursor=latest.cursor,
            latest_fill_lots=latest.lots,
            latest_fill_value=latest.value,
            latest_fill_fee_units=latest.fee_units,
            latest_fill_digest=latest.digest,
        )


def _asset_text(asset: str) -> str:
    """The name of an asset as far as a record holds it: spot tokens may be called anything."""
    return asset.encode()[:ASSET_LENGTH].decode(errors="ignore")
