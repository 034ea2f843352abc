"""A strategy's attachment to one gateway: the segment, the session, and whether an order may be sent now.

attach    map the segment, claim a session; the gateway answers with a generation and an incarnation
check     before every send: this session is still ours, and the gateway is live and beating
observe   every 100 ms: the writer's lock, which is the only proof of life, and the venue's state
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic, monotonic_ns

from latentspeed.connectors.types import ConnectorState
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.records import Connector
from latentspeed.engine.refusals import GatewayNotReady
from latentspeed.engine.segment_layout import attach_segment, segment_name, sizes_of
from latentspeed.ipc import ClientSession, GatewayDown, SegmentReader, SegmentRetired, SegmentState

# A gateway beats every 100 ms. An order is refused when it has not for a second; market data is held back earlier, so
# that a callback on fresh data finds the gateway still taking orders.
STALE_NS = 1_000_000_000
HOLD_BACK_NS = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaim:
    """Who attaches: shown by every tool, and the cancel policy that holds when this process is gone.

    A session that was not polled for `stall_timeout_s` fences itself and may not send any more; 0 is never.
    """

    name: str
    tag: int = 0
    cancel_on_death: bool = True
    stall_timeout_s: float = 0.0


class GatewayLink:
    """The segment of `engine` and `connector`, attached, with a session of our own."""

    def __init__(self, engine: str, connector: str, claim: SessionClaim) -> None:
        self.segment = segment_name(engine, connector)
        self._engine = engine
        self._connector = connector
        self._claim = claim
        self._reader: SegmentReader | None = None
        self._session: ClientSession | None = None
        self._row = Connector()
        self._sizes: SharedMemorySettings | None = None
        self._is_writer_alive = False
        self.epoch = 0

    # Attachment

    @property
    def is_attached(self) -> bool:
        """Whether the segment is mapped."""
        return self._reader is not None

    @property
    def is_open(self) -> bool:
        """Whether there is a session."""
        return self._session is not None

    @property
    def reader(self) -> SegmentReader:
        """The segment. Raises GatewayNotReady before it is attached."""
        if self._reader is None:
            raise GatewayNotReady(self.segment, "not attached: call initialize() and connect() first")
        return self._reader

    @property
    def session(self) -> ClientSession:
        """The session. Raises GatewayNotReady before there is one."""
        if self._session is None:
            raise GatewayNotReady(self.segment, "there is no session: call connect() first")
        return self._session

    @property
    def sizes(self) -> SharedMemorySettings:
        """How many records of each kind the segment holds."""
        assert self._sizes is not None, "sizes are known once attached"
        return self._sizes

    def attach(self, timeout_s: float) -> None:
        """Map the segment, waiting for one up to `timeout_s`; one that was retired meanwhile is let go."""
        if self._reader is not None:
            try:
                self._reader.check()
                return
            except SegmentRetired:
                self.detach()
        self._reader = attach_segment(self._engine, self._connector, timeout_s)
        self._sizes = sizes_of(self._reader)
        self.epoch = self._reader.epoch

    def claim(self, timeout_s: float) -> None:
        """Take a session. Raises GatewayDown when no gateway answers before the deadline, NoFreeSession."""
        deadline = monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - monotonic())
            self.attach(left_s)
            try:
                self._session = ClientSession.claim(
                    self.reader,
                    name=self._claim.name,
                    tag=self._claim.tag,
                    cancel_on_death=self._claim.cancel_on_death,
                    timeout_s=left_s,
                    stall_timeout_s=self._claim.stall_timeout_s,
                )
            except SegmentRetired:
                if monotonic() >= deadline:
                    raise GatewayDown(self.segment, timeout_s, "it was retired and no new one came") from None
                continue
            self._is_writer_alive = True
            self.epoch = self.reader.epoch
            return

    def release(self) -> None:
        """Give the session up; its gateway applies the cancel policy."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def detach(self) -> None:
        """Give the session up and unmap the segment."""
        self.release()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @property
    def claimed(self) -> SessionClaim:
        """How the session was claimed."""
        return self._claim

    # May an order be sent?

    def check(self) -> None:
        """Raises SessionFenced, ForkedSession or SegmentRetired where this session may not speak any more."""
        self.session.check()

    def check_can_place(self) -> None:
        """Raises what `check` raises, and GatewayNotReady unless the gateway is live and beating."""
        self.session.check()
        reader = self.reader
        state = reader.state
        if state != SegmentState.LIVE:
            venue = self.venue_state
            raise GatewayNotReady(
                self.segment, f"the gateway is {SegmentState(state).name}, not LIVE; its session is {venue.name}"
            )
        age_ns = monotonic_ns() - reader.heartbeat_mono_ns
        if age_ns > STALE_NS:
            raise GatewayNotReady(self.segment, f"the gateway's last heartbeat is {age_ns / 1e9:.1f} s old")
        if not self._is_writer_alive:
            raise GatewayNotReady(self.segment, "the gateway's process has ended")

    @property
    def is_taking_orders(self) -> bool:
        """Whether `check_can_place` would pass for a while yet: live, and a heartbeat of the last half second."""
        reader = self._reader
        return (
            reader is not None
            and self._is_writer_alive
            and reader.state == SegmentState.LIVE
            and monotonic_ns() - reader.heartbeat_mono_ns < HOLD_BACK_NS
        )

    @property
    def is_writer_alive(self) -> bool:
        """Whether the gateway's lock was held when it was last probed."""
        return self._is_writer_alive

    # Observation

    def observe(self) -> ConnectorState:
        """Probe the gateway's lock and tell how far the way to the venue is open. Raises SegmentRetired."""
        reader = self.reader
        reader.check()
        self._is_writer_alive = reader.writer_alive()
        if not self._is_writer_alive:
            return ConnectorState.DISCONNECTED
        if monotonic_ns() - reader.heartbeat_mono_ns > STALE_NS:
            return ConnectorState.STALE
        state = reader.state
        venue = self.venue_state
        if state == SegmentState.LIVE:
            return venue
        if state == SegmentState.RECOVERING:
            return venue if venue is ConnectorState.UNAUTHORISED else min(venue, ConnectorState.SYNCING)
        return ConnectorState.DISCONNECTED

    @property
    def venue_state(self) -> ConnectorState:
        """The gateway's own connection to the venue, as it last published it."""
        row = self.connector_row()
        return ConnectorState(row.state) if row is not None else ConnectorState.DISCONNECTED

    @property
    def is_venue_ready(self) -> bool:
        """Whether the gateway says that its connector is ready: connected, authenticated, quoted."""
        row = self.connector_row()
        return row is not None and bool(row.is_ready)

    @property
    def extra_param_keys(self) -> frozenset[str] | None:
        """The keys of extra_params that the gateway's connector takes; None where it has not said."""
        row = self.connector_row()
        return frozenset(filter(None, row.extra_param_keys.split(","))) if row is not None else None

    def connector_row(self) -> Connector | None:
        """The gateway's row, reused; None before it was ever written."""
        if self._reader is None or not self._reader.table("connector").read(0, self._row):
            return None
        return self._row
