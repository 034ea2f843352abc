"""What the supervisor does with the segments of its gateways: keeps `clean` off them, and removes them at the end."""

from __future__ import annotations

import logging

from latentspeed.ipc import ByteLock, SegmentNotFound, clean, hold_supervisor_byte, segment_exists

log = logging.getLogger("latentspeed.supervisor")


class SegmentKeeper:
    """Holds the supervisor byte of each segment, which says that its gateway is coming back."""

    def __init__(self) -> None:
        self._held: dict[str, ByteLock] = {}
        self._warned: set[str] = set()

    def hold(self, name: str) -> None:
        """Holds a segment's supervisor byte, if there is such a segment, and anew when a gateway has made it anew."""
        lock = self._held.get(name)
        if lock is not None and lock.names_this_object():
            return
        self._release(name)
        if not segment_exists(name):
            return
        try:
            lock = hold_supervisor_byte(name)
        except (SegmentNotFound, OSError):
            return  # It went this moment and the next call finds the new one; or it is not ours, as its gateway says.
        if lock is not None:
            self._held[name] = lock
        elif name not in self._warned:
            self._warned.add(name)
            log.warning("segment %s is held by another supervisor", name)

    def release(self) -> None:
        """Lets go of every segment."""
        for name in list(self._held):
            self._release(name)

    def exists(self, name: str) -> bool:
        """Returns whether there is a segment of that name."""
        return segment_exists(name)

    def remove(self, name: str) -> None:
        """Removes a segment that nobody uses any more; says so when somebody does."""
        self._release(name)
        if not segment_exists(name):
            return
        for result in clean(name):
            if not result.removed:
                log.warning("segment %s is left, because %s; `latentspeed clean` removes it later", name, result.reason)

    def _release(self, name: str) -> None:
        lock = self._held.pop(name, None)
        if lock is not None:
            lock.release()
