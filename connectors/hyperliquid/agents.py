"""Who may sign for whom: an agent, which the venue's web page calls an API wallet, trades for the account that approved
it; a master and its agents trade for its sub-accounts, a leader and its agents for its vaults.
"""

from __future__ import annotations

from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.hyperliquid.messages import UserRole
from latentspeed.connectors.hyperliquid.rest import RestClient


class NotAllowed(ConnectorError):
    """The signing key may not trade for the account; says what the venue calls both instead."""


async def check_signer(rest: RestClient, signer: str, account: str, kind: str) -> UserRole:
    """What the venue calls the signer, when the key at address `signer` may trade for `account`; both are lower case.

    An order of any other key would be refused too, but as that of an unknown user, and one at a time. And the account
    of an agent's own address reads as empty, whatever its master holds.

    Args:
        rest: Asks the venue.
        signer: The address of the signing key.
        account: The account that is to be read and traded.
        kind: What the account is said to be: "master", "sub_account" or "vault".

    Raises:
        NotAllowed: It may not.
        TransportError: The venue did not answer.
    """
    role = await rest.user_role(signer)
    owner = _owner(role) if role.role == "agent" else signer
    if kind == "master":
        if owner != account:
            raise NotAllowed(await _why_not_master(rest, role, signer, owner, account))
    elif kind == "sub_account":
        await _check_sub_account(rest, signer, owner, account)
    else:
        await _check_vault(rest, signer, owner, account)
    return role


def _owner(role: UserRole) -> str:
    return role.data.user.lower() if role.data is not None and role.data.user is not None else ""


async def _why_not_master(rest: RestClient, role: UserRole, signer: str, owner: str, account: str) -> str:
    if role.role == "agent" and account == signer:
        return (
            f"the signing key's address {signer} is an agent of {owner}, and an agent has no account: "
            f"account_address must be {owner}"
        )
    what = await rest.user_role(account)
    if what.role == "subAccount":
        return f"account {account} is a sub-account: set account_kind to sub_account"
    if what.role == "vault":
        return f"account {account} is a vault: set account_kind to vault"
    if role.role == "agent":
        return f"the signing key's address {signer} is an agent of {owner}, not of account {account}"
    return (
        f"the signing key's address {signer} is no agent of account {account}: the venue calls it {role.role!r}. "
        "Approve it as an API wallet of the account, or correct the account"
    )


async def _check_sub_account(rest: RestClient, signer: str, owner: str, account: str) -> None:
    what = await rest.user_role(account)
    if what.role != "subAccount":
        raise NotAllowed(f"account {account} is no sub-account: the venue calls it {what.role!r}")
    master = what.data.master.lower() if what.data is not None and what.data.master is not None else ""
    if master != owner:
        raise NotAllowed(f"account {account} is a sub-account of {master}; the signing key {_acts(signer, owner)}")


async def _check_vault(rest: RestClient, signer: str, owner: str, account: str) -> None:
    what = await rest.user_role(account)
    if what.role != "vault":
        raise NotAllowed(f"account {account} is no vault: the venue calls it {what.role!r}")
    leader = await rest.vault_leader(account)
    if leader != owner:
        raise NotAllowed(f"vault {account} is led by {leader}; the signing key {_acts(signer, owner)}")


def _acts(signer: str, owner: str) -> str:
    return f"{signer} acts for itself" if signer == owner else f"{signer} acts for {owner}"
