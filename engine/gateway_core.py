"""What a gateway is made of, wired together: rows, books, publishers, sessions and commands on one segment.

No event loop is needed here, so that each part can be driven step by step in a test.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from latentspeed.connectors import ConnectorErrorEvent, ConnectorState, ErrorEventListener
from latentspeed.connectors.client_order_id import split
from latentspeed.engine.commands import CommandProcessor
from latentspeed.engine.instruments import Instruments
from latentspeed.engine.ledger_keeper import LedgerKeeper
from latentspeed.engine.market_publisher import MarketPublisher
from latentspeed.engine.order_rows import OrderRows
from latentspeed.engine.publisher import OrderPublisher
from latentspeed.engine.records import Connector
from latentspeed.engine.recovery import Recovery
from latentspeed.engine.sessions import SessionManager
from latentspeed.engine.stages import StageClock
from latentspeed.ipc import SessionState

if TYPE_CHECKING:
    from latentspeed.connectors import PerpetualDerivativeBase
    from latentspeed.engine.config import ConnectorSettings
    from latentspeed.ipc import GatewaySession, SegmentWriter

log = logging.getLogger(__name__)


class GatewayCore(ErrorEventListener):
    """The gateway without its loop.

    Parameters: `connector` not yet connected; `writer` the open segment; `settings` the connector's; `on_failure` ends
    the process when an order cannot be published.
    """

    def __init__(
        self,
        connector: PerpetualDerivativeBase,
        writer: SegmentWriter,
        settings: ConnectorSettings,
        on_failure: Callable[[Exception], None],
    ) -> None:
        sizes = settings.shared_memory
        self._connector = connector
        self._writer = writer
        self._settings = settings
        self._row = Connector()
        self._connector_table = writer.table("connector")
        self._connector_table.read(0, self._row)
        self.is_opened = False
        self.is_stopping = False
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
        )
        self.market = MarketPublisher(writer, self.instruments, sizes.balances)
        self.commands = CommandProcessor(
            connector, self.rows, self.publisher, self.instruments, self._why_no_places, self._revoke
        )
        self.sessions = SessionManager(
            writer, self.keeper, self.commands.dispose_unread, self.commands.cancel_orders_of
        )
        self._recovery = Recovery(connector, writer, self.rows, self.publisher, self.keeper, self.instruments)
        connector.set_order_event_listener(self.publisher)
        connector.set_trade_event_listener(self.publisher)
        connector.set_error_event_listener(self)
        connector.set_market_data_listener(self.market)

    @property
    def instrument_count(self) -> int:
        """How many trading pairs are published."""
        return len(self.instruments)

    def publish_instruments(self) -> None:
        """Publish the connector's trading rules; called once they are known and whenever they change."""
        rules = self._connector.get_all_trading_rules()
        self.instruments.publish(rules, frozenset(self._settings.trading_pairs))
        self.market.use_rules(rules)

    def recover(self) -> None:
        """Take over what an earlier gateway of this segment left, before the venue is asked anything."""
        if self._writer.reused:
            self.market.void_market_data()
            self._recovery.replay_books(self._row.book_cursor)
            self._save_book_cursor(self._writer.ring("events").tail)
            self._recovery.restore_orders(self._row.started_utc_ns)
        self._write_row()

    def opened(self) -> None:
        """The connector has connected and resynced for the first time under this gateway: settle the sessions."""
        if self._writer.reused:
            self._recovery.settle_queues(self.commands)
            self.sessions.settle_after_restart()
        if not self._row.started_utc_ns:
            self._row.started_utc_ns = time.time_ns()
            self.market.record_opening_positions()
        self._row.connected_count += 1
        self.is_opened = True

    def drain_all(self) -> int:
        """One budget of every live session's queue; returns how many commands were read."""
        return sum(self.commands.drain(session) for session in self.sessions.active())

    def has_work(self) -> bool:
        """True where a live session's queue holds a command or a new cancel-all."""
        return any(session.queue.depth or session.cancel_all_pending() for session in self.sessions.active())

    def beat(self) -> None:
        """Heartbeat, counters and the connector's row."""
        counter = self._writer.counter
        counter("commands.places").set(self.commands.places)
        counter("commands.cancels").set(self.commands.cancels)
        counter("commands.refusals").set(self.commands.refusals)
        counter("events.published").set(self.publisher.events)
        counter("fills.published").set(self.publisher.fills)
        counter("sessions.deaths").set(self.sessions.deaths)
        counter("python.allocated_blocks").set(sys.getallocatedblocks())
        self._write_row()
        self._writer.beat()

    def on_error(self, error: ConnectorErrorEvent) -> None:
        """A failure that ended nothing: a line in the segment's error log."""
        log.warning("%s: %s", error.code, error.message)
        if error.code == "cancel_rejected" and error.client_order_id:
            self.publisher.publish_cancel_refused(error.client_order_id, error.message)
        self._writer.error_log.record(error.code, error.message)

    def _generation_of(self, client_order_id: int) -> int:
        slot = self.rows.slot_of(client_order_id)
        if slot < 0:
            return 0
        session = self._writer.sessions[slot]
        is_live = session.state == SessionState.ACTIVE and session.incarnation == split(client_order_id)[0]
        return session.generation if is_live else 0

    def _save_book_cursor(self, cursor: int) -> None:
        self._row.book_cursor = cursor
        self._connector_table.write(0, self._row)

    def _write_row(self) -> None:
        row = self._row
        row.name = self._settings.name
        row.domain = self._settings.domain
        row.account_address = self._settings.account_address or ""
        row.extra_param_keys = ",".join(sorted(self._connector.order_limits.extra_param_keys))
        row.state = self.market.connection_state
        row.is_ready = self._connector.is_ready
        row.instrument_count = len(self.instruments)
        row.balance_count = self.market.balance_count
        row.last_message_mono_ns = self.market.last_message_mono_ns
        self._connector_table.write(0, row)

    def _why_no_places(self) -> str:
        """Why a place cannot be taken now, or an empty string."""
        if self.is_stopping:
            return "gateway_stopping"
        if not self.is_opened or self._connector.connection_state != ConnectorState.LIVE:
            return "gateway_not_ready"
        return ""

    def _revoke(self, session: GatewaySession, reason: str) -> None:
        self.sessions.revoke(session, reason)
