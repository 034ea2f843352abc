"""From short-term orders to signed transactions: one for each order, one for many cancels.

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
from latentspeed.connectors.dydx_v4.block_budget import BlockBudget
from latentspeed.connectors.dydx_v4.client_ids import ClientIds
from latentspeed.connectors.dydx_v4.delivery import CLOB, SDK, Delivery
from latentspeed.connectors.dydx_v4.kinds import good_til_blocks
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.dydx_v4.order_forms import OrderForms, OrderNames
from latentspeed.connectors.dydx_v4.reports import is_immediate
from latentspeed.connectors.dydx_v4.subaccounts import Subaccounts
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import TransportError

STALE_HEIGHT: Final = frozenset({(CLOB, 10), (CLOB, 11)})
"""The last block had passed, or was too far ahead, when the transaction came: worth a try with a fresh height."""
TOO_MANY: Final = (CLOB, 5001)
HARMLESS_CANCELS: Final = frozenset({(CLOB, 9), (CLOB, 32)})
"""A cancel that is as good as the new one was there already."""
POSSIBLY_LIVE: Final = frozenset({(SDK, 19), (SDK, 20), (CLOB, 20), (CLOB, 24), (CLOB, 30)})
"""Refusals after which an order of this id may stand at the venue: these very bytes may have come before."""
SLOWEST_BLOCK_MS: Final = 5000


class Outbox:
    """Signs and sends short-term orders. Used in the loop's thread."""

    def __init__(
        self,
        *,
        tracker: ClientOrderTracker,
        delivery: Delivery,
        nodes: Nodes,
        forms: OrderForms,
        names: OrderNames,
        client_ids: ClientIds,
        lifetimes: Lifetimes,
        budget: BlockBudget,
        owner: str,
        subaccounts: Subaccounts,
        good_til_blocks: int,
        ioc_good_til_blocks: int,
        start: Callable[..., asyncio.Task[Any]],
    ) -> None:
        """Sends nothing yet; `start` runs a coroutine, `budget` is what the chain lets the account send."""
        self.budget = budget
        self._tracker = tracker
        self._delivery = delivery
        self._nodes = nodes
        self._forms = forms
        self._names = names
        self._lifetimes = lifetimes
        self._owner = owner
        self._subaccounts = subaccounts
        self._good_til_blocks = good_til_blocks
        self._ioc_good_til_blocks = ioc_good_til_blocks
        self._start = start
        self._client_ids = client_ids

    @property
    def transactions(self) -> int:
        """Signed transactions sent since the start, by whichever outbox."""
        return self._delivery.transactions

    # --- places ---

    def send_place(self, order: InFlightOrder) -> None:
        """Signs an order, shows it as signed, and writes it."""
        try:
            transaction = self._sign(order)
        except Exception as error:
            self._delivery.place_failed(order, error)
            return
        if transaction is not None:
            order.sent_mono_ns = time.monotonic_ns()
            self._start(self._deliver(order, transaction), f"place {order.client_order_id}")

    def _sign(self, order: InFlightOrder) -> bytes | None:
        """The transaction of an order that may be sent; None when it has ended here."""
        never_sent = self._delivery.never_sent
        if self._client_ids.take(order) is None:
            never_sent(order, "another order has its 32-bit client id")
            return None
        if not self._lifetimes.is_known:
            never_sent(order, "no block height is known yet")
            return None
        height = self._lifetimes.chain_height
        if wait := self.budget.wait_blocks(height):
            never_sent(order, f"the chain's limit of short-term orders is used up for {wait} blocks")
            return None
        blocks = self._blocks(order)
        last_block = self._lifetimes.last_block(blocks)
        message = self._forms.place_short_term(order, last_block)
        if message is None:
            never_sent(order, "no fresh quote to bound a MARKET order")
            return None
        transaction = self._delivery.signer.transaction((message,))
        self._names.add(order)
        # Blocks have no fixed length: this is when, at the latest, the order is over if the chain goes on at all.
        expiry_ms = time.time_ns() // 1_000_000 + (blocks + 1) * SLOWEST_BLOCK_MS
        if not self._tracker.mark_signed(order, venue_expiry_ms=expiry_ms):
            return None
        self.budget.take(height)
        self._lifetimes.begin(order, last_block)
        return transaction

    def _blocks(self, order: InFlightOrder) -> int:
        return good_til_blocks(order, self._ioc_good_til_blocks if is_immediate(order) else self._good_til_blocks)

    async def _deliver(self, order: InFlightOrder, transaction: bytes) -> None:
        try:
            await self._deliver_place(order, transaction)
        except Exception as error:
            self._delivery.place_failed(order, error)

    async def _deliver_place(self, order: InFlightOrder, transaction: bytes) -> None:
        number = self._delivery.signer.account_number
        result = await self._delivery.place(order, transaction)
        if result is not None and await self._is_worth_a_retry(result, number):
            retry = self._sign_again(order)
            result = result if retry is None else await self._delivery.place(order, retry)
        if result is None:
            return
        if result.code == 0:
            return  # The node found it valid. What becomes of it is told by the indexer, or by its last block.
        if (result.codespace, result.code) in POSSIBLY_LIVE:
            self._tracker.mark_unknown(order.client_order_id, f"{result.codespace}_{result.code}")
            return
        if (result.codespace, result.code) == TOO_MANY:
            self.budget.refuse(self._lifetimes.chain_height)
        self._delivery.refused(order, result)

    async def _is_worth_a_retry(self, result: TxResult, number: int) -> bool:
        """Whether what was wrong is put right: a height that was known too late, or the account's number."""
        is_stale = (result.codespace, result.code) in STALE_HEIGHT
        if not is_stale and not await self._delivery.is_renumbered(result, number):
            return False
        try:
            # A chain that was begun anew is lower, too.
            height, time_ms = await self._nodes.block()
            self._lifetimes.correct(height, time_ms)
        except TransportError:
            return False
        return True

    def _sign_again(self, order: InFlightOrder) -> bytes | None:
        """The same order with a later last block: it was refused, so it stands nowhere."""
        last_block = self._lifetimes.last_block(self._blocks(order))
        message = self._forms.place_short_term(order, last_block)
        if message is None or order.is_done or order.cancel_requested:
            return None
        self._lifetimes.begin(order, last_block)
        self.budget.take(self._lifetimes.chain_height)
        return self._delivery.signer.transaction((message,))

    # --- cancels ---

    def send_cancels(self, orders: Sequence[InFlightOrder]) -> None:
        """Signs and writes cancels: one alone, or many in a batch."""
        live: dict[int, list[InFlightOrder]] = {}
        for order in orders:
            if not order.is_done:
                live.setdefault(self._subaccounts.of(order), []).append(order)
        for batch in (batch for several in live.values() for batch in _batches(several)):
            height, weight = self._lifetimes.chain_height, 1 if len(batch) == 1 else 2
            if wait := self.budget.wait_blocks(height, weight, is_cancel=True):
                for order in batch:
                    reason = f"the chain's limit of short-term orders is used up for {wait} blocks"
                    self._tracker.process_cancel_failed(order.client_order_id, reason, is_answer=False)
                continue
            self.budget.take(height, weight)
            try:
                transaction = self._sign_cancels(batch)
            except Exception as error:
                self._delivery.cancels_failed(batch, error)
                continue
            self._start(self._deliver_cancels(batch, transaction), f"cancel {len(batch)} orders")

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
            message = wire.batch_cancel(self._owner, self._subaccounts.of(orders[0]), by_pair, last_block)
        return self._delivery.signer.transaction([message])

    async def _deliver_cancels(self, orders: Sequence[InFlightOrder], transaction: bytes) -> None:
        number = self._delivery.signer.account_number
        try:
            result = await self._delivery.send(transaction)
            if await self._delivery.is_renumbered(result, number):
                result = await self._delivery.send(self._sign_cancels(orders))
        except TransportError as error:
            for order in orders:
                self._tracker.process_cancel_failed(order.client_order_id, str(error), is_answer=False)
            return
        except Exception as error:
            self._delivery.cancels_failed(orders, error)
            return
        if result.code == 0 or (result.codespace, result.code) in HARMLESS_CANCELS:
            # That the order is gone is told by the indexer, or by its last block.
            for order in orders:
                order.cancel_in_flight = False
            return
        self._delivery.cancels_refused(list(orders), result)

    async def probe(self, client_id: int) -> TxResult:
        """What a node says of a signed transaction that does nothing: a cancel of an order that nobody has.

        Raises:
            TransportError: Nobody has said anything.
        """
        order_id = self._forms.unused_id(client_id)
        message = wire.cancel_order(order_id, good_til_block=self._lifetimes.last_block(self._ioc_good_til_blocks))
        number = self._delivery.signer.account_number
        self.budget.take(self._lifetimes.chain_height)
        result = await self._delivery.send(self._delivery.signer.transaction([message]))
        if await self._delivery.is_renumbered(result, number):
            result = await self._delivery.send(self._delivery.signer.transaction([message]))
        return result


def _batches(orders: list[InFlightOrder]) -> list[list[InFlightOrder]]:
    """Orders of one subaccount, as many together as one transaction cancels."""
    most = wire.MAX_BATCH_CANCELS
    return [orders[first : first + most] for first in range(0, len(orders), most)]
