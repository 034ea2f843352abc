"""Which connector a configuration's `type` names; any package may offer one by an entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from latentspeed.connectors import ConnectorBase

ENTRY_POINT_GROUP = "latentspeed.connectors"


class UnknownConnectorType(Exception):
    """No installed package offers the connector type that a configuration names."""


@dataclass(frozen=True, slots=True)
class ConnectorRequest:
    """What an engine gives a connector's factory, as keyword arguments.

    `secret` is the signing key; `engine_instance` the 32-bit number in this engine's venue-side order ids;
    `last_nonce` the last nonce used under any earlier gateway, and `store_nonce` is called with each nonce before use.
    """

    name: str
    domain: str
    account_address: str | None
    secret: str = field(repr=False)
    options: Mapping[str, object]
    engine_instance: int
    last_nonce: int
    store_nonce: Callable[[int], None]


@runtime_checkable
class HasSigner(Protocol):
    """What a gateway needs of a connector besides the common interface: one gateway per key."""

    @property
    def signer_address(self) -> str:
        """The public address of the signing key."""


def create_connector(connector_type: str, request: ConnectorRequest) -> ConnectorBase:
    """Build the connector of a type.

    Raises UnknownConnectorType, naming the types there are; what the connector's own checks raise passes through.
    """
    offered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    entry = offered.get(connector_type)
    if entry is None:
        known = ", ".join(sorted(offered)) or "none"
        raise UnknownConnectorType(f"connector type {connector_type!r} is not installed; installed are: {known}")
    factory = entry.load()
    connector: ConnectorBase = factory(
        name=request.name,
        domain=request.domain,
        account_address=request.account_address,
        secret=request.secret,
        options=request.options,
        engine_instance=request.engine_instance,
        last_nonce=request.last_nonce,
        store_nonce=request.store_nonce,
    )
    return connector


def account_of(connector: ConnectorBase) -> str:
    """The account that a connector trades; empty where it does not name one."""
    account = getattr(connector, "account_address", "")
    return account if isinstance(account, str) else ""


def signer_of(connector: ConnectorBase) -> str:
    """The address of a connector's signer. Raises UnknownConnectorType for a connector that names none."""
    if not isinstance(connector, HasSigner):
        raise UnknownConnectorType(f"{type(connector).__name__} has no signer_address: it cannot run in a gateway")
    return connector.signer_address
