"""`bench send`: from an order's signed bytes in hand to the venue's socket, and back, by each way that an order can go.

An order every few milliseconds, as a strategy sends them, so that caches are as cold as they will be; the ways take
turns order by order. The limit is the same bytes written to an open transport. The far end (`send_sink.py`) is another
process that answers with the time at which the bytes came; both read the same monotonic clock.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import uvloop

from latentspeed.connectors.http_line import HttpLine
from latentspeed.connectors.transport import HttpClient, WebSocketLink

SCHEMA: Final = 1
ORDERS: Final = 2000
WARM_UP: Final = 100
EVERY_S: Final = 0.002
START_TIMEOUT_S: Final = 10.0
LIMIT: Final = "the same bytes on an open transport (the limit)"
BODY: Final = (
    b'{"action":{"type":"order","orders":[{"a":0,"b":true,"p":"64000","s":"0.001"}]},"pad":"' + b"x" * 300 + b'"}'
)

Way = Callable[[], Awaitable[tuple[int, int, int]]]
"""Sends once; monotonic nanoseconds of the call, of the arrival at the far end, and of the answer."""


@dataclass(frozen=True, slots=True)
class SendCost:
    """Microseconds from the call to the venue's socket, and to the answer; ratios are to the limit's medians."""

    arrival_p50_us: float
    arrival_p99_us: float
    answer_p50_us: float
    arrival_times_limit: float
    answer_times_limit: float


@dataclass(frozen=True, slots=True)
class SendReport:
    """The result of `bench send`, and its JSON."""

    schema: int
    orders: int
    costs: Mapping[str, SendCost]


class BareLine(asyncio.Protocol):
    """Writes prebuilt bytes and waits for whatever comes back."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)


def run_send_bench(*, orders: int = ORDERS, say: Callable[[str], None] = lambda line: None) -> SendReport:
    """Runs all ways; `say` is told what goes on."""
    command = [sys.executable, "-P", "-m", "latentspeed.tools.bench.send_sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sink:
        try:
            assert sink.stdout is not None
            port = int(sink.stdout.readline())
            return uvloop.run(_run(port, orders, say))
        finally:
            sink.kill()


async def _run(port: int, orders: int, say: Callable[[str], None]) -> SendReport:
    address = f"127.0.0.1:{port}"
    line = HttpLine(f"http://{address}", "/exchange", timeout_s=5.0)
    client = HttpClient(f"http://{address}", timeout_s=5.0)
    await line.open()
    _, bare = await asyncio.get_running_loop().create_connection(BareLine, "127.0.0.1", port)
    received: asyncio.Queue[str] = asyncio.Queue()
    opened = asyncio.Event()
    link = WebSocketLink(
        f"ws://{address}/ws",
        client,
        ping=lambda: "ping",
        on_open=opened.set,
        on_text=lambda text, mono_ns: received.put_nowait(text),
        on_lost=lambda reason: None,
        on_callback_error=lambda error: None,
    )
    socket = asyncio.ensure_future(link.run())
    await asyncio.wait_for(opened.wait(), START_TIMEOUT_S)
    frame = BODY.decode()

    async def by_transport() -> tuple[int, int, int]:
        bare.answer = asyncio.get_running_loop().create_future()
        called = time.monotonic_ns()
        bare.transport.write(request)  # type: ignore[attr-defined]
        answer = await bare.answer
        return called, int(answer.rpartition(b"\r\n")[2]), time.monotonic_ns()

    async def by_line() -> tuple[int, int, int]:
        called = time.monotonic_ns()
        answer = await line.post(BODY)
        return called, int(answer), time.monotonic_ns()

    async def by_client() -> tuple[int, int, int]:
        called = time.monotonic_ns()
        answer = await client.post("/exchange", BODY)
        return called, int(answer), time.monotonic_ns()

    async def by_socket() -> tuple[int, int, int]:
        called = time.monotonic_ns()
        await link.send_now(frame)
        answer = await received.get()
        return called, int(answer), time.monotonic_ns()

    request = line.request(BODY)
    ways: dict[str, Way] = {
        LIMIT: by_transport,
        "the order line (http)": by_line,
        "a post through the socket (ws)": by_socket,
        "a general HTTP client (aiohttp)": by_client,
    }
    try:
        say(f"{orders} orders by each of {len(ways)} ways")
        return reduce_times(await measure(ways, orders), orders)
    finally:
        socket.cancel()
        await asyncio.gather(socket, return_exceptions=True)
        bare.transport.close()
        await line.close()
        await client.close()


async def measure(ways: Mapping[str, Way], orders: int) -> dict[str, list[tuple[int, int, int]]]:
    """The times of so many orders by each way, after a warm-up."""
    taken: dict[str, list[tuple[int, int, int]]] = {name: [] for name in ways}
    turns = list(ways)
    shuffler = random.Random(7)
    for number in range(WARM_UP + orders):
        # A fixed order would let one way always run in the wake of the same other.
        shuffler.shuffle(turns)
        for name in turns:
            await asyncio.sleep(EVERY_S)
            times = await ways[name]()
            if number >= WARM_UP:
                taken[name].append(times)
    return taken


def reduce_times(taken: Mapping[str, list[tuple[int, int, int]]], orders: int) -> SendReport:
    """Medians, and how many times those of the limit they are."""
    arrivals = {name: np.array([arrived - called for called, arrived, _ in times]) for name, times in taken.items()}
    answers = {name: np.array([answered - called for called, _, answered in times]) for name, times in taken.items()}
    arrival_limit, answer_limit = float(np.median(arrivals[LIMIT])), float(np.median(answers[LIMIT]))
    costs = {}
    for name in taken:
        arrival, answer = float(np.median(arrivals[name])), float(np.median(answers[name]))
        p99 = float(np.percentile(arrivals[name], 99))
        costs[name] = SendCost(arrival / 1e3, p99 / 1e3, answer / 1e3, arrival / arrival_limit, answer / answer_limit)
    return SendReport(SCHEMA, orders, costs)
