"""A listener that keeps everything that a connector tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.connectors import (
    ErrorEventListener,
    InFlightOrder,
    MarketDataListener,
    OrderEventListener,
    OrderState,
    TradeEventListener,
)


class Heard(OrderEventListener, TradeEventListener, ErrorEventListener, MarketDataListener):
    """Keeps every event: its name, the order's id and the state that it had then."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, OrderState]] = []
        self.trades: list[tuple[InFlightOrder | None, Any]] = []
        self.errors: list[tuple[str, str]] = []
        self.states: list[Any] = []
        self.fundings: list[Any] = []
        self.on_event: Callable[[str, InFlightOrder], None] | None = None

    def _note(self, name: str, order: InFlightOrder) -> None:
        self.events.append((name, order.client_order_id, order.state))
        if self.on_event is not None:
            self.on_event(name, order)

    def on_order_created(self, order):
        self._note("created", order)

    def on_order_updated(self, order):
        self._note("updated", order)

    def on_order_partially_filled(self, order, trade):
        self._note("partially_filled", order)

    def on_order_filled(self, order, trade):
        self._note("filled", order)

    def on_order_completed(self, order):
        self._note("completed", order)

    def on_order_cancelled(self, order):
        self._note("cancelled", order)

    def on_order_expired(self, order):
        self._note("expired", order)

    def on_order_failed(self, order):
        self._note("failed", order)

    def on_trade(self, order, trade):
        self.trades.append((order, trade))

    def on_error(self, error):
        self.errors.append((error.code, error.message))

    def on_connection_state(self, state):
        self.states.append(state)

    def on_funding(self, payment):
        self.fundings.append(payment)

    def names(self, client_order_id: str) -> list[str]:
        """The events of one order."""
        return [name for name, order_id, _ in self.events if order_id == client_order_id]
