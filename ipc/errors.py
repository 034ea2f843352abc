"""The exceptions of the shared memory. Each carries its facts as attributes and says them in its message."""

from __future__ import annotations

from pathlib import Path


class IpcError(Exception):
    """Base of everything that `latentspeed.ipc` raises on its own account."""


# ---- finding and making a segment ----


class SharedMemoryFull(IpcError):
    """There is no room for the segment in /dev/shm; nothing was left behind."""

    def __init__(self, name: str, needed: int, available: int) -> None:
        super().__init__(name, needed, available)
        self.name = name
        self.needed = needed
        self.available = available

    def __str__(self) -> str:
        return (
            f"segment {self.name!r} needs {self.needed:,} bytes of shared memory and {self.available:,} are free: "
            "enlarge /dev/shm (docker: --shm-size) or remove stale segments (`latentspeed clean`)"
        )


class SegmentNotFound(IpcError):
    """No segment of that name."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, path)
        self.name = name

    def __str__(self) -> str:
        return f"there is no segment {self.name!r} ({self.args[1]}): is its gateway running?"


class SegmentDamaged(IpcError):
    """An object with the segment's name is no whole segment: half-built, truncated or not ours."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(name, what)
        self.name = name
        self.what = what

    def __str__(self) -> str:
        return f"segment {self.name!r} cannot be trusted: {self.what}"


class WrongOwner(IpcError):
    """The object belongs to another user, or others may open it."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path, what)

    def __str__(self) -> str:
        return f"{self.args[0]} is refused: {self.args[1]}"


class LayoutMismatch(IpcError):
    """The segment was made by a gateway whose records or sections differ from this program's."""

    def __init__(self, name: str, ours: str, theirs: str) -> None:
        super().__init__(name, ours, theirs)
        self.name = name
        self.ours = ours
        self.theirs = theirs

    def __str__(self) -> str:
        return (
            f"segment {self.name!r} has another layout: this program {self.ours}, the segment {self.theirs}. "
            "Restart the gateway and the strategies with one version"
        )


class OtherBoot(IpcError):
    """The segment was made before the machine was started, so nobody serves it."""

    def __init__(self, name: str, segment_boot: str, this_boot: str) -> None:
        super().__init__(name, segment_boot, this_boot)
        self.name = name

    def __str__(self) -> str:
        return f"segment {self.name!r} is of boot {self.args[1]}, this is boot {self.args[2]}: it is dead"


class SecondWriter(IpcError):
    """Another process is the gateway of this segment."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(name, pid)
        self.name = name
        self.pid = pid

    def __str__(self) -> str:
        holder = f"process {self.pid}" if self.pid else "another process"
        return f"segment {self.name!r} already has a gateway: {holder} holds its writer lock"


class SegmentRetired(IpcError):
    """The segment was replaced or removed."""

    def __init__(self, what: str = "this segment was replaced or removed: attach again") -> None:
        super().__init__(what)


class SegmentClosed(IpcError):
    """This process closed the segment or session that it now writes to."""

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        return "this process closed the segment or session that it now writes to"


# ---- reading ----


class CellBusy(IpcError):
    """A reader was overtaken on every attempt."""

    def __init__(self, table: str, index: int, attempts: int) -> None:
        super().__init__(table, index, attempts)
        self.table = table
        self.index = index

    def __str__(self) -> str:
        return f"table {self.table!r}, cell {self.index}: overtaken by its writer in {self.args[2]} attempts"


class Lapped(IpcError):
    """The writer overwrote records that this reader had not read; it goes on at the tail.

    `lost` is how many records it will not see. What they changed is in the tables: read those again.
    """

    def __init__(self, ring: str, lost: int, cursor: int, tail: int, capacity: int) -> None:
        super().__init__(ring, lost, cursor, tail, capacity)
        self.ring = ring
        self.lost = lost
        self.cursor = cursor
        self.tail = tail
        self.capacity = capacity

    def __str__(self) -> str:
        return (
            f"ring {self.ring!r}: lapped at record {self.cursor}, {self.lost} records lost (capacity "
            f"{self.capacity}); reading goes on at {self.tail}"
        )


# ---- sessions and commands ----


class GatewayDown(IpcError):
    """No gateway answered before the deadline."""

    def __init__(self, name: str, waited_s: float, what: str) -> None:
        super().__init__(name, waited_s, what)
        self.name = name

    def __str__(self) -> str:
        return f"no answer from the gateway of segment {self.name!r} in {self.args[1]:g} s: {self.args[2]}"


class NoFreeSession(IpcError):
    """Every session of the segment is taken."""

    def __init__(self, name: str, slots: int) -> None:
        super().__init__(name, slots)
        self.name = name
        self.slots = slots

    def __str__(self) -> str:
        return f"all {self.slots} sessions of segment {self.name!r} are taken"


class CommandQueueFull(IpcError):
    """The command was not queued; nothing was sent."""

    def __init__(self, slot: int, depth: int, capacity: int, is_cancel: bool) -> None:
        super().__init__(slot, depth, capacity, is_cancel)
        self.slot = slot
        self.depth = depth
        self.capacity = capacity
        self.is_cancel = is_cancel

    def __str__(self) -> str:
        kept = "" if self.is_cancel else f", the last {self.capacity // 8} kept for cancels"
        return f"session {self.slot}: {self.depth} of {self.capacity} commands are waiting{kept}: nothing was sent"


class SessionFenced(IpcError):
    """The session may not send any more: attach again. Nothing was sent."""

    def __init__(self, slot: int, generation: int, current: int, state: str) -> None:
        super().__init__(slot, generation, current, state)
        self.slot = slot
        self.generation = generation

    def __str__(self) -> str:
        return (
            f"session {self.slot} generation {self.generation} may not send: the slot is {self.args[3]}, "
            f"generation {self.args[2]}. Attach again"
        )


class SessionRevoked(IpcError):
    """The client wrote into its block what no client of ours writes; the gateway takes no more from it."""

    def __init__(self, slot: int, what: str, found: int, expected: int) -> None:
        super().__init__(slot, what, found, expected)
        self.slot = slot
        self.what = what

    def __str__(self) -> str:
        return f"session {self.slot}: {self.what} is {self.args[2]} where the head says {self.args[3]}: revoked"


class ForkedSession(IpcError):
    """The process was forked after it attached; the session stays with the parent."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid

    def __str__(self) -> str:
        return f"process {self.pid} was forked from one that holds this session or segment: attach in the child"
