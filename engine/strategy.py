"""What a strategy's author writes: a class of callbacks, and the few calls that it needs.

A strategy uses the public interface of its connectors and nothing else, so the same class runs across shared memory
(`run`) and inside one process against a network connector (`run_in_process`). Callbacks are called one at a time, in
one thread; own order events come before market data. An exception that leaves a callback ends the strategy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from latentspeed.connectors.types import ConnectorState, OrderState
from latentspeed.engine.records import OrderEventKind
from latentspeed.engine.timers import Timer

if TYPE_CHECKING:
    from latentspeed.connectors.candle import Candle
    from latentspeed.connectors.events import ConnectorErrorEvent, TradeUpdate
    from latentspeed.connectors.funding import FundingPayment
    from latentspeed.connectors.in_flight_order import InFlightOrder
    from latentspeed.connectors.order_book import OrderBook
    from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase
    from latentspeed.connectors.position import Position
    from latentspeed.connectors.quote import MarketTrade, Quote


@dataclass(frozen=True, slots=True)
class OrderNotice:
    """What `on_order_event` is told: the kind of change, the live order, and the fill where there was one."""

    kind: OrderEventKind
    order: InFlightOrder
    fill: TradeUpdate | None = None

    @property
    def client_order_id(self) -> str:
        """The order's id."""
        return self.order.client_order_id

    @property
    def trading_pair(self) -> str:
        """The order's market."""
        return self.order.trading_pair

    @property
    def state(self) -> OrderState:
        """The order's state now."""
        return self.order.state

    @property
    def reason(self) -> str:
        """Why the order was refused, cancelled or expired; empty where nobody said."""
        return self.order.reason


class StrategyHost(Protocol):
    """What a strategy asks of whoever runs it."""

    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> Sequence[str]: ...
    def connector(self, name: str) -> PerpetualDerivativeBase: ...
    def subscribe(self, connector: PerpetualDerivativeBase, trading_pair: str) -> None: ...
    def every(self, seconds: float, callback: Callable[[], object]) -> Timer: ...
    def stop(self, reason: str) -> None: ...


class Strategy:
    """Base of a strategy: override the callbacks that matter.

    Objects handed to `on_quote`, `on_book`, `on_trade`, `on_candle` and `on_position` are reused: `.copy()` keeps one.
    Orders are live objects that go on changing; fills are never changed.
    """

    _host: StrategyHost | None = None
    _log: logging.Logger | None = None

    # What the author overrides

    def on_start(self) -> None:
        """Called once, first: get connectors, subscribe, set timers. `buy` and `sell` work already."""

    def on_quote(self, connector: PerpetualDerivativeBase, quote: Quote) -> None:
        """The best prices of a subscribed pair changed; where several changes wait, only the latest is told.

        `quote.is_stale` means that the venue has stopped saying them: they may be long gone.
        """

    def on_book(self, connector: PerpetualDerivativeBase, book: OrderBook) -> None:
        """The order book of a subscribed pair changed; where several changes wait, only the latest is told."""

    def on_trade(self, connector: PerpetualDerivativeBase, trade: MarketTrade) -> None:
        """Somebody traded a subscribed pair; each trade is told, unless the strategy is too slow (see `on_error`)."""

    def on_candle(self, connector: PerpetualDerivativeBase, candle: Candle) -> None:
        """A candle of a subscribed pair changed, or was closed (`candle.is_closed`).

        Every closed one is told once, before the next one, unless the strategy is slower than the interval. Which
        intervals there are is an option of the connector.
        """

    def on_funding(self, connector: PerpetualDerivativeBase, payment: FundingPayment) -> None:
        """The account has paid or received funding for its position in a subscribed pair, all strategies together."""

    def on_fill(self, connector: PerpetualDerivativeBase, fill: TradeUpdate) -> None:
        """An order of this strategy was filled, wholly or partly; each fill once."""

    def on_order_event(self, connector: PerpetualDerivativeBase, event: OrderNotice) -> None:
        """An order of this strategy changed; a fill is told to `on_fill` first."""

    def on_position(self, connector: PerpetualDerivativeBase, position: Position) -> None:
        """The account's position in a subscribed pair changed; it counts every strategy's fills."""

    def on_connector_state(self, connector: PerpetualDerivativeBase, state: ConnectorState) -> None:
        """The way to the venue changed; DISCONNECTED also when the gateway process has ended."""

    def on_error(self, connector: PerpetualDerivativeBase, error: ConnectorErrorEvent) -> None:
        """Something failed that stops nothing, such as records lost because this strategy was too slow."""

    def on_stop(self) -> None:
        """Called once, last, before this strategy's orders are cancelled; orders may still be sent."""

    # What the author calls

    def connector(self, name: str) -> PerpetualDerivativeBase:
        """The connector of that name, attached and live; the same object each time.

        Raises GatewayDown or GatewayNotReady when its gateway does not take this strategy in before the deadline.
        """
        return self._hosted().connector(name)

    def subscribe(self, connector: PerpetualDerivativeBase, trading_pair: str) -> None:
        """Have the quotes, books, trades and positions of a pair told. Raises OrderRefused for an unknown pair."""
        self._hosted().subscribe(connector, trading_pair)

    def every(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` every `seconds`, on the monotonic clock and without drift; `.cancel()` ends it."""
        return self._hosted().every(seconds, callback)

    def stop(self, reason: str = "stopped by the strategy") -> None:
        """End the strategy in order once the current callback has returned."""
        self._hosted().stop(reason)

    @property
    def name(self) -> str:
        """The strategy's name, from the config or the class."""
        return self._hosted().name

    @property
    def arguments(self) -> Sequence[str]:
        """The command-line arguments that are the strategy's own."""
        return self._hosted().arguments

    @property
    def log(self) -> logging.Logger:
        """The strategy's logger."""
        if self._log is None:
            name = self._host.name if self._host is not None else type(self).__name__
            self._log = logging.getLogger(f"latentspeed.strategy.{name}")
        return self._log

    def _hosted(self) -> StrategyHost:
        if self._host is None:
            raise RuntimeError(f"{type(self).__name__} is not running: start it with run({type(self).__name__})")
        return self._host
