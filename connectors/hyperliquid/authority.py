"""Whether the venue takes what this key signs: checked at the start, at intervals, and when the venue says that it
does not.

A key that is refused is not tried again and again: orders are refused here, and the venue is asked ever more slowly
whether the key may trade again. An approval that will end soon is told of while there is time to renew it.
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
from latentspeed.connectors.transport import BackOff, TransportError

AGAIN_FIRST_S, AGAIN_LONGEST_S = 2.0, 120.0
"""How soon a refused key is asked about again, and how seldom at last: the question weighs a twentieth of a minute."""
CALM_S = 600.0
"""After so long without a refusal the next one is asked about quickly again."""
DAY_MS = 24 * 3600 * 1000
WARN_DAYS = 7
REFUSALS = ("signerUnknown", "accountNotFunded", "vaultUnknown")


class Authority:
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
        self.refusal = ""
        """Why the venue does not take this key's actions; empty while it does."""
        self.valid_until_ms: int | None = None
        """When the agent's approval ends, where it has an end that the venue tells."""
        self._rest = rest
        self._signer = signer
        self._account = account
        self._kind = kind
        self._check_every_s = 0.0 if is_trusted else check_every_s
        self._is_trusted = is_trusted
        self._on_change = on_change
        self._on_problem = on_problem
        self._start = start
        self._back_off = BackOff(AGAIN_FIRST_S, AGAIN_LONGEST_S)
        self._refused_mono_s = 0.0
        self._due_s = time.monotonic() + check_every_s
        self._is_asking = False
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
            self._on_problem("signer_refused", text)
            self._refused(text)

    def _refused(self, text: str) -> None:
        if not self.refusal:
            now = time.monotonic()
            if now - self._refused_mono_s > CALM_S:
                self._back_off.reset()
            self._refused_mono_s = now
            self._due_s = now + self._back_off.next_s()
        is_new, self.refusal = not self.refusal, text
        if is_new:
            self._on_change()

    def tick(self) -> None:
        """Asks when it is time to; called about once a second while the session is open."""
        if self._is_asking or not (self._check_every_s or self.refusal) or time.monotonic() < self._due_s:
            return
        self._is_asking = True
        self._start(self._ask(), "authority")

    async def _ask(self) -> None:
        try:
            if not self._is_trusted and (await self.check()).role == "missing" and self.refusal:
                raise NotAllowed(self.refusal)  # an account of its own that has no money yet
        except NotAllowed as error:
            if not self.refusal:
                self._on_problem("signer_refused", str(error))
            self._due_s = time.monotonic() + self._back_off.next_s()
            self._refused(str(error))
        except TransportError as error:
            self._due_s = time.monotonic() + self._back_off.next_s()
            self._on_problem("authority_failed", str(error))
        except Exception:
            self._due_s = time.monotonic() + self._back_off.next_s()  # the task's end tells of it
            raise
        else:
            self._due_s = time.monotonic() + (self._check_every_s or AGAIN_LONGEST_S)
            if self.refusal:
                self.refusal = ""
                self._on_change()
        finally:
            self._is_asking = False

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
