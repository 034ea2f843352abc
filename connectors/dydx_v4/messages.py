"""What the indexer and the nodes say, as far as it is used. Unknown fields are ignored, most may be absent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class MarketRow(msgspec.Struct, rename="camel"):
    """A market; in updates only what changed."""

    ticker: str = ""
    clob_pair_id: str = ""
    status: str = ""
    oracle_price: str | None = None
    next_funding_rate: str = ""
    initial_margin_fraction: str = ""
    maintenance_margin_fraction: str = ""
    open_interest: str = ""
    open_interest_lower_cap: str = ""
    open_interest_upper_cap: str = ""
    market_type: str = ""
    tick_size: str = ""
    step_size: str = ""
    step_base_quantums: int = 0
    subticks_per_tick: int = 0


class Markets(msgspec.Struct, rename="camel"):
    """Markets by ticker, as REST and snapshots have them."""

    markets: dict[str, MarketRow] = {}


class OraclePrice(msgspec.Struct, rename="camel"):
    """A new oracle price."""

    oracle_price: str
    effective_at: str = ""


class MarketChanges(msgspec.Struct, rename="camel"):
    """An update of the markets' channel, or its snapshot."""

    markets: dict[str, MarketRow] = {}
    trading: dict[str, MarketRow] = {}
    oracle_prices: dict[str, OraclePrice] = {}


class OrderRow(msgspec.Struct, rename="camel"):
    """An order; a removal of an order that the indexer did not know has its names only."""

    id: str
    status: str
    client_id: str = ""
    clob_pair_id: str = ""
    order_flags: str = "0"
    ticker: str = ""
    side: str = ""
    size: str = ""
    price: str = ""
    total_filled: str = ""
    removal_reason: str = ""
    good_til_block: str | None = None
    good_til_block_time: str | None = None
    client_metadata: str = "0"
    updated_at: str = ""
    subaccount_number: int | None = None


class FillRow(msgspec.Struct, rename="camel"):
    """A fill of this subaccount. Sockets name the market `ticker`, REST and old sockets `market`."""

    id: str
    side: str
    price: str
    size: str
    created_at: str
    fee: str = "0"
    created_at_height: str = "0"
    order_id: str | None = None
    liquidity: str = ""
    type: str = ""
    market: str = ""
    ticker: str = ""
    client_metadata: str | None = None

    @property
    def pair(self) -> str:
        """The market."""
        return self.ticker or self.market


class PositionRow(msgspec.Struct, rename="camel"):
    """A position; the size is negative when short."""

    market: str
    size: str
    status: str = "OPEN"
    side: str = ""
    entry_price: str | None = None
    unrealized_pnl: str | None = None
    subaccount_number: int | None = None


class SubaccountRow(msgspec.Struct, rename="camel"):
    """A subaccount with what it is worth. A parent has rows instead of positions: its own and its children's."""

    subaccount_number: int = 0
    equity: str = "0"
    free_collateral: str = "0"
    open_perpetual_positions: dict[str, PositionRow] = {}
    latest_processed_block_height: str = "0"
    child_subaccounts: list[SubaccountRow] | None = None


class Subaccount(msgspec.Struct, rename="camel"):
    """A subaccount as REST answers."""

    subaccount: SubaccountRow


class AccountChanges(msgspec.Struct, rename="camel"):
    """An update of a subaccount's channel, or its snapshot."""

    subaccount: SubaccountRow | None = None
    orders: list[OrderRow] = []
    fills: list[FillRow] = []
    perpetual_positions: list[PositionRow] = []
    block_height: str = ""


class Fills(msgspec.Struct, rename="camel"):
    """Fills as REST answers; how many there are is said where a page was asked for."""

    fills: list[FillRow] = []
    total_results: int = 0


class SnapshotLevel(msgspec.Struct):
    """A level of a snapshot."""

    price: str
    size: str


class BookSnapshot(msgspec.Struct):
    """A whole book."""

    bids: list[SnapshotLevel] = []
    asks: list[SnapshotLevel] = []


class BookChanges(msgspec.Struct):
    """Levels that changed: price and absolute size."""

    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


class TradeRow(msgspec.Struct, rename="camel"):
    """A trade of the market."""

    id: str
    side: str
    size: str
    price: str
    created_at: str


class Trades(msgspec.Struct):
    """Trades of a market."""

    trades: list[TradeRow] = []


class HeightRow(msgspec.Struct, rename="camel"):
    """A height; the snapshot and the updates name it differently."""

    height: str = ""
    block_height: str = ""
    time: str = ""

    @property
    def number(self) -> int:
        """The height."""
        return int(self.block_height or self.height)

    @property
    def time_ms(self) -> int:
        """The block's time in milliseconds since the epoch; 0 when it is not told."""
        return time_ns(self.time) // 1_000_000 if self.time else 0


class CandleRow(msgspec.Struct, rename="camel"):
    """A candle; the channel's updates do not name its resolution."""

    started_at: str
    open: str
    high: str
    low: str
    close: str
    base_token_volume: str = "0"
    trades: int = 0


class Candles(msgspec.Struct):
    """Candles as REST and snapshots have them, newest first."""

    candles: list[CandleRow] = []


class FundingPaymentRow(msgspec.Struct, rename="camel"):
    """What one subaccount paid, below zero, or received when an hour ended; the rate is of that hour."""

    ticker: str
    payment: str
    created_at: str
    created_at_height: str
    rate: str = "0"
    size: str = "0"
    side: str = ""
    subaccount_number: str = "0"


class FundingPayments(msgspec.Struct, rename="camel"):
    """Funding payments as REST answers, newest first."""

    funding_payments: list[FundingPaymentRow] = []


class TransferRow(msgspec.Struct, rename="camel"):
    """Money that has moved."""

    transaction_hash: str = ""


class Transfers(msgspec.Struct):
    """Transfers as REST answers, newest first."""

    transfers: list[TransferRow] = []


class TimeRow(msgspec.Struct):
    """The indexer's clock: seconds since the epoch."""

    epoch: float
    iso: str = ""


class Envelope(msgspec.Struct, rename={"subaccount_number": "subaccountNumber"}):
    """A frame of the socket; what is told to a parent names the subaccount that it is about."""

    type: str
    channel: str = ""
    id: str = ""
    message: str = ""
    contents: msgspec.Raw = msgspec.Raw()
    subaccount_number: int | None = None


class TxResult(msgspec.Struct):
    """What a node's check says of a transaction."""

    code: int = 0
    codespace: str = ""
    log: str = ""
    hash: str = ""


class RpcError(msgspec.Struct):
    """Why a node could not do what it was asked."""

    code: int = 0
    message: str = ""
    data: Any = None


class BroadcastReply(msgspec.Struct):
    """The answer to a broadcast."""

    result: TxResult | None = None
    error: RpcError | None = None


class SyncInfo(msgspec.Struct):
    """How far a node has come."""

    latest_block_height: str
    latest_block_time: str = ""
    catching_up: bool = False


class Status(msgspec.Struct):
    """A node's status."""

    sync_info: SyncInfo


class StatusReply(msgspec.Struct):
    """The answer to a status query."""

    result: Status


class QueryResponse(msgspec.Struct):
    """The answer of the application."""

    code: int = 0
    log: str = ""
    value: str | None = None


class QueryResult(msgspec.Struct):
    """Wraps it."""

    response: QueryResponse


class QueryReply(msgspec.Struct):
    """The answer to a query of the application's state."""

    result: QueryResult


ENVELOPE = msgspec.json.Decoder(Envelope)
MARKETS = msgspec.json.Decoder(Markets)
MARKET_CHANGES = msgspec.json.Decoder(MarketChanges)
SUBACCOUNT = msgspec.json.Decoder(Subaccount)
ACCOUNT_CHANGES = msgspec.json.Decoder(AccountChanges)
ORDERS = msgspec.json.Decoder(list[OrderRow])
ORDER = msgspec.json.Decoder(OrderRow)
FILLS = msgspec.json.Decoder(Fills)
BOOK_SNAPSHOT = msgspec.json.Decoder(BookSnapshot)
BOOK_CHANGES = msgspec.json.Decoder(BookChanges)
TRADES = msgspec.json.Decoder(Trades)
HEIGHT = msgspec.json.Decoder(HeightRow)
TIME = msgspec.json.Decoder(TimeRow)
TRANSFERS = msgspec.json.Decoder(Transfers)
FUNDING_PAYMENTS = msgspec.json.Decoder(FundingPayments)
CANDLE = msgspec.json.Decoder(CandleRow)
CANDLES = msgspec.json.Decoder(Candles)
BROADCAST_REPLY = msgspec.json.Decoder(BroadcastReply)
STATUS_REPLY = msgspec.json.Decoder(StatusReply)
QUERY_REPLY = msgspec.json.Decoder(QueryReply)


def time_ns(text: str) -> int:
    """Nanoseconds since the epoch of a time as the indexer writes it. Raises ValueError for any other text."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
