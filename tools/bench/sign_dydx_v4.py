"""`bench sign --venue dydx_v4`: from an order in hand to its signed transaction, beside one bare signature.

Ours is the shipped way: a tracked order goes through the connector's outbox (client id, wire form, protobuf, hash,
signature, the indexer's id, mark as signed) until the transaction would be handed to a node, with a prepared signature,
and once more without. The official client needs libraries of its own versions, so it is measured by another Python: its
order, build and signature are compared with the bare signature of that process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from latentspeed.connectors.client_order_id import ClientOrderIdGenerator, format_client_order_id
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4.block_budget import BlockBudget, Limit
from latentspeed.connectors.dydx_v4.client_ids import ClientIds
from latentspeed.connectors.dydx_v4.delivery import Delivery
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.markets import MarketTerms
from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.dydx_v4.order_forms import OrderForms, OrderNames
from latentspeed.connectors.dydx_v4.outbox import Outbox
from latentspeed.connectors.dydx_v4.subaccounts import Subaccounts
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.signature_pool import SignaturePool
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderType, TradeType
from latentspeed.tools.bench.sign_costs import (
    BARE,
    FROM_THE_START,
    OFFICIAL,
    ONE_ORDER,
    ORDERS,
    ROUNDS,
    SCHEMA,
    SignCost,
    SignReport,
    bare_signature,
    cost_of,
    timed,
)

WANTED: Final = 1.4
"""From an order in hand to its signed transaction, times one bare signature."""
CLIENT_PYTHON: Final = Path(".venv/dydx-client/bin/python")
"""Where `make dydx-client` puts the official client."""
CLIENT_TIMEOUT_S: Final = 120.0

RULE: Final = TradingRule("BTC-USD", "BTC-USD", 0, Decimal("0.0001"), Decimal(1))
HEIGHT: Final = 24_000_000


class _Desk:
    """The connector's outbox with nothing behind it: the moment at which a transaction would be sent is noted."""

    def __init__(self, key: DydxKey, pool: SignaturePool | None = None) -> None:
        self._tracker = ClientOrderTracker(EventDispatcher())
        self._ids = ClientOrderIdGenerator(1)
        self._signed_ns = 0
        lifetimes = Lifetimes(2)
        lifetimes.on_node_height(HEIGHT)
        forms = OrderForms(
            key.address, Subaccounts(0), 7, {"BTC-USD": MarketTerms(RULE, 1_000_000, 100_000)}, lambda order: 0
        )
        nodes = Nodes(["http://127.0.0.1:1"], timeout_s=1.0)
        signer = TransactionSigner(key, "localdydxprotocol", 42, pool=pool)
        self._outbox = Outbox(
            tracker=self._tracker,
            delivery=Delivery(self._tracker, nodes, signer, key.address, lambda result: None),
            nodes=nodes,
            forms=forms,
            names=OrderNames(self._tracker, forms.uuid),
            lifetimes=lifetimes,
            client_ids=ClientIds(),
            budget=BlockBudget("short_term_orders", [Limit(5, 1 << 30)]),
            owner=key.address,
            subaccounts=Subaccounts(0),
            good_til_blocks=15,
            ioc_good_til_blocks=5,
            start=self._would_send,
        )

    def _would_send(self, sending: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        self._signed_ns = time.perf_counter_ns()
        sending.close()
        return cast("asyncio.Task[Any]", None)

    def place(self) -> int:
        """Nanoseconds from a tracked order in hand to its signed transaction."""
        id64 = self._ids.next()
        units = 64_000 + id64 % 100
        order = InFlightOrder(format_client_order_id(id64), RULE, TradeType.BUY, OrderType.LIMIT, 10, units)
        self._tracker.start_tracking_order(order)
        began = time.perf_counter_ns()
        self._outbox.send_place(order)
        taken = self._signed_ns - began
        self._tracker.stop_tracking_order(order.client_order_id)
        return taken


def run_dydx_v4_sign_bench(
    *, rounds: int = ROUNDS, orders: int = ORDERS, say: Callable[[str], None] = lambda line: None
) -> SignReport:
    """Runs all candidates, interleaved; `say` is told what goes on."""
    key = DydxKey(os.urandom(32))
    pool = key.signature_pool(orders)
    plain, prepared = _Desk(key), _Desk(key, pool)
    bare = bare_signature()
    seen: dict[str, list[float]] = {}
    gc.collect()
    gc.freeze()
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        taken: dict[str, list[float]] = {}
        while pool.prepare():
            pass
        for _ in range(orders):
            # In turn, so that neither has warmer caches than the other.
            taken.setdefault(BARE, []).append(timed(bare))
            taken.setdefault(ONE_ORDER, []).append(prepared.place())
            taken.setdefault(FROM_THE_START, []).append(plain.place())
        for name, times in taken.items():
            seen.setdefault(name, []).append(float(np.median(times)))
    gc.unfreeze()
    costs = {name: cost_of(times, seen[BARE]) for name, times in seen.items()}
    official, why = _official_client(rounds, orders)
    if official is not None:
        costs[OFFICIAL] = official
    return SignReport(SCHEMA, rounds, costs, {OFFICIAL: why} if why else {}, WANTED)


def _official_client(rounds: int, orders: int) -> tuple[SignCost | None, str]:
    """What the official client takes, or why it cannot run."""
    python = Path(os.environ.get("LATENTSPEED_DYDX_CLIENT_PYTHON", CLIENT_PYTHON))
    if not python.exists():
        return None, f"{python} does not exist: `make dydx-client` makes it"
    command = [str(python), "-c", _OFFICIAL, str(rounds), str(orders)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{python}: {error}"
    if done.returncode:
        return None, f"{python}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    times = json.loads(done.stdout)
    return cost_of(times[OFFICIAL], times[BARE]), ""


_OFFICIAL: Final = """
import json, os, statistics, sys, time
import coincurve
from dydx_v4_client import OrderFlags
from dydx_v4_client.key_pair import KeyPair
from dydx_v4_client.node.builder import Builder
from dydx_v4_client.node.market import Market
from dydx_v4_client.node.message import place_order
from dydx_v4_client.wallet import Wallet
from dydx_v4_client.indexer.rest.constants import OrderType
from v4_proto.dydxprotocol.clob.order_pb2 import Order

market = Market({"clobPairId": "0", "atomicResolution": -10, "quantumConversionExponent": -9,
                 "stepBaseQuantums": 1000000, "subticksPerTick": 100000, "oraclePrice": "64000"})
wallet = Wallet(KeyPair.from_hex(os.urandom(32).hex()), 42, 7)
builder = Builder("localdydxprotocol", "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5")
address, bare_key, digest = wallet.address, coincurve.PrivateKey(os.urandom(32)), os.urandom(32)

def official(number):
    order_id = market.order_id(address, 0, number, OrderFlags.SHORT_TERM)
    order = market.order(order_id, OrderType.LIMIT, Order.Side.SIDE_BUY, 0.001, 64000,
                         time_in_force=Order.TIME_IN_FORCE_UNSPECIFIED, reduce_only=False, good_til_block=24000020)
    return builder.build(wallet, place_order(order)).SerializeToString()

def timed(call, *arguments):
    began = time.perf_counter_ns()
    call(*arguments)
    return time.perf_counter_ns() - began

rounds, orders = int(sys.argv[1]), int(sys.argv[2])
found = {"bare signature": [], "official client": []}
for _ in range(rounds):
    bare = [timed(lambda: bare_key.sign_recoverable(digest, hasher=None)) for _ in range(orders)]
    theirs = [timed(official, number + 1) for number in range(orders)]
    found["bare signature"].append(statistics.median(bare))
    found["official client"].append(statistics.median(theirs))
print(json.dumps(found))
"""
