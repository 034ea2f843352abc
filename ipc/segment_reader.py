"""SegmentReader: the published part of a segment, mapped read-only. Disturbs nobody."""

from __future__ import annotations

import os
import time
from typing import Self

from latentspeed.ipc import _core
from latentspeed.ipc._core import BELL_SIZE, Bell, Mapping, RingReader, TableReader
from latentspeed.ipc.closing import Closing
from latentspeed.ipc.counters import CounterSection, HistogramSection, HistogramSnapshot
from latentspeed.ipc.error_log import ErrorEntry, read_entries
from latentspeed.ipc.errors import (
    IpcError,
    LayoutMismatch,
    OtherBoot,
    SegmentDamaged,
    SegmentNotFound,
    SegmentRetired,
)
from latentspeed.ipc.header import ClockPair, Identity, SegmentHeader, SegmentState, read_identity
from latentspeed.ipc.layout import (
    FORMAT_VERSION,
    MAX_SIZE,
    PAGE,
    RingSpec,
    SectionKind,
    SegmentLayout,
    describe_version,
)
from latentspeed.ipc.liveness import SUPERVISOR_BYTE, WRITER_BYTE, LockProbe, boot_id
from latentspeed.ipc.segment import check_name, map_header, open_object, segment_path
from latentspeed.ipc.session_slots import SessionInfo, block_offset, read_session

_POLL_S = 0.002


class _NotReady(IpcError):
    """Worth another look before the deadline; carries the error to raise then."""

    def __init__(self, error: IpcError) -> None:
        super().__init__(error)
        self.error = error


class SegmentReader(Closing):
    """An attached segment: tables, rings, state, counters. All of it read-only."""

    def __init__(self, name: str, layout: SegmentLayout, fd: int) -> None:
        """Use `attach`. Takes over the descriptor, which serves for lock probes."""
        self.name = name
        self.layout = layout
        self.published = Mapping(fd, 0, layout.published_size)
        self._probe = LockProbe(fd)
        self.memory_locked = self.published.lock_memory()
        self._header = SegmentHeader(self.published)
        self._state_word = _core.Word(self.published, _core.HEADER_STATE)
        self._bells: Mapping | None = None
        self._opened = True

    @classmethod
    def attach(
        cls, name: str, layout: SegmentLayout | None = None, *, timeout_s: float = 1.0, wait: bool = False
    ) -> Self:
        """Attach to a segment. Its layout must be `layout`; with None it is read from the segment itself.

        A segment that is half-built or being replaced is looked at again until `timeout_s` has passed; with `wait` one
        that does not exist yet, too.

        Raises:
            SegmentNotFound: no object of that name.
            LayoutMismatch: other records or sections; names both sides' versions and hashes.
            SegmentDamaged: half-built at the deadline, truncated, or not a segment at all.
            WrongOwner: another user's, or open to others.
            OtherBoot: left over from before the machine was started.
            SegmentRetired: replaced or removed, and nothing took its place in time.
        """
        check_name(name)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return cls._try_attach(name, layout)
            except _NotReady as not_ready:
                if time.monotonic() > deadline:
                    raise not_ready.error from None
            except SegmentNotFound:
                if not wait or time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_S)

    @classmethod
    def _try_attach(cls, name: str, layout: SegmentLayout | None) -> Self:
        fd = open_object(name, writable=False)
        try:
            try:
                header = map_header(name, fd)
            except SegmentDamaged as error:
                raise _NotReady(error) from None  # created this moment, or truncated
            identity = read_identity(header)
            _check_identity(name, identity, os.fstat(fd).st_size)
            if SegmentHeader(header).state is SegmentState.RETIRED:
                raise _NotReady(SegmentRetired(f"segment {name!r} was retired and nothing has taken its place"))
            found = _agree(name, layout, identity, fd)
            reader = cls(name, found, fd)
        except BaseException:
            os.close(fd)
            raise
        try:
            named = os.stat(segment_path(name), follow_symlinks=False).st_ino
        except FileNotFoundError:
            named = 0
        if named != os.fstat(fd).st_ino:
            reader.close()
            raise _NotReady(SegmentRetired(f"segment {name!r} was replaced while it was being attached"))
        return reader

    # ---- state ----

    @property
    def state(self) -> SegmentState:
        """How the gateway says that it is; whether it lives at all, `writer_alive` tells."""
        return self._header.state

    @property
    def epoch(self) -> int:
        """How many gateways have opened this segment, modulo 2**32."""
        return self._header.epoch

    @property
    def heartbeat_mono_ns(self) -> int:
        """When the gateway last said that it is alive."""
        return self._header.heartbeat_mono_ns

    @property
    def writer_pid(self) -> int:
        """The pid of the last gateway; a name, not a proof."""
        return self._header.writer_pid

    def clock_pair(self) -> ClockPair | None:
        """Both clocks as of the gateway's last heartbeat."""
        return self._header.clock_pair()

    def writer_alive(self) -> bool:
        """Does a process hold the writer's lock? A system call; it decides."""
        return self._probe.is_locked(WRITER_BYTE)

    def supervised(self) -> bool:
        """Does a supervisor hold its lock?"""
        return self._probe.is_locked(SUPERVISOR_BYTE)

    def is_object(self, fd: int) -> bool:
        """Does this descriptor lead to the very object that is attached?"""
        return self._probe.is_object(fd)

    def check(self) -> None:
        """Raise SegmentRetired when the segment was replaced or removed. Cheap: one load."""
        if self._state_word.load() == SegmentState.RETIRED:
            raise SegmentRetired(f"segment {self.name!r} was replaced or removed: attach again")

    # ---- sections ----

    def table(self, name: str) -> TableReader:
        """A table. Raises KeyError naming the known ones."""
        spec = self.layout.table(name)
        offset = self.layout.section(SectionKind.TABLE, name).offset
        return TableReader(self.published, offset, spec.count, spec.record_type, name)

    def ring(self, name: str) -> RingSource:
        """A ring, to make readers of. Raises KeyError naming the known ones."""
        return RingSource(self, self.layout.ring(name))

    def bell(self, ring: str) -> Bell:
        """The bell of a ring. Raises ValueError without a session: only attached sessions may park."""
        if self._bells is None:
            raise ValueError(f"segment {self.name!r} is attached without a session: its readers poll")
        index = self.layout.rings.index(self.layout.ring(ring))
        return Bell(self._bells, index * BELL_SIZE)

    def adopt_bells(self, bells: Mapping) -> None:
        """A session's writable bell page: ring readers made from now on can park."""
        self._bells = bells

    @property
    def can_park(self) -> bool:
        """Do ring readers made now carry a bell?"""
        return self._bells is not None

    def counters(self) -> dict[str, int]:
        """All counters by label."""
        return CounterSection(self.published, self.layout).read()

    def histograms(self) -> dict[str, HistogramSnapshot]:
        """All latency histograms by label."""
        return HistogramSection(self.published, self.layout).read()

    def errors(self) -> list[ErrorEntry]:
        """The distinct errors so far."""
        return read_entries(self.published, self.layout)

    def session_info(self, slot: int) -> SessionInfo:
        """What the directory says of one slot."""
        return read_session(self.published, self.layout, slot, self._probe)

    def sessions_info(self) -> list[SessionInfo]:
        """What the directory says of every slot."""
        slots = self.layout.sessions.slots if self.layout.sessions else 0
        return [self.session_info(slot) for slot in range(slots)]

    def session_table(self, slot: int, name: str) -> TableReader:
        """A table that a session's client writes, mapped read-only. Raises KeyError."""
        spec = self.layout.sessions
        known = {table.name: table for table in spec.tables} if spec else {}
        if spec is None or name not in known or not 0 <= slot < spec.slots:
            raise KeyError(f"no table {name!r} in session {slot}; there are {sorted(known)}")
        block = Mapping(self._probe.fd, block_offset(self.layout, slot), spec.block_size)
        return TableReader(block, spec.table_offsets[name], known[name].count, known[name].record_type, name)

    def queue_depth(self, slot: int) -> int:
        """Commands that wait in a session's queue, by the client's own word."""
        block = Mapping(self._probe.fd, block_offset(self.layout, slot), PAGE)
        depth = _core.Word(block, _core.SESSION_TAIL_OFFSET).load() - self.session_info(slot).head
        return max(depth, 0)

    def session_heartbeat_mono_ns(self, slot: int) -> int:
        """When a session's client last said that it is alive; 0 before it did."""
        block = Mapping(self._probe.fd, block_offset(self.layout, slot), PAGE)
        return _core.Word(block, _core.SESSION_HEARTBEAT_OFFSET).load()

    def close(self) -> None:
        """Close the descriptor. Memory that tables and readers still use stays mapped until they are gone."""
        self._probe.close()


class RingSource:
    """One ring of an attached segment."""

    def __init__(self, segment: SegmentReader, spec: RingSpec) -> None:
        self.name = spec.name
        self.record_type = spec.record_type
        self.capacity = spec.capacity
        self._segment = segment
        self._offset = segment.layout.section(SectionKind.RING, spec.name).offset

    def reader(self, cursor: int | None = None) -> RingReader:
        """A reader that starts at `cursor`, or with None at the tail: it sees what is published from now on."""
        bell = self._segment.bell(self.name) if self._segment.can_park else None
        return RingReader(
            self._segment.published, self._offset, self.capacity, self.record_type, self.name, cursor, bell
        )

    @property
    def tail(self) -> int:
        """Cursor after the last record."""
        return self.reader().cursor


def _check_identity(name: str, identity: Identity, size: int) -> None:
    """Everything that can be said before the layouts are compared."""
    if identity.version == 0:
        raise _NotReady(SegmentDamaged(name, "it is half-built: its version word was not stored"))
    if identity.magic != _core.MAGIC:
        raise SegmentDamaged(name, f"its magic is {identity.magic:#x}, not {_core.MAGIC:#x}")
    if identity.version & 0xFFFFFFFF != FORMAT_VERSION:
        theirs = describe_version(identity.version, identity.layout_hash)
        raise LayoutMismatch(name, f"format {FORMAT_VERSION}", theirs)
    if identity.byte_order != _core.BYTE_ORDER:
        raise SegmentDamaged(name, f"its byte order mark is {identity.byte_order:#x}, not {_core.BYTE_ORDER:#x}")
    if identity.boot_id != boot_id():
        raise OtherBoot(name, identity.boot_id, boot_id())
    if identity.page_size != PAGE:
        raise SegmentDamaged(name, f"it was made for pages of {identity.page_size} bytes, this machine has {PAGE}")
    if identity.total_size != size:
        raise SegmentDamaged(name, f"its header says {identity.total_size:,} bytes, the object has {size:,}")


def _agree(name: str, layout: SegmentLayout | None, identity: Identity, fd: int) -> SegmentLayout:
    """The layout that both sides have. Raises LayoutMismatch or SegmentDamaged."""
    theirs = describe_version(identity.version, identity.layout_hash)
    if layout is None:
        layout = _read_layout(name, identity, fd)
    if identity.version != layout.version_word or identity.layout_hash != layout.layout_hash:
        raise LayoutMismatch(name, layout.describe(), theirs)
    if identity.total_size != layout.total_size:
        raise SegmentDamaged(
            name, f"its header says {identity.total_size:,} bytes, its layout takes {layout.total_size:,}"
        )
    return layout


def _read_layout(name: str, identity: Identity, fd: int) -> SegmentLayout:
    """The layout from the segment's own schema, believed only when it hashes to what the header says."""
    offset, size = identity.schema_offset, identity.schema_size
    if offset % PAGE or not 0 < size <= MAX_SIZE or offset > identity.total_size or size > identity.total_size - offset:
        raise SegmentDamaged(name, f"its schema cannot lie in {size} bytes at {offset}")
    schema = bytes(memoryview(Mapping(fd, offset, size)))
    try:
        return SegmentLayout.from_schema(schema.decode())
    except ValueError as error:
        raise SegmentDamaged(name, f"its schema does not describe a layout: {error}") from None
