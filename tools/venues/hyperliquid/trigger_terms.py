"""When a trigger order fires, and how it is described to clients.

take profit, sells   fires at or above its price        stop, sells   fires at or below
take profit, buys    fires at or below                  stop, buys    fires at or above
"""

from __future__ import annotations

from latentspeed.tools.venues.hyperliquid.wire import plain_text

MARKET_SLIPPAGE_PERCENT = 10


class TriggerTerms:
    """The trigger of one order.

    Attributes:
        price: trigger price in price units, compared with the mark.
        is_market: executes at market once it fires, instead of as a limit order.
        is_take_profit: a take-profit; otherwise a stop.
        is_above: fires at or above its price; otherwise at or below.
        has_fired: whether it has.
    """

    __slots__ = ("has_fired", "is_above", "is_market", "is_take_profit", "price")

    def __init__(self, price: int, is_market: bool, is_take_profit: bool, is_buy: bool) -> None:
        self.price = price
        self.is_market = is_market
        self.is_take_profit = is_take_profit
        self.is_above = is_take_profit != is_buy
        self.has_fired = False

    def is_reached(self, mark: int) -> bool:
        """Whether the mark is at the trigger price or beyond it."""
        return mark >= self.price if self.is_above else mark <= self.price

    def condition(self, price_decimals: int) -> str:
        """The text of `triggerCondition`."""
        if self.has_fired:
            return "Triggered"
        return f"Price {'above' if self.is_above else 'below'} {plain_text(self.price, price_decimals)}"

    @property
    def order_type(self) -> str:
        """The text of `orderType`."""
        return f"{'Take Profit' if self.is_take_profit else 'Stop'} {'Market' if self.is_market else 'Limit'}"
