"""Moving tokens between spot balances and the collateral of dexs, of one account or of two.

A place is ``spot`` or a dex's name, empty for the main one. A dex holds its collateral token alone, in millionths.
"""

from __future__ import annotations

from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.margin import Worth
from latentspeed.tools.venues.hyperliquid.refusals import ActionRefused
from latentspeed.tools.venues.hyperliquid.spot_listing import Token
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import USD_DECIMALS, WireError, units_from_text, usd_text

SPOT = "spot"
INSUFFICIENT = "Insufficient balance for token transfer"
INVALID = "Invalid send"


class AssetMoves:
    """Moves of any token between any two places."""

    def __init__(self, state: VenueState) -> None:
        self.state = state

    def token(self, wire_name: str) -> Token:
        """The token that ``NAME:0xTokenId`` names.

        Raises:
            ActionRefused: there is none.
        """
        token = self.state.catalogue.spot.by_wire_name.get(wire_name)
        if token is None:
            raise ActionRefused(INVALID)
        return token

    def units(self, token: Token, text: str, *places: str) -> int:
        """An amount as token units.

        Raises:
            ActionRefused: not above zero, finer than the token or one of the places counts, or a place that does not
                hold this token.
        """
        decimals = token.wei_decimals
        for place in places:
            if place != SPOT:
                universe = self.state.catalogue.universe(place)
                if universe is None or universe.collateral_token != token.index:
                    raise ActionRefused(INVALID)
                decimals = min(decimals, USD_DECIMALS)
        try:
            amount = units_from_text(text, decimals)
        except WireError:
            amount = None
        if not amount or amount < 0:
            raise ActionRefused(INVALID)
        units: int = amount * 10 ** (token.wei_decimals - decimals)
        return units

    def move(self, source: tuple[Account, str], target: tuple[Account, str], token: Token, units: int) -> None:
        """Move token units; every check of the amount's form has been made.

        Raises:
            ActionRefused: the source has not that much to give.
        """
        if units > self.available(*source, token):
            raise ActionRefused(INSUFFICIENT)
        self._add(*source, token, -units)
        self._add(*target, token, units)

    def available(self, account: Account, place: str, token: Token) -> int:
        """What an account may take out of a place, in token units: no order and no position needs it."""
        if place == SPOT:
            return self.state.spot.available(account, token)
        return Worth(account.clearing(place), self.state.markets).withdrawable * self._usd_factor(token)

    def _add(self, account: Account, place: str, token: Token, units: int) -> None:
        if place == SPOT:
            self.state.spot.add(account, token, units)
        else:
            account.clearing(place).cash += units // self._usd_factor(token)
        self.state.block.touched.add(account)

    @staticmethod
    def _usd_factor(token: Token) -> int:
        factor: int = 10 ** (token.wei_decimals - USD_DECIMALS)
        return factor

    def value_text(self, token: Token, units: int) -> str:
        """What so many token units are worth in dollars, at the mark of the token's dollar pair."""
        dollars = units * 10**USD_DECIMALS // 10**token.wei_decimals
        for market in self.state.markets.spot:
            pair: Any = market.instrument
            if pair.base is token and pair.quote.index == 0:
                dollars = dollars * market.mark // 10**pair.price_decimals
        return usd_text(dollars)
