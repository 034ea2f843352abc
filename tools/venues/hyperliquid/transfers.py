"""Money between accounts: sends, withdrawals, sub-accounts and vaults.

A transfer out leaves what margin needs: `withdrawable` of the account that it comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.tools.venues.hyperliquid import actions, user_signed
from latentspeed.tools.venues.hyperliquid.account_actions import DONE
from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.asset_moves import INSUFFICIENT, INVALID, SPOT, AssetMoves
from latentspeed.tools.venues.hyperliquid.margin import Worth
from latentspeed.tools.venues.hyperliquid.placing import volume_text
from latentspeed.tools.venues.hyperliquid.refusals import ActionRefused
from latentspeed.tools.venues.hyperliquid.spot_listing import Token
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.sub_accounts import MOST_SUB_ACCOUNTS, NAME_LENGTH, SubAccount
from latentspeed.tools.venues.hyperliquid.vaults import LEADER_SHARE_INVERSE, LEAST_DEPOSIT, Vault
from latentspeed.tools.venues.hyperliquid.wire import USD, WireError, address_text, exact_units, usd_text

WITHDRAWAL_FEE = USD
USDC_TOKEN = 0
UNIFIED = ("unifiedAccount", "portfolioMargin")


class Transfers:
    """Handlers by action type, each taking the account and the action and returning the reply."""

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.moves = AssetMoves(state)
        self.handlers: dict[type, Callable[[Account, Any], dict[str, Any]]] = {
            user_signed.UsdClassTransfer: self._usd_class_transfer,
            user_signed.UsdSend: self._usd_send,
            user_signed.Withdraw: self._withdraw,
            user_signed.SpotSend: self._spot_send,
            user_signed.SendAsset: self._send_asset,
            actions.AgentSendAsset: self._agent_send_asset,
            actions.SubAccountSpotTransfer: self._sub_account_spot_transfer,
            actions.CreateSubAccount: self._create_sub_account,
            actions.SubAccountModify: self._rename_sub_account,
            actions.SubAccountTransfer: self._sub_account_transfer,
            actions.CreateVault: self._create_vault,
            actions.VaultTransfer: self._vault_transfer,
        }

    # -- one account and others ----------------------------------------------------------------------------------------

    def _usd_class_transfer(self, account: Account, action: user_signed.UsdClassTransfer) -> dict[str, Any]:
        text, _, sub_address = action.amount.partition(" subaccount:")
        if sub_address:
            account = self._own_sub_account(account, sub_address)
        self._refuse_when_unified(account)
        token = self.state.spot.token(USDC_TOKEN)
        source, target = (SPOT, "") if action.to_perp else ("", SPOT)
        units = self.moves.units(token, text, source, target)
        self.moves.move((account, source), (account, target), token, units)
        self._log({"type": "accountClassTransfer", "usdc": text, "toPerp": action.to_perp}, account)
        return DONE

    def _refuse_when_unified(self, account: Account) -> None:
        if account.abstraction in UNIFIED:
            raise ActionRefused("Action disabled when unified account is active.")

    def _spot_send(self, account: Account, action: user_signed.SpotSend) -> dict[str, Any]:
        token = self.moves.token(action.token)
        units = self.moves.units(token, action.amount)
        target = self._receiver(action.destination, (account, SPOT), token, units)
        self._move_spot(account, target, token, units, action.amount)
        return DONE

    def _move_spot(self, source: Account, target: Account, token: Token, units: int, amount: str) -> None:
        self.moves.move((source, SPOT), (target, SPOT), token, units)
        delta = {
            "type": "spotTransfer",
            "token": token.name,
            "amount": amount,
            "usdcValue": self.moves.value_text(token, units),
            "user": source.address,
            "destination": target.address,
            "fee": "0.0",
            "nativeTokenFee": "0.0",
            "nonce": None,
        }
        self._log(delta, source, target)

    def _send_asset(self, account: Account, action: user_signed.SendAsset | actions.AgentSendAsset) -> dict[str, Any]:
        source = account
        if action.from_sub_account:
            source = self._own_sub_account(account, action.from_sub_account)
        token = self.moves.token(action.token)
        units = self.moves.units(token, action.amount, action.source_dex, action.destination_dex)
        target = self._receiver(action.destination, (source, action.source_dex), token, units)
        if (source, action.source_dex) == (target, action.destination_dex):
            raise ActionRefused(INVALID)
        self.moves.move((source, action.source_dex), (target, action.destination_dex), token, units)
        delta = {
            "type": "send",
            "user": source.address,
            "destination": target.address,
            "sourceDex": action.source_dex,
            "destinationDex": action.destination_dex,
            "token": token.name,
            "amount": action.amount,
            "usdcValue": self.moves.value_text(token, units),
            "fee": "0.0",
            "nativeTokenFee": "0.0",
            "nonce": action.nonce,
            "feeToken": "",
        }
        self._log(delta, source, target)
        return DONE

    def _agent_send_asset(self, account: Account, action: actions.AgentSendAsset) -> dict[str, Any]:
        """The same, signed as an order is: an agent may do it, and only to the same user or its sub-accounts."""
        try:
            destination = address_text(action.destination)
        except WireError:
            raise ActionRefused(INVALID) from None
        if destination != account.address and self.state.sub_accounts.master_of(destination) != account.address:
            raise ActionRefused("Agent can only send asset to same user or their sub-accounts.")
        return self._send_asset(account, action)

    def _receiver(self, address: str, source: tuple[Account, str], token: Token, units: int) -> Account:
        """Whoever receives a send; a new address becomes an account with just that, unless there is too little."""
        try:
            address = address_text(address)
        except WireError:
            raise ActionRefused(INVALID) from None
        if units > self.moves.available(*source, token):
            raise ActionRefused(INSUFFICIENT)
        return self.state.accounts.get(address) or self.state.enrol(address, 0)

    def _own_sub_account(self, account: Account, address: str) -> Account:
        try:
            found = self.state.controlled(account, address_text(address))
        except WireError:
            found = None
        if found is None:
            raise ActionRefused(f"Vault not registered: {address}")
        return found

    def _usd_send(self, account: Account, action: user_signed.UsdSend) -> dict[str, Any]:
        amount = _amount(action.amount)
        token = self.state.spot.token(USDC_TOKEN)
        target = self._receiver(action.destination, (account, ""), token, self.moves.units(token, action.amount, ""))
        self._move(account, target, amount)
        delta = {
            "type": "internalTransfer",
            "usdc": action.amount,
            "user": account.address,
            "destination": target.address,
            "fee": "0.0",
        }
        self._log(delta, account, target)
        return DONE

    def _withdraw(self, account: Account, action: user_signed.Withdraw) -> dict[str, Any]:
        amount = _amount(action.amount)
        if amount <= WITHDRAWAL_FEE or amount > self._withdrawable(account):
            raise ActionRefused("Insufficient balance for withdrawal")
        self.state.deposit(account, -amount)
        return DONE

    # -- sub-accounts --------------------------------------------------------------------------------------------------

    def _create_sub_account(self, account: Account, action: actions.CreateSubAccount) -> dict[str, Any]:
        book, required = self.state.sub_accounts, self.state.config.sub_account_volume
        if self._is_ownerless(account):
            raise ActionRefused("Only a master account can create sub-accounts")
        if account.volume < required * USD:
            raise ActionRefused(
                f"Cannot create sub-accounts until enough volume traded. Required: ${required}."
                f" Traded: ${volume_text(account.volume)}."
            )
        if len(book.of(account.address)) >= MOST_SUB_ACCOUNTS:
            raise ActionRefused("Too many sub-accounts")
        _check_name(action.name)
        sub = book.add(account.address, action.name)
        self.state.enrol(sub.address, 0)
        return {"status": "ok", "response": {"type": "createSubAccount", "data": sub.address}}

    def _rename_sub_account(self, account: Account, action: actions.SubAccountModify) -> dict[str, Any]:
        _check_name(action.name)
        self._sub_account(account, action.sub_account_user).name = action.name
        return DONE

    def _sub_account_transfer(self, account: Account, action: actions.SubAccountTransfer) -> dict[str, Any]:
        self._refuse_when_unified(account)
        sub = self.state.accounts[self._sub_account(account, action.sub_account_user).address]
        source, target = (account, sub) if action.is_deposit else (sub, account)
        if not action.usd:
            raise ActionRefused(INVALID)
        self._move(source, target, action.usd)
        delta = {
            "type": "subAccountTransfer",
            "usdc": usd_text(action.usd),
            "user": source.address,
            "destination": target.address,
        }
        self._log(delta, source, target)
        return DONE

    def _sub_account_spot_transfer(self, account: Account, action: actions.SubAccountSpotTransfer) -> dict[str, Any]:
        self._refuse_when_unified(account)
        sub = self.state.accounts[self._sub_account(account, action.sub_account_user).address]
        source, target = (account, sub) if action.is_deposit else (sub, account)
        token = self.moves.token(action.token)
        self._move_spot(source, target, token, self.moves.units(token, action.amount), action.amount)
        return DONE

    def _sub_account(self, account: Account, address: str) -> SubAccount:
        sub = self.state.sub_accounts.get(address)
        if sub is None or sub.master != account.address:
            raise ActionRefused(f"Invalid sub-account transfer from {account.address} to {address}")
        return sub

    # -- vaults --------------------------------------------------------------------------------------------------------

    def _create_vault(self, account: Account, action: actions.CreateVault) -> dict[str, Any]:
        if self._is_ownerless(account):
            raise ActionRefused("Only a master account can create a vault")
        if action.initial_usd < LEAST_DEPOSIT:
            raise ActionRefused(f"Initial deposit must be at least ${LEAST_DEPOSIT // USD}.")
        if action.initial_usd > self._withdrawable(account):
            raise ActionRefused(INSUFFICIENT)
        vault = self.state.vaults.add(account.address, action.name, action.description, self.state.block.time_ms)
        self.state.enrol(vault.address, 0)
        created = {"type": "vaultCreate", "vault": vault.address, "usdc": usd_text(action.initial_usd), "fee": "0.0"}
        self._deposit_to(vault, account, action.initial_usd, created)
        return {"status": "ok", "response": {"type": "createVault", "data": vault.address}}

    def _vault_transfer(self, account: Account, action: actions.VaultTransfer) -> dict[str, Any]:
        vault = self.state.vaults.get(action.vault_address)
        if vault is None or vault.address == account.address:
            raise ActionRefused(f"Vault not registered: {action.vault_address}")
        if not action.usd:
            raise ActionRefused(INVALID)
        if action.is_deposit:
            delta = {"type": "vaultDeposit", "vault": vault.address, "usdc": usd_text(action.usd)}
            self._deposit_to(vault, account, action.usd, delta)
        else:
            self._withdraw_from(vault, account, action.usd)
        return DONE

    def _deposit_to(self, vault: Vault, account: Account, amount: int, delta: dict[str, Any]) -> None:
        treasury = self.state.accounts[vault.address]
        worth = Worth(treasury, self.state.markets).total
        self._move(account, treasury, amount)
        vault.deposit(account.address, amount, worth, self.state.block.time_ms)
        self._log(delta, account)

    def _withdraw_from(self, vault: Vault, account: Account, amount: int) -> None:
        """Pay out of a vault: the follower's lock-up must be over, the leader keeps a twentieth of all shares."""
        treasury, user = self.state.accounts[vault.address], account.address
        worth = Worth(treasury, self.state.markets).total
        stake = vault.stakes.get(user)
        if stake is None or amount > vault.equity(user, worth):
            raise ActionRefused("Insufficient vault equity for withdrawal")
        if user != vault.leader and stake.locked_until_ms > self.state.block.time_ms:
            raise ActionRefused("Cannot withdraw during lockup period after depositing")
        if user == vault.leader and (vault.equity(user, worth) - amount) * LEADER_SHARE_INVERSE < worth - amount:
            raise ActionRefused("Vault leader must keep at least 5% of the vault")
        if amount > self._withdrawable(treasury):
            raise ActionRefused("Insufficient margin in the vault for withdrawal")
        basis = stake.paid
        vault.withdraw(user, amount, worth)
        basis -= vault.stakes[user].paid if user in vault.stakes else 0
        self._move(treasury, account, amount)
        delta = {
            "type": "vaultWithdraw",
            "vault": vault.address,
            "user": user,
            "requestedUsd": usd_text(amount),
            "commission": "0.0",
            "closingCost": "0.0",
            "basis": usd_text(basis),
            "netWithdrawnUsd": usd_text(amount),
        }
        self._log(delta, account)

    # -- what they share -----------------------------------------------------------------------------------------------

    def _is_ownerless(self, account: Account) -> bool:
        """Whether the account is a sub-account or a vault, which own nothing of that kind themselves."""
        address = account.address
        return self.state.sub_accounts.get(address) is not None or self.state.vaults.get(address) is not None

    def _withdrawable(self, account: Account) -> int:
        return Worth(account, self.state.markets).withdrawable

    def _move(self, source: Account, target: Account, amount: int) -> None:
        if amount > self._withdrawable(source):
            raise ActionRefused(INSUFFICIENT)
        source.cash -= amount
        target.cash += amount
        self.state.block.touched |= {source, target}

    def _log(self, delta: dict[str, Any], *accounts: Account) -> None:
        block = self.state.block
        for account in dict.fromkeys(accounts):
            account.ledger.append({"time": block.time_ms, "hash": block.hash(), "delta": delta})
            block.touched.add(account)


def _amount(text: str) -> int:
    """A positive amount of dollars with at most six decimals."""
    try:
        amount = exact_units(text, 6)
    except WireError:
        raise ActionRefused(INVALID) from None
    if amount <= 0:
        raise ActionRefused(INVALID)
    return amount


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_LENGTH:
        raise ActionRefused(f"Sub-account name must be 1 to {NAME_LENGTH} characters")
