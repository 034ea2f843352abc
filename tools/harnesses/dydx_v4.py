"""dYdX v4 perpetuals on the local venue, for the conformance suite."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar

from latentspeed.connectors import ClientOrderIdGenerator, TradeType, format_client_order_id
from latentspeed.connectors.dydx_v4 import DydxConfig, DydxKey, DydxV4PerpetualConnector
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.connectors.dydx_v4.config import LOCAL
from latentspeed.connectors.dydx_v4.sequences import NONCE_WINDOW_MS
from latentspeed.connectors.dydx_v4.stateful_watch import VOID_MARGIN_MS
from latentspeed.connectors.transport import SocketTiming
from latentspeed.tools.conformance import (
    Ability,
    ConformanceHarness,
    Fault,
    VenueBook,
    VenueFill,
    VenueOrder,
    VenueState,
)
from latentspeed.tools.harnesses.dydx_v4_ends import order_state
from latentspeed.tools.venues.dydx_v4 import rows
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.orders import Order, TimeInForce
from latentspeed.tools.venues.dydx_v4.venue import DydxVenue

QUICK = SocketTiming(heartbeat_s=0.5, silence_s=10.0, first_delay_s=0.02, longest_delay_s=0.1)
REQUEST_TIMEOUT_S = 1.5
"""Short enough to wait for, and longer than a busy machine takes for an honest answer."""
BLOCK_MS = 100
PAIR, NEW_PAIR = "BTC-USD", "NEW-USD"
TEN_MINUTES_MS = 600_000
IN_PROCESS_SLOT = 255
VOID_AFTER_MS = NONCE_WINDOW_MS + VOID_MARGIN_MS + 1000
"""How long after a transaction was signed no block can have it."""
LATE_MS = 300
"""How late fills are, or what should come before them: several blocks, and less than a request may take."""
SHUFFLE_MS = 60
WHY_NOT: dict[Ability | Fault, str] = {
    Ability.MODIFY: "the chain replaces an order under its own id: nobody could say which of the two a fill is of",
    Ability.BRACKETS: "the chain knows no order that waits for another one or ends with it",
    Ability.ADOPTION: "an order has room for 32 bits of its 64-bit id here, and none for its engine",
}
STATUSES = {Fault.SERVER_ERROR: 500, Fault.GARBLED_REPLY: 502, Fault.REFUSED_AS_TOO_MANY: 429}

COMMANDS: dict[Fault, dict[str, dict[str, Any]]] = {
    Fault.LOST_REPLY: {"lose_answers": {}},
    Fault.BROKEN_REPLY: {"break_answers": {}},
    Fault.LATE_REPLY: {"delay_answers": {"ms": int(1500 * REQUEST_TIMEOUT_S)}},
    Fault.STREAM_SILENT: {"silence_sockets": {}},
    Fault.HEARTBEAT_SILENT: {"ignore_pings": {}},
    Fault.REPEATED_REPORTS: {"repeat_messages": {}},
    Fault.REORDERED_REPORTS: {"shuffle_messages": {"ms": SHUFFLE_MS}},
    Fault.LATE_OPEN: {"open_late": {}},
    Fault.FILL_BEFORE_ACKNOWLEDGEMENT: {"delay_reports": {"memory_ms": LATE_MS}, "delay_answers": {"ms": LATE_MS}},
    Fault.FILL_AFTER_CANCEL: {"delay_reports": {"blocks_ms": LATE_MS}},
    Fault.STALE_SNAPSHOT: {"keep_snapshots": {}},
    Fault.CROSSED_BOOK: {"cross_book": {"ticker": PAIR}},
    Fault.UNKNOWN_STATUS: {"report_unknown_status": {}},
    Fault.UNKNOWN_WORDS: {"use_unknown_words": {}},
    Fault.UNKNOWN_FIELDS: {"add_unknown_fields": {}},
    Fault.VENUE_STALLED: {"halt": {}},
    Fault.NEW_MARKET: {"list_market": {"ticker": NEW_PAIR, "price": "25"}},
}
"""What the venue calls the faults that it makes by itself."""


class DydxPerpetualHarness(ConformanceHarness):
    """A venue in the event loop of the case, with quick blocks, and real sockets between it and its connectors."""

    name = "dydx_v4_perpetual"
    pair = PAIR
    price = 64_000.0
    other_pair = "ETH-USD"
    new_pair = NEW_PAIR
    abilities = frozenset(
        {
            Ability.LIMIT,
            Ability.LIMIT_MAKER,
            Ability.MARKET,
            Ability.STOP_LIMIT,
            Ability.STOP_MARKET,
            Ability.TAKE_PROFIT_LIMIT,
            Ability.TAKE_PROFIT_MARKET,
            Ability.IOC,
            Ability.REDUCE_ONLY,
            Ability.POSITIONS,
            Ability.SHARED_ACCOUNT,
            Ability.MOVE_PRICE,
            Ability.FUNDING_ACCOUNTS,
            Ability.LEVERAGE,
        }
    )
    faults = frozenset(Fault)
    why_not: ClassVar[dict[Ability | Fault, str]] = {
        **WHY_NOT,
        Ability.LASTING: "a short-term order lives for 20 blocks",
    }
    patience_s = 60.0
    answer_within_s = REQUEST_TIMEOUT_S
    limit_orders = "short_term"
    venue_settings: dict[str, Any] = {}  # noqa: RUF012
    is_by_grpc = False
    """Whether connectors speak gRPC with the node."""

    def __init__(self) -> None:
        config = VenueConfig(
            market="none", block_interval_ms=BLOCK_MS, initial_balance=1_000_000, **self.venue_settings
        )
        self._venue = DydxVenue(config)
        self._incarnations: Iterator[int] = itertools.count(1000)
        self._used: list[int] = []
        self._skewed_ms = 0
        self._keys = {name: DydxKey(bytes([number]) * 32) for number, name in enumerate(("maker", "taker"), 1)}
        self._permitted_key = DydxKey(b"\x11" * 32)
        self._rule = 0

    async def start(self) -> None:
        """Start the venue, with both accounts on it."""
        await self._venue.start(grpc_port=0 if self.is_by_grpc else None)
        for key in self._keys.values():
            self._venue.chain.enrol(key.address)
        rules = self._venue.chain.authenticators
        self._rule = rules.add(self._keys["taker"].address, "SignatureVerification", self._permitted_key.public_key)

    async def stop(self) -> None:
        """End the venue."""
        await self._venue.stop()

    def new_connector(self, account: str, *, engine: int = 1, stale_after_s: float = 0.0) -> DydxV4PerpetualConnector:
        """A connector that signs by the account's own key, or for the taker by one that the owner permits."""
        venue = self._venue
        is_permitted = account == "taker"
        config = DydxConfig(
            domain=LOCAL,
            node_urls=(f"grpc://{venue.grpc_url}" if self.is_by_grpc else venue.rpc_url,),
            indexer_url=venue.rest_url,
            ws_url=venue.ws_url,
            account_address=self._keys[account].address,
            authenticators=(self._rule,) if is_permitted else (),
            engine_instance=engine,
            good_til_blocks=20,
            limit_orders=self.limit_orders,
            request_timeout_s=REQUEST_TIMEOUT_S,
            connect_timeout_s=self.patience_s,
            stale_after_s=stale_after_s or 1e6,
            reconcile_every_s=1.0,
            socket_timing=QUICK,
        )
        incarnation = next(self._incarnations)
        self._used.append(incarnation)
        ids = ClientOrderIdGenerator(incarnation)
        key = self._permitted_key if is_permitted else self._keys[account]
        return DydxV4PerpetualConnector(config, key, id_generator=ids)

    async def order_fault(self, fault: Fault) -> None:
        """Order it at the part of the venue that it concerns."""
        venue = self._venue
        if fault in STATUSES:
            venue.node.broadcast_failures.append(STATUSES[fault])
        elif fault in (Fault.STREAM_CUT, Fault.STREAM_CLOSED):
            await venue.sockets.drop_all(code=1012 if fault is Fault.STREAM_CLOSED else None)
        elif fault is Fault.CLOCK_AHEAD:
            self._skew(TEN_MINUTES_MS)
        elif fault is Fault.POST_ONLY_PHASE:
            venue.do_set_status(self.pair, "POST_ONLY")
        elif fault is Fault.MARKET_DELISTED:
            venue.do_set_status(self.other_pair, "FINAL_SETTLEMENT")
        elif fault is Fault.KEY_REVOKED:
            venue.chain.authenticators.remove(self._keys["taker"].address, self._rule)
        elif fault is Fault.BUDGET_EXHAUSTED:
            for key in self._keys.values():
                venue.do_use_up_limits(key.address)
        else:
            for name, arguments in COMMANDS[fault].items():
                getattr(venue, f"do_{name}")(**arguments)

    def _skew(self, ms: int) -> None:
        """Put the chain's clock so much ahead of this machine's."""
        self._venue.offset_ms += ms - self._skewed_ms
        self._skewed_ms = ms

    async def clear_faults(self) -> None:
        """Reset everything that is armed, and put clock and market right."""
        self._venue.do_reset_faults()
        self._skew(0)
        if self._venue.chain.markets[self.pair].terms.status != "ACTIVE":
            self._venue.do_set_status(self.pair, "ACTIVE")

    async def fund(self, account: str, amount: Decimal) -> None:
        """Deposit dollars."""
        self._venue.chain.fund(self._keys[account].address, 0, int(amount * 10**6))

    async def reference_price(self, trading_pair: str) -> float:
        """The oracle's."""
        market = self._venue.chain.markets[trading_pair]
        return float(market.price_text(market.oracle_subticks))

    async def move_price(self, trading_pair: str, price: float) -> None:
        """Move the oracle's price."""
        self._venue.do_set_price(trading_pair, str(price))

    async def book(self, account: str) -> VenueBook:
        """Orders from the chain's history, money from its ledger, fills from the indexer's records."""
        venue, address = self._venue, self._keys[account].address
        orders = tuple(self._order(order) for order in venue.history.orders if order.key.owner == address)
        fills = tuple(self._fill(row, orders) for row in venue.indexer.fills.get((address, 0), ()))
        subaccount = venue.chain.ledger.subaccount(address, 0)
        positions = {
            ticker: Decimal(venue.chain.markets[ticker].size_text(position.quantums))
            for ticker, position in subaccount.positions.items()
        }
        equity = Decimal(subaccount.equity(venue.chain.markets)).scaleb(-6)
        return VenueBook(orders, fills, positions, {"USDC": equity})

    def _order(self, order: Order) -> VenueOrder:
        filled = Decimal(order.market.size_text(order.confirmed))
        return VenueOrder(self._client_order_id(order), rows.order_uuid(order.key), self._state(order), filled)

    def _state(self, order: Order) -> VenueState:
        return order_state(
            quantums=order.quantums,
            confirmed=order.confirmed,
            matched=order.filled,
            is_over=order.key.is_short_term and order.good_til_block <= self._venue.chain.height,
            is_immediate=order.time_in_force is TimeInForce.IOC,
            reason=self._venue.history.ends.get(order.oid),
        )

    def _client_order_id(self, order: Order) -> str | None:
        """The text form of the id that one of the connectors gave an order; None for any other."""
        for incarnation in self._used:
            for counter in range(1, 2000):
                id64 = incarnation << 32 | IN_PROCESS_SLOT << 24 | counter
                if client_id_of(id64) == order.key.client_id:
                    return format_client_order_id(id64)
        return None

    @staticmethod
    def _fill(row: dict[str, object], orders: tuple[VenueOrder, ...]) -> VenueFill:
        owner = next((order for order in orders if order.exchange_order_id == row["orderId"]), None)
        return VenueFill(
            str(row["id"]),
            str(row["orderId"]),
            owner.client_order_id if owner is not None else None,
            str(row["market"]),
            TradeType.BUY if row["side"] == "BUY" else TradeType.SELL,
            Decimal(str(row["price"])).normalize(),
            Decimal(str(row["size"])),
            Decimal(str(row["fee"])),
            "USDC",
        )


class DydxGrpcHarness(DydxPerpetualHarness):
    """The same, with a node that is spoken to by gRPC."""

    name = "dydx_v4_perpetual_grpc"
    is_by_grpc = True


class DydxLongTermHarness(DydxPerpetualHarness):
    """The same with orders that the chain keeps, without its limit of how many: they rest until they are cancelled."""

    name = "dydx_v4_perpetual_long_term"
    abilities = DydxPerpetualHarness.abilities | {Ability.LASTING}
    why_not = WHY_NOT
    limit_orders = "long_term"
    venue_settings: dict[str, Any] = {"stateful_limits": ()}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._waiting: asyncio.Task[None] | None = None

    async def order_fault(self, fault: Fault) -> None:
        """A request that failed may have been taken until its sequence is too old: that time passes at once."""
        await super().order_fault(fault)
        if fault in STATUSES:
            self._waiting = asyncio.create_task(self._let_time_pass())

    async def _let_time_pass(self) -> None:
        while self._venue.node.broadcast_failures:
            await asyncio.sleep(0.01)
        self._venue.offset_ms += VOID_AFTER_MS

    async def stop(self) -> None:
        """End the venue."""
        if self._waiting is not None:
            self._waiting.cancel()
        await super().stop()
