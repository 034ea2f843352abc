"""Whether the venue takes what this key signs, also by its own word: checked at the start and at intervals.

What follows from a refusal: `signing_right`. An approval that will end soon is told of while there is time to renew it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from latentspeed.connectors.hyperliquid.agents import NotAllowed, check_signer
from latentspeed.connectors.hyperliquid.messages import UserRole
from latentspeed.connectors.hyperliquid.nonces import now_ms
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.signing_right import SigningRight

DAY_MS = 24 * 3600 * 1000
WARN_DAYS = 7
REFUSALS = ("signerUnknown", "accountNotFunded", "vaultUnknown")


class Authority(SigningRight):
    """What is known of one signer's right to trade for one account. Used in the loop's thread."""

    def __init__(
        self,
        rest: RestClient,
        *,
        signer: str,
        account: str,
        kind: str,
        check_every_s: float,
        is_trusted: bool = False,
        on_change: Callable[[], None],
        on_problem: Callable[[str, str], None],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
    ) -> None:
        """Believes that the key may sign.

        Args:
            rest: Asks the venue.
            signer: The address of the signing key, lower case.
            account: The account that is traded, lower case.
            kind: See `check_signer`.
            check_every_s: How often the venue is asked unasked; 0 for never.
            is_trusted: Whether the venue is never asked: a key that was refused is then tried again after a while.
            on_change: Called when `refusal` begins or ends.
            on_problem: Called with a code and a text.
            start: Starts a task.
        """
        super().__init__(
            on_change=on_change,
            on_problem=on_problem,
            start=start,
            check_every_s=0.0 if is_trusted else check_every_s,
        )
        self.valid_until_ms: int | None = None
        """When the agent's approval ends, where it has an end that the venue tells."""
        self._rest = rest
        self._signer = signer
        self._account = account
        self._kind = kind
        self._is_trusted = is_trusted
        self._told_days: int | None = None

    async def check(self) -> UserRole:
        """Asks the venue whether the key may trade for the account, and until when; what it calls the signer.

        Raises:
            NotAllowed: It may not.
            TransportError: The venue did not answer.
        """
        role = await check_signer(self._rest, self._signer, self._account, self._kind)
        await self._read_expiry(role)
        return role

    def note_refusal(self, status: str, text: str) -> None:
        """The venue refused an action with this reason; `status` is our name for it."""
        if status == "signatureMalformed" or (status == "signerUnknown" and self._signer not in text.lower()):
            # The venue recovered some other address: what was hashed is not what was sent. The key is not at fault.
            self._on_problem("signature_mismatch", text)
        elif status in REFUSALS:
            self.refuse(text)

    async def _find_refusal(self) -> str:
        if self._is_trusted:
            return ""
        try:
            role = await self.check()
        except NotAllowed as error:
            return str(error)
        return self.refusal if role.role == "missing" else ""  # an account of its own that has no money yet

    async def _read_expiry(self, role: UserRole) -> None:
        """An agent with a name ends some day; the venue lists it with its end under its owner's address."""
        owner = role.data.user if role.role == "agent" and role.data is not None else None
        if owner is None:
            return
        ends = [row.validUntil for row in await self._rest.extra_agents(owner) if row.address.lower() == self._signer]
        self.valid_until_ms = ends[0] if ends else None
        if self.valid_until_ms is None:
            return
        left_ms = self.valid_until_ms - now_ms()
        days = left_ms // DAY_MS
        if days < WARN_DAYS and days != self._told_days:
            self._told_days = days
            until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.valid_until_ms / 1000))
            if left_ms < 0:
                self._on_problem("agent_expired", f"the approval of agent {self._signer} ended at {until}")
            else:
                self._on_problem("agent_expires", f"the approval of agent {self._signer} ends at {until}: renew it")
