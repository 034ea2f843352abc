"""The `user` channel: what happens to the account that its orders and fills do not tell.

Fills on this channel are those of `userFills`, which names the account and fills gaps, so that they are left to it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.hyperliquid.fundings import FundingReports, FundingRow
from latentspeed.connectors.hyperliquid.messages import Message, VenueId, decoder
from latentspeed.connectors.hyperliquid.streams import Handler
from latentspeed.connectors.in_flight_order import InFlightOrder


class LiquidationEvent(Message):
    """A liquidation in which the account had a part, on either side."""

    lid: int = 0
    liquidator: str = ""
    liquidated_user: str = ""
    liquidated_ntl_pos: str = ""
    liquidated_account_value: str = ""


class CancelledOrder(Message):
    """An order that the venue cancelled by itself."""

    coin: str
    oid: VenueId


_ABSENT = msgspec.Raw(b"")


class UserEvent(Message):
    """One message of the channel: one of these is there."""

    fills: msgspec.Raw = _ABSENT
    funding: FundingRow | None = None
    liquidation: LiquidationEvent | None = None
    nonUserCancel: list[CancelledOrder] | None = None  # noqa: N815
    twapHistory: msgspec.Raw = _ABSENT  # noqa: N815
    twapSliceFills: msgspec.Raw = _ABSENT  # noqa: N815


USER_EVENT = decoder(UserEvent)
SUBSCRIPTION = "userEvents"
CHANNEL = "user"


class UserEvents:
    """Takes the messages of the `user` channel."""

    def __init__(
        self,
        tracker: ClientOrderTracker,
        fundings: FundingReports,
        *,
        account: str,
        ask_about: Callable[[InFlightOrder, str], None],
        on_liquidation: Callable[[], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Has heard nothing yet.

        Args:
            tracker: Whose orders these are.
            fundings: Counts payments.
            account: The address that is read, lower case.
            ask_about: Asks the venue what became of an order, for a reason.
            on_liquidation: Called when the account was liquidated: everything has changed.
            on_problem: Called with a code and a text for what has to be known, or could not be understood.
        """
        self.on_twap_history: Callable[[msgspec.Raw], None] = lambda rows: None
        """Takes the statuses that TWAPs took."""
        self._tracker = tracker
        self._fundings = fundings
        self._account = account
        self._ask_about = ask_about
        self._on_liquidation = on_liquidation
        self._on_problem = on_problem

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel."""
        return {CHANNEL: self._on_user}

    def _on_user(self, data: msgspec.Raw, mono_ns: int) -> None:
        event = USER_EVENT.decode(data)
        if event.funding is not None:
            self._fundings.take(event.funding)
        if event.liquidation is not None:
            self._liquidated(event.liquidation)
        for cancelled in event.nonUserCancel or ():
            order = self._tracker.get_order_by_exchange_id(str(cancelled.oid))
            if order is not None and not order.is_done:
                # The stream of orders says why; this is for the case that it does not.
                self._ask_about(order, "cancelled by the venue")
        if bytes(event.twapHistory):
            self.on_twap_history(event.twapHistory)
        if event == _NOTHING:
            self._on_problem("unknown_event", f"user: {bytes(data)[:200]!r}")

    def _liquidated(self, event: LiquidationEvent) -> None:
        if event.liquidated_user.lower() == self._account:
            text = f"position of {event.liquidated_ntl_pos} with account value {event.liquidated_account_value}"
            self._on_problem("liquidated", f"{text}, liquidation {event.lid}")
            self._on_liquidation()


_NOTHING = UserEvent()
