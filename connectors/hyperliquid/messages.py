"""What Hyperliquid sends, as typed records: decoded by msgspec, tolerant of unknown keys and of older schemas.

Prices and sizes that feed market data become floats while decoding. Those that are accounted for (orders, fills,
positions) stay text, because they are counted in integers from the exact decimals. Field names are the venue's own.
Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from latentspeed.connectors.row_decoder import RowDecoder

T = TypeVar("T")

Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 43)]
"""A time since the epoch, far from where it would no longer fit in nanoseconds."""
VenueId = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""A number that the venue gives: well beyond 2^32 already."""

Decimals = Annotated[int, msgspec.Meta(ge=0, le=18)]
"""How many digits follow the point."""
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
"""A number, a place or a leverage."""


class Message(msgspec.Struct, kw_only=True):
    """A record of the venue. Unknown keys are ignored: the venue adds some several times a year."""


# --- market data ---


class Level(Message):
    """One price level of a book."""

    px: float
    sz: float
    n: int = 0


class Bbo(Message):
    """Best bid and best ask; either may be missing."""

    coin: str
    time: Milliseconds
    bbo: tuple[Level | None, Level | None]


class L2Book(Message):
    """Up to 20 levels a side, bids first; always the whole book."""

    coin: str
    time: Milliseconds
    levels: tuple[list[Level], list[Level]]


class PublicTrade(Message):
    """A trade print; `side` is the aggressor's."""

    coin: str
    side: str
    px: float
    sz: float
    time: Milliseconds
    tid: VenueId = 0


class AssetContext(Message):
    """The venue's figures of one market; `funding` is the current hourly estimate."""

    funding: float = 0.0
    openInterest: float = 0.0  # noqa: N815
    oraclePx: float = 0.0  # noqa: N815
    markPx: float = 0.0  # noqa: N815
    midPx: float | None = None  # noqa: N815


class ActiveAssetContext(Message):
    """A push of one market's figures, of a perpetual or a spot market; the latter has neither oracle nor funding."""

    coin: str
    ctx: AssetContext


# --- orders ---


class OrderRow(Message):
    """One order: the short form of streams and the long form of frontendOpenOrders alike. `sz` is what remains."""

    coin: str
    side: str
    limitPx: str  # noqa: N815
    sz: str
    oid: VenueId
    timestamp: Milliseconds
    origSz: str = ""  # noqa: N815
    cloid: str | None = None
    reduceOnly: bool | None = None  # noqa: N815
    orderType: str = "Limit"  # noqa: N815
    tif: str | None = None
    isTrigger: bool = False  # noqa: N815
    triggerPx: str = "0.0"  # noqa: N815
    triggerCondition: str = "N/A"  # noqa: N815
    isPositionTpsl: bool = False  # noqa: N815


class OrderStatusRow(Message):
    """An order with the status it reached and when."""

    order: OrderRow
    status: str
    statusTimestamp: Milliseconds = 0  # noqa: N815


class OrderStatusReply(Message):
    """The answer to a query for one order: status "order", or "unknownOid" without a row."""

    status: str
    order: OrderStatusRow | None = None


# --- fills ---


class Liquidation(Message):
    """Carried by the fills of both sides; only `liquidatedUser` says whose it was."""

    liquidatedUser: str = ""  # noqa: N815
    markPx: str = ""  # noqa: N815
    method: str = ""


class FillRow(Message):
    """One fill of the account. `dir` is display text; `crossed` is true for the taker."""

    coin: str
    px: str
    sz: str
    side: str
    time: Milliseconds
    oid: VenueId
    crossed: bool = False
    fee: str = "0.0"
    feeToken: str = "USDC"  # noqa: N815
    tid: VenueId = 0
    cloid: str | None = None
    startPosition: str = ""  # noqa: N815
    closedPnl: str = "0.0"  # noqa: N815
    dir: str = ""
    hash: str = ""
    twapId: int | None = None  # noqa: N815
    liquidation: Liquidation | None = None


class UserFills(Message):
    """A push of fills; the one with `isSnapshot` fills the gap of a reconnect."""

    user: str = ""
    fills: list[msgspec.Raw] = []
    isSnapshot: bool | None = None  # noqa: N815


# --- account ---


class MarginSummary(Message):
    """Totals in the collateral asset; totalRawUsd is negative for leveraged longs."""

    accountValue: str  # noqa: N815
    totalMarginUsed: str = "0.0"  # noqa: N815
    totalNtlPos: str = "0.0"  # noqa: N815
    totalRawUsd: str = "0.0"  # noqa: N815


class Leverage(Message):
    """`type` is "cross" or "isolated"."""

    type: str
    value: int


class ActiveAssetData(Message):
    """What an account may do in one market."""

    leverage: Leverage


class PositionRow(Message):
    """A position; `szi` is signed."""

    coin: str
    szi: str
    leverage: Leverage
    entryPx: float | None = None  # noqa: N815
    unrealizedPnl: float = 0.0  # noqa: N815
    liquidationPx: float | None = None  # noqa: N815
    marginUsed: float = 0.0  # noqa: N815


class AssetPosition(Message):
    """The envelope of a position."""

    position: PositionRow


class ClearinghouseState(Message):
    """Margin and positions of the account; a coin that is absent is flat."""

    marginSummary: MarginSummary  # noqa: N815
    crossMarginSummary: MarginSummary  # noqa: N815
    assetPositions: list[AssetPosition] = []  # noqa: N815
    withdrawable: str = "0.0"
    time: Milliseconds = 0


class SpotBalance(Message):
    """One token of the spot account; outcome balances have no token number."""

    coin: str
    total: str
    hold: str = "0.0"


class SpotClearinghouseState(Message):
    """Token balances."""

    balances: list[SpotBalance] = []


class SpotStatePush(Message):
    """The same as a stream pushes it."""

    spotState: SpotClearinghouseState  # noqa: N815
    user: str = ""


class RoleData(Message):
    """Whose agent or sub-account it is."""

    user: str | None = None
    master: str | None = None


class UserRole(Message):
    """What an address is: "missing", "user", "vault", "agent" or "subAccount"."""

    role: str
    data: RoleData | None = None


class AgentRow(Message):
    """A named agent of an account; `validUntil` is None where it does not expire."""

    name: str
    address: str
    validUntil: int | None = None  # noqa: N815


class VaultDetails(Message):
    """Who trades a vault."""

    leader: str


# --- metadata ---


class AssetMeta(Message):
    """One market; its place in the list is its number."""

    name: str
    szDecimals: Decimals  # noqa: N815
    maxLeverage: Count = 1  # noqa: N815
    isDelisted: bool | None = None  # noqa: N815
    onlyIsolated: bool | None = None  # noqa: N815
    marginMode: str | None = None  # noqa: N815


class Meta(Message):
    """All markets of one dex, delisted ones in their places."""

    universe: list[AssetMeta | None]
    """None in the place of an entry that could not be read."""
    collateralToken: int = 0  # noqa: N815


class PerpDex(Message):
    """One builder dex; its place in the list, where null is the venue's own, makes the numbers of its markets."""

    name: str


class SpotToken(Message):
    """One token; pairs name it by `index`, which is not its place in the list."""

    name: str
    index: Count
    szDecimals: Decimals  # noqa: N815


class SpotPair(Message):
    """One spot market: base and quote token by their numbers, and the name that every other message calls it."""

    name: str
    index: Count
    tokens: tuple[Count, Count]


class SpotMeta(Message):
    """All spot markets and the tokens that they trade."""

    universe: list[SpotPair]
    tokens: list[SpotToken]


class ExchangeStatus(Message):
    """The venue's clock."""

    time: Milliseconds


# --- sockets ---


class Envelope(Message):
    """A frame of the socket: its channel, and the data still as bytes."""

    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class SubscriptionResponse(Message):
    """The echo of a subscription, with defaults added by the venue."""

    method: str
    subscription: dict[str, Any]


class PostResponse(Message):
    """`type` is "action", "info" or "error"."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"null")


class PostReply(Message):
    """The answer to a request that was posted through the socket."""

    id: int
    response: PostResponse


def decoder(message_type: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder that reads numbers from text, as this venue writes them."""
    return msgspec.json.Decoder(message_type, strict=False)


def row_decoder(row_type: type[T]) -> RowDecoder[T]:
    """The same for a list of rows."""
    return RowDecoder(row_type, strict=False)


ENVELOPE = decoder(Envelope)
BBO = decoder(Bbo)
L2_BOOK = decoder(L2Book)
L2_BOOK_OR_NOTHING: msgspec.json.Decoder[L2Book | None] = decoder(L2Book | None)  # type: ignore[arg-type]
PUBLIC_TRADES = row_decoder(PublicTrade)
ACTIVE_ASSET_CONTEXT = decoder(ActiveAssetContext)
ORDER_ROWS = row_decoder(OrderRow)
ORDER_STATUS_ROWS = row_decoder(OrderStatusRow)
ORDER_STATUS_REPLY = decoder(OrderStatusReply)
FILL_ROWS = row_decoder(FillRow)
USER_FILLS = decoder(UserFills)
ACTIVE_ASSET_DATA = decoder(ActiveAssetData)
CLEARINGHOUSE_STATE = decoder(ClearinghouseState)
SPOT_CLEARINGHOUSE_STATE = decoder(SpotClearinghouseState)
USER_ROLE = decoder(UserRole)
AGENT_ROWS = row_decoder(AgentRow)
VAULT_DETAILS: msgspec.json.Decoder[VaultDetails | None] = decoder(VaultDetails | None)  # type: ignore[arg-type]
META = decoder(Meta)
PERP_DEXS: msgspec.json.Decoder[list[PerpDex | None]] = decoder(list[PerpDex | None])
SPOT_META = decoder(SpotMeta)
SPOT_STATE_PUSH = decoder(SpotStatePush)
EXCHANGE_STATUS = decoder(ExchangeStatus)
SUBSCRIPTION_RESPONSE = decoder(SubscriptionResponse)
POST_REPLY = decoder(PostReply)
TEXT = decoder(str)
COUNT = decoder(int)
ANY = decoder(Any)
