"""The words that every connector and the shared-memory records use for kinds, sides and states.

The numbers are part of the record layout: they are written as uint8 and never change their meaning. 0 is UNKNOWN unless
the enum says otherwise.
"""

from __future__ import annotations

from enum import IntEnum


class ConnectorType(IntEnum):
    """What kind of market a connector trades."""

    UNKNOWN = 0
    SPOT = 1
    DERIVATIVE_PERPETUAL = 2
    DERIVATIVE_FUTURES = 3
    AMM_DEX = 4
    ORDERBOOK_DEX = 5


class OrderType(IntEnum):
    """How an order meets the book. LIMIT_MAKER is post-only.

    STOP and TAKE_PROFIT wait for a trigger price, then act as a limit or as a market order. A stop is triggered by a
    price that moves against the order's side (a buy above the market, a sell below), a take-profit by one that moves
    with it. TWAP is traded by the venue itself, in slices over a time.
    """

    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    LIMIT_MAKER = 3
    STOP_LIMIT = 4
    STOP_MARKET = 5
    TAKE_PROFIT_LIMIT = 6
    TAKE_PROFIT_MARKET = 7
    TWAP = 8

    @property
    def has_trigger(self) -> bool:
        """Whether the order waits for a trigger price."""
        return _FIRST_TRIGGER <= self._value_ <= _LAST_TRIGGER

    @property
    def is_take_profit(self) -> bool:
        """Whether the order waits for a price that moves with its side."""
        return self is OrderType.TAKE_PROFIT_LIMIT or self is OrderType.TAKE_PROFIT_MARKET

    @property
    def has_price(self) -> bool:
        """Whether the order carries a limit price of its own."""
        return self in _PRICED


class TradeType(IntEnum):
    """The side of an order or of a trade's aggressor."""

    UNKNOWN = 0
    BUY = 1
    SELL = 2


class PositionAction(IntEnum):
    """What an order may do to a position. CLOSE is reduce-only."""

    NIL = 0
    OPEN = 1
    CLOSE = 2


class TimeInForce(IntEnum):
    """How long an order may rest. MARKET orders are IOC whatever is said here."""

    GTC = 0
    IOC = 1


class MarginMode(IntEnum):
    """Whether a position shares the account's margin."""

    CROSS = 0
    ISOLATED = 1


class OrderState(IntEnum):
    """Where an order is in its life, see `in_flight_order` for the rule that derives it."""

    UNKNOWN = 0
    PENDING_CREATE = 1
    PENDING_SUBMIT = 2
    OPEN = 3
    PARTIALLY_FILLED = 4
    PENDING_CANCEL = 5
    FILLED = 6
    CANCELLED = 7
    EXPIRED = 8
    FAILED = 9

    @property
    def is_final(self) -> bool:
        """Whether the venue has no more to do for the order; late fills may still be counted."""
        return self._value_ >= _FIRST_FINAL


# Looking a member up on its class costs more than comparing it, and these are asked for on every report.
_FIRST_FINAL = int(OrderState.FILLED)
_FIRST_TRIGGER, _LAST_TRIGGER = int(OrderType.STOP_LIMIT), int(OrderType.TAKE_PROFIT_MARKET)
_PRICED = frozenset({OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})


class ConnectorState(IntEnum):
    """How far a connector's session with its venue has come.

    STALE is open but silent; UNAUTHORISED is open and read, but the venue does not take what the connector signs.
    """

    DISCONNECTED = 0
    CONNECTING = 1
    SYNCING = 2
    LIVE = 3
    STALE = 4
    UNAUTHORISED = 5


class ReportSource(IntEnum):
    """Where a report about an order comes from, which decides what it may prove."""

    UNKNOWN = 0
    LOCAL = 1
    """Known here without the venue: the order never left this process."""
    REPLY = 2
    """The venue's direct answer to a request."""
    STREAM = 3
    """A message of the user stream."""
    SNAPSHOT = 4
    """The venue's answer to a question about the present: a status query, a list of open orders."""
    INFERRED = 5
    """Concluded from what the venue does not know. Evidence of acceptance overrules an inferred failure."""


def enum_name(enum_type: type[IntEnum], value: object) -> str:
    """The name of an enum's value, and UNKNOWN for anything that is not one."""
    try:
        return enum_type(value).name  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return "UNKNOWN"
