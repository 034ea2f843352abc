"""Everything the venue says of the account's orders and fills, from whatever source, on its way into the reducer.

Orders of other engines and of other programs are kept to be shown; they are never tracked and never cancelled.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.data_sources import UserStreamTrackerDataSource
from latentspeed.connectors.events import OrderUpdate, TradeUpdate
from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.fills import SeenFills, trade_update
from latentspeed.connectors.hyperliquid.messages import FillRow, OrderRow, OrderStatusRow
from latentspeed.connectors.hyperliquid.reports import order_update, own_order_id
from latentspeed.connectors.hyperliquid.streams import Handler
from latentspeed.connectors.hyperliquid.system_fills import announcement, is_made_by_venue
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderState, ReportSource


class AccountReports(UserStreamTrackerDataSource[OrderStatusRow, FillRow]):
    """Reduces rows of orders and fills."""

    def __init__(
        self,
        tracker: ClientOrderTracker,
        market: MarketState,
        *,
        account: str,
        engine_instance: int,
        seen_fills: SeenFills,
        awaits_twap: Callable[[], bool],
        on_new_fill: Callable[[FillRow, TradingRule], None],
        on_problem: Callable[[str, str], None],
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        """Has heard nothing yet.

        Args:
            tracker: Whose orders these are.
            market: The rules, by the venue's names.
            account: The address that is read, lower case.
            engine_instance: Tells this engine's orders from others.
            seen_fills: The fills that were counted or shown before.
            awaits_twap: Whether a TWAP was sent whose number is not known yet.
            on_new_fill: Called with each fill that was counted or shown for the first time.
            on_problem: Called with a code and a text for what could not be understood.
            on_doubt: Called when a report of a stream could not be taken: only the venue has it.
        """
        self.newest_fill_ms = 0
        """The venue's time of the newest fill."""
        self.foreign_orders: dict[int, OrderRow] = {}
        """Open orders of other engines and programs, by the venue's number."""
        self.other_market_rows = 0
        """Rows of markets that this connector does not trade, such as spot and builder dexs."""
        self._tracker = tracker
        self._market = market
        self._account = account
        self._engine_instance = engine_instance
        self._seen_fills = seen_fills
        self._awaits_twap = awaits_twap
        self._on_new_fill = on_new_fill
        self._on_problem = on_problem
        self._on_doubt = on_doubt
        self._scheduled_cancel_ms = 0

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel."""
        return {"orderUpdates": self._on_order_updates, "userFills": self._on_user_fills}

    def own_id(self, cloid: str | None) -> str | None:
        """The client order id of an order of this engine, None for any other."""
        return own_order_id(cloid, self._engine_instance)

    def order_update(self, row: OrderStatusRow, source: ReportSource) -> OrderUpdate | None:
        """The report that a row makes; None for another engine's order and for another market."""
        rule = self._market.rules_by_symbol.get(row.order.coin)
        if rule is None:
            self.other_market_rows += 1
            return None
        client_order_id = self.own_id(row.order.cloid)
        if client_order_id is None:
            if row.status in ("open", "triggered"):
                self.foreign_orders[row.order.oid] = row.order
            else:
                self.foreign_orders.pop(row.order.oid, None)
            return None
        rule = self._rule_of(client_order_id, rule)
        update = order_update(row.order, row.status, row.statusTimestamp, client_order_id, rule, source)
        if update.state is OrderState.UNKNOWN:
            self._on_problem("unknown_status", f"order {client_order_id}: {row.status!r}")
        return update

    def take_order(self, row: OrderStatusRow, source: ReportSource) -> None:
        """Reduces an order with its status; one that cannot be does not take the others of its message with it."""
        try:
            self._take_order(row, source)
        except Exception as error:
            self._not_taken(f"a report of order {row.order.oid}", error, source)

    def _not_taken(self, what: str, error: Exception, source: ReportSource) -> None:
        self._tracker.events.fault(what, error, "report_failed")
        if source is ReportSource.STREAM:
            self._on_doubt()

    def _take_order(self, row: OrderStatusRow, source: ReportSource) -> None:
        update = self.order_update(row, source)
        if update is None:
            return
        if row.status == "scheduledCancel" and row.statusTimestamp > self._scheduled_cancel_ms:
            self._scheduled_cancel_ms = row.statusTimestamp
            self._on_problem("dead_man_fired", "the venue cancels every order, because it was told of no life in time")
        self._tracker.process_order_update(update)

    def take_fill(self, row: FillRow, source: ReportSource) -> bool:
        """Counts a fill, whoever's order it belongs to; False when it was counted before or has to wait."""
        try:
            return self._take_fill(row, source)
        except Exception as error:
            self._not_taken(f"fill {row.tid} of order {row.oid}", error, source)
            return False

    def _take_fill(self, row: FillRow, source: ReportSource) -> bool:
        rule = self._market.rules_by_symbol.get(row.coin)
        if rule is None:
            self.other_market_rows += 1
            return False
        if row in self._seen_fills:
            return False
        client_order_id = self.own_id(row.cloid)
        try:
            trade = trade_update(row, self._rule_of(client_order_id, rule), client_order_id, source)
        except ValueError as error:
            self._on_problem("malformed_message", f"fill {row.tid} of {row.coin}: {error}")
            return False
        if client_order_id is None and self._is_foreign(row, trade):
            is_new = self._tracker.process_foreign_trade(trade)
        else:
            is_new = self._tracker.process_trade_update(trade)
        self.newest_fill_ms = max(self.newest_fill_ms, row.time)
        if is_new:
            self._seen_fills.add(row)
            self._on_new_fill(row, rule)
            if code := announcement(row, self._account):
                self._on_problem(code, f"{row.dir!r}: {row.side} {row.sz} {row.coin} @ {row.px}, order {row.oid}")
        return is_new

    def _is_foreign(self, row: FillRow, trade: TradeUpdate) -> bool:
        """Whether a fill without a client id of ours is certainly of no order of ours, and need not wait for one."""
        if row.cloid is not None:
            return True
        if self._tracker.get_order_by_exchange_id(trade.exchange_order_id or "") is not None:
            return False
        if row.twapId is not None:
            return not self._awaits_twap()
        return is_made_by_venue(row, self._account)

    def _rule_of(self, client_order_id: str | None, rule: TradingRule) -> TradingRule:
        """The rule by which to count: an order keeps the lots and ticks that it was made with."""
        order = None if client_order_id is None else self._tracker.get_order(client_order_id)
        return rule if order is None else order.rule

    # --- streams ---

    def _on_order_updates(self, data: msgspec.Raw, mono_ns: int) -> None:
        for row in messages.ORDER_STATUS_ROWS.decode(data, self._malformed("orderUpdates")):
            self.take_order(row, ReportSource.STREAM)

    def _on_user_fills(self, data: msgspec.Raw, mono_ns: int) -> None:
        push = messages.USER_FILLS.decode(data)
        if push.user and push.user.lower() != self._account:
            self._on_problem("wrong_account", f"userFills of {push.user}")
            return
        rows = messages.FILL_ROWS.decode_each(push.fills, self._malformed("userFills"))
        if push.isSnapshot:
            rows.sort(key=lambda row: row.time)
        for row in rows:
            self.take_fill(row, ReportSource.STREAM)

    def _malformed(self, channel: str) -> Callable[[str], None]:
        def tell(text: str) -> None:
            self._on_problem("malformed_message", f"{channel}: {text}")
            self._on_doubt()

        return tell
