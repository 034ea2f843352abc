"""Markets that come, go and change while the venue runs."""

from __future__ import annotations

from typing import Any

from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.metadata import PERP_DECIMALS, Instrument
from latentspeed.tools.venues.hyperliquid.spot_listing import SPOT_PRICE_DECIMALS
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import rate_units


class Listing:
    """Changes what the venue lists. Each change happens inside a block that the caller makes.

    Markets come on every dex and on spot and go on every dex; only those of the venue's own dex change.
    """

    def __init__(self, state: VenueState) -> None:
        self.state = state

    def add(self, coin: str, sz_decimals: int, max_leverage: int, price: str) -> Market:
        """List a new market at the end of its universe: that of the dex before a colon, `xyz:TIN`, else the main one.

        Raises:
            ValueError: the coin is listed already, a number is out of range, or there is no such dex.
        """
        state = self.state
        if not coin or coin in state.by_coin:
            raise ValueError(f"coin={coin!r}: must be a name that is not listed yet")
        if not 0 <= sz_decimals <= PERP_DECIMALS:
            raise ValueError(f"sz_decimals={sz_decimals}: must be 0 to {PERP_DECIMALS}")
        if not 1 <= max_leverage < 50:
            raise ValueError(f"max_leverage={max_leverage}: must be 1 to 49")
        entry = {"szDecimals": sz_decimals, "name": coin, "maxLeverage": max_leverage, "marginTableId": max_leverage}
        dex, colon, _ = coin.partition(":")
        universe = state.catalogue.universe(dex if colon else "")
        if universe is None:
            raise ValueError(f"coin={coin!r}: there is no dex {dex!r}")
        return self._put(universe.add(entry, price))

    def add_pair(self, base: str, quote: str, sz_decimals: int, price: str) -> Market:
        """List a new token against one that there is; the pair gets the next index after the highest.

        Raises:
            ValueError: the token is listed already, the quote token is not, or a number is out of range.
        """
        spot = self.state.catalogue.spot
        names = {token.name: token for token in spot.tokens.values()}
        if not base or base in names:
            raise ValueError(f"base={base!r}: must be a token that is not listed yet")
        if quote not in names:
            raise ValueError(f"quote={quote!r}: must be a token that is listed")
        if not 0 <= sz_decimals <= SPOT_PRICE_DECIMALS:
            raise ValueError(f"sz_decimals={sz_decimals}: must be 0 to {SPOT_PRICE_DECIMALS}")
        return self._put(spot.add(base, names[quote], sz_decimals, price))

    def _put(self, instrument: Instrument) -> Market:
        market = Market(instrument, rate_units(self.state.config.funding_rate))
        self.state.markets.put(market)
        self.state.by_coin[instrument.name] = market
        return market

    def remove(self, coin: str) -> None:
        """Delist a market: its orders end as `delistedCanceled`, its entry stays in its place; positions stay too.

        Raises:
            ValueError: no such market, or it is delisted already.
        """
        market = self._perpetual(coin)
        self._clear(market, "delistedCanceled")
        market.instrument.is_delisted = True
        market.instrument.universe_entry["isDelisted"] = True

    def set_size_decimals(self, coin: str, sz_decimals: int) -> None:
        """Change a market's lot, and with it the decimals of its price; its open orders end as `canceled`.

        What was traded before keeps its numbers. Candles begin anew.

        Raises:
            ValueError: no such market, decimals out of range, or a position that the new lot cannot express.
        """
        state, old = self.state, self._market(coin)
        if not 0 <= sz_decimals <= PERP_DECIMALS:
            raise ValueError(f"sz_decimals={sz_decimals}: must be 0 to {PERP_DECIMALS}")
        before = old.instrument
        finer = sz_decimals - before.sz_decimals
        accounts = [*state.accounts.values(), state.outside_maker, state.outside_taker]
        holdings = [a.holdings[before.asset] for a in accounts if before.asset in a.holdings]
        for holding in holdings:
            _rescaled(holding.lots, finer, f"{coin}: a position of {old.size_text(abs(holding.lots))}")
        self._clear(old, "canceled")
        for holding in holdings:
            holding.lots = _rescaled(holding.lots, finer, coin)
        entry: dict[str, Any] = {**before.universe_entry, "szDecimals": sz_decimals}
        instrument = Instrument(before.asset, entry, before.tiers, "1")
        market = Market(instrument, old.funding_rate)
        for name in ("oracle", "mark", "last", "prev_day"):
            setattr(market, name, max(_scaled(getattr(old, name), -finer), 1))
        market.open_lots, market.day_lots = _scaled(old.open_lots, finer), _scaled(old.day_lots, finer)
        market.day_notional, market.fundings = old.day_notional, old.fundings
        market.trades.extend(old.trades)
        state.catalogue.main.instruments[before.asset] = instrument
        state.markets.put(market)
        state.by_coin[coin] = market
        state.block.books.add(market)

    def _perpetual(self, coin: str) -> Market:
        market = self.state.by_coin.get(coin)
        if market is None or market.instrument.is_delisted or market.instrument.is_spot:
            raise ValueError(f"coin={coin!r}: must be a perpetual that is listed")
        return market

    def _market(self, coin: str) -> Market:
        market = self._perpetual(coin)
        if market.instrument.dex:
            raise ValueError(f"coin={coin!r}: must be a perpetual that the main dex lists")
        return market

    def _clear(self, market: Market, status: str) -> None:
        """End every user's order in a market and take the outside quotes away."""
        for account in self.state.accounts.values():
            for order in [order for order in account.open_orders.values() if order.market is market]:
                if order.oid in account.open_orders:  # one leg of a group may have ended another
                    self.state.pull_unasked(order, status)
        for resting in market.outside.values():
            for order in resting.values():
                market.book.cancel(order)
            resting.clear()
        self.state.block.books.add(market)


def _scaled(value: int, decimals: int) -> int:
    """A number with so many decimals more, or fewer: then cut."""
    return value * int(10**decimals) if decimals >= 0 else value // int(10**-decimals)


def _rescaled(lots: int, finer: int, what: str) -> int:
    """Lots of the new size.

    Raises:
        ValueError: they are not whole.
    """
    if finer < 0 and lots % 10**-finer:
        raise ValueError(f"{what} cannot be expressed in the new lot")
    return _scaled(lots, finer)
