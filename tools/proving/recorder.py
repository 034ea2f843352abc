"""Follows a gateway's event ring from its first entry, read-only: the gateway's book, and what became of each order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from latentspeed.connectors import OrderState
from latentspeed.engine.ledger_keeper import FILL_KINDS
from latentspeed.engine.records import OrderEvent, OrderEventKind
from latentspeed.ipc import Lapped, SegmentReader
from latentspeed.tools.latency import STAGES, LatencySummary, stage_summaries
from latentspeed.tools.proving.books import BookFill


@dataclass(frozen=True, slots=True)
class RecordedFill:
    """A fill as the gateway published it, with whose it is and where in the ring it stood."""

    fill: BookFill
    generation: int
    event_index: int
    client_order_id: int


@dataclass(frozen=True, slots=True)
class OrderEnd:
    """What the last event of an order says of it; `exchange_order_id` is empty where the venue gave none."""

    state: OrderState
    filled_lots: int
    exchange_order_id: str
    reason: str


@dataclass(slots=True)
class OrderCounts:
    """How many orders reached each point of their life."""

    sent: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    filled: set[int] = field(default_factory=set)
    cancelled: set[int] = field(default_factory=set)
    expired: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    self_trades: set[int] = field(default_factory=set)
    reasons: dict[str, int] = field(default_factory=dict)
    senders: set[int] = field(default_factory=set)
    """Generations of the sessions that have sent an order."""
    open: dict[int, int] = field(default_factory=dict)
    last: dict[int, OrderEnd] = field(default_factory=dict)

    def open_of(self, generation: int) -> set[int]:
        """The orders of a session that were sent and have not ended."""
        return {order for order, owner in self.open.items() if owner == generation}


class Recorder:
    """Reads the ring of one segment; call `poll` often enough not to be lapped.

    Parameters: `segment` attached read-only.
    """

    def __init__(self, segment: SegmentReader) -> None:
        self._reader = segment.ring("events").reader(cursor=0)
        self._event = OrderEvent()
        self.fills: list[RecordedFill] = []
        self.orders = OrderCounts()
        self._stamps: dict[str, list[int]] = {field: [] for _, *ends in STAGES for field in ends}
        self.epochs = 0
        self.lost = 0

    def poll(self) -> int:
        """Take in everything published since the last call; returns how many events that was."""
        taken = 0
        while True:
            try:
                for event in self._reader.drain(self._event):
                    taken += 1
                    if event is None:
                        self.epochs += 1
                    else:
                        self._take(event)
                return taken
            except Lapped as error:
                self.lost += error.lost

    def stages(self) -> dict[str, LatencySummary]:
        """The percentiles of each stage of the orders that the venue has acknowledged."""
        return stage_summaries({field: np.array(values, np.int64) for field, values in self._stamps.items()})

    def _take(self, event: OrderEvent) -> None:
        kind, order = event.event, event.client_order_id
        if kind in FILL_KINDS:
            self.fills.append(RecordedFill(book_fill(event), event.generation, event.event_index, order))
        if kind == OrderEventKind.COMMAND_RESULT or not order:
            return
        counts = self.orders
        state = OrderState(event.state)
        counts.last[order] = OrderEnd(state, event.filled_lots, event.exchange_order_id, event.reason)
        if event.sent_mono_ns or event.signed_mono_ns:
            counts.sent.add(order)
            counts.open[order] = event.generation
            counts.senders.add(event.generation)
        if state.is_final:
            counts.open.pop(order, None)
        if kind == OrderEventKind.CREATED:
            counts.acknowledged.add(order)
            for field, values in self._stamps.items():
                values.append(getattr(event, field))
        elif kind == OrderEventKind.COMPLETED:
            counts.filled.add(order)
        elif kind == OrderEventKind.CANCELLED:
            counts.cancelled.add(order)
            if event.reason.replace("_", "").lower().startswith("selftrade"):
                counts.self_trades.add(order)
        elif kind == OrderEventKind.EXPIRED:
            counts.expired.add(order)
        elif kind == OrderEventKind.FAILED:
            counts.failed.add(order)
            counts.reasons[event.reason] = counts.reasons.get(event.reason, 0) + 1


def book_fill(event: OrderEvent) -> BookFill:
    """The fill that an event carries."""
    return BookFill(
        trading_pair=event.trading_pair,
        trade_id=event.trade_id,
        order_id=event.exchange_order_id,
        side=event.trade_type,
        price_units=event.price_units,
        amount_lots=event.amount_lots,
        fee_units=event.fee_units,
    )
