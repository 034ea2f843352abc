"""How the outside market reaches the books: its quotes rest as orders of one account, its takers belong to another."""

from __future__ import annotations

from collections.abc import Sequence

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.orders import Order, Trade
from latentspeed.tools.venues.hyperliquid.placing import Placing
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.market import PriceLevel
from latentspeed.tools.venues.matching import BookOrder

NEUTRAL_DECIMALS = 8


class Outside:
    """The venue's side of the outside market: rounds to the market's grid and trades honestly with users.

    Bids round down and asks up, so that outside quotes never cross by rounding; a print rounds as the quote that it
    hit did, up for a buyer and down for a seller.
    """

    def __init__(self, state: VenueState, placing: Placing) -> None:
        self.state = state
        self.placing = placing

    def set_quotes(self, coin: str, bids: Sequence[PriceLevel], asks: Sequence[PriceLevel]) -> None:
        """Replace the outside quotes: less size keeps its place, more size queues again, a crossing quote trades."""
        market = self.state.by_coin[coin]
        if market.instrument.is_delisted:
            return
        wanted = {True: self._on_grid(market, bids, True), False: self._on_grid(market, asks, False)}
        book = market.book
        for is_buy in (True, False):
            resting, levels = market.outside[is_buy], wanted[is_buy]
            for price, order in list(resting.items()):
                lots = levels.get(price, 0)
                if lots == order.lots:
                    del levels[price]
                    continue
                self.state.block.books.add(market)
                if 0 < lots < order.lots:
                    book.reduce(order, order.lots - lots)
                    del levels[price]
                else:
                    book.cancel(order)
                    del resting[price]
        for is_buy in (True, False):
            for price, lots in wanted[is_buy].items():
                self._quote(market, is_buy, price, lots)
        market.update_mark()

    def _on_grid(self, market: Market, levels: Sequence[PriceLevel], is_buy: bool) -> dict[int, int]:
        instrument = market.instrument
        unit = 10 ** (NEUTRAL_DECIMALS - instrument.price_decimals)
        lot = 10 ** (NEUTRAL_DECIMALS - instrument.sz_decimals)
        found: dict[int, int] = {}
        for price, size in levels:
            units = instrument.round_price(price // unit if is_buy else -(-price // unit), up=not is_buy)
            lots = size // lot
            if units > 0 and lots:
                found[units] = found.get(units, 0) + lots
        return found

    def _quote(self, market: Market, is_buy: bool, price: int, lots: int) -> None:
        state = self.state
        order = Order(state.next_oid(), state.outside_maker, market, is_buy, price, lots)
        if market.book.crosses(is_buy, price):
            state.block.next_action()
            self.placing.match(order)
        if order.lots:
            market.outside[is_buy][price] = order
            market.book.rest(order)
            state.block.books.add(market)

    def print_trade(self, coin: str, is_buy: bool, price: int, size: int) -> None:
        """Fill users' orders at the print's price or better, up to its size, and print the rest of it."""
        state, market = self.state, self.state.by_coin[coin]
        instrument = market.instrument
        unit = 10 ** (NEUTRAL_DECIMALS - instrument.price_decimals)
        lots = size // 10 ** (NEUTRAL_DECIMALS - instrument.sz_decimals)
        units = instrument.round_price(-(-price // unit) if is_buy else price // unit, up=is_buy)
        if not lots or not units or instrument.is_delisted:
            return
        state.block.next_action()
        taker = Order(state.next_oid(), state.outside_taker, market, is_buy, units, lots)
        if market.book.crosses(is_buy, units):
            self._fill_users(market, taker)
        if taker.lots:
            buyer, seller = (state.outside_taker, state.outside_maker)
            if not is_buy:
                buyer, seller = seller, buyer
            block = state.block
            trade = Trade(
                market, is_buy, units, taker.lots, block.time_ms, block.hash(), state.next_tid(),
                buyer.address, seller.address,
            )  # fmt: skip
            market.record(trade)
            block.add_trade(trade)

    def _fill_users(self, market: Market, taker: Order) -> None:
        accounts: dict[Account, None] = {}

        def on_fill(maker: BookOrder, taker: BookOrder, lots: int) -> None:
            assert isinstance(maker, Order)
            assert isinstance(taker, Order)
            self.state.settle(maker, taker, lots)
            accounts[maker.account] = None

        placing = self.placing
        market.book.match_others(taker, self.state.outside_maker, on_fill, placing.removed, placing.allowed)
        placing.groups.react()
        for account in accounts:
            placing.hold_to_position(account, market)

    def take(self, coin: str, is_buy: bool, size: int, limit: int) -> None:
        """Send an outside taker through the whole book, users and outside quotes alike."""
        state, market = self.state, self.state.by_coin[coin]
        unit = 10 ** (NEUTRAL_DECIMALS - market.instrument.price_decimals)
        lots = size // 10 ** (NEUTRAL_DECIMALS - market.instrument.sz_decimals)
        if lots and limit // unit:
            state.block.next_action()
            self.placing.match(Order(state.next_oid(), state.outside_taker, market, is_buy, limit // unit, lots))

    def set_reference(self, coin: str, price: int) -> None:
        """Set the oracle price."""
        market = self.state.by_coin[coin]
        units = price // 10 ** (NEUTRAL_DECIMALS - market.instrument.price_decimals)
        if units > 0:
            market.oracle = units
            market.update_mark()
