"""Whether a venue takes what a key signs: noticed by its refusals, and asked for until it does.

A key that is refused is not tried again and again: orders are refused here, and the venue is asked ever more slowly
whether the key may sign again.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Final

from latentspeed.connectors.transport import BackOff, TransportError

AGAIN_FIRST_S: Final = 2.0
"""How soon a refused key is asked about again."""
AGAIN_LONGEST_S: Final = 120.0
"""How seldom at last."""
CALM_S: Final = 600.0
"""After so long without a refusal the next one is asked about quickly again."""


class SigningRight(ABC):
    """What is known of one key's right to sign for one account. Used in the loop's thread."""

    def __init__(
        self,
        *,
        on_change: Callable[[], None],
        on_problem: Callable[[str, str], None],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
        check_every_s: float = 0.0,
    ) -> None:
        """Believes that the key may sign.

        Args:
            on_change: Called when `refusal` begins or ends.
            on_problem: Called with a code and a text.
            start: Starts a task.
            check_every_s: How often the venue is asked unasked; 0 for never.
        """
        self.refusal = ""
        """Why the venue does not take what this key signs; empty while it does."""
        self._on_change = on_change
        self._on_problem = on_problem
        self._start = start
        self._check_every_s = check_every_s
        self._back_off = BackOff(AGAIN_FIRST_S, AGAIN_LONGEST_S)
        self._refused_mono_s = 0.0
        self._due_s = time.monotonic() + check_every_s
        self._is_asking = False

    @abstractmethod
    async def _find_refusal(self) -> str:
        """Asks the venue why it takes nothing of this key; empty where it does. Raises TransportError."""

    def refuse(self, text: str) -> None:
        """The venue refused something, with this text, because of the key."""
        self._on_problem("signer_refused", text)
        self._refused(text)

    def tick(self) -> None:
        """Asks when it is time to; called about once a second while the session is open."""
        if self._is_asking or not (self._check_every_s or self.refusal) or time.monotonic() < self._due_s:
            return
        self._is_asking = True
        self._start(self._ask(), "authority")

    def _refused(self, text: str) -> None:
        is_new = not self.refusal
        self.refusal = text
        if is_new:
            now = time.monotonic()
            if now - self._refused_mono_s > CALM_S:
                self._back_off.reset()
            self._refused_mono_s = now
            self._ask_later()
            self._on_change()

    async def _ask(self) -> None:
        try:
            text = await self._find_refusal()
        except TransportError as error:
            self._ask_later()
            self._on_problem("authority_failed", str(error))
        except Exception:
            self._ask_later()  # the task's end tells of it
            raise
        else:
            if text:
                if not self.refusal:
                    self._on_problem("signer_refused", text)
                self._ask_later()
                self._refused(text)
            else:
                self._due_s = time.monotonic() + (self._check_every_s or AGAIN_LONGEST_S)
                if self.refusal:
                    self.refusal = ""
                    self._on_change()
        finally:
            self._is_asking = False

    def _ask_later(self) -> None:
        self._due_s = time.monotonic() + self._back_off.next_s()
