"""ClientSession: the strategy's side of a session.

Claiming: take the byte lock of a FREE slot, write the claim, ring, wait for ACTIVE with our ticket. The lock is what
keeps two claimers apart and what tells the gateway, however this process ends, that it has ended.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from types import TracebackType
from typing import Self

from latentspeed.ipc import _core
from latentspeed.ipc._core import Bell, CommandProducer, Mapping, TableWriter
from latentspeed.ipc.errors import GatewayDown, NoFreeSession
from latentspeed.ipc.layout import SectionKind, SegmentLayout
from latentspeed.ipc.liveness import ByteLock, pid_start_time, session_byte
from latentspeed.ipc.segment import open_bell, open_object, segment_path
from latentspeed.ipc.segment_reader import SegmentReader
from latentspeed.ipc.session_slots import SessionState, block_offset, entry_offset, sessions_of

_POLL_S = 0.001


class ClientSession:
    """A claimed and activated session: the right to send commands to one gateway.

    Not for use after a fork (ForkedSession), and by one thread at a time.
    """

    def __init__(self, segment: SegmentReader, slot: int, lock: ByteLock, *, owns_segment: bool) -> None:
        """Use `claim`."""
        self.segment = segment
        self.slot = slot
        self._lock = lock
        self._owns_segment = owns_segment
        self._closed = False
        self._stall_ns = 0
        spec = sessions_of(segment.layout)
        bells = segment.layout.section(SectionKind.BELLS)
        self._fifo = open_bell(segment.name)
        try:
            fd = open_object(segment.name, writable=True)
            try:
                if os.fstat(fd).st_ino != os.fstat(lock.fd).st_ino:
                    segment.check()
                    raise GatewayDown(segment.name, 0.0, "the segment was replaced while it was being attached")
                self._block = Mapping(fd, block_offset(segment.layout, slot), spec.block_size, writable=True)
                self._bells = Mapping(fd, bells.offset, bells.size, writable=True)
            finally:
                os.close(fd)
        except BaseException:
            os.close(self._fifo)
            raise
        self.memory_locked = self._block.lock_memory()
        self.queue: CommandProducer
        self.generation = 0
        self.incarnation = 0

    @classmethod
    def claim(
        cls,
        reader_or_name: SegmentReader | str,
        *,
        name: str,
        tag: int = 0,
        cancel_on_death: bool = True,
        timeout_s: float = 5.0,
        layout: SegmentLayout | None = None,
        stall_timeout_s: float = 0.0,
    ) -> Self:
        """Claim a session and wait until the gateway activates it.

        Args:
            reader_or_name: an attached segment, or a name to attach with `layout` (closed again with the session).
            name: how this client is shown, up to 40 bytes of UTF-8.
            tag: 16-bit strategy tag, unique per engine.
            cancel_on_death: are this session's orders cancelled when its process dies?
            timeout_s: how long to wait for a slot and for the gateway.
            stall_timeout_s: after a gap this long between two beats the session fences itself; 0 is never.

        Raises:
            GatewayDown: no gateway answered in time.
            NoFreeSession: a gateway lives, but no slot became free in time.
            SegmentRetired: the segment was replaced or removed meanwhile.
            SegmentNotFound, LayoutMismatch and so on: as `SegmentReader.attach`.
        """
        encoded = name.encode()
        if not 0 < len(encoded) <= _core.CLAIM_NAME_SIZE or b"\0" in encoded:
            raise ValueError(f"session name {name!r}: 1 to {_core.CLAIM_NAME_SIZE} bytes without NUL wanted")
        if not 0 <= tag < 1 << 16:
            raise ValueError(f"strategy tag {tag} is not in 0 .. 65535")
        deadline = time.monotonic() + timeout_s
        owns_segment = isinstance(reader_or_name, str)
        segment = (
            SegmentReader.attach(reader_or_name, layout, timeout_s=timeout_s)
            if isinstance(reader_or_name, str)
            else reader_or_name
        )
        try:
            lock = _lock_free_slot(segment, deadline, timeout_s)
            slot = lock.byte - session_byte(0)
            try:
                session = cls(segment, slot, lock, owns_segment=owns_segment)
            except BaseException:
                lock.release()
                raise
            try:
                session._await_activation(encoded, tag, cancel_on_death, deadline, timeout_s)
            except BaseException:
                session.close()
                raise
        except BaseException:
            if owns_segment:
                segment.close()
            raise
        session._stall_ns = int(stall_timeout_s * 1e9)
        session.beat()
        segment.adopt_bells(session._bells)
        return session

    def _await_activation(
        self, name: bytes, tag: int, cancel_on_death: bool, deadline: float, timeout_s: float
    ) -> None:
        ticket = secrets.randbits(64) or 1
        pid = os.getpid()
        _core.write_claim(self._block, 0, ticket, pid, pid_start_time(pid) or 0, name, tag, cancel_on_death)
        _ring(self._fifo)
        layout = self.segment.layout
        while True:
            info = self.segment.session_info(self.slot)
            activated = info.state is not SessionState.FREE and info.claim is not None
            if activated and info.claim is not None and info.claim.ticket == ticket:
                break
            self.segment.check()
            if time.monotonic() > deadline or activated:
                _core.withdraw_claim(self._block, 0)
                alive = self.segment.writer_alive()
                what = f"it lives but did not activate slot {self.slot}" if alive else "no process holds its lock"
                raise GatewayDown(self.segment.name, timeout_s, what)
            time.sleep(_POLL_S)
        spec = sessions_of(layout)
        self.queue = CommandProducer(
            self.segment.published,
            0,
            entry_offset(layout, self.slot),
            self._block,
            0,
            spec.queue_capacity,
            spec.command_type,
            self.slot,
            self._fifo,
        )
        self.generation = info.generation
        self.incarnation = info.incarnation
        self._tables = {
            table.name: TableWriter(
                self._block, spec.table_offsets[table.name], table.count, table.record_type, table.name
            )
            for table in spec.tables
        }

    def beat(self) -> None:
        """Say that this session is alive. Raises SessionFenced after a stall, and from then on."""
        self.queue.beat(time.monotonic_ns(), self._stall_ns)

    def check(self) -> None:
        """Raise SessionFenced, SegmentRetired or ForkedSession when a push would."""
        self.queue.check()

    def request_cancel_all(self) -> int:
        """Ask the gateway to cancel every order of the commands pushed so far. Never full; returns the level."""
        return self.queue.request_cancel_all()

    @property
    def cancel_all_served(self) -> int:
        """The last cancel-all level that the gateway carried out."""
        return self.queue.cancel_all_served

    def bell(self, ring: str) -> Bell:
        """The bell of a ring, to park on. Ring readers made after the claim carry it already."""
        return self.segment.bell(ring)

    def table(self, name: str) -> TableWriter:
        """A table of this session, which this process alone writes. Raises KeyError."""
        if name not in self._tables:
            raise KeyError(f"no session table {name!r}; there are {sorted(self._tables)}")
        return self._tables[name]

    def close(self) -> None:
        """Give the session up: the lock goes, and the gateway treats it as a death, by the policy in the claim."""
        if self._closed:
            return
        self._closed = True
        ours = self._lock.is_ours()
        self._lock.release()
        if ours:
            _ring(self._fifo)
        os.close(self._fifo)
        if self._owns_segment:
            self.segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ring(fifo: int) -> None:
    """Wake the gateway whether or not it asked for it: claims and farewells are rare."""
    with contextlib.suppress(BlockingIOError):  # full: it has rings to take already
        os.write(fifo, b"\0")


def _lock_free_slot(segment: SegmentReader, deadline: float, timeout_s: float) -> ByteLock:
    """The lock of a slot that is FREE, and stays so while the lock is held."""
    slots = sessions_of(segment.layout).slots
    while True:
        segment.check()
        for slot in range(slots):
            if segment.session_info(slot).state is not SessionState.FREE:
                continue
            lock = ByteLock(segment_path(segment.name), session_byte(slot))
            if lock.try_lock() and lock.names_this_object() and segment.session_info(slot).state is SessionState.FREE:
                return lock
            lock.release()
        if time.monotonic() > deadline:
            if not segment.writer_alive():
                raise GatewayDown(segment.name, timeout_s, "no process holds its lock, and no session is free")
            raise NoFreeSession(segment.name, slots)
        time.sleep(_POLL_S)
