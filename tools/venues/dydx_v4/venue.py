"""The whole venue in one event loop: chain, node, indexer, faucet and control, each on its loopback port.

node     JSON-RPC and REST paths of one full node, and its gRPC when a port for it is given
indexer  REST under /v4, sockets at /v4/ws
control  POST {"do": NAME, ...}: what a test may do to the venue
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
from aiohttp import web

from latentspeed.tools.venues.dydx_v4.chain import Chain
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.grpc_front import GrpcFront
from latentspeed.tools.venues.dydx_v4.history import OrderHistory
from latentspeed.tools.venues.dydx_v4.indexer import Indexer
from latentspeed.tools.venues.dydx_v4.indexer_queries import Queries
from latentspeed.tools.venues.dydx_v4.node import Node
from latentspeed.tools.venues.dydx_v4.orders import Removal
from latentspeed.tools.venues.dydx_v4.outside import Outside
from latentspeed.tools.venues.dydx_v4.rest import Rest
from latentspeed.tools.venues.dydx_v4.sockets import Sockets
from latentspeed.tools.venues.market import SCALE, Source, SyntheticMarket
from latentspeed.tools.venues.tape import TapePlayer

SHUTDOWN_S = 0.5
FAUCET_NATIVE = 10**18
"""What the faucet of native tokens gives: one whole token."""


class DydxVenue:
    """A venue that runs in the loop that started it."""

    def __init__(self, config: VenueConfig | None = None, clock_ms: Callable[[], int] | None = None) -> None:
        self.config = config or VenueConfig()
        self.offset_ms = 0
        """By how much the chain's clock is ahead of this machine's."""
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)
        self.indexer = Indexer(self.config)
        self.history = OrderHistory(self.indexer)
        self.chain = Chain(self.config, self.history, self.now_ms)
        self.indexer.attach(self.chain.ledger)
        self.indexer.time_ms = self.now_ms()
        self.queries = Queries(self.indexer, self.chain.enrol)
        self.sockets = Sockets(self.queries.snapshot, batch_ms=self.config.batch_ms)
        self.indexer.publisher = self.sockets
        self.rest = Rest(self.indexer, self.queries, self.now_ms, is_limited=self.config.rest_limits)
        self.node = Node(self.chain)
        self.grpc = GrpcFront(self.node)
        self.outside = Outside(self.chain)
        self.host = ""
        self.node_port = self.indexer_port = self.control_port = self.grpc_port = 0
        self._runners: list[web.AppRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        for ticker, price in self.config.prices.items():
            market = self.chain.markets[ticker]
            self.chain.set_oracle(ticker, market.to_subticks(round(float(price) * SCALE), up=False))
        self._sources = self._make_sources()

    def now_ms(self) -> int:
        """The chain's clock."""
        return self._clock_ms() + self.offset_ms

    async def __aenter__(self) -> DydxVenue:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    # --- where it is ---

    @property
    def rpc_url(self) -> str:
        """The node's JSON-RPC, and its REST paths."""
        return f"http://{self.host}:{self.node_port}"

    @property
    def grpc_url(self) -> str:
        """The node's gRPC, in plain text, as HOST:PORT; empty when it is not served."""
        return f"{self.host}:{self.grpc_port}" if self.grpc_port else ""

    @property
    def rest_url(self) -> str:
        """The indexer, without /v4."""
        return f"http://{self.host}:{self.indexer_port}"

    @property
    def ws_url(self) -> str:
        """The indexer's sockets."""
        return f"ws://{self.host}:{self.indexer_port}/v4/ws"

    @property
    def control_url(self) -> str:
        """What a test may do."""
        return f"http://{self.host}:{self.control_port}/control"

    # --- running ---

    async def start(
        self,
        host: str = "127.0.0.1",
        node_port: int = 0,
        indexer_port: int = 0,
        control_port: int = 0,
        grpc_port: int | None = None,
    ) -> None:
        """Binds its ports, 0 taking a free one, and lets blocks and the outside market run.

        Raises:
            ValueError: a port for gRPC was given, and grpcio is not installed.
            OSError: a port is taken.
        """
        self.host = host
        indexer = web.Application(middlewares=[self.rest.guard])
        sockets = [web.get("/v4/ws", self.sockets.handle), web.get("/", self.sockets.handle)]
        indexer.add_routes([*self.rest.routes(), *sockets])
        node = web.Application()
        node.add_routes([*self.node.routes(), web.post("/faucet/tokens", self._faucet)])
        node.add_routes([web.post("/faucet/native-token", self._native_faucet)])
        control = web.Application()
        control.router.add_post("/control", self._control)
        self.indexer_port = await self._listen(indexer, indexer_port)
        self.node_port = await self._listen(node, node_port)
        self.control_port = await self._listen(control, control_port)
        if grpc_port is not None:
            self.grpc_port = await self.grpc.start(host, grpc_port)
        self.chain.make_block()
        if self._sources:
            for source in self._sources:
                source.open(self.outside)
            self._tasks.append(asyncio.create_task(self._run_market()))
        if self.config.block_interval_ms:
            self._tasks.append(asyncio.create_task(self._run_blocks()))

    async def _listen(self, application: web.Application, port: int) -> int:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self.host, port).start()
        bound: int = runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Ends everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.grpc.stop()
        await self.sockets.close()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _run_blocks(self) -> None:
        interval_s = self.config.block_interval_ms / 1000
        following = time.monotonic() + interval_s
        while True:
            await asyncio.sleep(max(0.0, following - time.monotonic()))
            following += interval_s
            self.chain.make_block()

    async def _run_market(self) -> None:
        started_ns = time.monotonic_ns()
        while True:
            await asyncio.sleep(self.config.market_interval_ms / 1000)
            for source in self._sources:
                source.step(self.outside, time.monotonic_ns() - started_ns)

    def _make_sources(self) -> list[Source]:
        """Tapes first; what they do not quote is synthetic, or silent."""
        coins = {ticker.partition("-")[0]: ticker for ticker in self.chain.markets}
        sources: list[Source] = [TapePlayer(path, frozenset(coins), self.config.speed) for path in self.config.tapes]
        if self.config.market == "synthetic":
            played = {coin for source in sources for coin in source.coins}
            prices = {
                coin: round(float(self.config.prices[ticker]) * SCALE)
                for coin, ticker in coins.items()
                if coin not in played and ticker in self.config.prices
            }
            sources.append(SyntheticMarket(prices, self.config.seed))
        return sources

    # --- the faucet and control ---

    async def _faucet(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        amount = int(Decimal(str(asked.get("amount", 0))) * 10**6)
        self.chain.fund(asked["address"], int(asked.get("subaccountNumber", 0)), amount)
        return web.Response(status=202, body=b"{}", content_type="application/json")

    async def _native_faucet(self, request: web.Request) -> web.Response:
        account = self.chain.ledger.account(orjson.loads(await request.read())["address"])
        account.native += FAUCET_NATIVE
        return web.Response(status=202, body=b"{}", content_type="application/json")

    async def _control(self, request: web.Request) -> web.Response:
        try:
            asked = orjson.loads(await request.read())
            name = asked.pop("do")
            found = await self.control(name, **asked)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            body = orjson.dumps({"ok": False, "error": f"{type(error).__name__}: {error}"})
            return web.Response(status=400, body=body, content_type="application/json")
        return web.Response(body=orjson.dumps({"ok": True, **found}), content_type="application/json")

    async def control(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """Does something to the venue. Raises ValueError for an unknown name, TypeError for wrong arguments."""
        command = getattr(self, f"do_{name}", None)
        if command is None:
            known = sorted(word.removeprefix("do_") for word in dir(self) if word.startswith("do_"))
            raise ValueError(f"unknown command {name!r}: {', '.join(known)}")
        found = command(**arguments)
        if asyncio.iscoroutine(found):
            found = await found
        return found or {}

    def do_status(self) -> dict[str, Any]:
        """Heights and open orders."""
        return {
            "height": self.chain.height,
            "indexer_height": self.indexer.height,
            "connections": len(self.sockets.connections),
        }

    def do_fund(self, address: str, usd: int, number: int = 0) -> None:
        """Puts whole dollars into a subaccount."""
        self.chain.fund(address, number, usd * 10**6)

    def do_make_block(self, count: int = 1) -> dict[str, Any]:
        """Makes blocks now."""
        for _ in range(count):
            self.chain.make_block()
        return {"height": self.chain.height}

    def do_halt(self, is_halted: bool = True) -> None:
        """Stops the chain, or lets it go on."""
        self.chain.faults.is_halted = is_halted

    def do_refuse(self, codespace: str, code: int, count: int = 1) -> None:
        """Refuses the next transactions with a code."""
        self.chain.faults.refuse(codespace, code, count)

    def do_fault(self, name: str, count: int = 1) -> None:
        """Lets a counted fault of the chain happen."""
        self.chain.faults.order(name, count)

    def do_lose_answers(self, count: int = 1) -> None:
        """Takes the next broadcasts and cuts their connections."""
        self.node.lost_answers += count

    def do_delay_answers(self, ms: int) -> None:
        """Answers broadcasts so much later, after acting."""
        self.node.delay_s = ms / 1000

    def do_fail_node(self, status: int, count: int = 1) -> None:
        """Answers the next requests to the node with a status, without acting."""
        self.node.failures += [status] * count

    def do_fail_rest(self, status: int, count: int = 1) -> None:
        """Answers the next requests to the indexer with a status."""
        self.rest.failures += [status] * count

    async def do_drop_sockets(self, code: int | None = None) -> None:
        """Closes all sockets, with a close code or without a close frame."""
        await self.sockets.drop_all(code=code)

    def do_silence_sockets(self, is_silent: bool = True) -> None:
        """Lets open sockets hear nothing, while they stay open."""
        self.sockets.set_silent(is_silent)

    def do_lose_messages(self, count: int = 1) -> None:
        """Loses the next messages of channels."""
        self.sockets.lost += count

    def do_refuse_snapshots(self, count: int = 1) -> None:
        """Cannot fetch the next snapshots."""
        self.sockets.refuses_snapshots += count

    def do_set_status(self, ticker: str, status: str) -> None:
        """Sets a market's status; its orders end with its final settlement."""
        market = self.chain.markets[ticker]
        market.terms.status = status
        if status == "FINAL_SETTLEMENT":
            for order in [one for one in self.chain.memclob.resting.values() if one.market is market]:
                self.chain.memclob.remove(order, Removal.FINAL_SETTLEMENT)
        self.sockets.publish("v4_markets", "v4_markets", {"trading": {ticker: {"status": status}}})

    def do_set_price(self, ticker: str, price: str) -> None:
        """Moves a market's oracle price, and the outside market where there is one."""
        scaled = round(float(price) * SCALE)
        self.chain.set_oracle(ticker, self.chain.markets[ticker].to_subticks(scaled, up=False))
        coin = ticker.partition("-")[0]
        for source in self._sources:
            if coin in source.coins:
                source.set_price(self.outside, coin, scaled)

    async def do_restart_node(self) -> None:
        """Empties the node's memory, as a restart does; the indexer hears nothing of it."""
        self.indexer.is_deaf = True
        memclob = self.chain.memclob
        for order in list(memclob.resting.values()):
            if order.key.is_short_term:
                memclob.remove(order, None)
        memclob.matches.clear()
        memclob.cancels.clear()
        memclob.filled.clear()
        self.indexer.is_deaf = False

    def do_advance_clock(self, ms: int) -> None:
        """Puts the chain's clock forward."""
        self.offset_ms += ms

    def do_reset_faults(self) -> None:
        """Lets nothing go wrong any more."""
        self.chain.faults.reset()
        self.node.lost_answers, self.node.delay_s = 0, 0.0
        self.node.failures.clear()
        self.rest.failures.clear()
        self.sockets.lost = self.sockets.refuses_snapshots = 0
        self.sockets.set_silent(False)
