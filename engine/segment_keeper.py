"""What the supervisor does with the segments of its gateways: keeps `clean` off them, and removes them at the end."""

from __future__ import annotations

import importlib
import logging
from typing import Any

ipc: Any = importlib.import_module("latentspeed.ipc")
log = logging.getLogger("latentspeed.supervisor")


class SegmentKeeper:
    """Holds the supervisor byte of each segment, which says that its gateway is coming back."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int | None, Any]] = {}

    def hold(self, name: str, gateway_pid: int | None) -> None:
        """Holds a segment's supervisor byte, anew for each gateway process, which may have made the segment anew."""
        if name in self._held and self._held[name][0] == gateway_pid:
            return
        self._release(name)
        lock = ipc.hold_supervisor_byte(name) if self.exists(name) else None
        self._held[name] = (gateway_pid, lock)

    def release(self) -> None:
        """Lets go of every segment."""
        for name in list(self._held):
            self._release(name)

    def exists(self, name: str) -> bool:
        """Returns whether there is a segment of that name."""
        return hasattr(ipc, "segment_exists") and bool(ipc.segment_exists(name))

    def remove(self, name: str) -> None:
        """Removes a segment that nobody uses any more; says so when somebody does."""
        if not self.exists(name):
            return
        for result in ipc.clean(name):
            if not result.removed:
                log.warning("segment %s is left: %s", result.name, result.reason)

    def _release(self, name: str) -> None:
        _, lock = self._held.pop(name, (None, None))
        if lock is not None:
            lock.release()
