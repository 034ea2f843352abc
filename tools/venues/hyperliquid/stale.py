"""Snapshots of the past: what a subscription begins with while the venue serves a node that is behind."""

from __future__ import annotations

from latentspeed.tools.venues.hyperliquid.faults import Faults
from latentspeed.tools.venues.hyperliquid.snapshots import Message, Snapshots
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.subscriptions import Key, Subscription, parse_subscription

COIN_KINDS = ("bbo", "l2Book", "activeAssetCtx")
USER_KINDS = (
    "userFills",
    "userFundings",
    "userNonFundingLedgerUpdates",
    "userHistoricalOrders",
    "clearinghouseState",
    "openOrders",
    "spotState",
)
FAULT = "stale_snapshot"


class StaleSnapshots:
    """Keeps every snapshot as it was when the fault was armed, and serves those to new subscribers while it lasts."""

    def __init__(self, state: VenueState, snapshots: Snapshots, faults: Faults) -> None:
        self.state = state
        self.snapshots = snapshots
        self.faults = faults
        self._kept: dict[Key, Message | None] = {}

    def of(self, subscription: Subscription) -> Message | None:
        """What a new subscription begins with."""
        if self._kept and self.faults.value(FAULT) and subscription.key in self._kept:
            self.faults.happened(FAULT)
            return self._kept[subscription.key]
        return self.snapshots.of(subscription)

    def keep(self, subscribed: list[Subscription]) -> None:
        """Keep what is subscribed to now, and the usual subscriptions of every coin and account."""
        state = self.state
        usual = [{"type": kind, "coin": coin} for kind in COIN_KINDS for coin in state.by_coin]
        usual += [{"type": kind, "user": address} for kind in USER_KINDS for address in state.accounts]
        wanted = [*subscribed, *(parse_subscription(raw, state) for raw in usual)]
        self._kept = {subscription.key: self.snapshots.of(subscription) for subscription in wanted}
