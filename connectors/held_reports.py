"""Reports about orders that nobody tracks yet, kept for a while and in bounded number.

A fill can overtake the reply that tells which order it belongs to. It waits here, found by either id, until the order
is known or its time is up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

from latentspeed.connectors.events import OrderUpdate, TradeUpdate

R = TypeVar("R", OrderUpdate, TradeUpdate)


class HeldReports(Generic[R]):
    """A first-in, first-out store of reports with two indexes. Equal reports are held once."""

    __slots__ = ("_age_ns", "_by_id", "_capacity", "_reports")

    def __init__(self, capacity: int, age_ns: int) -> None:
        self._capacity = capacity
        self._age_ns = age_ns
        self._reports: OrderedDict[R, int] = OrderedDict()
        self._by_id: dict[tuple[str, str], list[R]] = {}

    def __len__(self) -> int:
        return len(self._reports)

    def add(self, report: R, now_mono_ns: int) -> list[R]:
        """Holds a report; returns those that were given up for it."""
        if report in self._reports:
            return []
        self._reports[report] = now_mono_ns + self._age_ns
        for key in _keys(report):
            self._by_id.setdefault(key, []).append(report)
        return [self._drop(next(iter(self._reports))) for _ in range(len(self._reports) - self._capacity)]

    def take(self, client_order_id: str | None, exchange_order_ids: Iterable[str] = ()) -> list[R]:
        """Removes and returns the reports of an order, oldest first."""
        if not self._reports:
            return []
        found: dict[R, None] = {}
        if client_order_id is not None:
            found.update(dict.fromkeys(self._by_id.get(("client", client_order_id), ())))
        for exchange_order_id in exchange_order_ids:
            found.update(dict.fromkeys(self._by_id.get(("exchange", exchange_order_id), ())))
        return [self._drop(report) for report in found]

    def pop_expired(self, now_mono_ns: int) -> list[R]:
        """Removes and returns the reports whose time is up."""
        expired: list[R] = []
        while self._reports:
            report, deadline = next(iter(self._reports.items()))
            if deadline > now_mono_ns:
                break
            expired.append(self._drop(report))
        return expired

    def _drop(self, report: R) -> R:
        del self._reports[report]
        for key in _keys(report):
            held = self._by_id[key]
            held.remove(report)
            if not held:
                del self._by_id[key]
        return report


def _keys(report: OrderUpdate | TradeUpdate) -> list[tuple[str, str]]:
    keys = []
    if report.client_order_id is not None:
        keys.append(("client", report.client_order_id))
    if report.exchange_order_id is not None:
        keys.append(("exchange", report.exchange_order_id))
    return keys
