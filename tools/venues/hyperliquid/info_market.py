"""Info requests about markets. Each handler takes the request and returns the reply's object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.tools.venues.hyperliquid.candles import INTERVALS_MS, candle_row
from latentspeed.tools.venues.hyperliquid.info_request import (
    Request,
    book_shape,
    coin_of,
    dex_of,
    is_natural,
    time_range,
)
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import WireError, decimal_text

BOOK_LEVELS = 20
HOUR_MS = 3_600_000
FUNDING_PAGE = 500
AUCTION_S = 31 * 3600


class MarketInfo:
    """Public market data."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.handlers: dict[str, Callable[[Request], Any]] = {
            "meta": self._meta,
            "metaAndAssetCtxs": self._meta_and_contexts,
            "allPerpMetas": lambda request: [self._universe_meta(dex) for dex in state.catalogue.dex_names()],
            "perpDexs": lambda request: state.catalogue.perp_dexs(),
            "perpDexLimits": self._perp_dex_limits,
            "perpDeployAuctionStatus": lambda request: self.auction(),
            "allMids": self._all_mids,
            "l2Book": self.l2_book,
            "recentTrades": self._recent_trades,
            "candleSnapshot": self._candles,
            "fundingHistory": self._funding_history,
            "predictedFundings": self._predicted_fundings,
            "exchangeStatus": lambda request: {"time": self.state.clock.now_ms(), "specialStatuses": None},
            "marginTable": self._margin_table,
            "perpsAtOpenInterestCap": self._capped,
            "maxMarketOrderNtls": lambda request: [
                [25, "15000000.0"],
                [20, "5000000.0"],
                [10, "2000000.0"],
                [1, "500000.0"],
            ],
        }

    def market(self, request: Request) -> Market | None:
        """The market that a request names; None when there is none of that exact name."""
        return self.state.by_coin.get(coin_of(request))

    def _is_dex(self, dex: str) -> bool:
        return self.state.catalogue.universe(dex) is not None

    def _universe_meta(self, dex: str) -> dict[str, Any] | None:
        universe = self.state.catalogue.universe(dex)
        return None if universe is None else universe.meta()

    def _meta(self, request: Request) -> Any:
        """The markets of a dex; null for a name that no dex has."""
        return self._universe_meta(dex_of(request))

    def _meta_and_contexts(self, request: Request) -> Any:
        dex = dex_of(request)
        meta = self._universe_meta(dex)
        return None if meta is None else [meta, self.contexts(dex)]

    def contexts(self, dex: str = "") -> list[dict[str, Any]]:
        """Asset contexts of a dex in universe order."""
        return [market.context() for market in self.state.markets.of_dex(dex)]

    def _all_mids(self, request: Request) -> Any:
        dex = dex_of(request)
        return self.all_mids(dex) if self._is_dex(dex) else None

    def all_mids(self, dex: str = "") -> dict[str, str]:
        """Mid by coin; a coin without a two-sided book shows its last price. The main dex includes spot."""
        markets = self.state.markets
        return {
            market.instrument.name: market.mid_text() or market.price_text(market.last)
            for market in (markets.of_dex(dex) if dex else [*markets.of_dex(""), *markets.spot])
        }

    def auction(self) -> dict[str, Any]:
        """The auction for the right to deploy, which nobody bids in here."""
        start = self.state.clock.now_ms() // 1000
        start -= start % AUCTION_S
        return {
            "startTimeSeconds": start,
            "durationSeconds": AUCTION_S,
            "startGas": "500.0",
            "currentGas": "500.0",
            "endGas": None,
        }

    def _perp_dex_limits(self, request: Request) -> Any:
        """Open interest caps of a builder dex; null for the main dex and for unknown names."""
        dex = dex_of(request)
        if not dex or not self._is_dex(dex):
            return None
        caps = [[market.instrument.name, "100000000.0"] for market in self.state.markets.of_dex(dex)]
        return {
            "totalOiCap": "1000000000.0",
            "oiSzCapPerPerp": "10000000000.0",
            "maxTransferNtl": "1000000000.0",
            "coinToOiCap": caps,
        }

    def _capped(self, request: Request) -> Any:
        """The coins of a dex that are at their open-interest cap."""
        dex = dex_of(request)
        if not self._is_dex(dex):
            return None
        return [market.instrument.name for market in self.state.markets.of_dex(dex) if market.is_capped]

    def l2_book(self, request: Request) -> dict[str, Any] | None:
        """A book snapshot, aggregated when asked; None for an unknown coin."""
        market = self.market(request)
        figures, mantissa = book_shape(request)
        if market is None:
            return None
        return self.book(market, figures, mantissa, BOOK_LEVELS)

    def book(self, market: Market, figures: int | None, mantissa: int | None, depth: int) -> dict[str, Any]:
        """The `l2Book` object."""
        reply: dict[str, Any] = {"coin": market.instrument.name, "time": self.state.clock.now_ms()}
        if figures is None:
            reply["levels"] = market.levels(depth)
            return reply
        reply["levels"] = [
            [market.level(level) for level in _aggregated(market, is_buy, figures, mantissa or 1, depth)]
            for is_buy in (True, False)
        ]
        bid, ask = market.book.best_bid(), market.book.best_ask()
        if bid is not None and ask is not None:
            reply["spread"] = market.price_text(ask - bid)
        return reply

    def _recent_trades(self, request: Request) -> Any:
        market = self.market(request)
        return None if market is None else [trade.row() for trade in list(market.trades)[-10:][::-1]]

    def _candles(self, request: Request) -> Any:
        inner = request.get("req")
        if not isinstance(inner, dict) or inner.get("interval") not in INTERVALS_MS:
            raise WireError("req needs a coin, a known interval and a start time")
        market = self.market(inner)
        if market is None:
            return None
        interval = inner["interval"]
        return [
            candle_row(candle, market.instrument.name, interval, market.price_text, market.size_text)
            for candle in market.candles.of(interval, *time_range(inner))
        ]

    def _funding_history(self, request: Request) -> Any:
        market = self.market(request)
        start, end = time_range(request)
        if market is None:
            return None
        return [row for row in market.fundings if start <= row["time"] <= end][:FUNDING_PAGE]

    def _predicted_fundings(self, request: Request) -> Any:
        """This venue's next rate, and null for another exchange that lists nothing of the kind."""
        due = (self.state.clock.now_ms() // HOUR_MS + 1) * HOUR_MS
        found = []
        for market in self.state.markets.of_dex(""):
            rate = decimal_text(market.funding_rate, 10)
            own = {"fundingRate": rate, "nextFundingTime": due, "fundingIntervalHours": 1}
            found.append([market.instrument.name, [["BinPerp", None], ["HlPerp", own]]])
        return found

    def _margin_table(self, request: Request) -> Any:
        wanted = request.get("id")
        if not is_natural(wanted):
            raise WireError("missing id")
        universe = self.state.catalogue.universe(dex_of(request))
        if universe is None:
            return None
        tables = dict(universe.margin_tables)
        flat = {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": wanted}]}
        return tables.get(wanted, flat if 0 < int(wanted or 0) < 50 else None)


def _aggregated(market: Market, is_buy: bool, figures: int, mantissa: int, depth: int) -> list[tuple[int, int, int]]:
    """Levels merged onto a coarser grid: bids down, asks up, so that the book never looks crossed."""
    merged: dict[int, list[int]] = {}
    for price, lots, count in market.book.depth(is_buy, 10_000):
        step = max(10 ** max(len(str(price)) - figures, 0) * mantissa, 1)
        bucket = price // step * step if is_buy else -(-price // step) * step
        if bucket not in merged:
            if len(merged) == depth:
                break
            merged[bucket] = [0, 0]
        merged[bucket][0] += lots
        merged[bucket][1] += count
    return [(price, lots, count) for price, (lots, count) in merged.items()]
