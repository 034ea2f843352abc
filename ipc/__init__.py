"""Shared memory: segments, rings, cells, tables, command queues and liveness. Knows no trading."""

from latentspeed.ipc._core import (
    CommandConsumer,
    CommandProducer,
    Histogram,
    Record,
    RingReader,
    RingWriter,
    TableReader,
    TableWriter,
)
from latentspeed.ipc._core import Word as Counter
from latentspeed.ipc.broadcast import RecordKind
from latentspeed.ipc.cleaning import CleanResult, clean
from latentspeed.ipc.client_session import ClientSession
from latentspeed.ipc.counters import HistogramSnapshot
from latentspeed.ipc.doorbell import GatewayDoorbell
from latentspeed.ipc.error_log import ErrorEntry
from latentspeed.ipc.errors import (
    CellBusy,
    CommandQueueFull,
    ForkedSession,
    GatewayDown,
    IpcError,
    Lapped,
    LayoutMismatch,
    NoFreeSession,
    OtherBoot,
    SecondWriter,
    SegmentClosed,
    SegmentDamaged,
    SegmentNotFound,
    SegmentRetired,
    SessionFenced,
    SessionRevoked,
    SharedMemoryFull,
    WrongOwner,
)
from latentspeed.ipc.header import ClockPair, SegmentState
from latentspeed.ipc.idle import BackOff, BusySpin, IdleStrategy, Park
from latentspeed.ipc.layout import RingSpec, Section, SectionKind, SegmentLayout, SessionsSpec, TableSpec
from latentspeed.ipc.liveness import ByteLock, boot_id, pid_start_time
from latentspeed.ipc.records import make_record_type
from latentspeed.ipc.segment import hold_supervisor_byte, segment_exists, segment_names
from latentspeed.ipc.segment_reader import RingSource, SegmentReader
from latentspeed.ipc.segment_writer import SegmentWriter
from latentspeed.ipc.session_slots import Claim, GatewaySession, SessionInfo, SessionState

__all__ = [
    "BackOff",
    "BusySpin",
    "ByteLock",
    "CellBusy",
    "Claim",
    "CleanResult",
    "ClientSession",
    "ClockPair",
    "CommandConsumer",
    "CommandProducer",
    "CommandQueueFull",
    "Counter",
    "ErrorEntry",
    "ForkedSession",
    "GatewayDoorbell",
    "GatewayDown",
    "GatewaySession",
    "Histogram",
    "HistogramSnapshot",
    "IdleStrategy",
    "IpcError",
    "Lapped",
    "LayoutMismatch",
    "NoFreeSession",
    "OtherBoot",
    "Park",
    "Record",
    "RecordKind",
    "RingReader",
    "RingSource",
    "RingSpec",
    "RingWriter",
    "SecondWriter",
    "Section",
    "SectionKind",
    "SegmentClosed",
    "SegmentDamaged",
    "SegmentLayout",
    "SegmentNotFound",
    "SegmentReader",
    "SegmentRetired",
    "SegmentState",
    "SegmentWriter",
    "SessionFenced",
    "SessionInfo",
    "SessionRevoked",
    "SessionState",
    "SessionsSpec",
    "SharedMemoryFull",
    "TableReader",
    "TableSpec",
    "TableWriter",
    "WrongOwner",
    "boot_id",
    "clean",
    "hold_supervisor_byte",
    "make_record_type",
    "pid_start_time",
    "segment_exists",
    "segment_names",
]
