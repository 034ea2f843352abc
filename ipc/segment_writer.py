"""SegmentWriter: the gateway's side of a segment. One per segment, held by the writer byte."""

from __future__ import annotations

import contextlib
import os
from typing import Self

from latentspeed.ipc._core import Bell, Doorbell, Histogram, Mapping, RingWriter, TableWriter, Word
from latentspeed.ipc.closing import Closing
from latentspeed.ipc.counters import CounterSection, HistogramSection
from latentspeed.ipc.doorbell import GatewayDoorbell
from latentspeed.ipc.error_log import ErrorLog
from latentspeed.ipc.errors import SecondWriter, SegmentDamaged, SegmentNotFound
from latentspeed.ipc.header import SegmentHeader, SegmentState, is_identity_of, read_identity
from latentspeed.ipc.layout import SectionKind, SegmentLayout
from latentspeed.ipc.liveness import WRITER_BYTE, ByteLock, LockProbe, pid_start_time
from latentspeed.ipc.segment import (
    bell_path,
    build,
    check_name,
    create_object,
    make_bell,
    map_header,
    open_bell,
    open_object,
    retire,
    segment_exists,
    segment_path,
    unlink,
)
from latentspeed.ipc.session_slots import GatewaySession

_OPEN_ATTEMPTS = 100


class SegmentWriter(Closing):
    """A segment that this process serves.

    `open` leaves it RECOVERING: rings repaired, epoch counted up, an EPOCH record in every ring. The gateway settles
    sessions and venue, then sets LIVE. Recovery may be cut short anywhere and is then simply run again.
    """

    def __init__(self, name: str, layout: SegmentLayout, lock: ByteLock, fd: int, *, reused: bool) -> None:
        """Use `open`. Takes over the lock; the descriptor stays the caller's."""
        self.name = name
        self.layout = layout
        self.reused = reused
        self._lock = lock
        self._mapping = Mapping(fd, 0, layout.total_size, writable=True, huge_pages=True)
        self.huge_pages = self._mapping.huge_pages
        self.memory_locked = self._mapping.lock_memory()
        self._header = SegmentHeader(self._mapping)
        with contextlib.ExitStack() as undo:
            undo.callback(self._mapping.disown)
            if not reused:
                build(self._mapping, layout)
            if not reused or not bell_path(name).exists():
                make_bell(name)
            self.epoch = self._header.take_over()
            self._header.beat()
            self._open_sections()
            if not reused:
                self._header.seal(layout)
            self.doorbell = GatewayDoorbell(open_bell(name), Doorbell(self._mapping))
            undo.callback(self.doorbell.close)
            self._probe = LockProbe(open_object(name, writable=False))
            undo.callback(self._probe.close)
            slots = layout.sessions.slots if layout.sessions else 0
            self.sessions = [GatewaySession(self._mapping, layout, slot, self._probe) for slot in range(slots)]
            undo.pop_all()
        self._closed = False
        self._opened = True

    @classmethod
    def open(cls, name: str, layout: SegmentLayout) -> Self:
        """Become the gateway of this segment: reuse it, replace it, or make it.

        A segment of this layout and this boot is reused in place; its readers and sessions notice a new epoch. Any
        other object of that name is marked RETIRED, its users are woken, its name is removed, and a new one is made.

        Raises:
            SecondWriter: another process holds the writer byte; the message names its pid.
            SharedMemoryFull: there is no room for a new segment.
            WrongOwner: the name leads to an object that is not ours.
        """
        check_name(name)
        for _ in range(_OPEN_ATTEMPTS):
            writer = cls._try_open(name, layout)
            if writer is not None:
                return writer
        raise SegmentDamaged(name, f"its name changed hands {_OPEN_ATTEMPTS} times while it was being opened")

    @classmethod
    def _try_open(cls, name: str, layout: SegmentLayout) -> Self | None:
        """One pass of open, lock, compare the object with its name; None when the name changed in between."""
        fd = None if segment_exists(name) else create_object(name, layout.total_size)
        is_new = fd is not None
        try:
            if fd is None:
                fd = open_object(name, writable=True)
            lock = ByteLock(segment_path(name), WRITER_BYTE)
        except (SegmentNotFound, FileNotFoundError):
            if fd is not None:
                os.close(fd)
            return None
        try:
            return cls._start(name, layout, lock, fd, is_new=is_new)
        except BaseException:
            if is_new and lock.try_lock():
                unlink(name, lock)
            lock.release()
            raise
        finally:
            os.close(fd)

    @classmethod
    def _start(cls, name: str, layout: SegmentLayout, lock: ByteLock, fd: int, *, is_new: bool) -> Self | None:
        """Rule 24, as far as shared memory goes, under the writer byte."""
        if not lock.try_lock():
            raise SecondWriter(name, _holder(name, fd))
        if lock.names_this_object() and os.path.sameopenfile(fd, lock.fd):
            if is_new or _is_reusable(name, layout, fd):
                return cls(name, layout, lock, fd, reused=not is_new)
            retire(name, lock)
            unlink(name, lock)
        lock.release()
        return None

    def _open_sections(self) -> None:
        """The gateway's writers. Rings are repaired, and tell their readers of the new epoch."""
        layout, mapping = self.layout, self._mapping
        bells = layout.section(SectionKind.BELLS)
        self._bells = [Bell(mapping, bells.offset + index * bells.record_size) for index in range(len(layout.rings))]
        self._rings: dict[str, RingWriter] = {}
        for spec, bell in zip(layout.rings, self._bells, strict=True):
            offset = layout.section(SectionKind.RING, spec.name).offset
            ring = RingWriter(mapping, offset, spec.capacity, spec.record_type, spec.name, bell, self.epoch)
            ring.repair()
            ring.publish_epoch()
            self._rings[spec.name] = ring
        self._tables: dict[str, TableWriter] = {}
        for table in layout.tables:
            offset = layout.section(SectionKind.TABLE, table.name).offset
            self._tables[table.name] = TableWriter(mapping, offset, table.count, table.record_type, table.name)
        self._counters = CounterSection(mapping, layout)
        self._histograms = HistogramSection(mapping, layout)
        self.error_log = ErrorLog(mapping, layout)

    # ---- state ----

    @property
    def state(self) -> SegmentState:
        """How this gateway is, as everyone sees it."""
        return self._header.state

    def set_state(self, state: SegmentState) -> None:
        """Change the state and wake everyone who waits, so that they look."""
        self._header.state = SegmentState(state)
        self.wake_all()

    def beat(self) -> None:
        """Say that this gateway is alive, and refresh the clock pair. Call it at least every 100 ms."""
        self._header.beat()

    def wake_all(self) -> None:
        """Wake every parked reader of every ring."""
        for bell in self._bells:
            bell.wake_all()

    @property
    def last_incarnation(self) -> int:
        """The last incarnation that was given to a session; kept over restarts."""
        return self._header.last_incarnation.load()

    @last_incarnation.setter
    def last_incarnation(self, value: int) -> None:
        self._header.last_incarnation.store(value)

    @property
    def last_nonce(self) -> int:
        """The last nonce, stored before it was used; kept over restarts."""
        return self._header.last_nonce.load()

    @last_nonce.setter
    def last_nonce(self, value: int) -> None:
        self._header.last_nonce.store(value)

    # ---- sections ----

    def table(self, name: str) -> TableWriter:
        """The writer of a table. Raises KeyError naming the known ones."""
        self.layout.table(name)
        return self._tables[name]

    def ring(self, name: str) -> RingWriter:
        """The writer of a ring. Raises KeyError naming the known ones."""
        self.layout.ring(name)
        return self._rings[name]

    def counter(self, label: str) -> Word:
        """The counter of that label, made when it is new."""
        return self._counters.counter(label)

    def histogram(self, label: str) -> Histogram:
        """The histogram of that label, made when it is new."""
        return self._histograms.histogram(label)

    # ---- the end ----

    def close(self) -> None:
        """Stop serving. The object stays, for the next gateway and for who still reads it."""
        if not self._closed and self._lock.is_ours() and self.state is not SegmentState.RETIRED:
            self.set_state(SegmentState.STOPPING)
        self.abandon()

    def abandon(self) -> None:
        """Let go without a word, as a killed process does: the state stays what it was, nobody is woken."""
        if self._closed:
            return
        self._closed = True
        self._mapping.disown()
        self.doorbell.close()
        self._probe.close()
        self._lock.release()

    def unlink(self) -> None:
        """Stop serving and remove the segment: RETIRED, everyone woken, object and FIFO removed."""
        if self._closed:
            return
        self.set_state(SegmentState.RETIRED)
        unlink(self.name, self._lock)
        self.close()


def _holder(name: str, fd: int) -> int:
    """The pid that the header names; 0 when it names none. Only a hint for the message."""
    try:
        header = SegmentHeader(map_header(name, fd))
    except SegmentDamaged:
        return 0
    return header.writer_pid if pid_start_time(header.writer_pid) == header.writer_start else 0


def _is_reusable(name: str, layout: SegmentLayout, fd: int) -> bool:
    """Whole, of this format, layout, size and boot, with header, directory and schema as they should be."""
    try:
        identity = read_identity(map_header(name, fd))
    except SegmentDamaged:
        return False
    if not is_identity_of(layout, identity) or os.fstat(fd).st_size != layout.total_size:
        return False
    mapping = Mapping(fd, 0, layout.published_size)
    if SegmentHeader(mapping).state is SegmentState.RETIRED:
        return False
    return text_of(mapping, layout) == (layout.directory, layout.schema.encode())


def text_of(mapping: Mapping, layout: SegmentLayout) -> tuple[bytes, bytes]:
    """Directory and schema as they stand in a segment that should have this layout."""
    directory = layout.section(SectionKind.DIRECTORY)
    schema = layout.section(SectionKind.SCHEMA)
    view = memoryview(mapping)
    return (
        bytes(view[directory.offset : directory.offset + directory.size]),
        bytes(view[schema.offset : schema.offset + schema.size]),
    )
