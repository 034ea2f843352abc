"""`bench sign`: from an order in hand to its signed bytes, beside one bare signature and Hyperliquid's official client.

Ours is the shipped way: a tracked order goes through the connector's outbox (wire form, client order id, nonce, hash,
signature, mark as signed, JSON) until the bytes would be written, with a prepared signature, and once more without.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from typing import Any, Final, cast

import numpy as np
from eth_account import Account

from latentspeed.connectors.client_order_id import ClientOrderIdGenerator, format_client_order_id
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.hyperliquid.answers import OrderAnswers
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.nonces import NonceSource, now_ms
from latentspeed.connectors.hyperliquid.order_forms import OrderForms
from latentspeed.connectors.hyperliquid.outbox import Outbox, OutboxOptions
from latentspeed.connectors.hyperliquid.signing import L1Signer
from latentspeed.connectors.hyperliquid.wire import encode_cloid
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.signature_pool import SignaturePool
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderType, TradeType
from latentspeed.tools.bench.sign_costs import (
    BARE,
    FROM_THE_START,
    OFFICIAL,
    OFFICIAL_ORDERS,
    ONE_ORDER,
    ORDERS,
    ROUNDS,
    SCHEMA,
    SignReport,
    bare_signature,
    cost_of,
    timed,
)

BATCH: Final = 40
WANTED: Final = 1.25
"""From an order in hand to signed bytes, times one bare signature."""

RULE: Final = TradingRule("BTC-USD", "BTC", 0, Decimal("0.00001"), Decimal("0.1"), significant_figures=5)
REPLY: Final = b'{"status":"ok","response":{"type":"order","data":{"statuses":[%b]}}}'


class _Desk:
    """The connector's outbox with nothing behind it: what would be written is timed and answered at once."""

    def __init__(self, key: SigningKey, pool: SignaturePool | None = None) -> None:
        self._tracker = ClientOrderTracker(EventDispatcher())
        self._ids = ClientOrderIdGenerator(1)
        self._written_ns = 0
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answers = OrderAnswers(
            self._tracker,
            settle=lambda order, reason: None,
            on_refusal=lambda status, text: None,
            on_turned_away=lambda: None,
        )
        self._outbox = Outbox(
            OutboxOptions(max_batch=BATCH, max_requests_in_flight=8, place_expiry_ms=5_000),
            tracker=self._tracker,
            signer=L1Signer(key, is_mainnet=False, pool=pool),
            nonces=NonceSource(),
            send=self._write,
            forms=OrderForms(lambda order: encode_cloid(7, order.strategy_tag, order.id64), lambda order: 0),
            answers=answers,
            on_refusal=lambda status, text: None,
        )

    def _write(self, body: bytes) -> asyncio.Future[bytes]:
        self._written_ns = time.perf_counter_ns()
        return self._answer

    async def place(self, count: int) -> int:
        """Nanoseconds from `count` tracked orders in hand to the bytes of one request."""
        orders = [self._order() for _ in range(count)]
        for order in orders:
            self._tracker.start_tracking_order(order)
        statuses = b",".join(b'{"resting":{"oid":%d}}' % order.id64 for order in orders)
        self._answer = asyncio.get_running_loop().create_future()
        began = time.perf_counter_ns()
        for order in orders:
            self._outbox.add_place(order)
        self._outbox.flush()
        taken = self._written_ns - began
        self._answer.set_result(REPLY % statuses)
        while self._outbox.in_flight:
            await asyncio.sleep(0)
        for order in orders:
            self._tracker.stop_tracking_order(order.client_order_id)
        return taken

    def _order(self) -> InFlightOrder:
        id64 = self._ids.next()
        price_units = 640_000 + id64 % 100 * 10
        return InFlightOrder(
            format_client_order_id(id64), RULE, TradeType.BUY, OrderType.LIMIT, 100, price_units, strategy_tag=3
        )


def run_hyperliquid_sign_bench(
    *, rounds: int = ROUNDS, orders: int = ORDERS, say: Callable[[str], None] = lambda line: None
) -> SignReport:
    """Runs all candidates, interleaved; `say` is told what goes on."""
    return asyncio.run(_run(rounds, orders, say))


async def _run(rounds: int, orders: int, say: Callable[[str], None]) -> SignReport:
    key = SigningKey(os.urandom(32))
    pool = key.signature_pool(orders + BATCH)
    plain, prepared = _Desk(key), _Desk(key, pool)
    official, why = _official_client()
    seen: dict[str, list[float]] = {}
    gc.collect()
    gc.freeze()
    bare = bare_signature()
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        taken: dict[str, list[float]] = {}
        while pool.prepare():
            pass
        for _ in range(orders):
            # In turn, so that neither has warmer caches than the other.
            taken.setdefault(BARE, []).append(timed(bare))
            taken.setdefault(ONE_ORDER, []).append(await prepared.place(1))
            taken.setdefault(FROM_THE_START, []).append(await plain.place(1))
        for _ in range(max(1, orders // BATCH)):
            taken.setdefault(f"an order of {BATCH} in one request", []).append(await prepared.place(BATCH) / BATCH)
        for _ in range(OFFICIAL_ORDERS if official is not None else 0):
            taken.setdefault(OFFICIAL, []).append(timed(cast(Callable[[], Any], official)))
        for name, times in taken.items():
            seen.setdefault(name, []).append(float(np.median(times)))
    gc.unfreeze()
    costs = {name: cost_of(taken, seen[BARE]) for name, taken in seen.items()}
    return SignReport(SCHEMA, rounds, costs, {OFFICIAL: why} if why else {}, WANTED)


def _official_client() -> tuple[Callable[[], Any] | None, str]:
    """The same order through the official client's own functions, or why it cannot run."""
    try:
        signing = import_module("hyperliquid.utils.signing")
        types = import_module("hyperliquid.utils.types")
    except ImportError as error:
        return None, f"{error}: it comes with the development tools"
    wallet = Account.from_key(os.urandom(32))
    cloid = types.Cloid.from_int(1 << 100)

    def sign() -> bytes:
        request = {
            "coin": "BTC",
            "is_buy": True,
            "sz": 0.001,
            "limit_px": 64000.0,
            "order_type": {"limit": {"tif": "Gtc"}},
            "reduce_only": False,
            "cloid": cloid,
        }
        nonce = now_ms()
        action = signing.order_wires_to_order_action([signing.order_request_to_order_wire(request, 0)])
        signature = signing.sign_l1_action(wallet, action, None, nonce, nonce + 5_000, False)
        return json.dumps({"action": action, "nonce": nonce, "signature": signature}).encode()

    return sign, ""
