"""What the connector needs of a full node, whichever way it is spoken to."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Protocol
from urllib.parse import urlsplit

from latentspeed.connectors.addresses import InsecureAddress, check_address, is_loopback
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.errors import ConnectorError

GRPC_SCHEMES: Final = ("grpc", "grpcs")
"""In plain text, and encrypted."""


class UnknownAccount(ConnectorError):
    """The chain does not know the address: it has never received anything."""


class NodeLine(Protocol):
    """One full node. What a method raises says what is known of the request: NotSent that nothing left this machine,
    any other TransportError that the node may have acted."""

    @property
    def url(self) -> str:
        """Where it is."""

    async def open(self) -> None:
        """Warms the connection; one that cannot be made now is tried again when it is needed."""

    async def close(self) -> None:
        """Closes all connections, for good."""

    def broadcast(self, transaction: bytes) -> Awaitable[TxResult]:
        """What the node's check says of a signed transaction."""

    async def block(self) -> tuple[int, int]:
        """The height of the node's last block, and its time in milliseconds since the epoch, 0 if untold.

        Raises TransportError for a node that is catching up.
        """

    async def query(self, path: str, request: bytes, name: str = "") -> bytes:
        """The answer of the node's state to a query.

        Raises UnknownAccount where nothing is found and `name` says whose it would be.
        """


def unknown_account(name: str) -> UnknownAccount:
    """The error for an address that the chain has never heard of."""
    return UnknownAccount(f"{name}: the chain does not know this account; it has never received anything")


def is_grpc(url: str) -> bool:
    """Whether an address is one of gRPC."""
    return urlsplit(url).scheme in GRPC_SCHEMES


def check_node_address(url: str) -> str:
    """The address of a node without a closing slash, when it is encrypted or this machine's own.

    Raises:
        InsecureAddress: Plain text to another machine, or neither HTTP nor `grpc://HOST:PORT` nor `grpcs://HOST:PORT`.
    """
    if not is_grpc(url):
        return check_address(url)
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or not port or parts.path.strip("/") or parts.query or parts.username is not None:
        raise InsecureAddress(f"{url!r}: an address of gRPC is {parts.scheme}://HOST:PORT")
    if parts.scheme == "grpc" and not is_loopback(url):
        raise InsecureAddress(f"{url!r} is plain text: only this machine (127.0.0.1, ::1, localhost) may be reached so")
    return url.rstrip("/")
