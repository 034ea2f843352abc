"""From a connector's listeners to a strategy's callbacks, holding on to the first exception that leaves one.

Connectors let a listener that raises stop nobody else; a strategy is ended by it. So an exception is kept here, told to
the strategy's host, and no further callback is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from latentspeed.connectors.events import (
    ErrorEventListener,
    MarketDataListener,
    OrderEventListener,
    TradeEventListener,
)
from latentspeed.engine.records import OrderEventKind
from latentspeed.engine.strategy import OrderNotice, Strategy

if TYPE_CHECKING:
    from latentspeed.connectors.candle import Candle
    from latentspeed.connectors.events import ConnectorErrorEvent, TradeUpdate
    from latentspeed.connectors.funding import FundingPayment
    from latentspeed.connectors.in_flight_order import InFlightOrder
    from latentspeed.connectors.order_book import OrderBook
    from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase
    from latentspeed.connectors.position import Position
    from latentspeed.connectors.quote import MarketTrade, Quote
    from latentspeed.connectors.types import ConnectorState


class StrategyEvents(OrderEventListener, TradeEventListener, ErrorEventListener, MarketDataListener):
    """Every listener of one connector, for one strategy.

    Parameters: `on_failure(error)` is told of the first exception that leaves a callback.
    """

    def __init__(
        self, strategy: Strategy, connector: PerpetualDerivativeBase, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._strategy = strategy
        self._connector = connector
        self._on_failure = on_failure
        self._has_failed = False
        self.is_stopping = False
        self.pairs: set[str] = set()

    def attach(self) -> None:
        """Become the connector's listener of every kind."""
        self._connector.set_order_event_listener(self)
        self._connector.set_trade_event_listener(self)
        self._connector.set_error_event_listener(self)
        self._connector.set_market_data_listener(self)

    def mute(self) -> None:
        """Make no more callbacks: another one of this strategy has raised."""
        self._has_failed = True

    # Market data: nothing more once the strategy is stopping

    def on_quote(self, quote: Quote) -> None:
        """To `Strategy.on_quote`."""
        if not (self._has_failed or self.is_stopping):
            try:
                self._strategy.on_quote(self._connector, quote)
            except BaseException as error:
                self._fail(error)

    def on_book(self, book: OrderBook) -> None:
        """To `Strategy.on_book`."""
        if not (self._has_failed or self.is_stopping):
            try:
                self._strategy.on_book(self._connector, book)
            except BaseException as error:
                self._fail(error)

    def on_market_trade(self, trade: MarketTrade) -> None:
        """To `Strategy.on_trade`."""
        if not (self._has_failed or self.is_stopping):
            try:
                self._strategy.on_trade(self._connector, trade)
            except BaseException as error:
                self._fail(error)

    def on_candle(self, candle: Candle) -> None:
        """To `Strategy.on_candle`."""
        if not (self._has_failed or self.is_stopping):
            try:
                self._strategy.on_candle(self._connector, candle)
            except BaseException as error:
                self._fail(error)

    def on_funding(self, payment: FundingPayment) -> None:
        """To `Strategy.on_funding`, for subscribed pairs."""
        if not self._has_failed and payment.trading_pair in self.pairs:
            try:
                self._strategy.on_funding(self._connector, payment)
            except BaseException as error:
                self._fail(error)

    def on_position(self, position: Position) -> None:
        """To `Strategy.on_position`, for subscribed pairs."""
        if not self._has_failed and position.trading_pair in self.pairs:
            try:
                self._strategy.on_position(self._connector, position)
            except BaseException as error:
                self._fail(error)

    def on_connection_state(self, state: ConnectorState) -> None:
        """To `Strategy.on_connector_state`."""
        if not self._has_failed:
            try:
                self._strategy.on_connector_state(self._connector, state)
            except BaseException as error:
                self._fail(error)

    def on_error(self, error: ConnectorErrorEvent) -> None:
        """To `Strategy.on_error`."""
        if not self._has_failed:
            try:
                self._strategy.on_error(self._connector, error)
            except BaseException as raised:
                self._fail(raised)

    # Orders and fills

    def on_trade(self, order: InFlightOrder | None, trade: TradeUpdate) -> None:
        """To `Strategy.on_fill`, for this strategy's own orders."""
        if not self._has_failed and order is not None:
            try:
                self._strategy.on_fill(self._connector, trade)
            except BaseException as error:
                self._fail(error)

    def on_order_created(self, order: InFlightOrder) -> None:
        """To `Strategy.on_order_event`, as are all that follow."""
        self._tell(OrderEventKind.CREATED, order)

    def on_order_updated(self, order: InFlightOrder) -> None:
        """Sent, cancel requested, or fate unknown."""
        self._tell(OrderEventKind.UPDATED, order)

    def on_order_partially_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """A fill that leaves something open."""
        self._tell(OrderEventKind.PARTIALLY_FILLED, order, trade)

    def on_order_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """The fill that completes the order."""
        self._tell(OrderEventKind.FILLED, order, trade)

    def on_order_completed(self, order: InFlightOrder) -> None:
        """Filled."""
        self._tell(OrderEventKind.COMPLETED, order)

    def on_order_cancelled(self, order: InFlightOrder) -> None:
        """Cancelled."""
        self._tell(OrderEventKind.CANCELLED, order)

    def on_order_expired(self, order: InFlightOrder) -> None:
        """Expired."""
        self._tell(OrderEventKind.EXPIRED, order)

    def on_order_failed(self, order: InFlightOrder) -> None:
        """Failed."""
        self._tell(OrderEventKind.FAILED, order)

    def _tell(self, kind: OrderEventKind, order: InFlightOrder, fill: TradeUpdate | None = None) -> None:
        if not self._has_failed:
            try:
                self._strategy.on_order_event(self._connector, OrderNotice(kind, order, fill))
            except BaseException as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._has_failed = True
        self._on_failure(error)
