"""Hourly funding: positions pay or receive at the oracle price; what users pay net, the outside market receives."""

from __future__ import annotations

from latentspeed.tools.venues.hyperliquid.accounts import Account, Clearing, Holding
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import decimal_text, share, usd_text

HOUR_MS = 3_600_000
LATEST_MS = 97
"""Payments carry the time of their block, some milliseconds past the hour: never count on a full one."""


class Funding:
    """Settles funding whenever the venue's clock has passed a full hour."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self._settled_hour = state.clock.now_ms() // HOUR_MS

    def settle_due(self, now_ms: int) -> None:
        """Settle every hour that has begun since the last time; a clock that moved back settles nothing."""
        hour = now_ms // HOUR_MS
        for due in range(self._settled_hour + 1, min(hour, self._settled_hour + 1000) + 1):
            self._settle(due * HOUR_MS + min(due * 37 % LATEST_MS, now_ms - due * HOUR_MS))
        self._settled_hour = max(hour, self._settled_hour)

    def _settle(self, time_ms: int) -> None:
        state = self.state
        for market in state.markets:
            rate = decimal_text(market.funding_rate, 10)
            market.fundings.append(
                {"coin": market.instrument.name, "fundingRate": rate, "premium": "0.0", "time": time_ms}
            )
        for account in state.accounts.values():
            for clearing in account.clearings():
                for asset, holding in clearing.holdings.items():
                    if holding.lots:
                        self._pay(account, clearing, state.markets[asset], holding, time_ms)

    def _pay(self, account: Account, clearing: Clearing, market: Market, holding: Holding, time_ms: int) -> None:
        state, rate = self.state, market.funding_rate
        amount = -share(holding.lots * market.oracle, rate)
        if holding.is_cross:
            clearing.cash += amount
        else:
            holding.isolated_raw += amount
        state.outside_maker.clearing(market.instrument.dex).cash -= amount
        holding.funding_all -= amount
        holding.funding_open -= amount
        holding.funding_change -= amount
        row = {
            "coin": market.instrument.name,
            "usdc": usd_text(amount),
            "szi": market.size_text(holding.lots),
            "fundingRate": decimal_text(rate, 10),
            "nSamples": None,
        }
        account.fundings.append({"time": time_ms, "hash": state.block.hash(), "delta": {"type": "funding", **row}})
        state.block.fundings.setdefault(account, []).append({"time": time_ms, **row})
        state.block.touched.add(account)
