"""Fills that belong to no tracked order: waiting for it, history, or given up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import TradeUpdate
from latentspeed.connectors.held_reports import HeldReports
from latentspeed.connectors.in_flight_order import InFlightOrder

_REMEMBERED = 10_000


class UnmatchedFills:
    """Holds fills for a while; then tells listeners of each, once, without an order."""

    __slots__ = ("_counted_until_utc_ns", "_events", "_given_up", "_held", "_known", "given_up_count")

    def __init__(self, events: EventDispatcher, capacity: int, age_ns: int) -> None:
        self._events = events
        self._held: HeldReports[TradeUpdate] = HeldReports(capacity, age_ns)
        self._given_up: OrderedDict[tuple[str | None, str | None, str], None] = OrderedDict()
        self._known: frozenset[str | tuple[str, str]] = frozenset()
        self._counted_until_utc_ns = 0
        self.given_up_count = 0

    def __len__(self) -> int:
        return len(self._held)

    def ignore(self, known_trade_ids: Iterable[str | tuple[str, str]], before_utc_ns: int) -> None:
        """Fills that an earlier process counted, or that are history."""
        self._known = frozenset(known_trade_ids)
        self._counted_until_utc_ns = before_utc_ns

    def was_counted_before(self, client_order_id: str | None, trade: TradeUpdate) -> bool:
        """Whether `ignore` names this fill."""
        if 0 < trade.venue_utc_ns < self._counted_until_utc_ns or trade.trade_id in self._known:
            return True
        return client_order_id is not None and (client_order_id, trade.trade_id) in self._known

    def hold(self, trade: TradeUpdate, now_mono_ns: int) -> None:
        """Keeps a fill for an order that may still come; when there are too many, the oldest is given up."""
        if self.was_counted_before(trade.client_order_id, trade) or _key(trade) in self._given_up:
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
        if self.was_counted_before(trade.client_order_id, trade) or not self._remember(trade):
            return False
        self._events.trade_event(None, trade)
        return True

    def _give_up(self, trades: list[TradeUpdate]) -> None:
        for trade in trades:
            if not self._remember(trade):
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
