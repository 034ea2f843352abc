"""What a test may change in a running venue beside faults: markets, budgets, and the settings that are switchable."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from latentspeed.tools.venues.hyperliquid.config import SWITCHABLE, VenueConfig
from latentspeed.tools.venues.hyperliquid.limits import AddressBudget
from latentspeed.tools.venues.hyperliquid.listing import Listing
from latentspeed.tools.venues.hyperliquid.outside import NEUTRAL_DECIMALS
from latentspeed.tools.venues.hyperliquid.wire import WireError, address_text, exact_units
from latentspeed.tools.venues.market import SyntheticMarket

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.markets import Market
    from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue


class Interventions:
    """Changes to one venue."""

    def __init__(self, venue: HyperliquidVenue) -> None:
        self.venue = venue
        self._listing = Listing(venue.state)

    def list_market(self, coin: str, sz_decimals: int = 2, max_leverage: int = 10, price: str = "10") -> int:
        """List a new perpetual, quoted by the synthetic market where there is one; returns its asset id.

        Raises:
            ValueError: the coin is listed already, a number is out of range, or there is no dex of its prefix.
        """
        return self._list(price, lambda: self._listing.add(coin, sz_decimals, max_leverage, price))

    def list_pair(self, base: str, quote: str = "USDC", sz_decimals: int = 2, price: str = "10") -> int:
        """List a new token on spot, as `list_market` does a perpetual; returns the pair's asset id.

        Raises:
            ValueError: the token is listed already, the quote token is not, or a number is out of range.
        """
        return self._list(price, lambda: self._listing.add_pair(base, quote, sz_decimals, price))

    def _list(self, price: str, add: Callable[[], Market]) -> int:
        venue = self.venue
        try:
            neutral = exact_units(price, NEUTRAL_DECIMALS)
            if neutral <= 0:
                raise ValueError(f"price={price!r}: must be above 0")
            with venue.block():
                market = add()
                synthetic = next((s for s in venue.sources if isinstance(s, SyntheticMarket)), None)
                if synthetic is not None:
                    synthetic.add(venue.outside, market.instrument.name, neutral)
        except WireError:
            raise ValueError(f"price={price!r}: must fit the market's price decimals") from None
        return market.instrument.asset

    def delist_market(self, coin: str) -> None:
        """Delist a market.

        Raises:
            ValueError: no such market, or it is delisted already.
        """
        with self.venue.block():
            self._listing.remove(coin)
            for source in self.venue.sources:
                if isinstance(source, SyntheticMarket):
                    source.remove(coin)

    def set_size_decimals(self, coin: str, sz_decimals: int) -> None:
        """Change a market's lot.

        Raises:
            ValueError: no such market, decimals out of range, or a position that the new lot cannot express.
        """
        with self.venue.block():
            self._listing.set_size_decimals(coin, sz_decimals)

    def pause_market(self, on: bool = True) -> None:
        """Let the outside market stand still: nobody but users trades, and no price moves; or let it go on."""
        self.venue.is_market_paused = on

    def stall(self, on: bool = True, for_ms: int = 0) -> None:
        """Let blocks stall: requests are taken and nothing is executed, for a while or until this is switched off."""
        self.venue.stall(on)
        if on and for_ms:
            asyncio.get_running_loop().call_later(for_ms / 1000, self.venue.stall, False)

    def orders(self, user: str) -> list[dict[str, Any]]:
        """Every order of an account that is remembered, oldest first: the venue's own book, and no client's view."""
        account = self.venue.state.accounts.get(address_text(user))
        return [
            {
                "oid": order.oid,
                "cloid": order.cloid,
                "coin": order.market.instrument.name,
                "status": order.status,
                "lots": order.lots,
                "filled": order.market.size_text(order.orig_lots - order.lots),
            }
            for order in (() if account is None else account.known.values())
        ]

    def exhaust_address_budget(self, user: str, on: bool = True) -> None:
        """Let an account have used up its actions, and enforce that; or give it all of them back."""
        account = self.venue.account(address_text(user))
        if on:
            self.venue.config.address_limits = True
            account.actions_used = max(account.actions_used, AddressBudget.cap(account) + account.reserved_weight)
        else:
            account.actions_used = 0

    def exhaust_ip_budget(self, on: bool = True) -> None:
        """Let every IP have used up its weight of this minute, and enforce that; or give it back."""
        if on:
            self.venue.config.ip_limits = True
        self.venue.ip_budget.exhaust(on)

    def set(self, setting: str, value: Any, for_ms: int = 0) -> Any:
        """Change a switchable setting of `VenueConfig`, for a while or for good; returns what it was.

        Raises:
            ValueError: a setting that is not switchable, or a value that breaks its rule.
        """
        config = self.venue.config
        if setting not in SWITCHABLE:
            raise ValueError(f"setting={setting!r}: must be one of {', '.join(SWITCHABLE)}")
        before = getattr(config, setting)
        kind = get_type_hints(VenueConfig)[setting]
        choices = get_args(kind)
        fits = value in choices if choices else type(value) is kind or (kind is float and type(value) is int)
        if not fits:
            rule = f"one of {', '.join(choices)}" if choices else f"a {kind.__name__}"
            raise ValueError(f"{setting}={value!r}: must be {rule}")
        setattr(config, setting, value)
        try:
            config.check()
        except ValueError:
            setattr(config, setting, before)
            raise
        if setting == "orders_retained":
            for account in self.venue.state.accounts.values():
                account.orders_retained = value
                account.history = deque(account.history, maxlen=value)
                account.forget()
        if for_ms:
            asyncio.get_running_loop().call_later(for_ms / 1000, self.set, setting, before)
        return before
