"""Whether a key may trade for an account is settled before the first order, with a message that says what to change."""

from __future__ import annotations

import asyncio

import pytest

from latentspeed.connectors.hyperliquid.agents import NotAllowed, check_signer
from latentspeed.connectors.hyperliquid.messages import RoleData, UserRole

MASTER, OTHER, AGENT, SUB, VAULT = ("0x" + digit * 40 for digit in "abcde")
ROLES = {
    MASTER: UserRole(role="user"),
    OTHER: UserRole(role="user"),
    AGENT: UserRole(role="agent", data=RoleData(user=MASTER.upper().replace("0X", "0x"))),
    SUB: UserRole(role="subAccount", data=RoleData(master=MASTER)),
    VAULT: UserRole(role="vault"),
}


class Venue:
    async def user_role(self, address):
        return ROLES.get(address, UserRole(role="missing"))

    async def vault_leader(self, vault):
        return MASTER if vault == VAULT else ""


def check(signer, account, kind):
    asyncio.run(check_signer(Venue(), signer, account, kind))


@pytest.mark.parametrize("signer", [MASTER, AGENT])
@pytest.mark.parametrize(("account", "kind"), [(MASTER, "master"), (SUB, "sub_account"), (VAULT, "vault")])
def test_a_master_and_its_agent_trade_for_the_account_its_sub_accounts_and_the_vaults_it_leads(signer, account, kind):
    check(signer, account, kind)


def test_a_key_whose_account_has_no_funds_yet_is_let_pass():
    check("0x" + "9" * 40, "0x" + "9" * 40, "master")


@pytest.mark.parametrize(
    ("signer", "account", "kind", "text"),
    [
        (AGENT, AGENT, "master", f"account_address must be {MASTER}"),
        (OTHER, MASTER, "master", "is no agent of account"),
        (AGENT, OTHER, "master", f"is an agent of {MASTER}, not of account {OTHER}"),
        (MASTER, SUB, "master", "set account_kind to sub_account"),
        (AGENT, VAULT, "master", "set account_kind to vault"),
        (OTHER, SUB, "sub_account", f"is a sub-account of {MASTER}; the signing key {OTHER} acts for itself"),
        (MASTER, OTHER, "sub_account", "is no sub-account: the venue calls it 'user'"),
        (OTHER, VAULT, "vault", f"is led by {MASTER}"),
        (AGENT, SUB, "vault", "is no vault: the venue calls it 'subAccount'"),
    ],
)
def test_a_key_that_may_not_is_refused_with_what_to_change(signer, account, kind, text):
    with pytest.raises(NotAllowed, match=text):
        check(signer, account, kind)
