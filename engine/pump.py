"""The background thread that reads for a connector whose user has no loop: a plain script, or a notebook.

Jobs (attach, claim, release) run in this thread too, so that a connector has one owner at a time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from latentspeed.connectors.pending import Pending
from latentspeed.ipc import Park, RingReader

T = TypeVar("T")
log = logging.getLogger(__name__)

IDLE_S = 0.05


class PumpThread:
    """A daemon thread that polls until it is stopped.

    Parameters: `poll()` returns how much there was to do; `readers()` the ring readers to sleep on, none before there
    is a session; `on_failure(error)` is told of what ended the polling.
    """

    def __init__(
        self,
        name: str,
        poll: Callable[[], int],
        readers: Callable[[], tuple[RingReader, ...]],
        on_failure: Callable[[BaseException], object],
    ) -> None:
        self._poll = poll
        self._readers = readers
        self._on_failure = on_failure
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._mutex = threading.Lock()
        self._is_stopping = False
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name=f"latentspeed-{name}", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the pump's own."""
        return threading.current_thread() is self._thread

    def submit(self, job: Callable[[], T], result: Pending[T]) -> bool:
        """Run a job in the thread, soon; False where the thread has ended and will run nothing more."""

        def run() -> None:
            try:
                value = job()
            except BaseException as error:
                result.set_exception(error)
            else:
                result.set_result(value)

        with self._mutex:
            if self._has_ended:
                return False
            self._jobs.append(run)
        self._wake.set()
        return True

    def stop(self) -> None:
        """End the thread once what was submitted has run."""
        self._is_stopping = True
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        if not self.is_here:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        idle: Park | None = None
        waited_on: tuple[RingReader, ...] = ()
        while True:
            self._wake.clear()
            while self._jobs:
                self._jobs.popleft()()
            if self._is_stopping:
                with self._mutex:
                    self._has_ended = not self._jobs
                if self._has_ended:
                    return
                continue
            try:
                done = self._poll()
            except BaseException as error:
                self._is_stopping = True
                self._report(error)
                continue
            if done:
                continue
            readers = self._readers()
            if readers != waited_on:
                waited_on, idle = readers, Park(readers) if readers else None
            if idle is None:
                self._wake.wait(IDLE_S)
            else:
                idle.wait(IDLE_S)

    def _report(self, error: BaseException) -> None:
        with suppress(Exception):
            self._on_failure(error)
