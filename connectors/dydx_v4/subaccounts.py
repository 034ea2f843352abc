"""Which subaccount trades which market: the configured one, or a child of it.

A market that is isolated wants a subaccount that holds nothing else. A parent trades those from its children:

    number n      below 128 a parent, from 128 on a child of the parent n % 128
    a market's    the child that holds a position or a live order in it when the connector starts, else
    child         parent + 128 * (1 + clob pair id)

Other programs take the first child that is empty. Here an order's name has to follow from the order alone, so that it
is found again after a restart: a child that follows from the market does that.
"""

from __future__ import annotations

from collections.abc import Iterable

from latentspeed.connectors.dydx_v4.identifiers import MAX_SUBACCOUNT, PARENT_SUBACCOUNTS
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule


class Subaccounts:
    """The subaccounts of one connector."""

    def __init__(self, number: int, *, is_parent: bool = False) -> None:
        """`number` is the configured one; `is_parent` lets its children trade what is isolated."""
        self.number = number
        self.is_parent = is_parent
        self._children: dict[str, int] = {}
        self._known: set[int] = set()
        self._pinned: dict[str, int] = {}

    def of_rule(self, rule: TradingRule) -> int:
        """The subaccount that a new order in a market is placed from."""
        if not self.is_parent or not rule.only_isolated:
            return self.number
        return self._children.get(rule.trading_pair, self._own_child(rule))

    def of(self, order: InFlightOrder) -> int:
        """The subaccount that an order was, or will be, placed from."""
        if self._pinned and (pinned := self._pinned.get(order.client_order_id)) is not None:
            return pinned
        return self.of_rule(order.rule)

    def check(self, rule: TradingRule) -> None:
        """Raises OrderRefused for a market that has no child of its own."""
        if self.of_rule(rule) > MAX_SUBACCOUNT:
            text = f"{rule.trading_pair} is isolated, and no child of subaccount {self.number} is left for it"
            raise OrderRefused("trading_pair", rule.trading_pair, text)

    def learn(self, held: Iterable[tuple[str, int]], children: Iterable[int]) -> None:
        """Learns which markets are held in which subaccounts, and which children there are.

        A market keeps the child that it was first seen in, as long as the connector lives.
        """
        self._known.update(children)
        for pair, number in sorted(held):
            if number >= PARENT_SUBACCOUNTS:
                self._known.add(number)
                self._children.setdefault(pair, number)

    def candidates(self, rule: TradingRule) -> list[int]:
        """Every subaccount that an order of an earlier process may have been placed from, the likeliest first."""
        likeliest = self.of_rule(rule)
        if not self.is_parent or not rule.only_isolated:
            return [likeliest]
        others = self._known | {self._own_child(rule)}
        return [likeliest, *sorted(number for number in others - {likeliest} if number >= PARENT_SUBACCOUNTS)]

    def pin(self, order: InFlightOrder, number: int) -> None:
        """An order of an earlier process was seen to be another subaccount's than its market's is now."""
        self._pinned[order.client_order_id] = number

    def forget(self, orders: Iterable[InFlightOrder]) -> None:
        """Keeps what is known of these orders only."""
        keep = {order.client_order_id for order in orders}
        self._pinned = {name: number for name, number in self._pinned.items() if name in keep}

    def _own_child(self, rule: TradingRule) -> int:
        return self.number + PARENT_SUBACCOUNTS * (1 + rule.asset_id)
