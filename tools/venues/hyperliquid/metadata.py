"""The perpetuals of one dex and their number rules: invented ones, or those of a recorded `meta` reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from latentspeed.tools.venues.hyperliquid.wire import exact_units

PERP_DECIMALS = 6
USDC = "USDC"

# name, szDecimals, maxLeverage, where the synthetic market starts, extra keys
_UNIVERSE: tuple[tuple[str, int, int, str, dict[str, Any]], ...] = (
    ("BTC", 5, 40, "64000", {}),
    ("ETH", 4, 25, "3100", {}),
    ("SOL", 2, 20, "145", {}),
    ("kPEPE", 0, 10, "0.0125", {}),
    ("HYPE", 2, 10, "31.5", {}),
    ("DOGE", 0, 10, "0.162", {}),
    ("LINK", 1, 10, "14.2", {}),
    ("OLDX", 1, 3, "1.5", {"isDelisted": True}),
    ("THIN", 0, 3, "0.85", {"onlyIsolated": True, "marginMode": "strictIsolated"}),
)


class Instrument:
    """One market and its number rules; a perpetual unless a subclass says otherwise.

    Attributes:
        dex: the builder dex that lists it, empty for the main one.
        quote_name: the token that it is traded and charged in.
        fee_rate_scale: what its dex makes of the venue's fee rates, in 10^-4.
        price_decimals: a price unit is 10^-price_decimals.
        tiers: margin tiers as (lower bound in USD units, maximum leverage, maintenance deduction in USD units).
    """

    __slots__ = (
        "asset",
        "dex",
        "fee_rate_scale",
        "is_delisted",
        "margin_table_id",
        "max_leverage",
        "name",
        "only_isolated",
        "price_decimals",
        "quote_name",
        "start_price",
        "strict_isolated",
        "sz_decimals",
        "tiers",
        "universe_entry",
    )

    is_spot = False

    def __init__(
        self,
        asset: int,
        entry: dict[str, Any],
        tiers: list[tuple[int, int, int]],
        start_price: str,
        dex: str = "",
        quote_name: str = USDC,
        fee_rate_scale: int = 10**4,
    ) -> None:
        self.asset = asset
        self.dex = dex
        self.quote_name = quote_name
        self.fee_rate_scale = fee_rate_scale
        self.universe_entry = entry
        self.name: str = entry["name"]
        self.sz_decimals: int = entry["szDecimals"]
        self.price_decimals = PERP_DECIMALS - self.sz_decimals
        self.max_leverage: int = entry["maxLeverage"]
        self.margin_table_id: int = entry.get("marginTableId", entry["maxLeverage"])
        self.is_delisted = bool(entry.get("isDelisted"))
        self.only_isolated = bool(entry.get("onlyIsolated") or entry.get("marginMode"))
        self.strict_isolated = entry.get("marginMode") == "strictIsolated"
        self.tiers = tiers
        self.start_price = exact_units(start_price, self.price_decimals)

    def price_is_valid(self, units: int) -> bool:
        """Whether the price is an integer or has at most five significant figures (decimals are given by the unit)."""
        if units < 100_000:
            return units > 0
        if not units % 10**self.price_decimals:
            return True
        return not units % 10 ** (len(str(units)) - 5)

    def tick(self, units: int) -> int:
        """Spacing of valid prices just above this one, in price units; it is never above 1."""
        return min(max(10 ** (len(str(units)) - 5), 1), 10**self.price_decimals) if units >= 100_000 else 1

    def round_price(self, units: int, up: bool) -> int:
        """The nearest valid price at or below, or at or above."""
        tick = self.tick(units)
        return -(-units // tick) * tick if up else units // tick * tick

    def leverage_at(self, notional: int) -> int:
        """The most leverage that a position of so many USD units may have, by tier."""
        return next((leverage for lower, leverage, _ in reversed(self.tiers) if notional >= lower), self.max_leverage)

    def maintenance(self, notional: int) -> int:
        """Maintenance margin of a position's USD units: half the initial margin at maximum leverage, by tier."""
        for lower, leverage, deduction in reversed(self.tiers):
            if notional >= lower:
                return notional // (2 * leverage) - deduction
        return notional // (2 * self.max_leverage)


class Universe:
    """The perpetuals of one dex, and the `meta` reply that describes them.

    Args:
        meta: a `meta` reply.
        start_prices: where the synthetic market starts, by coin.
        first_asset: asset id of the first market.
        dex: name of the dex, empty for the main one.
        quote_name: its collateral.
        fee_rate_scale: what the dex makes of the venue's fee rates, in 10^-4, before a market's growth mode.
    """

    def __init__(
        self,
        meta: dict[str, Any],
        start_prices: dict[str, str],
        first_asset: int = 0,
        dex: str = "",
        quote_name: str = USDC,
        fee_rate_scale: int = 10**4,
    ) -> None:
        self.margin_tables: list[Any] = meta.get("marginTables", [])
        self.collateral_token: int = meta.get("collateralToken", 0)
        self._tables = {table_id: table["marginTiers"] for table_id, table in self.margin_tables}
        self._terms = first_asset, dex, quote_name, fee_rate_scale
        self.instruments: list[Instrument] = []
        for entry in meta["universe"]:
            self.add(entry, start_prices.get(entry["name"], "100"))

    def add(self, entry: dict[str, Any], start_price: str) -> Instrument:
        """Lists one more market, at the end."""
        first_asset, dex, quote_name, fee_rate_scale = self._terms
        instrument = Instrument(
            first_asset + len(self.instruments),
            entry,
            _tiers(self._tables.get(entry.get("marginTableId")), entry["maxLeverage"]),
            start_price,
            dex,
            quote_name,
            fee_rate_scale // 10 if entry.get("growthMode") == "enabled" else fee_rate_scale,
        )
        self.instruments.append(instrument)
        return instrument

    def meta(self) -> dict[str, Any]:
        """The `meta` reply."""
        return {
            "universe": [instrument.universe_entry for instrument in self.instruments],
            "marginTables": self.margin_tables,
            "collateralToken": self.collateral_token,
        }


def load_universe(meta_file: Path | None, prices: dict[str, str]) -> Universe:
    """Return the invented universe, or the one of a recorded `meta` reply, with start prices overridden by coin."""
    start = {name: price for name, _, _, price, _ in _UNIVERSE}
    start.update(prices)
    if meta_file is not None:
        return Universe(orjson.loads(meta_file.read_bytes()), start)
    return Universe({"universe": [universe_entry(*row) for row in _UNIVERSE]}, start)


def universe_entry(
    name: str, sz_decimals: int, max_leverage: int, start_price: str, extra: dict[str, Any]
) -> dict[str, Any]:
    """One entry of a `meta` universe on a flat margin table."""
    return {
        "szDecimals": sz_decimals,
        "name": name,
        "maxLeverage": max_leverage,
        "marginTableId": max_leverage,
        **extra,
    }


def _tiers(table: list[dict[str, Any]] | None, max_leverage: int) -> list[tuple[int, int, int]]:
    """Tiers with deductions: each next one adds lowerBound * (rate - rate before), rate being 1 / (2 * leverage)."""
    tiers: list[tuple[int, int, int]] = []
    deduction, before = 0, None
    for tier in table or [{"lowerBound": "0.0", "maxLeverage": max_leverage}]:
        lower, leverage = exact_units(tier["lowerBound"], 6), tier["maxLeverage"]
        if before is not None:
            deduction += lower // (2 * leverage) - lower // (2 * before)
        tiers.append((lower, leverage, deduction))
        before = leverage
    return tiers
