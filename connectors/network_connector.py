"""A connector whose venue is across a network: an outbox that is flushed in an event loop.

    buy, sell, cancel       any thread        checked, tracked, appended to the outbox; one flush is scheduled
    _run_flush              loop thread       drops what was cancelled before it was signed, ends what has expired,
                                              holds back what needs a leverage first
    _flush_outbox           loop thread       signs and sends: cancels first, then places; a subclass may batch them

A plain script needs no event loop of its own: without a running one the connector runs in a daemon thread, and
listeners are called there.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from latentspeed.connectors.client_order_id import ClientOrderIdGenerator
from latentspeed.connectors.connector_base import ConnectorBase
from latentspeed.connectors.errors import OrderNeverSent, VenueRejected
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.network_loop import NetworkLoop
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.types import ConnectorState, OrderState, ReportSource

T = TypeVar("T")


class NetworkConnector(ConnectorBase):
    """Runs a subclass's coroutines: `_initialize`, `_connect`, `_place_order`, `_cancel_order` and so on."""

    housekeeping_interval_s = 1.0
    fills_grace_s = 2.0
    cancel_retry_s = 2.0

    def __init__(self, *, id_generator: ClientOrderIdGenerator | None = None) -> None:
        super().__init__(id_generator=id_generator)
        self._network_loop = NetworkLoop()
        self._cancel_outbox: deque[InFlightOrder] = deque()
        self._place_outbox: deque[InFlightOrder] = deque()
        self._is_flush_scheduled = False
        self._prepared: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connecting: asyncio.Task[Any] | None = None
        self._session_loop: asyncio.AbstractEventLoop | None = None
        self._housekeeping: asyncio.TimerHandle | None = None

    # Lifecycle

    def initialize(self) -> Pending[None]:
        """Loads markets and rules; see `_initialize`."""
        return self._run(self._initialize())

    def connect(self) -> Pending[None]:
        """Opens the session and synchronises; see `_connect`."""
        return self._run(self._connect_and_keep_house())

    def disconnect(self) -> Pending[None]:
        """Closes the session; see `_disconnect`. A loop of the connector's own ends with it."""
        return self._run(self._disconnect_and_stop())

    def resync(self) -> Pending[None]:
        """Compares with the venue; see `_resync`."""
        return self._run(self._resync())

    @abstractmethod
    async def _initialize(self) -> None:
        """Loads markets and calls `_set_trading_rules`."""

    @abstractmethod
    async def _connect(self) -> None:
        """Opens the session, subscribes, resyncs, and sets the connection state to LIVE."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Closes the session, its tasks and sockets, and sets the connection state to DISCONNECTED."""

    @abstractmethod
    async def _resync(self) -> None:
        """Fetches fills, then orders, then positions, and reduces them; see `reconciliation`."""

    async def _connect_and_keep_house(self) -> None:
        if self._connection_state is ConnectorState.DISCONNECTED or self._session_loop is not self._network_loop.loop:
            self._begin_session()
        self._connecting = asyncio.current_task()
        try:
            await self._connect()
        finally:
            self._connecting = None
        if self._housekeeping is None:
            self._schedule_housekeeping()
        self._schedule_flush()

    def _begin_session(self) -> None:
        """Leaves behind what an earlier loop may have left when it was closed without a disconnect."""
        self._session_loop = self._network_loop.loop
        self._tasks.clear()
        self._housekeeping = None
        self._is_flush_scheduled = False
        self._settle_unanswered()

    async def _disconnect_and_stop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            self._housekeeping = None
        try:
            await self._disconnect()
        finally:
            self._set_connection_state(ConnectorState.DISCONNECTED)
            await self._end_tasks()
            self._settle_unanswered()
            # Before this is over, so that a connect right after it finds or makes a loop that keeps running.
            self._network_loop.release()

    def _settle_unanswered(self) -> None:
        """After the session has ended: what was not signed is never sent, what was sent gets no answer any more."""
        self._place_outbox.clear()
        self._prepared.clear()
        for order in self._tracker.active_orders:
            if order.state is OrderState.PENDING_CREATE:
                self._end_unsent(order, OrderState.FAILED, "never_sent")
            elif not order.is_acknowledged and not order.is_unknown:
                self._tracker.mark_unknown(order.client_order_id, "disconnected")
            if order.cancel_requested:
                order.cancel_in_flight = False  # so that it is sent again

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> Pending[T]:
        """Runs a coroutine in the connector's loop, from any thread."""
        return Pending.run(coroutine, self._network_loop.bind())

    def _start(self, coroutine: Coroutine[Any, Any, object], name: str | None = None) -> asyncio.Task[Any]:
        """Starts a task that is kept alive, logged when it fails, and cancelled at disconnect. Loop thread only."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._events.fault(f"task {task.get_name()}", error, "task_failed")

    async def _end_tasks(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    def wait_ready(self) -> Pending[None]:
        """Done as soon as `is_ready`: await it, or call `.result(timeout_s)` where no loop runs."""
        waiter = super().wait_ready()
        waiter.depends_on(self._network_loop.loop)
        return waiter

    # The outbox

    def _schedule_place(self, order: InFlightOrder) -> None:
        self._place_outbox.append(order)
        self._schedule_flush()

    def _schedule_cancel(self, order: InFlightOrder) -> None:
        self._cancel_outbox.append(order)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if self._network_loop.loop is None:
            return  # not connected: a cancel waits for the next connect
        if not self._network_loop.is_here:
            self._network_loop.call(self._run_flush)
        elif not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            self._network_loop.call(self._run_flush)

    def _run_flush(self) -> None:
        self._is_flush_scheduled = False
        if not self._can_send():
            return  # still connecting: what waits is sent at the end of it
        cancels = self._take_cancels()
        places = self._take_places()
        if not cancels and not places:
            return
        try:
            self._flush_outbox(cancels, places)
        except Exception as error:
            self._settle_failed_flush(cancels, places, error)

    def _take_cancels(self) -> list[InFlightOrder]:
        """The cancels to send, each once. An order that was not signed yet ends here and is never sent."""
        cancels: dict[str, InFlightOrder] = {}
        outbox = self._cancel_outbox
        while outbox:
            order = outbox.popleft()
            try:
                if order.state is OrderState.PENDING_CREATE:
                    self._end_unsent(order, OrderState.CANCELLED, "never_sent")
                elif order.client_order_id not in cancels and self._tracker.mark_cancel_requested(order):
                    cancels[order.client_order_id] = order
            except Exception as error:
                order.cancel_requested = True  # so that it is asked for again
                self._settle_failed_flush([order], [], error)
        return list(cancels.values())

    def _take_places(self) -> list[InFlightOrder]:
        """The orders to sign now, in the order they were submitted."""
        places = []
        outbox = self._place_outbox
        while outbox:
            order = outbox.popleft()
            try:
                if self._is_ready_to_sign(order):
                    places.append(order)
            except Exception as error:
                self._settle_failed_flush([], [order], error)
        return places

    def _is_ready_to_sign(self, order: InFlightOrder) -> bool:
        """False for an order that has ended, and for one that comes again once it is prepared."""
        if order.is_done or self._expire_unsent(order):
            self._prepared.discard(order.client_order_id)
            return False
        preparation = None if order.client_order_id in self._prepared else self._prepare_order(order)
        if preparation is not None:
            self._start(self._place_when_prepared(order, preparation), f"prepare {order.client_order_id}")
            return False
        self._prepared.discard(order.client_order_id)
        return True

    async def _place_when_prepared(self, order: InFlightOrder, preparation: Awaitable[object]) -> None:
        try:
            await preparation
        except asyncio.CancelledError:
            self._end_unsent(order, OrderState.FAILED, "never_sent")
            raise
        except Exception as error:
            reason = error.reason if isinstance(error, VenueRejected) else str(error) or type(error).__name__
            self._end_unsent(order, OrderState.FAILED, f"not_prepared: {reason}")
            return
        self._prepared.add(order.client_order_id)
        self._schedule_place(order)

    def _can_send(self) -> bool:
        """Hook: False while a session is being made that `_flush_outbox` needs."""
        return True

    def _flush_outbox(self, cancels: list[InFlightOrder], places: list[InFlightOrder]) -> None:
        """Sends what waits, cancels first. Here one task each; a subclass may sign several as one batch."""
        for order in cancels:
            self._start(self._cancel_order_and_process_update(order), f"cancel {order.client_order_id}")
        for order in places:
            self._start(self._place_order_and_process_update(order), f"place {order.client_order_id}")

    def _settle_failed_flush(self, cancels: list[InFlightOrder], places: list[InFlightOrder], error: Exception) -> None:
        """After something raised on the way to the socket: what was signed may have left, what was not has not."""
        what = f"sending {len(cancels)} cancels and {len(places)} places"
        self._events.fault(what, error, "send_failed")
        for order in cancels:
            self._tracker.process_cancel_failed(order.client_order_id, f"send_failed: {error!r}", is_answer=False)
        for order in places:
            if order.state is OrderState.PENDING_CREATE:
                self._end_unsent(order, OrderState.FAILED, "never_sent")
            elif not order.is_done:
                self._tracker.mark_unknown(order.client_order_id, "send_failed")

    def _end_unsent(self, order: InFlightOrder, state: OrderState, reason: str) -> None:
        """Ends an order of which no byte has left this process."""
        if order.state is OrderState.PENDING_CREATE:
            self._tracker.process_order_update(
                OrderUpdate(order.client_order_id, state=state, reason=reason, source=ReportSource.LOCAL)
            )

    def _expire_unsent(self, order: InFlightOrder) -> bool:
        """Ends an order whose time has passed as EXPIRED `never_sent`; to be called just before signing."""
        if not order.expire_mono_ns or time.monotonic_ns() < order.expire_mono_ns:
            return False
        self._end_unsent(order, OrderState.EXPIRED, "never_sent")
        return order.is_done

    # One order at a time

    @abstractmethod
    async def _place_order(self, order: InFlightOrder) -> tuple[str, int]:
        """Signs, calls `_mark_signed`, sends, and waits for the answer: (exchange order id or "", venue time in ns).

        Raises VenueRejected when the venue has refused the order, and OrderNeverSent when no byte was written. Anything
        else that it raises leaves the order's fate unknown.
        """

    @abstractmethod
    async def _cancel_order(self, order: InFlightOrder) -> bool:
        """Sends a cancel and waits for the answer: True when the venue has cancelled the order, False when another
        report will tell. Raises VenueRejected when the venue has refused the cancel."""

    def _mark_signed(self, order: InFlightOrder, *, nonce: int = 0, venue_expiry_ms: int = 0) -> bool:
        """Shows PENDING_SUBMIT; between signing and the first byte. False: the order has ended and must not be sent."""
        return self._tracker.mark_signed(order, nonce=nonce, venue_expiry_ms=venue_expiry_ms)

    async def _place_order_and_process_update(self, order: InFlightOrder) -> None:
        """Places one order and reduces the outcome; an outcome that nobody knows leaves it live and unknown."""
        client_order_id = order.client_order_id
        try:
            exchange_order_id, venue_utc_ns = await self._place_order(order)
        except VenueRejected as error:
            update = OrderUpdate(
                client_order_id, state=OrderState.FAILED, reason=error.reason, source=ReportSource.REPLY
            )
        except OrderNeverSent as error:
            state = OrderState.EXPIRED if error.is_expired else OrderState.FAILED
            update = OrderUpdate(client_order_id, state=state, reason=error.reason, source=ReportSource.LOCAL)
        except asyncio.CancelledError:
            self._tracker.mark_unknown(client_order_id, "interrupted")
            raise
        except Exception as error:
            self._tracker.mark_unknown(client_order_id, str(error) or type(error).__name__)
            self._events.error(
                "place_unanswered",
                f"{client_order_id}: {error!r}",
                trading_pair=order.trading_pair,
                client_order_id=client_order_id,
            )
            return
        else:
            update = OrderUpdate(
                client_order_id, exchange_order_id or None, OrderState.OPEN, "", venue_utc_ns, ReportSource.REPLY
            )
        self._tracker.process_order_update(update)

    async def _cancel_order_and_process_update(self, order: InFlightOrder) -> None:
        """Cancels one order and reduces the outcome; a refusal alone never ends or revives the order."""
        client_order_id = order.client_order_id
        try:
            is_cancelled = await self._cancel_order(order)
        except VenueRejected as error:
            self._tracker.process_cancel_failed(client_order_id, error.reason)
        except asyncio.CancelledError:
            self._tracker.process_cancel_failed(client_order_id, "interrupted", is_answer=False)
            raise
        except Exception as error:
            self._tracker.process_cancel_failed(client_order_id, str(error) or repr(error), is_answer=False)
        else:
            if is_cancelled:
                self._tracker.process_order_update(
                    OrderUpdate(client_order_id, state=OrderState.CANCELLED, source=ReportSource.REPLY)
                )

    # Housekeeping

    def _schedule_housekeeping(self) -> None:
        loop = asyncio.get_running_loop()
        self._housekeeping = loop.call_later(self.housekeeping_interval_s, self._keep_house)

    def _keep_house(self) -> None:
        """Once a second: every duty, whatever has become of the others."""
        self._schedule_housekeeping()
        for duty in self._house_duties():
            try:
                duty()
            except Exception as error:
                self._events.fault(f"housekeeping: {duty.__qualname__}", error, "housekeeping_failed")

    def _house_duties(self) -> list[Callable[[], None]]:
        """What is done once a second; a subclass adds its own."""
        return [self._tracker.sweep, self._ask_for_missing_fills, self._ask_for_doubtful_orders]

    def _ask_for_missing_fills(self) -> None:
        """Asks again for fills that the venue has announced and nobody has told."""
        now = time.monotonic_ns()
        missing = [
            order
            for order in self._tracker.orders_awaiting_fills
            if now - order.awaiting_since_mono_ns >= self.fills_grace_s * 1e9
        ]
        missing += [order for order in self._tracker.orders_in_doubt if order not in missing]
        if missing:
            self._fetch_missing_fills(missing)

    def _ask_for_doubtful_orders(self) -> None:
        """Asks again for orders of which nobody knows, and repeats cancels that nobody has answered."""
        now = time.monotonic_ns()
        doubtful = []
        for order in self._tracker.active_orders:
            if order.is_unknown or order.cancel_rejected:
                doubtful.append(order)
            if (
                order.cancel_requested
                and not (order.cancel_in_flight or order.cancel_rejected)
                and now - order.cancel_sent_mono_ns >= self.cancel_retry_s * 1e9
            ):
                self.cancel(order.client_order_id)
        if doubtful:
            self._query_orders(doubtful)

    def _fetch_missing_fills(self, orders: list[InFlightOrder]) -> None:
        """Hook: the venue says that these orders were filled further, and the fills did not come; or all the fills of
        a restored order are needed to tell which of them are new.

        Called every second.
        """

    def _query_orders(self, orders: list[InFlightOrder]) -> None:
        """Hook: ask the venue what became of these orders, and reduce its answers as SNAPSHOT. Called every second."""
