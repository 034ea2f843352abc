"""Every market of the venue by asset id: perpetuals of all dexs, and spot pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from latentspeed.tools.venues.hyperliquid.markets import Market


class Markets:
    """Markets by asset id. Iterating gives the perpetuals of every dex, in the order of their ids."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self._by_asset = {market.instrument.asset: market for market in markets}
        self._sort()

    def _sort(self) -> None:
        self.perpetuals = sorted(
            (market for market in self._by_asset.values() if not market.instrument.is_spot),
            key=lambda market: market.instrument.asset,
        )
        self.spot = [market for market in self._by_asset.values() if market.instrument.is_spot]
        self._by_dex: dict[str, list[Market]] = {}
        for market in self.perpetuals:
            self._by_dex.setdefault(market.instrument.dex, []).append(market)

    def __getitem__(self, asset: int) -> Market:
        """The market of an asset id."""
        return self._by_asset[asset]

    def __iter__(self) -> Iterator[Market]:
        """Every perpetual."""
        return iter(self.perpetuals)

    def get(self, asset: int) -> Market | None:
        """The market of an asset id, if there is one."""
        return self._by_asset.get(asset)

    def put(self, market: Market) -> None:
        """Add a market, or put it in the place of the one that has its asset id."""
        self._by_asset[market.instrument.asset] = market
        self._sort()

    def of_dex(self, dex: str) -> list[Market]:
        """The perpetuals of a dex in the order of its `meta`; empty for a name that lists nothing."""
        return self._by_dex.get(dex, [])

    def everything(self) -> list[Market]:
        """Perpetuals, then spot pairs."""
        return [*self.perpetuals, *self.spot]
