"""Whether the chain takes what this key signs: noticed by its refusals, and asked for again until it does.

A key that is refused is not tried with orders: those are refused here, and the chain is sent, ever more slowly, a
transaction that does nothing. An owner's authenticator that was removed shows like this, and so does one that is put
back under the same id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from latentspeed.connectors.dydx_v4.delivery import SDK
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.transport import BackOff, TransportError

ACCOUNTPLUS: Final = "dydxaccountplus"
"""The module of permissioned keys: whatever it refuses is not permitted."""
REFUSALS: Final = frozenset({(SDK, 4), (SDK, 8), (SDK, 9)})
AGAIN_FIRST_S, AGAIN_LONGEST_S = 2.0, 120.0


class Authority:
    """What is known of one key's right to sign for one account. Used in the loop's thread."""

    def __init__(
        self,
        *,
        probe: Callable[[], Coroutine[Any, Any, TxResult]],
        on_change: Callable[[], None],
        on_problem: Callable[[str, str], None],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
    ) -> None:
        """Believes that the key may sign.

        Args:
            probe: Sends a transaction that does nothing, and returns what a node says.
            on_change: Called when `refusal` begins or ends.
            on_problem: Called with a code and a text.
            start: Starts a task.
        """
        self.refusal = ""
        """Why the chain does not take this key's transactions; empty while it does."""
        self._probe = probe
        self._on_change = on_change
        self._on_problem = on_problem
        self._start = start
        self._back_off = BackOff(AGAIN_FIRST_S, AGAIN_LONGEST_S)
        self._due_s = 0.0
        self._is_asking = False

    def note(self, result: TxResult) -> bool:
        """Takes in what a node says of a transaction; whether it was about the key."""
        if (result.codespace, result.code) not in REFUSALS and result.codespace != ACCOUNTPLUS:
            return False
        text = f"{result.codespace} {result.code}: {result.log}"
        self._on_problem("signer_refused", text)
        is_new, self.refusal = not self.refusal, text
        if is_new:
            self._due_s = time.monotonic() + self._back_off.next_s()
            self._on_change()
        return True

    def tick(self) -> None:
        """Asks when it is time to; called about once a second while the session is open."""
        if self.refusal and not self._is_asking and time.monotonic() >= self._due_s:
            self._is_asking = True
            self._start(self._ask(), "authority")

    async def _ask(self) -> None:
        try:
            result = await self._probe()
        except TransportError as error:
            self._on_problem("authority_failed", str(error))
        else:
            if not self.note(result):
                self.refusal = ""
                self._back_off.reset()
                self._on_change()
        finally:
            self._due_s = time.monotonic() + self._back_off.next_s()
            self._is_asking = False
