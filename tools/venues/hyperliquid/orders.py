"""Orders, fills and public trades of the venue, and the JSON objects that clients see of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentspeed.tools.venues.hyperliquid.liquidation_terms import LiquidationTerms
from latentspeed.tools.venues.hyperliquid.trigger_terms import TriggerTerms
from latentspeed.tools.venues.hyperliquid.wire import decimal_text, usd_text
from latentspeed.tools.venues.matching import BookOrder

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.accounts import Account
    from latentspeed.tools.venues.hyperliquid.markets import Market

ZERO_HASH = "0x" + "0" * 64


class Order(BookOrder):
    """One order of one account, from its first check to its last status.

    Attributes:
        lots: what is still open; `orig_lots - lots` is filled.
        status, status_ms: the newest status string and when it began.
        filled_notional: sum of price units times lots of its fills.
        trigger: its trigger, None for an ordinary order.
        waits: ``fill`` while its parent is not done, ``trigger`` while it is armed, None on the book and afterwards.
        parent, siblings: of a take-profit or stop of a group: the order it protects, and every leg, itself included.
        children: of such a parent: its legs.
        is_position_tpsl: belongs to the position; zero lots then mean all of it.
        twap_id: the TWAP whose slice it is.
        liquidation: of an order that the venue sends to liquidate its account; nobody is told of the order itself.
    """

    __slots__ = (
        "account",
        "builder",
        "builder_rate",
        "children",
        "cloid",
        "filled_notional",
        "is_position_tpsl",
        "liquidation",
        "market",
        "orig_lots",
        "parent",
        "reduce_only",
        "siblings",
        "status",
        "status_ms",
        "tif",
        "timestamp",
        "trigger",
        "twap_id",
        "waits",
    )

    def __init__(
        self,
        oid: int,
        account: Account,
        market: Market,
        is_buy: bool,
        price: int,
        lots: int,
        *,
        tif: str | None = "Gtc",
        reduce_only: bool = False,
        cloid: str | None = None,
        timestamp: int = 0,
        trigger: TriggerTerms | None = None,
    ) -> None:
        super().__init__(oid, account, is_buy, price, lots)
        self.account = account
        self.market = market
        self.orig_lots = lots
        self.tif = tif
        self.reduce_only = reduce_only
        self.cloid = cloid
        self.timestamp = timestamp
        self.status = "open"
        self.status_ms = timestamp
        self.filled_notional = 0
        self.builder: str | None = None
        self.builder_rate = 0
        self.trigger = trigger
        self.waits: str | None = None
        self.parent: Order | None = None
        self.siblings: list[Order] = []
        self.children: list[Order] = []
        self.is_position_tpsl = False
        self.twap_id: int | None = None
        self.liquidation: LiquidationTerms | None = None

    @property
    def coin(self) -> str:
        """Name of the market."""
        return self.market.instrument.name


class OrderRow:
    """An order as it stood when it took a status: its lots change later, this row does not."""

    __slots__ = ("lots", "order", "orig_lots", "status", "time_ms")

    def __init__(self, order: Order, status: str, time_ms: int, lots: int, orig_lots: int) -> None:
        self.order = order
        self.status = status
        self.time_ms = time_ms
        self.lots = lots
        self.orig_lots = orig_lots

    def update(self) -> dict[str, Any]:
        """The object of the `orderUpdates` stream."""
        return {
            "order": basic_order(self.order, self.lots, self.orig_lots),
            "status": self.status,
            "statusTimestamp": self.time_ms,
        }

    def history(self) -> dict[str, Any]:
        """The object of `historicalOrders` and, inside its envelope, of `orderStatus`."""
        return {
            "order": frontend_order(self.order, self.lots, self.orig_lots),
            "status": self.status,
            "statusTimestamp": self.time_ms,
        }


def basic_order(order: Order, lots: int, orig_lots: int) -> dict[str, Any]:
    """The short order object: optional keys are absent, never null."""
    instrument = order.market.instrument
    row: dict[str, Any] = {
        "coin": instrument.name,
        "side": "B" if order.is_buy else "A",
        "limitPx": decimal_text(order.price, instrument.price_decimals),
        "sz": decimal_text(lots, instrument.sz_decimals),
        "oid": order.oid,
        "timestamp": order.timestamp,
        "origSz": decimal_text(orig_lots, instrument.sz_decimals),
    }
    if order.cloid is not None:
        row["cloid"] = order.cloid
    if order.reduce_only:
        row["reduceOnly"] = True
    return row


def frontend_order(order: Order, lots: int, orig_lots: int) -> dict[str, Any]:
    """The long order object: every key present, null where there is no value."""
    instrument, trigger = order.market.instrument, order.trigger
    kind = "Market" if order.tif == "FrontendMarket" else "Limit" if order.twap_id is None else "Twap Slice"
    waiting = [child for child in order.children if child.waits == "fill"]
    return {
        "coin": instrument.name,
        "side": "B" if order.is_buy else "A",
        "limitPx": decimal_text(order.price, instrument.price_decimals),
        "sz": decimal_text(lots, instrument.sz_decimals),
        "oid": order.oid,
        "timestamp": order.timestamp,
        "triggerCondition": "N/A" if trigger is None else trigger.condition(instrument.price_decimals),
        "isTrigger": trigger is not None,
        "triggerPx": "0.0" if trigger is None else decimal_text(trigger.price, instrument.price_decimals),
        "children": [frontend_order(child, child.lots, child.orig_lots) for child in waiting],
        "isPositionTpsl": order.is_position_tpsl,
        "reduceOnly": order.reduce_only,
        "orderType": kind if trigger is None else trigger.order_type,
        "origSz": decimal_text(orig_lots, instrument.sz_decimals),
        "tif": order.tif,
        "cloid": order.cloid,
    }


class Fill:
    """One side of one trade. Money is integer millionths of a dollar, sizes are lots, the price is in price units."""

    __slots__ = (
        "builder_fee",
        "closed_pnl",
        "crossed",
        "direction",
        "fee",
        "hash",
        "liquidation",
        "lots",
        "order",
        "price",
        "start_lots",
        "tid",
        "time_ms",
    )

    def __init__(
        self,
        order: Order,
        price: int,
        lots: int,
        time_ms: int,
        start_lots: int,
        direction: str,
        closed_pnl: int,
        hash_: str,
        crossed: bool,
        fee: int,
        builder_fee: int,
        tid: int,
        liquidation: LiquidationTerms | None = None,
    ) -> None:
        self.order = order
        self.price = price
        self.lots = lots
        self.time_ms = time_ms
        self.start_lots = start_lots
        self.direction = direction
        self.closed_pnl = closed_pnl
        self.hash = hash_
        self.crossed = crossed
        self.fee = fee
        self.builder_fee = builder_fee
        self.tid = tid
        self.liquidation = liquidation

    @property
    def fee_token(self) -> str:
        """The token that the fee is charged in."""
        return self.order.market.instrument.quote_name

    def start_text(self) -> str:
        """The signed position before the fill."""
        return decimal_text(self.start_lots, self.order.market.instrument.sz_decimals)

    def profit_text(self, units: int) -> str:
        """Realised profit as the venue prints it."""
        return usd_text(units)

    def fee_text(self, units: int) -> str:
        """A fee as the venue prints it."""
        return usd_text(units)

    def row(self) -> dict[str, Any]:
        """The fill object of `userFills` and of the streams."""
        order = self.order
        instrument = order.market.instrument
        row: dict[str, Any] = {
            "coin": instrument.name,
            "px": decimal_text(self.price, instrument.price_decimals),
            "sz": decimal_text(self.lots, instrument.sz_decimals),
            "side": "B" if order.is_buy else "A",
            "time": self.time_ms,
            "startPosition": self.start_text(),
            "dir": self.direction,
            "closedPnl": self.profit_text(self.closed_pnl),
            "hash": self.hash,
            "oid": order.oid,
            "crossed": self.crossed,
            "fee": self.fee_text(self.fee),
        }
        if self.builder_fee:
            row["builderFee"] = self.fee_text(self.builder_fee)
        row["tid"] = self.tid
        if order.cloid is not None:
            row["cloid"] = order.cloid
        if self.liquidation is not None:
            row["liquidation"] = self.liquidation.row()
        row["feeToken"] = self.fee_token
        row["twapId"] = order.twap_id
        return row


class Trade:
    """One public print."""

    __slots__ = ("buyer", "hash", "is_buy", "lots", "market", "price", "seller", "tid", "time_ms")

    def __init__(
        self,
        market: Market,
        is_buy: bool,
        price: int,
        lots: int,
        time_ms: int,
        hash_: str,
        tid: int,
        buyer: str,
        seller: str,
    ) -> None:
        self.market = market
        self.is_buy = is_buy
        self.price = price
        self.lots = lots
        self.time_ms = time_ms
        self.hash = hash_
        self.tid = tid
        self.buyer = buyer
        self.seller = seller

    def row(self) -> dict[str, Any]:
        """The trade object; `side` is the aggressor's."""
        instrument = self.market.instrument
        return {
            "coin": instrument.name,
            "side": "B" if self.is_buy else "A",
            "px": decimal_text(self.price, instrument.price_decimals),
            "sz": decimal_text(self.lots, instrument.sz_decimals),
            "time": self.time_ms,
            "hash": self.hash,
            "tid": self.tid,
            "users": [self.buyer, self.seller],
        }
