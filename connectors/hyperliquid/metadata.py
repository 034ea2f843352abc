"""The venue's list of markets as trading rules.

A price is a whole number, or has at most 5 significant figures and at most 6 - szDecimals decimals; an amount has at
most szDecimals decimals; an order is worth at least 10 dollars. A market's number is its place in the whole list, so
that delisted entries keep theirs. Names keep their case: `kPEPE` is not `KPEPE`.
"""

from __future__ import annotations

from decimal import Decimal

from latentspeed.connectors.hyperliquid.messages import AssetMeta, Meta
from latentspeed.connectors.hyperliquid.wire import perpetual_asset_id
from latentspeed.connectors.trading_rule import TradingRule

QUOTE = "USD"
COLLATERAL = "USDC"
SIGNIFICANT_FIGURES = 5
PERPETUAL_PRICE_DECIMALS = 6
MINIMUM_NOTIONAL = Decimal(10)


def perpetual_pair(coin: str) -> str:
    """The trading pair of a coin, `BTC-USD`."""
    return f"{coin}-{QUOTE}"


def perpetual_rule(entry: AssetMeta, index: int, dex_index: int = 0) -> TradingRule:
    """The rule of the entry at place `index` of a dex's universe.

    Raises:
        ValueError: The entry's decimals make no grid.
    """
    lot_size = Decimal(1).scaleb(-entry.szDecimals)
    return TradingRule(
        trading_pair=perpetual_pair(entry.name),
        symbol=entry.name,
        asset_id=perpetual_asset_id(index, dex_index),
        lot_size=lot_size,
        tick_size=Decimal(1).scaleb(-max(0, PERPETUAL_PRICE_DECIMALS - entry.szDecimals)),
        significant_figures=SIGNIFICANT_FIGURES,
        min_amount=lot_size,
        min_notional=MINIMUM_NOTIONAL,
        max_leverage=entry.maxLeverage,
        is_active=not entry.isDelisted,
        quote_asset=QUOTE,
        base_asset=entry.name,
        only_isolated=bool(entry.onlyIsolated) or entry.marginMode in ("strictIsolated", "noCross"),
    )


def perpetual_rules(meta: Meta) -> list[TradingRule]:
    """The rules of all markets of the venue's own dex, in the venue's order."""
    return [perpetual_rule(entry, index) for index, entry in enumerate(meta.universe)]
