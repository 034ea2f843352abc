"""Who signed this? The venue's own reading of both signature schemes, ending in a recovered address.

There is no key identifier in a request: a wrong hash recovers some other address, and that is how a mistake shows.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from coincurve import PublicKey
from sha3 import keccak_256

from latentspeed.tools.venues.hyperliquid.actions import Envelope, Signature
from latentspeed.tools.venues.hyperliquid.user_signed import UserSigned
from latentspeed.tools.venues.hyperliquid.wire import address_text

Network = Literal["mainnet", "testnet"]

_pack = msgspec.msgpack.Encoder().encode


class SignatureError(Exception):
    """A signature from which no address can be recovered."""


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum has it."""
    digest: bytes = keccak_256(data).digest()
    return digest


def _domain(name: str, chain_id: int) -> bytes:
    kind = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    return keccak(keccak(kind) + keccak(name.encode()) + keccak(b"1") + chain_id.to_bytes(32, "big") + bytes(32))


_L1_DOMAIN = _domain("Exchange", 1337)
_AGENT_KIND = keccak(b"Agent(string source,bytes32 connectionId)")
_SOURCE = {"mainnet": keccak(b"a"), "testnet": keccak(b"b")}
_AGENT_PREFIX = {network: _AGENT_KIND + source for network, source in _SOURCE.items()}
_user_domains: dict[int, bytes] = {}


def connection_id(packed_action: bytes, nonce: int, vault_address: str | None, expires_after: int | None) -> bytes:
    """Hash of an L1 action: its msgpack, the nonce, the vault marker and, when given, the expiry."""
    parts = [packed_action, nonce.to_bytes(8, "big")]
    parts.append(b"\x00" if vault_address is None else b"\x01" + bytes.fromhex(vault_address[2:]))
    if expires_after is not None:
        parts.append(b"\x00" + expires_after.to_bytes(8, "big"))
    return keccak(b"".join(parts))


def l1_digest(connection: bytes, network: Network) -> bytes:
    """Typed-data digest of the `Agent` struct that carries a connection id; the network decides its source letter."""
    return keccak(b"\x19\x01" + _L1_DOMAIN + keccak(_AGENT_PREFIX[network] + connection))


# Struct fields in order, by action type; `type` and `signatureChainId` travel in the action but not in the struct.
USER_SIGNED: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "approveAgent": (
        "ApproveAgent",
        (("hyperliquidChain", "string"), ("agentAddress", "address"), ("agentName", "string"), ("nonce", "uint64")),
    ),
    "approveBuilderFee": (
        "ApproveBuilderFee",
        (("hyperliquidChain", "string"), ("maxFeeRate", "string"), ("builder", "address"), ("nonce", "uint64")),
    ),
    "usdClassTransfer": (
        "UsdClassTransfer",
        (("hyperliquidChain", "string"), ("amount", "string"), ("toPerp", "bool"), ("nonce", "uint64")),
    ),
    "usdSend": (
        "UsdSend",
        (("hyperliquidChain", "string"), ("destination", "string"), ("amount", "string"), ("time", "uint64")),
    ),
    "withdraw3": (
        "Withdraw",
        (("hyperliquidChain", "string"), ("destination", "string"), ("amount", "string"), ("time", "uint64")),
    ),
    "spotSend": (
        "SpotSend",
        (
            ("hyperliquidChain", "string"),
            ("destination", "string"),
            ("token", "string"),
            ("amount", "string"),
            ("time", "uint64"),
        ),
    ),
    "sendAsset": (
        "SendAsset",
        (
            ("hyperliquidChain", "string"),
            ("destination", "string"),
            ("sourceDex", "string"),
            ("destinationDex", "string"),
            ("token", "string"),
            ("amount", "string"),
            ("fromSubAccount", "string"),
            ("nonce", "uint64"),
        ),
    ),
    "userSetAbstraction": (
        "UserSetAbstraction",
        (("hyperliquidChain", "string"), ("user", "address"), ("abstraction", "string"), ("nonce", "uint64")),
    ),
    "userDexAbstraction": (
        "UserDexAbstraction",
        (("hyperliquidChain", "string"), ("user", "address"), ("enabled", "bool"), ("nonce", "uint64")),
    ),
    "tokenDelegate": (
        "TokenDelegate",
        (
            ("hyperliquidChain", "string"),
            ("validator", "address"),
            ("wei", "uint64"),
            ("isUndelegate", "bool"),
            ("nonce", "uint64"),
        ),
    ),
}


def user_signed_digest(action: dict[str, Any]) -> bytes:
    """Typed-data digest of a user-signed action given with its wire keys; a missing string counts as empty."""
    name, fields = USER_SIGNED[action["type"]]
    kind = f"HyperliquidTransaction:{name}({','.join(f'{type_} {field}' for field, type_ in fields)})"
    encoded = b"".join(_word(type_, action.get(field)) for field, type_ in fields)
    chain_id = int(action["signatureChainId"], 16)
    domain = _user_domains.get(chain_id)
    if domain is None:
        domain = _user_domains[chain_id] = _domain("HyperliquidSignTransaction", chain_id)
    return keccak(b"\x19\x01" + domain + keccak(keccak(kind.encode()) + encoded))


def _word(kind: str, value: Any) -> bytes:
    if kind == "string":
        return keccak((value or "").encode())
    if kind == "address":
        return bytes(12) + bytes.fromhex(address_text(value)[2:])
    return int(value).to_bytes(32, "big")


def recover(digest: bytes, signature: Signature) -> str:
    """Return the lower-case address whose key made this signature.

    Raises:
        SignatureError: the numbers are malformed or belong to no key.
    """
    try:
        if signature.v not in (27, 28):
            raise ValueError("v is 27 or 28")
        compact = int(signature.r, 16).to_bytes(32, "big") + int(signature.s, 16).to_bytes(32, "big")
        recoverable = compact + bytes((signature.v - 27,))
        public = PublicKey.from_signature_and_message(recoverable, digest, hasher=None).format(compressed=False)
    except Exception as error:  # coincurve raises bare Exceptions of several kinds
        raise SignatureError("Unable to recover signer.") from error
    return "0x" + keccak(public[1:])[-20:].hex()


def recover_signer(envelope: Envelope, network: Network) -> str:
    """Return the address that signed a request, by the scheme of its action.

    Raises:
        SignatureError: no address can be recovered.
    """
    action = envelope.action
    if isinstance(action, UserSigned):
        return recover(user_signed_digest(msgspec.to_builtins(action)), envelope.signature)
    connection = connection_id(_pack(action), envelope.nonce, envelope.vault_address, envelope.expires_after)
    return recover(l1_digest(connection, network), envelope.signature)
