"""A session with dYdX v4: opening, synchronising, watching, closing.

streams:   Streams (streams.py) -> MarketFeed (market_data.py)  -> quotes, books, trades
                                -> Account (account.py)         -> tracker, positions, balances
                                -> Lifetimes (lifetimes.py)     -> which orders are over
questions: Resynchroniser (resync.py) -> IndexerRest (indexer.py) -> the same account and tracker

The states it goes through: `venue_session`. STALE is a session that no block has come to for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.candle_feed import candles_of
from latentspeed.connectors.channels import Channel, ChannelState
from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.block_budget import Limit
from latentspeed.connectors.dydx_v4.candles import CHANNEL, RESOLUTIONS, candles_in, iso_time
from latentspeed.connectors.dydx_v4.config import COUNTER
from latentspeed.connectors.dydx_v4.decoding import block_number
from latentspeed.connectors.dydx_v4.indexer import IndexerRest
from latentspeed.connectors.dydx_v4.markets import MarketTerms, market_terms
from latentspeed.connectors.dydx_v4.messages import MarketRow
from latentspeed.connectors.dydx_v4.nodes import BlockRates
from latentspeed.connectors.dydx_v4.parts import DydxV4Parts
from latentspeed.connectors.dydx_v4.streams import MOST_MARKETS
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.rate_limit import RateLimit
from latentspeed.connectors.transport import HttpClient, TransportError
from latentspeed.connectors.types import ConnectorState
from latentspeed.connectors.venue_session import OPEN_STATES

USUAL_RATES = BlockRates((Limit(5, 4000),), (Limit(1, 2), Limit(100, 20)))


class DydxV4Session(DydxV4Parts):
    """Everything of a dYdX connector but its orders' forms and checks."""

    # Opening and closing

    async def _initialize(self) -> None:
        http = HttpClient(self.config.rest_url, timeout_s=self.config.request_timeout_s)
        try:
            await self._load_markets(self._make_rest(http))
        finally:
            await http.close()

    async def _load_markets(self, rest: IndexerRest) -> None:
        rows = await rest.markets()
        self._take_terms(market_terms(rows.values(), self._events.error))
        for ticker, row in rows.items():
            self._take_margin(ticker, row)
        for ticker in self._market.subscriptions:
            if ticker in rows:
                self._feed.take_market(ticker, rows[ticker], time.monotonic_ns())

    async def _connect(self) -> None:
        if self._is_open:
            return
        self._set_connection_state(ConnectorState.CONNECTING)
        self._open()
        try:
            await self._load_markets(self._rest)
            self._lifetimes.on_node_height(*await self._nodes.block())
            account = await self._nodes.account(self.account_address)
            if self.config.sequences == COUNTER:
                self._sequences.count_from(account.sequence)
            self._make_outboxes(account.number, await self._block_rates())
            self._can_sign = True
            if not self._fills_from_ns:
                # A fresh start: what was filled before, by the chain's clock, is history, which nobody here counts.
                self._fills_from_ns = self._lifetimes.now_ms() * 1_000_000
                self._tracker.ignore_fills((), self._fills_from_ns)
            self._resynchroniser.fills_from_ns = self._fills_from_ns
            self._fundings.counts_from_ns = self._fundings.counts_from_ns or self._fills_from_ns
            is_parent = self.config.parent_subaccount
            if is_parent:
                await self._find_children()
            rules = [self._rule(pair) for pair in self._market.subscriptions]
            await self._read_leverages(*sorted({self.config.subaccount, *map(self._subaccounts.of_rule, rules)}))
            own = f"{self.account_address}/{self.config.subaccount}"
            self._streams.subscribe("v4_parent_subaccounts" if is_parent else "v4_subaccounts", own)
            self._streams.subscribe("v4_block_height")
            self._streams.subscribe("v4_markets")
            for pair in self._market.subscriptions:
                self._rule(pair)
                self._subscribe_streams(pair)
            self._start(self._streams.link.run(), "socket")
            self._start(self._nodes.open(), "node connections")
            self._start(self._upkeep.watch_height(), "height")
            self._start(self._book_check.run(), "book check")
            self._signature_keeper.start()
            await self._wait_live()
        except BaseException:
            await self._disconnect()
            raise

    async def _find_children(self) -> None:
        """Which markets the children of the parent hold, and which of them orders of an earlier process belong to."""
        row, live = await self._rest.subaccount(), await self._rest.live_orders()
        children = [] if row is None else row.child_subaccounts or []
        held = [(pair, child.subaccount_number) for child in children for pair in child.open_perpetual_positions]
        held += [(one.ticker, one.subaccount_number) for one in live if one.subaccount_number is not None]
        self._subaccounts.learn(held, (child.subaccount_number for child in children))
        for order in self._tracker.active_orders:
            if order.is_restored and order.rule.only_isolated:
                self._place_restored(order)

    def _place_restored(self, order: InFlightOrder) -> None:
        """Finds the subaccount of an order of an earlier process: its market may have had another child then."""
        numbers = {self._forms.uuid_in(order, number): number for number in self._subaccounts.candidates(order.rule)}
        if order.exchange_order_id is not None:
            self._subaccounts.pin(order, numbers.get(order.exchange_order_id, self._subaccounts.of(order)))
        else:
            pins = {uuid: partial(self._subaccounts.pin, order, number) for uuid, number in numbers.items()}
            self._names.add_candidates(order, pins)

    async def _read_leverages(self, *numbers: int) -> None:
        """Reads which initial margins the owner has set for subaccounts."""
        pairs = {rule.asset_id: rule for rule in self._market.rules.values()}
        for number in numbers:
            try:
                found = await self._nodes.leverages(self.account_address, number)
            except TransportError as error:
                self._events.error("leverage_unknown", f"subaccount {number}: {error}")
                continue
            known = {pairs[asset_id].trading_pair: ppm for asset_id, ppm in found.items() if asset_id in pairs}
            self._margins.take_own(number, known)
            for pair in known:
                if self._subaccounts.of_rule(self._market.rules[pair]) == number:
                    self.update_leverage(pair, self._margins.leverage(number, pair))

    async def _block_rates(self) -> BlockRates:
        """What the chain lets the account send; what it let everybody send lately if the node does not say."""
        try:
            return await self._nodes.block_rates()
        except TransportError as error:
            self._events.error("limits_unknown", str(error))
            return USUAL_RATES

    async def _disconnect(self) -> None:
        self._set_connection_state(ConnectorState.DISCONNECTED)
        self._set_authenticated(False)
        if self._is_open:
            self._is_open = self._can_sign = False
            self._signature_keeper.stop()
            self._upkeep.close()
            for close in (self._end_tasks, self._nodes.close, self._http.close):
                await self._attempt(close)
            self._feed.invalidate()
            self._fills_from_ns = max(self._fills_from_ns, self._account.newest_fill_ns)

    def _took_over(self, orders: list[InFlightOrder], fills_since_utc_ns: int) -> None:
        """Their last blocks settle them at the latest."""
        for order in orders:
            self._names.add(order)
        self._fills_from_ns = fills_since_utc_ns or 1

    # Synchronising and watching

    def subscribe(self, trading_pair: str) -> None:
        """Asks for a market's data, before or after connecting.

        Raises OrderRefused for a pair known not to exist, and for one more than the venue takes a connection.
        """
        most = MOST_MARKETS // max(1, len(self.config.candle_intervals))
        if trading_pair not in self._market.subscriptions and len(self._market.subscriptions) >= most:
            raise OrderRefused("trading_pair", trading_pair, f"the venue takes {most} of these a connection")
        super().subscribe(trading_pair)

    def _subscribe_streams(self, trading_pair: str) -> None:
        self._streams.subscribe("v4_orderbook", trading_pair)
        self._streams.subscribe("v4_trades", trading_pair)
        self._candles.add(trading_pair, trading_pair)
        for name in self._candles.names_of(trading_pair):
            self._streams.subscribe(CHANNEL, name)

    def fetch_candles(
        self, trading_pair: str, interval: str, start_utc_ns: int, end_utc_ns: int = 0
    ) -> Pending[list[Candle]]:
        """The candles that began from `start_utc_ns` to `end_utc_ns` (0 for now), oldest first, from the indexer.

        The newest 1000 of them at most, and only intervals in which something was traded. Raises OrderRefused for an
        unknown pair or interval; the result raises VenueUnreachable.
        """
        rule = self._rule(trading_pair)
        if interval not in RESOLUTIONS:
            raise OrderRefused("interval", interval, f"one of {', '.join(RESOLUTIONS)}")

        async def fetch() -> list[Candle]:
            self._check_open()
            now_ms = time.time_ns() // 1_000_000
            since, until = iso_time(start_utc_ns), iso_time(end_utc_ns or (now_ms + 1000) * 1_000_000)
            rows = await self._rest.candles(trading_pair, RESOLUTIONS[interval][0], since, until)
            try:
                return candles_of(candles_in(rows, trading_pair, interval), rule, now_ms)
            except ValueError as error:
                raise TransportError(f"candles: {error}") from None

        return self._run(fetch())

    async def _compare_opening(self) -> None:
        await self._resynchroniser.run(after_gap=True)

    def _state_when_compared(self) -> ConnectorState:
        # An indexer answers also while its chain is halted.
        is_moving = not self._live.is_set() or self._block_age_s() <= self.config.stale_after_s
        return ConnectorState.LIVE if is_moving else ConnectorState.STALE

    def _went_live(self) -> list[Callable[[], None]]:
        return [self._upkeep.compared, self._ask_for_clock]

    def _ask_for_clock(self) -> None:
        self._start(self._measure_clock(), "clock")

    async def _measure_clock(self) -> None:
        before_ns = time.time_ns()
        try:
            row = await self._rest.now()
        except TransportError as error:
            self._events.error("clock_failed", str(error))
        else:
            self._skew.add(before_ns, int(row.epoch * 1000), time.time_ns())

    def _on_down(self, reason: str) -> None:
        self._feed.invalidate()
        self._book_check.forget()
        self._candles.interrupt()
        super()._on_down(reason)

    def _on_height(self, name: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        row = messages.HEIGHT.decode(contents)
        height = block_number(str(row.number))
        is_new = height > self._lifetimes.indexer_height
        self._lifetimes.on_indexer_height(height, row.time_ms)
        if is_new:
            self._last_block_mono = time.monotonic()
            if self._connection_state is ConnectorState.STALE:
                self._set_connection_state(ConnectorState.LIVE)
        self._stateful_outbox.on_block()
        self._upkeep.on_block()
        self._funding_hours.on_block(row.time_ms)

    def _house_duties(self) -> list[Callable[[], None]]:
        duties = super()._house_duties()
        if self._connection_state in OPEN_STATES:
            duties += [self._authority.tick, self._forget_ended, self._watch_blocks, self._close_candles]
            duties.append(self._upkeep.tick)
        return duties

    def _forget_ended(self) -> None:
        live = self._tracker.active_orders
        for memory in (self._lifetimes, self._watch, self._subaccounts, self._account):
            memory.forget(live)

    def _watch_blocks(self) -> None:
        if self._block_age_s() > self.config.stale_after_s and self._connection_state is ConnectorState.LIVE:
            self._events.error("no_blocks", f"no block for {self._block_age_s():.0f} s")
            self._set_connection_state(ConnectorState.STALE)

    def _close_candles(self) -> None:
        self._candles.close_due(time.time_ns() // 1_000_000)

    def _block_age_s(self) -> float:
        return time.monotonic() - self._last_block_mono

    def _fetch_missing_fills(self, orders: list[InFlightOrder]) -> None:
        if self._is_open:
            self._upkeep.fetch_missing_fills(orders)

    async def _resync(self) -> None:
        self._check_open()
        await self._resynchroniser.run()
        await self._funding_hours.ask_now()

    def _on_market_row(self, ticker: str, row: MarketRow) -> None:
        self._take_margin(ticker, row)
        known = self._terms.get(ticker)
        if known is not None:
            if known.is_changed(row):
                self._take_terms({ticker: known.changed(row)})
        elif row.oracle_price and row.step_size and row.ticker == ticker:
            self._take_terms(market_terms([row], self._events.error))

    def _take_margin(self, ticker: str, row: MarketRow) -> None:
        try:
            self._margins.take_market(ticker, row)
        except ValueError as error:
            self._events.error("malformed_message", f"market {ticker}: {error}")

    def _take_terms(self, found: Mapping[str, MarketTerms]) -> None:
        """Takes new terms of markets. Orders that live are integers on the grid that they were made on: a market whose
        grid is another now keeps the old one, and takes no orders until a new start."""
        old = dict(self._terms)
        self._set_trading_rules({ticker: terms.rule for ticker, terms in {**old, **found}.items()})
        for ticker, terms in found.items():
            is_same = ticker not in old or old[ticker].rule.has_grid_of(terms.rule)
            self._terms[ticker] = terms if is_same else old[ticker].outdated()

    def _on_book_checked(self, ticker: str, corrected: int) -> None:
        self._streams.watch.add("v4_orderbook", ticker).checked_mono_ns = time.monotonic_ns()
        if corrected:
            self._feed.show_book(ticker, time.monotonic_ns())

    # Health

    def channels(self) -> list[tuple[Channel, ChannelState]]:
        """Every subscription, and how it is doing; see `channels`."""
        if not self._is_open:
            return []
        watch = self._streams.watch
        return [(channel, watch.state_of(channel)) for channel in watch]

    def rate_limits(self) -> list[RateLimit]:
        """The chain's limits of orders, and the indexer's by kind of question; see `rate_limit`."""
        if not self._can_sign:
            return []
        height = self._lifetimes.chain_height
        budgets = (self._outbox.budget, self._stateful_outbox.budget)
        return [*(limit for budget in budgets for limit in budget.rate_limits(height)), *self._rest.rate_limits()]
