"""Reports that come in from a venue, events that go out to listeners, and the listeners' interfaces.

A listener derives from one of the classes below and overrides what it needs. Calls are synchronous, in the connector's
loop thread; the order passed is the live one and changes later. `client_order_tracker` documents which events a report
makes and in which order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from latentspeed.connectors.types import ConnectorState, OrderState, ReportSource, TradeType

if TYPE_CHECKING:
    from latentspeed.connectors.candle import Candle
    from latentspeed.connectors.funding import FundingPayment
    from latentspeed.connectors.in_flight_order import InFlightOrder
    from latentspeed.connectors.order_book import OrderBook
    from latentspeed.connectors.position import Balance, Position
    from latentspeed.connectors.quote import MarketTrade, Quote
    from latentspeed.connectors.trading_rule import TradingRule


class OrderUpdate(msgspec.Struct, frozen=True, gc=False):
    """One report about an order's state. At least one of the two ids is given.

    `filled_lots` is what the venue says was filled in all, None where it does not say; it never counts as a fill, but
    the order shows `is_awaiting_fills` until fills add up to it. FILLED without `filled_lots` means the whole amount;
    FILLED with less than the amount means that the venue shrank the order, and ends it as CANCELLED.
    """

    client_order_id: str | None = None
    exchange_order_id: str | None = None
    state: OrderState = OrderState.UNKNOWN
    reason: str = ""
    venue_utc_ns: int = 0
    source: ReportSource = ReportSource.STREAM
    filled_lots: int | None = None


class TradeUpdate(msgspec.Struct, frozen=True, gc=False):
    """One fill of one order. `trade_id` is unique within the order.

    Price and amount are given twice, as floats and as exact integers of the market's rule; the integers count.
    `fee_units` is the fee times 10**8, negative for a rebate.
    """

    trade_id: str
    client_order_id: str | None
    exchange_order_id: str | None
    trading_pair: str
    trade_type: TradeType
    price: float
    amount: float
    price_units: int
    amount_lots: int
    fee: float = 0.0
    fee_units: int = 0
    fee_asset: str = ""
    is_taker: bool = False
    venue_utc_ns: int = 0
    source: ReportSource = ReportSource.STREAM


class ConnectorErrorEvent(msgspec.Struct, frozen=True, gc=False):
    """A failure that stops nothing. `code` is one of a small set, fit for counting; `message` has the facts."""

    code: str
    message: str
    trading_pair: str | None = None
    client_order_id: str | None = None
    time_utc_ns: int = 0


class OrderEventListener:
    """Hears what happens to orders. Every call has its own, higher `order.revision`."""

    def on_order_created(self, order: InFlightOrder) -> None:
        """The venue has accepted the order; at most once, before any other sign of acceptance is shown."""

    def on_order_updated(self, order: InFlightOrder) -> None:
        """Something visible changed that has no event of its own: sent, cancel requested, fate unknown, new id."""

    def on_order_partially_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """A fill was counted that does not complete the order; also after a cancel or a failure."""

    def on_order_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """A fill was counted that completes the order."""

    def on_order_completed(self, order: InFlightOrder) -> None:
        """The order is FILLED; once, right after `on_order_filled`."""

    def on_order_cancelled(self, order: InFlightOrder) -> None:
        """The order is CANCELLED. Late fills may follow, and may still complete it."""

    def on_order_expired(self, order: InFlightOrder) -> None:
        """The order is EXPIRED."""

    def on_order_failed(self, order: InFlightOrder) -> None:
        """The order is FAILED, with `order.reason`."""


class TradeEventListener:
    """Hears of fills, each once."""

    def on_trade(self, order: InFlightOrder | None, trade: TradeUpdate) -> None:
        """A fill was counted; `order` is None for a fill of an order that is not ours or not known."""


class ErrorEventListener:
    """Hears of failures that stop nothing."""

    def on_error(self, error: ConnectorErrorEvent) -> None:
        """Something failed and was handled; the connector goes on."""


class MarketDataListener:
    """Hears of market data and account changes. The objects are reused: copy what must be kept."""

    def on_quote(self, quote: Quote) -> None:
        """Best prices, mark, index, funding or open interest changed."""

    def on_book(self, book: OrderBook) -> None:
        """The order book changed."""

    def on_market_trade(self, trade: MarketTrade) -> None:
        """Somebody traded."""

    def on_candle(self, candle: Candle) -> None:
        """A candle changed or was closed; each closed one is told once, before the next one begins."""

    def on_funding(self, payment: FundingPayment) -> None:
        """This account has paid or received funding."""

    def on_position(self, position: Position) -> None:
        """A position of this account changed."""

    def on_balance(self, balance: Balance) -> None:
        """A balance of this account changed."""

    def on_trading_rule(self, rule: TradingRule) -> None:
        """A market was listed, or its rule changed."""

    def on_connection_state(self, state: ConnectorState) -> None:
        """The session with the venue changed."""
