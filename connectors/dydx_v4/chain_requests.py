"""Requests to the chain that are no orders: signed, sent, and looked after until a block has them.

A node's check of such a transaction is no block. What it is to change is asked for until it has changed, or until no
block can hold the transaction any more, which its sequence, a time, proves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from latentspeed.connectors.dydx_v4.delivery import reason_of
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.stateful_outbox import StatefulOutbox
from latentspeed.connectors.dydx_v4.stateful_watch import VOID_MARGIN_MS
from latentspeed.connectors.dydx_v4.transactions import FREE, Fee, transaction_hash
from latentspeed.connectors.dydx_v4.wire import Message
from latentspeed.connectors.errors import VenueRejected
from latentspeed.connectors.transport import BackOff, NotSent, TransportError

FIRST_S, LONGEST_S = 0.2, 2.0
"""How soon it is asked whether a block has taken a request, and how seldom at last."""
COUNTED_BLOCKS: Final = 50
"""After so many blocks a transaction whose sequence is no time counts as dropped."""


class ChainRequests:
    """Sends requests for one signer. Used in the loop's thread."""

    def __init__(self, outbox: StatefulOutbox, lifetimes: Lifetimes) -> None:
        """Sends nothing yet; `outbox` has the sequences."""
        self._outbox = outbox
        self._lifetimes = lifetimes

    async def run(
        self, messages: Sequence[Message], is_done: Callable[[str], Awaitable[bool]], *, fee: Fee = FREE
    ) -> None:
        """Sends messages together; returns when a block has taken them.

        `is_done` asks the venue whether it has, given the transaction's hash; a TransportError of it counts as no.

        Raises:
            VenueRejected: A node found them invalid, or no block has taken them.
            TransportError: They may have left, and nobody knows whether a block has them.
        """
        sent = await self._outbox.send(lambda: messages, fee=fee)
        lost = sent.lost
        if isinstance(lost, NotSent):
            raise lost
        if sent.result.code:
            raise VenueRejected(reason_of(sent.result))
        delays, height = BackOff(FIRST_S, LONGEST_S), self._lifetimes.chain_height
        while True:
            await asyncio.sleep(delays.next_s())
            try:
                if await is_done(transaction_hash(sent.transaction)):
                    return
            except TransportError as error:
                lost = lost or error
            if self._is_void(sent.sequence, height):
                if lost is not None:
                    raise lost
                raise VenueRejected("in_no_block: a node found it valid, and no block has taken it")

    def _is_void(self, sequence: int, height: int) -> bool:
        is_void = self._outbox.sequences.is_void(sequence, self._lifetimes.indexer_time_ms, VOID_MARGIN_MS)
        return is_void or self._lifetimes.indexer_height > height + COUNTED_BLOCKS
