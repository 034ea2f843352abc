"""What the author of a connector writes for the suite: a venue, connectors on it, and the venue's own books.

Nothing is assumed about how a venue works: it may answer at once or a block later, confirm by a stream or by a lagging
index, know clients by 128-bit ids or by numbers. What a connector's public interface promises is assumed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import ClassVar

from latentspeed.connectors import ConnectorBase, TradeType


class Fault(Enum):
    """What can go wrong at a venue. Those that say `next` happen once; the others last until faults are cleared."""

    LOST_REPLY = "the next order request is applied and its answer never arrives"
    BROKEN_REPLY = "the connection is reset in the middle of the next answer to an order request"
    LATE_REPLY = "answers to order requests come later than the client waits"
    REFUSED_AS_TOO_MANY = "the next order request is turned away unread, as one too many"
    SERVER_ERROR = "the next order request is answered by a server error and not applied"
    GARBLED_REPLY = "the next order request is answered by a page that is not of the protocol, and not applied"
    STREAM_CUT = "every stream is cut without a word"
    STREAM_CLOSED = "every stream is closed in due form"
    STREAM_SILENT = "streams stay open and answer heartbeats, but tell nothing"
    HEARTBEAT_SILENT = "streams tell everything, but answer no heartbeat"
    REPEATED_REPORTS = "every message of a stream comes more than once"
    REORDERED_REPORTS = "messages of different kinds overtake each other"
    LATE_OPEN = "that the next order was opened is told after its end"
    FILL_BEFORE_ACKNOWLEDGEMENT = "fills come before any sign that their order was accepted"
    FILL_AFTER_CANCEL = "fills come after the cancel of their order was acknowledged"
    STALE_SNAPSHOT = "a new stream begins with a state of the past"
    CROSSED_BOOK = "the next book messages have their best bid above their best ask"
    UNKNOWN_STATUS = "the next report of an order has a status that no document knows"
    UNKNOWN_WORDS = "reports have other words that no document knows"
    UNKNOWN_FIELDS = "every object of every message has a field that no document knows"
    CLOCK_AHEAD = "the venue's clock runs ten minutes ahead"
    VENUE_STALLED = "the venue takes requests and executes nothing"
    POST_ONLY_PHASE = "the venue takes orders only that rest"
    BUDGET_EXHAUSTED = "the account may send no more orders"
    KEY_REVOKED = "the key of the account called taker may not act any more; cannot be undone"
    NEW_MARKET = "a market is listed, see `ConformanceHarness.new_pair`; cannot be undone"
    MARKET_DELISTED = "the market `ConformanceHarness.other_pair` is delisted; cannot be undone"

    @property
    def can_be_undone(self) -> bool:
        """Whether clearing faults brings the venue back to what it was."""
        return self not in (Fault.KEY_REVOKED, Fault.NEW_MARKET, Fault.MARKET_DELISTED)


class Ability(Enum):
    """What a connector or a harness may lack. What it lacks is shown as such; what it has must work."""

    LIMIT = "limit orders"
    LIMIT_MAKER = "post-only orders"
    MARKET = "market orders"
    STOP_LIMIT = "stop orders with a limit"
    STOP_MARKET = "stop orders at market"
    TAKE_PROFIT_LIMIT = "take-profit orders with a limit"
    TAKE_PROFIT_MARKET = "take-profit orders at market"
    MODIFY = "orders that can be modified"
    BRACKETS = "an entry with its exits"
    IOC = "immediate-or-cancel"
    LASTING = "orders that rest until they are cancelled or filled"
    REDUCE_ONLY = "reduce-only orders"
    LEVERAGE = "leverage that can be set"
    POSITIONS = "positions"
    SHARED_ACCOUNT = "several engines on one account"
    ADOPTION = "open orders of the same engine that nobody remembers are adopted"
    MOVE_PRICE = "a reference price that can be moved"
    FUNDING_ACCOUNTS = "accounts that can be given money while they trade"


class VenueState(Enum):
    """An order's state as the venue's own books have it.

    REMOVED is for a venue that says only once, to those who listen, why it has taken an order off: who was away then
    cannot tell a refusal from a cancel. With nothing lost such an order is REFUSED.
    """

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    LAPSED = "lapsed"
    REFUSED = "refused"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order in the venue's books. `client_order_id` is the connector's text form, None for an order of others."""

    client_order_id: str | None
    exchange_order_id: str
    state: VenueState
    filled: Decimal


@dataclass(frozen=True, slots=True)
class VenueFill:
    """One fill in the venue's books; a rebate is a negative fee."""

    trade_id: str
    exchange_order_id: str
    client_order_id: str | None
    trading_pair: str
    side: TradeType
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_asset: str


@dataclass(frozen=True, slots=True)
class VenueBook:
    """All that the venue knows of one account, read from the venue itself and not through the connector.

    `positions` are signed amounts by trading pair, `balances` totals by asset; what is left out is zero.
    """

    orders: tuple[VenueOrder, ...]
    fills: tuple[VenueFill, ...]
    positions: Mapping[str, Decimal] = field(default_factory=dict)
    balances: Mapping[str, Decimal] = field(default_factory=dict)


class ConformanceHarness(ABC):
    """A venue to start, connectors to make, and what can be done to both.

    A harness is made anew for every case and used in one event loop. Its market is silent: nobody trades but the
    connectors that it makes, and a pair's book is empty until they fill it.

    Attributes:
        name: what the report calls the connector.
        pair, price: the market that most cases use, and its reference price at the start.
        other_pair: a second market.
        new_pair: the market that `Fault.NEW_MARKET` lists.
        abilities: what connector and harness can do.
        faults: what the venue can be ordered to do wrong.
        why_not: why something is in neither of them, for the report: what the venue cannot do, and no harness could.
        patience_s: after how long anything that must happen counts as not happening. Allow for blocks and lag, and for
            a slow machine: only what fails waits for so long.
        answer_within_s: after how long without an answer the harness's connectors give a request up.
    """

    name: ClassVar[str]
    pair: ClassVar[str]
    price: ClassVar[float]
    other_pair: ClassVar[str] = ""
    new_pair: ClassVar[str] = ""
    abilities: ClassVar[frozenset[Ability]]
    faults: ClassVar[frozenset[Fault]]
    why_not: ClassVar[Mapping[Ability | Fault, str]] = {}
    patience_s: ClassVar[float] = 10.0
    answer_within_s: ClassVar[float] = 1.0

    @abstractmethod
    async def start(self) -> None:
        """Start an empty venue. Accounts called `maker` and `taker` have plenty of money."""

    @abstractmethod
    async def stop(self) -> None:
        """End the venue and whatever the harness started."""

    @abstractmethod
    def new_connector(self, account: str, *, engine: int = 1, stale_after_s: float = 0.0) -> ConnectorBase:
        """A connector for an account, not connected, with time limits so short that a test can wait for them.

        `engine` tells the orders of one engine from those of another on the same account; connectors made one after
        another with the same number are restarts of one engine. `stale_after_s` is after how much silence the connector
        shall be STALE, 0 for never.
        """

    @abstractmethod
    async def book(self, account: str) -> VenueBook:
        """The venue's books of an account."""

    @abstractmethod
    async def order_fault(self, fault: Fault) -> None:
        """Let something go wrong; only called with what `faults` names."""

    @abstractmethod
    async def clear_faults(self) -> None:
        """Let everything work again that can be undone."""

    async def reference_price(self, trading_pair: str) -> float:
        """A market's reference price; only the pair's own is known without a better answer."""
        if trading_pair != self.pair:
            raise LookupError(f"{self.name} knows no reference price of {trading_pair}")
        return self.price

    async def fund(self, account: str, amount: Decimal) -> None:
        """Give an account money; needs `Ability.FUNDING_ACCOUNTS`."""
        raise LookupError(f"{self.name} cannot fund accounts")

    async def move_price(self, trading_pair: str, price: float) -> None:
        """Move a market's reference price; needs `Ability.MOVE_PRICE`."""
        raise LookupError(f"{self.name} cannot move prices")
