"""What engine and venue say of each order and of the balances, compared when nothing moves any more."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal

from latentspeed.connectors import OrderState, TradingRule, format_client_order_id
from latentspeed.engine.records import Balance
from latentspeed.ipc import SegmentReader
from latentspeed.tools.conformance.agreement import FITTING, UNSENT
from latentspeed.tools.conformance.harness import VenueOrder, VenueState
from latentspeed.tools.proving.recorder import OrderEnd

BALANCE_DEADLINE_S = 60.0
"""A gateway that was cut off just before the end may wait half a minute before it connects again."""


def compare_orders(ends: Mapping[int, OrderEnd], venue: tuple[VenueOrder, ...], rule: TradingRule) -> list[str]:
    """Every order's final state and filled amount, here and there; each difference is one line.

    `ends` has what the engine last published of each order, by the number of its client order id.
    """
    at_venue = {order.client_order_id: order for order in venue if order.client_order_id is not None}
    named = {format_client_order_id(number): end for number, end in ends.items()}
    found = [
        f"order {order.exchange_order_id} ({order.client_order_id}) of the venue is {order.state.value}, "
        "and the engine has never published it"
        for order in venue
        if order.client_order_id not in named
    ]
    doubled = Counter(order.client_order_id for order in venue if order.client_order_id is not None)
    found += [f"{name} is at the venue {count} times" for name, count in doubled.items() if count > 1]
    for name, end in named.items():
        theirs = at_venue.get(name)
        here = Decimal(end.filled_lots) * rule.lot_size
        if theirs is None:
            if end.state not in UNSENT or end.filled_lots:
                found.append(f"{name} is {end.state.name}, {here} filled, and not known to the venue")
            continue
        if here != theirs.filled:
            found.append(f"{name} has {here} filled, at the venue {theirs.filled}")
        if not _fits(end, theirs):
            found.append(f"{name} is {end.state.name} ({end.reason}), at the venue {theirs.state.value}")
    return found


def _fits(end: OrderEnd, theirs: VenueOrder) -> bool:
    if theirs.state is VenueState.FILLED and end.state is OrderState.CANCELLED:
        return end.filled_lots > 0  # the venue had shrunk the order before it filled what was left
    return end.state in FITTING.get(theirs.state, ())


def final_states(ends: Mapping[int, OrderEnd]) -> dict[str, int]:
    """How many orders ended in each state."""
    return dict(sorted(Counter(end.state.name for end in ends.values()).items()))


def compare_balances(segment: SegmentReader, venue: Callable[[], Mapping[str, Decimal]]) -> list[str]:
    """The gateway's balances and the venue's, to the last decimal, once the gateway has read them again."""
    deadline = time.monotonic() + BALANCE_DEADLINE_S
    while True:
        theirs, ours = venue(), read_balances(segment)
        found = [
            f"balance of {asset}: the gateway says {ours.get(asset, Decimal(0))}, the venue {total}"
            for asset, total in sorted(theirs.items())
            if ours.get(asset, Decimal(0)) != total
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def read_balances(segment: SegmentReader) -> dict[str, Decimal]:
    """The totals that the gateway publishes, by asset."""
    table, row = segment.table("balances"), Balance()
    totals = {}
    for number in range(len(table)):
        if table.read(number, row) and row.asset:
            totals[row.asset] = Decimal(repr(row.total))
    return totals
