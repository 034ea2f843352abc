"""The subaccount: orders, fills, positions and money, from the socket's channel and from REST alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.data_sources import UserStreamTrackerDataSource
from latentspeed.connectors.dydx_v4.decoding import account_changes, block_number, finite
from latentspeed.connectors.dydx_v4.holdings import Holdings
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.markets import QUOTE_ASSET
from latentspeed.connectors.dydx_v4.messages import FillRow, OrderRow, SubaccountRow
from latentspeed.connectors.dydx_v4.order_forms import OrderNames
from latentspeed.connectors.dydx_v4.reports import BEST_EFFORT_CANCELED, LIVE, order_update, removal_of, trade_update
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.position import Position
from latentspeed.connectors.types import ReportSource

MOST_BEHIND_BLOCKS = 1000
"""How far REST may be behind the stream; what is further behind is of another chain."""


class Account(UserStreamTrackerDataSource[OrderRow, FillRow]):
    """Reduces everything that the indexer says of the subaccount."""

    def __init__(
        self,
        tracker: ClientOrderTracker,
        market: MarketState,
        names: OrderNames,
        lifetimes: Lifetimes,
        holdings: Holdings,
        number: int,
        *,
        update_position: Callable[[Position], None],
        update_positions: Callable[[list[Position]], None],
        on_money_moved: Callable[[], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Has heard nothing yet.

        Args:
            tracker: Whose orders these are.
            market: The rules, and where balances go.
            names: Which order the indexer means.
            lifetimes: Learns of heights and last blocks.
            holdings: Learns of positions.
            number: The subaccount, or the parent.
            update_position: Takes one position.
            update_positions: Takes all positions.
            on_money_moved: Called when something has changed that the channel does not say what of.
            on_problem: Called with a code and a text for what could not be understood.
        """
        self.newest_fill_ns = 0
        """The venue's time of the newest fill."""
        self.foreign_orders: dict[str, OrderRow] = {}
        """Live orders that nobody here made, by the indexer's id."""
        self.removals: dict[str, str] = {}
        """Why the indexer's node has dropped orders that are not over yet, by client order id."""
        self._changed_height = 0
        """The last block that the stream has told a change of what is held for."""
        self._tracker = tracker
        self._market = market
        self._names = names
        self._lifetimes = lifetimes
        self.holdings = holdings
        """What is held, and by which subaccount."""
        self._number = number
        self._update_position = update_position
        self._update_positions = update_positions
        self._on_money_moved = on_money_moved
        self._on_problem = on_problem

    def on_channel(self, name: str, contents: msgspec.Raw, is_snapshot: bool, mono_ns: int) -> None:
        """A message of a channel, about the subaccount that `name` says; fills before orders, which may end by them."""
        changes = account_changes(contents, self._on_problem)
        for fill in changes.fills:
            self.take_fill(fill, ReportSource.STREAM)
        for order in changes.orders:
            self.take_order(order, ReportSource.STREAM)
        if changes.subaccount is not None:
            self.take_subaccount(changes.subaccount, mono_ns)
        number = int(name.rpartition("/")[2])
        for position in changes.perpetual_positions:
            if self.holdings.take_position(position, number):
                self._update_position(self.holdings.position(position.market, mono_ns))
        if changes.perpetual_positions or changes.fills:
            self._on_money_moved()
        if changes.block_height and not is_snapshot:
            height = block_number(changes.block_height)
            self._lifetimes.on_node_height(height)
            if changes.perpetual_positions or changes.fills:
                self._changed_height = height

    def take_order(self, row: OrderRow, source: ReportSource) -> None:
        """Reduces an order."""
        order = self._names.order(row.id)
        if order is None:
            self._take_foreign(row)
            return
        try:
            last_block = block_number(row.good_til_block) if row.good_til_block else 0
        except ValueError as error:
            self._on_problem("malformed_message", f"order {row.id}: {error}")
            return
        if last_block:
            self._lifetimes.learn(order, last_block)
        if row.status == BEST_EFFORT_CANCELED and row.removal_reason:
            # The first reason is why it left; a cancel that comes after that is told as a removal once more.
            self.removals.setdefault(order.client_order_id, removal_of(row))
        elif row.status in LIVE and source is ReportSource.STREAM:
            # REST may not know of the removal yet.
            self.removals.pop(order.client_order_id, None)
        try:
            update = order_update(row, order, source, self.removals.get(order.client_order_id, ""))
        except ValueError as error:
            self._on_problem("malformed_message", f"order {row.id}: {error}")
            return
        if update is not None:
            self._tracker.process_order_update(update)

    def _take_foreign(self, row: OrderRow) -> None:
        if row.status in LIVE:
            self.foreign_orders[row.id] = row
        elif row.status != BEST_EFFORT_CANCELED:
            self.foreign_orders.pop(row.id, None)

    def take_fill(self, row: FillRow, source: ReportSource) -> bool:
        """Counts a fill, whoever's order it belongs to; False when it was counted before."""
        order = self._names.order(row.order_id) if row.order_id is not None else None
        try:
            trade = trade_update(row, order, self._market.rules, source)
        except ValueError as error:
            self._on_problem("malformed_message", f"fill {row.id}: {error}")
            return False
        self.newest_fill_ns = max(self.newest_fill_ns, trade.venue_utc_ns)
        # Every order's id at the indexer is known here before it is sent: an unknown one is somebody else's.
        take = self._tracker.process_trade_update if order is not None else self._tracker.process_foreign_trade
        return take(trade)

    def take_fills(self, rows: Iterable[FillRow]) -> int:
        """Counts fills that were asked for; how many were new."""
        return sum(self.take_fill(row, ReportSource.SNAPSHOT) for row in rows)

    def take_subaccount(self, row: SubaccountRow, mono_ns: int = 0) -> None:
        """Takes all positions, and what the subaccount, or the parent with its children, is worth.

        What is older than a change that the stream has told of is not taken, and asked for again soon.
        """
        mono_ns = mono_ns or time.monotonic_ns()
        rows = [row] if row.child_subaccounts is None else row.child_subaccounts
        if self._is_outdated(rows):
            self._on_money_moved()
            return
        # Of a parent with children, new orders may use what is free in the parent itself.
        own = next((one for one in rows if one.subaccount_number == self._number), None)
        try:
            equity, free_collateral = finite(row.equity), 0.0 if own is None else finite(own.free_collateral)
            self.holdings.take_subaccounts(rows)
            free_collateral -= self.holdings.extra_margin(self._number)
        except ValueError as error:
            self._on_problem("malformed_message", f"subaccount: {error}")
            return
        self._update_positions(self.holdings.positions(mono_ns))
        self._market.update_balance(
            QUOTE_ASSET,
            equity,
            free_collateral,
            venue_utc_ns=time.time_ns(),
            received_mono_ns=mono_ns,
        )

    def _is_outdated(self, rows: Iterable[SubaccountRow]) -> bool:
        try:
            heights = [int(one.latest_processed_block_height) for one in rows]
        except ValueError:
            return False
        behind = self._changed_height - max(heights, default=0)
        # A chain that was begun anew is far lower, and no answer at all is without a height.
        return any(heights) and 0 < behind <= MOST_BEHIND_BLOCKS

    def forget(self, orders: Iterable[InFlightOrder]) -> None:
        """Keeps the removals of these orders only."""
        keep = {order.client_order_id for order in orders}
        self.removals = {name: reason for name, reason in self.removals.items() if name in keep}
