"""The account's positions and balances: the venue's state is the truth, fills and mark prices move it meanwhile.

A state is read from REST, at every resynchronisation and shortly after fills. Each fill says what the position was
before it, so the position after it is known exactly at once; a state from before that fill does not undo it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from latentspeed.connectors.hyperliquid.fills import signed_lots
from latentspeed.connectors.hyperliquid.messages import (
    ClearinghouseState,
    FillRow,
    PositionRow,
    SpotClearinghouseState,
)
from latentspeed.connectors.hyperliquid.metadata import OWN_DEX, dex_of, margin_asset
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.streams import Handler
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.position import Position
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import MarginMode

_MS = 1_000_000


class Account:
    """Turns the venue's account messages into positions and balances."""

    def __init__(
        self,
        rest: RestClient,
        market: MarketState,
        *,
        positions: Mapping[str, Position],
        update_position: Callable[[Position], None],
        on_problem: Callable[[str, str], None],
        collaterals: Mapping[str, str] = OWN_DEX,
    ) -> None:
        """Knows nothing yet.

        Args:
            rest: Asks the venue.
            market: Rules and balances.
            positions: The positions in use, by trading pair.
            update_position: Takes a position.
            on_problem: Called with a code and a text for what could not be understood.
            collaterals: The collateral token of each dex that is traded, by its name; "" is the venue's own.
        """
        self.is_unified = False
        """Whether the spendable balance is that of the spot account."""
        self._rest = rest
        self._market = market
        self._positions = positions
        self._update_position = update_position
        self._collaterals = collaterals
        self._on_problem = on_problem
        self._fill_ms: dict[str, int] = {}
        self.state_ms = 0
        """The venue's time of the latest state, of several dexs the earliest: fills up to then are in the positions."""
        self._state_ms_of: dict[str, int] = {}

    @property
    def handlers(self) -> dict[str, Handler]:
        """No stream is needed: fills and mark prices move the positions."""
        return {}

    async def refresh(self) -> None:
        """Reads positions and balances, those of each dex for itself.

        Raises:
            TransportError: The venue did not answer.
        """
        for dex in tuple(self._collaterals):
            self.apply_state(await self._rest.clearinghouse_state(dex), dex)
        if self.is_unified:
            self.apply_spot_state(await self._rest.spot_clearinghouse_state())

    def apply_state(self, state: ClearinghouseState, dex: str = "") -> None:
        """Takes margin and positions of a dex; a market of it that is absent is flat."""
        mono_ns = time.monotonic_ns()
        self._state_ms_of[dex] = max(self._state_ms_of.get(dex, 0), state.time)
        self.state_ms = min(self._state_ms_of.get(name, 0) for name in self._collaterals)
        present = set()
        for entry in state.assetPositions:
            row = entry.position
            rule = self._market.rules_by_symbol.get(row.coin)
            if rule is None:
                continue
            present.add(rule.trading_pair)
            if self._is_overtaken(rule.trading_pair, state.time):
                continue
            try:
                self._update_position(_position(row, rule, state.time * _MS, mono_ns))
            except ValueError as error:
                self._on_problem("malformed_message", f"position of {row.coin}: {error}")
        for pair, position in list(self._positions.items()):
            if self._dex_of_pair(pair) != dex:
                continue
            if position.amount and pair not in present and not self._is_overtaken(pair, state.time):
                self._update_position(
                    Position(
                        pair,
                        leverage=position.leverage,
                        margin_mode=position.margin_mode,
                        venue_utc_ns=state.time * _MS,
                        received_mono_ns=mono_ns,
                    )
                )
        if not self.is_unified:
            self._apply_margin(state, dex, mono_ns)

    def _dex_of_pair(self, trading_pair: str) -> str:
        rule = self._market.rules.get(trading_pair)
        return dex_of(trading_pair if rule is None else rule.symbol)

    def _apply_margin(self, state: ClearinghouseState, dex: str, mono_ns: int) -> None:
        """Free margin is what the cross account is worth less what its positions use."""
        try:
            total = float(state.marginSummary.accountValue)
            cross = state.crossMarginSummary
            available = max(0.0, float(cross.accountValue) - float(cross.totalMarginUsed))
        except ValueError as error:
            self._on_problem("malformed_message", f"margin summary: {error}")
            return
        asset = margin_asset(dex, self._collaterals[dex])
        self._market.update_balance(asset, total, available, venue_utc_ns=state.time * _MS, received_mono_ns=mono_ns)

    def apply_spot_state(self, state: SpotClearinghouseState) -> None:
        """Takes the token balances of a unified account."""
        mono_ns = time.monotonic_ns()
        for balance in state.balances:
            try:
                total = float(balance.total)
                available = max(0.0, total - float(balance.hold))
            except ValueError as error:
                self._on_problem("malformed_message", f"balance of {balance.coin}: {error}")
                continue
            self._market.update_balance(balance.coin, total, available, received_mono_ns=mono_ns)

    def apply_fill(self, row: FillRow, rule: TradingRule) -> None:
        """Moves the position by a new fill."""
        if not row.startPosition or row.time < self._fill_ms.get(rule.trading_pair, 0):
            return
        try:
            before = rule.lots_from_text(row.startPosition)
            change = signed_lots(row, rule)
            price = float(row.px)
        except ValueError as error:
            self._on_problem("malformed_message", f"fill {row.tid} of {row.coin}: {error}")
            return
        self._fill_ms[rule.trading_pair] = row.time
        known = self._positions.get(rule.trading_pair)
        position = Position(rule.trading_pair) if known is None else known.copy()
        position.entry_price = _entry_price(position.entry_price, before, change, price)
        position.amount = rule.amount_from_lots(before + change)
        position.venue_utc_ns = row.time * _MS
        position.received_mono_ns = time.monotonic_ns()
        _value_at(position, self._mark_price(rule.trading_pair))
        self._update_position(position)

    def apply_mark(self, trading_pair: str, mark: float) -> None:
        """Values a position at a new mark price."""
        position = self._positions.get(trading_pair)
        if position is not None and position.amount:
            before = position.unrealized_pnl
            _value_at(position, mark)
            if position.unrealized_pnl != before:
                self._update_position(position)

    def _mark_price(self, trading_pair: str) -> float:
        quote = self._market.quotes.get(trading_pair)
        return math.nan if quote is None else quote.mark

    def _is_overtaken(self, trading_pair: str, state_ms: int) -> bool:
        """Whether a fill of the pair is newer than the state."""
        return state_ms < self._fill_ms.get(trading_pair, 0)


def _position(row: PositionRow, rule: TradingRule, venue_utc_ns: int, mono_ns: int) -> Position:
    return Position(
        rule.trading_pair,
        amount=rule.amount_from_lots(rule.lots_from_text(row.szi)),
        entry_price=math.nan if row.entryPx is None else row.entryPx,
        leverage=row.leverage.value,
        margin_mode=MarginMode.ISOLATED if row.leverage.type == "isolated" else MarginMode.CROSS,
        unrealized_pnl=row.unrealizedPnl,
        liquidation_price=math.nan if row.liquidationPx is None else row.liquidationPx,
        margin_used=row.marginUsed,
        venue_utc_ns=venue_utc_ns,
        received_mono_ns=mono_ns,
    )


def _entry_price(entry: float, before: int, change: int, price: float) -> float:
    """The average entry price after a change: weighted when it grows, kept when it shrinks, new when it flips."""
    after = before + change
    if after == 0:
        return math.nan
    if before == 0 or (before > 0) != (after > 0):
        return price
    if abs(after) < abs(before):
        return entry
    return (entry * abs(before) + price * abs(change)) / abs(after)


def _value_at(position: Position, mark: float) -> None:
    pnl = position.amount * (mark - position.entry_price)
    position.unrealized_pnl = pnl if pnl == pnl else 0.0
