"""The whole venue in one event loop: chain, node, indexer, faucet and control, each on its loopback port.

node     JSON-RPC and REST paths of one full node, and its gRPC when a port for it is given
indexer  REST under /v4, sockets at /v4/ws
control  POST {"do": NAME, ...}: what a test may do to the venue; GET lists it
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import orjson
from aiohttp import web

from latentspeed.tools.venues.control import Control
from latentspeed.tools.venues.dydx_v4.chain import Chain, ChainSink
from latentspeed.tools.venues.dydx_v4.commands import commands_of
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.event_log import EventLog
from latentspeed.tools.venues.dydx_v4.faults import COUNTED
from latentspeed.tools.venues.dydx_v4.grpc_front import GrpcFront
from latentspeed.tools.venues.dydx_v4.history import OrderHistory
from latentspeed.tools.venues.dydx_v4.indexer import Indexer
from latentspeed.tools.venues.dydx_v4.indexer_queries import Queries
from latentspeed.tools.venues.dydx_v4.interventions import Interventions
from latentspeed.tools.venues.dydx_v4.node import Node
from latentspeed.tools.venues.dydx_v4.odd_reports import OddReports
from latentspeed.tools.venues.dydx_v4.outside import Outside
from latentspeed.tools.venues.dydx_v4.rest import Rest
from latentspeed.tools.venues.dydx_v4.rest_view import RestView
from latentspeed.tools.venues.dydx_v4.sockets import Sockets
from latentspeed.tools.venues.market import SCALE, Source, SyntheticMarket
from latentspeed.tools.venues.scenario import load_scenario
from latentspeed.tools.venues.tape import TapePlayer

SHUTDOWN_S = 0.5
FAUCET_NATIVE = 10**18
"""What the faucet of native tokens gives: one whole token."""


class DydxVenue(Interventions):
    """A venue that runs in the loop that started it."""

    def __init__(self, config: VenueConfig | None = None, clock_ms: Callable[[], int] | None = None) -> None:
        self.config = config or VenueConfig()
        self.offset_ms = 0
        """By how much the chain's clock is ahead of this machine's."""
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)
        self.indexer = Indexer(self.config)
        self.history = OrderHistory(self.indexer)
        self._log = EventLog(self.config.log, self.history) if self.config.log is not None else None
        listener: ChainSink = self.history if self._log is None else self._log
        self.chain = Chain(self.config, listener, self.now_ms)
        self.indexer.attach(self.chain.ledger)
        self.indexer.time_ms = self.now_ms()
        self.rest_view = RestView(self.indexer)
        self.rest_view.lag_ms = self.config.rest_lag_ms
        self.queries = Queries(self.rest_view, self.chain.enrol)
        self.sockets = Sockets(self.queries.snapshot, batch_ms=self.config.batch_ms, height=lambda: self.chain.height)
        self.reports = OddReports(self.sockets, self.config.seed)
        self.indexer.publisher = self.reports
        self.rest = Rest(self.rest_view, self.queries, self.now_ms, is_limited=self.config.rest_limits)
        self.nodes = [Node(self.chain, self._note_orders, number) for number in range(self.config.nodes)]
        self.node = self.nodes[0]
        self._grpc_fronts = [GrpcFront(node) for node in self.nodes]
        self.outside = Outside(self.chain)
        self.is_market_paused = False
        self.host = ""
        self.node_port = self.indexer_port = self.control_port = 0
        self.rpc_urls: list[str] = []
        """The JSON-RPC of every node: one chain, each node with its own troubles."""
        self.grpc_urls: list[str] = []
        """The gRPC of every node, in plain text, as HOST:PORT; none where it is not served."""
        self._control = Control(commands_of(self), faults=sorted(COUNTED))
        self.scenario = None if self.config.scenario is None else load_scenario(self.config.scenario, commands_of(self))
        self._doings: set[asyncio.Task[None]] = set()
        self._runners: list[web.AppRunner] = []
        self._open_nodes: dict[int, web.AppRunner] = {}
        self._coming_and_going = asyncio.Lock()
        self._node_ports: list[int] = []
        self._grpc_ports: list[int] = []
        self._tasks: list[asyncio.Task[None]] = []
        for ticker, price in self.config.prices.items():
            market = self.chain.markets[ticker]
            self.chain.set_oracle(ticker, market.to_subticks(round(float(price) * SCALE), up=False))
        self.sources = self._make_sources()

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
        """The first node's gRPC; empty when it is not served."""
        return self.grpc_urls[0] if self.grpc_urls else ""

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
        control = web.Application()
        control.router.add_route("*", "/control", self._control.handle)
        self.indexer_port = await self._listen(indexer, indexer_port)
        self._node_ports = [node_port] + [0] * (len(self.nodes) - 1)
        self._grpc_ports = [] if grpc_port is None else [grpc_port] + [0] * (len(self.nodes) - 1)
        for number in range(len(self.nodes)):
            await self.open_node(number)
        self.node_port = self._node_ports[0]
        self.rpc_urls += [f"http://{host}:{port}" for port in self._node_ports]
        self.grpc_urls += [f"{host}:{port}" for port in self._grpc_ports]
        self.control_port = await self._listen(control, control_port)
        self.chain.make_block()
        if self.sources:
            for source in self.sources:
                source.open(self.outside)
            self._tasks.append(asyncio.create_task(self._run_market()))
        if self.scenario is not None:
            self.scenario.start()
        if self.config.block_interval_ms:
            self._tasks.append(asyncio.create_task(self._run_blocks()))

    async def _listen(self, application: web.Application, port: int) -> int:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self.host, port).start()
        bound: int = runner.addresses[0][1]
        return bound

    async def open_node(self, number: int) -> None:
        """Lets a node be reached, on the ports that it had before."""
        async with self._coming_and_going:
            if number in self._open_nodes:
                return
            application = web.Application()
            faucets = [web.post("/faucet/tokens", self._faucet), web.post("/faucet/native-token", self._native_faucet)]
            application.add_routes([*self.nodes[number].routes(), *faucets])
            self._node_ports[number] = await self._listen(application, self._node_ports[number])
            self._open_nodes[number] = self._runners[-1]
            if self._grpc_ports:
                self._grpc_ports[number] = await self._grpc_fronts[number].start(self.host, self._grpc_ports[number])

    async def close_node(self, number: int) -> None:
        """Lets nobody reach a node, and cuts who has."""
        async with self._coming_and_going:
            runner = self._open_nodes.pop(number, None)
            if runner is None:
                return
            self._runners.remove(runner)
            for site in list(runner.sites):
                await site.stop()
            for connection in runner.server.connections if runner.server is not None else ():
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()
            await self._grpc_fronts[number].stop()

    async def stop(self) -> None:
        """Ends everything."""
        if self.scenario is not None:
            self.scenario.stop()
        for task in (*self._tasks, *self._doings):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for front in self._grpc_fronts:
            await front.stop()
        self.grpc_urls.clear()
        await self.sockets.close()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._open_nodes.clear()
        if self._log is not None:
            self._log.close()

    def _note_orders(self) -> None:
        if self.scenario is not None:
            self.scenario.note_orders(self.chain.orders_sent)

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
            for source in () if self.is_market_paused else self.sources:
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

    async def control(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """Does something to the venue.

        Raises:
            ValueError: an unknown command, or an argument that is unknown, missing or wrong.
        """
        found = self._control.run({"do": name, **arguments})
        await asyncio.gather(*self._doings)
        return found

    def begin(self, doing: Coroutine[Any, Any, None]) -> None:
        """Runs a command that takes its time."""
        task = asyncio.create_task(doing)
        self._doings.add(task)
        task.add_done_callback(self._doings.discard)
