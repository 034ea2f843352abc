"""A place command, checked: from bytes that another process wrote to what the connector is asked for.

Nothing here is believed: an id counts only with its session's incarnation and slot and above every id that its row has
held, an enum only when it has that member, text only when it is JSON. Prices and amounts are the connector's to check.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING

import orjson

from latentspeed.connectors import (
    ExitParams,
    InFlightOrder,
    OrderParams,
    OrderType,
    PerpetualDerivativeBase,
    PositionAction,
    TimeInForce,
    TradeType,
    format_client_order_id,
)
from latentspeed.engine.live_session import LiveSession
from latentspeed.engine.order_rows import OrderContext, OrderRows
from latentspeed.engine.records import Command, CommandKind

if TYPE_CHECKING:
    from latentspeed.connectors import ConnectorBase

_EXIT_TYPES = {
    (True, True): OrderType.TAKE_PROFIT_LIMIT,
    (True, False): OrderType.TAKE_PROFIT_MARKET,
    (False, True): OrderType.STOP_LIMIT,
    (False, False): OrderType.STOP_MARKET,
}
# How long a place that names no time of its own may wait for its signature.
PLACE_LIFETIME_NS = 2_000_000_000


class CommandRefused(Exception):
    """A command that cannot be carried out; the text is its disposition's reason."""


def is_fresh_id(live: LiveSession, rows: OrderRows, client_order_id: int) -> bool:
    """Whether an id is one that this session may use: its own, and never used before."""
    return live.made(client_order_id) and rows.holder(rows.row_of(client_order_id))[0] < client_order_id


def place_legs(command: Command) -> list[Command]:
    """The orders that a command makes, each as a place: one of a PLACE or MODIFY, up to three of a BRACKET."""
    if command.kind != CommandKind.BRACKET:
        return [command]
    legs = [command] if command.order_type else []
    exits = (
        (command.take_profit_order_id, command.take_profit_trigger, command.take_profit_price, True),
        (command.stop_loss_order_id, command.stop_loss_trigger, command.stop_loss_price, False),
    )
    for order_id, trigger_price, price, is_take_profit in exits:
        if not order_id:
            continue
        leg = command.copy()
        leg.client_order_id = order_id
        leg.trade_type = TradeType.SELL if command.trade_type == TradeType.BUY else TradeType.BUY
        leg.order_type = _EXIT_TYPES[is_take_profit, bool(price)]
        leg.position_action = PositionAction.CLOSE
        leg.trigger_price, leg.price = trigger_price, price
        legs.append(leg)
    return legs


def make_orders(
    connector: ConnectorBase,
    legs: Sequence[Command],
    old: InFlightOrder | None,
    trading_pair: str,
    tag: int,
    expire_mono_ns: int,
) -> list[InFlightOrder]:
    """The checked orders of a command, not tracked yet; `old` is the one that a MODIFY replaces.

    Raises CommandRefused, ConnectorError and ValueError for what no order can be.
    """
    first = legs[0]
    names = [format_client_order_id(leg.client_order_id) for leg in legs]
    common = {"strategy_tag": tag, "expire_mono_ns": expire_mono_ns}
    if first.kind == CommandKind.PLACE:
        params = order_params(first, trading_pair)
        side = TradeType(first.trade_type)
        return [connector.create_order(side, params, client_order_id=names[0], **common)]
    if old is not None:
        return [connector.create_replacement(old, first.price, first.amount, client_order_id=names[0], **common)]
    exits = {
        OrderType(leg.order_type).is_take_profit: ExitParams(leg.trigger_price, leg.price or None)
        for leg in legs
        if OrderType(leg.order_type).has_trigger
    }
    side = TradeType(first.trade_type)
    if OrderType(first.order_type).has_trigger:
        if not isinstance(connector, PerpetualDerivativeBase):
            raise CommandRefused(f"{connector.name} has no positions")
        opened_by = TradeType.SELL if side is TradeType.BUY else TradeType.BUY
        return connector.create_position_exits(
            opened_by, trading_pair, first.amount, exits.get(True), exits.get(False), client_order_ids=names, **common
        )
    entry = order_params(first, trading_pair)
    return connector.create_bracket(side, entry, exits.get(True), exits.get(False), client_order_ids=names, **common)


def new_context(live: LiveSession, rows: OrderRows, command: Command) -> OrderContext:
    """What is to be remembered of a place; `row` is -1 where an unfinished order stands in its row.

    Raises CommandRefused for an id that is not this session's, or was used before.
    """
    client_order_id = command.client_order_id
    if not live.made(client_order_id):
        raise CommandRefused(f"client order id {client_order_id} is not of this session")
    row = rows.row_of(client_order_id)
    holder, is_unfinished = rows.holder(row)
    if holder >= client_order_id:
        raise CommandRefused(f"client order id {client_order_id} was used before: its row has held {holder}")
    return OrderContext(
        client_order_id=client_order_id,
        slot=live.slot,
        row=-1 if is_unfinished else row,
        generation=live.generation,
        instrument=command.instrument,
        command_index=command.command_index,
        written_mono_ns=command.written_mono_ns,
        read_mono_ns=monotonic_ns(),
    )


def order_params(command: Command, trading_pair: str) -> OrderParams:
    """The order that a place asks for. Raises CommandRefused and ValueError for what no order can be."""
    order_type = OrderType(command.order_type)
    extra = None
    if command.extra_params:
        extra = orjson.loads(command.extra_params)
        if not isinstance(extra, dict):
            raise CommandRefused("extra_params is not a JSON object")
    return OrderParams(
        trading_pair,
        command.amount,
        command.price if order_type.has_price else None,
        order_type,
        PositionAction(command.position_action),
        command.leverage or None,
        command.trigger_price or None,
        TimeInForce(command.time_in_force),
        extra,
    )
