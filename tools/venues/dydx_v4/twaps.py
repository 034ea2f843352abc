"""TWAP orders on the chain: which slice of which is due, and what is left of each.

    parent   flags 128   kept in state, never in a book; told as OPEN until what its slices have filled is its size
    slice    flags 256   made by the chain at the end of the block in which it is due, in the book after that block,
                         good for three seconds; nobody is told of it, and its fills are told as its parent's

A slice is what is left, divided by the slices that are left, at most three times the first one. It asks for the
parent's price, or for the oracle price and the tolerance. Nothing is told of a parent whose slices are over with a
rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from latentspeed.tools.venues.dydx_v4.markets import PPM, Market
from latentspeed.tools.venues.dydx_v4.orders import Block, Flags, Order, OrderKey, Removal
from latentspeed.tools.venues.dydx_v4.refusals import CLOB, TxRefused

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.chain import Chain

SLICE_LIFE_S: Final = 3
MOST_CATCH_UP: Final = 3
SHORTEST_S, LONGEST_S = 300, 86_400
"""For how long a TWAP may be traded."""
SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 30, 3600


def check_form(parameters: dict[str, Any] | None) -> None:
    """Refuses a TWAP by its parameters alone. Raises TxRefused."""
    if parameters is None:
        raise TxRefused(CLOB, 12, "TWAP order must have a TWAP config")
    duration, interval = parameters["duration"], parameters["interval"]
    if not SHORTEST_INTERVAL_S <= interval <= LONGEST_INTERVAL_S:
        span = f"[{SHORTEST_INTERVAL_S} seconds, {LONGEST_INTERVAL_S} seconds]"
        raise TxRefused(CLOB, 12, f"TWAP order interval must be in the range {span}")
    if not SHORTEST_S <= duration <= LONGEST_S:
        span = f"[{SHORTEST_S} seconds, {LONGEST_S} seconds]"
        raise TxRefused(CLOB, 12, f"TWAP order duration must be in the range {span}")
    if duration % interval:
        raise TxRefused(CLOB, 12, "TWAP order duration must be a multiple of the interval")
    if parameters["price_tolerance"] >= PPM:
        raise TxRefused(CLOB, 12, f"TWAP order price tolerance must be in the range [0, {PPM})")


def check_size(order: dict[str, Any], market: Market) -> None:
    """Refuses a TWAP whose slices are less than a step. Raises TxRefused."""
    parameters = order["twap_parameters"]
    if order["quantums"] // (parameters["duration"] // parameters["interval"]) < market.terms.step_quantums:
        raise TxRefused(CLOB, 12, "TWAP suborder sizes must be greater than the minimum order size for the market")


@dataclass(slots=True)
class Twap:
    """A parent in state, the slices that are left, and when the next one is due, in seconds since the epoch."""

    order: Order
    legs: int
    due_s: int

    @property
    def slice_key(self) -> OrderKey:
        """What names each of its slices: they never live at the same time."""
        return self.order.key._replace(flags=Flags.TWAP_SLICE)


class Twaps:
    """All TWAPs of a chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._running: dict[OrderKey, Twap] = {}

    def begin(self, order: Order, block: Block) -> None:
        """A parent was written to state: its first slice is due at once."""
        parameters = order.fields["twap_parameters"]
        legs = parameters["duration"] // parameters["interval"]
        self._running[order.key] = Twap(order, legs, block.time_ms // 1000)

    def end(self, order: Order) -> Order | None:
        """A parent has left the state; the slice of it that lives, if any."""
        twap = self._running.pop(order.key, None)
        return None if twap is None else self._chain.stateful.get(twap.slice_key)

    def run(self, block: Block) -> list[Order]:
        """At the end of a block: the slices that come into the books after it."""
        now_s, slices = block.time_ms // 1000, []
        for twap in [twap for twap in self._running.values() if twap.due_s <= now_s]:
            if not twap.legs:
                # It is over, with or without a rest, and nobody is told.
                del self._running[twap.order.key]
                self._chain.stateful.pop(twap.order.key, None)
                continue
            found = self._slice(twap, now_s)
            twap.legs -= 1
            twap.due_s = now_s + twap.order.fields["twap_parameters"]["interval"]
            reason = self._why_not(found)
            if reason is None:
                self._chain.stateful[found.key] = found
                slices.append(found)
            else:
                del self._running[twap.order.key]
                self._chain.stateful.pop(twap.order.key, None)
                block.removed.append((twap.order, reason))
        return slices

    def _slice(self, twap: Twap, now_s: int) -> Order:
        parent, market = twap.order, self._chain.markets[twap.order.market.ticker]
        fields = {
            **parent.fields,
            "quantums": _quantums(twap),
            "subticks": parent.price or _protected(market, parent),
            "good_til_block_time": now_s + SLICE_LIFE_S,
            "twap_parameters": None,
        }
        found = Order(self._chain.next_oid(), parent.owner, market, twap.slice_key, fields)
        found.parent = parent
        return found

    def _why_not(self, order: Order) -> Removal | None:
        """Why a slice cannot be placed; None when it can."""
        if not order.quantums:
            return Removal.UNSPECIFIED
        memclob = self._chain.network.proposer.memclob
        if not memclob.can_open(order):
            return memclob.why_not(order)
        return None


def _quantums(twap: Twap) -> int:
    parameters, size = twap.order.fields["twap_parameters"], twap.order.quantums
    first = -(-size // (parameters["duration"] // parameters["interval"]))
    wanted: int = min(-(-(size - twap.order.confirmed) // twap.legs), first * MOST_CATCH_UP)
    step = twap.order.market.terms.step_quantums
    return wanted // step * step


def _protected(market: Market, order: Order) -> int:
    """The oracle price and the tolerance, outward to the tick."""
    tolerance, tick = order.fields["twap_parameters"]["price_tolerance"], market.terms.subticks_per_tick
    exact = market.oracle_subticks * (PPM + (tolerance if order.is_buy else -tolerance))
    ticks = -(-exact // (PPM * tick)) if order.is_buy else exact // (PPM * tick)
    return int(ticks * tick)
