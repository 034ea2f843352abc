"""Info requests and snapshots about TWAP orders: what runs, what became of each, and the fills of their slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.info_request import Request, time_range, user_of
from latentspeed.tools.venues.hyperliquid.orders import Fill
from latentspeed.tools.venues.hyperliquid.state import VenueState


class TwapInfo:
    """TWAP orders of accounts."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.handlers: dict[str, Callable[[Request], Any]] = {
            "twapHistory": lambda request: self.history(self._account(request))[::-1],
            "userTwapSliceFills": lambda request: self.slice_fills(self._account(request))[::-1],
            "userTwapSliceFillsByTime": self._slice_fills_by_time,
        }

    def _account(self, request: Request) -> Account | None:
        return self.state.mentioned(user_of(request))

    def states(self, account: Account | None, dex: str = "") -> list[list[Any]]:
        """Every running TWAP of a dex as [id, state]; the main dex includes spot."""
        twaps = [] if account is None else account.twaps.values()
        return [[twap.twap_id, twap.state()] for twap in twaps if twap.market.instrument.dex == dex]

    def history(self, account: Account | None) -> list[dict[str, Any]]:
        """Every status that every TWAP took, oldest first."""
        return [] if account is None else list(account.twap_history)

    def slice_fills(self, account: Account | None) -> list[dict[str, Any]]:
        """The newest page of slice fills, oldest first."""
        return [] if account is None else slice_rows(account.fills)[-self.state.config.fills_page :]

    def _slice_fills_by_time(self, request: Request) -> Any:
        account = self._account(request)
        start, end = time_range(request)
        fills = [] if account is None else [fill for fill in account.fills if start <= fill.time_ms <= end]
        return slice_rows(fills)[: self.state.config.fills_page]


def slice_rows(fills: Iterable[Fill]) -> list[dict[str, Any]]:
    """Those fills that belong to a TWAP, each with its id."""
    found = ((fill, fill.order.twap_id) for fill in fills)
    return [{"fill": fill.row(), "twapId": twap_id} for fill, twap_id in found if twap_id is not None]
