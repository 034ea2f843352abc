"""Positions and money of a subaccount, or of a parent with its children: each told as one for the market.

rows of a subaccount   ->  (market, subaccount) -> lots, entry price, profit
                                                -> one position for a market, whoever of them holds it
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from latentspeed.connectors.dydx_v4.decoding import finite
from latentspeed.connectors.dydx_v4.identifiers import PARENT_SUBACCOUNTS
from latentspeed.connectors.dydx_v4.margins import Exposure, Margins, liquidation_price
from latentspeed.connectors.dydx_v4.messages import PositionRow, SubaccountRow
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.position import Position
from latentspeed.connectors.types import MarginMode


class Held(NamedTuple):
    """What one subaccount holds in one market; the price is NaN, and the profit 0, where they are not told."""

    lots: int
    entry_price: float
    unrealized_pnl: float


class Holdings:
    """What is held where."""

    def __init__(self, market: MarketState, margins: Margins, on_problem: Callable[[str, str], None]) -> None:
        """Holds nothing yet; `on_problem` takes a code and a text for what could not be understood."""
        self._market = market
        self._margins = margins
        self._on_problem = on_problem
        self._held: dict[str, dict[int, Held]] = {}
        self._equities: dict[int, float] = {}

    @property
    def places(self) -> list[tuple[str, int]]:
        """The markets that something is held in, and the subaccounts that hold it."""
        return [(pair, number) for pair, held in self._held.items() for number, one in held.items() if one.lots]

    def take_position(self, row: PositionRow, number: int) -> bool:
        """Takes one position of a subaccount; False when it could not be understood, or is of an unknown market."""
        rule = self._market.rules.get(row.market)
        if rule is None:
            return False
        number = number if row.subaccount_number is None else row.subaccount_number
        try:
            # The sign is in the size and in the side; a size that has none takes the side's, and none takes it twice.
            lots = rule.lots_from_text(row.size) if row.status == "OPEN" else 0
            lots = -abs(lots) if row.side == "SHORT" else lots
            entry_price = finite(row.entry_price) if lots and row.entry_price else math.nan
            pnl = finite(row.unrealized_pnl) if lots and row.unrealized_pnl else 0.0
        except ValueError as error:
            self._on_problem("malformed_message", f"position in {row.market}: {error}")
            return False
        self._held.setdefault(row.market, {})[number] = Held(lots, entry_price, pnl)
        return True

    def take_subaccounts(self, rows: Iterable[SubaccountRow]) -> None:
        """Takes everything that subaccounts hold: what is not among it is held no more. Raises ValueError for money
        that is no number; nothing is taken then."""
        rows = list(rows)
        equities = {row.subaccount_number: finite(row.equity) for row in rows}
        self._equities = equities
        before, self._held = self._held, {}
        for row in rows:
            for one in row.open_perpetual_positions.values():
                number = row.subaccount_number if one.subaccount_number is None else one.subaccount_number
                if not self.take_position(one, row.subaccount_number) and number in before.get(one.market, ()):
                    # What cannot be understood is as it was.
                    self._held.setdefault(one.market, {})[number] = before[one.market][number]

    def positions(self, mono_ns: int) -> list[Position]:
        """All positions that are open."""
        return [position for pair in self._held if (position := self.position(pair, mono_ns)).amount]

    def position(self, trading_pair: str, mono_ns: int) -> Position:
        """The position in a market, of all subaccounts together."""
        rule = self._market.rules[trading_pair]
        held = {number: one for number, one in self._held.get(trading_pair, {}).items() if one.lots}
        lots = sum(one.lots for one in held.values())
        position = Position(trading_pair, rule.amount_from_lots(lots))
        position.venue_utc_ns, position.received_mono_ns = time.time_ns(), mono_ns
        if rule.only_isolated or (held and min(held) >= PARENT_SUBACCOUNTS):
            position.margin_mode = MarginMode.ISOLATED
        if not lots:
            return position
        if len(held) == 1:
            (position.entry_price,) = (one.entry_price for one in held.values())
        else:
            # The price at which the sum has the profit that its parts have, also where they are opposite.
            position.entry_price = sum(one.lots * one.entry_price for one in held.values()) / lots
        position.unrealized_pnl = sum(one.unrealized_pnl for one in held.values())
        amounts = {number: rule.amount_from_lots(one.lots) for number, one in held.items()}
        margins = (self._margins.initial(number, trading_pair, amount) for number, amount in amounts.items())
        margin = sum(margins)
        position.margin_used = margin if math.isfinite(margin) else 0.0
        position.leverage = min(self._margins.leverage(number, trading_pair) for number in held)
        if len(held) == 1:
            (number,) = held
            position.liquidation_price = liquidation_price(
                self._equities.get(number, math.nan), self._exposures(number), trading_pair, self._margins
            )
        return position

    def extra_margin(self, number: int) -> float:
        """What a subaccount's positions bind beyond the markets' own margins, which are all that the indexer counts."""
        extra = 0.0
        for pair, amount in self._exposures(number):
            more = self._margins.initial(number, pair, amount) - self._margins.base(pair, amount)
            extra += more if more > 0.0 else 0.0
        return extra

    def _exposures(self, number: int) -> list[Exposure]:
        return [
            Exposure(pair, self._market.rules[pair].amount_from_lots(held[number].lots))
            for pair, held in self._held.items()
            if number in held and held[number].lots
        ]
