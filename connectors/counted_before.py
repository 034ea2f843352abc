"""Which fills an earlier process has counted: told again by the venue, they must not count a second time.

What is remembered of them is bounded, so it takes three pieces:

    ids          fills that are remembered one by one
    a time       no forgotten fill is newer
    sums         of each restored order, how many of its fills are forgotten, and the sum of their digests

A fill of a restored order that is newer than any forgotten one is new; so is every one of an order that has forgotten
none. One that may be forgotten waits until the venue has told as many: the digests say then exactly which of them those
are, and the others are new. A fill of no known order goes by the time alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import comb

from latentspeed.connectors.events import TradeUpdate
from latentspeed.connectors.fill_digest import DIGESTS, fill_digest

_MOST_TRIALS = 20_000


@dataclass(slots=True)
class ForgottenFills:
    """Fills of one order that were counted and whose ids nobody remembers: their number and the sum of their digests.

    `candidates` are the fills told since that may be among them, by trade id.
    """

    count: int
    digest: int
    candidates: dict[str, tuple[TradeUpdate, int]] = field(default_factory=dict)

    def add(self, trade: TradeUpdate) -> list[TradeUpdate] | None:
        """Take a fill that may be a forgotten one; the new ones once that is settled, None as long as it is not."""
        digest = fill_digest(
            trade.trade_id, trade.trade_type, trade.price_units, trade.amount_lots, trade.fee_units
        )  # fmt: skip
        self.candidates[trade.trade_id] = (trade, digest)
        new = self._new_ones()
        return None if new is None else [self.candidates[trade_id][0] for trade_id in new]

    def _new_ones(self) -> Collection[str] | None:
        """The candidates without which the others add up to what was forgotten."""
        surplus = len(self.candidates) - self.count
        if surplus < 0 or comb(len(self.candidates), surplus) > _MOST_TRIALS:
            return None
        digests = {trade_id: digest for trade_id, (_, digest) in self.candidates.items()}
        excess = (sum(digests.values()) - self.digest) % DIGESTS
        for left_out in combinations(digests, surplus):
            if sum(digests[trade_id] for trade_id in left_out) % DIGESTS == excess:
                return left_out
        return None


class CountedBefore:
    """The fills that were counted before this process began."""

    __slots__ = ("_forgotten", "_has_sums", "_known", "_until_utc_ns")

    def __init__(self) -> None:
        self._known: set[str | tuple[str, str]] = set()
        self._until_utc_ns = 0
        self._forgotten: dict[str, ForgottenFills] = {}
        self._has_sums = False

    def take_over(
        self,
        known_trade_ids: Iterable[str | tuple[str, str]],
        until_utc_ns: int,
        forgotten: Mapping[str, ForgottenFills] | None = None,
    ) -> None:
        """Begin anew; see `ClientOrderTracker.recover_orders`."""
        self._known = set(known_trade_ids)
        self._until_utc_ns = until_utc_ns
        self._forgotten = dict(forgotten or {})
        self._has_sums = forgotten is not None

    @property
    def orders_in_doubt(self) -> list[str]:
        """The orders with a fill that waits to be told from forgotten ones, by client order id."""
        return [client_order_id for client_order_id, fills in self._forgotten.items() if fills.candidates]

    def has_fill_of_nobody(self, trade: TradeUpdate) -> bool:
        """Whether a fill of an order that nobody tracks was counted."""
        return 0 < trade.venue_utc_ns < self._until_utc_ns or self._is_known(trade.client_order_id, trade)

    def sift_adopted(self, client_order_id: str, trade: TradeUpdate) -> list[TradeUpdate]:
        """The same for an order that the venue has and nothing here tells of.

        Where an earlier process kept sums, such an order is one of those that lost their row, and its old fills were
        counted with it. Where nobody did, they are history to everybody else, and make the order what it is.
        """
        if self._has_sums or self._is_known(client_order_id, trade):
            return self.sift(client_order_id, trade)
        return [trade]

    def sift(self, client_order_id: str, trade: TradeUpdate) -> list[TradeUpdate]:
        """The fills of a restored order that are now known to be new: this one, none, or ones that had to wait too."""
        if self._is_known(client_order_id, trade):
            return []
        forgotten = self._forgotten.get(client_order_id)
        is_old = 0 < trade.venue_utc_ns < self._until_utc_ns
        if not is_old:
            return [trade]
        if forgotten is None:
            return []
        if not forgotten.count:
            return [trade]
        new = forgotten.add(trade)
        if new is None:
            return []
        settled = forgotten.candidates.keys() - {fill.trade_id for fill in new}
        self._known.update((client_order_id, trade_id) for trade_id in settled)
        self._forgotten[client_order_id] = ForgottenFills(0, 0)
        return new

    def _is_known(self, client_order_id: str | None, trade: TradeUpdate) -> bool:
        known, trade_id = self._known, trade.trade_id
        if trade_id in known or (client_order_id is not None and (client_order_id, trade_id) in known):
            return True
        return trade.exchange_order_id is not None and (trade.exchange_order_id, trade_id) in known
