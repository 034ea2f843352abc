"""The node's order books in memory: matching on arrival, and what a node remembers of short-term orders.

What is matched here is optimistic: a block makes fills of it, or does not. Everything that changes is told to a sink at
once, as a full node tells its indexer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from latentspeed.tools.venues.dydx_v4.accounts import Ledger, Subaccount
from latentspeed.tools.venues.dydx_v4.markets import PPM, Market
from latentspeed.tools.venues.dydx_v4.orders import Match, Order, OrderKey, Removal, TimeInForce
from latentspeed.tools.venues.dydx_v4.refusals import CLOB, TxRefused
from latentspeed.tools.venues.matching import REFUSED, BookOrder

TAKER_FEE_PPM = 500
MAKER_FEE_PPM = 100


class OffChainSink(Protocol):
    """Who is told what happens in the node's memory."""

    def order_placed(self, order: Order) -> None:
        """An order came into the books; it may have been matched on arrival."""

    def order_hidden(self, order: Order) -> None:
        """An order came into the books, and the indexer's node has not seen it come."""

    def order_removed(self, key: OrderKey, order: Order | None, reason: Removal) -> None:
        """An order left the books, or a cancel named one that is not there."""

    def order_matched(self, order: Order) -> None:
        """A resting order was matched."""

    def levels_changed(self, market: Market, levels: set[tuple[bool, int]]) -> None:
        """Levels whose size may be another now, as (is a bid, subticks)."""


class MemClob:
    """Books of all markets, what was matched and not yet in a block, and what short-term orders leave behind."""

    def __init__(self, ledger: Ledger, sink: OffChainSink, next_oid: Callable[[], int]) -> None:
        self.ledger = ledger
        self.sink = sink
        self.next_oid = next_oid
        self.is_permitted: Callable[[Order], bool] = lambda order: True
        """Whether the key that has placed a resting order may still trade for its owner."""
        self.resting: dict[OrderKey, Order] = {}
        self.matches: list[Match] = []
        """Matched since the last block, in order."""
        self.doomed: list[tuple[Order, Removal]] = []
        """Stateful orders that the books have thrown out: the next block removes them."""
        self.cancels: dict[OrderKey, int] = {}
        """Cancelled short-term orders and the block up to which they may not come back."""
        self.cancelled: dict[OrderKey, Order] = {}
        """Short-term orders that a cancel has taken off, until their last block has passed."""
        self.filled: dict[OrderKey, tuple[int, int]] = {}
        """Quantums that were matched of a short-term order, and the block after which that is forgotten."""

    # --- placing ---

    def check_short_term(self, order: Order) -> None:
        """Refuses what the memory of a node refuses. Raises TxRefused."""
        key = order.key
        cancelled_until = self.cancels.get(key)
        if cancelled_until is not None and cancelled_until >= order.good_til_block:
            raise TxRefused(CLOB, 7, f"Order: {key}, Cancellation GoodTilBlock: {cancelled_until}")
        standing = self.resting.get(key)
        matched, _ = self.filled.get(key, (0, 0))
        if standing is not None:
            if order.digest == standing.digest or not _replaces(order, standing):
                raise TxRefused(CLOB, 20, "Existing order has a higher or equal priority")
            if (standing.is_buy, standing.time_in_force, standing.reduce_only) != (
                order.is_buy,
                order.time_in_force,
                order.reduce_only,
            ):
                raise TxRefused(CLOB, 20, "Cannot replace order with different side, time in force or reduce-only")
        if order.quantums - matched < order.market.terms.step_quantums:
            raise TxRefused(CLOB, 24, f"Order remaining amount is less than MinOrderBaseQuantums. Remaining: {matched}")
        if order.reduce_only and not self.reducible(order):
            raise TxRefused(CLOB, 2001)
        if matched and order.time_in_force is TimeInForce.IOC:
            raise TxRefused(CLOB, 20 if standing is not None else 2004)

    def place(self, order: Order, *, is_told: bool = True) -> None:
        """Matches an order and rests what is left of it; it may come hidden.

        Raises:
            TxRefused: A post-only order would cross (2003); the sink is told of it all the same.
        """
        key, market = order.key, order.market
        standing = self.resting.get(key)
        self.cancelled.pop(key, None)
        if standing is not None:
            self._take_off(standing, Removal.REPLACED)
        if key.is_short_term:
            order.filled, _ = self.filled.get(key, (0, 0))
        order.lots = order.remaining
        (self.sink.order_placed if is_told else self.sink.order_hidden)(order)
        if order.time_in_force is TimeInForce.POST_ONLY and market.book.crosses(order.is_buy, order.price):
            self.sink.order_removed(key, order, Removal.POST_ONLY_WOULD_CROSS_MAKER_ORDER)
            raise TxRefused(CLOB, 2003)
        reason = self._match(order)
        if reason is not None:
            self.sink.order_removed(key, order, reason)
        elif order.lots and order.time_in_force is TimeInForce.IOC:
            self.sink.order_removed(key, order, Removal.IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK)
        elif order.lots:
            market.book.rest(order)
            self.resting[key] = order
            self.sink.levels_changed(market, {(order.is_buy, order.price)})

    def _match(self, taker: Order) -> Removal | None:
        """Matches until nothing crosses; why the taker had to stop, or None."""
        market, touched = taker.market, set[tuple[bool, int]]()
        stopped: list[Removal] = []
        makers: list[Order] = []
        removed: list[tuple[Order, str]] = []

        def allow(maker: BookOrder, lots: int) -> int:
            assert isinstance(maker, Order)
            if stopped:
                return 0
            if taker.reduce_only:
                lots = min(lots, self.reducible(taker))
                if not lots:
                    stopped.append(Removal.REDUCE_ONLY_RESIZE)
                    return 0
            if not self._can_pay(taker, lots, maker.price, TAKER_FEE_PPM):
                stopped.append(self.why_not(taker))
                return 0
            return lots if self.can_be_hit(maker, lots) else 0

        def on_fill(maker: BookOrder, _: BookOrder, lots: int) -> None:
            assert isinstance(maker, Order)
            touched.add((maker.is_buy, maker.price))
            self.record(Match(maker, taker, lots, maker.price))
            makers.append(maker)

        def on_removed(maker: BookOrder, why: str) -> None:
            assert isinstance(maker, Order)
            touched.add((maker.is_buy, maker.price))
            if why == REFUSED and stopped:
                # The taker was at fault, not the maker: it goes back to where it was.
                restored.append(maker)
            else:
                removed.append((maker, why))

        restored: list[Order] = []
        while taker.lots and not stopped and market.book.crosses(taker.is_buy, taker.price):
            # One level at a time, so that a taker that had to stop disturbs one maker only.
            best = market.book.side(not taker.is_buy).best()
            assert best is not None
            wanted, limit = taker.price, best.price
            taker.price = limit
            market.book.match(taker, on_fill, on_removed, allow)
            taker.price = wanted
        self._put_back(market, restored)
        for maker in makers:
            self.sink.order_matched(maker)
        for maker, why in removed:
            self.thrown_out(maker, why)
        if taker.filled:
            self.sink.order_matched(taker)
        if touched:
            self.sink.levels_changed(market, touched)
        return stopped[0] if stopped else None

    def can_be_hit(self, maker: Order, quantums: int) -> bool:
        """Whether a resting order may still trade, and can pay for a match."""
        return self.is_permitted(maker) and self._can_pay(maker, quantums, maker.price, MAKER_FEE_PPM)

    def record(self, match: Match) -> None:
        """Keeps a match for the next block; both orders count it as filled."""
        self.matches.append(match)
        for order in (match.maker, match.taker):
            order.filled += match.quantums
            assert isinstance(order.owner, Subaccount)
            if order.key.is_short_term and not order.owner.is_unlimited:
                self.filled[order.key] = (order.filled, order.good_til_block)
        if not match.maker.lots:
            self.resting.pop(match.maker.key, None)

    def thrown_out(self, maker: Order, why: str) -> None:
        """Tells of a maker that the book has removed instead of trading it."""
        self.resting.pop(maker.key, None)
        reason = Removal.UNDERCOLLATERALIZED if why == REFUSED else Removal.SELF_TRADE_ERROR
        if why == REFUSED and not self.is_permitted(maker):
            reason = Removal.EXPIRED
        self.sink.order_removed(maker.key, maker, reason)
        if not maker.key.is_short_term:
            self.doomed.append((maker, reason))

    @staticmethod
    def _put_back(market: Market, makers: list[Order]) -> None:
        """Puts makers back in front of their levels, in the order in which they stood."""
        for is_buy in (True, False):
            for price in {maker.price for maker in makers if maker.is_buy is is_buy}:
                returning = [maker for maker in makers if maker.is_buy is is_buy and maker.price == price]
                side = market.book.side(is_buy)
                level = side.levels.get(price if is_buy else -price)
                behind = list(level.orders.values()) if level is not None else []
                for order in behind:
                    assert isinstance(order, Order)
                    side.remove(order)
                for order in (*returning, *behind):
                    side.add(order)

    # --- cancelling ---

    def cancel_short_term(self, key: OrderKey, good_til_block: int, *, is_late: bool = False) -> None:
        """Takes a short-term order off, if it is there and not meant to live longer.

        Args:
            key: The order.
            good_til_block: Up to which block it may not come back.
            is_late: The sink is told, yet the order stays: the proposer has not heard of the cancel.

        Raises:
            TxRefused: A cancel for as long stands already.
        """
        if self.cancels.get(key, 0) >= good_til_block:
            raise TxRefused(CLOB, 9, f"Cancellation GoodTilBlock: {good_til_block}")
        self.cancels[key] = good_til_block
        standing = self.resting.get(key)
        if standing is not None and standing.good_til_block <= good_til_block and not is_late:
            self._take_off(standing, Removal.USER_CANCELED)
            self.cancelled[key] = standing
        else:
            self.sink.order_removed(key, standing, Removal.USER_CANCELED)

    def remove(self, order: Order, reason: Removal | None) -> None:
        """Takes an order off, telling the sink why unless the block tells it."""
        if self.resting.get(order.key) is order:
            self._take_off(order, reason)

    def _take_off(self, order: Order, reason: Removal | None) -> None:
        order.market.book.cancel(order)
        del self.resting[order.key]
        if reason is not None:
            self.sink.order_removed(order.key, order, reason)
        self.sink.levels_changed(order.market, {(order.is_buy, order.price)})

    def forget(self, height: int) -> list[Order]:
        """After a block: drops what ended with it; the orders whose last block it was, cancelled ones too."""
        expired = [
            order for order in self.resting.values() if order.key.is_short_term and order.good_til_block <= height
        ]
        for order in expired:
            self._take_off(order, None)
        gone = [order for order in self.cancelled.values() if order.good_til_block <= height]
        for order in gone:
            del self.cancelled[order.key]
        self.cancels = {key: until for key, until in self.cancels.items() if until > height}
        self.filled = {key: kept for key, kept in self.filled.items() if kept[1] > height}
        return expired + gone

    # --- money ---

    def position_of(self, subaccount: Subaccount, market: Market) -> int:
        """A position in quantums with what was matched and is not in a block yet."""
        position = subaccount.positions.get(market.ticker)
        quantums = position.quantums if position is not None else 0
        for match in self.matches:
            if match.maker.market is market:
                for order in (match.maker, match.taker):
                    if order.owner is subaccount:
                        quantums += match.quantums if order.is_buy else -match.quantums
        return quantums

    def reducible(self, order: Order) -> int:
        """Quantums by which an order may trade without opening anything."""
        assert isinstance(order.owner, Subaccount)
        position = self.position_of(order.owner, order.market)
        return max(0, -position if order.is_buy else position)

    def can_open(self, order: Order) -> bool:
        """Whether an order could be filled wholly at its price."""
        return self._can_pay(order, order.remaining, order.price, TAKER_FEE_PPM)

    def why_not(self, order: Order) -> Removal:
        """Why an order cannot be paid."""
        assert isinstance(order.owner, Subaccount)
        if self._breaks_isolation(order.owner, order.market):
            return Removal.VIOLATES_ISOLATED_SUBACCOUNT_CONSTRAINTS
        return Removal.UNDERCOLLATERALIZED

    def _breaks_isolation(self, subaccount: Subaccount, market: Market) -> bool:
        held = {ticker for ticker in subaccount.positions if ticker != market.ticker}
        markets = self.ledger.markets
        return bool(held) and (market.terms.is_isolated or any(markets[ticker].terms.is_isolated for ticker in held))

    def _can_pay(self, order: Order, quantums: int, subticks: int, fee_ppm: int) -> bool:
        """Whether a subaccount keeps its initial margin after one more match, or risks less than before."""
        subaccount, market = order.owner, order.market
        assert isinstance(subaccount, Subaccount)
        if subaccount.is_unlimited:
            return True
        if self._breaks_isolation(subaccount, market):
            return False
        markets = self.ledger.markets
        sizes = {ticker: position.quantums for ticker, position in subaccount.positions.items()}
        quote = subaccount.quote - sum(
            markets[ticker].funding_owed(position.quantums, position.funding_index)
            for ticker, position in subaccount.positions.items()
        )
        pending = [(match.maker, match.taker, match.quantums, match.subticks) for match in self.matches]
        for maker, taker, size, price in pending:
            for side, ppm in ((maker, MAKER_FEE_PPM), (taker, TAKER_FEE_PPM)):
                if side.owner is subaccount:
                    quote = self._pay(sizes, quote, side, size, price, ppm)
        before = abs(sizes.get(market.ticker, 0))
        quote = self._pay(sizes, quote, order, quantums, subticks, fee_ppm)
        equity = quote + sum(markets[ticker].value_at_oracle(size) for ticker, size in sizes.items())
        needed = 0
        for ticker, size in sizes.items():
            ppm = max(markets[ticker].initial_ppm, subaccount.own_margin_ppm.get(ticker, 0))
            needed -= -abs(markets[ticker].value_at_oracle(size)) * ppm // PPM
        return equity >= needed or abs(sizes[market.ticker]) < before

    @staticmethod
    def _pay(sizes: dict[str, int], quote: int, order: Order, quantums: int, subticks: int, fee_ppm: int) -> int:
        market = order.market
        value = market.quote_quantums(quantums, subticks)
        sizes[market.ticker] = sizes.get(market.ticker, 0) + (quantums if order.is_buy else -quantums)
        return quote - (value if order.is_buy else -value) - fee_of(value, fee_ppm)


def fee_of(value: int, ppm: int) -> int:
    """A fee in quote quantums, rounded toward plus infinity."""
    return -(-value * ppm // PPM)


def _replaces(order: Order, standing: Order) -> bool:
    if order.good_til_block != standing.good_til_block:
        return order.good_til_block > standing.good_til_block
    return order.digest > standing.digest
