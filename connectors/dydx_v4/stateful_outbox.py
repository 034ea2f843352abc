"""From long-term and conditional orders, and their cancels, to signed transactions with sequences.

The chain lets an account place few of them, so an order waits here for the block in which it may be sent, unless that
is far away. A node's yes means that the transaction waits for a block: it may still be in none, see `stateful_watch`.
A no is certain, so that the order is sent again where only its sequence or the account's number was at fault.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, NamedTuple

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.block_budget import BlockBudget
from latentspeed.connectors.dydx_v4.client_ids import ClientIds
from latentspeed.connectors.dydx_v4.delivery import CLOB, SDK, Delivery
from latentspeed.connectors.dydx_v4.kinds import good_til_s
from latentspeed.connectors.dydx_v4.lifetimes import Lifetimes
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.order_forms import OrderForms, OrderNames
from latentspeed.connectors.dydx_v4.sequences import Sequences
from latentspeed.connectors.dydx_v4.stateful_watch import StatefulWatch
from latentspeed.connectors.dydx_v4.transactions import FREE, Fee
from latentspeed.connectors.dydx_v4.twap import GRACE_S, duration_s
from latentspeed.connectors.dydx_v4.wire import Message
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import TransportError
from latentspeed.connectors.types import OrderType

WRONG_SEQUENCE: Final = (SDK, 32)
TOO_MANY: Final = (CLOB, 5001)
CANCEL_PENDING: Final = (CLOB, 32)
NOT_THERE: Final = (CLOB, 3006)
"""The order to cancel is not in state: it was filled, or has ended, or was never in a block."""
POSSIBLY_LIVE: Final = frozenset({(SDK, 19), (SDK, 20), (CLOB, 30)})
ATTEMPTS: Final = 5
LONGEST_WAIT_BLOCKS: Final = 5
"""An order that may only be sent later than this ends at once."""


class Sent(NamedTuple):
    """A transaction that was sent, and what a node said of it.

    Attributes:
        transaction: The signed bytes.
        sequence: Its sequence.
        result: What the node's check said; code 0 where nothing is known.
        lost: Why nothing is known, None when it was answered.
    """

    transaction: bytes
    sequence: int
    result: TxResult
    lost: TransportError | None = None


class StatefulOutbox:
    """Signs and sends stateful orders. Used in the loop's thread."""

    def __init__(
        self,
        *,
        tracker: ClientOrderTracker,
        delivery: Delivery,
        forms: OrderForms,
        names: OrderNames,
        client_ids: ClientIds,
        lifetimes: Lifetimes,
        watch: StatefulWatch,
        sequences: Sequences,
        budget: BlockBudget,
        good_til_s: float,
        start: Callable[..., asyncio.Task[Any]],
        expire: Callable[[InFlightOrder], bool],
    ) -> None:
        """Sends nothing yet.

        Args:
            tracker: Whose orders these are.
            delivery: Broadcasts.
            forms: Makes the wire forms.
            names: Learns the ids.
            client_ids: Which are taken.
            lifetimes: The chain's height and clock.
            watch: Looks after what was sent.
            sequences: Makes the sequences.
            budget: What the chain lets the account place.
            good_til_s: For how long an order is good that says nothing of it.
            start: Runs a coroutine.
            expire: Ends an order that must not be sent any more; whether it did.
        """
        self.budget = budget
        self.sequences = sequences
        self._tracker = tracker
        self._delivery = delivery
        self._forms = forms
        self._names = names
        self._client_ids = client_ids
        self._lifetimes = lifetimes
        self._watch = watch
        self._good_til_s = good_til_s
        self._start = start
        self._expire = expire
        self._waiting: deque[InFlightOrder] = deque()
        self._turn = asyncio.Lock()
        self._block = asyncio.Event()

    # --- places ---

    def send_place(self, order: InFlightOrder) -> None:
        """Sends an order as soon as the chain lets the account place one more."""
        self._waiting.append(order)
        self.on_block()

    def on_block(self) -> None:
        """A block was told of: sends what has waited for it."""
        self._block.set()
        self._block.clear()
        while self._waiting:
            order = self._waiting[0]
            try:
                if not self._is_disposed(order):
                    return
            except Exception as error:
                self._delivery.place_failed(order, error)
            self._waiting.popleft()

    def _is_disposed(self, order: InFlightOrder) -> bool:
        """Sends an order, or ends it; False for one that has to wait for a later block."""
        if order.is_done or self._expire(order):
            return True
        wait = self.budget.wait_blocks(self._lifetimes.chain_height)
        if 0 < wait <= LONGEST_WAIT_BLOCKS:
            return False
        if wait:
            why = f"the chain's limit of long-term and conditional orders is used up for {wait} blocks"
            self._delivery.never_sent(order, why)
        else:
            self._send(order)
        return True

    def _send(self, order: InFlightOrder) -> None:
        if self._client_ids.take(order) is None:
            self._delivery.never_sent(order, "another order has its 32-bit client id")
            return
        if not self._lifetimes.is_known:
            self._delivery.never_sent(order, "no block height is known yet")
            return
        self._names.add(order)
        self._start(self._deliver(order, self._good_til_time(order)), f"place {order.client_order_id}")
        self.budget.take(self._lifetimes.chain_height)

    def _good_til_time(self, order: InFlightOrder) -> int:
        lasts_s = good_til_s(order, self._good_til_s)
        if order.order_type is OrderType.TWAP:
            lasts_s = duration_s(order) + GRACE_S
        return math.ceil(self._lifetimes.now_ms() / 1000 + lasts_s)

    async def _deliver(self, order: InFlightOrder, good_til_time: int) -> None:
        try:
            await self._deliver_place(order, good_til_time)
        except Exception as error:
            self._delivery.place_failed(order, error)
            self._watch.sent(order)

    async def _deliver_place(self, order: InFlightOrder, good_til_time: int) -> None:
        attempts = 0
        while True:
            attempts += 1
            async with self._in_turn():
                number = self._delivery.signer.account_number
                transaction = self._sign(order, good_til_time, is_first=attempts == 1)
                if transaction is None:
                    return
                result = await self._delivery.place(order, transaction)
            if result is None or result.code == 0:
                self._watch.sent(order)
                return
            if order.cancel_requested or attempts == ATTEMPTS or not await self._is_worth_a_retry(result, number):
                break
        if (result.codespace, result.code) in POSSIBLY_LIVE:
            self._tracker.mark_unknown(order.client_order_id, f"{result.codespace}_{result.code}")
            self._watch.sent(order)
        else:
            self._delivery.refused(order, result)

    def _in_turn(self) -> AbstractAsyncContextManager[object]:
        """Where sequences are counted, one transaction at a time; times need no order."""
        return self._turn if self.sequences.counter is not None else nullcontext()

    def _sign(self, order: InFlightOrder, good_til_time: int, *, is_first: bool) -> bytes | None:
        form = self._forms.place(order, good_til_time=good_til_time)
        assert form is not None, "only MARKET orders need a quote, and they are short-term"
        sequence = self.sequences.next()
        transaction = self._delivery.signer.transaction([wire.place_order(form)], sequence=sequence)
        nonce = max(1, sequence)  # An order with a nonce is a stateful one.
        if not is_first:
            order.nonce = nonce
            return transaction
        if not self._tracker.mark_signed(order, nonce=nonce, venue_expiry_ms=good_til_time * 1000):
            return None
        order.sent_mono_ns = time.monotonic_ns()
        return transaction

    async def _is_worth_a_retry(self, result: TxResult, number: int) -> bool:
        """Whether what was wrong is put right. Whatever was refused stands nowhere."""
        code = (result.codespace, result.code)
        if code == WRONG_SEQUENCE:
            return self.sequences.learn(result.log)
        if code == TOO_MANY:
            self.budget.refuse(self._lifetimes.chain_height)
            wait = self.budget.wait_blocks(self._lifetimes.chain_height)
            while 0 < wait <= LONGEST_WAIT_BLOCKS:
                await self._block.wait()
                wait = self.budget.wait_blocks(self._lifetimes.chain_height)
            if not wait:
                self.budget.take(self._lifetimes.chain_height)
            return not wait
        return await self._delivery.is_renumbered(result, number)

    # --- cancels ---

    def send_cancels(self, orders: Sequence[InFlightOrder]) -> None:
        """Signs and writes a cancel for each; the chain does not limit them."""
        for order in orders:
            if not order.is_done:
                self._start(self._deliver_cancel(order), f"cancel {order.client_order_id}")

    async def _deliver_cancel(self, order: InFlightOrder) -> None:
        try:
            await self._send_cancel(order)
        except Exception as error:
            self._delivery.cancels_failed([order], error)

    async def _send_cancel(self, order: InFlightOrder) -> None:
        sent = await self.send(lambda: [self._cancel(order)])
        if sent.lost is not None:
            self._tracker.process_cancel_failed(order.client_order_id, str(sent.lost), is_answer=False)
            return
        result = sent.result
        code = (result.codespace, result.code)
        if result.code == 0 or code == CANCEL_PENDING:
            # A block ends the order, and the indexer tells of it.
            order.cancel_in_flight = False
            self._watch.sent(order)
        elif code == NOT_THERE:
            order.cancel_in_flight = False
            self._watch.check_now(order)
        else:
            self._delivery.cancels_refused([order], result)

    def _cancel(self, order: InFlightOrder) -> Message:
        # At least the order's own time, and late enough to be in a block.
        time_s = max(order.venue_expiry_ms // 1000, self._lifetimes.now_ms() // 1000 + 60)
        return wire.cancel_order(self._forms.order_id(order), good_til_time=time_s)

    # --- whatever has a sequence ---

    async def send(self, make: Callable[[], Sequence[Message]], *, fee: Fee = FREE) -> Sent:
        """Signs messages with a sequence and sends them, again where only that or the account's number was wrong."""
        for _ in range(ATTEMPTS):
            async with self._in_turn():
                number, sequence = self._delivery.signer.account_number, self.sequences.next()
                transaction = self._delivery.signer.transaction(make(), sequence=sequence, fee=fee)
                try:
                    result = await self._delivery.send(transaction)
                except TransportError as error:
                    return Sent(transaction, sequence, TxResult(), error)
            if (result.codespace, result.code) == WRONG_SEQUENCE and self.sequences.learn(result.log):
                continue
            if not await self._delivery.is_renumbered(result, number):
                break
        return Sent(transaction, sequence, result)
