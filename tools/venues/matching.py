"""A price-time priority order book in exact integers. It knows no account, no fee and no protocol.

    bids: keys ascend with the price        asks: keys ascend with minus the price
    keys   [ 99, 100, 101 ]                 keys   [ -104, -103, -102 ]
                        best is last                               best is last

A level holds its orders oldest first, so the front of the best level is always the next to trade.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator

SELF_TRADE = "self_trade"
REFUSED = "refused"


class BookOrder:
    """An order as the book sees it.

    Attributes:
        oid: unique id; also the key inside its level.
        owner: whoever owns it, compared by identity for the self-trade rule.
        price: integer price units.
        lots: integer lots still open; the book lowers it with every fill.
    """

    __slots__ = ("is_buy", "lots", "oid", "owner", "price")

    def __init__(self, oid: int, owner: object, is_buy: bool, price: int, lots: int) -> None:
        self.oid = oid
        self.owner = owner
        self.is_buy = is_buy
        self.price = price
        self.lots = lots


class Level:
    """Every order at one price, oldest first, and the sum of their lots."""

    __slots__ = ("lots", "orders", "price")

    def __init__(self, price: int) -> None:
        self.price = price
        self.lots = 0
        # An OrderedDict, not a dict: taking the first of a plain dict again and again rescans the emptied front.
        self.orders: OrderedDict[int, BookOrder] = OrderedDict()


class BookSide:
    """One side of a book: levels by key, keys sorted so that the best is last."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def best(self) -> Level | None:
        """The level that trades next."""
        return self.levels[self.keys[-1]] if self.keys else None

    def add(self, order: BookOrder) -> None:
        """Queue an order behind everything at its price."""
        key = self.sign * order.price
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level(order.price)
            insort(self.keys, key)
        level.orders[order.oid] = order
        level.lots += order.lots

    def take(self, order: BookOrder, lots: int) -> None:
        """Lower a resting order's lots in place, dropping it and its level when nothing is left."""
        key = self.sign * order.price
        level = self.levels[key]
        order.lots -= lots
        level.lots -= lots
        if not order.lots:
            del level.orders[order.oid]
            if not level.orders:
                self._drop(key)

    def remove(self, order: BookOrder) -> None:
        """Take an order off the book, keeping its open lots on the order itself."""
        key = self.sign * order.price
        level = self.levels[key]
        del level.orders[order.oid]
        level.lots -= order.lots
        if not level.orders:
            self._drop(key)

    def _drop(self, key: int) -> None:
        del self.levels[key]
        if self.keys[-1] == key:
            self.keys.pop()
        else:
            del self.keys[bisect_left(self.keys, key)]


OnFill = Callable[[BookOrder, BookOrder, int], None]
"""Called as (maker, taker, lots) after both orders were lowered; the price is the maker's."""
OnRemoved = Callable[[BookOrder, str], None]
"""Called with a maker that was taken off instead of traded, and SELF_TRADE or REFUSED."""
Allow = Callable[[BookOrder, int], int]
"""Asked before a fill how many of so many lots this maker may trade; zero takes the maker off the book."""


class Book:
    """Both sides of one market."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(1)
        self.asks = BookSide(-1)

    def side(self, is_buy: bool) -> BookSide:
        """The side on which a buy or a sell rests."""
        return self.bids if is_buy else self.asks

    def best_bid(self) -> int | None:
        """Highest resting buy price."""
        return self.bids.keys[-1] if self.bids.keys else None

    def best_ask(self) -> int | None:
        """Lowest resting sell price."""
        return -self.asks.keys[-1] if self.asks.keys else None

    def crosses(self, is_buy: bool, price: int) -> bool:
        """Whether an order at this price would trade at once."""
        keys = self.asks.keys if is_buy else self.bids.keys
        return bool(keys) and keys[-1] >= (-price if is_buy else price)

    def rest(self, order: BookOrder) -> None:
        """Put an order on the book, behind everything at its price. It must not cross."""
        self.side(order.is_buy).add(order)

    def cancel(self, order: BookOrder) -> None:
        """Take a resting order off; its open lots stay on it."""
        self.side(order.is_buy).remove(order)

    def reduce(self, order: BookOrder, lots: int) -> None:
        """Lower a resting order by so many lots without losing its place."""
        self.side(order.is_buy).take(order, lots)

    def match(
        self,
        taker: BookOrder,
        on_fill: OnFill,
        on_removed: OnRemoved,
        allow: Allow | None = None,
    ) -> None:
        """Trade an incoming order against everything it crosses, best price first, oldest first.

        A maker of the same owner is removed without a trade and the taker goes on. What the taker has left afterwards
        is still on it: resting or dropping that is the caller's choice.
        """
        opposite = self.asks if taker.is_buy else self.bids
        limit = -taker.price if taker.is_buy else taker.price
        keys, levels = opposite.keys, opposite.levels
        while taker.lots and keys and keys[-1] >= limit:
            orders = levels[keys[-1]].orders
            maker = orders[next(iter(orders))]
            if maker.owner is taker.owner:
                opposite.remove(maker)
                on_removed(maker, SELF_TRADE)
                continue
            lots = min(maker.lots, taker.lots)
            if allow is not None:
                lots = allow(maker, lots)
                if not lots:
                    opposite.remove(maker)
                    on_removed(maker, REFUSED)
                    continue
            opposite.take(maker, lots)
            taker.lots -= lots
            on_fill(maker, taker, lots)

    def match_others(
        self, taker: BookOrder, skip: object, on_fill: OnFill, on_removed: OnRemoved, allow: Allow
    ) -> None:
        """Trade an incoming order like `match`, passing over every maker that `skip` owns as if it were not there."""
        opposite = self.asks if taker.is_buy else self.bids
        for maker in list(self.crossing(taker.is_buy, taker.price)):
            if not taker.lots:
                return
            if maker.owner is skip:
                continue
            lots = allow(maker, min(maker.lots, taker.lots))
            if not lots:
                opposite.remove(maker)
                on_removed(maker, REFUSED)
                continue
            opposite.take(maker, lots)
            taker.lots -= lots
            on_fill(maker, taker, lots)

    def crossing(self, is_buy: bool, price: int) -> Iterator[BookOrder]:
        """Resting orders that an order at this price would meet, in the order it would meet them."""
        opposite = self.asks if is_buy else self.bids
        limit = -price if is_buy else price
        for key in reversed(opposite.keys):
            if key < limit:
                return
            yield from opposite.levels[key].orders.values()

    def depth(self, is_buy: bool, levels: int) -> list[tuple[int, int, int]]:
        """The best levels of one side as (price, lots, number of orders), best first."""
        side = self.side(is_buy)
        found = (side.levels[key] for key in side.keys[: -levels - 1 : -1])
        return [(level.price, level.lots, len(level.orders)) for level in found]
