"""What the inspector sees at one moment, as plain frozen values: also the JSON that `inspect --once --json` prints.

    Snapshot
      segments[]      one per connector of a running or dead engine
        gateway       the process: alive by its lock, state, epoch, heartbeat
        connector     the venue connection: state, ready, account, subscriptions
        sessions[]    the attached strategies and their queues
        orders[]      live first, then the latest finished
        positions[] balances[] quotes[] candles[] fundings[]
        channels[]    each subscription to the venue, its age and state
        limits[]      each of the venue's budgets, and what is used of it
        rings[]       how far each has come and how fast
        stages{} histograms{} venue_latency_estimates{} counters{} errors[]
        books[]       fills counted in integers, by ledger group
      unreadable[]    segments that could not be read, and why

Units: `_s` seconds, `_us` microseconds, `_ns` nanoseconds, `_utc_ns` nanoseconds since the epoch. An age is None where
the thing never happened. A field is only ever added; a change of meaning raises `schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from latentspeed.tools.latency import LatencySummary

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The process that owns the segment. `is_alive` is proved by its kernel lock, not by its pid."""

    health: str
    """live; stuck (alive, heartbeat stale); starting; stopping; retired; dead."""
    pid: int
    is_alive: bool
    state: str
    epoch: int
    heartbeat_age_s: float | None
    clock_error_ns: int | None


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """The connection to the venue, as the gateway published it last."""

    name: str
    domain: str
    account_address: str
    state: str
    is_ready: bool
    instruments: int
    subscriptions: int
    connections: int
    """How often the venue connection was made."""
    last_message_age_s: float | None
    started_utc_ns: int
    venue_clock_skew_estimate_s: float | None
    """By how much the venue's clock is ahead of this machine's; None where that was never measured."""
    venue_clock_skew_error_s: float | None
    """By how much the estimate may be off."""
    venue_clock_skew_age_s: float | None


@dataclass(frozen=True, slots=True)
class ReadingStatus:
    """How far a strategy has read, by its own word: records not yet read, and what it was too slow for."""

    events_behind: int
    market_behind: int
    events_laps: int
    market_laps: int
    records_lost: int
    age_s: float | None


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """One attached strategy. `is_alive` is proved by its kernel lock; the queue is commands not yet read."""

    slot: int
    name: str
    pid: int
    tag: int
    state: str
    is_alive: bool
    generation: int
    incarnation: int
    cancel_on_death: bool
    queue_depth: int
    queue_capacity: int
    commands: int
    """How many commands the session has written in its life."""
    heartbeat_age_s: float | None
    live_orders: int
    fills: int
    """Fills that the strategy itself has committed in its own book."""
    reading: ReadingStatus | None
    """None before the strategy has said anything."""


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """One order as the gateway knows it."""

    client_order_id: str
    exchange_order_id: str
    strategy: str
    slot: int
    trading_pair: str
    side: str
    order_type: str
    time_in_force: str
    position_action: str
    price: float
    amount: float
    filled_amount: float
    average_price: float
    fill_count: int
    state: str
    is_live: bool
    is_unknown: bool
    """The venue's answer is missing: the order is being settled by asking."""
    reason: str
    revision: int
    age_s: float | None
    updated_age_s: float | None
    trigger_price: float = 0.0
    """The mark price that it waits for; 0 for an order without a trigger."""
    replaces: str = ""
    """The order that this one replaces."""
    parent: str = ""
    """The entry whose fill this exit waits for."""


@dataclass(frozen=True, slots=True)
class PositionStatus:
    """The account's position in one pair, in units of the base asset; short below zero."""

    trading_pair: str
    amount: float
    amount_lots: int
    opening_lots: int
    entry_price: float
    unrealized_pnl: float
    liquidation_price: float
    margin_used: float
    leverage: int
    margin_mode: str
    age_s: float | None


@dataclass(frozen=True, slots=True)
class BalanceStatus:
    """The account's amount of one asset."""

    asset: str
    total: float
    available: float
    age_s: float | None


@dataclass(frozen=True, slots=True)
class QuoteStatus:
    """The latest best bid and ask of one pair."""

    trading_pair: str
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    mark: float
    last: float
    funding_rate: float
    age_s: float | None
    venue_latency_estimate_s: float | None
    """From the venue's stamp to the message's arrival, by two clocks: within its error, or None where unknown."""
    venue_latency_error_s: float | None
    is_stale: bool = False
    """The venue has stopped saying these prices."""


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """One subscription of the connector to the venue; `trading_pair` is empty for one of the account."""

    name: str
    trading_pair: str
    state: str
    """REQUESTED; WAITING (confirmed, nothing heard); LIVE; SILENT (a regular one that stopped); REFUSED; DOWN."""
    is_regular: bool
    messages: int
    age_s: float | None
    """Since the last message on this connection."""
    checked_age_s: float | None
    """Since the venue was asked during a silence, and had nothing new to say."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One of the venue's budgets; `reserve` of its capacity is kept for cancels."""

    name: str
    used: float
    capacity: float
    reserve: float
    refused: int
    """How often the venue has said that it is used up."""
    blocked_s: float
    """For how long nothing but cancels is sent on account of it."""


@dataclass(frozen=True, slots=True)
class CandleStatus:
    """The newest candle of a pair and interval."""

    trading_pair: str
    interval: str
    start_utc_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trade_count: int
    is_closed: bool
    age_s: float | None


@dataclass(frozen=True, slots=True)
class FundingStatus:
    """What the account has paid (negative) and received for one pair since the segment was made."""

    trading_pair: str
    asset: str
    count: int
    total: float
    amount: float
    """The latest payment."""
    rate: float
    venue_utc_ns: int


@dataclass(frozen=True, slots=True)
class RingStatus:
    """A broadcast ring: `tail` counts every record ever published."""

    name: str
    tail: int
    capacity: int
    rate_per_s: float | None


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """One distinct error of the gateway and how often it happened."""

    code: str
    text: str
    count: int
    first_utc_ns: int
    last_utc_ns: int


@dataclass(frozen=True, slots=True)
class BookStatus:
    """Fills of one pair added up in integers, by the gateway; `slot` is -1 for the groups of the whole account.

    `group` is SESSION (a live strategy), DEPARTED (committed by dead ones), ORPHANED (of dead ones, never committed),
    TOTAL (every order of ours) or FOREIGN (orders that are not ours).
    """

    group: str
    slot: int
    trading_pair: str
    fill_count: int
    bought_lots: int
    sold_lots: int
    fee_units: int


@dataclass(frozen=True, slots=True)
class SegmentSnapshot:
    """Everything one connector's shared memory says."""

    name: str
    engine: str
    gateway: GatewayStatus
    connector: ConnectorStatus | None
    sessions: tuple[SessionStatus, ...]
    orders: tuple[OrderStatus, ...]
    order_counts: Mapping[str, int]
    """Orders in the table by state, those not listed in `orders` too."""
    positions: tuple[PositionStatus, ...]
    balances: tuple[BalanceStatus, ...]
    quotes: tuple[QuoteStatus, ...]
    channels: tuple[ChannelStatus, ...]
    limits: tuple[LimitStatus, ...]
    candles: tuple[CandleStatus, ...]
    fundings: tuple[FundingStatus, ...]
    rings: tuple[RingStatus, ...]
    stages: Mapping[str, LatencySummary]
    """Of the orders acknowledged most recently, from the event ring."""
    histograms: Mapping[str, LatencySummary]
    """Since the segment was made, from the gateway's own histograms."""
    venue_latency_estimates: Mapping[str, LatencySummary]
    """From the venue's stamp to ours, of the latest records by kind; each as far off as `venue_latency_error_s`."""
    venue_latency_error_s: float | None
    counters: Mapping[str, int]
    errors: tuple[ErrorStatus, ...]
    books: tuple[BookStatus, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A segment that could not be read, and why, in one line."""

    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every segment asked for, at one moment."""

    taken_utc_ns: int
    segments: tuple[SegmentSnapshot, ...]
    unreadable: tuple[Unreadable, ...] = ()
    schema: int = field(default=SCHEMA)
