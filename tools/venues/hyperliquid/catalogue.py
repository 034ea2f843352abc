"""All that is traded: the main dex, the builder dexs, and the spot tokens and pairs."""

from __future__ import annotations

from typing import Any

from latentspeed.tools.venues.hyperliquid.builder_dexs import BuilderDex, load_dexs
from latentspeed.tools.venues.hyperliquid.config import VenueConfig
from latentspeed.tools.venues.hyperliquid.metadata import Instrument, Universe, load_universe
from latentspeed.tools.venues.hyperliquid.spot_listing import load_spot


class Catalogue:
    """The venue's metadata.

    Attributes:
        main: perpetuals of the main dex.
        dexs: builder dexs by name, in the order of `perpDexs`.
        spot: tokens and pairs.
    """

    def __init__(self, config: VenueConfig) -> None:
        prices = dict(config.prices)
        self.main = load_universe(config.meta_file, prices)
        self.spot = load_spot(config.spot_meta_file, prices)
        token_names = {token.index: token.name for token in self.spot.tokens.values()}
        dexs = load_dexs(config.perp_dexs_file, config.dex_meta_files, prices, token_names)
        self.dexs: dict[str, BuilderDex] = {dex.name: dex for dex in dexs}

    def instruments(self) -> list[Instrument]:
        """Every market."""
        return [
            *self.main.instruments,
            *(instrument for dex in self.dexs.values() for instrument in dex.universe.instruments),
            *self.spot.pairs,
        ]

    def universe(self, dex: str) -> Universe | None:
        """The perpetuals of a dex; None when there is no dex of that exact name."""
        if not dex:
            return self.main
        found = self.dexs.get(dex)
        return None if found is None else found.universe

    def perp_dexs(self) -> list[dict[str, Any] | None]:
        """The `perpDexs` reply: null for the main dex first."""
        return [None, *(dex.row for dex in self.dexs.values())]

    def dex_names(self) -> list[str]:
        """Every dex, the main one first."""
        return ["", *self.dexs]
