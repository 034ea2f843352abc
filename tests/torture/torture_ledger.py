"""What the processes of a torture run leave for their successors and for the final account.

It lies in anonymous memory, shared by fork, outside of what is tortured; a killed process takes nothing of it along.
Every word has one writing process at a time; what must change together is written beside the old and then switched to.

    chain        what one line of readers has read so far; its next reader goes on from there
    commands     for each slot and index: who pushed it, how often it was carried out, what became of it
    work         for each process: how much it has done, so that a hang shows
"""

from __future__ import annotations

import mmap
from enum import IntEnum

import numpy as np

READERS = 2
CLIENTS = 3
SLOTS = CLIENTS  # no slot to spare: a client that is killed must free its own
COMMANDS = 1 << 20
GENERATIONS = 1 << 16
WORKERS = 1 + READERS + CLIENTS


class Fate(IntEnum):
    """What became of a command; 0 is a command that was forgotten."""

    EXECUTED = 1
    NEVER_SENT = 2  # a gateway died with it before it sent it
    UNKNOWN = 3  # a gateway died while it sent it: sent or not, never again
    DIED = 4  # its session died or was revoked before it was taken
    LEFT = 5  # pushed in the moment of a revocation, told by the slot's freeing


CHAIN = np.dtype([(name, "i8") for name in ("start", "cursor", "data", "epochs", "voids", "lost", "laps", "cells")])


class Ledger:
    """Made before the first fork."""

    def __init__(self) -> None:
        self._chains = _shared((READERS, 2), CHAIN)
        self._current = _shared((READERS,), "u1")
        self.pushed_by = _shared((SLOTS, COMMANDS), "u4")
        self.effects = _shared((SLOTS, COMMANDS), "u1")
        self.fate = _shared((SLOTS, COMMANDS), "u1")
        self.fate_of = _shared((SLOTS, COMMANDS), "u4")
        self.freeing = _shared((SLOTS,), "i8")
        self.revoked = _shared((GENERATIONS,), "u1")
        self.work = _shared((WORKERS,), "i8")
        self.sessions = _shared((1,), "i8")

    def chain(self, reader: int) -> np.void:
        """The last account of this line of readers, whole."""
        return self._chains[reader, self._current[reader]].copy()

    def commit(self, reader: int, account: np.void) -> None:
        """Replace it, at once for whoever looks after a kill."""
        other = 1 - self._current[reader]
        self._chains[reader, other] = account
        self._current[reader] = other

    def dispose(self, slot: int, index: int, generation: int, fate: Fate) -> None:
        """A command's one fate. A successor may find it again, with the same one."""
        before = self.fate[slot, index]
        if before:
            assert before == fate, f"command {index} of slot {slot} was {Fate(before).name}, now {fate.name}"
            assert self.fate_of[slot, index] == generation, f"command {index} of slot {slot} met its fate twice"
            return
        self.fate_of[slot, index] = generation
        self.fate[slot, index] = fate

    def note_push(self, slot: int, index: int, generation: int) -> None:
        """A client's own word, after the push. An index is pushed twice only when the first one was revoked."""
        before = int(self.pushed_by[slot, index])
        assert before in (0, generation) or self.revoked[before], f"command {index} of slot {slot} was given out twice"
        self.pushed_by[slot, index] = generation

    def check_commands(self, slot: int, head: int) -> dict[str, int]:
        """After everything was settled: each command up to head has one fate, and its effect agrees with it."""
        fate, effects = self.fate[slot, :head], self.effects[slot, :head]
        forgotten = np.flatnonzero(fate == 0)
        assert not len(forgotten), f"slot {slot}: commands without a fate: {forgotten[:10]}"
        assert not self.fate[slot, head:].any(), f"slot {slot}: commands beyond the head have a fate"
        assert effects.max(initial=0) <= 1, f"slot {slot}: carried out twice: {np.flatnonzero(effects > 1)[:10]}"
        assert (effects[fate == Fate.EXECUTED] == 1).all(), f"slot {slot}: said to be executed and was not"
        idle = np.isin(fate, (Fate.NEVER_SENT, Fate.DIED, Fate.LEFT))
        assert not effects[idle].any(), f"slot {slot}: carried out and denied"
        by, of = self.pushed_by[slot, :head], self.fate_of[slot, :head]
        other = (by != 0) & (by != of)
        assert self.revoked[by[other]].all(), f"slot {slot}: {np.flatnonzero(other)[:10]} were lost"
        beyond = self.pushed_by[slot, head:]
        assert self.revoked[beyond[beyond != 0]].all(), f"slot {slot}: pushed and never seen"
        return {one.name: int((fate == one).sum()) for one in Fate}


def _shared(shape: tuple[int, ...], dtype: object) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, size), dtype, int(np.prod(shape))).reshape(shape)
