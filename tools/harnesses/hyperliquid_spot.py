"""Hyperliquid spot on the local venue, for the conformance suite."""

from __future__ import annotations

from decimal import Decimal

from latentspeed.connectors.hyperliquid import HyperliquidSpotConnector
from latentspeed.connectors.hyperliquid.config import SPOT_LOCAL
from latentspeed.tools.conformance import Ability, Fault, VenueBook
from latentspeed.tools.harnesses.hyperliquid import HyperliquidPerpetualHarness, venue_fill, venue_order

COINS = {"HYPE-USDC": "@1", "UETH-USDC": "@3"}
PAIRS = {coin: pair for pair, coin in COINS.items()}
ENOUGH = "1000000"


class HyperliquidSpotHarness(HyperliquidPerpetualHarness):
    """The venue of the perpetuals, with accounts that hold what both sides of the market trade."""

    name = "hyperliquid_spot"
    domain = SPOT_LOCAL
    connector_class = HyperliquidSpotConnector
    pair = "HYPE-USDC"
    price = 31.5
    other_pair = "UETH-USDC"
    abilities = frozenset(
        {
            Ability.LIMIT,
            Ability.LIMIT_MAKER,
            Ability.MARKET,
            Ability.MODIFY,
            Ability.IOC,
            Ability.LASTING,
            Ability.SHARED_ACCOUNT,
            Ability.ADOPTION,
            Ability.MOVE_PRICE,
            Ability.FUNDING_ACCOUNTS,
        }
    )
    new_pair = "NEWX-USDC"
    # The venue delists perpetuals alone.
    faults = HyperliquidPerpetualHarness.faults - {Fault.MARKET_DELISTED}

    async def start(self) -> None:
        """Start the venue and give each account tokens of every pair."""
        await super().start()
        for name in self._keys:
            for token in ("USDC", "HYPE", "UETH"):
                self._venue.give(self._master(name), token, ENOUGH)

    def _list_new_pair(self) -> None:
        self._venue.interventions.list_pair("NEWX", price="25")
        for name in self._keys:
            self._venue.give(self._master(name), "NEWX", ENOUGH)

    async def fund(self, account: str, amount: Decimal) -> None:
        """Give the quote token."""
        self._venue.give(self._master(account), "USDC", str(amount))

    async def reference_price(self, trading_pair: str) -> float:
        """The mark: spot has no oracle."""
        market = self._venue.market(COINS[trading_pair])
        return float(market.price_text(market.mark))

    async def move_price(self, trading_pair: str, price: float) -> None:
        """Move the mark."""
        self._venue.set_price(COINS[trading_pair], str(price))

    async def book(self, account: str) -> VenueBook:
        """Orders from the venue's account, fills and balances as its info requests answer."""
        address = self._master(account)
        live = self._venue.account(address)
        state = self._venue.info.answer({"type": "spotClearinghouseState", "user": address})
        fills = tuple(venue_fill(row, PAIRS[row["coin"]]) for row in self._venue.fills(address))
        balances = {row["coin"]: Decimal(row["total"]) for row in state["balances"]}
        return VenueBook(tuple(venue_order(order) for order in live.known.values()), fills, {}, balances)
