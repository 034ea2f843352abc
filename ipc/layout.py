"""What a segment consists of, where each part lies, and the hash that both sides must share.

    page 0        header                                           gateway writes, all read
    then          directory | schema                               written once
                  tables | rings | counters | histograms           gateway writes, all read
                  errors | sessions (the session directory)
    -- end of the published part: clients map all before this line read-only --
                  bells                                            all write
                  blocks: one per session                          the session's client writes

Every section begins on a page. The schema is the layout as JSON text: with it a program that knows nothing but the
segment can read the segment. The layout hash covers schema and directory, that is every dtype, offset, count and kind.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from latentspeed.ipc import _core
from latentspeed.ipc.records import Record, describe_fields, dtype_from_fields, make_record_type

FORMAT_VERSION = 1
PAGE = mmap.PAGESIZE
LABEL_SIZE = 64
MAX_NAME = 31
MAX_COUNT = 1 << 32
MAX_SIZE = 1 << 40

_DIRECTORY_ENTRY = struct.Struct("=32sIIQQQ")


class SectionKind(IntEnum):
    """What a section holds; the numbers are part of the format."""

    DIRECTORY = 1
    SCHEMA = 2
    TABLE = 3
    RING = 4
    COUNTERS = 5
    HISTOGRAMS = 6
    ERRORS = 7
    SESSIONS = 8
    BELLS = 9
    BLOCKS = 10


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `count` items of `record_size` bytes in `size` bytes at `offset`."""

    name: str
    kind: SectionKind
    offset: int
    record_size: int
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table of `count` cells, each the latest value of one record."""

    name: str
    record_type: type[Record]
    count: int

    def __post_init__(self) -> None:
        _check_name("table", self.name)
        _check_count(f"table {self.name!r}", self.count)

    @property
    def cell_size(self) -> int:
        """Bytes of one cell: two copies, each a multiple of a cache line together with the word before it."""
        return 2 * _round_up(self.record_type.itemsize + 8, _core.LINE)

    @property
    def size(self) -> int:
        return self.cell_size * self.count


@dataclass(frozen=True, slots=True)
class RingSpec:
    """A broadcast ring of `capacity` records, a power of two from 8."""

    name: str
    record_type: type[Record]
    capacity: int

    def __post_init__(self) -> None:
        _check_name("ring", self.name)
        _check_power(f"ring {self.name!r}", self.capacity)
        _check_lines(f"ring {self.name!r}", self.record_type)
        leading = [(f.name, f.kind, f.offset) for f in _fields(self.record_type)[:2]]
        if leading != [("record_kind", "u4", 0), ("record_epoch", "u4", 4)]:
            raise ValueError(
                f"ring {self.name!r}: {self.record_type.__name__} must begin with ('record_kind', 'u4') and "
                f"('record_epoch', 'u4'), not {leading}"
            )

    @property
    def size(self) -> int:
        return _core.RING_HEADER_SIZE + self.record_type.itemsize * self.capacity


@dataclass(frozen=True, slots=True)
class SessionsSpec:
    """Sessions: how many, what a command is, and the tables that each client writes for the gateway to read."""

    slots: int
    command_type: type[Record]
    queue_capacity: int
    tables: tuple[TableSpec, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= 255:
            raise ValueError(f"sessions: {self.slots} slots; 1 to 255 wanted")
        _check_power("command queue", self.queue_capacity)
        _check_lines("command queue", self.command_type)
        kinds = {f.name: (f.kind, f.shape) for f in _fields(self.command_type)}
        for name, kind in (("generation", "u4"), ("command_index", "u8")):
            if kinds.get(name) != (kind, ()):
                raise ValueError(f"command queue: {self.command_type.__name__} needs a field ({name!r}, {kind!r})")
        _check_unique("session table", [table.name for table in self.tables])

    @property
    def queue_size(self) -> int:
        return self.command_type.itemsize * self.queue_capacity

    @property
    def table_offsets(self) -> dict[str, int]:
        """Where each session table begins in the block."""
        offset = _core.SESSION_BLOCK_SIZE + self.queue_size
        offsets = {}
        for table in self.tables:
            offsets[table.name] = offset
            offset += table.size
        return offsets

    @property
    def block_size(self) -> int:
        """Bytes of one session's block, whole pages."""
        size = _core.SESSION_BLOCK_SIZE + self.queue_size + sum(table.size for table in self.tables)
        return _round_up(size, PAGE)


_Spec = TypeVar("_Spec", TableSpec, RingSpec)


@dataclass(frozen=True)
class SegmentLayout:
    """Everything that decides where a byte lies. Two equal layouts have one `layout_hash`."""

    tables: tuple[TableSpec, ...] = ()
    rings: tuple[RingSpec, ...] = ()
    sessions: SessionsSpec | None = None
    counters: int = 256
    histograms: int = 32
    errors: int = 64
    abi_version: int = 1
    schema: str = field(init=False, repr=False, compare=False)
    sections: tuple[Section, ...] = field(init=False, repr=False, compare=False)
    directory: bytes = field(init=False, repr=False, compare=False)
    layout_hash: str = field(init=False, compare=False)
    published_size: int = field(init=False, repr=False, compare=False)
    total_size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", tuple(self.tables))
        object.__setattr__(self, "rings", tuple(self.rings))
        _check_unique("table", [table.name for table in self.tables])
        _check_unique("ring", [ring.name for ring in self.rings])
        for what, count in (("counters", self.counters), ("histograms", self.histograms), ("errors", self.errors)):
            _check_count(what, count)
        if not 0 < self.abi_version < 1 << 32:
            raise ValueError(f"abi_version {self.abi_version} is not in 1 .. 2**32-1")
        schema = json.dumps(self._description(), separators=(",", ":"))
        sections = tuple(_place(self, len(schema)))
        directory = b"".join(_directory_entry(section) for section in sections)
        blocks = self.sessions.block_size * self.sessions.slots if self.sessions else 0
        bells = next(section for section in sections if section.kind is SectionKind.BELLS)
        total = _round_up(bells.offset + bells.size, PAGE) + blocks
        if total > MAX_SIZE:
            raise ValueError(f"a segment of {total:,} bytes is too large")
        object.__setattr__(self, "schema", schema)
        object.__setattr__(self, "sections", sections)
        object.__setattr__(self, "directory", directory)
        object.__setattr__(self, "layout_hash", hashlib.sha256(schema.encode() + directory).hexdigest())
        object.__setattr__(self, "published_size", bells.offset)
        object.__setattr__(self, "total_size", total)

    @property
    def version_word(self) -> int:
        """What the header's version word holds: the format's version and the records'."""
        return FORMAT_VERSION | self.abi_version << 32

    def section(self, kind: SectionKind, name: str | None = None) -> Section:
        """The section of this kind, and of this name where there may be several. Raises KeyError."""
        for section in self.sections:
            if section.kind is kind and name in (None, section.name):
                return section
        known = [section.name for section in self.sections if section.kind is kind]
        raise KeyError(f"no {kind.name.lower()} {name!r}; there are {known}")

    def table(self, name: str) -> TableSpec:
        """The table's specification. Raises KeyError naming the known ones."""
        return _named("table", self.tables, name)

    def ring(self, name: str) -> RingSpec:
        """The ring's specification. Raises KeyError naming the known ones."""
        return _named("ring", self.rings, name)

    def describe(self) -> str:
        """One line for an error message: both versions and the hash."""
        return describe_version(self.version_word, self.layout_hash)

    def _description(self) -> dict[str, Any]:
        sessions = self.sessions
        return {
            "format": FORMAT_VERSION,
            "abi_version": self.abi_version,
            "page": PAGE,
            "tables": [[t.name, _record(t.record_type), t.count] for t in self.tables],
            "rings": [[r.name, _record(r.record_type), r.capacity] for r in self.rings],
            "sessions": sessions
            and {
                "slots": sessions.slots,
                "command": _record(sessions.command_type),
                "queue_capacity": sessions.queue_capacity,
                "tables": [[t.name, _record(t.record_type), t.count] for t in sessions.tables],
            },
            "counters": self.counters,
            "histograms": self.histograms,
            "errors": self.errors,
        }

    @classmethod
    def from_schema(cls, text: str) -> SegmentLayout:
        """The layout that a schema describes, with record types made for it.

        Raises ValueError when the text does not describe a layout of this format.
        """
        try:
            schema = json.loads(text)
            if schema["format"] != FORMAT_VERSION or schema["page"] != PAGE:
                raise ValueError(f"format {schema['format']}, page {schema['page']}; {FORMAT_VERSION}, {PAGE} wanted")
            sessions = schema["sessions"]
            return cls(
                tables=tuple(_table(entry) for entry in schema["tables"]),
                rings=tuple(RingSpec(name, _record_type(record), count) for name, record, count in schema["rings"]),
                sessions=sessions
                and SessionsSpec(
                    slots=sessions["slots"],
                    command_type=_record_type(sessions["command"]),
                    queue_capacity=sessions["queue_capacity"],
                    tables=tuple(_table(entry) for entry in sessions["tables"]),
                ),
                counters=schema["counters"],
                histograms=schema["histograms"],
                errors=schema["errors"],
                abi_version=schema["abi_version"],
            )
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, MemoryError) as error:
            raise ValueError(f"not a schema: {type(error).__name__}: {error}") from error


def describe_version(version_word: int, layout_hash: str) -> str:
    """`format 1, records 3, layout 12ab34cd56ef`."""
    return f"format {version_word & 0xFFFFFFFF}, records {version_word >> 32}, layout {layout_hash[:12]}"


def _place(layout: SegmentLayout, schema_size: int) -> Iterator[Section]:
    """The sections in the order in which they lie, each on a page of its own."""
    rows = list(_section_sizes(layout, schema_size))
    offset = PAGE
    directory_size = _DIRECTORY_ENTRY.size * (len(rows) + 1)
    for name, kind, record_size, count, size in [
        ("directory", SectionKind.DIRECTORY, _DIRECTORY_ENTRY.size, len(rows) + 1, directory_size),
        *rows,
    ]:
        yield Section(name, kind, offset, record_size, count, size)
        offset = _round_up(offset + size, PAGE)


def _section_sizes(layout: SegmentLayout, schema_size: int) -> Iterator[tuple[str, SectionKind, int, int, int]]:
    yield "schema", SectionKind.SCHEMA, 1, schema_size, schema_size
    for table in layout.tables:
        yield table.name, SectionKind.TABLE, table.cell_size, table.count, table.size
    for ring in layout.rings:
        yield ring.name, SectionKind.RING, ring.record_type.itemsize, ring.capacity, ring.size
    counters, histograms = layout.counters, layout.histograms
    yield "counters", SectionKind.COUNTERS, 8, counters, _label_size(counters) + 8 * counters
    histogram = _core.HISTOGRAM_SIZE
    yield "histograms", SectionKind.HISTOGRAMS, histogram, histograms, _label_size(histograms) + histogram * histograms
    errors = TableSpec("errors", ErrorRecord, layout.errors)
    yield "errors", SectionKind.ERRORS, errors.cell_size, errors.count, errors.size
    sessions = layout.sessions
    slots = sessions.slots if sessions else 0
    yield "sessions", SectionKind.SESSIONS, _core.SESSION_ENTRY_SIZE, slots, _core.SESSION_ENTRY_SIZE * slots
    bells = len(layout.rings)
    yield "bells", SectionKind.BELLS, _core.BELL_SIZE, bells, max(_core.BELL_SIZE * bells, 1)
    if sessions:
        yield "blocks", SectionKind.BLOCKS, sessions.block_size, slots, sessions.block_size * slots


def _label_size(count: int) -> int:
    """Bytes of a label table: one line for the number in use, then the labels."""
    return _core.LINE + LABEL_SIZE * count


def _directory_entry(section: Section) -> bytes:
    return _DIRECTORY_ENTRY.pack(
        section.name.encode(), section.kind, section.record_size, section.offset, section.count, section.size
    )


def _record(record_type: type[Record]) -> dict[str, Any]:
    fields = _fields(record_type)
    return {"name": record_type.__name__, "itemsize": record_type.itemsize, "fields": fields}


def _fields(record_type: type[Record]) -> Any:
    return describe_fields(record_type.__name__, record_type.dtype)


def _record_type(description: dict[str, Any]) -> type[Record]:
    dtype = dtype_from_fields(description["itemsize"], description["fields"])
    return make_record_type(description["name"], dtype, module="latentspeed.ipc.schema")


def _table(entry: list[Any]) -> TableSpec:
    name, record, count = entry
    return TableSpec(name, _record_type(record), count)


def _named(what: str, specs: tuple[_Spec, ...], name: str) -> _Spec:
    for spec in specs:
        if spec.name == name:
            return spec
    raise KeyError(f"no {what} {name!r}; there are {[spec.name for spec in specs]}")


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not name or not name.isascii() or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"{what} name {name!r}: 1 to {MAX_NAME} printable ASCII characters wanted")


def _check_count(what: str, count: int) -> None:
    if not isinstance(count, int) or not 0 < count < MAX_COUNT:
        raise ValueError(f"{what}: count {count!r} is not in 1 .. 2**32-1")


def _check_power(what: str, capacity: int) -> None:
    if not isinstance(capacity, int) or not 8 <= capacity < MAX_COUNT or capacity & (capacity - 1):
        raise ValueError(f"{what}: capacity {capacity!r} is not a power of two from 8")


def _check_lines(what: str, record_type: type[Record]) -> None:
    if record_type.itemsize % _core.LINE:
        raise ValueError(f"{what}: {record_type.__name__} has {record_type.itemsize} bytes; a multiple of 64 is wanted")


def _check_unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what}s are called {name!r}")


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


# The records of the sections that every segment has.
ErrorRecord: type[Record] = _record_type(
    {
        "name": "ErrorRecord",
        "itemsize": 248,
        "fields": [
            ["code", "S32", 0, []],
            ["first_utc_ns", "i8", 32, []],
            ["last_utc_ns", "i8", 40, []],
            ["count", "u8", 48, []],
            ["text", "S192", 56, []],
        ],
    }
)
ClockRecord: type[Record] = _record_type(
    {
        "name": "ClockRecord",
        "itemsize": 24,
        "fields": [["mono_ns", "i8", 0, []], ["utc_ns", "i8", 8, []], ["error_ns", "i8", 16, []]],
    }
)
