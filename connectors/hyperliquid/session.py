"""One session with the venue: opening, synchronising, watching and closing it, for whatever market is traded.

    DISCONNECTED -> CONNECTING -> SYNCING -> LIVE <-> STALE
                        ^            |        |        |
                        +---- the socket was lost -----+

LIVE and STALE show as UNAUTHORISED while the venue refuses what the key signs.

Every opening of the socket is followed by a full comparison with the venue, and only then is the session LIVE. Open
but silent is not healthy: a session whose market data has stopped is STALE, and its socket is opened again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from latentspeed.connectors.errors import NotReady, VenueUnreachable
from latentspeed.connectors.hyperliquid.account_requests import AccountRequests
from latentspeed.connectors.hyperliquid.market_data import subscriptions_of
from latentspeed.connectors.hyperliquid.messages import FillRow
from latentspeed.connectors.hyperliquid.nonces import now_ms
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import BackOff, TransportError
from latentspeed.connectors.types import ConnectorState

log = logging.getLogger(__name__)
OPEN_STATES = (ConnectorState.LIVE, ConnectorState.STALE, ConnectorState.UNAUTHORISED)


class HyperliquidSession(AccountRequests):
    """What every Hyperliquid connector does, whatever it trades."""

    # Opening

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
            NotAllowed: The signer may not trade for the account.
            VenueUnreachable: The venue was not reached and compared with in time.
        """
        if self._connection_state is not ConnectorState.DISCONNECTED:
            return
        self._set_connection_state(ConnectorState.CONNECTING)
        try:
            if not self._is_open or not self._market.rules:
                await self._initialize()
            if self.config.check_agent:
                await self._authority.check()
            await self._check_account()
            if not self._fills_from_ms:
                # A fresh start: what was filled before is history, which nobody here counts.
                self._fills_from_ms = now_ms()
                self._tracker.ignore_fills((), self._fills_from_ms * 1_000_000)
            self._resynchroniser.fills_from_ms = self._fills_from_ms
            for pair in self._market.subscriptions:
                self._subscribe_streams(self._rule(pair))
            self._start(self._streams.link.run(), "socket")
            self._start(self._line.open(), "order line")
            self._signature_keeper.start()
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
                self._set_authenticated(not self._authority.refusal)
                self._set_connection_state(ConnectorState.LIVE)
                self._live.set()
            return

    async def _resync(self) -> None:
        self._check_open()
        await self._resynchroniser.run()

    def _on_down(self, reason: str) -> None:
        self._last_loss = reason
        self._feed.invalidate()
        if self._connection_state is not ConnectorState.DISCONNECTED:
            self._events.error("socket_lost", reason)
            self._set_connection_state(ConnectorState.CONNECTING)

    def _keep_house(self) -> None:
        super()._keep_house()
        if self._connection_state in OPEN_STATES:
            self._upkeep.tick()
            self._authority.tick()

    def _set_stale(self, is_stale: bool) -> None:
        self._set_connection_state(ConnectorState.STALE if is_stale else ConnectorState.LIVE)

    def _set_connection_state(self, state: ConnectorState) -> None:
        """An open session whose actions the venue refuses is UNAUTHORISED, however well it is otherwise."""
        if state in OPEN_STATES and self._authority.refusal:
            state = ConnectorState.UNAUTHORISED
        super()._set_connection_state(state)

    def _on_authority(self) -> None:
        """The key was refused, or may sign again; then what was asked for meanwhile is compared."""
        self._set_authenticated(not self._authority.refusal)
        if self._connection_state in OPEN_STATES:
            self._set_connection_state(ConnectorState.LIVE)
            if not self._authority.refusal:
                self._upkeep.ask("reconcile", self._resynchroniser.run())

    def _check_can_place(self) -> None:
        if self._connection_state is ConnectorState.UNAUTHORISED:
            raise NotReady(
                f"{self.name}: the venue does not take what {self.signer_address} signs for account "
                f"{self.account_address}: {self._authority.refusal}; no order was sent"
            )
        super()._check_can_place()

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
            self._signature_keeper.stop()
            await self._end_tasks()
            await self._line.close()
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

    def _flush_outbox(self, cancels: list[InFlightOrder], places: list[InFlightOrder]) -> None:
        self._check_open()
        for order in cancels:
            self._outbox.add_cancel(order)
        for order in places:
            self._outbox.add_place(order)
        self._outbox.flush()

    def _on_refusal(self, status: str, text: str) -> None:
        self._authority.note_refusal(status, text)
        if status == "addressLimit":
            self._events.error("address_limit", text)
        elif status == "actionExpired":
            self._upkeep.measure_clock()
