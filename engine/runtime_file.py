"""What runs now: the engine's lock and `engine.json`, which `status` and `profile` read.

The supervisor holds an open-file-description lock on STATE_DIR/ENGINE/lock for its life, and the kernel drops it with
the process: the lock proves that the engine runs, engine.json only describes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

import msgspec

from latentspeed.engine.state_dir import StateError

RUNTIME_FILE: Final = "engine.json"
LOCK_FILE: Final = "lock"
# struct flock of fcntl(2): type, whence, start, length (0: all), pid; `0q` adds the padding at its end.
_FLOCK: Final = "hhqqi0q"


class ChildRuntime(msgspec.Struct, kw_only=True, frozen=True):
    """One child as of now. `pid` is None while it does not run; `exit_code` is of the last end, if there was one."""

    name: str
    kind: str
    state: str
    pid: int | None
    restarts: int
    exit_code: int | None
    started_utc_ns: int | None
    log: str


class EngineRuntime(msgspec.Struct, kw_only=True, frozen=True):
    """A running engine as of now."""

    engine: str
    pid: int
    state: str
    started_utc_ns: int
    config: str
    allow_profiling: bool
    segments: list[str]
    children: list[ChildRuntime]


class EngineAlreadyRuns(StateError):
    """Another supervisor runs this engine."""


class EngineLock:
    """The right to run one engine, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock in an engine's folder; raises EngineAlreadyRuns with the holder's pid."""
        path = folder / LOCK_FILE
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StateError(f"the engine's lock file {path} cannot be made: {error.strerror}") from None
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except (BlockingIOError, PermissionError):
            pid = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise EngineAlreadyRuns(f"the engine {folder.name} runs already: its supervisor has pid {pid}") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_runtime(folder: Path, runtime: EngineRuntime) -> None:
    """Replaces engine.json as a whole: a reader gets the old one or the new one."""
    draft = folder / f".{RUNTIME_FILE}.{os.getpid()}"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(runtime), indent=2) + b"\n")
    draft.replace(folder / RUNTIME_FILE)


def remove_runtime(folder: Path) -> None:
    """Takes engine.json away at an orderly stop."""
    (folder / RUNTIME_FILE).unlink(missing_ok=True)


def read_runtime(folder: Path) -> EngineRuntime | None:
    """Returns what runs in an engine's folder, None when no supervisor holds its lock."""
    if not _is_locked(folder / LOCK_FILE):
        return None
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode((folder / RUNTIME_FILE).read_bytes(), type=EngineRuntime)
    return None  # It has begun, or is about to end.


def running_engines(state_dir: Path) -> list[EngineRuntime]:
    """Returns the running engines of a state folder by name."""
    if not state_dir.is_dir():
        return []
    found = (read_runtime(folder) for folder in sorted(state_dir.iterdir()) if folder.is_dir())
    return [runtime for runtime in found if runtime is not None]


def _is_locked(path: Path) -> bool:
    """Asks for the lock without taking it, which would make a supervisor that starts now believe in another one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return bool(struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted))[0] != fcntl.F_UNLCK)
    finally:
        os.close(descriptor)
