"""The venue's order rows as the framework's reports: whose order it is, what state, what was filled."""

from __future__ import annotations

from latentspeed.connectors.client_order_id import format_client_order_id
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.hyperliquid.fills import side_of
from latentspeed.connectors.hyperliquid.messages import OrderRow
from latentspeed.connectors.hyperliquid.statuses import order_state
from latentspeed.connectors.hyperliquid.wire import decode_cloid
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderState, OrderType, PositionAction, ReportSource, TimeInForce

_ID_LIMIT = 1 << 63


def own_order_id(cloid: str | None, engine_instance: int) -> str | None:
    """The client order id in a cloid of this engine; None for every other order of the account."""
    parts = decode_cloid(cloid)
    if parts is None or parts.engine_instance != engine_instance or not 0 < parts.order_id < _ID_LIMIT:
        return None
    return format_client_order_id(parts.order_id)


def order_update(
    row: OrderRow,
    status: str,
    time_ms: int,
    client_order_id: str,
    rule: TradingRule,
    source: ReportSource,
) -> OrderUpdate:
    """The report that a row with a status makes; state UNKNOWN for a status that says nothing.

    What was filled is the original size less what remains, except where the venue may shrink an order: one that only
    reduces follows the position.
    """
    state = order_state(status)
    filled_lots: int | None = None
    if row.origSz and (state is OrderState.FILLED or not row.reduceOnly) and state is not OrderState.FAILED:
        try:
            filled_lots = rule.lots_from_text(row.origSz) - rule.lots_from_text(row.sz)
        except ValueError:
            filled_lots = None
    return OrderUpdate(
        client_order_id,
        str(row.oid),
        state,
        status if state.is_final and state is not OrderState.FILLED else "",
        venue_utc_ns=time_ms * 1_000_000,
        source=source,
        filled_lots=filled_lots,
    )


def adopted_order(row: OrderRow, client_order_id: str, rule: TradingRule) -> InFlightOrder:
    """An order of this engine that the venue has and nobody here remembers, from the venue's own description.

    Raises:
        ValueError: A number of the row cannot be read.
    """
    parts = decode_cloid(row.cloid)
    # One that was triggered keeps its kind and its trigger price, and is none that waits for a trigger any more.
    is_market = row.orderType in ("Market", "Stop Market", "Take Profit Market") or row.tif == "FrontendMarket"
    order = InFlightOrder(
        client_order_id,
        rule,
        side_of(row.side),
        _order_type(row, is_market),
        rule.lots_from_text(row.origSz or row.sz),
        0 if is_market else rule.units_from_text(row.limitPx),
        position_action=PositionAction.CLOSE if row.reduceOnly else PositionAction.NIL,
        time_in_force=TimeInForce.IOC if row.tif in ("Ioc", "FrontendMarket") else TimeInForce.GTC,
        trigger_units=rule.units_from_text(row.triggerPx),
        has_open_size=row.isPositionTpsl,
        strategy_tag=parts.strategy_tag if parts is not None else 0,
    )
    order.is_submitted = order.is_adopted = True
    return order


def _order_type(row: OrderRow, is_market: bool) -> OrderType:
    if row.orderType.startswith("Take Profit"):
        return OrderType.TAKE_PROFIT_MARKET if is_market else OrderType.TAKE_PROFIT_LIMIT
    if row.isTrigger or row.orderType.startswith("Stop"):
        return OrderType.STOP_MARKET if is_market else OrderType.STOP_LIMIT
    if is_market:
        return OrderType.MARKET
    return OrderType.LIMIT_MAKER if row.tif == "Alo" else OrderType.LIMIT
