"""From rows that tell of the venue's side to what the inspector shows: channels, budgets, candles, funding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from latentspeed.connectors import ChannelState, enum_name
from latentspeed.connectors.trading_rule import FEE_SCALE
from latentspeed.tools.inspector.rows import AgeOf, Rows, text
from latentspeed.tools.inspector.snapshot import CandleStatus, ChannelStatus, FundingStatus, LimitStatus


def channel_status(row: Any, age_of: AgeOf) -> ChannelStatus:
    """One row of the channel table."""
    return ChannelStatus(
        name=text(row["name"]),
        trading_pair=text(row["trading_pair"]),
        state=enum_name(ChannelState, int(row["state"])),
        is_regular=bool(row["is_regular"]),
        messages=int(row["messages"]),
        age_s=age_of(row["heard_mono_ns"]),
        checked_age_s=age_of(row["checked_mono_ns"]),
    )


def limit_status(row: Any) -> LimitStatus:
    """One row of the limit table."""
    return LimitStatus(
        name=text(row["name"]),
        used=float(row["used"]),
        capacity=float(row["capacity"]),
        reserve=float(row["reserve"]),
        refused=int(row["refused"]),
        blocked_s=float(row["blocked_s"]),
    )


def candle_statuses(candles: Rows, age_of: AgeOf) -> Iterator[CandleStatus]:
    """The newest candle of each pair and interval, out of the last closed and the running one."""
    newest: dict[tuple[bytes, bytes], Any] = {}
    for row in candles:
        key = row["trading_pair"], row["interval"]
        known = newest.get(key)
        if known is None or (row["start_utc_ns"], row["is_closed"]) > (known["start_utc_ns"], known["is_closed"]):
            newest[key] = row
    for row in newest.values():
        yield CandleStatus(
            trading_pair=text(row["trading_pair"]),
            interval=text(row["interval"]),
            start_utc_ns=int(row["start_utc_ns"]),
            open=float(row["open"]),
            high=float(row["high"]),
            low=float(row["low"]),
            close=float(row["close"]),
            volume=float(row["volume"]),
            trade_count=int(row["trade_count"]),
            is_closed=bool(row["is_closed"]),
            age_s=age_of(row["received_mono_ns"]),
        )


def funding_status(row: Any) -> FundingStatus:
    """One row of the funding table."""
    return FundingStatus(
        trading_pair=text(row["trading_pair"]),
        asset=text(row["asset"]),
        count=int(row["count"]),
        total=int(row["total_units"]) / FEE_SCALE,
        amount=float(row["amount"]),
        rate=float(row["rate"]),
        venue_utc_ns=int(row["venue_utc_ns"]),
    )
