"""The header: page 0 of a segment. Who built it, of what, and how its gateway is.

    0     magic | version, stored last, 0 while half-built | layout hash | byte order, page size | total size
    64    boot id | creation time | where directory, schema and bells are
    192   state               each of the following starts a cache line of its own
    256   epoch | writer's pid | its start time
    320   heartbeat
    384   last incarnation | last nonce
    448   doorbell
    512   ClockPair cell

The gateway writes it, everyone reads it. Offsets come from protocol.h through `_core`.
"""

from __future__ import annotations

import os
import struct
import time
from enum import IntEnum
from typing import NamedTuple

from latentspeed.ipc import _core
from latentspeed.ipc._core import Mapping, TableReader, TableWriter, Word
from latentspeed.ipc.layout import PAGE, ClockRecord, SectionKind, SegmentLayout
from latentspeed.ipc.liveness import boot_id, pid_start_time

_IDENTITY = struct.Struct("=QQ32sIIQ16sQQQQQQQ")


class SegmentState(IntEnum):
    """How a segment's gateway is. Only LIVE with a fresh heartbeat takes orders."""

    BUILDING = 0
    RECOVERING = 1
    LIVE = 2
    STOPPING = 3
    RETIRED = 4


_STATES = tuple(SegmentState)


class ClockPair(NamedTuple):
    """Both clocks at one moment: `utc_ns` lies within `error_ns` of when `mono_ns` was read."""

    mono_ns: int
    utc_ns: int
    error_ns: int

    @classmethod
    def now(cls) -> ClockPair:
        before = time.monotonic_ns()
        utc = time.time_ns()
        after = time.monotonic_ns()
        return cls((before + after) // 2, utc, (after - before + 1) // 2)


class Identity(NamedTuple):
    """What a segment is built of, as its header says."""

    magic: int
    version: int
    layout_hash: str
    byte_order: int
    page_size: int
    total_size: int
    boot_id: str
    created_utc_ns: int
    directory_offset: int
    directory_count: int
    schema_offset: int
    schema_size: int
    bells_offset: int
    bells_count: int


def pack_identity(layout: SegmentLayout) -> bytes:
    """The first lines of a new segment's header, with version 0: `SegmentHeader.seal` stores that last."""
    directory = layout.section(SectionKind.DIRECTORY)
    schema = layout.section(SectionKind.SCHEMA)
    bells = layout.section(SectionKind.BELLS)
    return _IDENTITY.pack(
        _core.MAGIC,
        0,
        bytes.fromhex(layout.layout_hash),
        _core.BYTE_ORDER,
        PAGE,
        layout.total_size,
        bytes.fromhex(boot_id().replace("-", "")),
        time.time_ns(),
        directory.offset,
        directory.count,
        schema.offset,
        schema.size,
        bells.offset,
        bells.count,
    )


def read_identity(mapping: Mapping) -> Identity:
    """The identity as it stands there, whatever it says; the version is read first, with acquire."""
    version = Word(mapping, _core.HEADER_VERSION).load()
    return _unpack_identity(memoryview(mapping), version)


def _unpack_identity(data: memoryview | bytes, version: int) -> Identity:
    fields = list(_IDENTITY.unpack_from(data, 0))
    fields[1] = version
    fields[2] = fields[2].hex()
    boot = fields[6].hex()
    fields[6] = "-".join((boot[:8], boot[8:12], boot[12:16], boot[16:20], boot[20:]))
    return Identity(*fields)


def is_identity_of(layout: SegmentLayout, identity: Identity) -> bool:
    """Is this, word for word, what a gateway of this boot writes for this layout? Only the creation time is its own."""
    wanted = _unpack_identity(pack_identity(layout), layout.version_word)
    return identity == wanted._replace(created_utc_ns=identity.created_utc_ns)


class SegmentHeader:
    """The words of a mapped header. Setting one through a read-only mapping raises TypeError."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._version = Word(mapping, _core.HEADER_VERSION)
        self._state = Word(mapping, _core.HEADER_STATE)
        self._epoch = Word(mapping, _core.HEADER_EPOCH)
        self._pid = Word(mapping, _core.HEADER_WRITER_PID)
        self._start = Word(mapping, _core.HEADER_WRITER_START)
        self._heartbeat = Word(mapping, _core.HEADER_HEARTBEAT)
        self.last_incarnation = Word(mapping, _core.HEADER_LAST_INCARNATION)
        self.last_nonce = Word(mapping, _core.HEADER_LAST_NONCE)
        table = TableWriter if mapping.writable else TableReader
        self._clock = table(mapping, _core.HEADER_CLOCK_CELL, 1, ClockRecord, "clock")

    @property
    def state(self) -> SegmentState:
        value = self._state.load()
        return _STATES[value] if value < len(_STATES) else SegmentState.BUILDING

    @state.setter
    def state(self, state: SegmentState) -> None:
        self._state.store(state)

    @property
    def epoch(self) -> int:
        return self._epoch.load()

    @property
    def heartbeat_mono_ns(self) -> int:
        return self._heartbeat.load()

    @property
    def writer_pid(self) -> int:
        return self._pid.load()

    @property
    def writer_start(self) -> int:
        return self._start.load()

    def seal(self, layout: SegmentLayout) -> None:
        """Store the version word: from now on the segment may be trusted."""
        self._version.store(layout.version_word)

    def take_over(self) -> int:
        """A gateway's first words, in the order of rule 24: who, RECOVERING, epoch + 1. Returns the epoch."""
        self._pid.store(os.getpid())
        self._start.store(pid_start_time(os.getpid()) or 0)
        self._state.store(SegmentState.RECOVERING)
        epoch = (self._epoch.load() + 1) & 0xFFFFFFFF
        self._epoch.store(epoch)
        return epoch

    def beat(self) -> None:
        """Refresh the clock pair, then the heartbeat."""
        assert isinstance(self._clock, TableWriter)
        pair = ClockPair.now()
        self._clock.write(0, ClockRecord(mono_ns=pair.mono_ns, utc_ns=pair.utc_ns, error_ns=pair.error_ns))
        self._heartbeat.store(pair.mono_ns)

    def clock_pair(self) -> ClockPair | None:
        """Both clocks as of the last heartbeat, None before the first."""
        record = ClockRecord()
        if self._clock.read(0, record) == 0:
            return None
        pair = record.as_dict()
        return ClockPair(pair["mono_ns"], pair["utc_ns"], pair["error_ns"])
