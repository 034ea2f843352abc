"""Builder-deployed dexs (HIP-3): their place in `perpDexs` decides the asset ids, their fee scale the fees.

A market's id is 100000 + 10000 * place + index, where place 0 is the null that stands for the main dex. A dex whose
markets are all delisted keeps its place, and so do dexs that nobody trades.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from latentspeed.tools.venues.hyperliquid.metadata import Universe, universe_entry
from latentspeed.tools.venues.hyperliquid.wire import exact_units

FIRST_ASSET = 100_000
ASSETS_PER_DEX = 10_000
SCALE_ONE = 10**4
USDH_TOKEN = 7

# name, szDecimals, maxLeverage, where the synthetic market starts, extra keys
_Row = tuple[str, int, int, str, dict[str, Any]]
_NO_CROSS: dict[str, Any] = {"onlyIsolated": True, "marginMode": "noCross"}
_GROWTH: dict[str, Any] = {"growthMode": "enabled", "lastGrowthModeChangeTime": "2026-01-15T10:00:00"}

# name, full name, deployer's fee scale, collateral token, markets
_DEXS: tuple[tuple[str, str, str, int, tuple[_Row, ...]], ...] = (
    (
        "xyz",
        "Metals and more",
        "1.0",
        0,
        (
            ("xyz:SILVER", 2, 10, "80.5", {}),
            ("xyz:GOLD", 4, 20, "4050", _GROWTH),
            ("xyz:YEN", 1, 10, "0.0671", {}),
            ("xyz:NVDA", 3, 10, "187.3", _NO_CROSS),
        ),
    ),
    (
        "gone",
        "Delisted altogether",
        "1.0",
        0,
        (("gone:TEA", 1, 3, "12", {"isDelisted": True}), ("gone:TIN", 2, 3, "330", {"isDelisted": True})),
    ),
    (
        "hed",
        "Collateral in USDH",
        "0.5",
        USDH_TOKEN,
        (("hed:COPPER", 1, 10, "5.1", {}), ("hed:OIL", 2, 10, "62.4", {})),
    ),
)


class BuilderDex:
    """One builder dex.

    Attributes:
        place: its position in `perpDexs`.
        row: its object there.
        universe: its perpetuals.
    """

    __slots__ = ("name", "place", "row", "universe")

    def __init__(
        self,
        place: int,
        row: dict[str, Any],
        meta: dict[str, Any],
        prices: dict[str, str],
        token_names: Mapping[int, str],
    ) -> None:
        self.place = place
        self.row = row
        self.name: str = row["name"]
        self.universe = Universe(
            meta,
            prices,
            FIRST_ASSET + ASSETS_PER_DEX * place,
            self.name,
            token_names.get(meta.get("collateralToken", 0), "USDC"),
            fee_rate_scale(row.get("deployerFeeScale", "1.0")),
        )


def fee_rate_scale(deployer_scale: str) -> int:
    """What a deployer's scale makes of the fee rates, in 10^-4: one plus it below 1, twice it from 1 on."""
    scale = exact_units(deployer_scale, 4)
    return SCALE_ONE + scale if scale < SCALE_ONE else 2 * scale


def load_dexs(
    dexs_file: Path | None, meta_files: Mapping[str, Path], prices: Mapping[str, str], token_names: Mapping[int, str]
) -> list[BuilderDex]:
    """The invented dexs, or those of a recorded `perpDexs` reply.

    Args:
        meta_files: recorded `meta` replies by dex; a recorded dex without one lists nothing.
        prices: start prices by coin.
        token_names: names of spot tokens by index, for the collateral.

    Raises:
        ValueError: a `meta` reply of a dex that is not listed.
    """
    start = {name: price for *_, markets in _DEXS for name, _, _, price, _ in markets}
    if dexs_file is None:
        rows = [(_row(*head), _meta(collateral, markets)) for *head, collateral, markets in _DEXS]
    else:
        empty = {"universe": [], "collateralToken": 0}
        rows = [(row, empty) for row in orjson.loads(dexs_file.read_bytes())[1:]]
    unknown = set(meta_files) - {row["name"] for row, _ in rows}
    if unknown:
        raise ValueError(f"dex_meta_files: no dex {', '.join(sorted(unknown))}")
    recorded = {name: orjson.loads(path.read_bytes()) for name, path in meta_files.items()}
    rows = [(row, recorded.get(row["name"], meta)) for row, meta in rows]
    start.update(prices)
    return [BuilderDex(index + 1, row, meta, start, token_names) for index, (row, meta) in enumerate(rows)]


def _meta(collateral: int, markets: tuple[_Row, ...]) -> dict[str, Any]:
    return {"universe": [universe_entry(*row) for row in markets], "collateralToken": collateral}


def _row(name: str, full_name: str, fee_scale: str) -> dict[str, Any]:
    return {
        "name": name,
        "fullName": full_name,
        "deployer": "0x" + name.encode().hex().rjust(40, "d"),
        "oracleUpdater": None,
        "feeRecipient": None,
        "assetToStreamingOiCap": [],
        "subDeployers": [],
        "deployerFeeScale": fee_scale,
        "lastDeployerFeeScaleChangeTime": "1970-01-01T00:00:00",
        "assetToFundingMultiplier": [],
        "assetToFundingInterestRate": [],
    }
