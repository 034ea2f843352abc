"""A session with a venue that tells by a socket: opened, compared, live, lost, and opened again.

    DISCONNECTED -> CONNECTING -> SYNCING -> LIVE <-> STALE
                        ^            |        |        |
                        +---- the socket was lost -----+

LIVE and STALE show as UNAUTHORISED while the venue refuses what the key signs. Every opening of the socket is followed
by a full comparison with the venue, and only then is the session LIVE.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from latentspeed.connectors.client_order_id import ClientOrderIdGenerator
from latentspeed.connectors.data_sources import OrderBookTrackerDataSource
from latentspeed.connectors.errors import (
    ConnectorError,
    NotReady,
    OrderEnded,
    OrderRefused,
    VenueRejected,
    VenueUnreachable,
)
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_price import check_slippage, market_limit_units
from latentspeed.connectors.network_connector import NetworkConnector
from latentspeed.connectors.order_params import OrderParams
from latentspeed.connectors.signing_right import SigningRight
from latentspeed.connectors.transport import BackOff, TransportError, WebSocketLink
from latentspeed.connectors.types import ConnectorState, OrderType

OPEN_STATES = (ConnectorState.LIVE, ConnectorState.STALE, ConnectorState.UNAUTHORISED)
AGAIN_FIRST_S, AGAIN_LONGEST_S = 0.25, 10.0
"""How soon a comparison that failed is tried again, and how seldom at last."""


class SessionConfig(Protocol):
    """What a session asks of its configuration."""

    @property
    def domain(self) -> str:
        """Which of the venue's networks."""

    @property
    def socket_url(self) -> str:
        """Where the socket is opened."""

    @property
    def connect_timeout_s(self) -> float:
        """How long connecting and the first comparison may take."""

    @property
    def quote_max_age_s(self) -> float:
        """A MARKET order is refused when the last quote is older."""

    @property
    def slippage(self) -> float:
        """How far beyond the touch a MARKET order may trade, as a fraction."""


class SessionStreams(Protocol):
    """The subscriptions of a session, and the socket that they come by."""

    link: WebSocketLink

    @property
    def is_up(self) -> bool:
        """Whether the socket is open and every subscription confirmed."""


class VenueSession(NetworkConnector):
    """What every connector does whose venue tells by a socket, whatever it trades.

    Before it opens the socket a subclass makes `_streams`, which calls `_on_up` and `_on_down`, `_authority`, which
    calls `_on_authority`, and `_feed`, which knows how old a quote is; then it awaits `_wait_live`.
    """

    config: SessionConfig
    account_address: str
    """The account that is traded and read."""
    _streams: SessionStreams
    _authority: SigningRight
    _feed: OrderBookTrackerDataSource

    def __init__(self, *, id_generator: ClientOrderIdGenerator | None = None) -> None:
        super().__init__(id_generator=id_generator)
        self._is_open = False
        self._live = asyncio.Event()
        self._last_loss = ""

    @property
    def domain(self) -> str:
        """The configured domain."""
        return self.config.domain

    @property
    @abstractmethod
    def signer_address(self) -> str:
        """The address of the key that signs."""

    # Becoming live

    async def _wait_live(self) -> None:
        """Waits for the first comparison. Raises VenueUnreachable with what happened last when it takes too long."""
        timeout_s = self.config.connect_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._live.wait()
        except TimeoutError:
            reason = self._last_loss or "the first comparison with the venue did not finish"
            raise VenueUnreachable(f"{self.config.socket_url}: not live in {timeout_s} s: {reason}") from None

    def _on_up(self) -> None:
        """Every subscription of an opening of the socket is confirmed."""
        self._start(self._synchronise(), "synchronise")

    async def _synchronise(self) -> None:
        """After an opening of the socket: everything is compared, and only then is the session live."""
        if self._connection_state is ConnectorState.LIVE:
            return  # A subscription was added to an opening that was compared already.
        self._set_connection_state(ConnectorState.SYNCING)
        back_off = BackOff(AGAIN_FIRST_S, AGAIN_LONGEST_S)
        opened = self._streams.link.opened
        while self._streams.is_up and self._streams.link.opened == opened:
            try:
                await self._compare_opening()
                if self._streams.is_up and self._streams.link.opened == opened:
                    self._go_live()
                return
            except TransportError as error:
                self._events.error("resync_failed", str(error))
            except Exception as error:
                # Whatever it was: a session that has not been compared must neither trade nor give up.
                self._events.fault("the comparison with the venue", error, "resync_failed")
            await asyncio.sleep(back_off.next_s())

    def _go_live(self) -> None:
        self._set_authenticated(not self._authority.refusal)
        self._set_connection_state(self._state_when_compared())
        self._live.set()
        for step in self._went_live():
            try:
                step()
            except Exception as error:
                self._events.fault(f"after the comparison: {step.__qualname__}", error)

    @abstractmethod
    async def _compare_opening(self) -> None:
        """Compares everything with the venue after an opening of the socket; called again when it raises."""

    def _state_when_compared(self) -> ConnectorState:
        """LIVE, or STALE where the venue answers and is known to stand still."""
        return ConnectorState.LIVE

    def _went_live(self) -> list[Callable[[], None]]:
        """Hook: what is done when an opening of the socket was compared, each whatever becomes of the others."""
        return []

    def _on_down(self, reason: str) -> None:
        """The socket was lost; a subclass forgets first what is known by it only."""
        self._last_loss = reason
        if self._connection_state is not ConnectorState.DISCONNECTED:
            self._events.error("socket_lost", reason)
            self._set_connection_state(ConnectorState.CONNECTING)

    # Closing

    async def _attempt(self, closing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One step of closing: what it meets must not leave the rest open."""
        try:
            await closing()
        except Exception as error:
            self._events.fault(f"closing: {closing.__qualname__}", error)

    # The right to sign

    def _on_authority(self) -> None:
        """The key was refused, or may sign again."""
        self._set_authenticated(not self._authority.refusal)
        if self._connection_state in OPEN_STATES:
            self._set_connection_state(ConnectorState.LIVE)

    def _set_connection_state(self, state: ConnectorState) -> None:
        """An open session whose requests the venue refuses is UNAUTHORISED, however well it is otherwise."""
        if state in OPEN_STATES and self._authority.refusal:
            state = ConnectorState.UNAUTHORISED
        super()._set_connection_state(state)

    def _check_can_place(self) -> None:
        if self._connection_state is ConnectorState.UNAUTHORISED:
            raise NotReady(
                f"{self.name}: the venue does not take what {self.signer_address} signs for account "
                f"{self.account_address}: {self._authority.refusal}; no order was sent"
            )
        super()._check_can_place()

    def _check_open(self) -> None:
        """Raises NotReady before the session was opened and after it was closed."""
        if not self._is_open:
            raise NotReady(f"{self.name} is not connected")

    # Questions

    def _ask(self, name: str, question: Coroutine[Any, Any, object]) -> None:
        """Starts a question to the venue: its failure is told as `<name>_failed` and stops nothing."""

        async def run() -> None:
            try:
                await question
            except ConnectorError as error:
                self._events.error(f"{name}_failed", str(error))
            except Exception as error:
                self._events.fault(name, error, f"{name}_failed")

        # One that is cancelled before its first step has not awaited its question.
        self._start(run(), name).add_done_callback(lambda _: question.close())

    # Subscriptions

    def subscribe(self, trading_pair: str) -> None:
        """Asks for a market's data, before or after connecting. Raises OrderRefused for a pair known not to exist."""
        if self._market.rules:
            self._rule(trading_pair)
        self._market.subscriptions[trading_pair] = None
        if self.is_connected:
            self._network_loop.call(lambda: self._subscribe_streams(trading_pair))

    @abstractmethod
    def _subscribe_streams(self, trading_pair: str) -> None:
        """Subscribes to a market's streams. Raises OrderRefused for an unknown pair."""

    # Orders

    def _check_extra_params(self, params: OrderParams) -> None:
        check_slippage(params)

    def _check_order(self, order: InFlightOrder) -> None:
        """A MARKET order is refused unless a fresh quote bounds its price."""
        if order.order_type is OrderType.MARKET and not self._market_price_units(order):
            age_s = self.config.quote_max_age_s
            raise OrderRefused("order_type", "MARKET", f"no quote of {order.trading_pair} within {age_s} s bounds it")

    def _market_price_units(self, order: InFlightOrder) -> int:
        """The limit of a MARKET order from the current quote, in price units; 0 when none is fresh."""
        if not self._is_open or not self._feed.is_fresh(order.trading_pair, self.config.quote_max_age_s):
            return 0
        return market_limit_units(order, self._market.quote(order.trading_pair), self.config.slippage)

    async def _place_order(self, order: InFlightOrder) -> tuple[str, int]:
        self._flush_outbox([], [order])
        try:
            exchange_order_id = await order.get_exchange_order_id()
        except OrderEnded:
            raise VenueRejected(order.reason) from None
        return exchange_order_id, order.last_update_utc_ns

    async def _cancel_order(self, order: InFlightOrder) -> bool:
        self._flush_outbox([order], [])
        return False
