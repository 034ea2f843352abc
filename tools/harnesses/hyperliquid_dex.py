"""A builder dex of Hyperliquid on the local venue, for the conformance suite."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from latentspeed.connectors import ClientOrderIdGenerator
from latentspeed.connectors.hyperliquid import HyperliquidPerpetualConnector
from latentspeed.tools.conformance import VenueBook
from latentspeed.tools.harnesses.hyperliquid import HyperliquidPerpetualHarness, venue_fill, venue_order

DEX = "hed"
COLLATERAL = "USDH"


class HyperliquidDexHarness(HyperliquidPerpetualHarness):
    """The venue of the perpetuals, where the third dex of its list is traded, whose collateral is USDH."""

    name = "hyperliquid_perpetual (builder dex)"
    pair = "hed:OIL-USDH"
    price = 62.4
    other_pair = "hed:COPPER-USDH"
    new_pair = "hed:NEWX-USDH"
    delisted = "hed:COPPER"

    async def start(self) -> None:
        """Start the venue and give each account collateral in the dex."""
        await super().start()
        for name in self._keys:
            self._venue.give(self._master(name), COLLATERAL, "1000000", place=DEX)

    def new_connector(
        self, account: str, *, engine: int = 1, stale_after_s: float = 0.0
    ) -> HyperliquidPerpetualConnector:
        """A connector that names the dex."""
        connector = super().new_connector(account, engine=engine, stale_after_s=stale_after_s)
        ids = ClientOrderIdGenerator(next(self._incarnations))
        config = replace(connector.config, dexs=(DEX,))
        return HyperliquidPerpetualConnector(config, self._agent(account), id_generator=ids)

    def _list_new_pair(self) -> None:
        self._venue.interventions.list_market("hed:NEWX", price="25")

    async def fund(self, account: str, amount: Decimal) -> None:
        """Give collateral in the dex."""
        self._venue.give(self._master(account), COLLATERAL, str(amount), place=DEX)

    async def reference_price(self, trading_pair: str) -> float:
        """The oracle's."""
        market = self._venue.market(_coin(trading_pair))
        return float(market.price_text(market.oracle))

    async def move_price(self, trading_pair: str, price: float) -> None:
        """Move oracle and mark."""
        self._venue.set_price(_coin(trading_pair), str(price))

    async def book(self, account: str) -> VenueBook:
        """Orders from the venue's account, positions and balance of the dex as its info requests answer."""
        address = self._master(account)
        live = self._venue.account(address)
        state = self._venue.info.answer({"type": "clearinghouseState", "user": address, "dex": DEX})
        fills = tuple(venue_fill(row, f"{row['coin']}-{COLLATERAL}") for row in self._venue.fills(address))
        positions = {
            f"{entry['position']['coin']}-{COLLATERAL}": Decimal(entry["position"]["szi"])
            for entry in state["assetPositions"]
        }
        balances = {f"{DEX}:{COLLATERAL}": Decimal(state["marginSummary"]["accountValue"])}
        return VenueBook(tuple(venue_order(order) for order in live.known.values()), fills, positions, balances)


def _coin(trading_pair: str) -> str:
    return trading_pair.removesuffix(f"-{COLLATERAL}")
