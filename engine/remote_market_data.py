"""The getters of a connector whose market and account data stand in shared memory: each is one validated copy.

They may be called at any time from any thread; the objects that they return are reused, `.copy()` keeps one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase
from latentspeed.connectors.types import ConnectorType, MarginMode, PositionAction
from latentspeed.engine.market_view import MarketView
from latentspeed.engine.refusals import GatewayNotReady

if TYPE_CHECKING:
    from latentspeed.connectors.candle import Candle
    from latentspeed.connectors.order_book import OrderBook
    from latentspeed.connectors.order_params import OrderParams
    from latentspeed.connectors.position import Balance, Position
    from latentspeed.connectors.quote import Quote


class SharedMarketState(MarketState):
    """What the checks of an order ask of the market, answered from the tables."""

    __slots__ = ("view",)

    def __init__(self, events: EventDispatcher) -> None:
        super().__init__(events)
        self.view: MarketView | None = None

    def latest_quote(self, trading_pair: str) -> Quote | None:
        """The quote in the table; None where there is none."""
        view = self.view
        number = view.number(trading_pair) if view is not None else None
        return view.quote(number) if view is not None and number is not None else None

    def has_all_quotes(self) -> bool:
        """Whether every subscribed market has been quoted since its gateway came up."""
        return all(self.latest_quote(pair) is not None for pair in self.subscriptions)

    def reference_price(self, trading_pair: str) -> float | None:
        """A price to value an order without one, from the quote in the table."""
        quote = self.latest_quote(trading_pair)
        if quote is not None:
            self.quotes[trading_pair] = quote
        return super().reference_price(trading_pair)


class RemoteMarketData(PerpetualDerivativeBase):
    """The reading half of `RemoteConnector`."""

    def __init__(self) -> None:
        super().__init__()
        self._shared = SharedMarketState(self._events)
        self._market = self._shared
        self._connector_type = ConnectorType.DERIVATIVE_PERPETUAL

    @property
    def _view(self) -> MarketView:
        view = self._shared.view
        if view is None:
            raise GatewayNotReady(self.name, "not attached: call initialize() first")
        return view

    # Market data

    def get_quote(self, trading_pair: str) -> Quote | None:
        """The latest quote of a market; None for an unknown pair or while nothing is known."""
        return self._shared.latest_quote(trading_pair)

    def get_book(self, trading_pair: str) -> OrderBook | None:
        """The latest order book of a market; None for an unknown pair or while nothing is known."""
        number = self._view.number(trading_pair)
        return self._view.book(number) if number is not None else None

    def get_candle(self, trading_pair: str, interval: str) -> Candle | None:
        """The newest candle of a market and interval; None where the connector does not have that interval."""
        number = self._view.number(trading_pair)
        return self._view.latest_candle(number, interval) if number is not None else None

    def _reference(self, trading_pair: str, field: str) -> float | None:
        """One of the reference prices of a quote; None where it is not known."""
        quote = self._shared.latest_quote(trading_pair)
        if quote is None:
            return None
        value: float = getattr(quote, field)
        return value if value == value else None

    # Account

    @property
    def connector_type(self) -> ConnectorType:
        """What the gateway's connector trades: with SPOT there are no positions, and margin commands are refused."""
        return self._connector_type

    def get_all_balances(self) -> list[Balance]:
        """The account's balances that are not zero."""
        return [balance for balance in self._view.balances() if balance.total]

    def get_balance(self, asset: str) -> Balance | None:
        """The account's balance of an asset; None for one that it does not hold."""
        return self._view.balance(asset)

    def get_position(self, trading_pair: str) -> Position | None:
        """The account's position in a market, all strategies together; None when there never was one."""
        number = self._view.number(trading_pair)
        return self._view.position(number) if number is not None else None

    def get_all_positions(self) -> list[Position]:
        """The account's positions that are not flat."""
        view = self._view
        positions = (view.position(number) for number in range(len(view)))
        return [position for position in positions if position is not None and position.amount]

    def get_leverage(self, trading_pair: str) -> int | None:
        """The leverage that the venue has acknowledged; None where it is not known."""
        position = self.get_position(trading_pair)
        if position is not None and position.leverage:
            return position.leverage
        return super().get_leverage(trading_pair)

    def get_margin_mode(self, trading_pair: str) -> MarginMode | None:
        """The margin mode that the venue was seen to have; None where it is not known."""
        if self._rule(trading_pair).only_isolated:
            return MarginMode.ISOLATED
        position = self.get_position(trading_pair)
        if position is not None and position.leverage:
            return position.margin_mode
        return super().get_margin_mode(trading_pair)

    def _is_notional_exempt(self, params: OrderParams) -> bool:
        """A close of the whole position or more; where the position is not known, the venue decides."""
        if params.position_action is not PositionAction.CLOSE:
            return False
        position = self.get_position(params.trading_pair)
        return position is None or params.amount >= abs(position.amount) > 0.0

    # Whole tables

    def read_many(self, table: str, out: npt.NDArray[Any], start: int = 0) -> npt.NDArray[Any]:
        """Copy rows of a table into `out`, a structured array of its dtype; each row is validated.

        Tables: instruments, quotes, books, positions (by instrument number), balances, orders (all sessions, by row),
        connector, ledger. Rows never written are zero. Raises KeyError for another name, ValueError for another dtype.
        """
        return self._view.read_many(table, out, start)

    def snapshot(self, table: str) -> npt.NDArray[Any]:
        """A new structured array of the rows of a table that mean something; see `read_many` for the names."""
        view = self._view
        return view.read_many(table, view.empty(table, view.used(table)))
