"""An order as a fake gateway knows it, and the event that tells what its row says."""

from __future__ import annotations

from support.fake_market import RULES

from latentspeed.connectors.types import OrderState
from latentspeed.engine import records
from latentspeed.engine.records import OrderEventKind


class FakeOrder:
    """An order as the fake gateway knows it, with the totals that a row carries."""

    def __init__(self, command: records.Command, slot: int, incarnation_row: int) -> None:
        self.id64 = command.client_order_id
        self.command = command
        self.slot = slot
        self.row = incarnation_row
        self.rule = list(RULES.values())[command.instrument]
        self.record = records.Order()
        units = self.rule.price_units(command.price) if command.price else 0
        self.record.set(
            client_order_id=command.client_order_id,
            command_index=command.command_index,
            generation=command.generation,
            instrument=command.instrument,
            trading_pair=self.rule.trading_pair,
            trade_type=command.trade_type,
            order_type=command.order_type,
            position_action=command.position_action,
            time_in_force=command.time_in_force,
            order_price=command.price,
            order_amount=command.amount,
            order_price_units=units,
            order_amount_lots=self.rule.amount_lots(command.amount),
            state=OrderState.PENDING_CREATE,
            command_written_mono_ns=command.written_mono_ns,
        )


def event_of(record: records.Order, kind: OrderEventKind, trade: dict[str, object] | None = None) -> records.OrderEvent:
    """The event that tells what a row says."""
    names = set(records.OrderEvent.dtype.names)
    fields = {name: value for name, value in record.as_dict().items() if name in names}
    return records.OrderEvent(**fields, event=kind, **(trade or {}))
