"""Hyperliquid perpetuals on the local venue, for the conformance suite."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal

from latentspeed.connectors import ClientOrderIdGenerator, TradeType
from latentspeed.connectors.hyperliquid import (
    HyperliquidConfig,
    HyperliquidPerpetualConnector,
    HyperliquidSpotConnector,
    SigningKey,
)
from latentspeed.connectors.hyperliquid.config import LOCAL
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
from latentspeed.tools.venues.hyperliquid import HyperliquidVenue, VenueConfig

QUICK = SocketTiming(heartbeat_s=0.5, silence_s=10.0, first_delay_s=0.02, longest_delay_s=0.1)
REQUEST_TIMEOUT_S = 1.0
"""Short enough to wait for, and longer than a busy machine takes for an honest answer."""
OUR_CLOID = "0x4c31"
TEN_MINUTES_MS = 600_000

# What the control port calls each fault, and the values that it takes.
ORDERS: dict[Fault, tuple[tuple[str, int, dict[str, str]], ...]] = {
    Fault.LOST_REPLY: (("drop_next_reply", 1, {}),),
    Fault.BROKEN_REPLY: (("reset_mid_body", 1, {"path": "/exchange"}),),
    Fault.LATE_REPLY: (("delay_reply_ms", int(1800 * REQUEST_TIMEOUT_S), {}),),
    Fault.REFUSED_AS_TOO_MANY: (("http_429_burst", 1, {"path": "/exchange"}),),
    Fault.SERVER_ERROR: (("http_500_burst", 1, {"path": "/exchange"}),),
    Fault.GARBLED_REPLY: (("http_502_burst", 1, {"path": "/exchange"}),),
    Fault.STREAM_SILENT: (("silent_sockets", 1, {}),),
    Fault.HEARTBEAT_SILENT: (("silent_pongs", 1, {}),),
    Fault.REPEATED_REPORTS: (("duplicate_messages", 2, {}),),
    Fault.REORDERED_REPORTS: (("shuffle_channels", 60, {}),),
    Fault.LATE_OPEN: (("late_open", 1, {}),),
    Fault.FILL_BEFORE_ACKNOWLEDGEMENT: (("fill_before_ack", 120, {}),),
    Fault.FILL_AFTER_CANCEL: (("fill_after_cancel_ack", 120, {}),),
    Fault.STALE_SNAPSHOT: (("stale_snapshot", 1, {}),),
    Fault.CROSSED_BOOK: (("cross_book", 2, {}),),
    Fault.UNKNOWN_STATUS: (("unknown_status", 1, {}),),
    Fault.UNKNOWN_WORDS: (("unknown_dir", 1, {}),),
    Fault.UNKNOWN_FIELDS: (("extra_keys", 1, {}),),
}
LAPSED = ("iocCancelRejected",)


class HyperliquidPerpetualHarness(ConformanceHarness):
    """A venue in the event loop of the case, real sockets between it and its connectors.

    Attributes:
        order_transport: how orders travel, `http` or `ws`.
        settings: of the venue, where they differ from its defaults.
    """

    name = "hyperliquid_perpetual"
    pair = "BTC-USD"
    price = 64_000.0
    other_pair = "ETH-USD"
    new_pair = "NEWX-USD"
    delisted = "ETH"
    abilities = frozenset(Ability)
    faults = frozenset(Fault)
    # An account without a budget is let through once in ten seconds, and machines may be slow.
    patience_s = 60.0
    answer_within_s = REQUEST_TIMEOUT_S
    order_transport = "http"
    domain = LOCAL
    connector_class: type[HyperliquidPerpetualConnector | HyperliquidSpotConnector] = HyperliquidPerpetualConnector
    settings: dict[str, object] = {}  # noqa: RUF012

    def __init__(self) -> None:
        config = VenueConfig(**{"market": "none", "enrol": "mentioned", "context_interval_ms": 200, **self.settings})  # type: ignore[arg-type]
        self._venue = HyperliquidVenue(config)
        self._incarnations: Iterator[int] = itertools.count(1000)
        self._skewed = False
        self._keys = {name: bytes([number]) * 32 for number, name in enumerate(("maker", "taker"), 1)}

    async def start(self) -> None:
        """Start the venue; each account has a master, which has approved the agent that trades."""
        await self._venue.start()
        for name in self._keys:
            self._venue.fund(self._master(name), "1000000")
            agent, now = self._agent(name).address, self._venue.clock.now_ms()
            self._venue.state.agents.approve(self._master(name), agent, "bot", now)

    async def stop(self) -> None:
        """End the venue."""
        await self._venue.stop()

    def _master(self, account: str) -> str:
        return SigningKey(bytes([0x77]) + self._keys[account][1:]).address

    def _agent(self, account: str) -> SigningKey:
        return SigningKey(self._keys[account])

    def new_connector(
        self, account: str, *, engine: int = 1, stale_after_s: float = 0.0
    ) -> HyperliquidPerpetualConnector | HyperliquidSpotConnector:
        """A connector that signs by the account's agent."""
        config = HyperliquidConfig(
            domain=self.domain,
            base_url=self._venue.base_url,
            account_address=self._master(account),
            engine_instance=engine,
            order_transport=self.order_transport,
            place_expiry_ms=2_500,
            expiry_margin_ms=300,
            request_timeout_s=REQUEST_TIMEOUT_S,
            connect_timeout_s=self.patience_s,
            stale_after_s=stale_after_s,
            reconcile_every_s=1.0,
            socket_timing=QUICK,
        )
        ids = ClientOrderIdGenerator(next(self._incarnations))
        return self.connector_class(config, self._agent(account), id_generator=ids)

    async def order_fault(self, fault: Fault) -> None:
        """Order it by the name that the venue has for it."""
        venue = self._venue
        for name, amount, more in ORDERS.get(fault, ()):
            venue.faults.order(name, amount, **more)  # type: ignore[arg-type]
        if fault in (Fault.STREAM_CUT, Fault.STREAM_CLOSED):
            venue.drop_sockets(with_close_frame=fault is Fault.STREAM_CLOSED)
        elif fault is Fault.CLOCK_AHEAD and not self._skewed:
            self._skewed = True
            venue.clock.advance(TEN_MINUTES_MS)
        elif fault is Fault.VENUE_STALLED:
            venue.stall()
        elif fault is Fault.POST_ONLY_PHASE:
            venue.interventions.set("network_upgrade", True)
        elif fault is Fault.BUDGET_EXHAUSTED:
            for account in self._keys:
                venue.interventions.exhaust_address_budget(self._master(account))
        elif fault is Fault.KEY_REVOKED:
            venue.state.agents.revoke(self._agent("taker").address)
        elif fault is Fault.NEW_MARKET:
            self._list_new_pair()
        elif fault is Fault.MARKET_DELISTED:
            venue.interventions.delist_market(self.delisted)
        await asyncio.sleep(0)

    def _list_new_pair(self) -> None:
        self._venue.interventions.list_market("NEWX", price="25")

    async def clear_faults(self) -> None:
        """Reset what is armed, and put clock, rules and budgets right."""
        venue = self._venue
        venue.faults.reset()
        venue.stall(False)
        if self._skewed:
            self._skewed = False
            venue.clock.advance(-TEN_MINUTES_MS)
        if venue.config.network_upgrade:
            venue.interventions.set("network_upgrade", False)
        if venue.config.address_limits:
            venue.interventions.set("address_limits", False)
            for account in self._keys:
                venue.interventions.exhaust_address_budget(self._master(account), on=False)

    async def fund(self, account: str, amount: Decimal) -> None:
        """Deposit dollars."""
        self._venue.fund(self._master(account), str(amount))

    async def reference_price(self, trading_pair: str) -> float:
        """The oracle's."""
        market = self._venue.market(trading_pair.removesuffix("-USD"))
        return float(market.price_text(market.oracle))

    async def move_price(self, trading_pair: str, price: float) -> None:
        """Move oracle and mark."""
        self._venue.set_price(trading_pair.removesuffix("-USD"), str(price))

    async def book(self, account: str) -> VenueBook:
        """Orders from the venue's account, the rest as its info requests answer."""
        address = self._master(account)
        live = self._venue.account(address)
        state = self._venue.info.answer({"type": "clearinghouseState", "user": address})
        fills = tuple(venue_fill(row, f"{row['coin']}-USD") for row in self._venue.fills(address))
        positions = {
            f"{entry['position']['coin']}-USD": Decimal(entry["position"]["szi"]) for entry in state["assetPositions"]
        }
        balances = {"USDC": Decimal(state["marginSummary"]["accountValue"])}
        return VenueBook(tuple(venue_order(order) for order in live.known.values()), fills, positions, balances)


def client_order_id(cloid: str | None) -> str | None:
    """The text form of the id in a cloid that an engine made; None for any other."""
    if cloid is None or not cloid.startswith(OUR_CLOID):
        return None
    return f"LS{cloid[-16:]}"


def venue_order(order: object) -> VenueOrder:
    """An order of the venue's account as the suite compares it."""
    from latentspeed.tools.venues.hyperliquid.orders import Order

    assert isinstance(order, Order)
    instrument = order.market.instrument
    filled = Decimal(order.orig_lots - order.lots).scaleb(-instrument.sz_decimals)
    return VenueOrder(client_order_id(order.cloid), str(order.oid), venue_state(order.status, order.lots), filled)


def venue_state(status: str, lots_left: int) -> VenueState:
    """What a status means, for an order of which so many lots are left."""
    if status in ("open", "triggered"):
        return VenueState.OPEN
    if status == "filled":
        return VenueState.CANCELLED if lots_left else VenueState.FILLED
    if status in LAPSED:
        return VenueState.LAPSED
    return VenueState.REFUSED if status.lower().endswith("rejected") else VenueState.CANCELLED


def venue_fill(row: dict[str, object], trading_pair: str) -> VenueFill:
    """A row of the venue's fills as the suite compares it."""
    cloid = row.get("cloid")
    return VenueFill(
        str(row["tid"]),
        str(row["oid"]),
        client_order_id(cloid if isinstance(cloid, str) else None),
        trading_pair,
        TradeType.BUY if row["side"] == "B" else TradeType.SELL,
        Decimal(str(row["px"])).normalize(),
        Decimal(str(row["sz"])),
        Decimal(str(row["fee"])),
        str(row["feeToken"]),
    )
