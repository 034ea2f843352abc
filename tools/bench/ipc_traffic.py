"""Latency and throughput of the candidates: bursts between the two pinned processes.

Latency is half a round trip: each exchange is stamped once, and the cost of the stamp and of the loop is counted
against the candidate. Throughput is by the median window of 512 records, so that a burst that the scheduler cut in two
does not count.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from latentspeed.tools.bench.ipc_channels import (
    WINDOW,
    Channel,
    End,
    LimitChannel,
    NumpyChannel,
    PlainChannel,
    SharedMemory,
)
from latentspeed.tools.bench.ipc_limit import load_limit
from latentspeed.tools.bench.ipc_ours import OurSegment, QueueChannel, RingChannel
from latentspeed.tools.bench.ipc_peers import (
    IceoryxChannel,
    MessageQueueChannel,
    PipeChannel,
    ZmqChannel,
    is_installed,
)
from latentspeed.tools.bench.ipc_process import Partner, time_limit

CANDIDATES: Final[dict[str, type[Channel]]] = {
    "limit": LimitChannel,
    "plain": PlainChannel,
    "ring": RingChannel,
    "queue": QueueChannel,
    "numpy": NumpyChannel,
    "iceoryx2": IceoryxChannel,
    "mqueue": MessageQueueChannel,
    "pipe": PipeChannel,
    "pyzmq": ZmqChannel,
}
PEERS: Final = tuple(name for name in CANDIDATES if name not in ("limit", "plain", "ring", "queue"))
WARM_UP: Final = 100


class Side:
    """One process's ends of all candidates; the partner makes this by `Partner`."""

    def __init__(self, side: int, token: str, library: str, fds: dict[str, int]) -> None:
        self.end = End(side, token, load_limit(Path(library)), fds)
        self.channels: dict[str, Channel] = {}
        self.end.shared["progress"] = self._shared = SharedMemory(self.end, "progress", 4096)

    def create(self, name: str) -> None:
        """This side's half of a candidate."""
        channel = CANDIDATES[name](self.end)
        channel.create()
        self.channels[name] = channel

    def connect(self, name: str) -> None:
        """The other half."""
        self.channels[name].connect()

    def echo(self, name: str, count: int) -> None:
        """Answer."""
        self.channels[name].echo(count)

    def produce(self, name: str, count: int, batch: int) -> None:
        """Send."""
        self.channels[name].produce(count, batch)

    def sleeper(self, kind: str, *arguments: Any) -> Any:
        """The parked side of a wake-up; see ipc_waking."""
        from latentspeed.tools.bench import ipc_waking

        return getattr(ipc_waking, kind)(self.end, *arguments)

    def close(self) -> None:
        """Remove everything that this side made."""
        for name, channel in self.channels.items():
            if name != "queue":
                with contextlib.suppress(OSError):
                    channel.close()
        self._shared.close()


def open_candidates(mine: Side, partner: Partner, wanted: tuple[str, ...]) -> dict[str, str]:
    """Open the candidates on both sides; returns why each of the others is left out."""
    left_out = {}
    for name in CANDIDATES:
        kind = CANDIDATES[name]
        if name in PEERS and name not in wanted:
            left_out[name] = "not asked for"
            continue
        if not is_installed(kind.needs):
            left_out[name] = f"{kind.needs} is not installed (pip install 'latentspeed[bench]')"
            continue
        mine.create(name)
        partner.call("create", name)
        partner.post("connect", name)
        if name == "ring":
            segment = OurSegment.of(mine.end)
            while not partner.connection.poll(0.001):
                segment.activate_claims()
        mine.connect(name)
        partner.result()
    return left_out


def measure_latency(mine: Side, partner: Partner, name: str, scale: float) -> npt.NDArray[np.int64]:
    """Half round trips in ticks, one burst."""
    channel = mine.channels[name]
    count = max(int(channel.exchanges * scale), 20) + WARM_UP
    stamps = np.zeros(count, np.uint64)
    partner.post("echo", name, count)
    with time_limit():
        channel.ping(stamps)
    partner.result()
    after = stamps[WARM_UP:].astype(np.int64)
    return (after[1:] - after[:-1]) // 2


def measure_throughput(mine: Side, partner: Partner, name: str, batched: bool, scale: float) -> float:
    """Ticks per record, one burst."""
    channel = mine.channels[name]
    windows = max(int(channel.windows * scale), 3)
    batch = channel.batch if batched else 1
    stamps = np.zeros(windows, np.uint64)
    partner.post("produce", name, windows * WINDOW, batch)
    with time_limit():
        channel.consume(stamps, batch)
    partner.result()
    return float(np.median(np.diff(stamps.astype(np.int64)))) / WINDOW
