"""The trading records in shared memory: this file is the ABI between a gateway, its strategies and every tool.

What each record holds, byte for byte, is in `engine/record_fields.py`; here are the types, and what their codes mean.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from latentspeed.connectors.types import MarginMode, OrderState, OrderType, PositionAction, TimeInForce, TradeType
from latentspeed.engine.record_fields import (
    BALANCE_FIELDS,
    BOOK_FIELDS,
    BOOK_ROW_FIELDS,
    CANDLE_FIELDS,
    CHANNEL_FIELDS,
    COMMAND_FIELDS,
    CONNECTOR_FIELDS,
    FILL_FIELDS,
    FUNDING_FIELDS,
    HISTORY_CANDLE_FIELDS,
    INSTRUMENT_FIELDS,
    LATEST_FILL_FIELDS,
    LIMIT_FIELDS,
    MARKET_EVENT_FIELDS,
    ORDER_IDENTITY_FIELDS,
    ORDER_PROGRESS_FIELDS,
    ORDER_TERMS_FIELDS,
    POSITION_FIELDS,
    QUOTE_FIELDS,
    READER_FIELDS,
    padded_dtype,
    ring_dtype,
    table_dtype,
)
from latentspeed.ipc import Record, make_record_type

ABI_VERSION = 2
KEEP_MARGIN_MODE = 255


class OrderEventKind(IntEnum):
    """What happened to an order, or to a command that is not a place."""

    UNKNOWN = 0
    CREATED = 1
    UPDATED = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    COMPLETED = 5
    CANCELLED = 6
    EXPIRED = 7
    FAILED = 8
    COMMAND_RESULT = 9


class CommandKind(IntEnum):
    """What a strategy asks of its gateway. Cancel-all is a level word in the session block, not a command."""

    UNKNOWN = 0
    PLACE = 1
    CANCEL = 2
    SET_LEVERAGE = 3
    SET_MARGIN_MODE = 4
    SUBSCRIBE = 5
    MODIFY = 6
    BRACKET = 7
    ADJUST_MARGIN = 8
    CANDLES = 9


PLACING = frozenset({CommandKind.PLACE, CommandKind.MODIFY, CommandKind.BRACKET})
"""The commands that make orders."""


class MarketChange(IntEnum):
    """Which cell of an instrument changed; a TRADE entry carries the print itself.

    A CANDLE entry's `side` is the code of its cell (`engine/candle_cells.py`). A FUNDING entry carries the payment:
    `price` the rate, `amount` what was received (negative: paid), `side` and `trade_id` the position's side and lots.
    """

    UNKNOWN = 0
    QUOTE = 1
    BOOK = 2
    TRADE = 3
    POSITION = 4
    BALANCE = 5
    STATE = 6
    INSTRUMENT = 7
    CANDLE = 8
    FUNDING = 9


def _record(name: str, dtype: np.dtype[Any]) -> type[Record]:
    return make_record_type(name, dtype, module=__name__)


if TYPE_CHECKING:
    # The attributes of a record type come from its dtype at run time; to a type checker they are dynamic.
    _InstrumentBase = Record
    _QuoteBase = Record
    _BookBase = Record
    _MarketEventBase = Record
    _OrderBase = Record
    _OrderEventBase = Record
    _PositionBase = Record
    _BalanceBase = Record
    _CommandBase = Record
    _BookRowBase = Record
    _ReaderStatusBase = Record
    _ConnectorBase = Record
    _CandleBase = Record
    _HistoryCandleBase = Record
    _FundingBase = Record
    _ChannelBase = Record
    _LimitBase = Record
else:
    _InstrumentBase = _record("Instrument", table_dtype(INSTRUMENT_FIELDS))
    _QuoteBase = _record("Quote", table_dtype(QUOTE_FIELDS))
    _BookBase = _record("Book", table_dtype(BOOK_FIELDS))
    _MarketEventBase = _record("MarketEvent", ring_dtype(MARKET_EVENT_FIELDS))
    _OrderBase = _record(
        "Order",
        table_dtype([*ORDER_IDENTITY_FIELDS, *ORDER_TERMS_FIELDS, *ORDER_PROGRESS_FIELDS, *LATEST_FILL_FIELDS]),
    )
    _OrderEventBase = _record(
        "OrderEvent",
        ring_dtype([*ORDER_IDENTITY_FIELDS, *ORDER_TERMS_FIELDS, *ORDER_PROGRESS_FIELDS, *FILL_FIELDS]),
    )
    _PositionBase = _record("Position", table_dtype(POSITION_FIELDS))
    _BalanceBase = _record("Balance", table_dtype(BALANCE_FIELDS))
    _CommandBase = _record("Command", padded_dtype(COMMAND_FIELDS))
    _BookRowBase = _record("BookRow", table_dtype(BOOK_ROW_FIELDS))
    _ReaderStatusBase = _record("ReaderStatus", table_dtype(READER_FIELDS))
    _ConnectorBase = _record("Connector", table_dtype(CONNECTOR_FIELDS))
    _CandleBase = _record("Candle", table_dtype(CANDLE_FIELDS))
    _HistoryCandleBase = _record("HistoryCandle", ring_dtype(HISTORY_CANDLE_FIELDS))
    _FundingBase = _record("Funding", table_dtype(FUNDING_FIELDS))
    _ChannelBase = _record("Channel", table_dtype(CHANNEL_FIELDS))
    _LimitBase = _record("Limit", table_dtype(LIMIT_FIELDS))


class Instrument(_InstrumentBase):
    """A market and its trading rule, one row per instrument number; decimals are exact text."""


class Quote(_QuoteBase):
    """The latest best bid and ask and reference prices of an instrument."""


class Book(_BookBase):
    """The best levels of an instrument's order book: `bids` and `asks` are float64 (20, 2), price and size, best first.

    Rows from `bid_count` and `ask_count` on hold nothing of meaning.
    """


class MarketEvent(_MarketEventBase):
    """What changed in the market or the account: the cell has the value, a TRADE carries the print."""


class OrderTerms:
    """The enums of an order's fixed terms, for records that carry them as uint8."""

    trade_type: int
    order_type: int
    position_action: int
    time_in_force: int
    state: int

    @property
    def side(self) -> TradeType:
        """BUY or SELL."""
        return TradeType(self.trade_type)

    @property
    def type(self) -> OrderType:
        """LIMIT, MARKET, LIMIT_MAKER and so on."""
        return OrderType(self.order_type)

    @property
    def action(self) -> PositionAction:
        """NIL, OPEN or CLOSE (reduce-only)."""
        return PositionAction(self.position_action)

    @property
    def lifetime(self) -> TimeInForce:
        """GTC or IOC."""
        return TimeInForce(self.time_in_force)

    @property
    def order_state(self) -> OrderState:
        """Where the order is in its life."""
        return OrderState(self.state)


class Order(_OrderBase, OrderTerms):
    """An order as its gateway knows it, one row per session and counter."""


class OrderEvent(_OrderEventBase, OrderTerms):
    """A change of an order, with the fill that made it where there was one, or the result of a command."""

    @property
    def kind(self) -> OrderEventKind:
        """Which listener method this event is for."""
        return OrderEventKind(self.event)


class Position(_PositionBase):
    """The account's position in an instrument; `amount` is signed, short below zero."""

    @property
    def mode(self) -> MarginMode:
        """CROSS or ISOLATED."""
        return MarginMode(self.margin_mode)


class Balance(_BalanceBase):
    """The account's total and available amount of one asset."""


class Command(_CommandBase):
    """What a strategy asks of its gateway."""


class BookRow(_BookRowBase):
    """Fills of one instrument added up in integers: lots, lots times price units, fee units."""


class ReaderStatus(_ReaderStatusBase):
    """How far a strategy has read its gateway's rings, by its own word; written ten times a second."""


class Connector(_ConnectorBase):
    """The gateway's own row: who it is, how its connection is, and how far its books have come."""


class Candle(_CandleBase):
    """A running or the last closed candle of an instrument and interval."""


class HistoryCandle(_HistoryCandleBase):
    """One candle of the answer to a question for history."""


class Funding(_FundingBase):
    """What the account has paid and received in funding for an instrument."""


class Channel(_ChannelBase):
    """One subscription of the connector, and how it is doing."""


class Limit(_LimitBase):
    """One of the venue's budgets, and what is used of it."""
