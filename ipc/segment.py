"""One shared-memory object: its name, its creation, its retirement, and the FIFO beside it.

    /dev/shm/latentspeed.<name>         the segment, mode 0600
    /dev/shm/latentspeed.<name>.bell    the gateway's FIFO, made once with it

An object is never truncated and never resized. Whoever unlinks the name holds the writer byte of the object that the
name leads to, and has checked that after locking it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

import posix_ipc

from latentspeed.ipc import _core
from latentspeed.ipc._core import Bell, Mapping
from latentspeed.ipc.errors import SegmentDamaged, SegmentNotFound, SharedMemoryFull, WrongOwner
from latentspeed.ipc.header import SegmentHeader, SegmentState, pack_identity, read_identity
from latentspeed.ipc.layout import PAGE, SectionKind, SegmentLayout
from latentspeed.ipc.liveness import SUPERVISOR_BYTE, WRITER_BYTE, ByteLock

SHM_FOLDER = Path("/dev/shm")
PREFIX = "latentspeed."
BELL_SUFFIX = ".bell"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_name(name: str) -> str:
    """The name itself; ValueError when it cannot name a segment."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith(BELL_SUFFIX):
        raise ValueError(
            f"segment name {name!r}: a letter or digit, then up to 63 of letters, digits and _ . - wanted, "
            f"not ending in {BELL_SUFFIX}"
        )
    return name


def object_name(name: str) -> str:
    """The POSIX name of the shared-memory object."""
    return f"/{PREFIX}{check_name(name)}"


def segment_path(name: str) -> Path:
    """Where the object shows in the file system."""
    return SHM_FOLDER / f"{PREFIX}{check_name(name)}"


def bell_path(name: str) -> Path:
    """Where the gateway's FIFO is."""
    return SHM_FOLDER / f"{PREFIX}{check_name(name)}{BELL_SUFFIX}"


def segment_exists(name: str) -> bool:
    """Is there an object of that name, in whatever state?"""
    return segment_path(name).exists()


def segment_names() -> list[str]:
    """The names of all segments on this machine, dead or alive."""
    names = []
    for entry in os.listdir(SHM_FOLDER):
        name = entry.removeprefix(PREFIX)
        if name != entry and not name.endswith(BELL_SUFFIX) and _NAME.fullmatch(name):
            names.append(name)
    return sorted(names)


def check_owner(fd: int, path: Path, kind: str = "file") -> None:
    """Raise WrongOwner unless the object is a file (or fifo) of ours that nobody else may open."""
    status = os.fstat(fd)
    is_kind = stat.S_ISREG(status.st_mode) if kind == "file" else stat.S_ISFIFO(status.st_mode)
    if not is_kind:
        raise WrongOwner(path, f"it is not a {kind}")
    if status.st_uid != os.geteuid():
        raise WrongOwner(path, f"it belongs to user {status.st_uid}, this process runs as {os.geteuid()}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise WrongOwner(path, f"its mode is {stat.S_IMODE(status.st_mode):04o}; others may open it, 0600 is wanted")


def open_object(name: str, *, writable: bool) -> int:
    """A descriptor of the object, closed on exec. Raises SegmentNotFound or WrongOwner."""
    path = segment_path(name)
    try:
        fd = posix_ipc.SharedMemory(object_name(name), read_only=not writable).fd
    except posix_ipc.ExistentialError:
        raise SegmentNotFound(name, path) from None
    except (posix_ipc.PermissionsError, OSError) as error:
        raise WrongOwner(path, f"it cannot be opened: {error}") from None
    try:
        check_owner(fd, path)
    except WrongOwner:
        os.close(fd)
        raise
    return int(fd)


def create_object(name: str, size: int) -> int | None:
    """A new object of that size, every page allocated; None when the name exists.

    Raises SharedMemoryFull, and leaves nothing behind then.
    """
    free = os.statvfs(SHM_FOLDER)
    if free.f_bavail * free.f_frsize < size:
        raise SharedMemoryFull(name, size, free.f_bavail * free.f_frsize)
    try:
        fd = posix_ipc.SharedMemory(object_name(name), flags=posix_ipc.O_CREX, mode=0o600).fd
    except posix_ipc.ExistentialError:
        return None
    try:
        os.fchmod(fd, 0o600)  # whatever the umask left of it
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        _discard(name, fd)
        os.close(fd)
        if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EFBIG):
            now = os.statvfs(SHM_FOLDER)
            raise SharedMemoryFull(name, size, now.f_bavail * now.f_frsize) from None
        raise
    return int(fd)


def _discard(name: str, fd: int) -> None:
    """Remove an object that could not be made, unless another gateway has taken it or its name meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        lock = ByteLock(segment_path(name), WRITER_BYTE)
        if os.path.sameopenfile(lock.fd, fd) and lock.try_lock():
            unlink(name, lock)
        lock.release()


def build(mapping: Mapping, layout: SegmentLayout) -> None:
    """Write identity, directory and schema into a new object; the version word is not stored yet."""
    mapping.fill(0, pack_identity(layout))
    mapping.fill(layout.section(SectionKind.DIRECTORY).offset, layout.directory)
    mapping.fill(layout.section(SectionKind.SCHEMA).offset, layout.schema.encode())


def map_header(name: str, fd: int, *, writable: bool = False) -> Mapping:
    """Page 0 of an open object. Raises SegmentDamaged when the object is shorter than a header."""
    size = os.fstat(fd).st_size
    if size < PAGE:
        raise SegmentDamaged(name, f"it has {size} bytes, a header takes {PAGE}")
    return Mapping(fd, 0, PAGE, writable)


# ---- the FIFO ----


def make_bell(name: str) -> None:
    """The FIFO for a new segment; what an earlier segment of that name left is replaced.

    Raises WrongOwner when another user's file has the name.
    """
    path = bell_path(name)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.mkfifo(path, 0o600)
        path.chmod(0o600)
    except (PermissionError, FileExistsError, IsADirectoryError) as error:
        raise WrongOwner(path, f"it cannot be replaced: {error}") from None


def open_bell(name: str) -> int:
    """The FIFO, read-write, so that it never reports a hang-up, and non-blocking."""
    path = bell_path(name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise SegmentDamaged(name, f"its doorbell {path} is missing") from None
    except OSError as error:  # a link, a folder, another user's
        raise WrongOwner(path, f"it cannot be opened: {error}") from None
    try:
        check_owner(fd, path, "fifo")
    except WrongOwner:
        os.close(fd)
        raise
    return fd


# ---- the end of a segment ----


def retire(name: str, lock: ByteLock) -> None:
    """Mark the object RETIRED and wake everyone who waits on it. The caller holds its writer byte.

    Works on any version of the format: magic, version, state and the place of the bells never move. An object that is
    not ours, or too short, has nobody to tell.
    """
    fd = open_object(name, writable=True)
    try:
        if not lock.names_this_object() or not os.path.sameopenfile(fd, lock.fd):
            return
        try:
            page = map_header(name, fd, writable=True)
        except SegmentDamaged:
            return
        identity = read_identity(page)
        if identity.magic != _core.MAGIC:
            return
        SegmentHeader(page).state = SegmentState.RETIRED
        bells_size = identity.bells_count * _core.BELL_SIZE
        size = os.fstat(fd).st_size
        if identity.bells_offset % PAGE or not 0 < bells_size <= size or identity.bells_offset > size - bells_size:
            return
        bells = Mapping(fd, identity.bells_offset, bells_size, True)
        for index in range(identity.bells_count):
            Bell(bells, index * _core.BELL_SIZE).wake_all()
    finally:
        os.close(fd)


def unlink(name: str, lock: ByteLock) -> bool:
    """Remove the name and the FIFO. The caller holds the writer byte; False when the name leads elsewhere by now."""
    if not lock.names_this_object():
        return False
    with contextlib.suppress(FileNotFoundError, PermissionError, IsADirectoryError):  # or it was never ours
        bell_path(name).unlink()
    posix_ipc.unlink_shared_memory(object_name(name))
    return True


def hold_supervisor_byte(name: str) -> ByteLock | None:
    """Lock the supervisor's byte of a segment, so that `clean` leaves it; None when another supervisor holds it.

    Raises SegmentNotFound. The lock lies on the object: take it again after the segment was replaced.
    """
    try:
        lock = ByteLock(segment_path(name), SUPERVISOR_BYTE)
    except FileNotFoundError:
        raise SegmentNotFound(name, segment_path(name)) from None
    if lock.try_lock():
        return lock
    lock.release()
    return None
