"""From the gateway's order rows and events to a session's own orders: each change once, each fill once, none lost.

    event    gateway -> ring -> `apply` -> ClientOrderTracker -> listeners, then the session's own books
    row      gateway -> table -> `resync` after a lap or a gateway's restart: what the ring did not tell

Rows and events carry an order's running totals (fills, lots, value, fees, digest), so what was missed is known exactly.
It is told as one CatchUpTrade, and events of the fills that it stands for are dropped when they come after all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from latentspeed.connectors.client_order_id import format_client_order_id
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.fill_digest import fill_digest
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import FEE_SCALE
from latentspeed.connectors.types import OrderState, ReportSource, TradeType
from latentspeed.engine.order_block import OrderBlock
from latentspeed.engine.own_books import OwnBooks
from latentspeed.engine.records import Order, OrderEvent, OrderEventKind

CATCH_UP_PREFIX = "catch-up:"
_DIGEST_MASK = (1 << 64) - 1
_FILL_KINDS = frozenset({OrderEventKind.PARTIALLY_FILLED, OrderEventKind.FILLED})
_LIVE_AT_VENUE = frozenset({OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.FILLED})
_PRUNE_EVERY = 4096


class CatchUpTrade(TradeUpdate, frozen=True, gc=False, kw_only=True):
    """Stands for `fill_count` fills whose own events were missed; price is their average, amount and fee their sums."""

    fill_count: int = 1


class _Table(Protocol):
    def read(self, index: int, out: Order, /) -> int: ...


@dataclass(slots=True, eq=False)
class Progress:
    """How much of an order's story has been taken in; totals are sums over its fills."""

    order: InFlightOrder
    command_index: int
    instrument: int
    revision: int = 0
    fill_count: int = 0
    lots: int = 0
    value: int = 0
    fee_units: int = 0
    digest: int = 0
    has_catch_up: bool = False


class OrderReports:
    """The reducer of one session.

    Parameters: `tracker` holds the session's orders and calls the listeners; `rows` reads the order table; `block`
    knows which row is whose; `books` are the session's own books.
    """

    def __init__(self, tracker: ClientOrderTracker, rows: _Table, block: OrderBlock, books: OwnBooks) -> None:
        self._tracker = tracker
        self._rows = rows
        self._block = block
        self._books = books
        self._row = Order()
        self._progress: dict[int, Progress] = {}
        self._suspects: set[int] = set()
        self.events = 0
        self.repeated_fills = 0
        self.caught_up_fills = 0
        self.differences = 0

    def expect(self, order: InFlightOrder, command_index: int, instrument: int) -> None:
        """An order is about to be written to the queue as command `command_index`."""
        self._progress[order.id64] = Progress(order, command_index, instrument)
        if len(self._progress) % _PRUNE_EVERY == 0:
            self._prune()

    def forget(self, order: InFlightOrder) -> None:
        """The order was not written after all."""
        self._progress.pop(order.id64, None)

    def apply(self, event: OrderEvent) -> None:
        """Take in one event of an order of this session."""
        self.events += 1
        progress = self._progress.get(event.client_order_id)
        if event.event in _FILL_KINDS:
            self._apply_fill(event, progress)
        if progress is None or event.revision < progress.revision:
            return
        progress.revision = event.revision
        self._apply_state(event, progress.order)
        if progress.order.is_done and event.fill_count > progress.fill_count:
            self._suspects.add(event.client_order_id)

    def resync(self) -> None:
        """Take in every own order's row and what it tells of missed fills: after a lap, with the reader at the tail.

        An order in no row yet stays suspect: it may have been refused without one, and the event that said so be lost.
        """
        self._suspects.clear()
        for id64, progress in list(self._progress.items()):
            if self._block.holds(progress.order) and not self._take_row(progress):
                self._suspects.add(id64)

    def suspect_all(self) -> None:
        """A new gateway has come: compare every order with its row once the events are read."""
        self._suspects.update(self._progress)

    def settle_suspects(self, queue_head: int) -> None:
        """Compare suspected orders with their rows; call it when no event is waiting and the gateway is live.

        Every event of a row has been read then, so a fill that is in the row and was not told is lost to the ring.
        """
        suspects, self._suspects = self._suspects, set()
        for id64 in suspects:
            progress = self._progress.get(id64)
            if progress is None or not self._block.holds(progress.order):
                continue
            if not self._take_row(progress):
                self._fail_if_unrecorded(progress, queue_head)

    def suspect(self, id64: int) -> None:
        """Something about an order does not add up: compare it with its row."""
        if id64 in self._progress:
            self._suspects.add(id64)

    @property
    def has_suspects(self) -> bool:
        """Whether an order is to be compared with its row."""
        return bool(self._suspects)

    def order(self, id64: int) -> InFlightOrder | None:
        """The order of an id of this session, while it is remembered."""
        progress = self._progress.get(id64)
        return progress.order if progress is not None else None

    # Rows

    def _take_row(self, progress: Progress) -> bool:
        """Bring an order up to its row; False where its row does not hold it (yet)."""
        row = self._row
        order = progress.order
        if not self._rows.read(self._block.row_of(order.id64), row) or row.client_order_id != order.id64:
            return False
        if row.fill_count > progress.fill_count:
            self._catch_up(row, progress)
        if row.revision >= progress.revision:
            progress.revision = row.revision
            self._apply_state(row, order)
        return True

    def _fail_if_unrecorded(self, progress: Progress, queue_head: int) -> None:
        """A place that was read and stands in no row was disposed of without one: it never reached the venue."""
        order = progress.order
        if order.state is OrderState.PENDING_CREATE and progress.command_index < queue_head:
            self._tracker.process_order_update(
                OrderUpdate(
                    order.client_order_id, state=OrderState.FAILED, reason="never_sent", source=ReportSource.INFERRED
                )
            )

    # Fills

    def _apply_fill(self, event: OrderEvent, progress: Progress | None) -> None:
        digest = fill_digest(event.trade_id, event.trade_type, event.price_units, event.amount_lots, event.fee_units)
        if progress is None:
            self._apply_fill_of_forgotten(event, digest)
            return
        if event.trade_id in progress.order.trade_ids:
            self._skip(event)
            return
        if progress.has_catch_up:
            if event.fill_count <= progress.fill_count:
                self._skip(event)
                return
            if (progress.digest + digest) & _DIGEST_MASK != event.fill_digest:
                self._catch_up(event, progress)
                return
        progress.fill_count += 1
        progress.lots += event.amount_lots
        progress.value += event.price_units * event.amount_lots
        progress.fee_units += event.fee_units
        progress.digest = (progress.digest + digest) & _DIGEST_MASK
        if progress.fill_count == event.fill_count and progress.digest != event.fill_digest:
            self.differences += 1
        self._count(event, 1, event.amount_lots, event.price_units * event.amount_lots, event.fee_units, digest)
        self._copy_stages(event, progress.order)
        self._tracker.process_trade_update(_trade_of(event))

    def _skip(self, event: OrderEvent) -> None:
        """A fill that is counted already: told again, or part of what a catch-up stood for."""
        self.repeated_fills += 1
        self._books.touch(event.instrument)

    def _apply_fill_of_forgotten(self, event: OrderEvent, digest: int) -> None:
        """A fill of an order that ended so long ago that it was forgotten: it still counts."""
        self._count(event, 1, event.amount_lots, event.price_units * event.amount_lots, event.fee_units, digest)
        self._tracker.process_trade_update(_trade_of(event))

    def _catch_up(self, totals: Order | OrderEvent, progress: Progress) -> None:
        """Bring an order's fills up to a record's totals with one trade that stands for those that were missed."""
        order = progress.order
        count = totals.fill_count - progress.fill_count
        lots = totals.filled_lots - progress.lots
        value = totals.filled_value - progress.value
        fee_units = totals.total_fee_units - progress.fee_units
        digest = (totals.fill_digest - progress.digest) & _DIGEST_MASK
        if lots <= 0:
            self.differences += 1
            return
        price_units = round(value / lots)
        # The tracker adds one fill of price_units x lots; what that rounds away is added here, so that sums stay exact.
        order.notional_units += value - price_units * lots
        order.fill_count += count - 1
        progress.fill_count = totals.fill_count
        progress.lots = totals.filled_lots
        progress.value = totals.filled_value
        progress.fee_units = totals.total_fee_units
        progress.digest = totals.fill_digest
        progress.has_catch_up = True
        self.caught_up_fills += count
        self._count(totals, count, lots, value, fee_units, digest)
        rule = order.rule
        self._tracker.process_trade_update(
            CatchUpTrade(
                trade_id=f"{CATCH_UP_PREFIX}{order.client_order_id}:{totals.fill_count}",
                client_order_id=order.client_order_id,
                exchange_order_id=totals.exchange_order_id or None,
                trading_pair=order.trading_pair,
                trade_type=order.trade_type,
                price=rule.average_price(value, lots) or 0.0,
                amount=rule.amount_from_lots(lots),
                price_units=price_units,
                amount_lots=lots,
                fee=fee_units / FEE_SCALE,
                fee_units=fee_units,
                fee_asset=order.fee_asset or rule.quote_asset,
                venue_utc_ns=totals.venue_utc_ns,
                source=ReportSource.SNAPSHOT,
                fill_count=count,
            )
        )

    def _count(
        self, record: Order | OrderEvent, count: int, lots: int, value: int, fee_units: int, digest: int
    ) -> None:
        self._books.count(record.instrument, count, record.trade_type, lots, value, fee_units, digest)

    # States

    def _apply_state(self, record: Order | OrderEvent, order: InFlightOrder) -> None:
        """Follow the gateway's reducer: its evidence becomes evidence here."""
        self._copy_stages(record, order)
        tracker = self._tracker
        if record.is_unknown:
            tracker.mark_unknown(order.client_order_id, record.reason)
        if record.cancel_requested:
            if not order.cancel_requested:
                tracker.mark_cancel_requested(order)
        elif order.cancel_requested and order.is_active:
            # The gateway saw the venue refuse the cancel and then the order live.
            order.cancel_rejected = True
        update = _update_of(record, order)
        if update is not None:
            tracker.process_order_update(update)
            if record.acknowledged_mono_ns:
                order.acknowledged_mono_ns = record.acknowledged_mono_ns

    def _copy_stages(self, record: Order | OrderEvent, order: InFlightOrder) -> None:
        if record.nonce:
            order.nonce = record.nonce
            order.venue_expiry_ms = record.venue_expiry_utc_ms
        if record.signed_mono_ns:
            order.signed_mono_ns = record.signed_mono_ns
        if record.sent_mono_ns:
            order.sent_mono_ns = record.sent_mono_ns

    # Memory

    def _prune(self) -> None:
        """Drop the progress of orders that the tracker has forgotten."""
        for id64 in list(self._forgotten()):
            del self._progress[id64]

    def _forgotten(self) -> Iterator[int]:
        for id64, progress in self._progress.items():
            if progress.order.is_done and self._tracker.get_order(progress.order.client_order_id) is None:
                yield id64


def _trade_of(event: OrderEvent) -> TradeUpdate:
    return TradeUpdate(
        trade_id=event.trade_id,
        client_order_id=format_client_order_id(event.client_order_id),
        exchange_order_id=event.exchange_order_id or None,
        trading_pair=event.trading_pair,
        trade_type=TradeType(event.trade_type),
        price=event.price,
        amount=event.amount,
        price_units=event.price_units,
        amount_lots=event.amount_lots,
        fee=event.fee,
        fee_units=event.fee_units,
        fee_asset=event.fee_asset,
        is_taker=event.is_taker,
        venue_utc_ns=event.venue_utc_ns,
    )


def _update_of(record: Order | OrderEvent, order: InFlightOrder) -> OrderUpdate | None:
    """The report that makes the tracker derive the state that the gateway shows; None where there is nothing to say."""
    state = OrderState(record.state)
    is_accepted = bool(record.acknowledged_mono_ns or record.fill_count) or state in _LIVE_AT_VENUE
    source = ReportSource.SNAPSHOT
    if state is OrderState.PENDING_CANCEL:
        # On its own it would tell of acceptance, which the cancel of an order on its way does not.
        state = OrderState.OPEN if is_accepted else OrderState.PENDING_SUBMIT if record.nonce else OrderState.UNKNOWN
    elif state is OrderState.FAILED and not is_accepted:
        # The gateway may have concluded this, and may be corrected by the venue; then so are we.
        source = ReportSource.INFERRED
    elif state.is_final and not is_accepted:
        source = ReportSource.LOCAL
    elif state is OrderState.PENDING_CREATE:
        state = OrderState.UNKNOWN
    exchange_order_id = record.exchange_order_id or None
    if state is OrderState.UNKNOWN and exchange_order_id is None:
        return None
    if state is order.state and exchange_order_id == order.exchange_order_id and not order.cancel_rejected:
        return None
    return OrderUpdate(
        client_order_id=order.client_order_id,
        exchange_order_id=exchange_order_id,
        state=state,
        reason=record.reason,
        venue_utc_ns=record.venue_utc_ns,
        source=source,
    )
