"""The event loop that a network connector runs in: the caller's if one runs, else one of its own in a daemon thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from latentspeed.connectors.errors import ConnectorError

_START_TIMEOUT_S = 10.0


class NetworkLoop:
    """Binds to a loop at the first use and knows the thread that it runs in."""

    __slots__ = ("_is_own", "_thread_id", "loop")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._is_own = False
        self._thread_id = 0

    def bind(self) -> asyncio.AbstractEventLoop:
        """The loop.

        At the first call the running one, or a new one in a thread. Raises ConnectorError if it is closed.
        """
        if self.loop is not None and not self.loop.is_closed():
            return self.loop
        try:
            self.loop = asyncio.get_running_loop()
            self._is_own = False
            self._thread_id = threading.get_ident()
        except RuntimeError:
            self._start_thread()
        assert self.loop is not None
        return self.loop

    def _start_thread(self) -> None:
        loop = _new_event_loop()
        started = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(started.set)
            try:
                loop.run_forever()
            finally:
                _cancel_tasks(loop)
                loop.close()

        thread = threading.Thread(target=run, name="latentspeed-connector", daemon=True)
        thread.start()
        if not started.wait(_START_TIMEOUT_S):
            raise ConnectorError("the connector's event loop did not start")
        self.loop = loop
        self._is_own = True
        self._thread_id = thread.ident or 0

    def release(self) -> None:
        """Lets go of the loop.

        The next `bind` makes or finds another. One of our own stops, after what is ready in it.
        """
        loop, self.loop = self.loop, None
        self._thread_id = 0
        if loop is not None and self._is_own and not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the one that the loop runs in."""
        return threading.get_ident() == self._thread_id

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Runs a plain function in the loop, soon; from any thread."""
        loop = self.bind()
        if self.is_here:
            loop.call_soon(callback, *args)
        else:
            loop.call_soon_threadsafe(callback, *args)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # pragma: no cover - uvloop is a dependency; asyncio serves where it cannot be built
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
