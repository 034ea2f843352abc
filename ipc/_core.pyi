"""The native core. Constructors take places in a mapping; the Python modules beside this know those places."""

from typing import Any, ClassVar, Self, TypeVar, final

import numpy as np
import numpy.typing as npt

_Array = TypeVar("_Array", bound=npt.NDArray[Any])

MAGIC: int
BYTE_ORDER: int
LINE: int
RING_HEADER_SIZE: int
SESSION_ENTRY_SIZE: int
SESSION_BLOCK_SIZE: int
SESSION_TAIL_OFFSET: int
SESSION_HEARTBEAT_OFFSET: int
CLAIM_NAME_SIZE: int
BELL_SIZE: int
HISTOGRAM_SIZE: int
HEADER_SIZE: int
HEADER_VERSION: int
HEADER_STATE: int
HEADER_EPOCH: int
HEADER_WRITER_PID: int
HEADER_WRITER_START: int
HEADER_HEARTBEAT: int
HEADER_LAST_INCARNATION: int
HEADER_LAST_NONCE: int
HEADER_CLOCK_CELL: int

class Record:
    """A fixed-size record in private memory. Abstract: `make_record_type` makes the types.

    Its fields are attributes; a type checker sees them as Any unless a subclass declares them.
    """

    dtype: ClassVar[np.dtype[Any]]
    itemsize: ClassVar[int]
    field_names: ClassVar[tuple[str, ...]]
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __init__(self, **fields: Any) -> None: ...
    def set(self, **fields: Any) -> None: ...
    def copy(self) -> Self: ...
    def clear(self) -> None: ...
    def as_dict(self) -> dict[str, Any]: ...
    def assign_from(self, other: Record, /) -> None: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...

@final
class Field:
    name: str
    offset: int
    size: int
    kind: str
    shape: tuple[int, ...]

@final
class Mapping:
    writable: bool
    huge_pages: bool
    def __new__(cls, fd: int, offset: int, size: int, writable: bool = False, huge_pages: bool = False) -> Mapping: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def lock_memory(self) -> bool: ...
    def disown(self) -> None: ...
    def fill(self, offset: int, data: bytes | memoryview, /) -> None: ...

@final
class Word:
    """A 64-bit word with one writer; as `Counter`, what the gateway counts with."""

    value: int
    def __new__(cls, mapping: Mapping, offset: int, /) -> Word: ...
    def load(self) -> int: ...
    def store(self, value: int, /) -> None: ...
    def set(self, value: int, /) -> None: ...
    def add(self, n: int = 1, /) -> None: ...

class TableReader:
    name: str
    record_type: type[Record]
    def __new__(cls, mapping: Mapping, offset: int, count: int, record_type: type[Record], name: str, /) -> Self: ...
    def __len__(self) -> int: ...
    def read(self, index: int, out: Record, /) -> int: ...
    def read_many(self, out_array: _Array, start: int = 0) -> _Array: ...
    def seq(self, index: int, /) -> int: ...

@final
class TableWriter(TableReader):
    def write(self, index: int, record: Record, /) -> int: ...
    def clear(self, index: int, /) -> int: ...

@final
class RingReader:
    name: str
    record_type: type[Record]
    capacity: int
    cursor: int
    tail: int
    available: int
    laps: int
    voids: int
    bell: Bell | None
    def __new__(
        cls,
        mapping: Mapping,
        offset: int,
        capacity: int,
        record_type: type[Record],
        name: str,
        cursor: int | None,
        bell: Bell | None,
        /,
    ) -> RingReader: ...
    def read(self, out: Record, /) -> int: ...
    def read_many(self, out_array: npt.NDArray[Any], /) -> int: ...

@final
class RingWriter:
    name: str
    record_type: type[Record]
    capacity: int
    tail: int
    epoch: int
    def __new__(
        cls,
        mapping: Mapping,
        offset: int,
        capacity: int,
        record_type: type[Record],
        name: str,
        bell: Bell,
        epoch: int,
        /,
    ) -> RingWriter: ...
    def publish(self, record: Record, /) -> int: ...
    def publish_many(self, records: npt.NDArray[Any], /) -> int: ...
    def publish_epoch(self) -> int: ...
    def repair(self) -> int: ...
    def read_at(self, cursor: int, out: Record, /) -> bool: ...

@final
class CommandProducer:
    generation: int
    capacity: int
    head: int
    tail: int
    free: int
    cancel_all_served: int
    def __new__(
        cls,
        directory: Mapping,
        header_offset: int,
        entry_offset: int,
        block: Mapping,
        block_offset: int,
        capacity: int,
        command_type: type[Record],
        slot: int,
        doorbell_fd: int,
        stall_ns: int,
        /,
    ) -> CommandProducer: ...
    def push(self, record: Record, is_cancel: bool = False) -> None: ...
    def check(self) -> None: ...
    def ring(self) -> None: ...
    def beat(self) -> None: ...
    def request_cancel_all(self) -> int: ...

@final
class CommandConsumer:
    capacity: int
    head: int
    tail: int
    depth: int
    def __new__(
        cls,
        directory: Mapping,
        entry_offset: int,
        block: Mapping,
        block_offset: int,
        capacity: int,
        command_type: type[Record],
        slot: int,
        /,
    ) -> CommandConsumer: ...
    def peek(self, out: Record, /) -> bool: ...
    def peek_at(self, offset: int, out: Record, /) -> bool: ...
    def advance(self, n: int = 1, /) -> None: ...

_ClaimTuple = tuple[int, int, int, str, int, bool]

@final
class SessionSlot:
    word: int
    claimed: bool
    heartbeat_mono_ns: int
    cancel_all_served: int
    def __new__(
        cls, directory: Mapping, entry_offset: int, block: Mapping, block_offset: int, capacity: int, /
    ) -> SessionSlot: ...
    def read_claim(self) -> _ClaimTuple | None: ...
    def activate(self, generation: int, incarnation: int, /) -> _ClaimTuple | None: ...
    def drain(self) -> None: ...
    def free(self) -> int: ...
    def read_cancel_all(self) -> tuple[int, int]: ...

@final
class Bell:
    armed: bool
    count: int
    def __new__(cls, mapping: Mapping, offset: int, /) -> Bell: ...
    def wake_all(self) -> None: ...

@final
class Doorbell:
    armed: bool
    def __new__(cls, mapping: Mapping, /) -> Doorbell: ...
    def arm(self) -> None: ...
    def disarm(self) -> None: ...

@final
class WaitSet:
    def __new__(cls) -> WaitSet: ...
    def __len__(self) -> int: ...
    def add(self, reader: RingReader, /) -> None: ...
    def remove(self, reader: RingReader, /) -> None: ...
    def ready(self) -> bool: ...
    def wait(self, spin_ns: int, park_ns: int, /) -> bool: ...

@final
class Histogram:
    def __new__(cls, mapping: Mapping, offset: int, /) -> Histogram: ...
    def record(self, nanoseconds: int, /) -> None: ...
    def read(self) -> tuple[int, int, int, dict[int, int]]: ...

def make_type(
    name: str,
    module: str,
    itemsize: int,
    fields: tuple[tuple[str, str, int, int, tuple[int, ...]], ...],
    signature: str,
    attributes: dict[str, Any],
    /,
) -> type[Record]: ...
def write_claim(
    block: Mapping,
    offset: int,
    ticket: int,
    pid: int,
    pid_start: int,
    name: bytes,
    tag: int,
    cancel_on_death: bool,
    /,
) -> None: ...
def withdraw_claim(block: Mapping, offset: int, /) -> None: ...
def read_session(directory: Mapping, entry_offset: int, /) -> tuple[int, int, int, int, int, int, _ClaimTuple]: ...
def register_lock_fd(fd: int, /) -> None: ...
def forget_lock_fd(fd: int, /) -> bool: ...
def fork_count() -> int: ...
