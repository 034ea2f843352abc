"""A result that is on its way: awaitable where an event loop runs, waited for where none does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Self, TypeVar

from latentspeed.connectors.errors import ConnectorError

T = TypeVar("T")
log = logging.getLogger(__name__)


class Pending(Generic[T]):
    """The outcome of an operation that has been started already; it goes on whether or not anybody waits.

    `await pending` works in any running loop, any number of times, and cancelling the await does not cancel the
    operation. `pending.result(timeout_s)` blocks the calling thread. `set_result` and `set_exception` may be called
    from any thread; the first one counts.
    """

    __slots__ = ("__weakref__", "_future", "_is_seen", "_loop", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`loop` is the loop that has to run for the result to come, if there is one."""
        self._future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._is_seen = False
        self._task: asyncio.Task[T] | None = None

    @classmethod
    def resolved(cls, value: T) -> Self:
        """A result that is there already."""
        pending = cls()
        pending.set_result(value)
        return pending

    @classmethod
    def failed(cls, error: BaseException) -> Self:
        """A failure that is there already."""
        pending = cls()
        pending.set_exception(error)
        return pending

    @classmethod
    def run(cls, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Self:
        """Runs a coroutine as a task of `loop`, from whatever thread, and stands for its outcome."""
        pending = cls(loop)

        def start() -> None:
            task = loop.create_task(coroutine)
            pending._task = task
            task.add_done_callback(pending._take_outcome)

        if _running_loop() is loop:
            start()
            return pending
        try:
            loop.call_soon_threadsafe(start)
        except RuntimeError as error:
            coroutine.close()
            raise ConnectorError("the connector's event loop is closed") from error
        return pending

    def depends_on(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Names the loop that has to run for the outcome to come, where it was not known from the beginning."""
        self._loop = loop

    def _take_outcome(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if task.cancelled():
            self.set_exception(ConnectorError("the operation was cancelled before it finished"))
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())

    def set_result(self, value: T) -> bool:
        """Resolves it; False when it was resolved before."""
        try:
            self._future.set_result(value)
        except concurrent.futures.InvalidStateError:
            return False
        return True

    def set_exception(self, error: BaseException) -> bool:
        """Makes it fail; False when it was resolved before."""
        try:
            self._future.set_exception(error)
        except concurrent.futures.InvalidStateError:
            return False
        return True

    def done(self) -> bool:
        """Whether the outcome is there."""
        return self._future.done()

    def exception(self) -> BaseException | None:
        """The failure, None for a result or while there is no outcome."""
        self._is_seen = True
        return self._future.exception() if self._future.done() else None

    def result(self, timeout_s: float | None = None) -> T:
        """Blocks until the outcome is there; returns the result or raises the failure.

        Raises TimeoutError after `timeout_s`, and RuntimeError instead of waiting for ever when it is called inside the
        very event loop that has to produce the outcome.
        """
        if not self._future.done() and self._loop is not None and _running_loop() is self._loop:
            raise RuntimeError("result() would block the event loop that has to finish this: use await")
        self._is_seen = True
        try:
            return self._future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            if self._future.done():
                raise
            self._is_seen = False
            raise TimeoutError(f"no outcome within {timeout_s} s") from None

    def add_done_callback(self, callback: Callable[[Pending[T]], object]) -> None:
        """Calls `callback(self)` once the outcome is there, in the thread that brings it."""
        self._future.add_done_callback(lambda _: callback(self))

    def __await__(self) -> Generator[Any, None, T]:
        if not self._future.done():
            # The shield keeps a cancelled await from cancelling what others wait for.
            outcome = asyncio.wrap_future(self._future)
            outcome.add_done_callback(_note_failure)
            try:
                yield from asyncio.shield(outcome).__await__()
            except asyncio.CancelledError:
                raise  # whoever awaited has given up and was told nothing
            except BaseException:
                self._is_seen = True
                raise
        self._is_seen = True
        return self._future.result()

    def __del__(self) -> None:
        future = getattr(self, "_future", None)
        if future is None or self._is_seen or not future.done():
            return
        error = future.exception()
        if error is not None:
            log.error("an operation failed and nobody asked for its result: %s: %s", type(error).__name__, error)

    def __repr__(self) -> str:
        if not self._future.done():
            return "Pending(unresolved)"
        error = self._future.exception()
        return f"Pending({self._future.result()!r})" if error is None else f"Pending(failed: {error!r})"


def _note_failure(outcome: asyncio.Future[Any]) -> None:
    """A failure that comes after whoever awaited it was cancelled is told by `__del__`, and not by the loop too."""
    if not outcome.cancelled():
        outcome.exception()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
