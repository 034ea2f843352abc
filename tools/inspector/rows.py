"""From validated rows of the segment's tables to what the inspector shows. Arrays in, plain values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from latentspeed.connectors import ConnectorState, enum_name, format_client_order_id
from latentspeed.connectors.client_order_id import split as split_client_order_id
from latentspeed.connectors.types import MarginMode, OrderState, OrderType, PositionAction, TimeInForce, TradeType
from latentspeed.engine.ledger import LedgerGroup
from latentspeed.tools.inspector.snapshot import (
    BalanceStatus,
    BookStatus,
    ConnectorStatus,
    OrderStatus,
    PositionStatus,
    QuoteStatus,
)
from latentspeed.tools.inspector.venue_latency import VenueClock

Rows = npt.NDArray[Any]
AgeOf = Callable[[int], float | None]
FIRST_FINAL_STATE: Final = OrderState.FILLED


def text(value: bytes) -> str:
    """A fixed-width field as text; bytes that are not UTF-8 show as escapes."""
    return value.decode(errors="backslashreplace")


def printable(words: str) -> str:
    """Text that any encoder takes: bytes that were not UTF-8 come as lone surrogates and become escapes."""
    return words.encode(errors="surrogateescape").decode(errors="backslashreplace")


def connector_status(row: Any, subscriptions: int, age_of: AgeOf) -> ConnectorStatus:
    """The gateway's own row; `subscriptions` as the instruments say."""
    is_measured = bool(row["venue_skew_mono_ns"])
    return ConnectorStatus(
        name=text(row["name"]),
        domain=text(row["domain"]),
        account_address=text(row["account_address"]),
        state=enum_name(ConnectorState, int(row["state"])),
        is_ready=bool(row["is_ready"]),
        instruments=int(row["instrument_count"]),
        subscriptions=subscriptions,
        connections=int(row["connected_count"]),
        last_message_age_s=age_of(row["last_message_mono_ns"]),
        started_utc_ns=int(row["started_utc_ns"]),
        venue_clock_skew_estimate_s=int(row["venue_skew_ns"]) / 1e9 if is_measured else None,
        venue_clock_skew_error_s=int(row["venue_skew_error_ns"]) / 1e9 if is_measured else None,
        venue_clock_skew_age_s=age_of(row["venue_skew_mono_ns"]),
    )


def live_and_latest(orders: Rows, finished: int) -> Rows:
    """The live orders, newest first, then at most `finished` others, those changed last first."""
    used = orders[orders["client_order_id"] != 0]
    is_final = used["state"] >= FIRST_FINAL_STATE
    live, done = used[~is_final], used[is_final]
    newest = live[np.argsort(live["client_order_id"], kind="stable")[::-1]]
    latest = done[np.argsort(done["published_mono_ns"], kind="stable")[::-1][:finished]]
    return np.concatenate((newest, latest))


def count_by_state(orders: Rows) -> dict[str, int]:
    """How many orders of the table are in each state."""
    states = orders["state"][orders["client_order_id"] != 0]
    return {enum_name(OrderState, state): count for state, count in sorted(Counter(states.tolist()).items())}


def count_live_by_slot(orders: Rows) -> Counter[int]:
    """How many live orders each session slot has."""
    is_live = (orders["client_order_id"] != 0) & (orders["state"] < FIRST_FINAL_STATE)
    return Counter(slot_of(identifier) for identifier in orders["client_order_id"][is_live].tolist())


def slot_of(client_order_id: int) -> int:
    """The session slot that made an id, or -1 for a number that is no id."""
    try:
        return split_client_order_id(client_order_id)[1]
    except ValueError:
        return -1


def order_status(row: Any, strategies: Mapping[int, str], age_of: AgeOf) -> OrderStatus:
    """One row of the order table; `strategies` names the generations of the attached sessions."""
    identifier = int(row["client_order_id"])
    slot = slot_of(identifier)
    return OrderStatus(
        client_order_id=format_client_order_id(identifier) if slot >= 0 else str(identifier),
        exchange_order_id=text(row["exchange_order_id"]),
        strategy=strategies.get(int(row["generation"]), ""),
        slot=slot,
        trading_pair=text(row["trading_pair"]),
        side=enum_name(TradeType, int(row["trade_type"])),
        order_type=enum_name(OrderType, int(row["order_type"])),
        time_in_force=enum_name(TimeInForce, int(row["time_in_force"])),
        position_action=enum_name(PositionAction, int(row["position_action"])),
        price=float(row["order_price"]),
        amount=float(row["order_amount"]),
        filled_amount=float(row["filled_amount"]),
        average_price=float(row["average_price"]),
        fill_count=int(row["fill_count"]),
        state=enum_name(OrderState, int(row["state"])),
        is_live=bool(row["state"] < FIRST_FINAL_STATE),
        is_unknown=bool(row["is_unknown"]),
        reason=text(row["reason"]),
        revision=int(row["revision"]),
        age_s=age_of(row["command_written_mono_ns"]),
        updated_age_s=age_of(row["published_mono_ns"]),
        trigger_price=float(row["trigger_price"]),
        replaces=_other_order(row["replaces_order_id"]),
        parent=_other_order(row["parent_order_id"]),
    )


def _other_order(identifier: Any) -> str:
    return format_client_order_id(int(identifier)) if slot_of(int(identifier)) >= 0 and identifier else ""


def position_status(row: Any, age_of: AgeOf) -> PositionStatus:
    """One row of the position table."""
    return PositionStatus(
        trading_pair=text(row["trading_pair"]),
        amount=float(row["amount"]),
        amount_lots=int(row["amount_lots"]),
        opening_lots=int(row["opening_lots"]),
        entry_price=float(row["entry_price"]),
        unrealized_pnl=float(row["unrealized_pnl"]),
        liquidation_price=float(row["liquidation_price"]),
        margin_used=float(row["margin_used"]),
        leverage=int(row["leverage"]),
        margin_mode=enum_name(MarginMode, int(row["margin_mode"])),
        age_s=age_of(row["published_mono_ns"]),
    )


def balance_status(row: Any, age_of: AgeOf) -> BalanceStatus:
    """One row of the balance table."""
    return BalanceStatus(
        asset=text(row["asset"]),
        total=float(row["total"]),
        available=float(row["available"]),
        age_s=age_of(row["published_mono_ns"]),
    )


def quote_status(row: Any, age_of: AgeOf, clock: VenueClock | None) -> QuoteStatus:
    """One row of the quote table; `clock` relates the venue's stamps to ours."""
    latency = clock.latency_of(row) if clock is not None else None
    return QuoteStatus(
        trading_pair=text(row["trading_pair"]),
        bid=float(row["bid"]),
        bid_size=float(row["bid_size"]),
        ask=float(row["ask"]),
        ask_size=float(row["ask_size"]),
        mark=float(row["mark"]),
        last=float(row["last"]),
        funding_rate=float(row["funding_rate"]),
        is_stale=bool(row["is_stale"]),
        age_s=age_of(row["received_mono_ns"]),
        venue_latency_estimate_s=latency[0] if latency is not None else None,
        venue_latency_error_s=latency[1] if latency is not None else None,
    )


def book_statuses(ledger: Rows, slots: int, instruments: int, pairs: list[str]) -> Iterator[BookStatus]:
    """The rows of the ledger that counted anything; `pairs` by instrument number."""
    for index in np.flatnonzero(ledger["fill_count"]).tolist():
        row = ledger[index]
        block, instrument = divmod(index, instruments)
        if block < 3 * slots:
            number, slot = divmod(block, slots)
        else:
            number, slot = 3 + block - 3 * slots, -1
        yield BookStatus(
            group=enum_name(LedgerGroup, number),
            slot=slot,
            trading_pair=pairs[instrument] if instrument < len(pairs) else "",
            fill_count=int(row["fill_count"]),
            bought_lots=int(row["bought_lots"]),
            sold_lots=int(row["sold_lots"]),
            fee_units=int(row["fee_units"]),
        )
