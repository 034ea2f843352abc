"""Info requests about who trades for whom: agents, sub-accounts, vaults, builders, and the role of an address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.info_account import PERIODS, AccountInfo
from latentspeed.tools.venues.hyperliquid.info_request import Request, user_of
from latentspeed.tools.venues.hyperliquid.margin import Worth
from latentspeed.tools.venues.hyperliquid.spot_info import SpotInfo
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.sub_accounts import SubAccount
from latentspeed.tools.venues.hyperliquid.vaults import Stake, Vault
from latentspeed.tools.venues.hyperliquid.wire import usd_text

DAY_MS = 24 * 3600 * 1000


class OwnershipInfo:
    """Agents, sub-accounts and vaults as `/info` shows them."""

    def __init__(self, state: VenueState, accounts: AccountInfo, spot: SpotInfo) -> None:
        self.state = state
        self.spot = spot
        self.accounts = accounts
        self.handlers: dict[str, Callable[[Request], Any]] = {
            "userRole": self._user_role,
            "extraAgents": self._extra_agents,
            "subAccounts": lambda request: self._sub_accounts(request, self._sub_account),
            "subAccounts2": lambda request: self._sub_accounts(request, self._sub_account_by_dex),
            "maxBuilderFee": self._max_builder_fee,
            "approvedBuilders": self._approved_builders,
            "vaultDetails": self._vault_details,
            "userVaultEquities": self._user_vault_equities,
            "leadingVaults": self._leading_vaults,
            "vaultSummaries": lambda request: [],
        }

    def _user_role(self, request: Request) -> Any:
        address, state = user_of(request), self.state
        master = state.agents.master_of(address, state.clock.now_ms())
        if master is not None:
            return {"role": "agent", "data": {"user": master}}
        master = state.sub_accounts.master_of(address)
        if master is not None:
            return {"role": "subAccount", "data": {"master": master}}
        if state.vaults.get(address) is not None:
            return {"role": "vault"}
        return {"role": "missing" if state.mentioned(address) is None else "user"}

    def _extra_agents(self, request: Request) -> Any:
        user = user_of(request)
        self.state.mentioned(user)
        return [
            {"name": agent.name, "address": agent.address, "validUntil": agent.valid_until_ms}
            for agent in self.state.agents.named(user)
        ]

    # -- sub-accounts --------------------------------------------------------------------------------------------------

    def _sub_accounts(self, request: Request, shape: Callable[[SubAccount, Account], dict[str, Any]]) -> Any:
        account = self.accounts.account(request)
        subs = [] if account is None else self.state.sub_accounts.of(account.address)
        return [
            {
                "name": sub.name,
                "subAccountUser": sub.address,
                "master": sub.master,
                **shape(sub, self.state.accounts[sub.address]),
                "spotState": self.spot.state_of(self.state.accounts[sub.address]),
            }
            for sub in subs
        ] or None

    def _sub_account(self, sub: SubAccount, account: Account) -> dict[str, Any]:
        return {"clearinghouseState": self.accounts.clearinghouse(account)}

    def _sub_account_by_dex(self, sub: SubAccount, account: Account) -> dict[str, Any]:
        return {"dexToClearinghouseState": self.accounts.clearinghouses(account)}

    # -- builders ------------------------------------------------------------------------------------------------------

    def _max_builder_fee(self, request: Request) -> Any:
        account = self.accounts.account(request)
        builder = user_of(request, "builder")
        return 0 if account is None else self.state.builder_fee_limit(account, builder)

    def _approved_builders(self, request: Request) -> Any:
        account = self.accounts.account(request)
        return [] if account is None else [builder for builder, fee in account.approved_builders.items() if fee]

    # -- vaults --------------------------------------------------------------------------------------------------------

    def _vault_details(self, request: Request) -> Any:
        """A vault as its page shows it, null for any other address; `user` asks for that follower's own row."""
        vault = self.state.vaults.get(user_of(request, "vaultAddress"))
        user = None if request.get("user") is None else user_of(request)
        if vault is None:
            return None
        account = self.state.accounts[vault.address]
        worth = Worth(account, self.state.markets).total
        leader_equity = vault.equity(vault.leader, worth)
        empty = {"accountValueHistory": [], "pnlHistory": [], "vlm": "0.0"}
        return {
            "name": vault.name,
            "vaultAddress": vault.address,
            "leader": vault.leader,
            "description": vault.description,
            "portfolio": [[period, empty] for period in PERIODS],
            "apr": 0.0,
            "followerState": None if user not in vault.stakes else self._follower(vault, user, worth),
            "leaderFraction": leader_equity / worth if worth > 0 else 0.0,
            "leaderCommission": 0.0,
            "followers": [
                {**self._follower(vault, holder, worth), "user": "Leader" if holder == vault.leader else holder}
                for holder in vault.stakes
            ],
            "maxDistributable": max(0, leader_equity - worth // 20) / 10**6,
            "maxWithdrawable": Worth(account, self.state.markets).withdrawable / 10**6,
            "isClosed": False,
            "relationship": {"type": "normal"},
            "allowDeposits": True,
            "alwaysCloseOnWithdraw": False,
        }

    def _follower(self, vault: Vault, user: str, worth: int) -> dict[str, Any]:
        stake: Stake = vault.stakes[user]
        equity = vault.equity(user, worth)
        profit = usd_text(equity - stake.paid)
        return {
            "user": user,
            "vaultEquity": usd_text(equity),
            "pnl": profit,
            "allTimePnl": profit,
            "daysFollowing": (self.state.clock.now_ms() - stake.entered_ms) // DAY_MS,
            "vaultEntryTime": stake.entered_ms,
            "lockupUntil": stake.locked_until_ms,
        }

    def _user_vault_equities(self, request: Request) -> Any:
        account = self.accounts.account(request)
        if account is None:
            return []
        user, rows = account.address, []
        for vault in self.state.vaults.held_by(user):
            equity = vault.equity(user, Worth(self.state.accounts[vault.address], self.state.markets).total)
            rows.append(
                {
                    "vaultAddress": vault.address,
                    "equity": usd_text(equity),
                    "lockedUntilTimestamp": vault.stakes[user].locked_until_ms,
                }
            )
        return rows

    def _leading_vaults(self, request: Request) -> Any:
        account = self.accounts.account(request)
        vaults = [] if account is None else self.state.vaults.led_by(account.address)
        return [{"address": vault.address, "name": vault.name} for vault in vaults]
