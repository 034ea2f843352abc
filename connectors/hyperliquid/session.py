"""One session with the venue: opening, synchronising, watching and closing it, for whatever market is traded.

    DISCONNECTED -> CONNECTING -> SYNCING -> LIVE <-> STALE
                        ^            |        |        |
                        +---- the socket was lost -----+

Every opening of the socket is followed by a full comparison with the venue, and only then is the session LIVE. Open
but silent is not healthy: a session whose market data has stopped is STALE, and its socket is opened again.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable

import msgspec

from latentspeed.connectors.client_order_id import ClientOrderIdGenerator
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.errors import NotReady, VenueUnreachable
from latentspeed.connectors.hyperliquid.account import Account
from latentspeed.connectors.hyperliquid.account_reports import AccountReports
from latentspeed.connectors.hyperliquid.agents import check_agent
from latentspeed.connectors.hyperliquid.answers import OrderAnswers
from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.connectors.hyperliquid.fills import SeenFills
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.market_data import MarketFeed, subscriptions_of
from latentspeed.connectors.hyperliquid.messages import FillRow, OrderRow
from latentspeed.connectors.hyperliquid.nonces import NonceSource, now_ms
from latentspeed.connectors.hyperliquid.outbox import Outbox, OutboxOptions
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.resync import Resynchroniser
from latentspeed.connectors.hyperliquid.settling import Settler
from latentspeed.connectors.hyperliquid.signing import L1Signer
from latentspeed.connectors.hyperliquid.streams import Streams
from latentspeed.connectors.hyperliquid.upkeep import Upkeep
from latentspeed.connectors.hyperliquid.wire import encode_cloid
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.network_connector import NetworkConnector
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import BackOff, HttpClient, TransportError
from latentspeed.connectors.types import ConnectorState

log = logging.getLogger(__name__)
NonceStore = tuple[int, Callable[[int], None]]

WEIGHT_PER_MINUTE = 1200.0
WEIGHT_FOR_CANCELS = 200.0


class HyperliquidSession(NetworkConnector):
    """What every Hyperliquid connector does, whatever it trades."""

    def __init__(
        self,
        config: HyperliquidConfig,
        signer: SigningKey,
        *,
        nonce_store: NonceStore | None = None,
        id_generator: ClientOrderIdGenerator | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            config: Where and how to trade.
            signer: The key that signs: the account's own, or better that of an agent that the account has approved.
            nonce_store: The last nonce this signer may have used, and what keeps each new one before it is used.
            id_generator: Makes client order ids.
        """
        super().__init__(id_generator=id_generator)
        self.config = config
        self.account_address = (config.account_address or signer.address).lower()
        """The account that is traded and read, lower case."""
        self._tracker = ClientOrderTracker(self._events, never_accepted_margin_s=config.expiry_margin_ms / 1000)
        self._signer = L1Signer(signer, config.is_mainnet)
        self._nonces = NonceSource(*nonce_store) if nonce_store is not None else NonceSource()
        self._seen_fills = SeenFills()
        self._fills_from_ms = 0
        self._is_open = False
        self._live = asyncio.Event()
        self._last_loss = ""

    @property
    def domain(self) -> str:
        """The configured domain."""
        return self.config.domain

    @property
    def signer_address(self) -> str:
        """The address of the key that signs, lower case."""
        return self._signer.address

    @property
    def foreign_orders(self) -> list[OrderRow]:
        """Open orders of the account that other engines and programs made; never cancelled from here."""
        return list(self._reports.foreign_orders.values()) if self._is_open else []

    @property
    def request_weight_left(self) -> float | None:
        """The request weight that may still be used now; None without a limit."""
        return self._budget.level if self._is_open and self._budget is not None else None

    @abstractmethod
    async def _fetch_rules(self) -> list[TradingRule]:
        """The rules of all markets."""

    @abstractmethod
    def _make_account(self) -> Account:
        """What takes positions and balances."""

    @abstractmethod
    def _market_price_units(self, order: InFlightOrder) -> int:
        """The limit of a MARKET order from the current quote, in price units; 0 when none is fresh."""

    # Opening

    def _open(self) -> None:
        """Makes the parts of a session; nothing is sent yet."""
        config = self.config
        self._live.clear()
        self._budget = WeightBudget(WEIGHT_PER_MINUTE, 60.0, WEIGHT_FOR_CANCELS) if config.is_limited else None
        self._http = HttpClient(config.rest_url, timeout_s=config.request_timeout_s)
        self._rest = RestClient(
            self._http,
            self.account_address,
            budget=self._budget,
            on_malformed=lambda text: self._events.error("malformed_message", text),
        )
        self._account = self._make_account()
        self._reports = AccountReports(
            self._tracker,
            self._market,
            account=self.account_address,
            engine_instance=config.engine_instance,
            seen_fills=self._seen_fills,
            on_new_fill=self._on_new_fill,
            on_problem=self._events.error,
        )
        self._settler = Settler(
            self._rest,
            self._tracker,
            cloid_of=self._cloid_of,
            report_row=self._reports.take_order,
            fetch_fills_of=lambda order: self._resynchroniser.fetch_fills_of(order),
            cancel_again=lambda order: self._outbox.cancel_again(order),
            venue_now_ms=lambda: now_ms() + self._skew_ms(),
            expiry_margin_ms=config.expiry_margin_ms,
            start=self._start,
        )
        self._resynchroniser = Resynchroniser(
            self._rest,
            self._tracker,
            self._market,
            self._reports,
            self._account,
            self._settler,
            fills_from_ms=self._fills_from_ms,
            answer_within_s=config.request_timeout_s,
        )
        self._outbox = Outbox(
            OutboxOptions(config.max_batch, config.max_requests_in_flight, config.place_expiry_ms),
            tracker=self._tracker,
            signer=self._signer,
            nonces=self._nonces,
            send=self._send,
            cloid_of=self._cloid_of,
            market_price_units=self._market_price_units,
            answers=OrderAnswers(
                self._tracker,
                settle=self._settler.pursue,
                on_refusal=self._on_refusal,
                on_turned_away=self._on_turned_away,
            ),
            on_refusal=self._on_refusal,
            skew_ms=self._skew_ms,
            budget=self._budget,
        )
        self._open_streams()
        self._upkeep = Upkeep(
            config,
            feed=self._feed,
            account=self._account,
            resynchroniser=self._resynchroniser,
            load_rules=self._load_rules,
            set_stale=self._set_stale,
            drop_socket=self._streams.link.drop,
            start=self._start,
            on_problem=self._events.error,
        )
        self._is_open = True

    def _open_streams(self) -> None:
        self._streams = Streams(
            self.config.socket_url,
            self._http,
            on_up=self._on_up,
            on_down=self._on_down,
            on_error=self._events.error,
            request_timeout_s=self.config.request_timeout_s,
            timing=self.config.socket_timing,
        )
        self._feed = MarketFeed(
            self._market,
            publish_quote=self._publish_quote,
            on_mark=self._account.apply_mark,
            on_problem=self._events.error,
        )
        for channel, handler in (self._feed.handlers | self._reports.handlers).items():
            self._streams.set_handler(channel, handler)
        self._streams.subscribe([{"type": name, "user": self.account_address} for name in self._reports.handlers])

    async def _initialize(self) -> None:
        if not self._is_open:
            self._open()
        await self._load_rules()

    async def _load_rules(self) -> None:
        self._set_trading_rules(await self._fetch_rules())

    async def _connect(self) -> None:
        """Opens the session and waits until it is live.

        Raises:
            OrderRefused: A subscribed pair does not exist.
            NotAnAgent: The signer may not trade for the account.
            VenueUnreachable: The venue was not reached and compared with in time.
        """
        if self._connection_state is not ConnectorState.DISCONNECTED:
            return
        self._set_connection_state(ConnectorState.CONNECTING)
        try:
            if not self._is_open or not self._market.rules:
                await self._initialize()
            if self.config.check_agent and self._signer.address != self.account_address:
                await check_agent(self._rest, self._signer.address, self.account_address)
            await self._check_account()
            if not self._fills_from_ms:
                # A fresh start: what was filled before is history, which nobody here counts.
                self._fills_from_ms = now_ms()
                self._tracker.ignore_fills((), self._fills_from_ms * 1_000_000)
            self._resynchroniser.fills_from_ms = self._fills_from_ms
            for pair in self._market.subscriptions:
                self._subscribe_streams(self._rule(pair))
            self._start(self._streams.link.run(), "socket")
            await self._wait_live()
        except BaseException:
            await self._disconnect()
            raise

    async def _wait_live(self) -> None:
        timeout_s = self.config.connect_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._live.wait()
        except TimeoutError:
            reason = self._last_loss or "the first comparison with the venue did not finish"
            raise VenueUnreachable(f"{self.config.rest_url}: not live in {timeout_s} s: {reason}") from None

    async def _check_account(self) -> None:
        """Asks the venue once for what decides how the account is read."""

    # Synchronising and watching

    def _on_up(self) -> None:
        self._start(self._synchronise(), "synchronise")

    async def _synchronise(self) -> None:
        """After an opening of the socket: everything is compared, and only then is the session live."""
        self._set_connection_state(ConnectorState.SYNCING)
        back_off = BackOff(0.25, 10.0)
        opened = self._streams.link.opened
        while self._streams.is_up and self._streams.link.opened == opened:
            try:
                await self._resynchroniser.run(after_reconnect=True)
            except Exception as error:
                # Whatever it was: a session that has not been compared must neither trade nor give up.
                self._events.error("resync_failed", str(error) or repr(error))
                if not isinstance(error, TransportError):
                    log.exception("the comparison with the venue failed")
                await asyncio.sleep(back_off.next_s())
                continue
            if self._streams.is_up and self._streams.link.opened == opened:
                self._set_authenticated(True)
                self._set_connection_state(ConnectorState.LIVE)
                self._live.set()
            return

    async def _resync(self) -> None:
        self._check_open()
        await self._resynchroniser.run()

    def _check_open(self) -> None:
        """Raises NotReady before the session was opened and after it was closed."""
        if not self._is_open:
            raise NotReady(f"{self.name} is not connected")

    def _on_down(self, reason: str) -> None:
        self._last_loss = reason
        self._feed.invalidate()
        if self._connection_state is not ConnectorState.DISCONNECTED:
            self._events.error("socket_lost", reason)
            self._set_connection_state(ConnectorState.CONNECTING)

    def _keep_house(self) -> None:
        super()._keep_house()
        if self._connection_state in (ConnectorState.LIVE, ConnectorState.STALE):
            self._upkeep.tick()

    def _set_stale(self, is_stale: bool) -> None:
        self._set_connection_state(ConnectorState.STALE if is_stale else ConnectorState.LIVE)

    def _query_orders(self, orders: list[InFlightOrder]) -> None:
        for order in orders:
            self._settler.pursue(order, order.unknown_reason or "cancel refused")

    def _fetch_missing_fills(self, orders: list[InFlightOrder]) -> None:
        self._upkeep.fetch_missing_fills(orders)

    def _on_new_fill(self, row: FillRow, rule: TradingRule) -> None:
        self._account.apply_fill(row, rule)
        self._upkeep.on_new_fill()

    # Closing and taking over

    async def _disconnect(self) -> None:
        self._set_connection_state(ConnectorState.DISCONNECTED)
        self._set_authenticated(False)
        if self._is_open:
            self._is_open = False
            self._upkeep.close()
            await self._outbox.close()
            await self._end_tasks()
            await self._http.close()
            self._feed.invalidate()
            self._fills_from_ms = max(self._fills_from_ms, self._reports.newest_fill_ms)

    def recover_orders(
        self,
        orders: Iterable[InFlightOrder],
        *,
        known_trade_ids: Iterable[str | tuple[str, str]] = (),
        fills_since_utc_ns: int = 0,
    ) -> None:
        """Takes over orders of an earlier process before connecting; the first comparison with the venue settles them.

        Orders of this engine that the venue has open, and that are not among them, are adopted then.
        """
        restored = list(orders)
        super().recover_orders(restored, known_trade_ids=known_trade_ids, fills_since_utc_ns=fills_since_utc_ns)
        since_ns = fills_since_utc_ns or min((order.last_update_utc_ns for order in restored), default=0)
        self._fills_from_ms = since_ns // 1_000_000 or now_ms()

    # Sending

    def subscribe(self, trading_pair: str) -> None:
        """Asks for a market's data, before or after connecting. Raises OrderRefused for a pair known not to exist."""
        if self._market.rules:
            self._rule(trading_pair)
        self._market.subscriptions[trading_pair] = None
        if self.is_connected:
            self._network_loop.call(lambda: self._subscribe_streams(self._rule(trading_pair)))

    def _subscribe_streams(self, rule: TradingRule) -> None:
        self._feed.add(rule.trading_pair, rule.symbol)
        self._streams.subscribe(subscriptions_of(rule.symbol, self.config.market_channels))

    def _cloid_of(self, order: InFlightOrder) -> str:
        return encode_cloid(self.config.engine_instance, order.strategy_tag, order.id64)

    def _skew_ms(self) -> int:
        return self._resynchroniser.skew_ms

    async def _send(self, body: bytes) -> bytes | msgspec.Raw:
        if self.config.order_transport == "ws":
            return await self._streams.post_action(body)
        return await self._rest.exchange(body)

    def _flush_outbox(self, cancels: list[InFlightOrder], places: list[InFlightOrder]) -> None:
        self._check_open()
        for order in cancels:
            self._outbox.add_cancel(order)
        for order in places:
            self._outbox.add_place(order)
        self._outbox.flush()

    def _on_turned_away(self) -> None:
        if self._budget is not None:
            self._budget.exhaust()

    def _on_refusal(self, status: str, text: str) -> None:
        if status in ("signerUnknown", "accountNotFunded", "signatureMalformed"):
            self._set_authenticated(False)
            self._events.error("signer_refused", text)
        elif status == "addressLimit":
            self._events.error("address_limit", text)
        elif status == "actionExpired":
            self._upkeep.measure_clock()
