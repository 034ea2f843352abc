"""What only the owner of an account may do: approve and revoke agents, and the fee that a builder may take.

These actions are signed by the account's own key, and apply to that account. An agent's key is refused here with what
is wrong, because the venue would say no more than "Must deposit before performing actions".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import orjson

from latentspeed.connectors.errors import ConnectorError, OrderRefused, VenueRejected
from latentspeed.connectors.hyperliquid.config import is_address
from latentspeed.connectors.hyperliquid.messages import AgentRow
from latentspeed.connectors.hyperliquid.nonces import NonceSource
from latentspeed.connectors.hyperliquid.replies import ActionRefused, UnexpectedReply, parse_reply
from latentspeed.connectors.hyperliquid.rest import RestClient
from latentspeed.connectors.hyperliquid.user_signing import UserSigner
from latentspeed.connectors.transport import TransportError

NOBODY = "0x" + "0" * 40
"""Approving this address under a name takes the name's approval back."""
AGENT_NAME_LENGTH = 16
HIGHEST_BUILDER_FEE = 1000
"""Tenths of a basis point: 1 %, which spot allows; perpetual futures allow 100."""


class NotTheOwner(ConnectorError):
    """The action needs the account's own key, and this one is an agent's."""


class Owner:
    """The actions of one account's owner. Used in the loop's thread."""

    def __init__(
        self,
        rest: RestClient,
        signer: UserSigner,
        nonces: NonceSource,
        send: Callable[[bytes], Awaitable[bytes | msgspec.Raw]],
    ) -> None:
        """Asks for nothing yet.

        Args:
            rest: Asks the venue.
            signer: Signs.
            nonces: The one source of this key's nonces, which are the same for every kind of action.
            send: Sends a signed request and returns the venue's answer.
        """
        self._rest = rest
        self._signer = signer
        self._nonces = nonces
        self._send = send

    async def approve_agent(self, address: str, name: str = "", valid_until_ms: int | None = None) -> None:
        """Lets the key at `address` trade for this account, and for its sub-accounts and vaults.

        Args:
            address: Of a key that was never an agent before: what an old one had signed could be sent again.
            name: Up to 16 characters; an approval under the same name is replaced. Without a name there is one agent.
            valid_until_ms: When the approval ends, at most 180 days ahead; the venue's own choice when None.

        Raises:
            OrderRefused: An argument breaks its rule; nothing was sent.
            NotTheOwner: The signing key is an agent's.
            VenueRejected: The venue refused it.
            TransportError: Nobody knows what the venue did.
        """
        if not is_address(address) or int(address, 16) == 0:
            raise OrderRefused("address", address, "0x and 40 hexadecimal digits, not all zero")
        _check_name(name)
        if valid_until_ms is not None and not name:
            raise OrderRefused("valid_until_ms", valid_until_ms, "only an agent with a name can have an end")
        full_name = name if valid_until_ms is None else f"{name} valid_until {valid_until_ms}"
        await self._act("approveAgent", {"agentAddress": address.lower(), "agentName": full_name})

    async def revoke_agent(self, name: str = "") -> None:
        """Takes back the approval under a name, or that of the agent without one; its key stops at once.

        Raises as `approve_agent` does.
        """
        _check_name(name)
        await self._act("approveAgent", {"agentAddress": NOBODY, "agentName": name})

    async def approve_builder_fee(self, builder: str, tenths_of_basis_point: int) -> None:
        """Lets a builder take up to this fee on orders that name it; 0 takes the approval back.

        Raises as `approve_agent` does.
        """
        if not is_address(builder):
            raise OrderRefused("builder", builder, "0x and 40 hexadecimal digits")
        if not 0 <= tenths_of_basis_point <= HIGHEST_BUILDER_FEE:
            raise OrderRefused("tenths_of_basis_point", tenths_of_basis_point, f"0 to {HIGHEST_BUILDER_FEE}")
        whole, thousandths = divmod(tenths_of_basis_point, 1000)
        rate = f"{whole}.{thousandths:03d}".rstrip("0").rstrip(".") + "%"
        await self._act("approveBuilderFee", {"maxFeeRate": rate, "builder": builder.lower()})

    async def agents(self) -> list[AgentRow]:
        """The account's agents that have a name."""
        return await self._rest.extra_agents(self._signer.address)

    async def _act(self, kind: str, fields: dict[str, str | int]) -> None:
        role = await self._rest.user_role(self._signer.address)
        if role.role == "agent":
            owner = role.data.user if role.data is not None else None
            raise NotTheOwner(f"{kind} needs the key of account {owner}: {self._signer.address} is an agent of it")
        request: dict[str, Any] = self._signer.request(kind, fields, self._nonces.next())
        if fields.get("agentName") == "":
            del request["action"]["agentName"]  # signed as empty, and not sent, as the venue's own client does
        try:
            parse_reply(await self._send(orjson.dumps(request)), 0)
        except ActionRefused as refused:
            raise VenueRejected(str(refused)) from None
        except UnexpectedReply as error:
            raise TransportError(str(error)) from None


def _check_name(name: str) -> None:
    if len(name) > AGENT_NAME_LENGTH or "valid_until" in name:
        raise OrderRefused("name", name, f"at most {AGENT_NAME_LENGTH} characters, and not valid_until")
