"""What an answer, or the want of one, means for the orders of a request.

Refusals end an order, with the venue's name for the reason; silence never does: the order is unknown and the venue is
asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.hyperliquid.replies import (
    ActionRefused,
    ItemStatus,
    Outcome,
    UnexpectedReply,
    parse_reply,
)
from latentspeed.connectors.hyperliquid.settling import CANCEL_REFUSED
from latentspeed.connectors.hyperliquid.statuses import classify_refusal
from latentspeed.connectors.hyperliquid.wire import twap_name
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import HttpStatusError, NotSent, TransportError
from latentspeed.connectors.types import OrderState, ReportSource

NEVER_SENT = "never_sent"
ADDRESS_LIMIT, CANCEL_ADDRESS_LIMIT = "addressLimit", "cancelAddressLimit"
"""The venue's refusal of an order, and of a cancel, because the address has used up its actions."""
Answer = Awaitable[bytes | msgspec.Raw]


class OrderAnswers:
    """Reduces answers to places and cancels."""

    def __init__(
        self,
        tracker: ClientOrderTracker,
        *,
        settle: Callable[[InFlightOrder, str], None],
        on_refusal: Callable[[str, str], None],
        on_turned_away: Callable[[], None],
    ) -> None:
        """Has no answers yet.

        Args:
            tracker: Whose orders these are.
            settle: Told of each order whose fate has to be asked for, with the reason.
            on_refusal: Told of each refusal, with the venue's name for the reason and its text.
            on_turned_away: Called when the venue said that there were too many requests.
        """
        self._tracker = tracker
        self._settle = settle
        self._on_refusal = on_refusal
        self._on_turned_away = on_turned_away

    # --- places ---

    async def take_places(self, orders: Sequence[InFlightOrder], answer: Answer) -> None:
        """Waits for the answer to a request that places these orders, and reduces it."""
        try:
            statuses = parse_reply(await answer, len(orders))
        except NotSent as error:
            for order in orders:
                self.never_sent(order, OrderState.FAILED, f"{NEVER_SENT}: {error}")
        except ActionRefused as refused:
            for order in orders:
                if len(orders) > 1 and order.replaces:
                    # The text of one modify may have become that of all, and nobody says which were carried out.
                    self._unknown(order, f"modify refused: {refused}")
                else:
                    self._refused(order, str(refused))
        except (TransportError, UnexpectedReply) as error:
            self._unanswered(orders, error)
        except asyncio.CancelledError:
            for order in orders:
                self._unknown(order, "interrupted")
            raise
        except Exception as error:
            # Nobody foresaw it, so that nobody knows whether the request has left.
            self._tracker.events.fault(f"a request with {len(orders)} orders", error, "delivery_failed")
            for order in orders:
                self._unknown(order, "no_answer")
        else:
            for order, status in zip(orders, statuses, strict=True):
                try:
                    self._placed(order, status)
                except Exception as error:
                    self._tracker.events.fault(
                        f"the answer to {order.client_order_id}",
                        error,
                        "delivery_failed",
                        client_order_id=order.client_order_id,
                    )
                    self._unknown(order, "no_answer")
        finally:
            for order in orders:
                if order.replaces:
                    self._replaced(order)

    def _replaced(self, order: InFlightOrder) -> None:
        """The old order of a replacement: gone when the venue has taken the new one, otherwise the venue is asked.

        A refused modify may have removed the old order all the same.
        """
        old = self._tracker.get_order(order.replaces)
        if old is None or old.is_done or order.reason.startswith(NEVER_SENT):
            return
        if order.is_acknowledged:
            self._report(old, OrderState.CANCELLED, reason="modified")
        else:
            self._settle(old, f"its modify by {order.client_order_id}: {order.reason}")

    def _unanswered(self, orders: Sequence[InFlightOrder], error: Exception) -> None:
        reason = f"http_{error.status}" if isinstance(error, HttpStatusError) else "no_answer"
        if reason == "http_429":
            self._tell(self._on_turned_away)
        self._tracker.events.error(reason, f"{len(orders)} orders may be at the venue: {error}")
        for order in orders:
            self._unknown(order, reason)

    def _placed(self, order: InFlightOrder, status: ItemStatus) -> None:
        """Reduces the venue's answer for one order."""
        outcome = status.outcome
        if outcome is Outcome.RESTING:
            self._report(order, OrderState.OPEN, exchange_order_id=str(status.order_id))
        elif outcome is Outcome.FILLED:
            try:
                filled_lots = order.rule.lots_from_text(status.total_size)
            except ValueError:
                self._unknown(order, f"filled size {status.total_size!r}")
                return
            self._report(order, OrderState.FILLED, exchange_order_id=str(status.order_id), filled_lots=filled_lots)
        elif outcome is Outcome.RUNNING:
            self._report(order, OrderState.OPEN, exchange_order_id=twap_name(status.order_id))
            self._settle(order, "running")
        elif outcome is Outcome.ERROR:
            self._refused(order, status.text)
        elif outcome is Outcome.WAITING:
            self._report(order, OrderState.OPEN)
            self._settle(order, status.text)
        else:
            self._unknown(order, f"answer {status.text!r}")

    def _refused(self, order: InFlightOrder, text: str) -> None:
        refusal = classify_refusal(text)
        self._tell(self._on_refusal, refusal.status, text)
        if refusal.state is OrderState.UNKNOWN:
            self._unknown(order, refusal.status)
        else:
            self._report(order, refusal.state, reason=f"{refusal.status}: {text}")

    def _unknown(self, order: InFlightOrder, reason: str) -> None:
        self._tracker.mark_unknown(order.client_order_id, reason)
        self._settle(order, reason)

    # --- cancels ---

    async def take_cancels(self, orders: Sequence[InFlightOrder], answer: Answer) -> None:
        """Waits for the answer to a request that cancels these orders, and reduces it."""
        try:
            statuses = parse_reply(await answer, len(orders))
        except ActionRefused as refused:
            for order in orders:
                self._cancel_refused(order, str(refused))
        except (TransportError, UnexpectedReply) as error:
            for order in orders:
                self._cancel_unanswered(order, str(error))
        except asyncio.CancelledError:
            for order in orders:
                order.cancel_in_flight = False
            raise
        except Exception as error:
            self._tracker.events.fault(f"a request with {len(orders)} cancels", error, "delivery_failed")
            for order in orders:
                self._cancel_unanswered(order, repr(error))
        else:
            for order, status in zip(orders, statuses, strict=True):
                try:
                    if status.outcome is Outcome.SUCCESS:
                        self._report(order, OrderState.CANCELLED, reason="canceled")
                    else:
                        self._cancel_refused(order, status.text)
                except Exception as error:
                    self._tracker.events.fault(
                        f"the answer to the cancel of {order.client_order_id}",
                        error,
                        "delivery_failed",
                        client_order_id=order.client_order_id,
                    )
                    self._cancel_unanswered(order, repr(error))

    def _cancel_refused(self, order: InFlightOrder, text: str) -> None:
        """The text is the same for filled, cancelled, unknown and not yet placed orders, so the venue is asked."""
        status = classify_refusal(text).status
        self._tell(self._on_refusal, CANCEL_ADDRESS_LIMIT if status == ADDRESS_LIMIT else status, text)
        order.cancel_in_flight = False
        if not order.is_done:
            self._settle(order, f"{CANCEL_REFUSED}: {text}")

    def _cancel_unanswered(self, order: InFlightOrder, text: str) -> None:
        if not order.is_done:
            self._tracker.process_cancel_failed(order.client_order_id, text, is_answer=False)
            self._settle(order, "cancel unanswered")

    # --- reports ---

    def _tell(self, listener: Callable[..., None], *arguments: str) -> None:
        """Tells somebody of an answer; what that one meets must not keep the answer from the orders."""
        try:
            listener(*arguments)
        except Exception as error:
            self._tracker.events.fault("after a refusal", error)

    def _report(
        self,
        order: InFlightOrder,
        state: OrderState,
        *,
        exchange_order_id: str | None = None,
        reason: str = "",
        filled_lots: int | None = None,
    ) -> None:
        self._tracker.process_order_update(
            OrderUpdate(
                order.client_order_id,
                exchange_order_id,
                state,
                reason,
                source=ReportSource.REPLY,
                filled_lots=filled_lots,
            )
        )

    def unsigned(self, order: InFlightOrder, reason: str) -> None:
        """Ends an order that could not be signed; one that was shown as signed already is asked about instead."""
        if order.is_submitted:
            self._unknown(order, reason)
        else:
            self.never_sent(order, OrderState.FAILED, reason)

    def never_sent(self, order: InFlightOrder, state: OrderState, reason: str) -> None:
        """Ends an order that the venue has never seen."""
        self._tracker.process_order_update(
            OrderUpdate(order.client_order_id, state=state, reason=reason, source=ReportSource.LOCAL)
        )
