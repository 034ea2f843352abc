"""Margin: what an account is worth, what its positions tie up, and whether it can afford one more."""

from __future__ import annotations

from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account, Clearing, Holding
from latentspeed.tools.venues.hyperliquid.market_list import Markets
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.wire import decimal_text, usd_text


def position_margin(holding: Holding, mark: int) -> int:
    """Margin in use: position value over leverage for cross, the position's own equity for isolated."""
    if holding.is_cross:
        return abs(holding.lots) * mark // holding.leverage
    return holding.isolated_raw + holding.lots * mark


class Worth:
    """An account on one dex at the present marks, in USD units; the cross figures leave isolated positions out."""

    __slots__ = (
        "cross_maintenance",
        "cross_notional",
        "cross_used",
        "cross_value",
        "isolated_equity",
        "isolated_notional",
        "isolated_raw",
    )

    def __init__(self, account: Clearing, markets: Markets) -> None:
        self.cross_value = account.cash
        self.cross_used = self.cross_notional = self.cross_maintenance = 0
        self.isolated_equity = self.isolated_notional = self.isolated_raw = 0
        for asset, holding in account.holdings.items():
            if not holding.lots:
                continue
            market = markets[asset]
            value = holding.lots * market.mark
            notional = abs(value)
            if holding.is_cross:
                self.cross_value += value
                self.cross_notional += notional
                self.cross_used += notional // holding.leverage
                self.cross_maintenance += market.instrument.maintenance(notional)
            else:
                self.isolated_raw += holding.isolated_raw
                self.isolated_equity += holding.isolated_raw + value
                self.isolated_notional += notional

    @property
    def total(self) -> int:
        """What the account is worth, isolated positions included."""
        return self.cross_value + self.isolated_equity

    @property
    def available(self) -> int:
        """Cross value that no position ties up."""
        return self.cross_value - self.cross_used

    @property
    def withdrawable(self) -> int:
        """What may leave the account: value less the larger of margin used and a tenth of the positions."""
        return max(0, self.cross_value - max(self.cross_used, self.cross_notional // 10))


def affords(account: Account, markets: Markets, market: Market, holding: Holding, signed_lots: int, price: int) -> bool:
    """Whether the account has the initial margin for a fill of so many lots at this price.

    What only lowers a position always passes. A flip is measured by the position that it would leave.
    """
    before, after = abs(holding.lots), abs(holding.lots + signed_lots)
    same_side = (holding.lots >= 0) == (signed_lots >= 0)
    if after <= before and not same_side:
        return True
    worth = Worth(account.clearing(market.instrument.dex), markets)
    if not holding.is_cross:
        opening = abs(signed_lots) if same_side else after
        return worth.available >= opening * price // holding.leverage
    free = worth.available + before * market.mark // holding.leverage
    kept = min(before, after) if same_side else 0
    return free >= (kept * market.mark + (after - kept) * price) // holding.leverage


def liquidation_price(holding: Holding, market: Market, worth: Worth) -> int | None:
    """Price in 10^-6 at which equity meets maintenance margin; None when there is none above zero."""
    side = 1 if holding.lots > 0 else -1
    size = abs(holding.lots)
    maintenance = market.instrument.maintenance(size * market.mark)
    if holding.is_cross:
        available = worth.cross_value - worth.cross_maintenance
    else:
        available = holding.isolated_raw + holding.lots * market.mark - maintenance
    leverage = 2 * market.instrument.max_leverage
    # price = mark - side * available / size / (1 - side / leverage), where a lot is 10^-szDecimals
    scale = 10**market.instrument.sz_decimals
    distance = _rounded(side * available * leverage * scale, size * (leverage - side))
    price = market.mark * scale - distance
    return price if price > 0 else None


def clearinghouse_state(account: Clearing | None, markets: Markets, time_ms: int) -> dict[str, Any]:
    """The `clearinghouseState` reply; an unknown account looks like a flat one without money."""
    if account is None:
        account = Clearing()
    worth = Worth(account, markets)
    positions = [
        {"type": "oneWay", "position": _position(holding, markets[asset], worth)}
        for asset, holding in sorted(account.holdings.items())
        if holding.lots
    ]
    return {
        "marginSummary": _summary(
            worth.cross_value + worth.isolated_equity,
            worth.cross_notional + worth.isolated_notional,
            account.cash + worth.isolated_raw,
            worth.cross_used + worth.isolated_equity,
        ),
        "crossMarginSummary": _summary(worth.cross_value, worth.cross_notional, account.cash, worth.cross_used),
        "crossMaintenanceMarginUsed": usd_text(worth.cross_maintenance),
        "withdrawable": usd_text(worth.withdrawable),
        "assetPositions": positions,
        "time": time_ms,
    }


def _summary(value: int, notional: int, raw: int, used: int) -> dict[str, str]:
    return {
        "accountValue": usd_text(value),
        "totalNtlPos": usd_text(notional),
        "totalRawUsd": usd_text(raw),
        "totalMarginUsed": usd_text(used),
    }


def _position(holding: Holding, market: Market, worth: Worth) -> dict[str, Any]:
    profit = holding.lots * market.mark - holding.cost
    leverage: dict[str, Any] = {"type": "cross" if holding.is_cross else "isolated", "value": holding.leverage}
    if not holding.is_cross:
        leverage["rawUsd"] = usd_text(holding.isolated_raw)
    entry_margin = abs(holding.cost)
    liquidation = liquidation_price(holding, market, worth)
    return {
        "coin": market.instrument.name,
        "szi": market.size_text(holding.lots),
        "leverage": leverage,
        "entryPx": market.price_text(abs(holding.cost) // abs(holding.lots)),
        "positionValue": usd_text(abs(holding.lots) * market.mark),
        "unrealizedPnl": usd_text(profit),
        "returnOnEquity": decimal_text(_rounded(profit * holding.leverage * 10**10, entry_margin), 10),
        "liquidationPx": None if liquidation is None else usd_text(liquidation),
        "marginUsed": usd_text(position_margin(holding, market.mark)),
        "maxLeverage": market.instrument.max_leverage,
        "cumFunding": {
            "allTime": usd_text(holding.funding_all),
            "sinceOpen": usd_text(holding.funding_open),
            "sinceChange": usd_text(holding.funding_change),
        },
    }


def _rounded(numerator: int, denominator: int) -> int:
    """A quotient rounded to nearest, half away from zero."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient
