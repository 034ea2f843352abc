"""What a torture run writes into shared memory: records of which no two share a word, with a checksum over all."""

from __future__ import annotations

import numpy as np
from torture_ledger import SLOTS

from latentspeed.ipc import RecordKind, RingSpec, SegmentLayout, SessionsSpec, TableSpec, make_record_type

RING_CAPACITY = 4096
QUEUE_CAPACITY = 64
CELLS = 8

_BODY = 12
Event = make_record_type(
    "Event",
    np.dtype(
        [
            ("record_kind", "u4"),
            ("record_epoch", "u4"),
            ("cursor", "u8"),
            ("body", "u8", (_BODY,)),
            ("check", "u8"),
            ("_pad", "u8"),
        ]
    ),
)
Cell = make_record_type("Cell", np.dtype([("number", "u8"), ("body", "u8", (_BODY,)), ("check", "u8"), ("_pad", "u8")]))
Command = make_record_type(
    "Command",
    np.dtype([("command_index", "u8"), ("generation", "u4"), ("kind", "u4"), ("body", "u8", (5,)), ("check", "u8")]),
)
Order = make_record_type(
    "Order",
    np.dtype([("place", "u8"), ("generation", "u4"), ("state", "u4"), ("body", "u8", (4,)), ("check", "u8")]),
)
LAYOUT = SegmentLayout(
    tables=(TableSpec("cells", Cell, CELLS), TableSpec("orders", Order, SLOTS * QUEUE_CAPACITY)),
    rings=(RingSpec("events", Event, RING_CAPACITY),),
    sessions=SessionsSpec(SLOTS, Command, QUEUE_CAPACITY, (TableSpec("book", Cell, 1),)),
    counters=16,
)

_LANES = np.arange(1, _BODY + 1, dtype=np.uint64) * np.uint64(0xD6E8FEB86659FD93)
_WEIGHTS = np.arange(3, 2 * _BODY + 3, 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
_WORD = (1 << 64) - 1


def _bodies(numbers: np.ndarray) -> np.ndarray:
    return (numbers[:, None] * np.uint64(0xA24BAED4963EE407)) ^ _LANES


def _checks(numbers: np.ndarray, bodies: np.ndarray, epochs: np.ndarray | int) -> np.ndarray:
    return (bodies * _WEIGHTS).sum(axis=1, dtype=np.uint64) ^ (numbers << np.uint64(1)) ^ np.uint64(epochs)


def seal_events(rows: np.ndarray, first: int, epoch: int) -> np.ndarray:
    """Fill rows that will lie from cursor `first` on."""
    rows["cursor"] = np.arange(first, first + len(rows), dtype=np.uint64)
    rows["body"] = _bodies(rows["cursor"])
    rows["check"] = _checks(rows["cursor"], rows["body"], epoch)
    return rows


def check_events(rows: np.ndarray, first: int, after: int, voids: int) -> tuple[int, int]:
    """Whole, of their kinds, in their places. Returns how many are data and how many say EPOCH."""
    kinds = rows["record_kind"]
    is_data = kinds == RecordKind.DATA
    data, epochs = rows[is_data], rows[~is_data]
    assert (epochs["record_kind"] == RecordKind.EPOCH).all(), f"kinds {set(kinds.tolist())} from {first} on"
    assert not epochs["body"].any(), f"an EPOCH record with a body from {first} on"
    numbers = data["cursor"]
    torn = data["check"] != _checks(numbers, data["body"], data["record_epoch"].astype(np.uint64))
    assert not torn.any(), f"torn records: {data[torn][:3]}"
    assert (np.diff(rows["record_epoch"].astype(np.int64)) >= 0).all(), f"an epoch went back from {first} on"
    if voids == 0:
        assert (numbers == np.arange(first, after, dtype=np.uint64)[is_data]).all(), f"out of place from {first} on"
    else:
        assert (np.diff(numbers.astype(np.int64)) > 0).all(), f"out of order from {first} on"
        assert not len(numbers) or first <= numbers[0] <= numbers[-1] < after, f"out of place from {first} on"
    return len(data), len(epochs)


def seal_cell(cell: Cell, number: int) -> Cell:
    """A cell's value."""
    body = _bodies(np.array([number], np.uint64))
    cell.set(number=number, body=body[0], check=int(_checks(np.array([number], np.uint64), body, 0)[0]))
    return cell


def check_cells(rows: np.ndarray) -> None:
    """Each row whole, or never written."""
    wanted = _checks(rows["number"], rows["body"], 0)
    torn = (rows["check"] != wanted) & (rows["check"] != 0)
    assert not torn.any(), f"torn cells: {rows[torn]}"


def seal_command(command: Command, index: int, generation: int) -> Command:
    """Its body repeats what `push` will stamp on it."""
    word = (index * 0x9E3779B97F4A7C15 + generation) & _WORD
    command.set(body=[word ^ lane for lane in range(5)], check=word ^ _WORD)
    return command


def check_command(command: Command) -> None:
    """Whole, and stamped as it was sealed."""
    word = (command.command_index * 0x9E3779B97F4A7C15 + command.generation) & _WORD
    assert command.check == word ^ _WORD, f"a torn command: {command}"
    assert command.body.tolist() == [word ^ lane for lane in range(5)], f"a torn command: {command}"
