"""An order of an earlier process, made again from what that process published of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from latentspeed.connectors.in_flight_order import FINAL_EVIDENCE, InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderState, OrderType, PositionAction, TimeInForce, TradeType


def restore_order(
    client_order_id: str,
    rule: TradingRule,
    trade_type: TradeType,
    order_type: OrderType,
    amount_lots: int,
    price_units: int = 0,
    *,
    state: OrderState,
    position_action: PositionAction = PositionAction.NIL,
    time_in_force: TimeInForce = TimeInForce.GTC,
    exchange_order_id: str | None = None,
    reason: str = "",
    filled_lots: int = 0,
    notional_units: int | None = None,
    average_price: float | None = None,
    fee_units: int = 0,
    fee_asset: str = "",
    fill_count: int = 0,
    trade_ids: Iterable[str] = (),
    expected_filled_lots: int = 0,
    revision: int = 0,
    nonce: int = 0,
    venue_expiry_ms: int = 0,
    leverage: int | None = None,
    trigger_units: int = 0,
    extra_params: Mapping[str, object] | None = None,
    strategy_tag: int = 0,
    expire_mono_ns: int = 0,
    replaces: str = "",
    parent: str = "",
    has_open_size: bool = False,
    last_update_utc_ns: int = 0,
    created_mono_ns: int = 0,
) -> InFlightOrder:
    """An order of an earlier process, from what that process published of it.

    `notional_units` is taken from `average_price` where it was not kept. The state is derived anew: a row that says
    FILLED with fills missing comes back as live and awaiting fills, for the venue to settle.
    """
    order = InFlightOrder(
        client_order_id,
        rule,
        trade_type,
        order_type,
        amount_lots,
        price_units,
        position_action=position_action,
        time_in_force=time_in_force,
        leverage=leverage,
        trigger_units=trigger_units,
        extra_params=extra_params,
        strategy_tag=strategy_tag,
        expire_mono_ns=expire_mono_ns,
        replaces=replaces,
        parent=parent,
        has_open_size=has_open_size,
    )
    if notional_units is None:
        average = Fraction(repr(float(average_price or 0.0)))
        notional_units = round(average / Fraction(rule.tick_size) * filled_lots)
    order.nonce = nonce
    order.venue_expiry_ms = venue_expiry_ms
    if exchange_order_id:
        order.add_exchange_id(exchange_order_id)
    accepted = state in (OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.FILLED, OrderState.CANCELLED)
    order.is_submitted = state not in (OrderState.UNKNOWN, OrderState.PENDING_CREATE)
    # Only for a requested cancel does the id decide: venues number rejected orders too.
    named = state is OrderState.PENDING_CANCEL and exchange_order_id is not None
    order.is_acknowledged = accepted or named or filled_lots > 0
    order.has_created_event = order.is_acknowledged
    order.cancel_requested = state is OrderState.PENDING_CANCEL
    if state in FINAL_EVIDENCE:
        order.final_evidence = state
        order.final_reason = reason
    order.filled_lots = filled_lots
    order.notional_units = notional_units
    if fee_asset or fee_units:
        order.fees[fee_asset] = fee_units
    order.fill_count = fill_count
    order.trade_ids.update(trade_ids)
    order.is_said_filled = state is OrderState.FILLED
    order.expected_filled_lots = amount_lots if state is OrderState.FILLED else expected_filled_lots
    order.revision = revision
    order.last_update_utc_ns = last_update_utc_ns
    order.is_restored = True
    order.created_mono_ns = created_mono_ns
    order.state = order.derived_state()
    return order
