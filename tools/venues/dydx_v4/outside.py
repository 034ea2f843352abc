"""How the outside market reaches the books: its quotes rest as orders of one subaccount, its takers are another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentspeed.tools.venues.dydx_v4.accounts import Subaccount
from latentspeed.tools.venues.dydx_v4.chain import Chain
from latentspeed.tools.venues.dydx_v4.markets import Market
from latentspeed.tools.venues.dydx_v4.memory import NodeMemory
from latentspeed.tools.venues.dydx_v4.orders import Match, Order, OrderKey
from latentspeed.tools.venues.market import PriceLevel
from latentspeed.tools.venues.matching import BookOrder

MAKER, TAKER = "outside-maker", "outside-taker"


class Outside:
    """The venue's side of the outside market: rounds to the grid, bids down and asks up."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._maker, self._taker = Subaccount(MAKER, 0), Subaccount(TAKER, 0)
        for subaccount in (self._maker, self._taker):
            subaccount.is_unlimited = True
        self._numbers = 0

    def set_quotes(self, coin: str, bids: Sequence[PriceLevel], asks: Sequence[PriceLevel]) -> None:
        """Replace the outside quotes: less size keeps its place, more size queues again, a crossing quote trades."""
        for memory in self.chain.network.running():
            self._set_quotes(memory, coin, bids, asks)

    def _set_quotes(
        self, memory: NodeMemory, coin: str, bids: Sequence[PriceLevel], asks: Sequence[PriceLevel]
    ) -> None:
        market = memory.markets[f"{coin}-USD"]
        if market.terms.status != "ACTIVE":
            return
        wanted = {True: self._on_grid(market, bids, True), False: self._on_grid(market, asks, False)}
        touched: set[tuple[bool, int]] = set()
        for is_buy in (True, False):
            standing = memory.quotes.setdefault((coin, is_buy), {})
            for price, order in list(standing.items()):
                quantums = wanted[is_buy].get(price, 0)
                if order.lots and quantums == order.lots:
                    del wanted[is_buy][price]
                    continue
                touched.add((is_buy, price))
                if order.lots:
                    market.book.cancel(order)
                del standing[price]
        for is_buy in (True, False):
            for price, quantums in wanted[is_buy].items():
                order = self._order(self._maker, market, is_buy, price, quantums)
                if market.book.crosses(is_buy, price):
                    touched |= self._match(memory, order, skip=None)
                if order.lots:
                    market.book.rest(order)
                    memory.quotes[coin, is_buy][price] = order
                    touched.add((is_buy, price))
        if touched:
            memory.tap.levels_changed(market, touched)

    def print_trade(self, coin: str, is_buy: bool, price: int, size: int) -> None:
        """Report a trade of the outside market; users' orders at its price or better are filled from its size."""
        self._send(coin, is_buy, size, price, skip=self._maker, rounds_up=is_buy)

    def take(self, coin: str, is_buy: bool, size: int, limit: int) -> None:
        """Send an outside taker through the whole book, users and outside quotes alike."""
        self._send(coin, is_buy, size, limit, skip=None, rounds_up=not is_buy)

    def set_reference(self, coin: str, price: int) -> None:
        """Set the oracle price."""
        market = self._market(coin)
        self.chain.set_oracle(market.ticker, market.to_subticks(price, up=False))

    def _send(
        self, coin: str, is_buy: bool, size: int, price: int, *, skip: Subaccount | None, rounds_up: bool
    ) -> None:
        terms = self._market(coin)
        subticks, quantums = terms.to_subticks(price, up=rounds_up), terms.to_quantums(size)
        if subticks <= 0 or not quantums or terms.terms.status != "ACTIVE":
            return
        for memory in self.chain.network.running():
            market = memory.markets[terms.ticker]
            if market.book.crosses(is_buy, subticks):
                taker = self._order(self._taker, market, is_buy, subticks, quantums)
                if touched := self._match(memory, taker, skip=skip):
                    memory.tap.levels_changed(market, touched)

    def _market(self, coin: str) -> Market:
        """The outside world names markets by their coin."""
        return self.chain.markets[f"{coin}-USD"]

    def _match(self, memory: NodeMemory, taker: Order, *, skip: Subaccount | None) -> set[tuple[bool, int]]:
        memclob, touched = memory.memclob, set[tuple[bool, int]]()
        makers: list[Order] = []
        removed: list[tuple[Order, str]] = []

        def allow(maker: BookOrder, lots: int) -> int:
            assert isinstance(maker, Order)
            return lots if memclob.can_be_hit(maker, lots) else 0

        def on_fill(maker: BookOrder, _: BookOrder, lots: int) -> None:
            assert isinstance(maker, Order)
            touched.add((maker.is_buy, maker.price))
            memclob.record(Match(maker, taker, lots, maker.price))
            makers.append(maker)

        def on_removed(maker: BookOrder, why: str) -> None:
            assert isinstance(maker, Order)
            touched.add((maker.is_buy, maker.price))
            removed.append((maker, why))

        if skip is None:
            taker.market.book.match(taker, on_fill, on_removed, allow)
        else:
            taker.market.book.match_others(taker, skip, on_fill, on_removed, allow)
        for maker in makers:
            if not isinstance(maker.owner, Subaccount) or not maker.owner.is_unlimited:
                memory.tap.order_matched(maker)
        for maker, why in removed:
            memclob.thrown_out(maker, why)
        return touched

    def _order(self, owner: Subaccount, market: Market, is_buy: bool, subticks: int, quantums: int) -> Order:
        self._numbers += 1
        key = OrderKey(owner.owner, 0, self._numbers & 0xFFFFFFFF, 0, market.terms.clob_pair_id)
        decoded: dict[str, Any] = {
            "side": 1 if is_buy else 2,
            "quantums": quantums,
            "subticks": subticks,
            "good_til_block": 0xFFFFFFFF,
            "good_til_block_time": 0,
            "time_in_force": 0,
            "reduce_only": 0,
            "client_metadata": 0,
            "condition_type": 0,
            "trigger_subticks": 0,
            "order_router_address": "",
        }
        return Order(self.chain.next_oid(), owner, market, key, decoded)

    @staticmethod
    def _on_grid(market: Market, levels: Sequence[PriceLevel], is_buy: bool) -> dict[int, int]:
        found: dict[int, int] = {}
        for price, size in levels:
            subticks, quantums = market.to_subticks(price, up=not is_buy), market.to_quantums(size)
            if subticks > 0 and quantums:
                found[subticks] = found.get(subticks, 0) + quantums
        return found
