"""Who is alive: kernel locks decide, everything else is a hint.

    byte of the segment's object    held by
    0                               its gateway (the writer)
    1                               the supervisor
    16 + slot                       the session's client

The locks are open-file-description locks. They lie on a descriptor of their own that is never mapped and never
duplicated, so they vanish with the process, however it ends, and with nothing else. Whoever asks uses a description of
its own. pid, start time and boot id only give the holder a name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from functools import cache
from pathlib import Path

from latentspeed.ipc import _core
from latentspeed.ipc.errors import SegmentClosed

WRITER_BYTE = 0
SUPERVISOR_BYTE = 1
FIRST_SESSION_BYTE = 16

_FLOCK = struct.Struct("hhqqi0q")  # l_type, l_whence, l_start, l_len, l_pid


def session_byte(slot: int) -> int:
    """The lock byte of a session."""
    return FIRST_SESSION_BYTE + slot


class ByteLock:
    """A lock on one byte of a segment's object, held until `release`, the object's end or the process's end.

    A forked child does not hold it: its copy of the descriptor is closed at the fork.
    """

    def __init__(self, path: Path, byte: int) -> None:
        """Open the object without locking it. Raises FileNotFoundError, or OSError when it is a link."""
        self.byte = byte
        self.path = path
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._forks = _core.fork_count()
        try:
            _core.register_lock_fd(self._fd)
        except BaseException:
            os.close(self._fd)
            self._fd = None
            raise

    @property
    def fd(self) -> int:
        """The lock's descriptor. Raises ValueError once it is released or on the other side of a fork."""
        if self._fd is None or not self.is_ours():
            raise ValueError(f"the lock on byte {self.byte} of {self.path} is not held by this process")
        return self._fd

    def is_ours(self) -> bool:
        """Does this process hold the descriptor: not released, and not inherited through a fork?"""
        return self._fd is not None and self._forks == _core.fork_count()

    def try_lock(self) -> bool:
        """Take the byte if nobody holds it."""
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, self.byte, 1, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def names_this_object(self) -> bool:
        """Is the object still the one that its name leads to? Asked under the lock, the answer stays true."""
        try:
            named = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        mine = os.fstat(self.fd)
        return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)

    def release(self) -> None:
        """Give the byte back. A forked child has nothing to give."""
        fd, self._fd = self._fd, None
        if fd is not None and self._forks == _core.fork_count() and _core.forget_lock_fd(fd):
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", None) is not None:
            self.release()


def is_locked(probe_fd: int, first: int, length: int = 1) -> bool:
    """Does anyone hold one of these bytes? `probe_fd` must be no lock's own descriptor; length 0 means to the end."""
    query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, length, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(probe_fd, fcntl.F_OFD_GETLK, query))[0] != fcntl.F_UNLCK)


class LockProbe:
    """Asks who is alive, through a description of its own on which no lock ever lies."""

    def __init__(self, fd: int) -> None:
        """Takes over the descriptor."""
        self._fd: int | None = fd

    @property
    def fd(self) -> int:
        """The descriptor. Raises SegmentClosed after `close`."""
        if self._fd is None:
            raise SegmentClosed
        return self._fd

    def is_locked(self, first: int, length: int = 1) -> bool:
        """Does anyone hold one of these bytes? Length 0 means to the end."""
        return is_locked(self.fd, first, length)

    def is_object(self, fd: int) -> bool:
        """Does that descriptor lead to the same object?"""
        mine, other = os.fstat(self.fd), os.fstat(fd)
        return (mine.st_dev, mine.st_ino) == (other.st_dev, other.st_ino)

    def close(self) -> None:
        """Close the descriptor; whoever asks later is refused."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


@cache
def boot_id() -> str:
    """The kernel's name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; with the pid it names a process. None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return int(fields[19])


def open_pidfd(pid: int, start_time: int) -> int | None:
    """A descriptor that turns readable when that very process ends; None when it already has, or cannot be watched."""
    if not 0 < pid < 1 << 31:  # a client wrote it: any number
        return None
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    # the pid may have been given to another process between the claim and the call
    if pid_start_time(pid) != start_time:
        os.close(fd)
        return None
    return fd
