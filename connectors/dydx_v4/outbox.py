"""From orders to signed transactions: one for each order, one for many cancels.

Short-term orders need no sequence, so they are signed and written one after the other without waiting. What a node
answers is whether it found the transaction valid: a refusal ends an order, a success proves nothing yet, and silence
leaves it to its last block.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.client_ids import ClientIds
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.dydx_v4.order_forms import OrderForms, OrderNames
from latentspeed.connectors.dydx_v4.reports import is_immediate
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import NotSent, TransportError
from latentspeed.connectors.types import OrderState, ReportSource

NEVER_SENT: Final = "never_sent"
CLOB: Final = "clob"
STALE_HEIGHT: Final = frozenset({(CLOB, 10), (CLOB, 11)})
"""The last block had passed, or was too far ahead, when the transaction came: worth a try with a fresh height."""
WRONG_SIGNER: Final = ("sdk", 4)
"""The signature does not fit: on a chain that was begun anew accounts have other numbers."""
HARMLESS_CANCELS: Final = frozenset({(CLOB, 9), (CLOB, 32)})
"""A cancel that is as good as the new one was there already."""
POSSIBLY_LIVE: Final = frozenset({("sdk", 19), ("sdk", 20), (CLOB, 20), (CLOB, 24), (CLOB, 30)})
"""Refusals after which an order of this id may stand at the venue: these very bytes may have come before."""
SLOWEST_BLOCK_S: Final = 5.0


class Outbox:
    """Signs and sends. Used in the loop's thread."""

    def __init__(
        self,
        *,
        tracker: ClientOrderTracker,
        nodes: Nodes,
        forms: OrderForms,
        names: OrderNames,
        lifetimes: Lifetimes,
        signer: TransactionSigner,
        owner: str,
        subaccount: int,
        good_til_blocks: int,
        ioc_good_til_blocks: int,
        start: Callable[..., asyncio.Task[Any]],
        on_refusal: Callable[[TxResult], None],
    ) -> None:
        """Sends nothing yet; `start` runs a coroutine, `on_refusal` is told of each refusal."""
        self.transactions = 0
        """Signed transactions sent since the start."""
        self._tracker = tracker
        self._nodes = nodes
        self._forms = forms
        self._names = names
        self._lifetimes = lifetimes
        self._signer = signer
        self._owner = owner
        self._subaccount = subaccount
        self._good_til_blocks = good_til_blocks
        self._ioc_good_til_blocks = ioc_good_til_blocks
        self._start = start
        self._on_refusal = on_refusal
        self._client_ids = ClientIds()

    # --- places ---

    def send_place(self, order: InFlightOrder) -> None:
        """Signs an order, shows it as signed, and writes it."""
        transaction = self._sign(order)
        if transaction is not None:
            order.sent_mono_ns = time.monotonic_ns()
            self._start(self._deliver(order, transaction), f"place {order.client_order_id}")

    def _sign(self, order: InFlightOrder) -> bytes | None:
        """The transaction of an order that may be sent; None when it has ended here."""
        if self._client_ids.take(order) is None:
            self._never_sent(order, "another order has its 32-bit client id")
            return None
        if not self._lifetimes.is_known:
            self._never_sent(order, "no block height is known yet")
            return None
        blocks = self._ioc_good_til_blocks if is_immediate(order) else self._good_til_blocks
        last_block = self._lifetimes.last_block(blocks)
        form = self._forms.place(order, last_block)
        if form is None:
            self._never_sent(order, "no fresh quote to bound a MARKET order")
            return None
        transaction = self._signer.transaction([wire.place_order(form)])
        self._names.add(order)
        # Blocks have no fixed length: this is when, at the latest, the order is over if the chain goes on at all.
        expiry_ms = time.time_ns() // 1_000_000 + int((blocks + 1) * SLOWEST_BLOCK_S * 1000)
        if not self._tracker.mark_signed(order, venue_expiry_ms=expiry_ms):
            return None
        self._lifetimes.begin(order, last_block)
        return transaction

    def _never_sent(self, order: InFlightOrder, why: str) -> None:
        self._tracker.process_order_update(
            OrderUpdate(
                order.client_order_id,
                state=OrderState.FAILED,
                reason=f"{NEVER_SENT}: {why}",
                source=ReportSource.LOCAL,
            )
        )

    async def _deliver(self, order: InFlightOrder, transaction: bytes) -> None:
        result = await self._broadcast(order, transaction)
        if result is not None:
            # It was refused, so it stands nowhere and may be sent once more.
            again = await self._better(order, (result.codespace, result.code))
            result = result if again is None else await self._broadcast(order, again)
        if result is None:
            return
        if result.code == 0:
            return  # The node found it valid. What becomes of it is told by the indexer, or by its last block.
        if (result.codespace, result.code) in POSSIBLY_LIVE:
            self._tracker.mark_unknown(order.client_order_id, f"{result.codespace}_{result.code}")
        else:
            self._on_refusal(result)
            reason = f"{result.codespace}_{result.code}: {result.log}"
            self._tracker.process_order_update(
                OrderUpdate(order.client_order_id, state=OrderState.FAILED, reason=reason, source=ReportSource.REPLY)
            )

    async def _broadcast(self, order: InFlightOrder, transaction: bytes) -> TxResult | None:
        """The node's answer; None when the order has been left in a state that says why there is none."""
        self.transactions += 1
        try:
            return await self._nodes.broadcast(transaction)
        except NotSent as error:
            self._tracker.process_order_update(
                OrderUpdate(
                    order.client_order_id,
                    state=OrderState.FAILED,
                    reason=f"{NEVER_SENT}: {error}",
                    source=ReportSource.LOCAL,
                )
            )
        except TransportError as error:
            self._tracker.events.error(
                "no_answer", f"{order.client_order_id}: {error}", client_order_id=order.client_order_id
            )
            self._tracker.mark_unknown(order.client_order_id, "no_answer")
        except asyncio.CancelledError:
            self._tracker.mark_unknown(order.client_order_id, "interrupted")
            raise
        return None

    async def _better(self, order: InFlightOrder, refusal: tuple[str, int]) -> bytes | None:
        """The same order after what it was refused for has been asked again; None when that would not help."""
        try:
            if refusal in STALE_HEIGHT:
                self._lifetimes.correct(await self._nodes.height())
            elif refusal == WRONG_SIGNER:
                account = await self._nodes.account(self._owner)
                if account.number == self._signer.account_number:
                    return None
                self._tracker.events.error(
                    "account_changed", f"{self._owner} has account number {account.number} now; was the chain reset?"
                )
                self._signer = self._signer.with_account_number(account.number)
                self._lifetimes.correct(await self._nodes.height())
            else:
                return None
        except ConnectorError:
            return None
        blocks = self._ioc_good_til_blocks if is_immediate(order) else self._good_til_blocks
        last_block = self._lifetimes.last_block(blocks)
        form = self._forms.place(order, last_block)
        if form is None or order.is_done or order.cancel_requested:
            return None
        self._lifetimes.begin(order, last_block)
        return self._signer.transaction([wire.place_order(form)])

    # --- cancels ---

    def send_cancels(self, orders: Sequence[InFlightOrder]) -> None:
        """Signs and writes cancels: one alone, or many in a batch."""
        live = [order for order in orders if not order.is_done]
        for first in range(0, len(live), wire.MAX_BATCH_CANCELS):
            batch = live[first : first + wire.MAX_BATCH_CANCELS]
            self._start(self._deliver_cancels(batch, self._sign_cancels(batch)), f"cancel {len(batch)} orders")

    def _sign_cancels(self, orders: Sequence[InFlightOrder]) -> bytes:
        # Up to its order's last block at least; a later one each time, so that a repeated cancel counts.
        last_block = max(
            self._lifetimes.last_block(self._good_til_blocks), *(self._lifetimes.of(order) for order in orders)
        )
        if len(orders) == 1:
            message = wire.cancel_order(self._forms.order_id(orders[0]), good_til_block=last_block)
        else:
            by_pair: dict[int, list[int]] = {}
            for order in orders:
                order_id = self._forms.order_id(order)
                by_pair.setdefault(order_id.clob_pair_id, []).append(order_id.client_id)
            message = wire.batch_cancel(self._owner, self._subaccount, by_pair, last_block)
        return self._signer.transaction([message])

    async def _deliver_cancels(self, orders: Sequence[InFlightOrder], transaction: bytes) -> None:
        self.transactions += 1
        try:
            result = await self._nodes.broadcast(transaction)
        except TransportError as error:
            for order in orders:
                self._tracker.process_cancel_failed(order.client_order_id, str(error), is_answer=False)
            return
        if result.code == 0 or (result.codespace, result.code) in HARMLESS_CANCELS:
            # That the order is gone is told by the indexer, or by its last block.
            for order in orders:
                order.cancel_in_flight = False
            return
        self._on_refusal(result)
        for order in orders:
            reason = f"{result.codespace}_{result.code}: {result.log}"
            self._tracker.process_cancel_failed(order.client_order_id, reason, is_answer=False)
