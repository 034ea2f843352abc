"""One session with the venue: opening, synchronising, watching and closing it, for whatever market is traded.

The states it goes through, and what a comparison is needed for: `venue_session`. Open but silent is not healthy: a
session whose market data has stopped is STALE, and its socket is opened again.
"""

from __future__ import annotations

from collections.abc import Callable

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.funding import PredictedFunding
from latentspeed.connectors.hyperliquid.account_requests import AccountRequests
from latentspeed.connectors.hyperliquid.answers import ADDRESS_LIMIT, CANCEL_ADDRESS_LIMIT
from latentspeed.connectors.hyperliquid.candles import candles_of
from latentspeed.connectors.hyperliquid.config import CANDLE_INTERVALS
from latentspeed.connectors.hyperliquid.fundings import predictions_of
from latentspeed.connectors.hyperliquid.limits import EXPIRED_COST
from latentspeed.connectors.hyperliquid.messages import FillRow
from latentspeed.connectors.hyperliquid.metadata import with_known
from latentspeed.connectors.hyperliquid.nonces import now_ms
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import TWAP_KEYS
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import ConnectorState, OrderType
from latentspeed.connectors.venue_session import OPEN_STATES

EXTRA_PARAM_KEYS = TWAP_KEYS | {"slippage"}


class HyperliquidSession(AccountRequests):
    """What every Hyperliquid connector does, whatever it trades.

    `extra_params` of an order: `slippage`, a fraction, for market orders; otherwise the configured one counts, and for
    those with a trigger the venue's own 10 %. `minutes` and `randomize` for TWAP orders.
    """

    # Opening

    async def _initialize(self) -> None:
        if not self._is_open:
            self._open()
        await self._load_rules()

    async def _load_rules(self) -> None:
        self._set_trading_rules(with_known(self._market.rules_by_symbol, await self._fetch_rules()))

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
            await self._builder_fee.check()
            await self._check_account()
            if not self._fills_from_ms:
                # A fresh start: what was filled before is history, which nobody here counts. By the venue's clock: one
                # here that is ahead would have the fills of the first minutes asked for from the future.
                await self._resynchroniser.measure_skew()
                self._fills_from_ms = now_ms() + self._skew_ms()
                self._tracker.ignore_fills((), self._fills_from_ms * 1_000_000)
                self._is_fresh = True
            self._resynchroniser.fills_from_ms = self._fills_from_ms
            self._counted_fundings.counts_from_ms = self._counted_fundings.counts_from_ms or self._fills_from_ms
            for pair in self._market.subscriptions:
                self._subscribe_streams(pair)
            self._start(self._streams.link.run(), "socket")
            self._start(self._line.open(), "order line")
            self._signature_keeper.start()
            await self._wait_live()
        except BaseException:
            await self._disconnect()
            raise

    async def _check_account(self) -> None:
        """Asks the venue once for what decides how the account is read."""

    # Asking the venue

    def fetch_candles(
        self, trading_pair: str, interval: str, start_utc_ns: int, end_utc_ns: int = 0
    ) -> Pending[list[Candle]]:
        """The candles that began from `start_utc_ns` to `end_utc_ns` (0 for now), oldest first, from the venue's store.

        The venue keeps the last 5000 of an interval. Raises OrderRefused for an unknown pair or interval; the result
        raises VenueUnreachable.
        """
        rule = self._rule(trading_pair)
        if interval not in CANDLE_INTERVALS:
            raise OrderRefused("interval", interval, f"one of {', '.join(CANDLE_INTERVALS)}")

        async def fetch() -> list[Candle]:
            self._check_open()
            venue_now_ms = now_ms() + self._skew_ms()
            until_ms = end_utc_ns // 1_000_000 if end_utc_ns else venue_now_ms
            rows = await self._rest.candles(rule.symbol, interval, start_utc_ns // 1_000_000, until_ms)
            return candles_of(rows, rule, venue_now_ms)

        return self._run(fetch())

    def fetch_predicted_fundings(self) -> Pending[list[PredictedFunding]]:
        """What every market is expected to pay next, here and, for comparison, at other venues."""

        async def fetch() -> list[PredictedFunding]:
            self._check_open()
            rules = self._market.rules_by_symbol
            rows = await self._rest.predicted_fundings()
            return predictions_of(rows, lambda coin: rules[coin].trading_pair if coin in rules else None)

        return self._run(fetch())

    def fetch_funding_rates(self, trading_pair: str, start_utc_ns: int) -> Pending[list[tuple[int, float]]]:
        """The rates that a market has paid since a time: (settled at, in ns since the epoch, rate), oldest first."""
        rule = self._rule(trading_pair)

        async def fetch() -> list[tuple[int, float]]:
            self._check_open()
            rows = await self._rest.funding_rates(rule.symbol, start_utc_ns // 1_000_000)
            return [(row.time * 1_000_000, row.fundingRate) for row in rows]

        return self._run(fetch())

    # Synchronising and watching

    async def _compare_opening(self) -> None:
        await self._resynchroniser.run(after_reconnect=True)
        if self._is_fresh:
            self._is_fresh = False
            self.forget_history()
        await self._dead_man.arm_first()

    def _went_live(self) -> list[Callable[[], None]]:
        return [self._twaps.pursue, self._feeds.went_up]

    def forget_history(self) -> None:
        """Fills up to the latest state of the account are in its positions, by the venue's own clock."""
        if self._is_open and self._account.state_ms:
            self._tracker.ignore_fills((), self._account.state_ms * 1_000_000 + 1)

    async def _resync(self) -> None:
        self._check_open()
        await self._resynchroniser.run()

    def _on_down(self, reason: str) -> None:
        self._feeds.went_down()
        super()._on_down(reason)

    def _house_duties(self) -> list[Callable[[], None]]:
        duties = super()._house_duties()
        if self._live.is_set() and not self._authority.refusal:
            duties.append(self._dead_man.tick)
        if self._connection_state in OPEN_STATES:
            duties += [*self._upkeep.duties, self._authority.tick, self._builder_fee.tick]
        return duties

    def _set_stale(self, is_stale: bool) -> None:
        self._set_connection_state(ConnectorState.STALE if is_stale else ConnectorState.LIVE)

    def _on_authority(self) -> None:
        super()._on_authority()
        if self._connection_state is ConnectorState.LIVE:
            # What was asked for while the key was refused is asked for again, and compared.
            self._dead_man.retry()
            self._ask("reconcile", self._resynchroniser.run())

    def _query_orders(self, orders: list[InFlightOrder]) -> None:
        for order in orders:
            if order.order_type is OrderType.TWAP:
                self._twaps.watch()  # told every second, which is too often for a question of this weight
            else:
                self._settler.pursue(order, order.unknown_reason or "cancel refused")

    def _fetch_missing_fills(self, orders: list[InFlightOrder]) -> None:
        self._upkeep.fetch_missing_fills(orders)

    def _on_new_fill(self, row: FillRow, rule: TradingRule) -> None:
        self._account.apply_fill(row, rule)
        self._address.traded(float(row.px) * float(row.sz))
        self._upkeep.refresh_soon()

    # Closing and taking over

    async def _disconnect(self) -> None:
        self._set_connection_state(ConnectorState.DISCONNECTED)
        self._set_authenticated(False)
        if self._is_open:
            await self._attempt(self._disarm)
            self._is_open = False
            self._upkeep.close()
            self._signature_keeper.stop()
            for close in (self._outbox.close, self._end_tasks, self._line.close, self._http.close):
                await self._attempt(close)
            self._feeds.went_down()
            self._fills_from_ms = max(self._fills_from_ms, self._reports.newest_fill_ms)

    async def _disarm(self) -> None:
        """Takes the dead-man switch back, unless an order that shall be gone may still be there."""
        if any(order.cancel_requested for order in self._tracker.active_orders):
            if self.dead_man_armed_until_ms:
                self._events.error("dead_man_left_armed", "a cancel has no answer yet")
        else:
            await self._dead_man.disarm()

    def _took_over(self, orders: list[InFlightOrder], fills_since_utc_ns: int) -> None:
        """The first comparison settles them, and adopts orders of this engine that are open and not among them."""
        since_ns = fills_since_utc_ns or min((order.last_update_utc_ns for order in orders), default=0)
        self._fills_from_ms = since_ns // 1_000_000 or now_ms()

    # Sending

    def _subscribe_streams(self, trading_pair: str) -> None:
        self._feeds.subscribe(self._rule(trading_pair))

    def _flush_outbox(self, cancels: list[InFlightOrder], places: list[InFlightOrder]) -> None:
        self._check_open()
        for order in cancels:
            self._outbox.add_cancel(order)
        for order in places:
            self._outbox.add_place(order)
        self._outbox.flush()

    def _on_refusal(self, status: str, text: str) -> None:
        self._authority.note_refusal(status, text)
        if status in (ADDRESS_LIMIT, CANCEL_ADDRESS_LIMIT):
            self._address.refuse(text, is_cancel=status == CANCEL_ADDRESS_LIMIT)
            self._events.error("address_limit", text)
        elif status in ("duplicateNonce", "nonceTooLow", "nonceRefused"):
            # Nothing is sent twice from here, so somebody else uses up this key's nonces, or a clock was far ahead.
            self._nonces.learn(text)
            self._events.error("nonce_refused", f"{text}; does another process sign with {self.signer_address}?")
        elif status == "builderFeeUnapproved":
            self._builder_fee.note_refusal(text)
        elif status == "actionExpired":
            self._address.take(EXPIRED_COST - 1)
            self._upkeep.measure_clock()
