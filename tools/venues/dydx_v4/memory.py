"""What one node remembers that no block has: short-term orders in books of its own, a mempool, and checks in advance.

    a transaction --> the node that took it --gossip--> the others, later, or never
    a block       <-- the proposer's matches and mempool; then every other node puts its memory right:
                      its own matches are undone, what the block filled is filled, what is left is placed again

Where nodes share one memory (no `gossip_ms`) there is one of these, and nothing to put right.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable

from latentspeed.tools.venues.dydx_v4.accounts import TIMESTAMP_NONCE_FROM, Account, Ledger, Subaccount
from latentspeed.tools.venues.dydx_v4.markets import Market
from latentspeed.tools.venues.dydx_v4.memclob import MemClob, OffChainSink
from latentspeed.tools.venues.dydx_v4.orders import Order, OrderKey, Removal, TimeInForce
from latentspeed.tools.venues.dydx_v4.refusals import TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import Transaction
from latentspeed.tools.venues.matching import Book

CACHE_SIZE = 10_000


class Tap:
    """Passes on what a node's memory says, while the indexer listens to that node."""

    def __init__(self, sink: OffChainSink, *, is_heard: bool) -> None:
        self.sink = sink
        self.is_heard = is_heard
        self.is_muted = False
        self.is_replaying = False
        """Orders that stand again as they stood are no news; those that do not are."""

    @property
    def is_told(self) -> bool:
        """Whether what happens now is news for the indexer."""
        return self.is_heard and not self.is_replaying and not self.is_muted

    def order_placed(self, order: Order) -> None:
        """An order came into the books."""
        if self.is_told:
            self.sink.order_placed(order)

    def order_hidden(self, order: Order) -> None:
        """An order came into the books, and the indexer's node has not seen it come."""
        if self.is_told:
            self.sink.order_hidden(order)

    def order_removed(self, key: OrderKey, order: Order | None, reason: Removal) -> None:
        """An order left the books."""
        is_known = self.is_replaying and reason is Removal.IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK
        if self.is_heard and not self.is_muted and not is_known:
            self.sink.order_removed(key, order, reason)

    def order_matched(self, order: Order) -> None:
        """A resting order was matched."""
        if self.is_told:
            self.sink.order_matched(order)

    def levels_changed(self, market: Market, levels: set[tuple[bool, int]]) -> None:
        """Levels may have another size."""
        if self.is_told:
            self.sink.levels_changed(market, levels)


class NodeMemory:
    """The memory of one node. The first node's books are the markets' own; every other has books of its own."""

    def __init__(
        self, number: int, ledger: Ledger, sink: OffChainSink, next_oid: Callable[[], int], *, is_alone: bool
    ) -> None:
        """Empty; a node that is `is_alone` checks against the accounts themselves."""
        self.number = number
        self.markets = ledger.markets if number == 0 else {name: _twin(one) for name, one in ledger.markets.items()}
        self.by_pair = {market.terms.clob_pair_id: market for market in self.markets.values()}
        self.tap = Tap(sink, is_heard=number == 0)
        self.memclob = MemClob(ledger, self.tap, next_oid)
        self.mempool: list[Transaction] = []
        self.pending_orders: dict[OrderKey, Order] = {}
        """Stateful places that were checked and wait for a block."""
        self.pending_cancels: dict[OrderKey, int] = {}
        self.seen: dict[str, None] = {}
        """Hashes of transactions that were taken."""
        self.quotes: dict[tuple[str, bool], dict[int, Order]] = {}
        """The outside market's quotes in these books, by ticker and side, and by price."""
        self.is_up = True
        self.is_cut = False
        """Whether it neither tells other nodes of anything nor hears of it."""
        self.lost_gossip = 0
        """So many transactions that this node takes next are heard of by no other."""
        self._is_alone = is_alone
        self._next_oid = next_oid
        self._accounts: dict[str, Account] = {}

    def add_market(self, market: Market) -> None:
        """A market was listed."""
        own = market if self.number == 0 else _twin(market)
        self.markets[market.ticker] = self.by_pair[market.terms.clob_pair_id] = own

    def levels(self, ticker: str) -> set[tuple[bool, int]]:
        """Where orders stand in a market, as (is a bid, subticks)."""
        return set(_levels(self.markets[ticker].book))

    def account(self, account: Account) -> Account:
        """An account as this node's check sees it: with what waits in its mempool."""
        if self._is_alone:
            return account
        known = self._accounts.get(account.address)
        if known is None:
            known = dataclasses.replace(account, pending_sequence=account.sequence, nonces=list(account.nonces))
            self._accounts[account.address] = known
        return known

    def note(self, transaction: Transaction) -> None:
        """What was taken is known for a while."""
        self.seen[transaction.hash] = None
        if len(self.seen) > CACHE_SIZE:
            del self.seen[next(iter(self.seen))]

    def own(self, order: Order) -> Order:
        """A stateful order as it stands in this node's books."""
        if self.number == 0:
            order.filled = order.confirmed
            return order
        twin = Order(self._next_oid(), order.owner, self.markets[order.market.ticker], order.key, order.fields)
        twin.confirmed = twin.filled = order.confirmed
        twin.authenticator = order.authenticator
        twin.parent = order.parent
        twin.created_height, twin.is_triggered = order.created_height, order.is_triggered
        return twin

    def lose(self) -> None:
        """What was in memory alone is gone, and nobody is told."""
        memclob, self.tap.is_muted = self.memclob, True
        for order in list(memclob.resting.values()):
            memclob.remove(order, None)
        self.tap.is_muted = False
        memclob.matches.clear()
        memclob.cancels.clear()
        memclob.cancelled.clear()
        memclob.filled.clear()
        self.mempool.clear()
        self.forget_pending()
        self.seen.clear()

    def forget_pending(self) -> None:
        """What was checked in advance is checked anew."""
        self.pending_orders.clear()
        self.pending_cancels.clear()
        self._accounts.clear()

    # --- after a block that another node has proposed ---

    def put_right(
        self,
        height: int,
        filled: dict[OrderKey, tuple[int, int]],
        stateful: dict[OrderKey, Order],
        quotes: Iterable[Order],
    ) -> None:
        """Undoes this node's own matches and places what is left again.

        Args:
            height: Of the block.
            filled: Quantums that blocks have filled of short-term orders, and each one's last block.
            stateful: The orders in state.
            quotes: The outside market as it stands now, in this node's own orders.
        """
        memclob, tap = self.memclob, self.tap
        before = {name: _levels(market.book) for name, market in self.markets.items()}
        orders: dict[OrderKey, Order] = {}
        for order in sorted(self._standing(), key=lambda one: one.oid):
            orders[order.key] = order  # Of an order that was replaced only the last is left.
        memclob.matches.clear()
        memclob.resting.clear()
        memclob.doomed.clear()
        memclob.filled = dict(filled)
        for market in self.markets.values():
            market.book = Book()
        tap.is_replaying = True
        for quote in quotes:
            quote.market.book.rest(quote)
        for order in sorted(orders.values(), key=lambda one: one.oid):
            if _is_over(order, height, filled, stateful, memclob.cancels):
                continue
            try:
                memclob.place(order, is_told=False)
            except TxRefused:
                continue  # It was post-only, and crosses now.
        tap.is_replaying = False
        for name, market in self.markets.items():
            after = _levels(market.book)
            changed = {place for place in before[name] | after if before[name].get(place) != after.get(place)}
            if changed:
                tap.levels_changed(market, changed)

    def _standing(self) -> list[Order]:
        """Everything that rests here or was matched here since the last block."""
        found = [*self.memclob.resting.values()]
        for match in self.memclob.matches:
            found += (match.maker, match.taker)
        return found

    def copy_quotes(self, other: NodeMemory) -> list[Order]:
        """The outside market's quotes as they stand at another node, as orders of this one."""
        copies = []
        for side, standing in other.quotes.items():
            self.quotes[side] = {}
            for price, order in standing.items():
                if not order.lots:
                    continue
                market = self.markets[order.market.ticker]
                twin = Order(self._next_oid(), order.owner, market, order.key, order.fields)
                twin.lots = order.lots
                self.quotes[side][price] = twin
                copies.append(twin)
        return copies


def use_committed(account: Account, sequence: int) -> None:
    """A transaction with this sequence is in a block."""
    if sequence < TIMESTAMP_NONCE_FROM:
        account.sequence += 1
    elif sequence not in account.nonces and sequence > account.highest_ejected:
        account.use_sequence(sequence)


def _twin(market: Market) -> Market:
    """The same market with another book."""
    twin = copy.copy(market)
    twin.book = Book()
    return twin


def _levels(book: Book) -> dict[tuple[bool, int], int]:
    return {
        (is_buy, level.price): level.lots for is_buy in (True, False) for level in book.side(is_buy).levels.values()
    }


def _is_over(
    order: Order,
    height: int,
    filled: dict[OrderKey, tuple[int, int]],
    stateful: dict[OrderKey, Order],
    cancels: dict[OrderKey, int],
) -> bool:
    """Whether an order is not placed again; sets what blocks have filled of it."""
    assert isinstance(order.owner, Subaccount)
    if order.owner.is_unlimited:
        return True  # The outside market's come as `quotes`.
    if not order.key.is_short_term:
        standing = stateful.get(order.key)
        if standing is None or standing.digest != order.digest:
            return True
        order.confirmed = standing.confirmed
        if order.time_in_force is TimeInForce.IOC:
            return True
    else:
        order.confirmed = filled.get(order.key, (0, 0))[0]
        if order.good_til_block <= height or cancels.get(order.key, 0) >= order.good_til_block:
            return True
    order.filled = order.confirmed
    order.lots = order.remaining
    return order.lots <= 0
