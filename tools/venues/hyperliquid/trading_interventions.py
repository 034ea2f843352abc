"""What a test may do to the trading of a running venue: end orders, refuse them, cap a market, set its funding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.liquidation import METHODS
from latentspeed.tools.venues.hyperliquid.refusals import CANCELLATIONS, ORDER_REFUSALS, OrderRefused
from latentspeed.tools.venues.hyperliquid.wire import RATE, WireError, address_text, rate_units

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue

MOST_FUNDING = RATE * 4 // 100


class TradingInterventions:
    """Changes to the trading of one venue."""

    def __init__(self, venue: HyperliquidVenue) -> None:
        self.venue = venue

    def cancel_orders(self, user: str, status: str, coin: str = "") -> int:
        """End open orders of a user, in one market or in all, as the venue would; returns how many that were.

        Raises:
            ValueError: no such user or market, or a status that ends no order.
        """
        if status not in CANCELLATIONS:
            raise ValueError(f"status={status!r}: must be one of {', '.join(CANCELLATIONS)}")
        venue, account = self.venue, self._account(user)
        market = venue.market(coin) if coin else None
        before = len(account.open_orders)
        with venue.block():
            for order in list(account.open_orders.values()):
                if market in (None, order.market) and account.is_open(order):
                    venue.state.pull_unasked(order, status)
            venue.exchange.placing.groups.react()
        return before - len(account.open_orders)

    def refuse_orders(self, status: str, count: int = 1) -> None:
        """Refuse the next orders, whoever sends them, with a status and the text that goes with it; 0 stops that.

        Raises:
            ValueError: a status that refuses no order.
        """
        if status not in ORDER_REFUSALS:
            raise ValueError(f"status={status!r}: must be one of {', '.join(ORDER_REFUSALS)}")
        waiting = self.venue.state.refuse_next
        if not count:
            waiting.clear()
        waiting.extend(OrderRefused(ORDER_REFUSALS[status], status) for _ in range(count))

    def liquidate(self, user: str, coin: str, method: str = "market") -> None:
        """Liquidate a user's position, whatever it is worth; a cross one takes the others of its dex with it.

        Raises:
            ValueError: no such user, market, position or method.
        """
        if method not in METHODS:
            raise ValueError(f"method={method!r}: must be one of {', '.join(METHODS)}")
        account, market = self._account(user), self.venue.market(coin)
        with self.venue.block():
            if not self.venue.liquidations.force(account, market, method):
                raise ValueError(f"coin={coin!r}: {user} has no position there")

    def deleverage(self, user: str, coin: str) -> None:
        """Close a user's position at the mark, as auto-deleveraging closes one that gained.

        Raises:
            ValueError: no such user, market or position.
        """
        account, market = self._account(user), self.venue.market(coin)
        with self.venue.block():
            if not self.venue.liquidations.deleverage(account, market):
                raise ValueError(f"coin={coin!r}: {user} has no position there")

    def cap_open_interest(self, coin: str, on: bool = True) -> None:
        """Let a market be at its open-interest cap: it takes no order that adds to a position or turns one round.

        Raises:
            ValueError: no such market.
        """
        self.venue.market(coin).is_capped = on

    def set_funding(self, coin: str, rate: str) -> None:
        """Set a market's hourly funding rate, a fraction of at most 4 % with at most 10 decimals.

        Raises:
            ValueError: no such market, or a rate that breaks its rule.
        """
        market = self.venue.market(coin)
        try:
            units = rate_units(rate)
        except WireError:
            units = RATE
        if abs(units) > MOST_FUNDING:
            raise ValueError(f"rate={rate!r}: must be a fraction from -0.04 to 0.04 with at most 10 decimals")
        market.funding_rate = units

    def _account(self, user: str) -> Account:
        account = self.venue.state.accounts.get(address_text(user))
        if account is None:
            raise ValueError(f"user={user!r}: must be an address that has an account")
        return account
