"""The bench's other process: started once, pinned to the second core, told what to do over a socket.

    bench process, core a    -- (method, arguments) -->    partner process, core b
                             <-- result or traceback --

`post` starts something there and returns at once, so that both sides work on one measurement; `result` waits for it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType, TracebackType
from typing import Any, Final, Self

from latentspeed.tools.bench.observer import BenchFailed

RESULT_S: Final = 60.0
MEASUREMENT_S: Final = 60
_PR_SET_PDEATHSIG: Final = 1


class Partner:
    """A process that runs `serve` on an object made by `target` ("module:function") from `arguments`."""

    def __init__(
        self, target: str, arguments: Mapping[str, Any], core: int, pass_fds: tuple[int, ...] = (), *, name: str = ""
    ) -> None:
        ours, theirs = socket.socketpair()
        module, _, function = target.partition(":")
        code = f"from {module} import {function}; from {__name__} import serve; serve({function}, {theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, name or function], pass_fds=(theirs.fileno(), *pass_fds)
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.pid = self._process.pid
        os.sched_setaffinity(self.pid, {core})
        self.connection.send((os.getpid(), dict(arguments)))
        self.result()

    def post(self, method: str, *arguments: Any) -> None:
        """Start a method there."""
        self.connection.send((method, arguments))

    def result(self) -> Any:
        """What the method that was started last returned. Raises BenchFailed with the other side's traceback."""
        if not self.connection.poll(RESULT_S):
            raise BenchFailed("the bench's second process does not answer")
        try:
            ok, value = self.connection.recv()
        except EOFError:
            raise BenchFailed(f"the bench's second process ended with {self._process.wait()}") from None
        if not ok:
            raise BenchFailed(f"the bench's second process failed:\n{value}")
        return value

    def call(self, method: str, *arguments: Any) -> Any:
        """Run a method there and wait for it."""
        self.post(method, *arguments)
        return self.result()

    def close(self) -> None:
        """End it: it ends by itself when the socket closes, and is killed when it does not."""
        self.connection.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(target: Any, fd: int) -> None:
    """The partner's loop: make the object, then run its methods until the socket closes."""
    connection = Connection(fd)
    parent, arguments = connection.recv()
    die_with_parent(parent)
    made = target(**arguments)
    connection.send((True, None))
    while True:
        try:
            method, given = connection.recv()
        except (EOFError, ConnectionError):
            break
        try:
            with time_limit():
                answer = (True, getattr(made, method)(*given))
        except Exception:
            answer = (False, traceback.format_exc())
        connection.send(answer)
    made.close()


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process with its parent: a spinner without one would burn a core for ever."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def time_limit(seconds: float = MEASUREMENT_S) -> Iterator[None]:
    """Raise BenchFailed after that long: a spin that waits for a process that died never ends by itself."""

    def expired(number: int, frame: FrameType | None) -> None:
        raise BenchFailed(f"a measurement did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def two_cores() -> tuple[int, int]:
    """The first two cores that this process may use. Raises BenchFailed when there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchFailed("two cores are wanted, one for each side; this process may use only one")
    return cores[0], cores[1]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run on this core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
