"""The builder fee: what a builder is paid on each order, where the account has approved it and the venue takes it.

An order with a fee that is not approved is refused whole, and so would every order be. So the approval is read before
the first order, now and then after that, and where it is missing orders go out without the fee.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.transport import HttpStatusError, TransportError

AGAIN_S = 600.0
"""How often an approval that is missing is asked for."""


class BuilderFee:
    """Whether orders carry the configured fee. Used in the loop's thread."""

    def __init__(
        self,
        rest: RestClient,
        builder: str | None,
        tenths_bp: int,
        *,
        never: str,
        on_problem: Callable[[str, str], None],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
    ) -> None:
        """Is not used until the approval was read.

        Args:
            rest: Asks the venue.
            builder: Who is paid; None for nobody.
            tenths_bp: How much, in tenths of a basis point of the order's value.
            never: Why the venue does not take a builder fee here at all; empty where it does.
            on_problem: Called with a code and a text.
            start: Starts a task.
        """
        self.terms: dict[str, str | int] | None = None
        """What every order action carries; None for nothing."""
        self._rest = rest
        self._builder = None if builder is None or never else builder.lower()
        self._tenths_bp = tenths_bp
        self._on_problem = on_problem
        self._start = start
        self._due_s = 0.0
        self._is_asking = False
        self._told = ""
        if builder is not None and never:
            self._tell("builder_fee_unused", f"orders carry no builder fee: {never}")

    async def check(self) -> None:
        """Reads the approval, and carries the fee from then on if it covers it.

        Raises:
            TransportError: The venue did not answer.
        """
        if self._builder is None:
            return
        try:
            approved = await self._rest.max_builder_fee(self._builder)
        except HttpStatusError as error:
            if error.status != 422:
                raise
            approved = 0  # a venue that does not know the question takes no fee
        self._due_s = time.monotonic() + AGAIN_S
        if approved >= self._tenths_bp:
            self.terms = {"b": self._builder, "f": self._tenths_bp}
            self._told = ""
        else:
            self._leave_out(f"{approved} of {self._tenths_bp} tenths of a basis point are approved")

    def note_refusal(self, text: str) -> None:
        """The venue refused an order because of the fee: the approval was taken back."""
        if self._builder is not None:
            self._due_s = time.monotonic() + AGAIN_S
            self._leave_out(text)

    def tick(self) -> None:
        """Asks again for an approval that was missing; called about once a second while the session is open."""
        if self._builder is None or self.terms is not None or self._is_asking or time.monotonic() < self._due_s:
            return
        self._is_asking = True
        self._start(self._ask(), "builder fee")

    async def _ask(self) -> None:
        try:
            await self.check()
        except TransportError:
            pass  # what is missing is asked for again anyway
        finally:
            self._due_s = max(self._due_s, time.monotonic() + AGAIN_S)
            self._is_asking = False

    def _leave_out(self, why: str) -> None:
        self.terms = None
        text = f"orders carry no fee for builder {self._builder}: {why}; the account's own key has to approve it"
        self._tell("builder_fee_unapproved", text)

    def _tell(self, code: str, text: str) -> None:
        if text != self._told:
            self._told = text
            self._on_problem(code, text)
