"""What rows of orders and fills say about our orders.

| the indexer says | this connector makes of it |
|---|---|
| BEST_EFFORT_OPENED, OPEN, UNTRIGGERED | OPEN |
| FILLED, or totalFilled | so much was filled; the fills themselves count |
| BEST_EFFORT_CANCELED | nothing yet: the order may still fill until its last block |
| CANCELED | the end, by its reason |
"""

from __future__ import annotations

from collections.abc import Mapping

from latentspeed.connectors.dydx_v4.messages import FillRow, OrderRow, time_ns
from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule, decimal_units
from latentspeed.connectors.types import OrderState, OrderType, ReportSource, TimeInForce, TradeType

LIVE = frozenset({"BEST_EFFORT_OPENED", "OPEN", "UNTRIGGERED"})
BEST_EFFORT_CANCELED = "BEST_EFFORT_CANCELED"
REPLACED = "REPLACED"
PASSED = frozenset({"EXPIRED", "INDEXER_EXPIRED"})
EXPIRED = PASSED | {"IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK"}
FAILED = frozenset(
    {
        "UNDERCOLLATERALIZED",
        "INTERNAL_ERROR",
        "SELF_TRADE_ERROR",
        "POST_ONLY_WOULD_CROSS_MAKER_ORDER",
        "EQUITY_TIER",
        "VIOLATES_ISOLATED_SUBACCOUNT_CONSTRAINTS",
    }
)
FEE_DECIMALS = 8


def order_update(
    row: OrderRow, order: InFlightOrder, source: ReportSource, removed_for: str = ""
) -> OrderUpdate | None:
    """The report that a row makes about one of our orders; None when it proves nothing.

    `removed_for` is why a node has dropped the order before. The end of a cancelled one is told as the passing of its
    last block.

    Raises:
        ValueError: A number that is no number of the market.
    """
    filled_lots = order.rule.lots_from_text(row.total_filled) if row.total_filled else None
    venue_utc_ns = time_ns(row.updated_at) if row.updated_at else 0
    reason = removal_of(row)
    if row.status in LIVE:
        state, reason = OrderState.OPEN, ""
    elif row.status == "FILLED":
        state = OrderState.FILLED
    elif row.status == "CANCELED":
        reason = reason or _reason_of_end(order, row)
        if removed_for and reason in PASSED:
            reason = removed_for
        state = ended(order, reason, filled_lots or 0)
    elif row.status == BEST_EFFORT_CANCELED and filled_lots:
        state, reason = OrderState.OPEN, ""  # It has filled, so it was accepted; that it is gone is not certain.
    else:
        return None
    return OrderUpdate(order.client_order_id, row.id, state, reason, venue_utc_ns, source, filled_lots)


def removal_of(row: OrderRow) -> str:
    """Why an order left the book, without the prefix that newer indexers write; empty when the row does not say."""
    return row.removal_reason.removeprefix("ORDER_REMOVAL_REASON_")


def ended(order: InFlightOrder, reason: str, filled_lots: int) -> OrderState:
    """How an order ends that is gone without being filled wholly."""
    is_filled = filled_lots > 0 or order.filled_lots > 0
    if reason in FAILED and not is_filled:
        return OrderState.FAILED
    if reason in EXPIRED and not order.cancel_requested and not (is_filled and is_immediate(order)):
        return OrderState.EXPIRED
    return OrderState.CANCELLED


def _reason_of_end(order: InFlightOrder, row: OrderRow) -> str:
    """Why an order ended whose record does not say it: REST's never does."""
    if order.cancel_requested:
        return "USER_CANCELED"
    if row.good_til_block_time and row.updated_at and time_ns(row.updated_at) >= time_ns(row.good_til_block_time):
        return "EXPIRED"
    return ""


def is_immediate(order: InFlightOrder) -> bool:
    """Whether an order never rests."""
    is_priced = order.order_type.has_price or order.order_type is OrderType.TWAP
    return order.time_in_force is TimeInForce.IOC or not is_priced


def trade_update(
    row: FillRow, order: InFlightOrder | None, rules: Mapping[str, TradingRule], source: ReportSource
) -> TradeUpdate:
    """A fill; `order` is None for one of an order that nobody here made.

    Raises:
        ValueError: A market that is not known, or a number that is no number of it.
    """
    rule = order.rule if order is not None else rules.get(row.pair)
    if rule is None:
        raise ValueError(f"a fill of {row.pair!r}, which is no known market")
    price_units, amount_lots = rule.units_from_text(row.price), rule.lots_from_text(row.size)
    fee_units = decimal_units(row.fee, FEE_DECIMALS, exact=False)
    return TradeUpdate(
        trade_id=row.id,
        client_order_id=order.client_order_id if order is not None else None,
        exchange_order_id=row.order_id,
        trading_pair=rule.trading_pair,
        trade_type=TradeType.BUY if row.side == "BUY" else TradeType.SELL,
        price=rule.price_from_units(price_units),
        amount=rule.amount_from_lots(amount_lots),
        price_units=price_units,
        amount_lots=amount_lots,
        fee=fee_units / 10**FEE_DECIMALS,
        fee_units=fee_units,
        fee_asset=rule.quote_asset,
        is_taker=row.liquidity == "TAKER",
        venue_utc_ns=time_ns(row.created_at),
        source=source,
    )
