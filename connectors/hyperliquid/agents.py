"""Who may sign for whom: an agent, which the venue's web page calls an API wallet, trades for the account that approved
it.
"""

from __future__ import annotations

from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.hyperliquid.rest import RestClient


class NotAnAgent(ConnectorError):
    """The signing key may not trade for the account; says what the venue calls it instead."""


async def check_agent(rest: RestClient, signer: str, account: str) -> None:
    """Returns when `signer` is an agent that `account` has approved; both are lower-case addresses.

    An order of any other key would be refused too, but as that of an unknown user, and one at a time.

    Raises:
        NotAnAgent: It is not.
        TransportError: The venue did not answer.
    """
    role = await rest.user_role(signer)
    if role.role != "agent":
        raise NotAnAgent(
            f"the signing key's address {signer} is no agent of account {account}: the venue calls it {role.role!r}. "
            "Approve it as an API wallet of the account, or correct the account"
        )
    owner = role.data.user.lower() if role.data is not None and role.data.user is not None else ""
    if owner != account:
        raise NotAnAgent(f"the signing key's address {signer} is an agent of {owner}, not of account {account}")
