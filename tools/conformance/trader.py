"""One connector of a case, and everything that it told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from latentspeed.connectors import (
    ConnectorBase,
    ConnectorErrorEvent,
    ConnectorState,
    ErrorEventListener,
    InFlightOrder,
    MarketDataListener,
    NotReady,
    OrderEventListener,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    PositionAction,
    TimeInForce,
    TradeEventListener,
    TradeType,
    TradeUpdate,
    VenueUnreachable,
)

Told = tuple[str, str, OrderState, int]


class Heard(OrderEventListener, TradeEventListener, ErrorEventListener, MarketDataListener):
    """Keeps every event.

    Attributes:
        events: (name, client order id, state and revision that the order had then).
        trades: (order, fill) of every `on_trade`.
        errors: every error event.
        states: connection states in order.
        on_event: called with each order event's name and order; may raise.
        on_state: called with each connection state; may raise.
    """

    def __init__(self) -> None:
        self.events: list[Told] = []
        self.trades: list[tuple[InFlightOrder | None, TradeUpdate]] = []
        self.errors: list[ConnectorErrorEvent] = []
        self.states: list[ConnectorState] = []
        self.on_event: Callable[[str, InFlightOrder], None] | None = None
        self.on_state: Callable[[ConnectorState], None] | None = None

    def _note(self, name: str, order: InFlightOrder) -> None:
        self.events.append((name, order.client_order_id, order.state, order.revision))
        if self.on_event is not None:
            self.on_event(name, order)

    def on_order_created(self, order: InFlightOrder) -> None:
        """Keep it."""
        self._note("created", order)

    def on_order_updated(self, order: InFlightOrder) -> None:
        """Keep it."""
        self._note("updated", order)

    def on_order_partially_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """Keep it."""
        self._note("partially_filled", order)

    def on_order_filled(self, order: InFlightOrder, trade: TradeUpdate) -> None:
        """Keep it."""
        self._note("filled", order)

    def on_order_completed(self, order: InFlightOrder) -> None:
        """Keep it."""
        self._note("completed", order)

    def on_order_cancelled(self, order: InFlightOrder) -> None:
        """Keep it."""
        self._note("cancelled", order)

    def on_order_expired(self, order: InFlightOrder) -> None:
        """Keep it."""
        self._note("expired", order)

    def on_order_failed(self, order: InFlightOrder) -> None:
        """Keep it."""
        self._note("failed", order)

    def on_trade(self, order: InFlightOrder | None, trade: TradeUpdate) -> None:
        """Keep it."""
        self.trades.append((order, trade))

    def on_error(self, error: ConnectorErrorEvent) -> None:
        """Keep it."""
        self.errors.append(error)

    def on_connection_state(self, state: ConnectorState) -> None:
        """Keep it."""
        self.states.append(state)
        if self.on_state is not None:
            self.on_state(state)


def try_to(place: Callable[[], InFlightOrder]) -> InFlightOrder | None:
    """Place an order unless the connector is not ready to, or knows that the market does not take it now."""
    try:
        return place()
    except (NotReady, OrderRefused):
        return None


class Trader:
    """A connector with short words for what cases do.

    Attributes:
        account: the account that it trades.
        engine: the engine that it belongs to.
        heard: what it told.
    """

    def __init__(
        self, connector: ConnectorBase, account: str, pair: str, price: float, patience_s: float, engine: int = 1
    ) -> None:
        self.connector = connector
        self.account = account
        self.engine = engine
        self.pair = pair
        self.price = price
        self.patience_s = patience_s
        self.heard = Heard()
        connector.set_order_event_listener(self.heard)
        connector.set_trade_event_listener(self.heard)
        connector.set_error_event_listener(self.heard)
        connector.set_market_data_listener(self.heard)

    # -- what to ask for -----------------------------------------------------------------------------------------------

    def at(self, offset: float) -> float:
        """The valid price that lies this fraction away from the reference price."""
        return self.connector.quantize_order_price(self.pair, self.price * (1.0 + offset))

    def size(self, units: int) -> float:
        """An amount: so many times one that is worth three minimum orders, in whole lots."""
        rule = self.connector.get_trading_rule(self.pair)
        assert rule is not None, f"{self.pair} has no trading rule"
        worth = max(float(rule.min_notional) * 3.0 / self.price, float(rule.min_amount) * 3.0, float(rule.lot_size))
        lots = max(1, round(worth / float(rule.lot_size) + 0.5))
        return rule.amount_from_lots(lots * units)

    def place(
        self,
        side: TradeType,
        units: int = 1,
        at: float | None = -0.01,
        *,
        order_type: OrderType = OrderType.LIMIT,
        time_in_force: TimeInForce = TimeInForce.GTC,
        position_action: PositionAction = PositionAction.NIL,
        **more: Any,
    ) -> InFlightOrder:
        """Place an order of so many units, so far from the reference price; `at` None is no price."""
        params = OrderParams(
            self.pair,
            self.size(units),
            None if at is None else self.at(at),
            order_type,
            position_action,
            time_in_force=time_in_force,
            **more,
        )
        place = self.connector.buy if side is TradeType.BUY else self.connector.sell
        order = self.connector.get_order(place(params))
        assert order is not None
        return order

    def buy(self, units: int = 1, at: float | None = -0.01, **more: Any) -> InFlightOrder:
        """Place a buy order."""
        return self.place(TradeType.BUY, units, at, **more)

    def sell(self, units: int = 1, at: float | None = 0.01, **more: Any) -> InFlightOrder:
        """Place a sell order."""
        return self.place(TradeType.SELL, units, at, **more)

    def cancel(self, order: InFlightOrder) -> bool:
        """Cancel an order."""
        return self.connector.cancel(order.client_order_id)

    # -- what to wait for ----------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object], what: object = "") -> None:
        """Wait for a condition; a failure names what did not come and the last things that were told."""
        deadline = time.monotonic() + self.patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"did not come in {self.patience_s} s: {what}; state {self.connector.connection_state.name}, "
                    f"events {self.heard.events[-8:]}, errors {[(e.code, e.message) for e in self.heard.errors[-5:]]}"
                )
            await asyncio.sleep(0.003)

    async def until_state(self, order: InFlightOrder, *states: OrderState) -> InFlightOrder:
        """Wait until the order has one of these states."""
        await self.until(lambda: order.state in states, (order, [state.name for state in states]))
        return order

    async def resting(self, order: InFlightOrder) -> InFlightOrder:
        """Wait until the order is open."""
        return await self.until_state(order, OrderState.OPEN)

    async def ended(self, order: InFlightOrder) -> InFlightOrder:
        """Wait until the order is finished, its fills counted."""
        await self.until(lambda: order.is_done and not order.is_awaiting_fills, order)
        return order

    async def taken(self, place: Callable[[], InFlightOrder]) -> InFlightOrder:
        """Place an order as soon as the connector takes it."""
        placed: list[InFlightOrder] = []

        def is_taken() -> bool:
            order = try_to(place)
            placed.extend([] if order is None else [order])
            return order is not None

        await self.until(is_taken, "an order that is taken")
        return placed[0]

    async def rests(self, place: Callable[[], InFlightOrder]) -> InFlightOrder:
        """Place an order until one rests: time limits are short, and a busy machine may not keep them at once."""
        async with asyncio.timeout(self.patience_s):
            while True:
                order = await self.taken(place)
                await self.until(lambda order=order: order.is_done or order.state is OrderState.OPEN, order)  # type: ignore[misc]
                if not order.is_done:
                    return order

    async def ready(self) -> None:
        """Wait until the connector is ready."""
        await self.until(lambda: self.connector.is_ready, "ready")

    async def compare(self) -> None:
        """Compare with the venue, again when it has not answered in time."""
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                return await self.connector.resync()
            except VenueUnreachable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    async def at_rest(self) -> None:
        """Cancel everything and wait until no order is live or lacks fills."""
        await self.ready()
        tracker = self.connector.order_tracker

        def is_quiet() -> bool:
            return not tracker.active_orders and not tracker.orders_awaiting_fills

        deadline = time.monotonic() + 2 * self.patience_s
        while not is_quiet():
            self.connector.cancel_all()
            await asyncio.sleep(0.05)
            assert time.monotonic() < deadline, (
                tracker.active_orders,
                tracker.orders_awaiting_fills,
                self.heard.errors,
            )

    # -- what was told -------------------------------------------------------------------------------------------------

    def names(self, order: InFlightOrder) -> list[str]:
        """The names of an order's events."""
        return [name for name, client_order_id, _, _ in self.heard.events if client_order_id == order.client_order_id]

    def codes(self) -> set[str]:
        """The codes of all errors."""
        return {error.code for error in self.heard.errors}

    def fills_of(self, order: InFlightOrder) -> list[TradeUpdate]:
        """The fills that were told of an order."""
        return [trade for owner, trade in self.heard.trades if owner is order]
