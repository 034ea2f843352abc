"""Info requests about spot: tokens and pairs, their contexts, balances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.info_request import Request, user_of
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.spot import NOTIONAL_DECIMALS, pair_of
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import WireError, decimal_text

SUPPLY = "1000000000.0"


class SpotInfo:
    """Spot as `/info` and the streams show it."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.handlers: dict[str, Callable[[Request], Any]] = {
            "spotMeta": lambda request: state.catalogue.spot.meta,
            "spotMetaAndAssetCtxs": lambda request: [state.catalogue.spot.meta, self.contexts()],
            "spotClearinghouseState": lambda request: self.state_of(state.mentioned(user_of(request))),
            "tokenDetails": self._token_details,
        }

    def context(self, market: Market) -> dict[str, Any]:
        """The context of one pair; without a two-sided book its mid is null."""
        return {
            "prevDayPx": market.price_text(market.prev_day),
            "dayNtlVlm": decimal_text(market.day_notional, NOTIONAL_DECIMALS),
            "markPx": market.price_text(market.mark),
            "midPx": market.mid_text(),
            "circulatingSupply": SUPPLY,
            "coin": market.instrument.name,
            "totalSupply": SUPPLY,
            "dayBaseVlm": market.size_text(market.day_lots),
        }

    def contexts(self) -> list[dict[str, Any]]:
        """Contexts of every pair, in the order of `spotMeta`; clients join them by coin all the same."""
        return [self.context(market) for market in self.state.markets.spot]

    def state_of(self, account: Account | None) -> dict[str, Any]:
        """Balances of an account, those that it once had included; USDC, the token 0, comes first."""
        if account is None:
            return {"balances": []}
        spot, rows = self.state.spot, []
        for index, balance in sorted(account.balances.items()):
            token = spot.token(index)
            rows.append(
                {
                    "coin": token.name,
                    "token": index,
                    "total": decimal_text(balance.total, token.wei_decimals),
                    "hold": decimal_text(spot.held(account, token), token.wei_decimals),
                    "entryNtl": decimal_text(0 if not index else balance.entry, NOTIONAL_DECIMALS),
                }
            )
        return {"balances": rows}

    def _token_details(self, request: Request) -> Any:
        """One token by its id; null for an unknown one."""
        token_id = request.get("tokenId")
        if not isinstance(token_id, str):
            raise WireError("missing tokenId")
        token = self.state.catalogue.spot.by_token_id.get(token_id.lower())
        if token is None:
            return None
        market = next((m for m in self.state.markets.spot if pair_of(m).base is token), None)
        price = "1.0" if market is None else market.price_text(market.mark)
        return {
            "name": token.name,
            "maxSupply": SUPPLY,
            "totalSupply": SUPPLY,
            "circulatingSupply": SUPPLY,
            "szDecimals": token.sz_decimals,
            "weiDecimals": token.wei_decimals,
            "midPx": None if market is None else market.mid_text(),
            "markPx": price,
            "prevDayPx": price if market is None else market.price_text(market.prev_day),
            "genesis": None,
            "deployer": None,
            "deployGas": None,
            "deployTime": None,
            "seededUsdc": "0.0",
            "nonCirculatingUserBalances": [],
            "futureEmissions": "0.0",
        }
