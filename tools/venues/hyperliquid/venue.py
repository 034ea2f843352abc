"""A local Hyperliquid, whole: state, market, endpoints and the loop that turns actions into blocks.

request -> decode -> [queue] -> block: execute -> reply
                                  |
                                  +-> streams tell it
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any

from latentspeed.tools.venues.hyperliquid.account_actions import DAY_MS
from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.actions import Envelope
from latentspeed.tools.venues.hyperliquid.blocks import Block
from latentspeed.tools.venues.hyperliquid.clock import VenueClock
from latentspeed.tools.venues.hyperliquid.commands import commands_of
from latentspeed.tools.venues.hyperliquid.config import VenueConfig
from latentspeed.tools.venues.hyperliquid.exchange import Exchange, Reply, block_class
from latentspeed.tools.venues.hyperliquid.faults import Faults
from latentspeed.tools.venues.hyperliquid.funding import Funding
from latentspeed.tools.venues.hyperliquid.info import Info
from latentspeed.tools.venues.hyperliquid.interventions import Interventions
from latentspeed.tools.venues.hyperliquid.limits import IpBudget
from latentspeed.tools.venues.hyperliquid.liquidation import Liquidations
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.outside import NEUTRAL_DECIMALS, Outside
from latentspeed.tools.venues.hyperliquid.server import Server
from latentspeed.tools.venues.hyperliquid.sockets import Socket
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.streams import Streams
from latentspeed.tools.venues.hyperliquid.trading_interventions import TradingInterventions
from latentspeed.tools.venues.hyperliquid.triggers import Triggers
from latentspeed.tools.venues.hyperliquid.wire import address_text, exact_units
from latentspeed.tools.venues.market import Source, SyntheticMarket
from latentspeed.tools.venues.scenario import load_scenario
from latentspeed.tools.venues.tape import TapePlayer

log = logging.getLogger(__name__)

TAPE_INTERVAL_MS = 10
OTHERS_TURNS = 5
"""Spot and builder markets move this much less often, so that they cost a tick little."""
LATER_S = 0.002


class HyperliquidVenue:
    """A venue on loopback sockets, for a test or a demo to embed.

    ``async with HyperliquidVenue(config) as venue:`` serves until the block is left. Everything runs in the loop of the
    caller; no method may be called from another thread.

    Attributes:
        failed, failure: set when a loop of the venue ended with an error, as when a tape turns out to be damaged;
            `stop` raises it.
    """

    def __init__(self, config: VenueConfig | None = None, clock: VenueClock | None = None) -> None:
        self.config = replace(config or VenueConfig())
        self.state = VenueState(self.config, clock)
        self.clock = self.state.clock
        self.exchange = Exchange(self.state)
        self.info = Info(self.state)
        self.faults = Faults()
        self.streams = Streams(self.state, self.info, self.faults)
        self.triggers = Triggers(self.state, self.exchange.placing)
        self.outside = Outside(self.state, self.exchange.placing)
        self.liquidations = Liquidations(self.state, self.exchange.placing, self.exchange.twaps)
        self._marks_moved = False
        self.funding = Funding(self.state)
        self.sources = self._make_sources()
        self.interventions = Interventions(self)
        self.trading = TradingInterventions(self)
        self.scenario = None if self.config.scenario is None else load_scenario(self.config.scenario, commands_of(self))
        self._queue: list[tuple[Envelope, Callable[[Reply], None]]] = []
        self._held: deque[Block] = deque()
        self._push_random = random.Random(self.config.seed)
        self._tasks: list[asyncio.Task[None]] = []
        self._server = Server(self)
        self._started_ns = 0
        self.is_market_paused = False
        self.is_stalled = False
        self.failed = asyncio.Event()
        self.failure: Exception | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> HyperliquidVenue:
        """Start on free loopback ports."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and close every socket."""
        await self.stop()

    async def start(self, host: str = "127.0.0.1", port: int = 0, control_port: int = 0) -> None:
        """Open the market, listen, and begin to make blocks."""
        self._started_ns = time.monotonic_ns()
        self.state.begin_block()
        for source in self.sources:
            source.open(self.outside)
        self._end_block()
        await self._server.start(host, port, control_port)
        loops = [self._market_loop, self._idle_loop]
        if self.config.block_interval_ms:
            loops.append(self._block_loop)
        self._tasks = [asyncio.create_task(self._guarded(loop)) for loop in loops]
        if self.scenario is not None:
            self.scenario.start()

    async def stop(self) -> None:
        """Close every socket and end."""
        if self.scenario is not None:
            self.scenario.stop()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        await self._server.stop()

    @property
    def port(self) -> int:
        """Port of `/info`, `/exchange` and `/ws`."""
        return self._server.port

    @property
    def base_url(self) -> str:
        """What the official SDK takes as `base_url`."""
        return f"http://{self._server.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The socket address."""
        return f"ws://{self._server.host}:{self.port}/ws"

    @property
    def control_url(self) -> str:
        """Where faults are ordered."""
        return f"http://{self._server.host}:{self._server.control_port}/control"

    # -- what an embedding test asks and does --------------------------------------------------------------------------

    def fills(self, user: str) -> list[dict[str, Any]]:
        """Every fill that the account ever had, oldest first, as `userFills` rows."""
        account = self.state.accounts.get(address_text(user))
        return [] if account is None else [fill.row() for fill in account.fills]

    def account(self, user: str) -> Account:
        """The account of an address, made with the initial balance when it is new."""
        return self.state.enrol(address_text(user))

    def fund(self, user: str, dollars: str) -> None:
        """Add dollars to an account; a new one then has just these."""
        address = address_text(user)
        self.state.begin_block()
        account = self.state.accounts.get(address) or self.state.enrol(address, 0)
        self.state.deposit(account, exact_units(dollars, 6))
        self._end_block()

    def give(self, user: str, token: str, amount: str, place: str = "spot") -> None:
        """Give an account an amount of a token on spot, or of a dex's collateral on that dex.

        Raises:
            ValueError: an unknown token or place, or an amount that is no decimal.
        """
        found = next((t for t in self.state.catalogue.spot.tokens.values() if t.name == token), None)
        if found is None:
            raise ValueError(f"no token {token!r}")
        address = address_text(user)
        self.state.begin_block()
        account = self.state.accounts.get(address) or self.state.enrol(address, 0)
        if place == "spot":
            self.state.spot.add(account, found, exact_units(amount, found.wei_decimals))
        else:
            universe = self.state.catalogue.universe(place)
            if universe is None or universe.collateral_token != found.index:
                raise ValueError(f"no dex {place!r} with collateral {token}")
            account.clearing(place).cash += exact_units(amount, 6)
            self.state.block.touched.add(account)
        self._end_block()

    def set_price(self, coin: str, price: str) -> None:
        """Move the outside market of a coin: oracle, mark and the synthetic quotes, which meet users' orders at once.

        Raises:
            ValueError: an unknown coin or a price that is no decimal.
        """
        market = self.market(coin)
        neutral = exact_units(price, NEUTRAL_DECIMALS)
        self.state.begin_block()
        for source in self.sources:
            if coin in source.coins:
                source.set_price(self.outside, coin, neutral)
        self.outside.set_reference(coin, neutral)
        market.mark = market.oracle
        self._marks_moved = True
        self._end_block()

    def market(self, coin: str) -> Market:
        """A market by its coin.

        Raises:
            ValueError: no such coin.
        """
        market = self.state.by_coin.get(coin)
        if market is None:
            raise ValueError(f"no market {coin!r}; there are {', '.join(self.state.by_coin)}")
        return market

    def drop_sockets(self, with_close_frame: bool = False) -> int:
        """Hang up on every client socket; returns how many there were."""
        sockets: list[Socket] = list(self.streams.sockets)
        for socket in sockets:
            if with_close_frame:
                socket.close(1001, "Going away")
            else:
                socket.abort()
        return len(sockets)

    @property
    def ip_budget(self) -> IpBudget:
        """The request weight that each IP has spent."""
        return self._server.ip_budget

    def status(self) -> dict[str, Any]:
        """What is going on."""
        accounts = self.state.accounts.values()
        return {
            "time": self.clock.now_ms(),
            "accounts": len(accounts),
            "orders_sent": self.exchange.orders_sent,
            "open_orders": sum(len(account.open_orders) for account in accounts),
            "fills": sum(len(account.fills) for account in accounts),
            "sockets": len(self.streams.sockets),
            "armed": self.faults.armed,
            "happened": dict(self.faults.counts),
        }

    # -- blocks --------------------------------------------------------------------------------------------------------

    def submit(self, envelope: Envelope, on_reply: Callable[[Reply], None]) -> None:
        """Execute a request now, or with the next block, and hand its reply over."""
        if self.has_blocks:
            self._queue.append((envelope, on_reply))
        else:
            on_reply(self.execute_now(envelope))

    @property
    def has_blocks(self) -> bool:
        """Whether an action waits for a block, by the config or because blocks are stalled."""
        return self.is_stalled or self.config.block_interval_ms > 0

    def stall(self, on: bool = True) -> None:
        """Take actions and execute none, until this is over; then everything that waits is executed in one block."""
        self.is_stalled = on
        if not on and self._queue:
            self.make_block()

    def execute_now(self, envelope: Envelope) -> Reply:
        """Execute a request in a block of its own."""
        self.state.begin_block()
        reply = self.exchange.execute(envelope)
        self._end_block()
        return reply

    def make_block(self) -> None:
        """Execute everything that waits, in the in-block order, and tell it."""
        queue, self._queue = self._queue, []
        if self.config.block_order:
            queue.sort(key=lambda entry: block_class(entry[0].action))
        self.state.begin_block()
        replies = [(self.exchange.execute(envelope), on_reply) for envelope, on_reply in queue]
        self._end_block()
        for reply, on_reply in replies:
            on_reply(reply)

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """A block of its own for what happens inside; it is told also when that fails half-way."""
        self.state.begin_block()
        try:
            yield
        finally:
            self._end_block()

    def _end_block(self) -> None:
        if self.state.armed:
            self.triggers.fire_due()
        if self._marks_moved and self.config.liquidations:
            self.liquidations.check()
        self._marks_moved = False
        block = self.state.end_block()
        if self.scenario is not None:
            self.scenario.note_orders(self.exchange.orders_sent)
        if block.is_empty:
            return
        order = self.config.push_order
        if order == "random":
            order = self._push_random.choice(("before", "after"))
        if order == "before" and not self._held:
            self.streams.publish(block)
            return
        self._held.append(block)
        asyncio.get_running_loop().call_later(LATER_S, self._release)

    def _release(self) -> None:
        if self._held:
            self.streams.publish(self._held.popleft())

    # -- loops ---------------------------------------------------------------------------------------------------------

    async def _guarded(self, loop: Callable[[], Awaitable[None]]) -> None:
        try:
            await loop()
        except Exception as error:
            log.exception("a loop of the venue failed")
            self.failure = error
            self.failed.set()
            raise

    async def _block_loop(self) -> None:
        interval = self.config.block_interval_ms / 1000
        due = time.monotonic() + interval
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due + interval, time.monotonic())
            if not self.is_stalled:
                self.make_block()

    async def _market_loop(self) -> None:
        interval = TAPE_INTERVAL_MS if self.config.tapes else self.config.market_interval_ms
        synthetic_every = max(1, self.config.market_interval_ms // interval)
        step = 0
        while True:
            await asyncio.sleep(interval / 1000)
            step += 1
            self.tick(include_synthetic=not step % synthetic_every)

    def tick(self, include_synthetic: bool = True) -> None:
        """One step of everything that goes by time: outside market, funding, scheduled cancels, timed pushes."""
        now = self.clock.now_ms()
        self.state.begin_block()
        elapsed = time.monotonic_ns() - self._started_ns
        for source in () if self.is_market_paused else self.sources:
            if include_synthetic or not isinstance(source, SyntheticMarket):
                source.step(self.outside, elapsed)
        for market in self.state.markets.everything():
            market.update_mark()
        self.funding.settle_due(now)
        self._marks_moved = True
        self.exchange.twaps.run_due(now)
        for account in self.state.accounts.values():
            if account.scheduled_cancel_ms is not None and account.scheduled_cancel_ms <= now:
                account.scheduled_cancels.append(account.scheduled_cancel_ms // DAY_MS)
                account.scheduled_cancel_ms = None
                self.exchange.placing.cancel_all(account, "scheduledCancel")
        self._end_block()
        self.streams.tick(now)

    async def _idle_loop(self) -> None:
        limit = self.config.idle_close_s
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            oldest = time.monotonic() - limit
            for socket in list(self.streams.sockets):
                if socket.last_sent < oldest:
                    socket.close(1000, "Inactive")

    def _make_sources(self) -> list[Source]:
        markets = self.state.markets.everything()
        coins = frozenset(market.instrument.name for market in markets if not market.instrument.is_delisted)
        sources: list[Source] = [TapePlayer(path, coins, self.config.speed) for path in self.config.tapes]
        covered = frozenset[str]().union(*(source.coins for source in sources))
        if self.config.market == "synthetic":
            quoted = [market for market in markets if market.instrument.name in coins - covered]
            main = set(self.state.markets.of_dex(""))
            for turns, group in ((1, main), (OTHERS_TURNS, set(markets) - main)):
                prices = {
                    market.instrument.name: market.oracle * 10 ** (NEUTRAL_DECIMALS - market.instrument.price_decimals)
                    for market in quoted
                    if market in group
                }
                sources.append(SyntheticMarket(prices, self.config.seed, turns))
        return sources
