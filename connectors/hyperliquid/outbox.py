"""From commands to signed requests: the outbox, where what waits is sent together, cancels first.

::

    place  --> waiting --+                        +--> reply --> tracker
                         |--> sign, mark, write --+
    cancel --> waiting --+                        +--> no answer --> settling (asks the venue by cloid)

A bounded number of requests is on its way at once. While there is room a command leaves at once and alone; under load
what comes meanwhile waits and leaves as one signed batch. Before the first byte of a place is written its order is
marked as signed, with nonce and venue expiry, through the tracker, whose listeners run there and then: whoever keeps
that can tell after a crash which orders the venue may have. Nothing is ever signed twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
import orjson

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.errors import VenueRejected
from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.hyperliquid.answers import NEVER_SENT, Answer, OrderAnswers
from latentspeed.connectors.hyperliquid.batches import Batch, WaitingPlaces
from latentspeed.connectors.hyperliquid.limits import AddressBudget
from latentspeed.connectors.hyperliquid.nonces import NonceSource, now_ms
from latentspeed.connectors.hyperliquid.order_forms import OrderForms
from latentspeed.connectors.hyperliquid.replies import (
    ActionRefused,
    UnexpectedReply,
    parse_reply,
)
from latentspeed.connectors.hyperliquid.rest import action_weight
from latentspeed.connectors.hyperliquid.signing import L1Signer
from latentspeed.connectors.hyperliquid.statuses import classify_refusal
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import TransportError
from latentspeed.connectors.types import OrderType

CANCEL_SLOTS = 4
"""Requests with cancels that may be on their way at once; they have places of their own, so that orders never hold them
up."""
LAST_ANSWERS_S = 2.0
"""How long closing waits for answers that are on their way."""
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.001, 0.5


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """Bounds of the outbox; see HyperliquidConfig."""

    max_batch: int
    max_requests_in_flight: int
    place_expiry_ms: int
    fast_cancels: bool = False


class Outbox:
    """Commands on their way to the venue. Used in the loop's thread."""

    def __init__(
        self,
        options: OutboxOptions,
        *,
        tracker: ClientOrderTracker,
        signer: L1Signer,
        nonces: NonceSource,
        send: Callable[[bytes], Answer],
        forms: OrderForms,
        answers: OrderAnswers,
        on_refusal: Callable[[str, str], None],
        skew_ms: Callable[[], int] = lambda: 0,
        vault: bytes | None = None,
        budget: WeightBudget | None = None,
        address: AddressBudget | None = None,
        builder: Callable[[], dict[str, str | int] | None] = lambda: None,
    ) -> None:
        """Sends nothing yet.

        Args:
            options: Bounds.
            tracker: Whose orders these are.
            signer: Signs every action.
            nonces: The one source of this signer's nonces.
            send: Writes a signed request at once, where it can, and returns the venue's answer to come.
            forms: Makes the wire forms of orders.
            answers: Reduces the venue's answers.
            on_refusal: Told of each refusal, with the venue's name for the reason and its text.
            skew_ms: By how much the venue's clock is ahead of this one.
            vault: The vault or sub-account that is traded, if any.
            budget: The request weight that may be used, None for no limit.
            address: The actions that the address may use.
            builder: Who is paid a fee on new orders now, None for nobody.
        """
        self.requests = 0
        """Signed requests sent since the start."""
        self._options = options
        self._tracker = tracker
        self._signer = signer
        self._nonces = nonces
        self._send = send
        self._forms = forms
        self._answers = answers
        self._on_refusal = on_refusal
        self._skew_ms = skew_ms
        self._vault = vault
        self._budget = budget
        self._address = address if address is not None else AddressBudget()
        self._builder = builder
        self._places = WaitingPlaces(tracker, forms, answers.never_sent, life_ms=options.place_expiry_ms)
        self._cancels: dict[str, InFlightOrder] = {}
        self._places_in_flight = 0
        self._cancels_in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- commands ---

    def add_place(self, order: InFlightOrder) -> None:
        """Takes an order to send at the next flush."""
        self._places.add(order)

    def add_cancel(self, order: InFlightOrder) -> None:
        """Takes the cancel of an order that was signed; it is marked as requested already.

        That of a TWAP names it by the venue's number, and is sent when that is known.
        """
        if order.order_type is OrderType.TWAP and order.exchange_order_id is None:
            order.cancel_in_flight = False
            return
        self._cancels[order.client_order_id] = order

    def cancel_again(self, order: InFlightOrder) -> None:
        """Sends a cancel once more, because the venue says that the order is still open."""
        if self._tracker.mark_cancel_requested(order):
            self.add_cancel(order)
            self.wake()

    @property
    def waiting(self) -> int:
        """Commands that have not been signed yet."""
        return len(self._places) + len(self._cancels)

    @property
    def in_flight(self) -> int:
        """Requests without an answer yet."""
        return self._places_in_flight + self._cancels_in_flight

    def wake(self) -> None:
        """Flushes in the next turn of the loop, so that what comes in one turn goes in one request."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self.flush)

    async def close(self) -> None:
        """Ends every waiting place as never sent, and waits for the answers that are on their way."""
        for handle in (self._turn, self._timer):
            if handle is not None:
                handle.cancel()
        self._turn = self._timer = None
        self._places.end_all()
        for order in self._cancels.values():
            order.cancel_in_flight = False
        self._cancels.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LAST_ANSWERS_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- sending ---

    def flush(self) -> None:
        """Signs and starts to send what waits, cancels first, as far as there is room."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        wait_s: float | None = 0.0
        is_faulty = False
        try:
            while self._cancels and self._cancels_in_flight < CANCEL_SLOTS and wait_s == 0.0:
                wait_s = self._send_cancels()
        except Exception as error:
            is_faulty = self._has_failed("sending cancels", error)
        try:
            while self._places and self._places_in_flight < self._options.max_requests_in_flight and wait_s == 0.0:
                wait_s = self._send_places()
        except Exception as error:
            is_faulty = self._has_failed("sending orders", error)
        if is_faulty:
            wait_s = LONGEST_WAIT_S  # what is left is looked at again, and the rest of it must not wait for ever
        if wait_s:
            if self._timer is not None:
                self._timer.cancel()
            # Not later than this, so that what expires while it waits is told in time.
            wait_s = min(max(wait_s, SHORTEST_WAIT_S), LONGEST_WAIT_S)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.wake)

    def _has_failed(self, what: str, error: Exception) -> bool:
        self._tracker.events.fault(what, error, "send_failed")
        return True

    def _wait_for_budget(self, count: int, *, urgent: bool) -> float:
        """Takes the weight of a request, or returns the seconds until there is enough.

        Counting that fails holds nothing up, least of all a cancel: the venue counts, too.
        """
        try:
            wait_s = self._address.wait_s(is_cancel=urgent)
            weight = action_weight(count)
            if self._budget is not None:
                wait_s = max(wait_s, self._budget.wait_s(weight, urgent=urgent))
            if wait_s == 0.0:
                self._address.take(count)
                if self._budget is not None:
                    self._budget.take(weight)
        except Exception as error:
            self._tracker.events.fault("the request budget", error, "budget_failed")
            return 0.0
        return wait_s

    def _send_places(self) -> float | None:
        """Signs and sends the next batch of places.

        Returns the seconds to wait when the budget is used up, and None when nothing can leave.
        """
        batch = self._places.next_batch(self._address.most(self._options.max_batch))
        if batch is None:
            return None
        wait_s = self._wait_for_budget(len(batch.orders), urgent=False)
        if wait_s > 0.0:
            return wait_s
        try:
            self._places.remove(batch.orders)
            batch, body = self._sign_places(batch)
        except Exception as error:
            self._tracker.events.fault(f"signing {len(batch.orders)} orders", error, "signing_failed")
            for order in batch.orders:
                self._answers.unsigned(order, f"{NEVER_SENT}: {error!r}")
            return 0.0
        if batch.orders:
            self._start(self._take_places(batch.orders, self._sent(batch.orders, body)))
            self._places_in_flight += 1
        return 0.0

    def _sign_places(self, batch: Batch) -> tuple[Batch, bytes]:
        """Signs the orders in one action and marks them as signed; the signature is made before the marks are shown.

        An order that ended meanwhile is left out, and the rest signed anew under the same nonce, which nobody has seen.
        """
        expiry_ms = now_ms() + self._skew_ms() + batch.life_ms
        nonce = self._nonces.next()
        body = self._signed(batch, nonce, expiry_ms)
        signed_mono_ns = time.monotonic_ns()
        marks = [
            self._tracker.mark_signed(order, nonce=nonce, venue_expiry_ms=expiry_ms, signed_mono_ns=signed_mono_ns)
            for order in batch.orders
        ]
        if not all(marks):
            batch = batch.keep(marks)
            body = self._signed(batch, nonce, expiry_ms)
        return batch, body

    def _signed(self, batch: Batch, nonce: int, expiry_ms: int) -> bytes:
        return orjson.dumps(self._signer.request(batch.action(self._builder()), nonce, self._vault, expiry_ms))

    def _send_cancels(self) -> float:
        """Signs and sends the next batch of cancels; returns the seconds to wait when the budget is used up."""
        is_fast, orders = self._next_cancels()
        live = [order for order in orders if not order.is_done]
        wait_s = self._wait_for_budget(len(live), urgent=True) if live else 0.0
        if wait_s > 0.0:
            return wait_s
        for order in orders:
            del self._cancels[order.client_order_id]
        if live:
            try:
                action = self._cancel_action(live, is_fast)
                answer = self._posted(orjson.dumps(self._signer.request(action, self._nonces.next(), self._vault)))
            except Exception as error:
                self._tracker.events.fault(f"signing {len(live)} cancels", error, "signing_failed")
                for order in live:
                    self._tracker.process_cancel_failed(order.client_order_id, repr(error), is_answer=False)
                return 0.0
            self._start(self._take_cancels(live, answer))
            self._cancels_in_flight += 1
        return 0.0

    def _next_cancels(self) -> tuple[bool, list[InFlightOrder]]:
        """The next cancels that share an action, and whether it asks for priority."""
        most = self._options.max_batch
        first = next(iter(self._cancels.values()))
        if first.order_type is OrderType.TWAP:
            return False, [first]
        plain = (order for order in self._cancels.values() if order.order_type is not OrderType.TWAP)
        if not self._options.fast_cancels:
            return False, list(islice(plain, most))
        has_trigger = first.order_type.has_trigger
        alike = (order for order in plain if order.order_type.has_trigger is has_trigger)
        return not has_trigger, list(islice(alike, most))

    def _cancel_action(self, orders: Sequence[InFlightOrder], is_fast: bool) -> wire.Action:
        first = orders[0]
        if first.order_type is OrderType.TWAP:
            return wire.twap_cancel_action(first.rule.asset_id, wire.twap_number(first.exchange_order_id or ""))
        named = [(order.rule.asset_id, self._forms.cloid_of(order)) for order in orders]
        return wire.cancel_by_cloid_action(named, is_fast=is_fast)

    def _start(self, delivery: Any) -> None:
        self.requests += 1
        task = asyncio.get_running_loop().create_task(delivery)
        self._tasks.add(task)
        task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._tracker.events.fault("a delivery", error, "delivery_failed")
        if self._places or self._cancels:
            self.wake()

    async def act(self, action: wire.Action, expiry_ms: int = 0) -> bytes | msgspec.Raw:
        """Signs and sends an action that is neither a place nor a cancel, ahead of what waits; returns the answer.

        Args:
            action: What to do.
            expiry_ms: When the venue must not take it any more, in ms since the epoch; 0 for never.

        Raises:
            VenueRejected: The venue refused it.
            TransportError: Nobody knows what the venue did.
        """
        body = orjson.dumps(self._signer.request(action, self._nonces.next(), self._vault, expiry_ms or None))
        if self._budget is not None:
            self._budget.take(action_weight(0))
        self._address.take(1)
        self.requests += 1
        try:
            answer = await self._send(body)
            parse_reply(answer, 0)
            return answer
        except ActionRefused as refused:
            self._on_refusal(classify_refusal(str(refused)).status, str(refused))
            raise VenueRejected(str(refused)) from None
        except UnexpectedReply as error:
            raise TransportError(str(error)) from None

    def _posted(self, body: bytes) -> Answer:
        """Writes a signed request; what is raised meanwhile is the answer, since bytes may have left before that."""
        try:
            return self._send(body)
        except Exception as error:
            answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            answer.set_exception(error)
            return answer

    def _sent(self, orders: Sequence[InFlightOrder], body: bytes) -> Answer:
        """Writes a request in this very call, so that no turn of the loop lies between signature and socket."""
        answer = self._posted(body)
        sent_mono_ns = time.monotonic_ns()
        for order in orders:
            order.sent_mono_ns = sent_mono_ns
        return answer

    async def _take_places(self, orders: Sequence[InFlightOrder], answer: Answer) -> None:
        try:
            await self._answers.take_places(orders, answer)
        finally:
            self._places_in_flight -= 1

    async def _take_cancels(self, orders: Sequence[InFlightOrder], answer: Answer) -> None:
        try:
            await self._answers.take_cancels(orders, answer)
        finally:
            self._cancels_in_flight -= 1
