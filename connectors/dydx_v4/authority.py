"""Whether the chain takes what this key signs: noticed by its refusals, and probed by a transaction that does nothing.

What follows from a refusal: `signing_right`. An owner's authenticator that was removed shows like this, and so does one
that is put back under the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from latentspeed.connectors.dydx_v4.delivery import SDK
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.signing_right import SigningRight

ACCOUNTPLUS: Final = "dydxaccountplus"
"""The module of permissioned keys: whatever it refuses is not permitted."""
REFUSALS: Final = frozenset({(SDK, 4), (SDK, 8), (SDK, 9)})


class Authority(SigningRight):
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
        super().__init__(on_change=on_change, on_problem=on_problem, start=start)
        self._probe = probe

    def note(self, result: TxResult) -> bool:
        """Takes in what a node says of a transaction; whether it was about the key."""
        text = _refusal_of(result)
        if text:
            self.refuse(text)
        return bool(text)

    async def _find_refusal(self) -> str:
        return _refusal_of(await self._probe())


def _refusal_of(result: TxResult) -> str:
    """What a node says against the key; empty where it refused nothing, or something else."""
    is_about_key = (result.codespace, result.code) in REFUSALS or result.codespace == ACCOUNTPLUS
    return f"{result.codespace} {result.code}: {result.log}" if is_about_key else ""
