"""From a signed transaction to what a node says of it, and what that proves of its order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.node_line import UnknownAccount
from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.events import OrderUpdate
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.transport import NotSent, TransportError
from latentspeed.connectors.types import OrderState, ReportSource

NEVER_SENT: Final = "never_sent"
CLOB: Final = "clob"
SDK: Final = "sdk"
BAD_SIGNATURE: Final = (SDK, 4)
"""Signature, chain id or account number: the last changes when a test network starts anew."""


class Delivery:
    """Broadcasts for one signer. Used in the loop's thread."""

    def __init__(
        self,
        tracker: ClientOrderTracker,
        nodes: Nodes,
        signer: TransactionSigner,
        owner: str,
        on_refusal: Callable[[TxResult], object],
    ) -> None:
        """Sends nothing yet; `owner` is whose account number is signed, `on_refusal` is told of each refusal."""
        self.transactions = 0
        """Signed transactions sent since the start."""
        self.signer = signer
        self._tracker = tracker
        self._nodes = nodes
        self._owner = owner
        self._on_refusal = on_refusal

    async def send(self, transaction: bytes) -> TxResult:
        """What a node says. Raises TransportError, see Nodes.broadcast."""
        self.transactions += 1
        return await self._nodes.broadcast(transaction)

    async def place(self, order: InFlightOrder, transaction: bytes) -> TxResult | None:
        """What a node says; None when the order has been left in a state that says why there is no answer."""
        try:
            return await self.send(transaction)
        except NotSent as error:
            self.never_sent(order, str(error))
        except TransportError as error:
            self._tracker.events.error(
                "no_answer", f"{order.client_order_id}: {error}", client_order_id=order.client_order_id
            )
            self._tracker.mark_unknown(order.client_order_id, "no_answer")
        except asyncio.CancelledError:
            self._tracker.mark_unknown(order.client_order_id, "interrupted")
            raise
        except Exception as error:
            self.place_failed(order, error)
        return None

    def place_failed(self, order: InFlightOrder, error: Exception) -> None:
        """Something raised that nobody foresaw: the order is unknown until its last block, or the indexer, tells."""
        what = f"placing {order.client_order_id}"
        self._tracker.events.fault(what, error, "delivery_failed", client_order_id=order.client_order_id)
        if order.is_submitted:
            self._tracker.mark_unknown(order.client_order_id, "no_answer")
        else:
            self.never_sent(order, repr(error))

    def cancels_failed(self, orders: Sequence[InFlightOrder], error: Exception) -> None:
        """The same for cancels: they are tried again."""
        self._tracker.events.fault(f"cancelling {len(orders)} orders", error, "delivery_failed")
        for order in orders:
            self._tracker.process_cancel_failed(order.client_order_id, repr(error), is_answer=False)

    def never_sent(self, order: InFlightOrder, why: str) -> None:
        """Ends an order that nobody else has heard of."""
        self._fail(order, f"{NEVER_SENT}: {why}", ReportSource.LOCAL)

    def refused(self, order: InFlightOrder, result: TxResult) -> None:
        """Ends an order that the node found invalid."""
        self._on_refusal(result)
        self._fail(order, reason_of(result), ReportSource.REPLY)

    def cancels_refused(self, orders: list[InFlightOrder], result: TxResult) -> None:
        """The node found a cancel invalid: its orders are as they were, and it is tried again."""
        self._on_refusal(result)
        for order in orders:
            self._tracker.process_cancel_failed(order.client_order_id, reason_of(result), is_answer=False)

    def _fail(self, order: InFlightOrder, reason: str, source: ReportSource) -> None:
        self._tracker.process_order_update(
            OrderUpdate(order.client_order_id, state=OrderState.FAILED, reason=reason, source=source)
        )

    async def is_renumbered(self, result: TxResult, number: int) -> bool:
        """Whether a signature was refused because the account has another number than `number`, which is known now."""
        if (result.codespace, result.code) != BAD_SIGNATURE:
            return False
        if self.signer.account_number == number:
            try:
                account = await self._nodes.account(self._owner)
            except (TransportError, UnknownAccount):
                return False
            if self.signer.account_number == number != account.number:
                text = f"{self._owner} has account number {account.number} now; was the chain reset?"
                self._tracker.events.error("account_changed", text)
                self.signer = self.signer.with_account_number(account.number)
        return self.signer.account_number != number


def reason_of(result: TxResult) -> str:
    """Why a node has refused a transaction; numbers collide across codespaces."""
    return f"{result.codespace}_{result.code}: {result.log}"
