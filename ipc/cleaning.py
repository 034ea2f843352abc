"""Remove what dead gateways left in /dev/shm, and nothing else.

A segment is removed only under its own writer byte, with the supervisor's and every session's byte free, and only
while its name still leads to the object that was locked. A segment of another boot is dead by that alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import NamedTuple

from latentspeed.ipc.errors import IpcError, SegmentDamaged, WrongOwner
from latentspeed.ipc.header import read_identity
from latentspeed.ipc.liveness import SUPERVISOR_BYTE, WRITER_BYTE, ByteLock, LockProbe, boot_id
from latentspeed.ipc.segment import (
    BELL_SUFFIX,
    PREFIX,
    SHM_FOLDER,
    bell_path,
    check_name,
    map_header,
    open_object,
    retire,
    segment_exists,
    segment_names,
    segment_path,
    unlink,
)

_LONE_BELL_AGE_S = 10.0


class CleanResult(NamedTuple):
    """What became of one segment, and why."""

    name: str
    removed: bool
    reason: str


def clean(name: str | None = None) -> list[CleanResult]:
    """Remove dead segments: one, or all on this machine. Never raises for a segment that must stay."""
    names = segment_names() if name is None else [check_name(name)]
    results = [_clean_one(one) for one in names]
    if name is None:
        results += _clean_lone_bells()
    elif not segment_exists(name) and not results[0].removed:
        with contextlib.suppress(FileNotFoundError):
            bell_path(name).unlink()
    return results


def _clean_one(name: str) -> CleanResult:
    try:
        probe = LockProbe(open_object(name, writable=False))
    except WrongOwner as error:
        return CleanResult(name, False, str(error))
    except IpcError:
        return CleanResult(name, False, "it is gone already")
    try:
        lock = ByteLock(segment_path(name), WRITER_BYTE)
    except FileNotFoundError:
        probe.close()
        return CleanResult(name, False, "it is gone already")
    try:
        return _clean_locked(name, lock, probe)
    finally:
        lock.release()
        probe.close()


def _clean_locked(name: str, lock: ByteLock, probe: LockProbe) -> CleanResult:
    if not lock.try_lock():
        return CleanResult(name, False, "its gateway lives")
    if not probe.is_object(lock.fd) or not lock.names_this_object():
        return CleanResult(name, False, "it was replaced meanwhile")
    dead_boot = _boot_of(name, probe.fd) not in (None, boot_id())
    if not dead_boot and probe.is_locked(SUPERVISOR_BYTE):
        return CleanResult(name, False, "its supervisor lives")
    if not dead_boot and probe.is_locked(SUPERVISOR_BYTE + 1, 0):
        return CleanResult(name, False, "a session is attached")
    with contextlib.suppress(IpcError):
        retire(name, lock)
    removed = unlink(name, lock)
    reason = "it is of another boot" if dead_boot else "nobody holds it"
    return CleanResult(name, removed, reason if removed else "it was replaced meanwhile")


def _boot_of(name: str, fd: int) -> str | None:
    """The boot that a whole header names; None when there is no such header."""
    try:
        identity = read_identity(map_header(name, fd))
    except SegmentDamaged:
        return None
    return identity.boot_id if identity.version else None


def _clean_lone_bells() -> list[CleanResult]:
    """FIFOs whose segment somebody removed by hand."""
    results = []
    for entry in sorted(os.listdir(SHM_FOLDER)):
        if not entry.startswith(PREFIX) or not entry.endswith(BELL_SUFFIX):
            continue
        path = SHM_FOLDER / entry
        name = entry.removeprefix(PREFIX).removesuffix(BELL_SUFFIX)
        with contextlib.suppress(OSError, ValueError):
            status = path.lstat()
            # a fresh one may belong to a segment that is being made at this moment
            is_old = time.time() - status.st_ctime > _LONE_BELL_AGE_S
            if stat.S_ISFIFO(status.st_mode) and status.st_uid == os.geteuid() and is_old and not segment_exists(name):
                path.unlink()
                results.append(CleanResult(name, True, "a doorbell without a segment"))
    return results
