"""TWAP orders: a size traded in slices, one every thirty seconds, that catch up on what earlier ones could not fill.

    minutes 5 = 10 slices        target after slice k   lots * k / slices
                                 slice                  target - executed, at most three ordinary slices
                                 limit                  3 % beyond the mark, immediate or cancel

A slice is an order of its own. Its fills carry the id of the TWAP and no transaction hash.
"""

from __future__ import annotations

from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.actions import TwapCancel, TwapOrder
from latentspeed.tools.venues.hyperliquid.margin import affords
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.placing import Placing
from latentspeed.tools.venues.hyperliquid.refusals import OrderRefused
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import decimal_text, units_from_text

SLICE_MS = 30_000
SLICES_PER_MINUTE = 2
SHORTEST_MINUTES, LONGEST_MINUTES = 5, 1440
DOLLARS_PER_MINUTE = 10
LARGEST_SLICE = 3
SLIPPAGE_PERCENT = 3
JITTER_MS = 6_000
FIRST_TWAP_ID = 77_000_000
NEVER_PLACED = "TWAP was never placed, already canceled, or filled."


def notional_decimals(market: Market) -> int:
    """A price unit times a lot is 10^- so many of the quote token."""
    decimals: int = market.instrument.price_decimals + market.instrument.sz_decimals
    return decimals


class Twap:
    """One TWAP order; sizes are lots, the notional is price units times lots."""

    __slots__ = (
        "account",
        "due_ms",
        "executed",
        "executed_notional",
        "is_buy",
        "lots",
        "market",
        "minutes",
        "randomize",
        "reduce_only",
        "sent",
        "start_ms",
        "twap_id",
    )

    def __init__(self, twap_id: int, account: Account, market: Market, lots: int, terms: Any, start_ms: int) -> None:
        self.twap_id = twap_id
        self.account = account
        self.market = market
        self.is_buy: bool = terms.b
        self.lots = lots
        self.reduce_only: bool = terms.r
        self.minutes: int = terms.m
        self.randomize: bool = terms.t
        self.start_ms = self.due_ms = start_ms
        self.sent = self.executed = self.executed_notional = 0

    @property
    def slices(self) -> int:
        """How many slices it is planned in."""
        return self.minutes * SLICES_PER_MINUTE

    def next_lots(self) -> int:
        """Size of the slice that is due."""
        behind = self.lots * min(self.sent + 1, self.slices) // self.slices - self.executed
        return max(0, min(behind, -(-LARGEST_SLICE * self.lots // self.slices)))

    def state(self) -> dict[str, Any]:
        """The state object of `twapStates` and, frozen, of the history."""
        return {
            "coin": self.market.instrument.name,
            "user": self.account.address,
            "side": "B" if self.is_buy else "A",
            "sz": self.market.size_text(self.lots),
            "executedSz": self.market.size_text(self.executed),
            "executedNtl": decimal_text(self.executed_notional, notional_decimals(self.market)),
            "minutes": self.minutes,
            "reduceOnly": self.reduce_only,
            "randomize": self.randomize,
            "timestamp": self.start_ms,
        }


class Twaps:
    """Starts, slices and ends TWAP orders."""

    def __init__(self, state: VenueState, placing: Placing) -> None:
        self.state = state
        self.placing = placing
        self._last_id = FIRST_TWAP_ID

    def start(self, account: Account, action: TwapOrder) -> dict[str, Any]:
        """Run a `twapOrder`; the first slice goes with the venue's next step."""
        try:
            twap = self._read(account, action)
        except OrderRefused as refusal:
            return _reply("twapOrder", {"error": str(refusal)})
        account.twaps[twap.twap_id] = twap
        self._record(twap, "activated")
        return _reply("twapOrder", {"running": {"twapId": twap.twap_id}})

    def cancel(self, account: Account, action: TwapCancel) -> dict[str, Any]:
        """Run a `twapCancel`."""
        twap = account.twaps.get(action.t)
        if twap is None or twap.market.instrument.asset != action.a:
            return _reply("twapCancel", {"error": NEVER_PLACED})
        self._end(twap, "terminated")
        return _reply("twapCancel", "success")

    def end_all(self, account: Account, market: Market) -> None:
        """End every TWAP of an account in a market."""
        for twap in list(account.twaps.values()):
            if twap.market is market:
                self._end(twap, "terminated")

    def run_due(self, now_ms: int) -> None:
        """Send every slice whose time has come; a clock that jumped sends all that it jumped over."""
        for account in list(self.state.accounts.values()):
            for twap in list(account.twaps.values()):
                while twap.due_ms <= now_ms and twap.twap_id in account.twaps:
                    self._step(twap)

    def _read(self, account: Account, action: TwapOrder) -> Twap:
        """Every rule of a new TWAP.

        Raises:
            OrderRefused: with the text of the first rule that it breaks.
        """
        terms = action.twap
        market = self.placing.market(terms.a)
        lots = units_from_text(terms.s, market.instrument.sz_decimals)
        if market.instrument.is_delisted:
            raise OrderRefused("Trading is halted.")
        if not lots or lots < 0:
            raise OrderRefused("Order has invalid size.")
        if not SHORTEST_MINUTES <= terms.m <= LONGEST_MINUTES:
            raise OrderRefused(f"Invalid TWAP duration: {terms.m} min(s)")
        if action.has_conditions:
            raise OrderRefused("TWAP conditions are not traded on this venue.")
        if terms.r:
            held = 0 if market.instrument.is_spot else self.state.holding(account, market).lots
            if not held or (held > 0) == terms.b:
                raise OrderRefused("Reduce-only TWAP order would increase position.")
        least = DOLLARS_PER_MINUTE * terms.m
        if lots * market.mark < least * int(10 ** notional_decimals(market)):
            text = f"TWAP order value too small. Min is ${least}, which is ${DOLLARS_PER_MINUTE} per minute."
            raise OrderRefused(text)
        self._last_id += 1
        return Twap(self._last_id, account, market, lots, terms, self.state.block.time_ms)

    def _step(self, twap: Twap) -> None:
        if self.state.by_coin[twap.market.instrument.name] is not twap.market or twap.market.instrument.is_delisted:
            self._end(twap, "error", "Trading is halted.")
            return
        if twap.sent == twap.slices:
            self._end(twap, "finished")
            return
        lots = twap.next_lots()
        twap.sent += 1
        twap.due_ms = twap.start_ms + twap.sent * SLICE_MS
        if twap.randomize and twap.sent < twap.slices:
            twap.due_ms += self.state.random.randrange(-JITTER_MS, JITTER_MS)
        if lots:
            self._slice(twap, lots)
        if twap.executed == twap.lots:
            self._end(twap, "finished")

    def _slice(self, twap: Twap, lots: int) -> None:
        """Send one slice; what the account may not do ends the TWAP, an empty book does not."""
        state, account, market = self.state, twap.account, twap.market
        if twap.reduce_only:
            holding = state.holding(account, market)
            lots = min(lots, max(0, -holding.lots if twap.is_buy else holding.lots))
            if not lots:
                self._end(twap, "error", "Reduce only order would increase position.")
                return
        percent = 100 + SLIPPAGE_PERCENT if twap.is_buy else 100 - SLIPPAGE_PERCENT
        price = market.instrument.round_price(market.mark * percent // 100, up=not twap.is_buy)
        order = Order(
            state.next_oid(), account, market, twap.is_buy, price, lots, tif="Ioc", reduce_only=twap.reduce_only,
            timestamp=state.block.time_ms,
        )  # fmt: skip
        order.twap_id = twap.twap_id
        state.block.next_action()
        account.remember(order)
        unpaid = self._unaffordable(order)
        if unpaid is not None:
            state.finish(order, unpaid.status)
            self._end(twap, "error", str(unpaid))
            return
        try:
            self.placing.execute(order)
        except OrderRefused as refusal:
            state.finish(order, refusal.status)
        twap.executed += order.orig_lots - order.lots
        twap.executed_notional += order.filled_notional

    def _unaffordable(self, order: Order) -> OrderRefused | None:
        """Why an account cannot pay for a slice."""
        state, market = self.state, order.market
        if market.instrument.is_spot:
            is_fine = state.spot.affords(order)
            return None if is_fine else OrderRefused("Insufficient spot balance", "insufficientSpotBalanceRejected")
        signed = order.lots if order.is_buy else -order.lots
        holding = state.holding(order.account, market)
        if affords(order.account, state.markets, market, holding, signed, market.mark):
            return None
        return OrderRefused("Insufficient margin to place order.", "perpMarginRejected")

    def _end(self, twap: Twap, status: str, description: str | None = None) -> None:
        twap.account.twaps.pop(twap.twap_id, None)
        self._record(twap, status, description)

    def _record(self, twap: Twap, status: str, description: str | None = None) -> None:
        """Keep and tell a change of status; its time is in seconds, unlike every other time of this venue."""
        block = self.state.block
        body = {"status": status} if description is None else {"status": status, "description": description}
        row = {"time": block.time_ms // 1000, "state": twap.state(), "status": body, "twapId": twap.twap_id}
        twap.account.twap_history.append(row)
        block.twap_history.setdefault(twap.account, []).append(row)
        block.touched.add(twap.account)


def _reply(kind: str, status: Any) -> dict[str, Any]:
    return {"status": "ok", "response": {"type": kind, "data": {"status": status}}}
