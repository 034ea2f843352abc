"""Leverage, margin mode and margin of perpetual futures: what is asked for is told only when the venue has taken it.

The venue keeps leverage and margin mode of a market together, for flat markets too, and one action sets both. So
where only one is asked for, the other is read first: from the position, or where there is none from `activeAssetData`.
"""

from __future__ import annotations

from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.hyperliquid.session import HyperliquidSession
from latentspeed.connectors.order_params import check_margin_change
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import TransportError
from latentspeed.connectors.types import MarginMode

LEAST_LEVERAGE = 0.01
USD_UNITS = 1_000_000
"""The venue counts margin in millionths of a dollar."""


class MarginSession(HyperliquidSession, PerpetualDerivativeBase):
    """A session whose markets are traded on margin.

    Every method raises OrderRefused for what the market cannot have; its result raises NotReady before connecting,
    VenueRejected with the venue's text, and VenueUnreachable where nobody knows what the venue did.
    """

    def set_leverage(self, trading_pair: str, leverage: int, margin_mode: MarginMode | None = None) -> Pending[int]:
        """Sets a market's leverage, and its margin mode unless that is None; done when the venue has acknowledged it.

        While there is a position its mode cannot be changed, and its leverage only as far as its margin allows.
        """
        self._check_leverage(trading_pair, leverage)
        rule = self._rule(trading_pair)
        _check_mode(rule, margin_mode)
        return self._run(self._set_leverage(rule, leverage, margin_mode))

    def set_margin_mode(self, trading_pair: str, margin_mode: MarginMode) -> Pending[MarginMode]:
        """Sets a market's margin mode and keeps its leverage; the venue refuses it while there is a position."""
        rule = self._rule(trading_pair)
        _check_mode(rule, margin_mode)
        return self._run(self._set_margin_mode(rule, margin_mode))

    def adjust_margin(self, trading_pair: str, amount: float) -> Pending[None]:
        """Adds so many dollars to an isolated position's margin, or takes them out below zero; exact to a millionth.

        Some markets allow no margin to be taken out, and none may fall below what the leverage asks for.
        """
        rule = self._rule(trading_pair)
        check_margin_change(amount)
        units = round(amount * USD_UNITS)
        if not units:
            raise OrderRefused("amount", amount, "at least a millionth of a dollar")
        return self._run(self._change_margin(rule, wire.update_isolated_margin_action(rule.asset_id, units)))

    def top_up_margin(self, trading_pair: str, leverage: float) -> Pending[None]:
        """Adds as much margin to the position of a market that is isolated only as brings it down to this leverage."""
        rule = self._rule(trading_pair)
        if not rule.only_isolated:
            raise OrderRefused("trading_pair", trading_pair, "for markets that allow isolated margin only")
        if not LEAST_LEVERAGE <= leverage <= rule.max_leverage:
            raise OrderRefused("leverage", leverage, f"{LEAST_LEVERAGE} to {rule.max_leverage}")
        text = f"{leverage:.6f}".rstrip("0").rstrip(".")
        return self._run(self._change_margin(rule, wire.top_up_margin_action(rule.asset_id, text)))

    def get_margin_mode(self, trading_pair: str) -> MarginMode | None:
        """The margin mode that the venue was seen to have, None where it is not known."""
        if self._rule(trading_pair).only_isolated:
            return MarginMode.ISOLATED
        return self._margin_modes.get(trading_pair)

    async def _set_leverage(self, rule: TradingRule, leverage: int, margin_mode: MarginMode | None) -> int:
        self._check_open()
        if margin_mode is None:
            margin_mode = self._mode_in_use(rule) or (await self._ask_leverage(rule))[1]
        await self._update_leverage(rule, leverage, margin_mode)
        return leverage

    async def _set_margin_mode(self, rule: TradingRule, margin_mode: MarginMode) -> MarginMode:
        self._check_open()
        position = self._positions.get(rule.trading_pair)
        leverage = position.leverage if position is not None and position.amount else 0
        await self._update_leverage(rule, leverage or (await self._ask_leverage(rule))[0], margin_mode)
        return margin_mode

    async def _update_leverage(self, rule: TradingRule, leverage: int, margin_mode: MarginMode) -> None:
        is_cross = margin_mode is MarginMode.CROSS
        await self._outbox.act(wire.update_leverage_action(rule.asset_id, is_cross, leverage))
        pair = rule.trading_pair
        self._margin_modes[pair] = margin_mode
        self.update_leverage(pair, leverage)
        if (known := self._positions.get(pair)) is not None:
            known.margin_mode = margin_mode
            self._events.market_data("on_position", known)

    def _mode_in_use(self, rule: TradingRule) -> MarginMode | None:
        if rule.only_isolated:
            return MarginMode.ISOLATED
        position = self._positions.get(rule.trading_pair)
        return position.margin_mode if position is not None and position.amount else None

    async def _ask_leverage(self, rule: TradingRule) -> tuple[int, MarginMode]:
        """What the venue has for a market, with or without a position; the page of the venue may have changed it."""
        row = await self._rest.active_leverage(rule.symbol)
        return row.value, MarginMode.ISOLATED if row.type == "isolated" else MarginMode.CROSS

    async def _change_margin(self, rule: TradingRule, action: wire.Action) -> None:
        self._check_open()
        await self._outbox.act(action)
        try:
            await self._account.refresh()
        except TransportError as error:
            # It is done; what the position looks like after it comes with the next comparison.
            self._events.error("account_failed", str(error))


def _check_mode(rule: TradingRule, margin_mode: MarginMode | None) -> None:
    if margin_mode is MarginMode.CROSS and rule.only_isolated:
        raise OrderRefused("margin_mode", "CROSS", f"{rule.trading_pair} allows isolated margin only")
