"""ClientSession: the strategy's side of a session.

Claiming: take the byte lock of a FREE slot, write the claim, ring, wait for ACTIVE with our ticket. The lock is what
keeps two claimers apart and what tells the gateway, however this process ends, that it has ended.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import time
from collections.abc import Callable
from typing import Self

from latentspeed.ipc import _core
from latentspeed.ipc._core import Bell, CommandProducer, Mapping, TableWriter
from latentspeed.ipc.closing import Closing
from latentspeed.ipc.errors import GatewayDown, NoFreeSession, SegmentRetired
from latentspeed.ipc.layout import SectionKind, SegmentLayout
from latentspeed.ipc.liveness import ByteLock, pid_start_time, session_byte
from latentspeed.ipc.segment import open_bell, open_object, segment_path
from latentspeed.ipc.segment_reader import SegmentReader
from latentspeed.ipc.session_slots import SessionInfo, SessionState, block_offset, entry_offset, sessions_of

_POLL_S = 0.001
_LONGEST_STALL_S = 3276.7


class ClientSession(Closing):
    """A claimed and activated session: the right to send commands to one gateway.

    Not for use after a fork (ForkedSession), and by one thread at a time.
    """

    def __init__(self, segment: SegmentReader, info: SessionInfo, claiming: _Claiming, stall_ns: int) -> None:
        """Use `claim`."""
        layout, spec = segment.layout, sessions_of(segment.layout)
        self.segment = segment
        self.slot = info.slot
        self.generation = info.generation
        self.incarnation = info.incarnation
        self._lock, self._fifo, self._block = claiming.lock, claiming.fifo, claiming.block
        self.memory_locked = self._block.lock_memory()
        self.queue = CommandProducer(
            segment.published,
            0,
            entry_offset(layout, info.slot),
            self._block,
            0,
            spec.queue_capacity,
            spec.command_type,
            info.slot,
            self._fifo,
            stall_ns,
        )
        self._tables = {
            table.name: TableWriter(
                self._block, spec.table_offsets[table.name], table.count, table.record_type, table.name
            )
            for table in spec.tables
        }
        self.beat: Callable[[], None] = self.queue.beat
        """Say that this session is alive. Raises SessionFenced after a stall, and from then on."""
        self.check: Callable[[], None] = self.queue.check
        """Raise SessionFenced, SegmentRetired or ForkedSession when a push would."""
        self.request_cancel_all: Callable[[], int] = self.queue.request_cancel_all
        """Ask the gateway to cancel every order of the commands pushed so far. Never full; returns the level."""
        self._owns_segment = False
        self._closed = False
        self._opened = True
        claiming.kept = True
        segment.adopt_bells(claiming.bells)
        self.beat()

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
            stall_timeout_s: after a gap this long between two beats the session fences itself, and the gateway, which
                is told in tenths of a second, revokes it; 0 is never, 3276.7 the longest.

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
        if not 0 <= stall_timeout_s <= _LONGEST_STALL_S:
            raise ValueError(f"stall timeout {stall_timeout_s} s is not in 0 .. {_LONGEST_STALL_S}")
        deadline = time.monotonic() + timeout_s
        if not isinstance(reader_or_name, str):
            return cls._claim(reader_or_name, encoded, tag, cancel_on_death, deadline, timeout_s, stall_timeout_s)
        segment = SegmentReader.attach(reader_or_name, layout, timeout_s=timeout_s)
        try:
            session = cls._claim(segment, encoded, tag, cancel_on_death, deadline, timeout_s, stall_timeout_s)
        except BaseException:
            segment.close()
            raise
        session._owns_segment = True
        return session

    @classmethod
    def _claim(
        cls,
        segment: SegmentReader,
        name: bytes,
        tag: int,
        cancel_on_death: bool,
        deadline: float,
        timeout_s: float,
        stall_timeout_s: float,
    ) -> Self:
        while True:
            lock = _lock_free_slot(segment, deadline, timeout_s)
            slot = lock.byte - session_byte(0)
            with _Claiming(segment, slot, lock) as claiming:
                claiming.write(name, tag, cancel_on_death, math.ceil(stall_timeout_s * 10))
                info = claiming.wait(deadline, timeout_s)
                if info is not None:
                    return cls(segment, info, claiming, int(stall_timeout_s * 1e9))
            # the gateway answered a claimer that died before us; it will find that out by the lock we gave back

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
        self._block.disown()
        if self._lock.is_ours():
            self._lock.release()
            _ring(self._fifo)
        os.close(self._fifo)
        if self._owns_segment:
            self.segment.close()


class _Claiming:
    """A slot whose byte is locked and whose block is mapped; given back at the end of the `with` unless kept."""

    def __init__(self, segment: SegmentReader, slot: int, lock: ByteLock) -> None:
        self._segment = segment
        self._slot = slot
        self._ticket = secrets.randbits(64) or 1
        self._written = False
        self.lock = lock
        self.kept = False

    def __enter__(self) -> Self:
        segment, layout = self._segment, self._segment.layout
        with contextlib.ExitStack() as undo:
            undo.callback(self.lock.release)
            self.fifo = open_bell(segment.name)
            undo.callback(os.close, self.fifo)
            fd = open_object(segment.name, writable=True)
            try:
                if not segment.is_object(fd):
                    raise SegmentRetired(f"segment {segment.name!r} was replaced while it was being claimed")
                block, bells = block_offset(layout, self._slot), layout.section(SectionKind.BELLS)
                self.block = Mapping(fd, block, sessions_of(layout).block_size, writable=True)
                self.bells = Mapping(fd, bells.offset, bells.size, writable=True)
            finally:
                os.close(fd)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self.kept:
            return
        if self._written:
            _core.withdraw_claim(self.block, 0)
        self.block.disown()
        self.lock.release()
        _ring(self.fifo)
        os.close(self.fifo)

    def write(self, name: bytes, tag: int, cancel_on_death: bool, stall_tenths: int) -> None:
        """Write the claim and ring."""
        pid = os.getpid()
        self._written = True
        start = pid_start_time(pid) or 0
        _core.write_claim(self.block, 0, self._ticket, pid, start, name, tag, cancel_on_death, stall_tenths)
        _ring(self.fifo)

    def wait(self, deadline: float, timeout_s: float) -> SessionInfo | None:
        """The slot once it is ACTIVE for this claim; None when it was activated for another one."""
        written = _core.Word(self.block, 0)
        while True:
            info = self._segment.session_info(self._slot)
            if info.state is not SessionState.FREE:
                return info if info.claim is not None and info.claim.ticket == self._ticket else None
            # The gateway activated the slot for a claimer that died before us, while we held the lock and had not
            # written yet, and has revoked that session since: our claim went with it.
            if written.load() != self._ticket:
                return None
            self._segment.check()
            if time.monotonic() > deadline:
                alive = self._segment.writer_alive()
                state = self._segment.state.name
                what = f"it is {state} and did not activate slot {self._slot}" if alive else "no process holds its lock"
                raise GatewayDown(self._segment.name, timeout_s, what)
            time.sleep(_POLL_S)


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
            lock = _try_slot(segment, slot)
            if lock is not None:
                return lock
        if time.monotonic() > deadline:
            if not segment.writer_alive():
                raise GatewayDown(segment.name, timeout_s, "no process holds its lock, and no session is free")
            raise NoFreeSession(segment.name, slots)
        time.sleep(_POLL_S)


def _try_slot(segment: SegmentReader, slot: int) -> ByteLock | None:
    if segment.session_info(slot).state is not SessionState.FREE:
        return None
    try:
        lock = ByteLock(segment_path(segment.name), session_byte(slot))
    except FileNotFoundError:
        raise SegmentRetired(f"segment {segment.name!r} was removed") from None
    if not segment.is_object(lock.fd):
        lock.release()
        raise SegmentRetired(f"segment {segment.name!r} was replaced")
    # looked at again under the lock: from here on only the gateway could change it, and only for a claim
    if lock.try_lock() and segment.session_info(slot).state is SessionState.FREE:
        return lock
    lock.release()
    return None
