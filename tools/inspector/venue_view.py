"""How the venue's side looks in a terminal: channels that are heard, use of the budgets, candles and funding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from latentspeed.tools.inspector.drawing import add_row, age, new_table, number
from latentspeed.tools.inspector.snapshot import CandleStatus, ChannelStatus, FundingStatus, LimitStatus

STATE_STYLES = {"LIVE": "green", "WAITING": "", "REQUESTED": "yellow"}
QUIET_STATES = ("LIVE", "WAITING")
ALL_UP_TO = 24
"""More channels than this are listed only when they are not well."""
NEARLY_USED = 0.9


def channels_table(channels: Sequence[ChannelStatus]) -> Table:
    """The subscriptions, with how long each has been silent."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(c.state for c in channels).items()))
    table = new_table(f"channels: {counts}", "channel", "pair", "state", "age", "checked", "messages")
    shown = [c for c in channels if len(channels) <= ALL_UP_TO or c.state not in QUIET_STATES]
    for channel in shown:
        checked = "" if channel.checked_age_s is None else age(channel.checked_age_s)
        add_row(
            table,
            channel.name,
            channel.trading_pair,
            Text(channel.state, style=STATE_STYLES.get(channel.state, "bold red")),
            age(channel.age_s),
            checked,
            f"{channel.messages:,}",
        )
    return table


def limits_table(limits: Sequence[LimitStatus]) -> Table:
    """What is used of the venue's budgets."""
    table = new_table("budgets", "what", "used", "of", "kept for cancels", "refused", "held up")
    for limit in limits:
        is_near = limit.used >= NEARLY_USED * limit.capacity or limit.blocked_s > 0
        add_row(
            table,
            limit.name,
            Text(f"{limit.used:,.0f}", style="red" if is_near else ""),
            f"{limit.capacity:,.0f}",
            number(limit.reserve),
            f"{limit.refused:,}" if limit.refused else "",
            age(limit.blocked_s) if limit.blocked_s else "",
        )
    return table


def candles_table(candles: Sequence[CandleStatus]) -> Table:
    """The newest candle of each pair and interval."""
    table = new_table("candles", "pair", "interval", "open", "high", "low", "close", "volume", "trades", "state", "age")
    for candle in candles:
        prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        state = "closed" if candle.is_closed else "running"
        add_row(
            table,
            candle.trading_pair,
            candle.interval,
            *(number(value) for value in prices),
            str(candle.trade_count),
            state,
            age(candle.age_s),
        )
    return table


def fundings_table(fundings: Sequence[FundingStatus]) -> Table:
    """What was paid and received."""
    table = new_table("funding", "pair", "payments", "total", "latest", "rate", "asset")
    for funding in fundings:
        add_row(
            table,
            funding.trading_pair,
            str(funding.count),
            number(funding.total),
            number(funding.amount),
            f"{funding.rate:.6%}",
            funding.asset,
        )
    return table
