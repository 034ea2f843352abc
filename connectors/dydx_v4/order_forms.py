"""Our orders as the chain takes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4.client_ids import REMEMBERED, client_id_of
from latentspeed.connectors.dydx_v4.identifiers import order_uuid
from latentspeed.connectors.dydx_v4.kinds import flags_of
from latentspeed.connectors.dydx_v4.markets import MarketTerms
from latentspeed.connectors.dydx_v4.place_templates import PlaceTemplates
from latentspeed.connectors.dydx_v4.reports import is_immediate
from latentspeed.connectors.dydx_v4.subaccounts import Subaccounts
from latentspeed.connectors.dydx_v4.twap import terms_of
from latentspeed.connectors.dydx_v4.wire import (
    PLACE_ORDER,
    Condition,
    Message,
    OrderFlags,
    OrderId,
    Side,
    WireOrder,
    WireTimeInForce,
    place_order,
)
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_price import triggered_limit_units
from latentspeed.connectors.types import OrderType

_CONDITIONS = {
    OrderType.STOP_LIMIT: Condition.STOP_LOSS,
    OrderType.STOP_MARKET: Condition.STOP_LOSS,
    OrderType.TAKE_PROFIT_LIMIT: Condition.TAKE_PROFIT,
    OrderType.TAKE_PROFIT_MARKET: Condition.TAKE_PROFIT,
}


MOST_UNNAMED = 256


class OrderForms:
    """Makes the wire forms of one account's orders."""

    def __init__(
        self,
        owner: str,
        subaccounts: Subaccounts,
        engine_instance: int,
        terms: Mapping[str, MarketTerms],
        market_price_units: Callable[[InFlightOrder], int],
        *,
        is_long_term: bool = False,
        slippage: float = 0.05,
    ) -> None:
        """Keeps what it needs.

        Args:
            owner: The account.
            subaccounts: Which of its subaccounts trades what.
            engine_instance: Marks this engine's orders.
            terms: The markets.
            market_price_units: The limit of a MARKET order in price units, 0 when no quote is fresh.
            slippage: How far from the oracle price the slices of a TWAP may trade, unless it says it; a fraction.
            is_long_term: Whether an order that rests is long-term unless it says otherwise.
        """
        self._owner = owner
        self._subaccounts = subaccounts
        self._engine_instance = engine_instance
        self._terms = terms
        self._market_price_units = market_price_units
        self._is_long_term = is_long_term
        self._slippage = slippage
        self._templates = PlaceTemplates(owner, engine_instance)

    def flags(self, order: InFlightOrder) -> OrderFlags:
        """Which kind of order it is on the chain."""
        return flags_of(order, is_long_term=self._is_long_term)

    def order_id(self, order: InFlightOrder) -> OrderId:
        """What names an order on the chain."""
        client_id, number = client_id_of(order.id64), self._subaccounts.of(order)
        return OrderId(self._owner, number, client_id, self.flags(order), order.rule.asset_id)

    def unused_id(self, client_id: int) -> OrderId:
        """What would name a short-term order in some market."""
        pair = min(terms.rule.asset_id for terms in self._terms.values())
        return OrderId(self._owner, self._subaccounts.number, client_id, OrderFlags.SHORT_TERM, pair)

    def uuid(self, order: InFlightOrder) -> str:
        """The indexer's id of an order, known before it is sent."""
        return self.uuid_in(order, self._subaccounts.of(order))

    def uuid_in(self, order: InFlightOrder, number: int) -> str:
        """The indexer's id of an order if it was placed from this subaccount."""
        return order_uuid(self._owner, number, client_id_of(order.id64), order.rule.asset_id, self.flags(order))

    def place(self, order: InFlightOrder, *, good_til_time: int) -> WireOrder:
        """A stateful order, good until a time in seconds."""
        terms = self._terms[order.trading_pair]
        return WireOrder(
            self.order_id(order),
            Side.BUY if order.is_buy else Side.SELL,
            terms.quantums(order),
            terms.subticks(self._price_units(order)),
            good_til_time=good_til_time,
            time_in_force=WireTimeInForce(_time_in_force(order)),
            reduce_only=order.is_reduce_only,
            client_metadata=self._engine_instance,
            condition=_CONDITIONS.get(order.order_type, Condition.NONE),
            trigger_subticks=terms.subticks(order.trigger_units),
            twap=terms_of(order, self._slippage) if order.order_type is OrderType.TWAP else None,
        )

    def place_short_term(self, order: InFlightOrder, good_til_block: int) -> Message | None:
        """The message of a short-term order; None for a MARKET order without a fresh quote."""
        price_units = self._price_units(order)
        if not price_units:
            return None
        terms = self._terms[order.trading_pair]
        number, client_id = self._subaccounts.of(order), client_id_of(order.id64)
        quantums, subticks = terms.quantums(order), terms.subticks(price_units)
        if client_id:
            kind = (number, order.rule.asset_id, order.is_buy, _time_in_force(order), order.is_reduce_only)
            return Message(PLACE_ORDER, self._templates.encode(kind, client_id, quantums, subticks, good_til_block))
        form = WireOrder(
            OrderId(self._owner, number, client_id, OrderFlags.SHORT_TERM, order.rule.asset_id),
            Side.BUY if order.is_buy else Side.SELL,
            quantums,
            subticks,
            good_til_block=good_til_block,
            time_in_force=WireTimeInForce(_time_in_force(order)),
            reduce_only=order.is_reduce_only,
            client_metadata=self._engine_instance,
        )
        return place_order(form)

    def _price_units(self, order: InFlightOrder) -> int:
        """The limit of an order in units of its rule; 0 for a MARKET order without a fresh quote."""
        if order.order_type.has_price or order.order_type is OrderType.TWAP:
            return order.price_units
        if order.order_type is OrderType.MARKET:
            return self._market_price_units(order)
        return triggered_limit_units(order)


_GOOD_TIL, _IOC, _POST_ONLY = (int(one) for one in WireTimeInForce)


def _time_in_force(order: InFlightOrder) -> int:
    """A number of WireTimeInForce."""
    if is_immediate(order):
        return _IOC
    return _POST_ONLY if order.order_type is OrderType.LIMIT_MAKER else _GOOD_TIL


class OrderNames:
    """Which of our orders the indexer means by an id; kept beyond the order's end, for fills that come late."""

    def __init__(self, tracker: ClientOrderTracker, uuid_of: Callable[[InFlightOrder], str]) -> None:
        self._tracker = tracker
        self._uuid_of = uuid_of
        self._client_order_ids: OrderedDict[str, str] = OrderedDict()
        self._candidates: dict[str, Mapping[str, Callable[[], None]]] = {}
        self._unnamed: list[InFlightOrder] = []
        """Orders whose ids are made when the indexer first names any: none is kept from being sent by that."""

    def add(self, order: InFlightOrder) -> None:
        """Learns of an order, whose id follows from the order itself."""
        self._unnamed.append(order)
        if len(self._unnamed) >= MOST_UNNAMED:
            self._name()

    def _name(self) -> None:
        for order in self._unnamed:
            self._client_order_ids[self._uuid_of(order)] = order.client_order_id
        self._unnamed.clear()
        while len(self._client_order_ids) > REMEMBERED:
            self._client_order_ids.popitem(last=False)

    def add_candidates(self, order: InFlightOrder, found: Mapping[str, Callable[[], None]]) -> None:
        """An order has one of several ids; the one that is heard of is it, and calls what belongs to it."""
        self._candidates[order.client_order_id] = found
        for uuid in found:
            self._client_order_ids[uuid] = order.client_order_id

    def uuids(self, order: InFlightOrder) -> list[str]:
        """The indexer's id of an order, or the ids that it may have, the likeliest first."""
        if order.exchange_order_id:
            return [order.exchange_order_id]
        candidates = self._candidates.get(order.client_order_id) if self._candidates else None
        return [self._uuid_of(order)] if candidates is None else list(candidates)

    def order(self, uuid: str) -> InFlightOrder | None:
        """The order of an id, if it is one of ours that is still known."""
        if self._unnamed:
            self._name()
        client_order_id = self._client_order_ids.get(uuid)
        if client_order_id is None:
            return self._tracker.get_order_by_exchange_id(uuid)
        if self._candidates and (candidates := self._candidates.pop(client_order_id, None)) is not None:
            candidates[uuid]()
        return self._tracker.get_order(client_order_id)
