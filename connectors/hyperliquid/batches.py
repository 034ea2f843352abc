"""Orders that wait to be sent, and which of them may share one signed action.

    plain orders      with others of their kind: post-only ones apart from those that may take, because the venue lets
                      actions that only post go first within a block
    replacements      with other replacements, in one batchModify
    groups            an entry with its exits, or a position's exits: exactly these, once all are here
    TWAPs             alone, as an action has one

An order that is to expire soon does not share with longer-lived ones, whose expiry would be cut short.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.hyperliquid.answers import NEVER_SENT
from latentspeed.connectors.hyperliquid.order_forms import OrderForms
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.types import OrderState, OrderType

SHARED_LIFE_MS = 1_000
"""An order that is to expire sooner than this does not share a request with longer-lived ones."""


class ActionKind(Enum):
    """What a batch becomes."""

    POST = auto()
    TAKE = auto()
    REPLACE = auto()
    WITH_EXITS = auto()
    POSITION_EXITS = auto()
    TWAP = auto()


_GROUPINGS = {ActionKind.WITH_EXITS: wire.WITH_EXITS, ActionKind.POSITION_EXITS: wire.POSITION_EXITS}


@dataclass(slots=True)
class Batch:
    """Orders of one action with their wire forms, and for how long the venue may take it."""

    kind: ActionKind
    life_ms: int
    orders: list[InFlightOrder] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)

    def action(self, builder: dict[str, str | int] | None = None) -> wire.Action:
        """The action, not signed; `builder` is paid on new orders, see `wire.order_action`."""
        if self.kind is ActionKind.REPLACE:
            return wire.modify_action(list(zip(self.replaced, self.entries, strict=True)))
        if self.kind is ActionKind.TWAP:
            return wire.twap_order_action(self.entries[0])
        return wire.order_action(self.entries, _GROUPINGS.get(self.kind, wire.UNGROUPED), builder)

    def keep(self, marks: Iterable[bool]) -> Batch:
        """The part of the batch that is marked."""
        left = Batch(self.kind, self.life_ms)
        for index, mark in enumerate(marks):
            if mark:
                left.orders.append(self.orders[index])
                left.entries.append(self.entries[index])
                left.replaced.extend(self.replaced[index : index + 1])
        return left


class WaitingPlaces:
    """The orders that were not signed yet, oldest first."""

    def __init__(
        self,
        tracker: ClientOrderTracker,
        forms: OrderForms,
        never_sent: Callable[[InFlightOrder, OrderState, str], None],
        *,
        life_ms: int,
    ) -> None:
        """Holds nothing yet.

        Args:
            tracker: Whose orders these are.
            forms: Makes the wire forms of orders.
            never_sent: Ends an order that the venue will never see.
            life_ms: For how long the venue may take an order that names no time of its own.
        """
        self._tracker = tracker
        self._forms = forms
        self._never_sent = never_sent
        self._life_ms = life_ms
        self._orders: dict[str, InFlightOrder] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def add(self, order: InFlightOrder) -> None:
        """Takes an order."""
        self._orders[order.client_order_id] = order

    def remove(self, orders: Iterable[InFlightOrder]) -> None:
        """Lets go of orders, which are being sent."""
        for order in orders:
            self._orders.pop(order.client_order_id, None)

    def end_all(self) -> None:
        """Ends every order as never sent."""
        for order in list(self._orders.values()):
            self._never_sent(order, OrderState.FAILED, NEVER_SENT)
        self._orders.clear()

    def next_batch(self, most: int) -> Batch | None:
        """The oldest order that can leave and what may go with it; None when there is none. They are still held.

        At most `most` orders, except that a group is never taken apart.
        """
        now_mono_ns = time.monotonic_ns()
        batch: Batch | None = None
        for order in list(self._orders.values()):
            if order.client_order_id not in self._orders:
                continue  # ended with its group
            try:
                batch, is_whole = self._extended(batch, order, now_mono_ns)
            except Exception as error:
                # An order that cannot be put into the venue's words must not keep the others waiting.
                self._tracker.events.fault(
                    f"the form of {order.client_order_id}",
                    error,
                    "send_failed",
                    client_order_id=order.client_order_id,
                )
                self._end(order, f"{NEVER_SENT}: {error!r}")
                continue
            if batch is not None and (is_whole or len(batch.orders) >= most):
                return batch
        return batch

    def _extended(self, batch: Batch | None, order: InFlightOrder, now_mono_ns: int) -> tuple[Batch | None, bool]:
        """The batch with an order that may go with it, and whether nothing else may."""
        kind = _kind_of(order)
        if batch is not None and kind is not batch.kind:
            return batch, False
        if order.group:
            found = self._group_batch(order, kind, now_mono_ns)
            return (batch, False) if found is None else (found, True)
        life_ms = self._life_left_ms(order, now_mono_ns)
        if batch is not None and (life_ms < SHARED_LIFE_MS) != (batch.life_ms < SHARED_LIFE_MS):
            return batch, False
        filled = self._add_to(batch or Batch(kind, self._life_ms), order, life_ms)
        return (filled if filled.orders else None), kind is ActionKind.TWAP

    def _add_to(self, batch: Batch, order: InFlightOrder, life_ms: int) -> Batch:
        """Adds an order to a batch, unless it ends here."""
        replaced = self._replaced_by(order) if order.replaces else ""
        if reason := self._why_not(order, life_ms, replaced):
            self._end(order, reason, OrderState.EXPIRED if life_ms <= 0 else OrderState.FAILED)
            return batch
        entry = None if order.is_done else self._forms.entry(order)
        if order.is_done:
            self._orders.pop(order.client_order_id, None)
        elif entry is None:
            self._end(order, f"{NEVER_SENT}: no fresh quote to bound a MARKET order")
        else:
            batch.orders.append(order)
            batch.entries.append(entry)
            batch.life_ms = min(batch.life_ms, life_ms)
            if order.replaces:
                batch.replaced.append(replaced)
        return batch

    def _why_not(self, order: InFlightOrder, life_ms: int, replaced: str) -> str:
        if order.is_done:
            return ""
        if life_ms <= 0:
            return NEVER_SENT
        if order.replaces and not replaced:
            return f"{NEVER_SENT}: {order.replaces} has ended or is being cancelled"
        return ""

    def _group_batch(self, order: InFlightOrder, kind: ActionKind, now_mono_ns: int) -> Batch | None:
        """The batch of an order's group; None while a part of it is not here yet, and when it ends here."""
        members = [self._tracker.get_order(name) for name in order.group]
        live = [member for member in members if member is not None and not member.is_done]
        if any(member.client_order_id not in self._orders for member in live):
            return None
        has_lost_entry = kind is ActionKind.WITH_EXITS and (members[0] is None or members[0].is_done)
        life_ms = min(self._life_left_ms(member, now_mono_ns) for member in live) if live else 0
        batch = Batch(kind, self._life_ms)
        if has_lost_entry or life_ms <= 0:
            for member in live:
                reason = f"{NEVER_SENT}: its entry has ended" if has_lost_entry else NEVER_SENT
                self._end(member, reason, OrderState.FAILED if has_lost_entry else OrderState.EXPIRED)
        else:
            for member in live:
                self._add_to(batch, member, life_ms)
        self.remove(member for member in members if member is not None and member.is_done)
        if len(batch.orders) < len(live):
            for member in batch.orders:  # the entry could not be priced
                self._end(member, f"{NEVER_SENT}: its entry has ended")
            return None
        return batch if batch.orders else None

    def _end(self, order: InFlightOrder, reason: str, state: OrderState = OrderState.FAILED) -> None:
        self._orders.pop(order.client_order_id, None)
        self._never_sent(order, state, reason)

    def _life_left_ms(self, order: InFlightOrder, now_mono_ns: int) -> int:
        if not order.expire_mono_ns:
            return self._life_ms
        return min(self._life_ms, (order.expire_mono_ns - now_mono_ns) // 1_000_000)

    def _replaced_by(self, order: InFlightOrder) -> str:
        """The cloid of the order that this one replaces; empty when that one cannot be replaced any more."""
        old = self._tracker.get_order(order.replaces)
        return "" if old is None or old.is_done or old.cancel_requested else self._forms.cloid_of(old)


def _kind_of(order: InFlightOrder) -> ActionKind:
    if order.group:
        return ActionKind.POSITION_EXITS if order.has_open_size else ActionKind.WITH_EXITS
    if order.replaces:
        return ActionKind.REPLACE
    if order.order_type is OrderType.TWAP:
        return ActionKind.TWAP
    return ActionKind.POST if order.order_type is OrderType.LIMIT_MAKER else ActionKind.TAKE
