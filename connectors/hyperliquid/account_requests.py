"""What can be asked of an account besides trading: approvals that only its own key may give."""

from __future__ import annotations

from latentspeed.connectors.hyperliquid.messages import AgentRow
from latentspeed.connectors.hyperliquid.parts import SessionParts
from latentspeed.connectors.pending import Pending


class AccountRequests(SessionParts):
    """The requests of an account's owner, for a connector whose key is the account's own.

    Each raises NotReady before connecting; the result raises NotTheOwner where the key is an agent's, VenueRejected
    with the venue's text, and OrderRefused for an argument that breaks its rule.
    """

    def approve_agent(self, address: str, name: str = "", valid_until_ms: int | None = None) -> Pending[None]:
        """Lets the key at `address` trade for this account, its sub-accounts and vaults; see `Owner.approve_agent`."""
        self._check_open()
        return self._run(self._owner.approve_agent(address, name, valid_until_ms))

    def revoke_agent(self, name: str = "") -> Pending[None]:
        """Takes back the approval of the agent of this name, or of the one without a name; its key stops at once."""
        self._check_open()
        return self._run(self._owner.revoke_agent(name))

    def fetch_agents(self) -> Pending[list[AgentRow]]:
        """The agents of the signing key's account that have a name, and when their approvals end."""
        self._check_open()
        return self._run(self._owner.agents())

    def approve_builder_fee(self, builder: str, tenths_of_basis_point: int) -> Pending[None]:
        """Lets a builder take up to this fee on orders that name it; 0 takes the approval back."""
        self._check_open()
        return self._run(self._owner.approve_builder_fee(builder, tenths_of_basis_point))
