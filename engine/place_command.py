"""A place command, checked: from bytes that another process wrote to what the connector is asked for.

Nothing here is believed: an id counts only with its session's incarnation and slot and above every id that its row has
held, an enum only when it has that member, text only when it is JSON. Prices and amounts are the connector's to check.
"""

from __future__ import annotations

from time import monotonic_ns

import orjson

from latentspeed.connectors import OrderParams, OrderType, PositionAction, TimeInForce
from latentspeed.engine.live_session import LiveSession
from latentspeed.engine.order_rows import OrderContext, OrderRows
from latentspeed.engine.records import Command

# How long a place that names no time of its own may wait for its signature.
PLACE_LIFETIME_NS = 2_000_000_000


class CommandRefused(Exception):
    """A command that cannot be carried out; the text is its disposition's reason."""


def is_fresh_id(live: LiveSession, rows: OrderRows, client_order_id: int) -> bool:
    """Whether an id is one that this session may use: its own, and never used before."""
    return live.made(client_order_id) and rows.holder(rows.row_of(client_order_id))[0] < client_order_id


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
