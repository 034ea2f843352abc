"""What the indexer says of orders, fills, positions and subaccounts: its JSON rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

from latentspeed.tools.venues.dydx_v4.accounts import Position, Subaccount
from latentspeed.tools.venues.dydx_v4.markets import PPM, Market, decimal_text, ppm_text, quote_text
from latentspeed.tools.venues.dydx_v4.orders import (
    Block,
    Condition,
    Fill,
    Flags,
    Order,
    OrderKey,
    TimeInForce,
    Transfer,
)

NAMESPACE: Final = UUID("0f9da948-a6fb-4c45-9edc-4685c3f3317d")
_TYPES: Final = {Condition.STOP_LOSS: "STOP_LIMIT", Condition.TAKE_PROFIT: "TAKE_PROFIT"}

Row = dict[str, Any]


def iso(time_ms: int) -> str:
    """Milliseconds since the epoch as the indexer writes a time."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def subaccount_uuid(owner: str, number: int) -> str:
    """The indexer's id of a subaccount."""
    return str(uuid5(NAMESPACE, f"{owner}-{number}"))


def order_uuid(key: OrderKey) -> str:
    """The indexer's id of an order."""
    subaccount = subaccount_uuid(key.owner, key.number)
    # A slice has the id of its TWAP.
    flags = Flags.TWAP if key.flags == Flags.TWAP_SLICE else key.flags
    return str(uuid5(NAMESPACE, f"{subaccount}-{key.client_id}-{key.clob_pair_id}-{int(flags)}"))


def names_row(key: OrderKey, ticker: str) -> Row:
    """What is known of an order that only its id names."""
    return {
        "id": order_uuid(key),
        "subaccountId": subaccount_uuid(key.owner, key.number),
        "clientId": str(key.client_id),
        "clobPairId": str(key.clob_pair_id),
        "orderFlags": str(key.flags),
        "ticker": ticker,
    }


def order_row(order: Order, status: str) -> Row:
    """An order as the channel of its subaccount shows it."""
    market = order.market
    row = {
        **names_row(order.key, market.ticker),
        "side": "BUY" if order.is_buy else "SELL",
        "size": market.size_text(order.quantums),
        "price": market.price_text(order.price),
        "type": _TYPES.get(order.condition, "LIMIT"),
        "status": status,
        "timeInForce": "IOC" if order.time_in_force is TimeInForce.IOC else "GTT",
        "postOnly": order.time_in_force is TimeInForce.POST_ONLY,
        "reduceOnly": order.reduce_only,
        "clientMetadata": str(order.client_metadata),
    }
    if order.key.flags == Flags.SHORT_TERM:
        row["goodTilBlock"] = str(order.good_til_block)
    else:
        row["goodTilBlockTime"] = iso(order.good_til_time * 1000)
    if order.key.flags == Flags.TWAP:
        parameters = order.fields["twap_parameters"]
        row |= {
            "type": "TWAP",
            "duration": str(parameters["duration"]),
            "interval": str(parameters["interval"]),
            "priceTolerance": str(parameters["price_tolerance"]),
        }
        if order.confirmed:
            # What its slices have paid on average.
            exact = Decimal(order.filled_value) / order.confirmed
            row["price"] = decimal_text(exact.scaleb(-market.price_exponent).quantize(Decimal(1).scaleb(-18)))
    if order.condition is not Condition.UNSPECIFIED:
        row["triggerPrice"] = market.price_text(order.trigger_subticks)
    return row


def confirmed(order: Order, status: str, height: int, time_ms: int) -> Row:
    """An order as a block has left it."""
    lifetimes = {"goodTilBlock": None, "goodTilBlockTime": None, "triggerPrice": None}
    return {
        **lifetimes,
        **order_row(order, status),
        "totalFilled": order.market.size_text(order.confirmed),
        "createdAtHeight": str(order.created_height or height),
        "updatedAt": iso(time_ms),
        "updatedAtHeight": str(height),
        "orderRouterAddress": order.router,
        "subaccountNumber": order.key.number,
    }


def _fill_type(order: Order) -> str:
    return "TWAP_SUBORDER" if order.key.flags == Flags.TWAP_SLICE else "LIMIT"


def fill_update(fill: Fill, order: Order, *, is_taker: bool, height: int, time_ms: int) -> Row:
    """One side of a fill, as the channel of its subaccount tells it."""
    match, market = fill.match, order.market
    liquidity = "TAKER" if is_taker else "MAKER"
    return {
        "id": str(uuid5(NAMESPACE, f"{fill.event_id}-{liquidity}")),
        "subaccountId": subaccount_uuid(order.key.owner, order.key.number),
        "side": "BUY" if order.is_buy else "SELL",
        "liquidity": liquidity,
        "type": _fill_type(order),
        "clobPairId": str(market.terms.clob_pair_id),
        "ticker": market.ticker,
        "price": market.price_text(match.subticks),
        "size": market.size_text(match.quantums),
        "quoteAmount": quote_text(market.quote_quantums(match.quantums, match.subticks)),
        "fee": quote_text(fill.taker_fee if is_taker else fill.maker_fee),
        "eventId": fill.event_id,
        # All matches of a block travel in one transaction of its proposer.
        "transactionHash": sha256(f"{height}-{fill.event_id[:16]}".encode()).hexdigest().upper(),
        "createdAt": iso(time_ms),
        "createdAtHeight": str(height),
        "orderId": order_uuid(order.key),
        "clientMetadata": str(order.client_metadata),
    }


def fill_row(told: Row, number: int) -> Row:
    """A fill that was told, as REST shows it."""
    names = ("id", "side", "liquidity", "type", "price", "size", "fee", "createdAt", "createdAtHeight", "orderId")
    return {
        **{name: told[name] for name in names},
        "market": told["ticker"],
        "marketType": "PERPETUAL",
        "affiliateRevShare": "0",
        "clientMetadata": told["clientMetadata"],
        "subaccountNumber": number,
    }


def trade_row(fill: Fill, market: Market, time_ms: int, height: int) -> Row:
    """A fill as everybody sees it."""
    match = fill.match
    return {
        "id": fill.event_id,
        "side": "BUY" if match.taker.is_buy else "SELL",
        "size": market.size_text(match.quantums),
        "price": market.price_text(match.subticks),
        "type": _fill_type(match.taker),
        "createdAt": iso(time_ms),
        "createdAtHeight": str(height),
    }


def transfer_row(transfer: Transfer, height: int, time_ms: int, *, is_sender: bool) -> Row:
    """Money that moved, as one side of it sees it."""

    def party(side: tuple[str, int | None]) -> Row:
        owner, number = side
        return {"address": owner} if number is None else {"address": owner, "subaccountNumber": number}

    if transfer.sender[1] is None:
        kind = "DEPOSIT"
    elif transfer.recipient[1] is None:
        kind = "WITHDRAWAL"
    else:
        kind = "TRANSFER_OUT" if is_sender else "TRANSFER_IN"
    return {
        "id": str(uuid5(NAMESPACE, f"{transfer.event_id}-transfer")),
        "sender": party(transfer.sender),
        "recipient": party(transfer.recipient),
        "symbol": "USDC",
        "size": quote_text(transfer.quantums),
        "type": kind,
        "createdAt": iso(time_ms),
        "createdAtHeight": str(height),
        "transactionHash": transfer.transaction_hash,
    }


@dataclass(slots=True)
class SubaccountView:
    """A subaccount as the indexer has last heard of it."""

    owner: str
    number: int
    quote: int
    positions: dict[str, Position]
    height: int

    @classmethod
    def of(cls, subaccount: Subaccount, height: int) -> SubaccountView:
        """A copy of what the chain holds."""
        positions = {ticker: replace(position) for ticker, position in subaccount.positions.items()}
        return cls(subaccount.owner, subaccount.number, subaccount.quote, positions, height)


def position_row(market: Market, position: Position, number: int, *, status: str = "OPEN", closed_ms: int = 0) -> Row:
    """A position; sizes are negative when short, prices are averages."""
    quantums, scale = position.quantums, Decimal(10) ** market.terms.atomic_resolution
    size = Decimal(abs(quantums)) * scale
    entered = abs(position.entry_quote)
    closed = Decimal(position.sum_close) * scale
    oracle = market.value_at_oracle(quantums)
    return {
        "market": market.ticker,
        "status": status,
        "side": "SHORT" if quantums < 0 or (not quantums and position.max_quantums < 0) else "LONG",
        "size": market.size_text(quantums),
        "maxSize": market.size_text(position.max_quantums),
        "entryPrice": _price(entered, size) if quantums else _price(position.exit_quote - position.realized, closed),
        "exitPrice": _price(position.exit_quote, closed) if closed else None,
        "realizedPnl": quote_text(position.realized + position.net_funding),
        "unrealizedPnl": quote_text(oracle - position.entry_quote),
        "createdAt": iso(position.opened_ms),
        "createdAtHeight": str(position.opened_height),
        "closedAt": iso(closed_ms) if closed_ms else None,
        "sumOpen": market.size_text(position.sum_open),
        "sumClose": market.size_text(position.sum_close),
        "netFunding": quote_text(position.net_funding),
        "subaccountNumber": number,
    }


def _price(quote_quantums: int, size: Decimal) -> str:
    if not size:
        return "0"
    exact = abs(Decimal(quote_quantums)).scaleb(-6) / size
    return decimal_text(exact.quantize(Decimal(1).scaleb(-18)))


def position_update(
    market: Market, position: Position, view: SubaccountView, *, status: str, closed_ms: int = 0
) -> Row:
    """A position as the channel of its subaccount tells of a change."""
    opened = f"{subaccount_uuid(view.owner, view.number)}-{position.opened_event}"
    return {
        "address": view.owner,
        "positionId": str(uuid5(NAMESPACE, opened)),
        **position_row(market, position, view.number, status=status, closed_ms=closed_ms),
    }


def asset_update(view: SubaccountView) -> Row:
    """The dollars of a subaccount, as its channel tells of a change."""
    position = uuid5(NAMESPACE, f"{subaccount_uuid(view.owner, view.number)}-0")
    return {"address": view.owner, "positionId": str(position), **asset_row(view)}


def asset_row(view: SubaccountView) -> Row:
    """The dollars of a subaccount."""
    return {
        "size": quote_text(abs(view.quote)),
        "symbol": "USDC",
        "side": "LONG" if view.quote >= 0 else "SHORT",
        "assetId": "0",
        "subaccountNumber": view.number,
    }


def subaccount_row(view: SubaccountView, markets: dict[str, Market], height: int) -> Row:
    """A subaccount with what it is worth now."""
    equity = view.quote + sum(
        markets[ticker].value_at_oracle(position.quantums)
        - markets[ticker].funding_owed(position.quantums, position.funding_index)
        for ticker, position in view.positions.items()
    )
    initial = sum(
        -(-abs(markets[ticker].value_at_oracle(position.quantums)) * markets[ticker].terms.initial_ppm // 10**6)
        for ticker, position in view.positions.items()
    )
    return {
        "address": view.owner,
        "subaccountNumber": view.number,
        "equity": quote_text(equity),
        "freeCollateral": quote_text(equity - initial),
        "openPerpetualPositions": {
            ticker: position_row(markets[ticker], position, view.number) for ticker, position in view.positions.items()
        },
        "assetPositions": {"USDC": asset_row(view)} if view.quote else {},
        "marginEnabled": True,
        "updatedAtHeight": str(view.height),
        "latestProcessedBlockHeight": str(height),
    }


def funding_row(market: Market, rate_ppm: int, height: int, time_ms: int) -> Row:
    """A rate of one hour that was due."""
    return {
        "ticker": market.ticker,
        "rate": ppm_text(rate_ppm),
        "price": market.price_text(market.oracle_subticks),
        "effectiveAt": iso(time_ms),
        "effectiveAtHeight": str(height),
    }


def payment_row(market: Market, position: Position, rate_ppm: int, block: Block, number: int) -> Row:
    """What a position paid, below zero, or was paid at a funding: minus size times price times rate."""
    index = market.funding_index
    paid = Decimal(-market.value_at_oracle(position.quantums) * rate_ppm) / PPM
    return {
        "createdAt": iso(block.time_ms),
        "createdAtHeight": str(block.height),
        "perpetualId": str(market.terms.clob_pair_id),
        "ticker": market.ticker,
        "oraclePrice": market.price_text(market.oracle_subticks),
        "size": market.size_text(position.quantums),
        "side": "SHORT" if position.quantums < 0 else "LONG",
        "rate": ppm_text(rate_ppm),
        "payment": decimal_text(paid.scaleb(-6)),
        "subaccountNumber": str(number),
        "fundingIndex": decimal_text(Decimal(index.numerator) / Decimal(index.denominator)),
    }


def trading_row(market: Market) -> Row:
    """What trades change of a market's row, as the channel of markets tells it from time to time."""
    return {
        "volume24H": quote_text(market.volume_quote),
        "trades24H": market.trades,
        "openInterest": market.size_text(market.open_interest),
    }


def market_row(market: Market) -> Row:
    """A market's terms and its present state."""
    terms = market.terms
    tick = decimal_text(Decimal(terms.subticks_per_tick).scaleb(-market.price_exponent))
    step = decimal_text(Decimal(terms.step_quantums).scaleb(terms.atomic_resolution))
    return {
        "clobPairId": str(terms.clob_pair_id),
        "ticker": terms.ticker,
        "status": terms.status,
        "oraclePrice": market.price_text(market.oracle_subticks) if market.oracle_subticks else None,
        "priceChange24H": "0",
        "volume24H": quote_text(market.volume_quote),
        "trades24H": market.trades,
        "nextFundingRate": ppm_text(market.funding_rate_ppm),
        "initialMarginFraction": ppm_text(terms.initial_ppm),
        "maintenanceMarginFraction": ppm_text(terms.maintenance_ppm),
        "openInterest": market.size_text(market.open_interest),
        "atomicResolution": terms.atomic_resolution,
        "quantumConversionExponent": terms.conversion_exponent,
        "tickSize": tick,
        "stepSize": step,
        "stepBaseQuantums": terms.step_quantums,
        "subticksPerTick": terms.subticks_per_tick,
        "marketType": "ISOLATED" if terms.is_isolated else "CROSS",
        "openInterestLowerCap": str(terms.lower_cap),
        "openInterestUpperCap": str(terms.upper_cap),
        "baseOpenInterest": market.size_text(market.open_interest),
        "defaultFundingRate1H": "0",
    }
