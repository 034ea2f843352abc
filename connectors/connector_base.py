"""The interface of every connector, whether its venue is across a network or across shared memory.

Nothing here needs an event loop. `buy`, `sell` and `cancel` check, record and hand over; how the request leaves is the
subclass's business (`_schedule_place`, `_schedule_cancel`). What comes back goes through the one `ClientOrderTracker`.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.client_order_id import (
    ClientOrderIdGenerator,
    format_client_order_id,
    new_incarnation,
    parse_client_order_id,
)
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.clock_skew import ClockSkew
from latentspeed.connectors.compound_orders import CompoundOrders
from latentspeed.connectors.counted_before import ForgottenFills
from latentspeed.connectors.errors import NotReady, OrderRefused
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.events import (
    ErrorEventListener,
    MarketDataListener,
    OrderEventListener,
    TradeEventListener,
)
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_access import MarketAccess
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.order_params import (
    OrderLimits,
    OrderParams,
    check_market_notional,
    check_notional,
    check_order,
)
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.quote import Quote
from latentspeed.connectors.twap_orders import TwapOrders
from latentspeed.connectors.types import ConnectorState, ConnectorType, TradeType
from latentspeed.connectors.vitals import Vitals

__all__ = ["ConnectorBase", "OrderParams"]


class ConnectorBase(Vitals, MarketAccess, CompoundOrders, TwapOrders):
    """Identity, lifecycle, orders and listeners of a connector."""

    order_limits: OrderLimits = OrderLimits()

    def __init__(self, *, id_generator: ClientOrderIdGenerator | None = None) -> None:
        self._events = EventDispatcher()
        self._tracker = ClientOrderTracker(self._events)
        self._market = MarketState(self._events)
        self._ids = id_generator or ClientOrderIdGenerator(new_incarnation(0))
        self._connection_state = ConnectorState.DISCONNECTED
        self._is_authenticated = False
        self._ready_lock = threading.Lock()
        self._ready_waiters: deque[Pending[None]] = deque()  # one that all share, or none

    # Identity

    @property
    @abstractmethod
    def name(self) -> str:
        """The connector's name: the venue, and which of its markets."""

    @property
    @abstractmethod
    def domain(self) -> str:
        """Which of the venue's networks it trades on."""

    @property
    @abstractmethod
    def connector_type(self) -> ConnectorType:
        """What kind of market it trades."""

    # Lifecycle

    @abstractmethod
    def initialize(self) -> Pending[None]:
        """Loads what is needed before connecting: markets and rules."""

    @abstractmethod
    def connect(self) -> Pending[None]:
        """Opens the session, subscribes, synchronises orders and account; done when that is done."""

    @abstractmethod
    def disconnect(self) -> Pending[None]:
        """Closes the session and what belongs to it; orders are left alone."""

    @abstractmethod
    def resync(self) -> Pending[None]:
        """Asks the venue for fills, then orders, then positions and balances, and reduces the answers."""

    @abstractmethod
    def subscribe(self, trading_pair: str) -> None:
        """Asks for a market's data, before or after connecting. Raises OrderRefused for a pair known not to exist."""

    @property
    def connection_state(self) -> ConnectorState:
        """How far the session with the venue has come."""
        return self._connection_state

    @property
    def clock_skew(self) -> ClockSkew | None:
        """How far the venue's clock is from this machine's; None where that is not known."""
        return None

    @property
    def is_connected(self) -> bool:
        """Whether a session with the venue is open."""
        return self._connection_state >= ConnectorState.SYNCING

    @property
    def is_ready(self) -> bool:
        """Connected, authenticated, synchronised, and market data present for every subscribed pair."""
        return (
            self._connection_state is ConnectorState.LIVE and self._is_authenticated and self._market.has_all_quotes()
        )

    def wait_ready(self) -> Pending[None]:
        """Done as soon as `is_ready`: await it, or call `.result(timeout_s)` where no loop runs."""
        with self._ready_lock:
            waiter = next(iter(self._ready_waiters), None)
            if waiter is None:
                waiter = self._new_waiter()
                self._ready_waiters.append(waiter)
        self._check_ready()
        return waiter

    # Orders

    def buy(self, params: OrderParams) -> str:
        """Sends a buy order and returns its client order id at once.

        Raises OrderRefused or NotReady; then nothing is sent.
        """
        order = self.create_order(TradeType.BUY, params)
        self.submit_order(order)
        return order.client_order_id

    def sell(self, params: OrderParams) -> str:
        """The same as `buy`, on the other side."""
        order = self.create_order(TradeType.SELL, params)
        self.submit_order(order)
        return order.client_order_id

    def create_order(
        self,
        trade_type: TradeType,
        params: OrderParams,
        *,
        client_order_id: str | None = None,
        strategy_tag: int = 0,
        expire_mono_ns: int = 0,
    ) -> InFlightOrder:
        """A checked order in PENDING_CREATE that is not tracked yet.

        Raises OrderRefused, with field, value and rule, and changes nothing.
        """
        if not isinstance(params, OrderParams):
            raise OrderRefused("params", params, "OrderParams are required")
        rule = self._rule(params.trading_pair)
        amount_lots, price_units, trigger_units = check_order(trade_type, params, rule, self.order_limits)
        self._check_extra_params(params)
        if not self._is_notional_exempt(params):
            if params.order_type.has_price:
                check_notional(params, rule, amount_lots, price_units)
            elif trigger_units:
                check_notional(params, rule, amount_lots, trigger_units)
            elif (price := self._market.reference_price(params.trading_pair)) is not None:
                check_market_notional(params, rule, price)
        if client_order_id is None:
            client_order_id = self.generate_client_order_id()
        else:
            self._check_new_id(client_order_id)
        order = InFlightOrder(
            client_order_id,
            rule,
            trade_type,
            params.order_type,
            amount_lots,
            price_units,
            position_action=params.position_action,
            time_in_force=params.time_in_force,
            leverage=params.leverage,
            trigger_units=trigger_units,
            extra_params=None if params.extra_params is None else dict(params.extra_params),
            strategy_tag=strategy_tag,
            expire_mono_ns=expire_mono_ns,
        )
        self._check_order(order)
        return order

    def submit_order(self, order: InFlightOrder) -> None:
        """Tracks a created order and hands it over for sending. Raises NotReady, and then it is not tracked."""
        self._check_can_place()
        self.start_tracking_order(order)
        try:
            self._schedule_place(order)
        except BaseException:
            self._tracker.stop_tracking_order(order.client_order_id)
            raise

    def cancel(self, client_order_id: str) -> bool:
        """Asks for an order's cancellation.

        False when it is unknown or finished. Repeating it while one is on its way is free.
        """
        order = self._tracker.get_order(client_order_id)
        if order is None or order.is_done:
            return False
        if not order.cancel_in_flight:
            order.cancel_in_flight = True
            try:
                self._schedule_cancel(order)
            except BaseException:
                order.cancel_in_flight = False
                raise
        return True

    def cancel_all(self, client_order_ids: Iterable[str] | None = None) -> int:
        """Cancels the given orders, or every live one; how many cancels are on their way."""
        if client_order_ids is None:
            client_order_ids = [order.client_order_id for order in self._tracker.active_orders]
        return sum(map(self.cancel, client_order_ids))

    def recover_orders(
        self,
        orders: Iterable[InFlightOrder],
        *,
        known_trade_ids: Iterable[str | tuple[str, str]] = (),
        counted_until_utc_ns: int | None = None,
        forgotten: Mapping[str, ForgottenFills] | None = None,
        fills_since_utc_ns: int = 0,
    ) -> None:
        """Takes over orders of an earlier process before connecting, see `ClientOrderTracker.recover_orders`.

        The venue is asked for fills from `fills_since_utc_ns` on, 0 for as far back as the orders go; unless told
        otherwise, those before were counted.
        """
        restored = list(orders)
        self._tracker.recover_orders(
            restored,
            known_trade_ids=known_trade_ids,
            counted_until_utc_ns=fills_since_utc_ns if counted_until_utc_ns is None else counted_until_utc_ns,
            forgotten=forgotten,
        )
        self._took_over(restored, fills_since_utc_ns)

    def forget_history(self) -> None:
        """Fills that the latest positions contain are history: those of orders that nobody tracks are not told.

        Does nothing where the venue does not say as of when its positions are.
        """

    def get_order(self, client_order_id: str) -> InFlightOrder | None:
        """The order of a client order id, live or lately finished."""
        return self._tracker.get_order(client_order_id)

    def get_open_orders(self, trading_pair: str | None = None) -> list[InFlightOrder]:
        """The orders that are not finished, oldest first, of one market or of all."""
        orders = self._tracker.active_orders
        return orders if trading_pair is None else [order for order in orders if order.trading_pair == trading_pair]

    @property
    def order_tracker(self) -> ClientOrderTracker:
        """The reducer that holds this connector's orders."""
        return self._tracker

    def fetch_candles(
        self, trading_pair: str, interval: str, start_utc_ns: int, end_utc_ns: int = 0
    ) -> Pending[list[Candle]]:
        """The candles that began from `start_utc_ns` to `end_utc_ns` (0 for now), oldest first, from the venue's store.

        Raises OrderRefused for an unknown pair or interval, and where the connector reads none; the result raises
        VenueUnreachable.
        """
        raise OrderRefused("interval", interval, f"{self.name} reads no history of candles")

    # Listeners

    def set_order_event_listener(self, listener: OrderEventListener | None) -> None:
        """Sets the one order listener; None removes it."""
        self._events.set_order_listener(listener)

    def set_trade_event_listener(self, listener: TradeEventListener | None) -> None:
        """Sets the one trade listener; None removes it."""
        self._events.set_trade_listener(listener)

    def set_error_event_listener(self, listener: ErrorEventListener | None) -> None:
        """Sets the one error listener; None removes it."""
        self._events.set_error_listener(listener)

    def set_market_data_listener(self, listener: MarketDataListener | None) -> None:
        """Sets the one listener for market data, positions, balances and the connection; None removes it."""
        self._events.market_data_listener = listener

    # Time and ids

    def current_timestamp_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()

    def generate_client_order_id(self) -> str:
        """A new client order id: never that of an order that is known, such as an earlier process's of this second."""
        client_order_id = format_client_order_id(self._ids.next())
        while self._tracker.get_order(client_order_id) is not None:
            client_order_id = format_client_order_id(self._ids.next())
        return client_order_id

    def _new_ids(self, count: int) -> list[str]:
        return [self.generate_client_order_id() for _ in range(count)]

    # For subclasses

    def start_tracking_order(self, order: InFlightOrder) -> None:
        """Makes an order visible before its request leaves."""
        self._tracker.start_tracking_order(order)

    @abstractmethod
    def _schedule_place(self, order: InFlightOrder) -> None:
        """Hands a tracked order over for sending; does not block. Called in the thread of `buy` and `sell`."""

    @abstractmethod
    def _schedule_cancel(self, order: InFlightOrder) -> None:
        """Hands a live order over for cancelling; does not block. Called in the thread of `cancel`."""

    @abstractmethod
    def _place_order(self, order: InFlightOrder) -> tuple[str, int] | Awaitable[tuple[str, int]]:
        """Sends one order; (exchange order id, "" where it is not known yet; the venue's time in ns)."""

    @abstractmethod
    def _place_order_and_process_update(self, order: InFlightOrder) -> Awaitable[None] | None:
        """Sends one order and reduces what comes of it; raises nothing."""

    @abstractmethod
    def _cancel_order(self, order: InFlightOrder) -> bool | Awaitable[bool]:
        """Cancels one order; True when the venue has confirmed it."""

    def _check_can_place(self) -> None:
        """Raises NotReady unless the session is synchronised. Cancels are always accepted."""
        if self._connection_state is not ConnectorState.LIVE:
            raise NotReady(f"{self.name} is {self._connection_state.name}, not LIVE: no order was sent")

    def _check_extra_params(self, params: OrderParams) -> None:
        """Refuses values of extra_params that the venue would not take; the keys have been checked."""

    def _check_order(self, order: InFlightOrder) -> None:
        """Hook: raises OrderRefused for an order that is well formed and that the venue would not take now."""

    def _took_over(self, orders: list[InFlightOrder], fills_since_utc_ns: int) -> None:
        """Hook: these orders of an earlier process are tracked now; see `recover_orders`."""

    def _is_notional_exempt(self, params: OrderParams) -> bool:
        """Whether the venue takes this order below the minimum notional."""
        return False

    def _prepare_order(self, order: InFlightOrder) -> Awaitable[object] | None:
        """What has to be acknowledged by the venue before this order is sent, None for nothing."""
        return None

    def _check_new_id(self, client_order_id: str) -> None:
        try:
            parse_client_order_id(client_order_id)
        except (ValueError, TypeError, AttributeError) as error:
            raise OrderRefused("client_order_id", client_order_id, str(error)) from None
        if self._tracker.get_order(client_order_id) is not None:
            raise OrderRefused("client_order_id", client_order_id, "the id is taken; an id is used once")

    def _set_connection_state(self, state: ConnectorState) -> None:
        """Changes the session's state and tells the market data listener."""
        if state is self._connection_state:
            return
        self._connection_state = state
        self._events.market_data("on_connection_state", state)
        self._check_ready()

    def _set_authenticated(self, is_authenticated: bool) -> None:
        """Records whether the venue accepts this connector's key."""
        self._is_authenticated = is_authenticated
        self._check_ready()

    def _publish_quote(self, quote: Quote) -> None:
        """Tells the listener that a quote from `_market.quote()` was changed."""
        self._events.market_data("on_quote", quote)
        if self._ready_waiters:
            self._check_ready()

    def _check_ready(self) -> None:
        if not self._ready_waiters or not self.is_ready:
            return
        with self._ready_lock:
            waiters = [self._ready_waiters.popleft() for _ in range(len(self._ready_waiters))]
        for waiter in waiters:
            waiter.set_result(None)

    def _new_waiter(self) -> Pending[None]:
        return Pending()
