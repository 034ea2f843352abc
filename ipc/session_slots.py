"""Sessions as the gateway sees them: claimed, activated, drained, freed.

    slot state   set by                      means
    FREE         gateway                     anyone who gets the byte lock may claim
    CLAIMED      client, by its claim        waits for the gateway; the queue is not touched
    ACTIVE       gateway, new generation     the client may push; commands carry the generation
    DRAINING     gateway                     revoked: what is queued is settled, nothing new is taken
    (FREE)       gateway                     the queue is emptied

State, generation, incarnation and the queue's head lie in the session directory, which only the gateway writes. What
lies in the client's block is taken at its word for nothing.
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import NamedTuple

from latentspeed.ipc import _core
from latentspeed.ipc._core import CommandConsumer, Mapping, SessionSlot, TableReader
from latentspeed.ipc.layout import SectionKind, SegmentLayout, SessionsSpec
from latentspeed.ipc.liveness import LockProbe, open_pidfd, session_byte


class SessionState(IntEnum):
    """A slot's state."""

    FREE = 0
    CLAIMED = 1
    ACTIVE = 2
    DRAINING = 3


_STORED = {int(state): state for state in (SessionState.FREE, SessionState.ACTIVE, SessionState.DRAINING)}


def stored_state(word: int) -> SessionState:
    """The state in a directory word. What no gateway stores is taken for DRAINING, so that the next one frees it."""
    return _STORED.get(word & 0xFFFFFFFF, SessionState.DRAINING)


class Claim(NamedTuple):
    """Who claimed a slot, in the client's own words; `ticket` tells one claim from another.

    A client that has not beaten for `stall_tenths` tenths of a second wants to be taken for stuck; 0 is never.
    """

    ticket: int
    pid: int
    pid_start: int
    name: str
    tag: int
    cancel_on_death: bool
    stall_tenths: int = 0


class SessionInfo(NamedTuple):
    """What the directory says of one slot; `claim` is the one that was activated last, None before the first."""

    slot: int
    state: SessionState
    generation: int
    incarnation: int
    base: int
    head: int
    cancel_all_served: int
    claim: Claim | None
    is_locked: bool


def sessions_of(layout: SegmentLayout) -> SessionsSpec:
    """The layout's sessions. Raises ValueError when it has none."""
    if layout.sessions is None:
        raise ValueError("this segment has no sessions")
    return layout.sessions


def entry_offset(layout: SegmentLayout, slot: int) -> int:
    """Where a slot's directory entry lies in the segment. Raises IndexError where there is no such slot."""
    _check_slot(layout, slot)
    return layout.section(SectionKind.SESSIONS).offset + _core.SESSION_ENTRY_SIZE * slot


def block_offset(layout: SegmentLayout, slot: int) -> int:
    """Where a slot's block lies in the segment. Raises IndexError where there is no such slot."""
    _check_slot(layout, slot)
    return layout.section(SectionKind.BLOCKS).offset + sessions_of(layout).block_size * slot


def _check_slot(layout: SegmentLayout, slot: int) -> None:
    slots = sessions_of(layout).slots
    if not 0 <= slot < slots:
        raise IndexError(f"session slot {slot} is not in 0 .. {slots - 1}")


def read_session(mapping: Mapping, layout: SegmentLayout, slot: int, probe: LockProbe) -> SessionInfo:
    """A slot's directory entry and lock, as of now."""
    state, generation, incarnation, base, head, served, claim = _core.read_session(mapping, entry_offset(layout, slot))
    return SessionInfo(
        slot,
        stored_state(state),
        generation,
        incarnation,
        base,
        head,
        served,
        Claim(*claim) if claim[0] else None,
        probe.is_locked(session_byte(slot)),
    )


class GatewaySession:
    """The gateway's hold on one slot; exists for every slot, taken or not."""

    def __init__(self, mapping: Mapping, layout: SegmentLayout, slot: int, probe: LockProbe) -> None:
        """The probe stays the caller's."""
        spec = sessions_of(layout)
        entry, block = entry_offset(layout, slot), block_offset(layout, slot)
        self.slot = slot
        self._mapping = mapping
        self._layout = layout
        self._probe = probe
        self._words = SessionSlot(mapping, entry, mapping, block, spec.queue_capacity)
        self.queue = CommandConsumer(mapping, entry, mapping, block, spec.queue_capacity, spec.command_type, slot)
        self._tables = {
            table.name: TableReader(
                mapping, block + spec.table_offsets[table.name], table.count, table.record_type, table.name
            )
            for table in spec.tables
        }

    def __repr__(self) -> str:
        return f"<session {self.slot} {self.state.name} generation {self.generation}>"

    # ---- who ----

    @property
    def state(self) -> SessionState:
        """The slot's state; CLAIMED is the client's word, not yet the gateway's."""
        return SessionState.CLAIMED if self._words.claimed else stored_state(self._words.word)

    @property
    def generation(self) -> int:
        """The generation of the last activation; only while ACTIVE may commands carry it."""
        return self._words.word >> 32

    @property
    def incarnation(self) -> int:
        """The incarnation given at the last activation."""
        return self._info().incarnation

    @property
    def claim(self) -> Claim | None:
        """Who holds the slot. Once ACTIVE this is the gateway's own copy, kept over its restarts."""
        if stored_state(self._words.word) is SessionState.FREE:
            claim = self._words.read_claim()
            return Claim(*claim) if claim is not None else None
        return self._info().claim

    def _info(self) -> SessionInfo:
        return read_session(self._mapping, self._layout, self.slot, self._probe)

    def is_locked(self) -> bool:
        """Does the client's process still hold the slot's byte? This decides whether it lives."""
        return self._probe.is_locked(session_byte(self.slot))

    def has_claim(self) -> bool:
        """Is there someone to activate: FREE, claimed, and the claimer alive?"""
        return self._words.claimed and self.is_locked()

    def open_pidfd(self) -> int | None:
        """A descriptor that turns readable at the client's death, as a hint to probe the lock.

        None when it has died already or cannot be watched. After opening it the lock and the generation are looked at
        again, so that a reused pid or slot is never watched for the wrong session. The caller closes it.
        """
        word, claim = self._words.word, self.claim
        fd = open_pidfd(claim.pid, claim.pid_start) if claim is not None else None
        if fd is None:
            return None
        if self._words.word != word or not self.is_locked():
            os.close(fd)
            return None
        return fd

    # ---- what the gateway does ----

    def activate(self, generation: int | None, incarnation: int) -> int | None:
        """Answer the claim: ACTIVE with a new generation (None: the next one).

        Returns the generation, or None when the claim was withdrawn in this moment. Raises ValueError when the slot is
        not FREE, or for a generation that is out of range or was the last one.
        """
        new = (self.generation + 1) & 0xFFFFFFFF or 1 if generation is None else generation
        if not 0 < new < 1 << 32 or new == self.generation:
            raise ValueError(f"session {self.slot}: generation {new} is out of range or was the last one")
        state = stored_state(self._words.word)
        if state is not SessionState.FREE:
            raise ValueError(f"session {self.slot} is {state.name}; only a FREE one that is claimed can be activated")
        return new if self._words.activate(new, incarnation) is not None else None

    def drain(self) -> None:
        """Revoke the generation: the client's next push raises SessionFenced. What is queued stays to be settled."""
        if stored_state(self._words.word) is not SessionState.ACTIVE:
            raise ValueError(f"session {self.slot} is {self.state.name}; only an ACTIVE one can be drained")
        self._words.drain()

    def free(self) -> int:
        """Empty the queue and give the slot away. Returns how many commands nobody settled.

        Settle what is queued first. A client that lives may still have stored one command after that, pushed in the
        moment in which it was revoked; that is what the returned number tells.
        """
        if stored_state(self._words.word) is not SessionState.DRAINING:
            raise ValueError(f"session {self.slot} is {self.state.name}; only a DRAINING one can be freed")
        return self._words.free()

    # ---- what the client writes ----

    @property
    def heartbeat_mono_ns(self) -> int:
        """When the client last said that it is alive; 0 before the first time. Its own word."""
        return self._words.heartbeat_mono_ns

    def read_cancel_all(self) -> tuple[int, int]:
        """Level and index of the last request, read in the order that never gives an older index with a newer level."""
        return self._words.read_cancel_all()

    @property
    def cancel_all_level(self) -> int:
        """How often the client asked to cancel everything."""
        return self._words.read_cancel_all()[0]

    @property
    def cancel_all_index(self) -> int:
        """The last request means commands with an index below this."""
        return self._words.read_cancel_all()[1]

    @property
    def cancel_all_served(self) -> int:
        """The level that was carried out last; set it to the level read before carrying it out."""
        return self._words.cancel_all_served

    @cancel_all_served.setter
    def cancel_all_served(self, level: int) -> None:
        self._words.cancel_all_served = level

    def cancel_all_pending(self) -> bool:
        """Is there a cancel-all to carry out?"""
        return self.cancel_all_level != self.cancel_all_served

    def table(self, name: str) -> TableReader:
        """A table that the client writes. Raises KeyError."""
        if name not in self._tables:
            raise KeyError(f"no session table {name!r}; there are {sorted(self._tables)}")
        return self._tables[name]
