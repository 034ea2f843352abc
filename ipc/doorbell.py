"""The gateway's doorbell: a FIFO in its event loop, rung only while it is armed.

    strategy: push, full fence, armed? -> one byte into the FIFO       (at most once per arming)
    gateway:  FIFO readable -> begin_drain: disarm, empty the FIFO
                            -> drain the queues, with a budget per session
                            -> end_drain: arm, full fence, look again

Between the look and the sleep nothing is lost: either the strategy sees the arming and rings, or the gateway sees the
command. A poll every 20 ms runs regardless.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from latentspeed.ipc._core import Doorbell


class GatewayDoorbell:
    """The consumer's side; give `fileno()` to the event loop's add_reader."""

    def __init__(self, fd: int, word: Doorbell) -> None:
        """Takes over the descriptor."""
        self._fd = fd
        self._word = word
        self._closed = False

    def fileno(self) -> int:
        """The FIFO's descriptor, readable when someone rang."""
        return self._fd

    @property
    def armed(self) -> bool:
        """Would a strategy ring now?"""
        return self._word.armed

    def begin_drain(self) -> None:
        """Tell strategies that they need not ring, and take their rings out of the FIFO."""
        self._word.begin_drain(self._fd)

    def arm(self) -> None:
        """Ask to be rung for. Look at the queues once more after this, before sleeping."""
        self._word.arm()

    def end_drain(self, has_work: Callable[[], bool] | None = None) -> bool:
        """Arm, then look again with `has_work`; True when there is work, and then the doorbell is not armed."""
        self._word.arm()
        if has_work is None or not has_work():
            return False
        self._word.disarm()
        return True

    def close(self) -> None:
        """Close the descriptor. The FIFO stays."""
        if not self._closed:
            self._closed = True
            os.close(self._fd)
