"""Fills that belong to no tracked order: waiting for it, history, or given up."""

from __future__ import annotations

from collections import OrderedDict

from latentspeed.connectors.counted_before import CountedBefore
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import TradeUpdate
from latentspeed.connectors.held_reports import HeldReports
from latentspeed.connectors.in_flight_order import InFlightOrder

_REMEMBERED = 10_000


class UnmatchedFills:
    """Holds fills for a while; then tells listeners of each, once, without an order."""

    __slots__ = ("_counted_before", "_events", "_given_up", "_held", "given_up_count")

    def __init__(self, events: EventDispatcher, counted_before: CountedBefore, capacity: int, age_ns: int) -> None:
        self._events = events
        self._counted_before = counted_before
        self._held: HeldReports[TradeUpdate] = HeldReports(capacity, age_ns)
        self._given_up: OrderedDict[tuple[str | None, str | None, str], None] = OrderedDict()
        self.given_up_count = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, trade: TradeUpdate, now_mono_ns: int) -> None:
        """Keeps a fill for an order that may still come; when there are too many, the oldest is given up."""
        if self._counted_before.has_fill_of_nobody(trade) or _key(trade) in self._given_up:
            return
        self._give_up(self._held.add(trade, now_mono_ns))

    def take(self, order: InFlightOrder) -> list[TradeUpdate]:
        """Removes and returns the fills that waited for an order."""
        return self._held.take(order.client_order_id, order.exchange_order_ids)

    def sweep(self, now_mono_ns: int) -> None:
        """Gives up the fills whose time is up."""
        self._give_up(self._held.pop_expired(now_mono_ns))

    def report_foreign(self, trade: TradeUpdate) -> bool:
        """Tells listeners of a fill that is certainly of no order of ours; False when they were told before."""
        if self._counted_before.has_fill_of_nobody(trade) or not self._remember(trade):
            return False
        self._events.trade_event(None, trade)
        return True

    def _give_up(self, trades: list[TradeUpdate]) -> None:
        for trade in trades:
            # Asked again: while it waited, it may have turned out to be history.
            if self._counted_before.has_fill_of_nobody(trade) or not self._remember(trade):
                continue
            self.given_up_count += 1
            self._events.error(
                "fill_of_unknown_order",
                f"fill {trade.trade_id} of {trade.amount} {trade.trading_pair} @ {trade.price} names client order id "
                f"{trade.client_order_id} and exchange order id {trade.exchange_order_id}, which nobody tracks",
                trading_pair=trade.trading_pair,
                client_order_id=trade.client_order_id,
            )
            self._events.trade_event(None, trade)

    def _remember(self, trade: TradeUpdate) -> bool:
        """So that repetitions are silent; False for a fill that is remembered."""
        key = _key(trade)
        if key in self._given_up:
            return False
        self._given_up[key] = None
        if len(self._given_up) > _REMEMBERED:
            self._given_up.popitem(last=False)
        return True


def _key(trade: TradeUpdate) -> tuple[str | None, str | None, str]:
    return trade.client_order_id, trade.exchange_order_id, trade.trade_id
