"""What a resync compares, in which order, and what it reports.

After every reconnect the connector asks the venue for the fills of the gap, then for the open orders, then for each
order that is missing among them, then for positions. All answers go through the reducer; nothing here decides a state.
An answer may be older than what the stream has told meanwhile, and the reducer does not mind; but absence proves
nothing about an order that was sent or accepted just before, so those are left to the next resync.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder


@dataclass(frozen=True, slots=True)
class PositionDifference:
    """A position that is not what this process expected, in lots."""

    trading_pair: str
    expected_lots: int
    venue_lots: int


@dataclass(slots=True)
class ResyncReport:
    """What one resync found."""

    started_utc_ns: int
    finished_utc_ns: int = 0
    fills_seen: int = 0
    fills_counted: int = 0
    open_orders_seen: int = 0
    foreign_orders: int = 0
    orders_settled: list[str] = field(default_factory=list)
    orders_unknown: list[str] = field(default_factory=list)
    orders_awaiting_fills: list[str] = field(default_factory=list)
    ghost_orders: list[OrderUpdate] = field(default_factory=list)
    position_differences: list[PositionDifference] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the venue and this process agree on every order, fill and position."""
        return not (self.orders_unknown or self.orders_awaiting_fills or self.ghost_orders or self.position_differences)


class _Step(IntEnum):
    FILLS = 0
    OPEN_ORDERS = 1
    ORDERS = 2
    DONE = 3


class Reconciliation:
    """One resync. Make it before the first question is sent, then feed it the answers in the order of the methods."""

    def __init__(self, tracker: ClientOrderTracker, *, settling_s: float = 10.0) -> None:
        """`settling_s` is how long before the resync an order must have been accepted, or have ended, for absence or
        presence at the venue to contradict that."""
        self._tracker = tracker
        self._step = _Step.FILLS
        self._report = ResyncReport(time.time_ns())
        self._started_mono_ns = time.monotonic_ns()
        self._settled_before_mono_ns = self._started_mono_ns - int(settling_s * 1e9)
        self._candidates = {order.client_order_id: order for order in tracker.active_orders if order.is_submitted}
        self._long_accepted = {
            client_order_id
            for client_order_id, order in self._candidates.items()
            if order.is_acknowledged and order.acknowledged_mono_ns <= self._settled_before_mono_ns
        }

    def add_fills(self, trades: Iterable[TradeUpdate]) -> int:
        """First: every fill of the gap, in any number of calls; how many were counted."""
        self._enter(_Step.FILLS)
        counted = 0
        for trade in trades:
            self._report.fills_seen += 1
            counted += self._tracker.process_trade_update(trade)
        self._report.fills_counted += counted
        return counted

    def add_open_orders(self, updates: Iterable[OrderUpdate]) -> list[InFlightOrder]:
        """Second: the list of all open orders; returns the live orders that are not in it, to be asked for one by one.

        A report without a client order id of ours is a foreign order. One that ended here before the resync began, or
        that nobody tracks although it has a client order id of ours, is a ghost: alive at the venue, dead here.
        """
        self._enter(_Step.OPEN_ORDERS)
        present = set()
        for update in updates:
            self._report.open_orders_seen += 1
            order = self._find(update)
            if order is None:
                if update.client_order_id is None:
                    self._report.foreign_orders += 1
                else:
                    self._add_ghost(update)
                continue
            present.add(order.client_order_id)
            self._tracker.process_order_update(update)
            ended_mono_ns = self._tracker.finished_mono_ns(order.client_order_id)
            if ended_mono_ns is not None and ended_mono_ns <= self._settled_before_mono_ns:
                self._add_ghost(update)
        return [
            order
            for client_order_id, order in self._candidates.items()
            if client_order_id not in present and order.is_active
        ]

    def add_order(self, update: OrderUpdate) -> bool:
        """Third: the venue's answer for one order that was missing."""
        self._enter(_Step.ORDERS)
        return self._tracker.process_order_update(update)

    def add_order_not_found(self, client_order_id: str, *, now_utc_ns: int | None = None) -> bool:
        """Third: the venue does not know an order that was missing; True when that settled it."""
        self._enter(_Step.ORDERS)
        return self._tracker.process_order_not_found(
            client_order_id, now_utc_ns=now_utc_ns, is_absent=client_order_id in self._long_accepted
        )

    def compare_positions(self, expected_lots: Mapping[str, int], venue_lots: Mapping[str, int]) -> None:
        """Fourth: positions by trading pair in lots; a market that is in neither mapping is flat in it."""
        self._enter(_Step.ORDERS)
        for trading_pair in sorted(expected_lots.keys() | venue_lots.keys()):
            expected, actual = expected_lots.get(trading_pair, 0), venue_lots.get(trading_pair, 0)
            if expected != actual:
                self._report.position_differences.append(PositionDifference(trading_pair, expected, actual))

    def finish(self) -> ResyncReport:
        """Last: what was found. Differences are also error events."""
        self._enter(_Step.DONE)
        report, events = self._report, self._tracker.events
        report.finished_utc_ns = time.time_ns()
        report.orders_settled = [order_id for order_id, order in self._candidates.items() if order.is_done]
        report.orders_unknown = [order_id for order_id, order in self._candidates.items() if order.is_unknown]
        for order in self._tracker.orders_awaiting_fills:
            if 0 < order.awaiting_since_mono_ns <= self._started_mono_ns:
                report.orders_awaiting_fills.append(order.client_order_id)
                events.error(
                    "fills_missing",
                    f"the venue says that {order.expected_filled_lots} lots of {order!r} are filled",
                    trading_pair=order.trading_pair,
                    client_order_id=order.client_order_id,
                )
        for update in report.ghost_orders:
            events.error(
                "ghost_order",
                f"order {update.client_order_id} is open at the venue as {update.exchange_order_id} and not live here",
                client_order_id=update.client_order_id,
            )
        for difference in report.position_differences:
            events.error(
                "position_difference",
                f"expected {difference.expected_lots} lots, the venue has {difference.venue_lots}",
                trading_pair=difference.trading_pair,
            )
        return report

    def _enter(self, step: _Step) -> None:
        if step < self._step:
            raise RuntimeError(f"a resync takes {step.name} before {self._step.name}: fills first, then orders")
        self._step = step

    def _find(self, update: OrderUpdate) -> InFlightOrder | None:
        order = None
        if update.client_order_id is not None:
            order = self._tracker.get_order(update.client_order_id)
        if order is None and update.exchange_order_id is not None:
            order = self._tracker.get_order_by_exchange_id(update.exchange_order_id)
        return order

    def _add_ghost(self, update: OrderUpdate) -> None:
        self._report.ghost_orders.append(update)
