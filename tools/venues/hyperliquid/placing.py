"""One order's way onto the book: the rules, the match, and what becomes of the rest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.actions import OrderWire
from latentspeed.tools.venues.hyperliquid.groups import Groups, group_flaw
from latentspeed.tools.venues.hyperliquid.margin import affords
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.order_rules import TAKING, OrderRules
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.refusals import OrderRefused
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import USD, plain_text, usd_text
from latentspeed.tools.venues.matching import SELF_TRADE, BookOrder

Status = dict[str, Any] | str
"""An item of a reply: an object, or for an order that waits a bare word."""


class Placing:
    """Places orders into a venue's state."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.config = state.config
        self.rules = OrderRules(state)
        self.groups = Groups(state)

    def market(self, asset: int) -> Market:
        """The market of an asset id.

        Raises:
            OrderRefused: the venue lists no such asset.
        """
        market = self.state.markets.get(asset)
        if market is None:
            raise OrderRefused(f"Asset {asset} does not exist.", has_suffix=False)
        return market

    def place(self, account: Account, wire: OrderWire, builder: str | None = None, builder_rate: int = 0) -> Status:
        """Place one order and return its status."""
        return self._place(account, wire, builder, builder_rate)[0]

    def place_group(
        self, account: Account, wires: Sequence[OrderWire], of_position: bool, builder: str | None, builder_rate: int
    ) -> list[Status]:
        """Place a take-profit and stop group; what makes it impossible as a whole is one status for all of it."""
        parent_wire, legs = (None, wires) if of_position else (wires[0], wires[1:])
        flaw = group_flaw(legs, parent_wire)
        if flaw is not None:
            return [self.error(wires[0].a, OrderRefused(flaw))]
        statuses: list[Status] = []
        parent = None
        if parent_wire is not None:
            status, parent = self._place(account, parent_wire, builder, builder_rate)
            statuses.append(status)
            if isinstance(status, dict) and "error" in status:
                return statuses
        siblings: list[Order] = []
        for leg in legs:
            statuses.append(self._place(account, leg, builder, builder_rate, parent, siblings)[0])
        return statuses

    def _place(
        self,
        account: Account,
        wire: OrderWire,
        builder: str | None,
        builder_rate: int,
        parent: Order | None = None,
        siblings: list[Order] | None = None,
    ) -> tuple[Status, Order | None]:
        """Place one order, a leg of a group when it has siblings; returns its status and, when there is one, itself."""
        order = None
        try:
            market = self.market(wire.a)
            order, is_exact = self.rules.read(account, market, wire)
            self.rules.check_cloid(order, None)
        except OrderRefused as refusal:
            return self.error(wire.a, refusal), None
        order.builder, order.builder_rate = builder, builder_rate
        account.remember(order)
        if siblings is not None:
            order.parent, order.siblings, order.is_position_tpsl = parent, siblings, parent is None
        try:
            self.rules.check(order, is_exact)
            return self.execute(order), order
        except OrderRefused as refusal:
            order.siblings = []
            self.state.finish(order, refusal.status)
            return self.error(wire.a, refusal), order

    def replace(self, account: Account, old: Order | None, wire: OrderWire) -> Status:
        """Cancel an order and place another in its stead; returns the new order's status.

        What a rule refuses leaves the old order alone. A post-only replacement that would trade is refused only after
        the old order is gone, as was observed on the real venue. A leg that replaces a leg joins its group.
        """
        try:
            market = self.market(wire.a)
            order, is_exact = self.rules.read(account, market, wire)
            self.rules.check_cloid(order, old)
            if old is not None and old.siblings and order.trigger is not None:
                order.parent, order.siblings, order.is_position_tpsl = old.parent, old.siblings, old.is_position_tpsl
            self.rules.check(order, is_exact, old)
        except OrderRefused as refusal:
            return self.error(wire.a, refusal)
        if old is not None:
            order.builder, order.builder_rate = old.builder, old.builder_rate
            self.cancel(old, "canceled")
        account.remember(order)
        try:
            return self.execute(order)
        except OrderRefused as refusal:
            self.state.finish(order, refusal.status)
            return self.error(wire.a, refusal)

    def cancel(self, order: Order, status: str) -> None:
        """End an open order, and what hangs on it."""
        self.state.pull(order, status)
        self.groups.react()

    def cancel_all(self, account: Account, status: str) -> None:
        """End every open order of an account."""
        for order in list(account.open_orders.values()):
            self.state.pull(order, status)
        self.groups.react()

    def error(self, asset: int, refusal: OrderRefused) -> dict[str, Any]:
        """The error status of a refusal."""
        suffix = f" asset={asset}" if refusal.has_suffix and self.config.error_suffix else ""
        return {"error": f"{refusal}{suffix}"}

    def execute(self, order: Order) -> Status:
        """Match an order that broke no rule, rest or drop what is left of it, and return its status.

        Raises:
            OrderRefused: it would trade and may not, or may not rest and finds nothing.
        """
        state, account, market = self.state, order.account, order.market
        book = market.book
        if order.trigger is not None:
            return self._wait(order)
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
        self.hold_to_position(account, market)
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

    def _wait(self, order: Order) -> Status:
        """Arm a trigger order, or let a leg wait until its parent has filled."""
        state, parent = self.state, order.parent
        if parent is not None or order.is_position_tpsl:
            order.siblings.append(order)
        if parent is not None:
            parent.children.append(order)
            if order.account.is_open(parent):
                order.waits = "fill"
                state.set_status(order, "open")
                order.account.opened(order)
                return "waitingForFill"
            if parent.lots:
                order.lots = order.orig_lots = min(order.lots, parent.orig_lots - parent.lots)
        state.set_status(order, "open")
        state.arm(order)
        return "waitingForTrigger"

    def match(self, taker: Order) -> None:
        """Trade an order against the book, then hold every maker's reduce-only orders to its new position."""
        makers: dict[Account, None] = {}

        def on_fill(maker: BookOrder, taker: BookOrder, lots: int) -> None:
            assert isinstance(maker, Order)
            assert isinstance(taker, Order)
            self.state.settle(maker, taker, lots)
            makers[maker.account] = None

        taker.market.book.match(taker, on_fill, self.removed, self.allowed)
        self.groups.react()
        for account in makers:
            self.hold_to_position(account, taker.market)

    def allowed(self, maker: BookOrder, lots: int) -> int:
        """How many lots a resting order may trade: its account must still afford them, reduce-only must reduce."""
        assert isinstance(maker, Order)
        account = maker.account
        if account.is_outside or maker.market.instrument.is_spot:
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

    def hold_to_position(self, account: Account, market: Market) -> None:
        """Let groups react to what has filled, then hold an account's reduce-only orders to its position."""
        self.groups.react()
        orders = account.reduce_only.get(market.instrument.asset)
        if orders:
            self._shrink(account, market, orders)
            self.groups.react()

    def _shrink(self, account: Account, market: Market, orders: OrderedDict[int, Order]) -> None:
        """Cut the newest resting reduce-only order to what can be reduced, and cancel what no longer fits beside it.

        All are cancelled when the position is gone or on their own side. Armed ones keep their size until they fire.
        """
        held = self.state.holding(account, market).lots
        for is_buy in (True, False):
            left = max(0, -held if is_buy else held)
            newest = True
            for order in [order for order in reversed(orders.values()) if order.is_buy == is_buy]:
                if order.waits is not None:
                    if order.waits == "trigger" and not max(0, -held if is_buy else held):
                        self.state.pull_unasked(order, "reduceOnlyCanceled")
                    continue
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


def volume_text(volume: int) -> str:
    """A traded volume as error texts print it: dollars and cents."""
    return f"{volume // USD}.{volume % USD // 10_000:02d}".rstrip("0").rstrip(".") if volume else usd_text(0)
