"""What a gateway is made of, wired together: rows, books, publishers, sessions and commands on one segment.

    take_over   what an earlier gateway left is emptied of market data, and its last fills are counted
    recover     with the trading rules known: orders are restored, queues and dead sessions settled
    opened      with the venue compared: what nobody owns is cancelled, and places are taken

No event loop is needed here, so that each part can be driven step by step in a test.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from latentspeed.connectors import ConnectorErrorEvent, ConnectorState, ErrorEventListener, PerpetualDerivativeBase
from latentspeed.engine.candle_history import HistoryWriter
from latentspeed.engine.commands import DRAIN_BUDGET, CommandProcessor
from latentspeed.engine.connector_factory import account_of
from latentspeed.engine.connector_limits import write_limits
from latentspeed.engine.error_text import kind_of
from latentspeed.engine.instruments import GridChanged, Instruments
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.engine.ledger_keeper import LedgerKeeper
from latentspeed.engine.live_session import LiveSession
from latentspeed.engine.market_publisher import MarketPublisher
from latentspeed.engine.order_rows import OrderRows
from latentspeed.engine.publisher import OrderPublisher
from latentspeed.engine.records import Connector
from latentspeed.engine.recovery import Recovery
from latentspeed.engine.sessions import SessionManager
from latentspeed.engine.stages import StageClock
from latentspeed.engine.vitals import VitalsPublisher
from latentspeed.ipc import SegmentState

if TYPE_CHECKING:
    from latentspeed.connectors import ConnectorBase
    from latentspeed.engine.config import ConnectorSettings
    from latentspeed.ipc import SegmentWriter
    from latentspeed.ipc._core import Word

MOST_FAULTS = 100
"""So many kinds of faults are logged with their tracebacks: nothing may fill the log."""
log = logging.getLogger(__name__)


class GatewayCore(ErrorEventListener):
    """The gateway without its loop.

    Parameters: `connector` not yet connected; `writer` the open segment; `settings` the connector's; `on_failure` ends
    the process when an order cannot be published; `kept_tags` are the strategies whose orders stay when nobody owns
    them any more, None for all.
    """

    def __init__(
        self,
        connector: ConnectorBase,
        writer: SegmentWriter,
        settings: ConnectorSettings,
        on_failure: Callable[[Exception], None],
        kept_tags: frozenset[int] | None = frozenset(),
    ) -> None:
        sizes = settings.shared_memory
        self._connector = connector
        self._writer = writer
        self._settings = settings
        self._kept_tags = kept_tags
        self._row = Connector()
        self._connector_table = writer.table("connector")
        self._connector_table.read(0, self._row)
        self._has_taken_over = False
        self.is_recovered = False
        self.is_opened = False
        self.is_stopping = False
        self._faults: set[tuple[str, str]] = set()
        self.instruments = Instruments(writer.table("instruments"), sizes.instruments)
        self.rows = OrderRows(writer.table("orders"), sizes.sessions, sizes.orders_per_session)
        events = writer.ring("events")
        self.keeper = LedgerKeeper(writer.table("ledger"), events, sizes.sessions, sizes.instruments)
        self.publisher = OrderPublisher(
            self.rows,
            events,
            self.keeper,
            self.instruments,
            StageClock(writer),
            self._save_book_cursor,
            on_failure,
            self._generation_of,
            writer.epoch,
            self._row.newest_fill_utc_ns,
        )
        self.market = MarketPublisher(writer, self.instruments, sizes.balances)
        self.market.on_state_changed = self.update_state
        self.market.on_problem = self.note_problem
        self.vitals = VitalsPublisher(writer, sizes.instruments, connector, self.note_problem)
        self.commands = CommandProcessor(
            connector,
            self.rows,
            self.publisher,
            HistoryWriter(writer.ring("history")),
            self.instruments,
            self._why_no_places,
            self._revoke,
            self.note_problem,
        )
        self.sessions = SessionManager(
            writer, self.keeper, self.commands.dispose_unread, self.commands.cancel_orders_of, self.note_problem
        )
        self._recovery = Recovery(connector, writer, self.rows, self.publisher, self.keeper, self.instruments)
        self._counters: list[tuple[Word, Callable[[], int]]] = [
            (writer.counter("commands.places"), lambda: self.commands.places),
            (writer.counter("commands.cancels"), lambda: self.commands.cancels),
            (writer.counter("commands.refusals"), lambda: self.commands.refusals),
            (writer.counter("events.published"), lambda: self.publisher.events),
            (writer.counter("fills.published"), lambda: self.publisher.fills),
            (writer.counter("sessions.deaths"), lambda: self.sessions.deaths),
            (writer.counter("python.allocated_blocks"), sys.getallocatedblocks),
        ]
        connector.set_order_event_listener(self.publisher)
        connector.set_trade_event_listener(self.publisher)
        connector.set_error_event_listener(self)
        connector.set_market_data_listener(self.market)

    @property
    def instrument_count(self) -> int:
        """How many trading pairs are published."""
        return len(self.instruments)

    # From the start until the gateway is live

    def take_over(self) -> None:
        """What needs no venue: old prices are no longer shown, and the last fills of an earlier gateway are counted."""
        self._has_taken_over = True
        if self._writer.reused:
            self.market.void_market_data()
            self.sessions.resume()
            newest = max(self._row.newest_fill_utc_ns, self._recovery.replay_books(self._row.book_cursor))
            self.publisher.newest_fill_utc_ns = newest
            self._save_book_cursor(self._writer.ring("events").tail, newest)
        self._write_row()

    def publish_instruments(self) -> None:
        """Publish the connector's trading rules, once they are known; the market publisher tells of later changes.

        Raises GridChanged, with nothing published, where the segment's integers would mean something else from now on.
        """
        rules = self._connector.get_all_trading_rules()
        for before, now in self.instruments.moved(rules):
            if self._is_in_use(now.trading_pair):
                raise GridChanged(
                    f"{now.trading_pair} has lots of {now.lot_size:f} and ticks of {now.tick_size:f} now, and the "
                    f"segment has orders or books of it in lots of {before.lot_size:f} and ticks of "
                    f"{before.tick_size:f}"
                )
        for text in self.instruments.publish(rules, frozenset(self._settings.trading_pairs)):
            self.note_problem("instrument_left_out", text)
        self.market.use_rules(rules)

    def recover(self) -> None:
        """Settle what an earlier gateway of this segment left, before the venue is asked about any order."""
        if not self._has_taken_over:
            self.take_over()
        if self._writer.reused:
            self._recovery.restore_orders(self._row.started_utc_ns, self._row.newest_fill_utc_ns)
            self._recovery.settle_queues(self.commands, self.sessions.live)
            self.sessions.settle_after_restart()
        self.is_recovered = True

    def opened(self) -> None:
        """The connector has connected and resynced for the first time under this gateway: places are taken now."""
        connector = self._connector
        if self._writer.reused and isinstance(connector, PerpetualDerivativeBase):
            self.market.flatten_absent(connector.get_position)
        if not self._row.started_utc_ns:
            self._row.started_utc_ns = time.time_ns()
            connector.forget_history()
            if isinstance(connector, PerpetualDerivativeBase):
                self.market.record_opening_positions(self._counted_lots)
        self._row.connected_count += 1
        self._cancel_ownerless()
        self.is_opened = True
        self.update_state()

    def _cancel_ownerless(self) -> None:
        """Orders of this engine that the venue has and no row tells of: their strategies ended with another segment."""
        kept = self._kept_tags
        if kept is None:
            return
        left = []
        for order in self._connector.get_open_orders():
            context = self.rows.context(order.id64)
            if (context is None or not context.generation) and order.strategy_tag not in kept:
                left.append(order.client_order_id)
        if left:
            log.warning("cancelling %d open orders of strategies that are gone with an earlier segment", len(left))
            self._connector.cancel_all(left)

    # While it serves

    def drain_all(self) -> bool:
        """One budget of every live session's queue; True where one of them may hold more."""
        is_more = False
        for live in self.sessions.live:
            try:
                is_more |= self.commands.drain(live) >= DRAIN_BUDGET
            except Exception as error:
                # Looked at again in the next turn: the other sessions' commands must not wait for this one's.
                self._note_fault("drain_failed", f"the queue of {live.name!r}", error)
        return is_more

    def has_work(self) -> bool:
        """True where a live session's queue holds a command or a new cancel-all."""
        return any(map(self.commands.has_work, self.sessions.live))

    def update_state(self) -> None:
        """Show in header and row whether places are taken: the header is what every strategy asks before each order."""
        self._write_row()
        if self.is_stopping:
            return
        is_live = self.is_opened and self._connector.connection_state is ConnectorState.LIVE
        wanted = SegmentState.LIVE if is_live else SegmentState.RECOVERING
        if self._writer.state is not wanted:
            self._writer.set_state(wanted)

    def beat(self) -> None:
        """Heartbeat, state and counters, each whatever becomes of the others. Sessions: see `sessions.poll`."""
        self._writer.beat()
        for step in (self.update_state, self.vitals.publish, self._show_counters):
            try:
                step()
            except Exception as error:
                self._note_fault("beat_failed", step.__qualname__, error)

    def _show_counters(self) -> None:
        for counter, figure in self._counters:
            counter.set(figure())

    def _note_fault(self, code: str, what: str, error: Exception) -> None:
        """What nobody foresaw, and what stops nothing: counted, and logged with its traceback the first time."""
        if (code, what) not in self._faults and len(self._faults) < MOST_FAULTS:
            self._faults.add((code, what))
            log.error("%s: %s", code, what, exc_info=error)
        self.note_problem(code, f"{what}: {error!r}")

    def on_error(self, error: ConnectorErrorEvent) -> None:
        """A failure that ended nothing, logged by the connector: a line in the segment's error log."""
        if error.code == "cancel_rejected" and error.client_order_id:
            self.publisher.publish_cancel_refused(error.client_order_id, error.message)
        self.note_problem(error.code, error.message)

    def detach(self) -> None:
        """Publish nothing any more: the segment is about to be closed, and answers may still come."""
        self.publisher.is_closed = True
        self._connector.set_order_event_listener(None)
        self._connector.set_trade_event_listener(None)
        self._connector.set_error_event_listener(None)
        self._connector.set_market_data_listener(None)

    def note_problem(self, code: str, text: str) -> None:
        """Count a problem in the segment's error log, with others of its kind."""
        self._writer.error_log.record(code, kind_of(text))

    def unfinished_orders(self) -> int:
        """How many orders may be open at the venue, by what the connector or else the segment knows."""
        if self.is_recovered:
            return len(self._connector.get_open_orders())
        return self.rows.count_unfinished() if self._writer.reused else 0

    def _is_in_use(self, trading_pair: str) -> bool:
        """Whether the segment has an order, a fill or a position of a pair."""
        number = self.instruments.number(trading_pair)
        groups = (LedgerGroup.TOTAL, LedgerGroup.FOREIGN)
        return (
            any(not self.keeper.totals(group, 0, number).is_empty for group in groups)
            or self.market.has_position(number)
            or any(row.order_amount_lots and row.trading_pair == trading_pair for row in self.rows.read_all())
        )

    def _counted_lots(self, instrument: int) -> int:
        books = (self.keeper.totals(group, 0, instrument) for group in (LedgerGroup.TOTAL, LedgerGroup.FOREIGN))
        return sum(book.net_lots for book in books)

    def _generation_of(self, client_order_id: int) -> int:
        live = self.sessions.of_order(client_order_id)
        return live.generation if live is not None else 0

    def _save_book_cursor(self, cursor: int, newest_fill_utc_ns: int) -> None:
        self._row.book_cursor = cursor
        self._row.newest_fill_utc_ns = newest_fill_utc_ns
        self._connector_table.write(0, self._row)

    def _write_row(self) -> None:
        row = self._row
        row.name = self._settings.name
        row.domain = self._settings.domain
        row.account_address = account_of(self._connector) or self._settings.account_address or ""
        write_limits(row, self._connector.order_limits)
        row.connector_type = self._connector.connector_type
        row.state = self.market.connection_state
        row.is_ready = self._connector.is_ready
        row.instrument_count = len(self.instruments)
        row.balance_count = self.market.balance_count
        row.last_message_mono_ns = self.market.last_message_mono_ns
        skew = self._connector.clock_skew
        row.venue_skew_ns = skew.skew_ns if skew is not None else 0
        row.venue_skew_error_ns = skew.error_ns if skew is not None else 0
        row.venue_skew_mono_ns = skew.measured_mono_ns if skew is not None else 0
        self._connector_table.write(0, row)

    def _why_no_places(self) -> str:
        """Why a place cannot be taken now, or an empty string."""
        if self.is_stopping:
            return "gateway_stopping"
        if self._connector.connection_state is ConnectorState.UNAUTHORISED:
            return "signer_refused"
        if not self.is_opened or self._connector.connection_state is not ConnectorState.LIVE:
            return "gateway_not_ready"
        return ""

    def _revoke(self, live: LiveSession, reason: str) -> None:
        self.sessions.revoke(live, reason)
