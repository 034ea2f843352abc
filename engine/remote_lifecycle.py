"""How a remote connector comes and goes: attach, claim, read, renew, release, and in which thread.

Who reads: with `background=True` a daemon thread of the connector's own, and listeners are called there; nothing else
is needed in a script or a notebook, with or without a running event loop. With `background=False` whoever calls `poll`,
which is what a strategy's loop does. `Pending.result` reads for itself where nobody else does, without calling
listeners.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from latentspeed.connectors.client_order_id import MAX_COUNTER
from latentspeed.connectors.errors import VenueUnreachable
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.types import ConnectorState, ConnectorType
from latentspeed.engine.connector_limits import UNTOLD, read_limits
from latentspeed.engine.driven_pending import DrivenPending
from latentspeed.engine.gateway_link import GatewayLink, SessionClaim
from latentspeed.engine.market_view import MarketView
from latentspeed.engine.pump import PumpThread
from latentspeed.engine.refusals import GatewayNotReady
from latentspeed.engine.remote_market_data import RemoteMarketData
from latentspeed.engine.remote_session import RemoteSession
from latentspeed.ipc import IpcError, Park, RingReader

T = TypeVar("T")
log = logging.getLogger(__name__)

POLL_LIMIT = 256
DRIVE_SLICE_S = 0.02
# A session whose ids run out is replaced at a moment when it has no order; from here on such a moment is taken.
RENEW_AFTER_IDS = MAX_COUNTER // 4 * 3


class RemoteLifecycle(RemoteMarketData):
    """The connector `connector` of the engine `engine`, attached and read.

    Parameters: `name` and `tag` identify this user of the gateway in every tool and order; `cancel_on_death` is the
    policy for its orders when it disconnects or dies; `background` see the module; `timeout_s` bounds attaching; a
    session that nobody polled for `stall_timeout_s` fences itself (0: never).
    """

    def __init__(
        self,
        engine: str,
        connector: str,
        *,
        name: str = "",
        tag: int = 0,
        cancel_on_death: bool = True,
        background: bool = True,
        timeout_s: float = 5.0,
        stall_timeout_s: float = 0.0,
    ) -> None:
        super().__init__()
        self.order_limits = UNTOLD
        self._name = connector
        claim = SessionClaim(
            name=name or f"{connector} user",
            tag=tag,
            cancel_on_death=cancel_on_death,
            stall_timeout_s=stall_timeout_s,
        )
        self._link = GatewayLink(engine, connector, claim)
        self._background = background
        self._timeout_s = timeout_s
        self._session: RemoteSession | None = None
        self._carried_lots: dict[str, int] = {}
        self._lock = threading.RLock()
        self._poll_lock = threading.Lock()
        self._poll_owner = 0
        self._after_poll: list[Callable[[], object]] = []
        self._is_renewal_due = False
        self._pump: PumpThread | None = None

    # Identity

    @property
    def name(self) -> str:
        """The connector's name in the engine's config."""
        return self._name

    @property
    def domain(self) -> str:
        """Which of the venue's networks its gateway trades on; empty before `initialize`."""
        row = self._link.connector_row()
        return row.domain if row is not None else ""

    @property
    def is_ready(self) -> bool:
        """Whether orders may be sent: session open, gateway live, venue ready, subscribed pairs quoted."""
        return (
            self._session is not None
            and self._link.is_taking_orders
            and self._link.is_venue_ready
            and self._shared.has_all_quotes()
        )

    # Lifecycle

    def initialize(self) -> Pending[None]:
        """Maps the segment and loads the trading rules. Fails with SegmentNotFound, LayoutMismatch, SegmentRetired."""
        return self._run(self._attach)

    def connect(self) -> Pending[None]:
        """Claims a session and begins to read. Fails with GatewayDown, NoFreeSession, and as `initialize` does."""
        return self._run(self._open)

    def disconnect(self) -> Pending[None]:
        """Gives the session up; the gateway applies the cancel policy. The segment is unmapped."""
        pump = self._pump
        if pump is not None:
            self._pump = None
            pending: Pending[None] = DrivenPending(self._drive)
            if not pump.submit(self._close, pending):
                _settle(pending, self._close)
            pump.stop()
            return pending
        if self._poll_owner == threading.get_ident():
            pending = DrivenPending(self._drive)
            self._after_poll.append(lambda: _settle(pending, self._close))
            return pending
        pending = Pending()
        _settle(pending, self._close)
        return pending

    def resync(self) -> Pending[None]:
        """Compares every order of this session with its row; done once the gateway is live and all events are read."""
        pending: Pending[None] = DrivenPending(self._drive)
        self._open_session.request_resync(pending)
        return pending

    def subscribe(self, trading_pair: str) -> None:
        """Asks for a market's data, before or after connecting. Raises OrderRefused for a pair known not to exist."""
        if self._shared.rules:
            self._rule(trading_pair)
        self._shared.subscriptions[trading_pair] = None
        if self._session is not None:
            self._send_subscription(self._session, trading_pair)

    # Reading

    def poll(self, limit: int = POLL_LIMIT) -> int:
        """Read what has come and call the listeners; returns about how many changes there were, at most `limit` or so.

        Raises SegmentRetired, SessionFenced, ForkedSession once this session has ended, and RuntimeError where another
        thread is polling.
        """
        if self._pump is not None and not self._pump.is_here:
            raise RuntimeError("this connector's own thread polls: make it with background=False to poll yourself")
        if not self._poll_lock.acquire(blocking=False):
            raise RuntimeError("poll() is not for two threads at once, nor for a callback")
        self._poll_owner = threading.get_ident()
        try:
            return self._session.poll(limit) if self._session is not None else 0
        finally:
            self._poll_owner = 0
            self._poll_lock.release()
            while self._after_poll:
                self._after_poll.pop(0)()
            if self._is_renewal_due:
                self._is_renewal_due = False
                self._renew()

    @property
    def readers(self) -> tuple[RingReader, ...]:
        """The ring readers that an idle strategy sleeps on; empty before `connect`."""
        return self._session.readers if self._session is not None else ()

    def hold_books(self) -> None:
        """Commit and tell nothing more but order reports: a callback has raised, so its fill was not taken in."""
        if self._session is not None:
            self._session.hold_books()

    def wait_live(self, timeout_s: float) -> None:
        """Reads until the gateway is live, without calling listeners. Raises GatewayNotReady after `timeout_s`."""
        if not self._link.is_taking_orders and not (
            self._drive(lambda: self._link.is_taking_orders, timeout_s) and self._link.is_taking_orders
        ):
            self._link.check_can_place()

    @property
    def is_gateway_alive(self) -> bool:
        """Whether the gateway's process was alive when it was last probed."""
        return self._session is not None and self._link.is_writer_alive

    # Within

    def _run(self, job: Callable[[], T]) -> Pending[T]:
        """Runs a step of the lifecycle in the thread that reads: our own, or here and now."""
        if not self._background:
            done: Pending[T] = Pending()
            _settle(done, job)
            return done
        pending: Pending[T] = DrivenPending(self._drive)
        if self._pump is None or not self._pump.submit(job, pending):
            self._pump = PumpThread(self._name, self.poll, lambda: self.readers, self._on_pump_failure)
            self._pump.submit(job, pending)
            self._pump.start()
        return pending

    def _attach(self) -> None:
        self._link.attach(self._timeout_s)
        self._load_tables()

    def _open(self) -> None:
        """Claim a session unless there is one that still may send; a fenced or retired one is let go."""
        predecessor = self._session
        if predecessor is not None:
            try:
                self._link.check()
                return
            except IpcError as error:
                self._end_session(error)
                self._link.release()
        self._claim_session(predecessor)
        self._on_state(self._link.observe())

    def _claim_session(self, predecessor: RemoteSession | None) -> None:
        """Claim a session; orders of an earlier one of the same segment go on being told of."""
        segment = self._link.reader if self._link.is_attached else None
        self._link.claim(self._timeout_s)
        self._load_tables()
        self._begin_session(predecessor if self._link.reader is segment else None)

    def _load_tables(self) -> None:
        view = self._shared.view
        if view is None or view.reader is not self._link.reader:
            self._shared.view = MarketView(self._link.reader)
        row = self._link.connector_row()
        self.order_limits = read_limits(row)
        if row is not None and row.connector_type:
            self._connector_type = ConnectorType(row.connector_type)
        self._on_rules_changed()

    def _begin_session(self, predecessor: RemoteSession | None) -> None:
        session = RemoteSession(
            self._link,
            self._view,
            self._tracker,
            self._events,
            self._lock,
            self._on_state,
            self._on_rules_changed,
        )
        if predecessor is not None:
            session.succeed(predecessor)
        self._session = session
        for pair in self._shared.subscriptions:
            self._send_subscription(session, pair)

    def _end_session(self, error: BaseException) -> None:
        """Nobody will answer this session any more; its fills stay in the position."""
        session, self._session = self._session, None
        if session is None:
            return
        for number in session.books.instruments:
            pair = session.view.pair(number)
            self._carried_lots[pair] = self._carried_lots.get(pair, 0) + session.books.net_lots(number)
        session.fail_waiters(error)

    def _close(self) -> None:
        with self._lock:
            self._end_session(VenueUnreachable("the connector was disconnected before its gateway answered"))
            self._shared.view = None
            self._link.detach()
        self._set_connection_state(ConnectorState.DISCONNECTED)

    def _renew(self) -> None:
        """Take a new session, with new ids, at a moment without orders."""
        with self._lock:
            session = self._session
            is_quiet = session is not None and session.is_idle and not self._tracker.active_orders
            if session is None or not is_quiet or not self._link.is_taking_orders:
                return
            log.info("%s: %d order ids used; taking a new session", self._link.segment, session.block.used)
            self._end_session(VenueUnreachable("the session was renewed before its gateway answered"))
            self._link.release()
            self._claim_session(session)

    def _send_subscription(self, session: RemoteSession, trading_pair: str) -> None:
        number = self._view.number(trading_pair)
        if number is None:
            self._events.error("unknown_pair", f"{self._name} does not know {trading_pair}", trading_pair=trading_pair)
        else:
            session.subscribe(number)

    def _on_state(self, state: ConnectorState) -> None:
        """Ten times a second, in the thread that polls."""
        self._set_connection_state(state)
        self._check_ready()
        session = self._session
        if session is not None and session.block.used > RENEW_AFTER_IDS and not self._is_renewal_due:
            self._is_renewal_due = True

    def _on_rules_changed(self) -> None:
        self._set_trading_rules(self._view.load_rules())

    def _on_pump_failure(self, error: BaseException) -> None:
        """Our own thread cannot go on: the session has ended, and all who wait are told."""
        log.error("%s: %s: %s", self._link.segment, type(error).__name__, error)
        session = self._session
        if session is not None:
            session.fail_waiters(error)
        while self._ready_waiters:
            self._ready_waiters.pop().set_exception(error)
        self._set_connection_state(ConnectorState.DISCONNECTED)
        self._events.error("session_ended", f"{type(error).__name__}: {error}")

    def _drive(self, is_done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Read results until `is_done()` or the time is up; False where another thread reads.

        No listener is called: what is not a command's result is kept for the next poll.
        """
        if self._pump is not None and not self._pump.is_here:
            return False
        is_nested = self._poll_owner == threading.get_ident()
        if not is_nested and not self._poll_lock.acquire(blocking=False):
            return False
        try:
            deadline = None if timeout_s is None else monotonic() + timeout_s
            while not is_done() and (deadline is None or monotonic() < deadline):
                session = self._session
                if session is None:
                    return False
                session.read_ahead()
                self._check_ready()
                if not is_done():
                    Park(session.readers[:1]).wait(DRIVE_SLICE_S)
        finally:
            if not is_nested:
                self._poll_lock.release()
        return True

    @property
    def _open_session(self) -> RemoteSession:
        if self._session is None:
            raise GatewayNotReady(self._link.segment, "there is no session: call connect() first")
        return self._session

    def _new_waiter(self) -> Pending[None]:
        return DrivenPending(self._drive)


def _settle(pending: Pending[T], job: Callable[[], T]) -> None:
    """Do a job here and now; `pending` stands for what came of it."""
    try:
        pending.set_result(job())
    except Exception as error:
        pending.set_exception(error)
