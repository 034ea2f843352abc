"""Orders that belong to other orders: a replacement ends the one it replaces, exits wait for their entry's fill.

    modify            old --(venue)--> CANCELLED        new is an order of its own, with an id of its own
    place_bracket     entry, take-profit, stop-loss     three orders, sent as one; the venue lets one exit end the other

Every one of them is tracked before the request leaves, and ends by its own evidence. Until the venue has shown what
became of a modify the old order stays as it is; one that the venue refuses leaves it live.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.order_params import OrderLimits, OrderParams
from latentspeed.connectors.types import OrderState, OrderType, PositionAction, TimeInForce, TradeType

_RESTING = (OrderState.OPEN, OrderState.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class ExitParams:
    """One exit: the price that triggers it, and the limit that it then rests at; None takes the market."""

    trigger_price: float
    price: float | None = None


class BracketIds(NamedTuple):
    """The client order ids of a bracket; empty for an order that was not asked for."""

    entry: str
    take_profit: str
    stop_loss: str


class CompoundOrders(ABC):
    """What ConnectorBase does with orders that belong together."""

    order_limits: OrderLimits
    _tracker: ClientOrderTracker

    @abstractmethod
    def create_order(
        self,
        trade_type: TradeType,
        params: OrderParams,
        *,
        client_order_id: str | None = None,
        strategy_tag: int = 0,
        expire_mono_ns: int = 0,
    ) -> InFlightOrder:
        """A checked order that is not tracked yet."""

    @abstractmethod
    def submit_order(self, order: InFlightOrder) -> None:
        """Tracks a created order and hands it over for sending."""

    @abstractmethod
    def _check_can_place(self) -> None: ...

    @abstractmethod
    def _schedule_place(self, order: InFlightOrder) -> None: ...

    # Modify

    def modify(self, client_order_id: str, price: float | None = None, amount: float | None = None) -> str:
        """Replaces a resting order by one with another price or amount; returns the new order's id at once.

        The new order's amount is its own; without one it is what is left of the old order now. A fill of the old order
        that is on its way comes on top. The new order loses the old one's place in the queue. Raises OrderRefused or
        NotReady, and then nothing is sent.
        """
        old = self._tracker.get_order(client_order_id)
        if old is None:
            raise OrderRefused("client_order_id", client_order_id, "no order of this id is known here")
        order = self.create_replacement(old, price, amount)
        self.submit_order(order)
        return order.client_order_id

    def create_replacement(
        self,
        old: InFlightOrder,
        price: float | None = None,
        amount: float | None = None,
        *,
        client_order_id: str | None = None,
        strategy_tag: int = 0,
        expire_mono_ns: int = 0,
    ) -> InFlightOrder:
        """A checked order that will replace `old`, not tracked yet. Raises OrderRefused."""
        self._check_replaceable(old)
        if price is None and amount is None:
            raise OrderRefused("price", None, "a modify changes the price or the amount")
        order = self.create_order(
            old.trade_type,
            OrderParams(
                old.trading_pair,
                old.rule.amount_from_lots(old.remaining_lots) if amount is None else amount,
                old.price if price is None else price,
                old.order_type,
                old.position_action,
                time_in_force=old.time_in_force,
                extra_params=old.extra_params,
            ),
            client_order_id=client_order_id,
            strategy_tag=strategy_tag,
            expire_mono_ns=expire_mono_ns,
        )
        order.replaces = old.client_order_id
        return order

    def _check_replaceable(self, old: InFlightOrder) -> None:
        types = self.order_limits.replaceable_types
        kind = old.order_type.name
        if old.order_type not in types or old.time_in_force is TimeInForce.IOC:
            supported = ", ".join(sorted(item.name for item in types)) or "none"
            raise OrderRefused("client_order_id", old.client_order_id, f"a {kind} order; can be modified: {supported}")
        if old.state not in _RESTING or old.cancel_in_flight:
            state = old.state.name if old.state not in _RESTING else "being cancelled"
            raise OrderRefused("client_order_id", old.client_order_id, f"it is {state}; one that rests can be modified")
        rival = self._tracker.get_order(old.replaced_by) if old.replaced_by else None
        if rival is not None and (rival.is_active or rival.is_acknowledged):
            raise OrderRefused("client_order_id", old.client_order_id, f"{old.replaced_by} is replacing it already")

    # Brackets

    def place_bracket(
        self,
        trade_type: TradeType,
        entry: OrderParams,
        *,
        take_profit: ExitParams | None = None,
        stop_loss: ExitParams | None = None,
    ) -> BracketIds:
        """Sends an entry together with its exits, all or none; returns their ids at once.

        The exits are reduce-only, of the entry's amount, on the other side, and wait for the entry's fill. Raises
        OrderRefused or NotReady, and then nothing is sent.
        """
        return self.submit_bracket(self.create_bracket(trade_type, entry, take_profit, stop_loss))

    def create_bracket(
        self,
        trade_type: TradeType,
        entry: OrderParams,
        take_profit: ExitParams | None,
        stop_loss: ExitParams | None,
        *,
        client_order_ids: Sequence[str] = (),
        strategy_tag: int = 0,
        expire_mono_ns: int = 0,
    ) -> list[InFlightOrder]:
        """The checked orders of a bracket, the entry first, not tracked yet. Raises OrderRefused."""
        self._check_bracket(trade_type, entry, take_profit, stop_loss)
        wanted = [(trade_type, entry)]
        other_side = TradeType.SELL if trade_type is TradeType.BUY else TradeType.BUY
        wanted += [
            (other_side, exit_params(entry.trading_pair, entry.amount, exit_, is_take_profit))
            for exit_, is_take_profit in ((take_profit, True), (stop_loss, False))
            if exit_ is not None
        ]
        orders = self._create_group(wanted, client_order_ids, strategy_tag, expire_mono_ns)
        for order in orders[1:]:
            order.parent = orders[0].client_order_id
        return orders

    def submit_bracket(self, orders: Sequence[InFlightOrder]) -> BracketIds:
        """Tracks the orders of a group and hands them over together. Raises NotReady, and then none is tracked."""
        self._check_can_place()
        tracked: list[InFlightOrder] = []
        try:
            for order in orders:
                self._tracker.start_tracking_order(order)
                tracked.append(order)
            self._schedule_group(orders)
        except BaseException:
            self._untrack(tracked)
            raise
        names = {False: "", True: ""}
        for order in orders:
            if order.order_type.has_trigger:
                names[order.order_type.is_take_profit] = order.client_order_id
        entry = "" if orders[0].order_type.has_trigger else orders[0].client_order_id
        return BracketIds(entry, names[True], names[False])

    def _untrack(self, orders: Sequence[InFlightOrder]) -> None:
        """Forgets orders that were not handed over after all."""
        for order in orders:
            self._tracker.stop_tracking_order(order.client_order_id)

    def _schedule_group(self, orders: Sequence[InFlightOrder]) -> None:
        """Hands tracked orders over that are sent as one; each knows the others by `group`."""
        for order in orders:
            self._schedule_place(order)

    def _create_group(
        self,
        wanted: Sequence[tuple[TradeType, OrderParams]],
        client_order_ids: Sequence[str],
        strategy_tag: int,
        expire_mono_ns: int,
    ) -> list[InFlightOrder]:
        names = list(client_order_ids) or self._new_ids(len(wanted))
        orders = [
            self.create_order(
                side, params, client_order_id=name, strategy_tag=strategy_tag, expire_mono_ns=expire_mono_ns
            )
            for (side, params), name in zip(wanted, names, strict=True)
        ]
        for order in orders:
            order.group = tuple(names)
        return orders

    @abstractmethod
    def _new_ids(self, count: int) -> list[str]:
        """That many new client order ids."""

    def _check_bracket(
        self, trade_type: TradeType, entry: OrderParams, take_profit: ExitParams | None, stop_loss: ExitParams | None
    ) -> None:
        if not isinstance(entry, OrderParams):
            raise OrderRefused("entry", entry, "OrderParams are required")
        self._check_exits(trade_type, take_profit, stop_loss)
        if entry.order_type.has_trigger:
            raise OrderRefused("entry", entry.order_type.name, "an entry does not wait for a trigger itself")
        if entry.position_action is PositionAction.CLOSE:
            raise OrderRefused("entry", "CLOSE", "an entry does not close a position")
        if entry.price is not None:
            _check_beyond("take_profit", take_profit, entry.price, trade_type is TradeType.BUY)
            _check_beyond("stop_loss", stop_loss, entry.price, trade_type is TradeType.SELL)

    def _check_exits(self, trade_type: TradeType, take_profit: ExitParams | None, stop_loss: ExitParams | None) -> None:
        if not self.order_limits.has_brackets:
            raise OrderRefused("take_profit", take_profit, "this connector has no brackets")
        if take_profit is None and stop_loss is None:
            raise OrderRefused("take_profit", None, "a bracket has a take-profit, a stop-loss, or both")
        for name, exit_ in (("take_profit", take_profit), ("stop_loss", stop_loss)):
            if exit_ is not None and not isinstance(exit_, ExitParams):
                raise OrderRefused(name, exit_, "ExitParams are required")
        if take_profit is not None and stop_loss is not None:
            _check_beyond("take_profit", take_profit, stop_loss.trigger_price, trade_type is TradeType.BUY)


def exit_params(trading_pair: str, amount: float, exit_: ExitParams, is_take_profit: bool) -> OrderParams:
    """The order that an exit asks for."""
    if is_take_profit:
        kind = OrderType.TAKE_PROFIT_MARKET if exit_.price is None else OrderType.TAKE_PROFIT_LIMIT
    else:
        kind = OrderType.STOP_MARKET if exit_.price is None else OrderType.STOP_LIMIT
    return OrderParams(trading_pair, amount, exit_.price, kind, PositionAction.CLOSE, trigger_price=exit_.trigger_price)


def _check_beyond(name: str, exit_: ExitParams | None, price: float, is_above: bool) -> None:
    """Refuses an exit on the wrong side of a price; what is no number is refused with its order."""
    if exit_ is None or not isinstance(exit_.trigger_price, int | float) or not isinstance(price, int | float):
        return
    if (exit_.trigger_price <= price) if is_above else (exit_.trigger_price >= price):
        rule = f"its trigger has to be {'above' if is_above else 'below'} {price}"
        raise OrderRefused(f"{name}.trigger_price", exit_.trigger_price, rule)
