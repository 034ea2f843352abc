"""What subaccounts have made: a tick for each in each hour of the chain's clock, by blocks.

    equity     = what the subaccount is worth, funding that is due included
    total pnl  = equity - everything that was ever paid in, less what was paid out

`/historical-pnl` shows the net transfers since the tick before, `/pnl` those since the beginning, a row for each hour.
A subaccount's first tick comes with the block that first brings it money.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from latentspeed.tools.venues.dydx_v4.accounts import Ledger
from latentspeed.tools.venues.dydx_v4.markets import QUOTE_DECIMALS, quote_text
from latentspeed.tools.venues.dydx_v4.rows import Row, iso

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
Owner = tuple[str, int]
"""An address and a subaccount's number."""


@dataclass(frozen=True, slots=True)
class PnlTick:
    """A subaccount at a block, in quote quantums; `transfers` since the beginning, `new_transfers` since the last."""

    height: int
    time_ms: int
    equity: int
    transfers: int
    new_transfers: int

    @property
    def total_pnl(self) -> int:
        """What it has made since the beginning."""
        return self.equity - self.transfers


class PnlTicks:
    """The ticks of all subaccounts, oldest first."""

    def __init__(self) -> None:
        self.of: dict[Owner, list[PnlTick]] = {}
        """What the indexer has come to."""
        self._made: dict[Owner, PnlTick] = {}
        self._hour = 0

    def due(self, ledger: Ledger, height: int, time_ms: int) -> dict[Owner, PnlTick]:
        """The ticks that a block makes: for all when an hour has begun, else for those that have none yet."""
        hour, is_new_hour = time_ms // HOUR_MS, time_ms // HOUR_MS != self._hour
        self._hour = hour
        found = {}
        for key, subaccount in ledger.subaccounts.items():
            last = self._made.get(key)
            if subaccount.is_unlimited or not (subaccount.has_transfers if last is None else is_new_hour):
                continue
            before = 0 if last is None else last.transfers
            equity, transfers = subaccount.equity(ledger.markets), subaccount.net_transfers
            found[key] = self._made[key] = PnlTick(height, time_ms, equity, transfers, transfers - before)
        return found

    def keep(self, ticks: Mapping[Owner, PnlTick]) -> None:
        """Keeps ticks that the indexer has come to."""
        for key, tick in ticks.items():
            self.of.setdefault(key, []).append(tick)


def historical_rows(ticks: Iterable[list[PnlTick]]) -> list[Row]:
    """The rows of `/historical-pnl`, newest first: each tick of one subaccount, or an hour of several together."""
    groups = _grouped(ticks, lambda tick: tick.time_ms // HOUR_MS)
    return [
        {
            "equity": _six(sum(tick.equity for tick in group)),
            "totalPnl": _six(sum(tick.total_pnl for tick in group)),
            "netTransfers": _six(sum(tick.new_transfers for tick in group)),
            "createdAt": iso(group[0].time_ms),
            "blockHeight": str(group[0].height),
            "blockTime": iso(group[0].time_ms),
        }
        for group in groups
    ]


def pnl_rows(ticks: Iterable[list[PnlTick]], *, daily: bool = False) -> list[Row]:
    """The rows of `/pnl`, newest first: an hour each, or the first hour of each day."""
    groups = _grouped(ticks, lambda tick: tick.time_ms // HOUR_MS)
    if daily:
        groups = list({group[0].time_ms // DAY_MS: group for group in groups}.values())
    span_ms = DAY_MS if daily else HOUR_MS
    return [
        {
            "equity": quote_text(sum(tick.equity for tick in group)),
            "netTransfers": quote_text(sum(tick.transfers for tick in group)),
            "totalPnl": quote_text(sum(tick.total_pnl for tick in group)),
            "createdAt": iso(group[0].time_ms // span_ms * span_ms),
            "createdAtHeight": str(max(tick.height for tick in group)),
        }
        for group in groups
    ]


def chosen(ticks: Iterable[PnlTick], query: Mapping[str, Any]) -> list[PnlTick]:
    """The ticks within the bounds of a query. Raises ValueError for a height that is no number."""
    found = list(ticks)
    if (height := query.get("createdBeforeOrAtHeight")) is not None:
        found = [tick for tick in found if tick.height <= int(height)]
    if (height := query.get("createdOnOrAfterHeight")) is not None:
        found = [tick for tick in found if tick.height >= int(height)]
    if (until := query.get("createdBeforeOrAt")) is not None:
        found = [tick for tick in found if iso(tick.time_ms) <= until]
    if (since := query.get("createdOnOrAfter")) is not None:
        found = [tick for tick in found if iso(tick.time_ms) >= since]
    return found


def _grouped(ticks: Iterable[list[PnlTick]], key: Callable[[PnlTick], int]) -> list[list[PnlTick]]:
    """The ticks of several subaccounts by hour, newest first; of each subaccount the newest of an hour."""
    groups: dict[int, list[PnlTick]] = {}
    for several in ticks:
        for hour, tick in {key(tick): tick for tick in several}.items():
            groups.setdefault(hour, []).append(tick)
    return [sorted(groups[hour], key=lambda tick: -tick.height) for hour in sorted(groups, reverse=True)]


def _six(quote_quantums: int) -> str:
    """Millionths of a dollar with all their digits."""
    return f"{Decimal(quote_quantums).scaleb(-QUOTE_DECIMALS):.6f}"
