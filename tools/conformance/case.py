"""One case: a venue that was just started, and the traders that take part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from latentspeed.connectors import ConnectorBase, TradingRule
from latentspeed.connectors.errors import VenueUnreachable
from latentspeed.connectors.network_connector import NetworkConnector
from latentspeed.tools.conformance.agreement import differences
from latentspeed.tools.conformance.harness import Ability, ConformanceHarness, Fault, VenueBook, VenueOrder, VenueState
from latentspeed.tools.conformance.trader import Trader

HOUSEKEEPING_S = 0.05


class Case:
    """Starts the venue and connects traders; at the end everything is closed, whatever happened."""

    def __init__(self, harness: ConformanceHarness) -> None:
        self.harness = harness
        self.traders: list[Trader] = []

    async def __aenter__(self) -> Self:
        """Start the venue."""
        await self.harness.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect everybody and end the venue."""
        try:
            for trader in self.traders:
                await trader.connector.disconnect()
        finally:
            await self.harness.stop()

    # -- traders -------------------------------------------------------------------------------------------------------

    def new_trader(self, account: str, *, engine: int = 1, stale_after_s: float = 0.0) -> Trader:
        """A trader that is not connected."""
        harness = self.harness
        connector = harness.new_connector(account, engine=engine, stale_after_s=stale_after_s)
        _hasten(connector)
        trader = Trader(connector, account, harness.pair, harness.price, harness.patience_s, engine)
        self.traders.append(trader)
        return trader

    async def connect(self, trader: Trader) -> Trader:
        """Subscribe to the pair, connect, and wait until the trader is ready."""
        trader.connector.subscribe(trader.pair)
        async with asyncio.timeout(2 * self.harness.patience_s):
            await insist(trader.connector.connect)
            await trader.connector.wait_ready()
        return trader

    async def join(self, account: str, *, engine: int = 1, stale_after_s: float = 0.0) -> Trader:
        """A trader that is ready."""
        return await self.connect(self.new_trader(account, engine=engine, stale_after_s=stale_after_s))

    async def maker_and_taker(self) -> tuple[Trader, Trader]:
        """Two traders with an account each."""
        return await self.join("maker"), await self.join("taker")

    def rule(self, trader: Trader) -> TradingRule:
        """The rule of the pair."""
        rule = trader.connector.get_trading_rule(self.harness.pair)
        assert rule is not None
        return rule

    # -- the venue -----------------------------------------------------------------------------------------------------

    async def open_orders(self, trader: Trader) -> list[VenueOrder]:
        """The open orders of a trader's account, from the venue's books."""
        return [order for order in (await self.book(trader)).orders if order.state is VenueState.OPEN]

    async def book(self, trader: Trader) -> VenueBook:
        """The venue's books of a trader's account."""
        return await self.harness.book(trader.account)

    async def until_venue(self, trader: Trader, open_orders: int) -> None:
        """Wait until the venue has so many open orders of the account."""
        deadline = time.monotonic() + self.harness.patience_s
        while len(await self.open_orders(trader)) != open_orders:
            assert time.monotonic() < deadline, (open_orders, await self.open_orders(trader))
            await asyncio.sleep(0.01)

    async def until_given_up(self) -> None:
        """Wait until a request that was sent before this has its answer, or is known not to get one.

        Where orders do not last, one might be over by then: there nothing is waited for.
        """
        if Ability.LASTING in self.harness.abilities:
            await asyncio.sleep(1.2 * self.harness.answer_within_s)

    async def fault(self, fault: Fault) -> None:
        """Let something go wrong."""
        await self.harness.order_fault(fault)

    async def agree(self, *lives: Trader) -> None:
        """Wait until the connectors of an account, the lives of one engine, say exactly what their venue says."""
        deadline = time.monotonic() + self.harness.patience_s
        while found := differences(lives, await self.book(lives[0])):
            assert time.monotonic() < deadline, "\n".join(found)
            await asyncio.sleep(0.05)


async def insist(ask: Callable[[], Awaitable[None]]) -> None:
    """Ask again as long as the venue is not reached: time limits are short here, and the machine may be busy."""
    while True:
        try:
            await ask()
        except VenueUnreachable:
            await asyncio.sleep(0.1)
        else:
            return


def _hasten(connector: ConnectorBase) -> None:
    """Let a connector look after its orders more often than once a second."""
    if isinstance(connector, NetworkConnector):
        connector.housekeeping_interval_s = HOUSEKEEPING_S
