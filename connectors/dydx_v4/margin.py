"""Leverage and margin: what is asked for is told only when a block has taken it.

The owner may set an initial margin of a subaccount's own for a market, above the market's. That is its leverage; the
chain keeps it, for flat markets too. What backs an isolated position is the money of the child that holds it.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.identifiers import PARENT_SUBACCOUNTS
from latentspeed.connectors.dydx_v4.margins import PPM
from latentspeed.connectors.dydx_v4.session import DydxV4Session
from latentspeed.connectors.dydx_v4.transactions import Fee
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.order_params import check_margin_change
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import TransportError
from latentspeed.connectors.types import MarginMode

USDC_DENOM: Final = "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5"
TRANSFER_GAS: Final = 400_000
GAS_PRICE: Final = 0.025
"""Millionths of a dollar for a unit of gas: the least that the chain takes."""
TRANSFER_FEE: Final = Fee(((USDC_DENOM, str(ceil(TRANSFER_GAS * GAS_PRICE))),), TRANSFER_GAS)


class MarginSession(DydxV4Session):
    """A session whose markets are traded on margin.

    Every method raises OrderRefused for what the market cannot have; its result raises NotReady before connecting,
    VenueRejected with the chain's text, and VenueUnreachable where nobody knows what the chain did.
    """

    def set_leverage(self, trading_pair: str, leverage: int, margin_mode: MarginMode | None = None) -> Pending[int]:
        """Sets the leverage of a market's subaccount; done when a block has taken it.

        The chain refuses one that the margin of what is held does not allow. `margin_mode` may only say what is: a
        market is isolated or not.
        """
        self._check_leverage(trading_pair, leverage)
        rule = self._rule(trading_pair)
        self._subaccounts.check(rule)
        mode = self.get_margin_mode(trading_pair)
        if margin_mode is not None and mode is not None and margin_mode is not mode:
            raise OrderRefused("margin_mode", margin_mode.name, f"{trading_pair} is {mode.name} here")
        return self._run(self._set_leverage(rule, leverage))

    def get_margin_mode(self, trading_pair: str) -> MarginMode | None:
        """ISOLATED where the market's positions are held by a subaccount that holds nothing else; None for an unknown
        market."""
        rule = self._market.rules.get(trading_pair)
        if rule is None:
            return None
        is_isolated = rule.only_isolated or self._subaccounts.of_rule(rule) >= PARENT_SUBACCOUNTS
        return MarginMode.ISOLATED if is_isolated else MarginMode.CROSS

    def adjust_margin(self, trading_pair: str, amount: float) -> Pending[None]:
        """Moves so many dollars from the parent to the child that trades an isolated market, or back below zero; done
        when a block has moved them. It costs gas, which the wallet pays in USDC."""
        rule = self._rule(trading_pair)
        check_margin_change(amount)
        self._subaccounts.check(rule)
        child, quantums = self._subaccounts.of_rule(rule), round(abs(amount) * PPM)
        if child == self._subaccounts.number:
            raise OrderRefused(
                "trading_pair", trading_pair, "only what a child of a parent_subaccount trades has its own"
            )
        if not quantums:
            raise OrderRefused("amount", amount, "at least a millionth of a dollar")
        way = (self._subaccounts.number, child) if amount > 0 else (child, self._subaccounts.number)
        return self._run(self._transfer(*way, quantums))

    async def _set_leverage(self, rule: TradingRule, leverage: int) -> int:
        self._check_open()
        number, ppm = self._subaccounts.of_rule(rule), PPM // leverage

        async def is_done(_: str) -> bool:
            return (await self._nodes.leverages(self.account_address, number)).get(rule.asset_id) == ppm

        await self._requests.run([wire.update_leverage(self.account_address, number, {rule.asset_id: ppm})], is_done)
        await self._read_leverages(number)
        self.update_leverage(rule.trading_pair, leverage)
        self._upkeep.refresh_soon()
        return leverage

    async def _transfer(self, sender: int, recipient: int, quantums: int) -> None:
        self._check_open()
        owner = self.account_address

        async def is_done(transaction: str) -> bool:
            return await self._rest.has_transfer(owner, recipient, transaction)

        message = wire.create_transfer(owner, sender, owner, recipient, quantums)
        await self._requests.run([message], is_done, fee=TRANSFER_FEE)
        try:
            await self._resynchroniser.refresh_account()
        except TransportError as error:
            # It is done; what the money looks like after it comes with the next comparison.
            self._events.error("account_failed", str(error))
