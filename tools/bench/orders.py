"""`bench orders`: a venue, an engine and a strategy that sends orders at a fixed rate, and what became of each order.

    venue process  <->  gateway process  <- shared memory ->  strategy process (order_load.py)
                              |
                    this process reads the event ring, as the inspector does

An order is lost unless the gateway published a final state of it and the venue, asked afterwards, agrees.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from latentspeed.connectors import OrderState, format_client_order_id
from latentspeed.connectors.hyperliquid.wire import encode_cloid
from latentspeed.engine.config import load_config
from latentspeed.engine.state_dir import engine_folder, log_path
from latentspeed.engine.supervisor import Supervisor
from latentspeed.ipc import IpcError
from latentspeed.tools.bench.observer import BenchFailed, CostMeter, EventLog, GatewayAccount, ProcessCost
from latentspeed.tools.bench.order_load import LoadSettings
from latentspeed.tools.bench.venue_account import ask_every_order, count_fills, lift_limits, lost_orders
from latentspeed.tools.harnesses.hyperliquid_engine import new_account
from latentspeed.tools.latency import LatencySummary, summarise
from latentspeed.tools.venues.hyperliquid.process import VenueProcess, venue_process

SCHEMA: Final = 1
CONNECTOR: Final = "hyperliquid"
STRATEGY: Final = "load"
TAG: Final = 1
PAIR: Final = "BTC-USD"
AMOUNT: Final = 0.001
SECRET_VARIABLE: Final = "LATENTSPEED_BENCH_KEY"
LOOK_S: Final = 0.05
COST_EVERY: Final = 5
LOST_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """What became of the orders.

    `refused` counts exceptions of `buy` and `sell`, whose orders were never sent; `reasons` why sent ones expired or
    failed; `lost` must be 0.
    """

    sent: int
    acknowledged: int
    filled: int
    cancelled: int
    expired: int
    failed: int
    refused: Mapping[str, int]
    reasons: Mapping[str, int]
    lost: int


@dataclass(frozen=True, slots=True)
class Allocations:
    """What an order costs in memory.

    `*_blocks_per_order` is by how much the interpreter's allocated blocks grew over the second half of the load, per
    order: what is kept, not what is allocated and freed again. `call_peak_bytes` is the median of what one call of
    `buy` or `sell` allocates at its peak, `collections` how often the strategy's garbage collector ran.
    """

    strategy_blocks_per_order: float
    gateway_blocks_per_order: float | None
    call_peak_bytes: float | None
    collections: int


@dataclass(frozen=True, slots=True)
class OrderBenchReport:
    """The result of `bench orders`, and its JSON.

    `stages` are the gateway's stamps; `strategy` is what the strategy saw: `due_to_called` how late it was itself,
    `call` the time inside `buy` or `sell`, `called_to_seen` until its callback was told of the acknowledgement.
    """

    schema: int
    rate: float
    seconds: float
    achieved_rate: float
    orders: OrderCounts
    fills: Mapping[str, int]
    stages: Mapping[str, LatencySummary]
    strategy: Mapping[str, LatencySummary]
    processes: Mapping[str, ProcessCost]
    allocations: Allocations
    lost: Mapping[str, str]
    gateway_errors: Mapping[str, int]

    @property
    def is_good(self) -> bool:
        """True where nothing was lost and all three count the same fills."""
        return self.orders.lost == 0 and len(set(self.fills.values())) == 1


class Transport(StrEnum):
    """How a gateway sends orders."""

    HTTP = "http"
    WS = "ws"


def run_order_bench(
    rate: float,
    seconds: float,
    *,
    idle: str = "park",
    transport: Transport = Transport.HTTP,
    limits: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> OrderBenchReport:
    """Run the bench in a temporary folder; `say` is told what goes on.

    With `limits` the venue keeps its rate limits and the gateway stays below them, so that most orders of a high rate
    wait, and expire unsent.

    Raises BenchFailed where a process failed or the bench itself fell behind.
    """
    with tempfile.TemporaryDirectory(prefix="latentspeed-bench-") as name:
        folder = Path(name)
        load = LoadSettings(CONNECTOR, PAIR, AMOUNT, rate, seconds, folder / "load.npz")
        retained = str(load.orders + 10_000)
        with venue_process(
            "--orders-retained", retained, "--fills-served", retained, *(["--limits"] if limits else [])
        ) as venue:
            key, account = new_account()
            instance = secrets.randbelow((1 << 32) - 1) + 1
            options = f'order_transport = "{transport}"\nlimit_requests = {str(limits).lower()}'
            engine = f"bench-{secrets.token_hex(4)}"
            config = write_config(folder, engine, venue.url, account, instance, idle, load, options)
            say(f"{load.orders} orders at {rate:g} a second")
            seen, meter = _run_engine(config, key, venue)
            log, summary = read_load(load.out)
            ids = log["id64"][log["id64"] > 0]
            cloids = {int(identifier): encode_cloid(instance, TAG, int(identifier)) for identifier in ids}
            if limits:
                lift_limits(venue.control_url)
            say(f"asking the venue about {len(cloids)} orders")
            statuses = ask_every_order(venue.url, account, cloids.values())
            fills_at_venue = count_fills(venue.url, account)
    gateway = GatewayAccount.of(seen.events(), ids)
    lost = lost_orders(cloids, gateway.final_states, statuses)
    costs = meter.costs(summary["start_mono_ns"], summary["end_mono_ns"])
    half_way = (summary["start_mono_ns"] + summary["end_mono_ns"]) // 2
    gained = seen.blocks_gained(half_way)
    allocations = Allocations(
        strategy_blocks_per_order=summary["kept_blocks_per_order"],
        gateway_blocks_per_order=None if gained is None else gained / (load.orders / 2),
        call_peak_bytes=float(np.median(summary["traced_bytes"])) if summary["traced_bytes"] else None,
        collections=summary["collections"],
    )
    errors = seen.errors()
    seen.close()
    return _report(load, log, summary, gateway, fills_at_venue, lost, costs, allocations, errors)


def write_config(
    folder: Path,
    engine: str,
    venue_url: str,
    account: str,
    instance: int,
    idle: str,
    load: LoadSettings,
    options: str = "",
) -> Path:
    """Write the engine's configuration: one connector and the load."""
    arguments = ", ".join(f'"{word}"' for word in load.to_arguments())
    path = folder / "engine.toml"
    path.write_text(
        f"""[engine]
name = "{engine}"
state_dir = "{folder / "state"}"
instance_id = {instance}

[connectors.{CONNECTOR}]
type = "hyperliquid"
domain = "hyperliquid_perpetual_local"
account_address = "{account}"
trading_pairs = ["{PAIR}"]
secret_env = "{SECRET_VARIABLE}"

[connectors.{CONNECTOR}.options]
base_url = "{venue_url}"
{options}

[connectors.{CONNECTOR}.shared_memory]
sessions = 2
orders_per_session = 16384
queue_capacity = 8192
instruments = 16

[[strategies]]
name = "{STRATEGY}"
module = "latentspeed.tools.bench.order_load"
tag = {TAG}
idle = "{idle}"
args = [{arguments}]
"""
    )
    return path


def _run_engine(path: Path, key: str, venue: VenueProcess) -> tuple[EventLog, CostMeter]:
    """Run the engine until the load has ended; returns what was seen of it from outside."""
    config = load_config(path)
    meter = CostMeter()
    log: EventLog | None = None
    looks = 0
    with Supervisor(config, until_done=True, environment={**os.environ, SECRET_VARIABLE: key}) as supervisor:
        while supervisor.poll(LOOK_S):
            if log is None:
                log = _try_attach(config.segment_name(CONNECTOR))
            else:
                log.poll()
            if looks % COST_EVERY == 0:
                pids = {name: child.pid for name, child in supervisor.children.items()}
                meter.look({"gateway": pids[CONNECTOR], "strategy": pids[STRATEGY], "venue": venue.pid})
            looks += 1
    if supervisor.exit_code or log is None:
        folder = engine_folder(config.engine.state_dir, config.engine.name)
        raise BenchFailed(f"the engine failed:\n{_last_lines(folder)}")
    log.poll()
    return log, meter


def _try_attach(segment: str) -> EventLog | None:
    try:
        return EventLog(segment)
    except IpcError:
        return None  # The gateway has not made it yet.


def _last_lines(folder: Path) -> str:
    paths = [log_path(folder, name) for name in (CONNECTOR, STRATEGY)]
    return "\n".join(
        line for path in paths if path.is_file() for line in path.read_text(errors="replace").splitlines()[-8:]
    )


def read_load(path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """The log that the load wrote: its orders and its summary. Raises BenchFailed where it wrote none."""
    if not path.is_file():
        raise BenchFailed("the load ended without writing its log")
    with np.load(path) as found:
        return found["orders"], {name: found[name].tolist() for name in found.files if name != "orders"}


def _report(
    load: LoadSettings,
    log: npt.NDArray[Any],
    summary: dict[str, Any],
    gateway: GatewayAccount,
    fills_at_venue: int,
    lost: Mapping[int, str],
    costs: Mapping[str, ProcessCost],
    allocations: Allocations,
    errors: Mapping[str, int],
) -> OrderBenchReport:
    sent = log[log["id64"] > 0]
    timed = sent[~sent["is_traced"]]
    ends = Counter(sent["final_state"].tolist())
    elapsed_s = (summary["end_mono_ns"] - summary["start_mono_ns"]) / 1e9
    return OrderBenchReport(
        schema=SCHEMA,
        rate=load.rate,
        seconds=load.seconds,
        achieved_rate=len(timed) / elapsed_s if elapsed_s > 0 else 0.0,
        orders=OrderCounts(
            sent=len(sent),
            acknowledged=int((sent["seen_acknowledged_mono_ns"] > 0).sum()),
            filled=ends[OrderState.FILLED],
            cancelled=ends[OrderState.CANCELLED],
            expired=ends[OrderState.EXPIRED],
            failed=ends[OrderState.FAILED],
            refused=dict(zip(summary["refusals"], summary["refusal_counts"], strict=True)),
            reasons=dict(zip(summary["reasons"], summary["reason_counts"], strict=True)),
            lost=len(lost),
        ),
        fills={"strategy": int(sent["fills"].sum()), "gateway": gateway.fills, "venue": fills_at_venue},
        stages=gateway.stages,
        strategy=_seen_by_strategy(timed),
        processes=costs,
        allocations=allocations,
        gateway_errors=errors,
        lost={format_client_order_id(identifier): why for identifier, why in list(lost.items())[:LOST_SHOWN]},
    )


def _seen_by_strategy(timed: npt.NDArray[Any]) -> dict[str, LatencySummary]:
    seen = timed[timed["seen_acknowledged_mono_ns"] > 0]
    spans = {
        "due_to_called": timed["called_mono_ns"] - timed["due_mono_ns"],
        "call": timed["returned_mono_ns"] - timed["called_mono_ns"],
        "called_to_seen": seen["seen_acknowledged_mono_ns"] - seen["called_mono_ns"],
    }
    return {name: found for name, span in spans.items() if (found := summarise(span)) is not None}
