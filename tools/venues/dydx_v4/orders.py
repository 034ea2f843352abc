"""Orders, fills and blocks of the simulated chain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from latentspeed.tools.venues.dydx_v4.markets import Market
from latentspeed.tools.venues.matching import BookOrder


class Flags(IntEnum):
    """Which kind of order an id names."""

    SHORT_TERM = 0
    CONDITIONAL = 32
    LONG_TERM = 64
    TWAP = 128
    TWAP_SLICE = 256
    """Made by the chain only."""


class TimeInForce(IntEnum):
    """How long an order may rest."""

    UNSPECIFIED = 0
    IOC = 1
    POST_ONLY = 2
    FILL_OR_KILL = 3


class Condition(IntEnum):
    """What triggers a conditional order."""

    UNSPECIFIED = 0
    STOP_LOSS = 1
    TAKE_PROFIT = 2


class Removal(IntEnum):
    """Why an order left the book; the names are the chain's."""

    UNSPECIFIED = 0
    EXPIRED = 1
    USER_CANCELED = 2
    UNDERCOLLATERALIZED = 3
    INTERNAL_ERROR = 4
    SELF_TRADE_ERROR = 5
    POST_ONLY_WOULD_CROSS_MAKER_ORDER = 6
    IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK = 7
    FOK_ORDER_COULD_NOT_BE_FULLY_FULLED = 8
    REDUCE_ONLY_RESIZE = 9
    INDEXER_EXPIRED = 10
    REPLACED = 11
    FULLY_FILLED = 12
    EQUITY_TIER = 13
    FINAL_SETTLEMENT = 14
    VIOLATES_ISOLATED_SUBACCOUNT_CONSTRAINTS = 15

    @property
    def text(self) -> str:
        """What the indexer's messages call it."""
        return f"ORDER_REMOVAL_REASON_{self.name}"


class OrderKey(NamedTuple):
    """What names an order on the chain."""

    owner: str
    number: int
    client_id: int
    flags: int
    clob_pair_id: int

    @classmethod
    def of(cls, order_id: dict[str, Any]) -> OrderKey:
        """From a decoded OrderId, whose subaccount may be absent."""
        subaccount = order_id["subaccount_id"] or {"owner": "", "number": 0}
        return cls(
            subaccount["owner"],
            subaccount["number"],
            order_id["client_id"],
            order_id["order_flags"],
            order_id["clob_pair_id"],
        )

    @property
    def is_short_term(self) -> bool:
        """Whether it lives in memory only."""
        return self.flags == Flags.SHORT_TERM


class Order(BookOrder):
    """An order on the chain or in a node's memory. `price` are subticks and `lots` the quantums still open.

    Attributes:
        key: Its name on the chain.
        quantums: Its whole size.
        filled: Matched so far, confirmed or not.
        confirmed: Filled in blocks.
        created_height: The block that placed it, or the first that filled a short-term one; 0 before.
        is_triggered: A conditional order whose condition was met.
        parent: The TWAP that a slice belongs to.
        filled_value: Of a TWAP: the sum of quantums times subticks that its slices have filled.
    """

    __slots__ = (
        "authenticator",
        "client_metadata",
        "condition",
        "confirmed",
        "created_height",
        "digest",
        "fields",
        "filled",
        "filled_value",
        "good_til_block",
        "good_til_time",
        "is_triggered",
        "key",
        "market",
        "parent",
        "quantums",
        "reduce_only",
        "router",
        "time_in_force",
        "trigger_subticks",
    )

    def __init__(self, oid: int, owner: object, market: Market, key: OrderKey, decoded: dict[str, Any]) -> None:
        super().__init__(oid, owner, decoded["side"] == 1, decoded["subticks"], decoded["quantums"])
        self.market = market
        self.key = key
        self.fields = decoded
        self.quantums: int = decoded["quantums"]
        self.good_til_block: int = decoded["good_til_block"]
        self.good_til_time: int = decoded["good_til_block_time"]
        self.time_in_force = TimeInForce(decoded["time_in_force"])
        self.reduce_only = bool(decoded["reduce_only"])
        self.client_metadata: int = decoded["client_metadata"]
        self.condition = Condition(decoded["condition_type"])
        self.trigger_subticks: int = decoded["trigger_subticks"]
        self.router: str = decoded["order_router_address"]
        self.digest = hashlib.sha256(repr(sorted(decoded.items(), key=lambda item: item[0])).encode()).digest()
        self.authenticator = 0
        self.filled = 0
        self.confirmed = 0
        self.created_height = 0
        self.is_triggered = False
        self.parent: Order | None = None
        self.filled_value = 0

    @property
    def remaining(self) -> int:
        """Quantums that were not matched yet."""
        return self.quantums - self.filled


@dataclass(slots=True)
class Match:
    """Two orders that a node has matched; a fill only once a block says so."""

    maker: Order
    taker: Order
    quantums: int
    subticks: int


@dataclass(slots=True)
class Fill:
    """A match in a block, with the fee of each side in quote quantums."""

    match: Match
    event_id: str
    maker_fee: int
    taker_fee: int


@dataclass(slots=True)
class Transfer:
    """Quote quantums that moved; a wallet has no number."""

    sender: tuple[str, int | None]
    recipient: tuple[str, int | None]
    quantums: int
    event_id: str
    transaction_hash: str


@dataclass(slots=True)
class Block:
    """What one block did, in the order in which the indexer learns of it.

    Attributes:
        height: Its height.
        time_ms: Its time, milliseconds since the epoch.
        placed: Stateful orders that were written to state.
        triggered: Conditional orders whose condition was met.
        fills: Matches that became fills.
        removed: Orders that ended on the chain, with the reason.
        expired: Short-term orders whose last block this was.
        transfers: Money that moved.
        subaccounts: Everybody whose positions or money changed, as (owner, number).
        oracle: Markets whose oracle price changed.
        fundings: What was due when an interval ended in this block: its rate in millionths, by ticker.
    """

    height: int
    time_ms: int
    placed: list[Order] = field(default_factory=list)
    triggered: list[Order] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    removed: list[tuple[Order, Removal]] = field(default_factory=list)
    expired: list[Order] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    subaccounts: set[tuple[str, int]] = field(default_factory=set)
    oracle: set[str] = field(default_factory=set)
    fundings: dict[str, int] = field(default_factory=dict)
    events: int = 0

    def next_event_id(self) -> str:
        """The indexer's id of the next event of this block: height, transaction and place, 24 hexadecimal digits."""
        event = self.events
        self.events += 1
        return f"{self.height:08x}{2:08x}{event:08x}"
