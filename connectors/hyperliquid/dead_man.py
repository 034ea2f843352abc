"""The dead-man switch: the venue cancels every order of the account unless it hears from this process in time.

    armed     now + N s            again after a third of N, from the loop that trades: a loop that hangs is dead
    refused   told once, and asked for again every ten minutes: the venue wants a million dollars of volume, and lets it
              go off ten times a day
    disarmed  when the session is closed in order, unless a cancel is still without an answer

The venue's clock counts, and it takes no time that is less than five seconds ahead; so a second is added for the way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from latentspeed.connectors.errors import VenueRejected
from latentspeed.connectors.hyperliquid.statuses import classify_refusal
from latentspeed.connectors.hyperliquid.wire import Action, schedule_cancel_action
from latentspeed.connectors.transport import BackOff, NotSent, TransportError

WAY_MS = 1_000
REFUSED_AGAIN_S = 600.0
ADDRESS_LIMITED_S = 10.0
"""An address over its budget may still act once in so long."""
FAILED_FIRST_S, FAILED_LONGEST_S = 0.5, 10.0
DISARM_TIMEOUT_S = 2.0
TOO_SOON = "Scheduled cancel time must be at least"
"""What the venue says when its clock is ahead of what we take it for."""

log = logging.getLogger(__name__)


class DeadManSwitch:
    """Keeps the venue's scheduled cancel ahead of the clock. Used in the loop's thread."""

    def __init__(
        self,
        after_s: float,
        *,
        act: Callable[[Action], Awaitable[object]],
        venue_now_ms: Callable[[], int],
        measure_clock: Callable[[], None],
        on_problem: Callable[[str, str], None],
        on_fault: Callable[[str, Exception, str], None],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
    ) -> None:
        """Is not armed yet.

        Args:
            after_s: How long after the last sign of life the venue cancels; 0 for never.
            act: Signs and sends an action.
            venue_now_ms: The venue's clock, as far as it is known.
            measure_clock: Called when the venue says that it is not as late as we think.
            on_problem: Called with a code and a text.
            on_fault: Called with what was done, an exception that nobody foresaw, and a code.
            start: Starts a task.
        """
        self.armed_until_ms = 0
        """When the venue will cancel, by its clock, if it hears no more; 0 while it is not armed."""
        self.refusal = ""
        """Why the venue does not take it; empty while it does."""
        self._after_s = after_s
        self._act = act
        self._venue_now_ms = venue_now_ms
        self._measure_clock = measure_clock
        self._on_problem = on_problem
        self._on_fault = on_fault
        self._start = start
        self._due_s = 0.0
        self._back_off = BackOff(FAILED_FIRST_S, FAILED_LONGEST_S)
        self._is_arming = False
        self._is_silent = False
        self._is_over = False
        self._standing_ms = 0  # what the venue has, or may have: the answer to an arming can be lost
        self._one_at_a_time = asyncio.Lock()

    def tick(self) -> None:
        """Arms it again when a third of its time has passed; called about once a second by the loop that trades."""
        if self._after_s and not self._is_arming and time.monotonic() >= self._due_s:
            self._is_arming = True
            self._start(self._arm(), "dead-man switch")

    async def arm_first(self) -> None:
        """Arms it before the first order is taken; what keeps it from that is told, and stops nothing."""
        if self._after_s and not self._is_arming and not self.armed_until_ms and time.monotonic() >= self._due_s:
            self._is_arming = True
            await self._arm()

    async def _arm(self) -> None:
        try:
            async with self._one_at_a_time:
                if not self._is_over:
                    await self._arm_now()
        finally:
            self._is_arming = False

    async def _arm_now(self) -> None:
        until_ms = self._venue_now_ms() + int(self._after_s * 1000) + WAY_MS
        try:
            # No longer than until the next is due: a lost answer must not use up the time that is left.
            async with asyncio.timeout(max(1.0, self._after_s / 3)):
                await self._act(schedule_cancel_action(until_ms))
        except VenueRejected as error:
            await self._refused(error.reason)
        except (TransportError, TimeoutError) as error:
            if not isinstance(error, NotSent):
                self._standing_ms = until_ms  # the venue may have it
            self._due_s = time.monotonic() + self._back_off.next_s()
            if not self._is_silent:
                self._is_silent = True
                self._on_problem("dead_man_failed", f"not armed again: {str(error) or 'no answer in time'}")
        except Exception as error:
            self._standing_ms = until_ms  # nobody knows how far it came
            self._due_s = time.monotonic() + self._back_off.next_s()
            self._on_fault("arming the dead-man switch", error, "dead_man_failed")
        else:
            if self.refusal:
                log.info("the dead-man switch is armed: the venue takes it again")
            self.armed_until_ms = self._standing_ms = until_ms
            self.refusal, self._is_silent = "", False
            self._back_off.reset()
            self._due_s = time.monotonic() + self._after_s / 3

    async def _refused(self, reason: str) -> None:
        if reason != self.refusal:
            self._on_problem("dead_man_refused", reason)
        self.refusal = reason
        if reason.startswith(TOO_SOON):
            self._measure_clock()
            self._due_s = time.monotonic() + self._back_off.next_s()
        elif classify_refusal(reason).status == "addressLimit":
            self._due_s = time.monotonic() + ADDRESS_LIMITED_S
        else:
            self._due_s = time.monotonic() + REFUSED_AGAIN_S
            # What was armed before still stands, and would go off although this process lives.
            await self._take_back()
            self.armed_until_ms = 0

    def retry(self) -> None:
        """Forgets an earlier refusal: whatever it was about has changed."""
        self._due_s = 0.0

    async def disarm(self) -> None:
        """Takes it back, because this process ends in order; told when the venue did not hear of it."""
        self._is_over = True
        try:
            async with asyncio.timeout(DISARM_TIMEOUT_S), self._one_at_a_time:
                pass  # an arming that is on its way would undo what follows
        except TimeoutError:
            log.warning("the dead-man switch is taken back while an arming of it has no answer yet")
        await self._take_back()

    async def _take_back(self) -> None:
        if not self._standing_ms:
            return
        try:
            async with asyncio.timeout(DISARM_TIMEOUT_S):
                await self._act(schedule_cancel_action(None))
        except (VenueRejected, TransportError, TimeoutError) as error:
            left_s = max(0.0, (self._standing_ms - self._venue_now_ms()) / 1000)
            self._on_problem("dead_man_left_armed", f"every order is cancelled in {left_s:.1f} s: {error!r}")
        else:
            self.armed_until_ms = self._standing_ms = 0
