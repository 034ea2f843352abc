"""One order's way onto the book: every rule that may refuse it, the match, and what becomes of the rest.

Each refusal is the venue's own text together with the status under which the order appears in the history.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.actions import OrderWire
from latentspeed.tools.venues.hyperliquid.margin import affords
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import USD, plain_text, units_from_text, usd_text
from latentspeed.tools.venues.matching import SELF_TRADE, BookOrder

MIN_NOTIONAL = 10 * USD
OPEN_ORDERS_BASE = 1000
OPEN_ORDERS_CAP = 5000
OPEN_ORDERS_PER_VOLUME = 5_000_000 * USD
RESTING_VALUE_FACTOR = 10
TAKING = ("Ioc", "FrontendMarket")


class OrderRefused(Exception):
    """An order that is not accepted: the venue's text, the status name, and whether the text gets the asset suffix."""

    def __init__(self, text: str, status: str = "rejected", has_suffix: bool = True) -> None:
        super().__init__(text)
        self.status = status
        self.has_suffix = has_suffix


class Placing:
    """Places orders into a venue's state."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.config = state.config

    def market(self, asset: int) -> Market:
        """The market of an asset id.

        Raises:
            OrderRefused: the venue lists no such asset.
        """
        if asset >= len(self.state.markets):
            raise OrderRefused(f"Asset {asset} does not exist.", has_suffix=False)
        return self.state.markets[asset]

    def place(
        self, account: Account, wire: OrderWire, builder: str | None = None, builder_rate: int = 0
    ) -> dict[str, Any]:
        """Place one order and return its status object."""
        try:
            market = self.market(wire.a)
            order, is_exact = self._read(account, market, wire)
            self._check_cloid(account, order, None)
        except OrderRefused as refusal:
            return self.error(wire.a, refusal)
        order.builder, order.builder_rate = builder, builder_rate
        account.remember(order)
        try:
            self._check(account, market, order, is_exact)
            return self._execute(account, market, order)
        except OrderRefused as refusal:
            self.state.finish(order, refusal.status)
            return self.error(wire.a, refusal)

    def replace(self, account: Account, old: Order | None, wire: OrderWire) -> dict[str, Any]:
        """Cancel an order and place another in its stead; returns the new order's status object.

        What a rule refuses leaves the old order alone. A post-only replacement that would trade is refused only after
        the old order is gone, as was observed on the real venue.
        """
        try:
            market = self.market(wire.a)
            order, is_exact = self._read(account, market, wire)
            self._check_cloid(account, order, old)
            self._check(account, market, order, is_exact)
        except OrderRefused as refusal:
            return self.error(wire.a, refusal)
        if old is not None:
            order.builder, order.builder_rate = old.builder, old.builder_rate
            self.state.pull(old, "canceled")
        account.remember(order)
        try:
            return self._execute(account, market, order)
        except OrderRefused as refusal:
            self.state.finish(order, refusal.status)
            return self.error(wire.a, refusal)

    def error(self, asset: int, refusal: OrderRefused) -> dict[str, Any]:
        """The error status of a refusal."""
        suffix = f" asset={asset}" if refusal.has_suffix and self.config.error_suffix else ""
        return {"error": f"{refusal}{suffix}"}

    def _read(self, account: Account, market: Market, wire: OrderWire) -> tuple[Order, bool]:
        """Turn the wire order into exact integers, and say whether its price is a whole number of price units.

        Raises:
            OrderRefused: the price or the size means nothing, so there is no order to speak of.
        """
        instrument = market.instrument
        price = units_from_text(wire.p, instrument.price_decimals)
        lots = units_from_text(wire.s, instrument.sz_decimals)
        if wire.t.limit is UNSET:
            raise OrderRefused("Trigger orders are not traded on this venue.", has_suffix=False)
        is_exact = price is not None
        if price is None:
            price = _floor_units(wire.p, instrument.price_decimals)
        if price < 0 or (is_exact and not price):
            raise OrderRefused("Order has invalid price.")
        if lots is None or lots < 0:
            raise OrderRefused("Order has invalid size.")
        if not lots and not wire.r:
            raise OrderRefused("Order has zero size.")
        order = Order(
            self.state.next_oid(),
            account,
            market,
            wire.b,
            price,
            lots,
            tif=wire.t.limit.tif,
            reduce_only=wire.r,
            cloid=None if wire.c is UNSET else wire.c,
            timestamp=self.state.block.time_ms,
        )
        return order, is_exact

    def _check_cloid(self, account: Account, order: Order, replaced: Order | None) -> None:
        """Refuse a client order id that a live order has, other than the one that is being replaced."""
        if order.cloid is not None and self.config.cloid_reuse == "refuse_live":
            live = account.live_cloid(order.cloid)
            if live is not None and live is not replaced:
                raise OrderRefused("Client order id is in use by a live order.")

    def _check(self, account: Account, market: Market, order: Order, is_exact: bool) -> None:
        """Every rule before the match, in one fixed order.

        Raises:
            OrderRefused: with the text and status of the first rule that the order breaks.
        """
        instrument, config = market.instrument, self.config
        if instrument.is_delisted:
            raise OrderRefused("Trading is halted.")
        if not is_exact or not instrument.price_is_valid(order.price):
            raise OrderRefused("Price must be divisible by tick size.", "tickRejected")
        if config.network_upgrade and order.tif != "Alo":
            raise OrderRefused("Only post-only orders allowed immediately after a network upgrade", has_suffix=False)
        if abs(order.price - market.mark) * 100 > market.mark * 95:
            text = "Order price cannot be more than 95% away from the reference price"
            raise OrderRefused(text, "oracleRejected", has_suffix=False)
        holding = self.state.holding(account, market)
        held = holding.lots
        exempt = False
        if order.reduce_only:
            if not held or (held > 0) == order.is_buy:
                raise OrderRefused("Reduce only order would increase position.", "reduceOnlyRejected")
            if not order.lots or order.lots > abs(held):
                order.lots = order.orig_lots = abs(held)
                exempt = True
        exempt = exempt or (order.lots == abs(held) and (held > 0) != order.is_buy)
        notional = order.lots * order.price
        if notional < MIN_NOTIONAL and not exempt:
            raise OrderRefused("Order must have minimum value of $10.", "minTradeNtlRejected")
        largest = _largest_value(instrument.max_leverage) * (1 if order.tif in TAKING else RESTING_VALUE_FACTOR)
        if notional > largest:
            text = f"Order value too large. Max is ${largest // USD}."
            raise OrderRefused(text, has_suffix=False)
        open_orders = len(account.open_orders)
        if open_orders >= OPEN_ORDERS_BASE:
            allowed = min(OPEN_ORDERS_BASE + account.volume // OPEN_ORDERS_PER_VOLUME, OPEN_ORDERS_CAP)
            if order.reduce_only or open_orders >= allowed:
                raise OrderRefused("Too many open orders.", "tooManyOpenOrdersRejected")
        if not order.reduce_only:
            price = order.price if order.is_buy else max(order.price, market.mark)
            signed = order.lots if order.is_buy else -order.lots
            if not affords(account, self.state.markets, market, holding, signed, price):
                raise OrderRefused("Insufficient margin to place order.", "perpMarginRejected")

    def _execute(self, account: Account, market: Market, order: Order) -> dict[str, Any]:
        state, book = self.state, market.book
        crosses = book.crosses(order.is_buy, order.price)
        if order.tif == "Alo" and crosses:
            bid, ask = (plain_text(best or 0, market.instrument.price_decimals) for best in _touch(market))
            text = f"Post only order would have immediately matched, bbo was {bid}@{ask}."
            raise OrderRefused(text, "badAloPxRejected")
        if crosses:
            self.match(order)
        filled = order.orig_lots - order.lots
        if not order.lots:
            state.set_status(order, "open", order.orig_lots)
            state.finish(order, "filled")
        elif order.tif not in TAKING:
            state.set_status(order, "open")
            state.rest(order)
        elif filled:
            state.set_status(order, "open", order.orig_lots)
            state.finish(order, self.config.partial_ioc_status)
        elif order.tif == "FrontendMarket" and not book.side(not order.is_buy).keys:
            raise OrderRefused("No liquidity available for market order.", "marketOrderNoLiquidityRejected")
        else:
            text = "Order could not immediately match against any resting orders."
            raise OrderRefused(text, "iocCancelRejected")
        self.keep_reduce_only(account, market)
        reply: dict[str, Any] = {"oid": order.oid}
        if order.lots and order.tif not in TAKING:
            if order.cloid is not None:
                reply["cloid"] = order.cloid
            return {"resting": reply}
        average = (2 * order.filled_notional + filled) // (2 * filled)
        done: dict[str, Any] = {
            "totalSz": market.size_text(filled),
            "avgPx": market.price_text(average),
            **reply,
        }
        if order.cloid is not None:
            done["cloid"] = order.cloid
        return {"filled": done}

    def match(self, taker: Order) -> None:
        """Trade an order against the book, then hold every maker's reduce-only orders to its new position."""
        makers: dict[Account, None] = {}

        def on_fill(maker: BookOrder, taker: BookOrder, lots: int) -> None:
            assert isinstance(maker, Order)
            assert isinstance(taker, Order)
            self.state.settle(maker, taker, lots)
            makers[maker.account] = None

        taker.market.book.match(taker, on_fill, self.removed, self.allowed)
        for account in makers:
            self.keep_reduce_only(account, taker.market)

    def allowed(self, maker: BookOrder, lots: int) -> int:
        """How many lots a resting order may trade: its account must still afford them, reduce-only must reduce."""
        assert isinstance(maker, Order)
        account = maker.account
        if account.is_outside:
            return lots
        holding = self.state.holding(account, maker.market)
        if maker.reduce_only:
            closable = -holding.lots if maker.is_buy else holding.lots
            return max(0, min(lots, closable))
        signed = lots if maker.is_buy else -lots
        return lots if affords(account, self.state.markets, maker.market, holding, signed, maker.price) else 0

    def removed(self, maker: BookOrder, why: str) -> None:
        """End a resting order that was taken off the book instead of traded."""
        assert isinstance(maker, Order)
        self.state.block.books.add(maker.market)
        if why == SELF_TRADE:
            self.state.cancel_unasked(maker, "selfTradeCanceled")
        else:
            self.state.cancel_unasked(maker, "reduceOnlyCanceled" if maker.reduce_only else "marginCanceled")

    def keep_reduce_only(self, account: Account, market: Market) -> None:
        """Hold an account's resting reduce-only orders to its position.

        The newest one is cut to what can be reduced; older ones that no longer fit beside it are cancelled, and all are
        when the position is gone or on their own side.
        """
        orders = account.reduce_only.get(market.instrument.asset)
        if not orders:
            return
        held = self.state.holding(account, market).lots
        for is_buy in (True, False):
            left = max(0, -held if is_buy else held)
            newest = True
            for order in [order for order in reversed(orders.values()) if order.is_buy == is_buy]:
                if order.lots > left and newest and left:
                    excess = order.lots - left
                    market.book.reduce(order, excess)
                    order.orig_lots -= excess
                    self.state.block.books.add(market)
                    self.state.set_status(order, "open", recorded=False)
                elif order.lots > left:
                    market.book.cancel(order)
                    self.removed(order, "reduced")
                    continue
                left -= order.lots
                newest = False


def _touch(market: Market) -> tuple[int | None, int | None]:
    return market.book.best_bid(), market.book.best_ask()


def _floor_units(text: str, decimals: int) -> int:
    """A price finer than the unit, cut, for the record of an order that is refused because of it."""
    whole, _, part = text.partition(".")
    return int(whole + part[:decimals].ljust(decimals, "0"))


def _largest_value(max_leverage: int) -> int:
    """Largest market order by the market's maximum leverage, in USD units."""
    millions = 15 if max_leverage >= 25 else 5 if max_leverage >= 20 else 2 if max_leverage >= 10 else 0
    return (millions * 1_000_000 or 500_000) * USD


def volume_text(volume: int) -> str:
    """A traded volume as error texts print it: dollars and cents."""
    return f"{volume // USD}.{volume % USD // 10_000:02d}".rstrip("0").rstrip(".") if volume else usd_text(0)
