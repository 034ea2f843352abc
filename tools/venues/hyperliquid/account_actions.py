"""Actions on the account itself: leverage, isolated margin, scheduled cancel, agents, builders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from latentspeed.tools.venues.hyperliquid import actions, user_signed
from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.agents import AgentError
from latentspeed.tools.venues.hyperliquid.margin import Worth
from latentspeed.tools.venues.hyperliquid.placing import Placing, volume_text
from latentspeed.tools.venues.hyperliquid.refusals import ActionRefused, OrderRefused
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import USD, WireError, address_text, exact_units

LEAST_SCHEDULE_MS = 5_000
RESERVED_WEIGHT_PRICE = USD * 5 // 10_000
MOST_SCHEDULED_A_DAY = 10
DAY_MS = 24 * 3600 * 1000
HIGHEST_BUILDER_FEE = 1000
ABSTRACTIONS = {"i": "disabled", "u": "unifiedAccount", "p": "portfolioMargin"}
DONE: dict[str, Any] = {"status": "ok", "response": {"type": "default"}}


class AccountActions:
    """Handlers by action type, each taking the account and the action and returning the reply."""

    def __init__(self, state: VenueState, placing: Placing) -> None:
        self.state = state
        self.placing = placing
        self.handlers: dict[type, Callable[[Account, Any], dict[str, Any]]] = {
            actions.Noop: lambda account, action: DONE,
            actions.EvmUserModify: lambda account, action: DONE,
            actions.ScheduleCancel: self._schedule_cancel,
            actions.UpdateLeverage: self._update_leverage,
            actions.UpdateIsolatedMargin: self._update_isolated_margin,
            actions.TopUpIsolatedOnlyMargin: self._top_up_margin,
            actions.SetReferrer: self._set_referrer,
            actions.ReserveRequestWeight: self._reserve_request_weight,
            actions.AgentSetAbstraction: lambda account, action: _abstract(account, ABSTRACTIONS[action.abstraction]),
            actions.AgentEnableDexAbstraction: lambda account, action: _abstract(account, "dexAbstraction"),
            user_signed.UserSetAbstraction: self._set_abstraction,
            user_signed.UserDexAbstraction: self._set_dex_abstraction,
            user_signed.ApproveAgent: self._approve_agent,
            user_signed.ApproveBuilderFee: self._approve_builder_fee,
        }

    def _schedule_cancel(self, account: Account, action: actions.ScheduleCancel) -> dict[str, Any]:
        required = self.state.config.schedule_cancel_volume
        if account.volume < required * USD:
            raise ActionRefused(
                "Cannot set scheduled cancel time until enough volume traded."
                f" Required: ${required}. Traded: ${volume_text(account.volume)}."
            )
        if action.time is UNSET:
            account.scheduled_cancel_ms = None
        elif account.scheduled_cancels.count(self.state.block.time_ms // DAY_MS) >= MOST_SCHEDULED_A_DAY:
            raise ActionRefused(f"Cannot schedule more than {MOST_SCHEDULED_A_DAY} cancels per day.")
        elif action.time < self.state.block.time_ms + LEAST_SCHEDULE_MS:
            raise ActionRefused("Scheduled cancel time must be at least 5 seconds in the future.")
        else:
            account.scheduled_cancel_ms = action.time
        return DONE

    def _update_leverage(self, account: Account, action: actions.UpdateLeverage) -> dict[str, Any]:
        market = self._market(action.asset)
        instrument = market.instrument
        if not 1 <= action.leverage <= instrument.max_leverage:
            raise ActionRefused(f"Invalid leverage value. Max is {instrument.max_leverage}.")
        if action.is_cross and instrument.only_isolated:
            raise ActionRefused("Cross margin is not allowed for this asset.")
        holding = self.state.holding(account, market)
        if holding.lots and holding.is_cross != action.is_cross:
            raise ActionRefused("Cannot switch leverage type with open position.")
        if holding.lots and action.leverage < holding.leverage:
            notional = abs(holding.lots) * market.mark
            clearing = account.clearing(instrument.dex)
            worth = Worth(clearing, self.state.markets)
            if holding.is_cross:
                more = notional // action.leverage - notional // holding.leverage
            else:
                more = max(0, notional // action.leverage - holding.isolated_raw - holding.lots * market.mark)
            if more > worth.available:
                kind = "Cross" if holding.is_cross else "Isolated"
                raise ActionRefused(f"{kind} position does not have sufficient margin available to decrease leverage.")
            if not holding.is_cross:
                clearing.cash -= more
                holding.isolated_raw += more
        holding.leverage, holding.is_cross = action.leverage, action.is_cross
        self.state.block.touched.add(account)
        return DONE

    def _update_isolated_margin(self, account: Account, action: actions.UpdateIsolatedMargin) -> dict[str, Any]:
        market = self._market(action.asset)
        holding = self.state.holding(account, market)
        if holding.is_cross or not holding.lots:
            raise ActionRefused("Position does not use isolated margin.")
        clearing = account.clearing(market.instrument.dex)
        worth = Worth(clearing, self.state.markets)
        if action.ntli < 0:
            if market.instrument.strict_isolated:
                raise ActionRefused("Margin cannot be removed from this position.")
            notional = abs(holding.lots) * market.mark
            floor = max(notional // holding.leverage, notional // 10)
            if holding.isolated_raw + holding.lots * market.mark + action.ntli < floor:
                raise ActionRefused("Isolated position does not have sufficient margin available.")
        elif action.ntli > worth.withdrawable:
            raise ActionRefused("Insufficient margin available.")
        clearing.cash -= action.ntli
        holding.isolated_raw += action.ntli
        self.state.block.touched.add(account)
        return DONE

    def _top_up_margin(self, account: Account, action: actions.TopUpIsolatedOnlyMargin) -> dict[str, Any]:
        """Add what a position lacks to a leverage; the real venue's words for a refusal are not known."""
        market = self._market(action.asset)
        holding = self.state.holding(account, market)
        try:
            millionths = exact_units(action.leverage, 6)
        except WireError:
            millionths = 0
        if not market.instrument.only_isolated or millionths <= 0:
            raise ActionRefused("Invalid isolated margin top up.")
        value = holding.lots * market.mark
        lacking = abs(value) * 10**6 // millionths - holding.isolated_raw - value
        if not holding.lots or lacking <= 0:
            raise ActionRefused("Position does not need more margin for this leverage.")
        return self._update_isolated_margin(account, actions.UpdateIsolatedMargin(action.asset, True, lacking))

    def _market(self, asset: int) -> Any:
        """A perpetual by its asset id: spot has no leverage and no margin."""
        try:
            market = self.placing.market(asset)
        except OrderRefused as refusal:
            raise ActionRefused(str(refusal)) from None
        if market.instrument.is_spot:
            raise ActionRefused(f"Asset {asset} is not a perpetual.")
        return market

    def _set_referrer(self, account: Account, action: actions.SetReferrer) -> dict[str, Any]:
        raise ActionRefused("Referral code not registered")

    def _reserve_request_weight(self, account: Account, action: actions.ReserveRequestWeight) -> dict[str, Any]:
        price = action.weight * RESERVED_WEIGHT_PRICE
        if price > Worth(account, self.state.markets).withdrawable:
            raise ActionRefused("Insufficient balance for token transfer")
        account.cash -= price
        self.state.fees += price
        account.reserved_weight += action.weight
        return DONE

    def _approve_agent(self, account: Account, action: user_signed.ApproveAgent) -> dict[str, Any]:
        try:
            agent = address_text(action.agent_address)
            subs = len(self.state.sub_accounts.of(account.address))
            self.state.agents.approve(account.address, agent, action.agent_name or "", self.state.block.time_ms, subs)
        except (AgentError, WireError) as refusal:
            raise ActionRefused(str(refusal)) from None
        return DONE

    def _approve_builder_fee(self, account: Account, action: user_signed.ApproveBuilderFee) -> dict[str, Any]:
        try:
            tenths = exact_units(action.max_fee_rate.removesuffix("%"), 3)
            if not 0 <= tenths <= HIGHEST_BUILDER_FEE:
                raise ActionRefused("Invalid builder fee rate")
            account.approved_builders[address_text(action.builder)] = tenths
        except WireError as refusal:
            raise ActionRefused(str(refusal)) from None
        return DONE

    def _own(self, account: Account, user: str) -> Account:
        """The signer's own account or one of its sub-accounts."""
        found = account if user == account.address else self.state.controlled(account, user)
        if found is None:
            raise ActionRefused(f"Vault not registered: {user}")
        return found

    def _set_abstraction(self, account: Account, action: user_signed.UserSetAbstraction) -> dict[str, Any]:
        return _abstract(self._own(account, action.user), action.abstraction)

    def _set_dex_abstraction(self, account: Account, action: user_signed.UserDexAbstraction) -> dict[str, Any]:
        return _abstract(self._own(account, action.user), "dexAbstraction" if action.enabled else "disabled")


def _abstract(account: Account, abstraction: str) -> dict[str, Any]:
    account.abstraction = abstraction
    return DONE
