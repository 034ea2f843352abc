"""The `/info` endpoint behind its socket: which request type goes to which handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.tools.venues.hyperliquid.info_account import AccountInfo
from latentspeed.tools.venues.hyperliquid.info_market import MarketInfo
from latentspeed.tools.venues.hyperliquid.info_ownership import OwnershipInfo
from latentspeed.tools.venues.hyperliquid.info_request import Request
from latentspeed.tools.venues.hyperliquid.info_twap import TwapInfo
from latentspeed.tools.venues.hyperliquid.spot_info import SpotInfo
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import WireError


class Info:
    """Answers every info request that the venue knows."""

    def __init__(self, state: VenueState) -> None:
        self.markets = MarketInfo(state)
        self.accounts = AccountInfo(state)
        self.spot = SpotInfo(state)
        self.ownership = OwnershipInfo(state, self.accounts, self.spot)
        self.twaps = TwapInfo(state)
        self._handlers: dict[str, Callable[[Request], Any]] = {
            **self.markets.handlers,
            **self.accounts.handlers,
            **self.spot.handlers,
            "spotDeployState": lambda request: {"states": [], "gasAuction": self.markets.auction()},
            **self.ownership.handlers,
            **self.twaps.handlers,
        }

    def answer(self, request: object) -> Any:
        """Return the reply's object. Unknown keys are ignored.

        Raises:
            WireError: the type is missing or unknown, or a value has the wrong type: HTTP 422.
        """
        if not isinstance(request, dict):
            raise WireError("not an object")
        handler = self._handlers.get(request.get("type", "")) if isinstance(request.get("type"), str) else None
        if handler is None:
            raise WireError("unknown type")
        return handler(request)
