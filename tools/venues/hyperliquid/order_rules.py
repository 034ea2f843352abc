"""Every rule that may refuse an order before it is matched, in one fixed order.

Each refusal is the venue's own text together with the status under which the order appears in the history.
"""

from __future__ import annotations

from msgspec import UNSET

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.actions import OrderWire, Trigger
from latentspeed.tools.venues.hyperliquid.margin import affords
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.refusals import ORDER_REFUSALS, OrderRefused
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.trigger_terms import MARKET_SLIPPAGE_PERCENT, TriggerTerms
from latentspeed.tools.venues.hyperliquid.wire import USD, units_from_text

MIN_NOTIONAL = 10 * USD
OPEN_ORDERS_BASE = 1000
OPEN_ORDERS_CAP = 5000
OPEN_ORDERS_PER_VOLUME = 5_000_000 * USD
RESTING_VALUE_FACTOR = 10
FARTHEST_PERCENT = 95
TAKING = ("Ioc", "FrontendMarket")
BAD_TICK = ("Price must be divisible by tick size.", "tickRejected")


class OrderRules:
    """Reads orders and holds them to the rules of their market and their account."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.config = state.config

    def read(self, account: Account, market: Market, wire: OrderWire) -> tuple[Order, bool]:
        """Turn the wire order into exact integers, and say whether its prices are whole numbers of price units.

        Raises:
            OrderRefused: a price or the size means nothing, so there is no order to speak of.
        """
        instrument = market.instrument
        price, is_exact = _read_price(wire.p, instrument.price_decimals)
        lots = units_from_text(wire.s, instrument.sz_decimals)
        trigger = None
        if wire.t.trigger is not UNSET:
            trigger, trigger_is_exact = _read_trigger(wire.t.trigger, wire.b, instrument.price_decimals)
            is_exact = is_exact and trigger_is_exact
            if trigger.is_market and (price <= trigger.price if wire.b else price >= trigger.price):
                price = _slipped(market, trigger.price, wire.b)
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
            tif=None if wire.t.limit is UNSET else wire.t.limit.tif,
            reduce_only=wire.r,
            cloid=None if wire.c is UNSET else wire.c,
            timestamp=self.state.block.time_ms,
            trigger=trigger,
        )
        return order, is_exact

    def check_cloid(self, order: Order, replaced: Order | None) -> None:
        """Refuse a client order id that a live order has, other than the one that is being replaced."""
        if order.cloid is not None and self.config.cloid_reuse == "refuse_live":
            live = order.account.live_cloid(order.cloid)
            if live is not None and live is not replaced:
                raise OrderRefused("Client order id is in use by a live order.")

    def check(self, order: Order, is_exact: bool, replaced: Order | None = None) -> None:
        """Every rule before the match; a replaced order holds no spot balance against the new one.

        Raises:
            OrderRefused: with the text and status of the first rule that the order breaks.
        """
        market, trigger = order.market, order.trigger
        if self.state.refuse_next:
            raise self.state.refuse_next.popleft()
        if market.instrument.is_delisted:
            raise OrderRefused("Trading is halted.")
        if not is_exact or not market.instrument.price_is_valid(order.price):
            raise OrderRefused(*BAD_TICK)
        if self.config.network_upgrade and order.tif != "Alo":
            raise OrderRefused("Only post-only orders allowed immediately after a network upgrade", has_suffix=False)
        if trigger is not None:
            if market.instrument.is_spot:
                raise OrderRefused("Trigger orders are not available on spot.")
            self._check_trigger(order, trigger)
        reference = market.mark if trigger is None else trigger.price
        if abs(order.price - reference) * 100 > reference * FARTHEST_PERCENT:
            text = f"Order price cannot be more than {FARTHEST_PERCENT}% away from the reference price"
            raise OrderRefused(text, "oracleRejected", has_suffix=False)
        if market.instrument.is_spot:
            self.state.spot.check(order, replaced)
            self._check_count(order)
            return
        self._check_size(order)
        self._check_count(order)
        self._check_position(order)
        if not order.reduce_only:
            holding = self.state.holding(order.account, market)
            price = order.price if order.is_buy else max(order.price, market.mark)
            signed = order.lots if order.is_buy else -order.lots
            if not affords(order.account, self.state.markets, market, holding, signed, price):
                raise OrderRefused("Insufficient margin to place order.", "perpMarginRejected")

    def _check_trigger(self, order: Order, trigger: TriggerTerms) -> None:
        """A trigger price is a valid price that the mark has not reached; a leg is measured at its parent's price."""
        market, parent = order.market, order.parent
        reference = market.mark
        if parent is not None and order.account.is_open(parent):
            reference = parent.price if parent.trigger is None else parent.trigger.price
        if not market.instrument.price_is_valid(trigger.price):
            raise OrderRefused(*BAD_TICK)
        if trigger.is_reached(reference):
            raise OrderRefused("Invalid TP/SL price.", "badTriggerPxRejected")

    def _check_size(self, order: Order) -> None:
        """Reduce-only must reduce and is cut to the position; the value has a minimum and a maximum.

        A leg whose parent has yet to trade has no position to reduce. A trigger is cut only when it fires. Closing the
        whole position is exempt from the minimum.
        """
        parent, held = order.parent, self.state.holding(order.account, order.market).lots
        exempt = parent is not None and order.lots >= parent.orig_lots
        if parent is None or not order.account.is_open(parent):
            exempt = exempt or ((held > 0) != order.is_buy and order.lots == abs(held))
            if order.reduce_only:
                if not held or (held > 0) == order.is_buy:
                    raise OrderRefused("Reduce only order would increase position.", "reduceOnlyRejected")
                exempt = exempt or order.lots > abs(held)
                if (exempt or not order.lots) and order.trigger is None:
                    order.lots = order.orig_lots = abs(held)
        exempt = exempt or not order.lots
        notional = order.lots * order.price
        if notional < MIN_NOTIONAL and not exempt:
            raise OrderRefused("Order must have minimum value of $10.", "minTradeNtlRejected")
        at_market = order.tif in TAKING if order.trigger is None else order.trigger.is_market
        largest = _largest_value(order.market.instrument.max_leverage) * (1 if at_market else RESTING_VALUE_FACTOR)
        if notional > largest:
            raise OrderRefused(f"Order value too large. Max is ${largest // USD}.", has_suffix=False)

    def _check_position(self, order: Order) -> None:
        """At the open-interest cap no position grows or turns round; none outgrows the margin tier of its leverage."""
        market, holding = order.market, self.state.holding(order.account, order.market)
        signed = order.lots if order.is_buy else -order.lots
        after = holding.lots + signed
        if abs(after) <= abs(holding.lots) and (after >= 0) == (holding.lots >= 0):
            return
        if market.is_capped and not order.reduce_only:
            flips = holding.lots and (after > 0) != (holding.lots > 0)
            kind = "positionFlipAtOpenInterestCap" if flips else "positionIncreaseAtOpenInterestCap"
            raise OrderRefused(ORDER_REFUSALS[f"{kind}Rejected"], f"{kind}Rejected")
        if not order.reduce_only and market.instrument.leverage_at(abs(after) * market.mark) < holding.leverage:
            raise OrderRefused(ORDER_REFUSALS["perpMaxPositionRejected"], "perpMaxPositionRejected")

    def _check_count(self, order: Order) -> None:
        """Above a thousand open orders only volume earns more, and neither reduce-only nor trigger orders are taken."""
        account = order.account
        open_orders = len(account.open_orders)
        if self.config.open_order_limit and open_orders >= OPEN_ORDERS_BASE:
            allowed = min(OPEN_ORDERS_BASE + account.volume // OPEN_ORDERS_PER_VOLUME, OPEN_ORDERS_CAP)
            if order.reduce_only or order.trigger is not None or open_orders >= allowed:
                raise OrderRefused("Too many open orders.", "tooManyOpenOrdersRejected")


def _read_price(text: str, decimals: int) -> tuple[int, bool]:
    """A price in units, and whether it is exact; a finer one is cut, for the record of the order that it spoils."""
    price = units_from_text(text, decimals)
    is_exact = price is not None
    if price is None:
        whole, _, part = text.partition(".")
        price = int(whole + part[:decimals].ljust(decimals, "0"))
    if price < 0 or (is_exact and not price):
        raise OrderRefused("Order has invalid price.")
    return price, is_exact


def _read_trigger(wire: Trigger, is_buy: bool, decimals: int) -> tuple[TriggerTerms, bool]:
    price, is_exact = _read_price(wire.trigger_px, decimals)
    return TriggerTerms(price, wire.is_market, wire.tpsl == "tp", is_buy), is_exact


def _slipped(market: Market, trigger_price: int, is_buy: bool) -> int:
    """The bound of a market trigger whose own limit price leaves it no room: a tenth beyond the trigger price."""
    percent = 100 + MARKET_SLIPPAGE_PERCENT if is_buy else 100 - MARKET_SLIPPAGE_PERCENT
    return market.instrument.round_price(trigger_price * percent // 100, up=is_buy)


def _largest_value(max_leverage: int) -> int:
    """Largest market order by the market's maximum leverage, in USD units."""
    millions = 15 if max_leverage >= 25 else 5 if max_leverage >= 20 else 2 if max_leverage >= 10 else 0
    return (millions * 1_000_000 or 500_000) * USD
