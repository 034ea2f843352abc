"""The venue's lists of markets as trading rules.

A price is a whole number, or has at most 5 significant figures and at most 6 - szDecimals decimals, on spot 8 -
szDecimals; an amount has at most szDecimals decimals, on spot those of the base token; an order is worth at least 10
dollars, on spot 10 of the quote token. A perpetual's number is its place in the whole list, so that delisted entries
keep theirs; a spot pair's number is its `index`, and so is a token's. Names keep their case: `kPEPE` is not `KPEPE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType

from latentspeed.connectors.hyperliquid.messages import AssetMeta, Meta, SpotMeta, SpotPair, SpotToken
from latentspeed.connectors.hyperliquid.wire import perpetual_asset_id, spot_asset_id
from latentspeed.connectors.trading_rule import TradingRule

QUOTE = "USD"
COLLATERAL = "USDC"
OWN_DEX = MappingProxyType({"": COLLATERAL})
"""The collateral of the venue's own dex, which has no name."""
SIGNIFICANT_FIGURES = 5
PERPETUAL_PRICE_DECIMALS = 6
SPOT_PRICE_DECIMALS = 8
MINIMUM_NOTIONAL = Decimal(10)


def perpetual_pair(coin: str, collateral: str = COLLATERAL) -> str:
    """The trading pair of a coin, `BTC-USD` or `xyz:SILVER-USD`; `hed:OIL-USDH` where the collateral is not USDC."""
    return f"{coin}-{_quote(collateral)}"


def dex_of(symbol: str) -> str:
    """The dex in a perpetual's name, which is its part before the colon; empty for the venue's own."""
    dex, colon, _ = symbol.partition(":")
    return dex if colon else ""


def collateral_of(rule: TradingRule) -> str:
    """The token in which a perpetual's margin, profit, fees and funding are counted."""
    return COLLATERAL if rule.quote_asset == QUOTE else rule.quote_asset


def margin_asset(dex: str, collateral: str) -> str:
    """What the collateral in a dex is called among the balances, as each dex has its own: `USDC`, `xyz:USDC`."""
    return f"{dex}:{collateral}" if dex else collateral


def _quote(collateral: str) -> str:
    return QUOTE if collateral == COLLATERAL else collateral


def perpetual_rule(entry: AssetMeta, index: int, dex_index: int = 0, collateral: str = COLLATERAL) -> TradingRule:
    """The rule of the entry at place `index` of a dex's universe.

    Args:
        entry: The market.
        index: Place in the whole universe, delisted entries counted.
        dex_index: Place in the whole list of dexs; 0 is the venue's own.
        collateral: The dex's collateral token.

    Raises:
        ValueError: The entry's decimals make no grid.
    """
    lot_size = Decimal(1).scaleb(-entry.szDecimals)
    return TradingRule(
        trading_pair=perpetual_pair(entry.name, collateral),
        symbol=entry.name,
        asset_id=perpetual_asset_id(index, dex_index),
        lot_size=lot_size,
        tick_size=Decimal(1).scaleb(-max(0, PERPETUAL_PRICE_DECIMALS - entry.szDecimals)),
        significant_figures=SIGNIFICANT_FIGURES,
        min_amount=lot_size,
        min_notional=MINIMUM_NOTIONAL,
        max_leverage=entry.maxLeverage,
        is_active=not entry.isDelisted,
        quote_asset=_quote(collateral),
        base_asset=entry.name.removeprefix(f"{dex_of(entry.name)}:"),
        only_isolated=bool(entry.onlyIsolated) or entry.marginMode in ("strictIsolated", "noCross"),
    )


def perpetual_rules(meta: Meta, dex_index: int = 0, collateral: str = COLLATERAL) -> list[TradingRule]:
    """The rules of all markets of a dex that can be read, in the venue's order."""
    return [
        perpetual_rule(entry, index, dex_index, collateral)
        for index, entry in enumerate(meta.universe)
        if entry is not None
    ]


def with_known(known: Mapping[str, TradingRule], rules: list[TradingRule]) -> list[TradingRule]:
    """What a list says now, where its entry of a market can be read, and what was known of it where not.

    A market that was once traded stays known under its name, because orders and positions may be in it: the venue
    takes none off its lists. Nor does a pair take over the name of one that is missing.

    Args:
        known: The rules so far by the venue's names.
        rules: The new ones.
    """
    found = {rule.symbol: rule for rule in rules}
    merged = {
        rule.trading_pair: replace(found[symbol], trading_pair=rule.trading_pair) if symbol in found else rule
        for symbol, rule in known.items()
    }
    for symbol, rule in found.items():
        if symbol not in known:
            merged.setdefault(rule.trading_pair, rule)
    return list(merged.values())


def spot_rule(pair: SpotPair, base: SpotToken, quote: SpotToken, trading_pair: str) -> TradingRule:
    """The rule of a spot pair.

    Raises:
        ValueError: The token's decimals make no grid.
    """
    lot_size = Decimal(1).scaleb(-base.szDecimals)
    return TradingRule(
        trading_pair=trading_pair,
        symbol=pair.name,
        asset_id=spot_asset_id(pair.index),
        lot_size=lot_size,
        tick_size=Decimal(1).scaleb(-max(0, SPOT_PRICE_DECIMALS - base.szDecimals)),
        significant_figures=SIGNIFICANT_FIGURES,
        min_amount=lot_size,
        min_notional=MINIMUM_NOTIONAL,
        quote_asset=quote.name,
        base_asset=base.name,
    )


def spot_rules(meta: SpotMeta, on_problem: Callable[[str, str], None] = lambda code, text: None) -> list[TradingRule]:
    """The rules of all spot pairs, by index.

    A pair is called by its tokens, `HYPE-USDC`. Where two pairs of the list would have one name, the first keeps it and
    the others are told apart by their index, `HYPE-USDC@1107`. A pair whose tokens are not listed, or whose decimals
    make no grid, is told of and left out; the numbers of the others do not depend on it.
    """
    tokens = {token.index: token for token in meta.tokens}
    rules: dict[str, TradingRule] = {}
    for pair in sorted(meta.universe, key=lambda pair: pair.index):
        base, quote = (tokens.get(index) for index in pair.tokens)
        if base is None or quote is None:
            on_problem("malformed_message", f"spotMeta: pair {pair.name} names a token that is not listed")
            continue
        name = f"{base.name}-{quote.name}"
        if name in rules:
            name = f"{name}@{pair.index}"
        try:
            rules[name] = spot_rule(pair, base, quote, name)
        except ValueError as error:
            on_problem("malformed_message", f"spotMeta: pair {pair.name}: {error}")
    return list(rules.values())
