"""Hands events to listeners: in order, each to all, and one that raises stops nobody else."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from typing import TypeVar

from latentspeed.connectors.events import (
    ConnectorErrorEvent,
    ErrorEventListener,
    MarketDataListener,
    OrderEventListener,
    TradeEventListener,
    TradeUpdate,
)
from latentspeed.connectors.in_flight_order import InFlightOrder

log = logging.getLogger(__name__)
_REMEMBERED_ERRORS = 256
_TRACEBACKS = 100
L = TypeVar("L")


class EventDispatcher:
    """The listeners of one connector. Each kind has one that is set and any number that are added."""

    __slots__ = (
        "_error_listener",
        "_faults_logged",
        "_order_listener",
        "_trade_listener",
        "error_listeners",
        "errors",
        "listener_errors",
        "market_data_listener",
        "order_listeners",
        "recent_errors",
        "trade_listeners",
    )

    def __init__(self) -> None:
        self.order_listeners: list[OrderEventListener] = []
        self.trade_listeners: list[TradeEventListener] = []
        self.error_listeners: list[ErrorEventListener] = []
        self.market_data_listener: MarketDataListener | None = None
        self._order_listener: OrderEventListener | None = None
        self._trade_listener: TradeEventListener | None = None
        self._error_listener: ErrorEventListener | None = None
        self.listener_errors = 0
        self.errors: dict[str, int] = {}
        self.recent_errors: deque[ConnectorErrorEvent] = deque(maxlen=_REMEMBERED_ERRORS)
        self._faults_logged: set[tuple[str, int, str]] = set()

    # The one listener of each kind that the connector's setters set. Lists are replaced, never changed in place, so
    # that a listener may be set from another thread or from inside a listener.

    def set_order_listener(self, listener: OrderEventListener | None) -> None:
        """Replaces the listener that was set before; None removes it."""
        self.order_listeners = _replaced(self.order_listeners, self._order_listener, listener)
        self._order_listener = listener

    def set_trade_listener(self, listener: TradeEventListener | None) -> None:
        """Replaces the listener that was set before; None removes it."""
        self.trade_listeners = _replaced(self.trade_listeners, self._trade_listener, listener)
        self._trade_listener = listener

    def set_error_listener(self, listener: ErrorEventListener | None) -> None:
        """Replaces the listener that was set before; None removes it."""
        self.error_listeners = _replaced(self.error_listeners, self._error_listener, listener)
        self._error_listener = listener

    def order_event(self, name: str, order: InFlightOrder) -> None:
        """Raises the order's revision and calls `name(order)` on every order listener."""
        order.revision += 1
        for listener in self.order_listeners:
            try:
                getattr(listener, name)(order)
            except Exception:
                self._listener_failed(listener, name)

    def fill_event(self, name: str, order: InFlightOrder, trade: TradeUpdate) -> None:
        """Raises the order's revision, calls `on_trade`, then `name(order, trade)` on every order listener."""
        order.revision += 1
        self.trade_event(order, trade)
        for listener in self.order_listeners:
            try:
                getattr(listener, name)(order, trade)
            except Exception:
                self._listener_failed(listener, name)

    def trade_event(self, order: InFlightOrder | None, trade: TradeUpdate) -> None:
        """Calls `on_trade` on every trade listener."""
        for listener in self.trade_listeners:
            try:
                listener.on_trade(order, trade)
            except Exception:
                self._listener_failed(listener, "on_trade")

    def error(
        self, code: str, message: str, *, trading_pair: str | None = None, client_order_id: str | None = None
    ) -> None:
        """Counts and logs a failure that stops nothing and calls `on_error` on every error listener."""
        event = ConnectorErrorEvent(code, message, trading_pair, client_order_id, time.time_ns())
        self.errors[code] = self.errors.get(code, 0) + 1
        self.recent_errors.append(event)
        log.warning("%s: %s", code, message)
        for listener in self.error_listeners:
            try:
                listener.on_error(event)
            except Exception:
                self._listener_failed(listener, "on_error")

    def fault(
        self, what: str, error: BaseException, code: str = "internal_error", *, client_order_id: str | None = None
    ) -> None:
        """Reports an exception that nobody foresaw and that stops nothing: counted and told as `error` does, and logged
        with its traceback the first time that it comes from a place."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = ("", 0) if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        key = (*place, type(error).__name__)
        if key not in self._faults_logged and len(self._faults_logged) < _TRACEBACKS:
            self._faults_logged.add(key)
            log.error("%s failed", what, exc_info=error)
        self.error(code, f"{what}: {error!r}", client_order_id=client_order_id)

    def market_data(self, name: str, subject: object) -> None:
        """Calls `name(subject)` on the market data listener, if one is set."""
        listener = self.market_data_listener
        if listener is None:
            return
        try:
            getattr(listener, name)(subject)
        except Exception:
            self._listener_failed(listener, name)

    def _listener_failed(self, listener: object, name: str) -> None:
        self.listener_errors += 1
        where = f"{type(listener).__qualname__}.{name}"
        log.exception("%s raised; the event goes on to the other listeners", where)
        if name != "on_error":
            self.error("listener_raised", f"{where} raised {sys.exc_info()[1]!r}")


def _replaced(listeners: list[L], old: L | None, new: L | None) -> list[L]:
    return [*([] if new is None else [new]), *(item for item in listeners if item is not old)]
