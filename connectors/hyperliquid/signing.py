"""Signs actions as the venue's L1 scheme asks, in about the time of one bare libsecp256k1 signature.

The scheme, from the inside out::

    preimage     = msgpack(action) | nonce, 8 bytes | 00, or 01 and the vault's 20 bytes | [00 | expiry, 8 bytes]
    connectionId = keccak256(preimage)
    struct       = keccak256(typehash Agent(string source,bytes32 connectionId) | keccak256(source) | connectionId)
    digest       = keccak256(19 01 | domain separator | struct)

`source` is "a" on the main network and "b" everywhere else. Everything that does not depend on the action is computed
once: no typed-data machinery runs per order. Integers are big-endian.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sha3

from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.signature_pool import SignaturePool

_keccak = sha3.keccak_256


def keccak256(data: bytes) -> bytes:
    """The 32-byte keccak-256 digest (the padding before the SHA-3 standard)."""
    digest: bytes = _keccak(data).digest()
    return digest


def _domain_separator() -> bytes:
    """The EIP-712 domain Exchange, version 1, chain 1337, zero contract."""
    typehash = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    chain_id = (1337).to_bytes(32, "big")
    return keccak256(typehash + keccak256(b"Exchange") + keccak256(b"1") + chain_id + bytes(32))


DOMAIN_SEPARATOR = _domain_separator()
_AGENT_TYPEHASH = keccak256(b"Agent(string source,bytes32 connectionId)")
_STRUCT_PREFIX = {source: _AGENT_TYPEHASH + keccak256(source) for source in (b"a", b"b")}
_DIGEST_PREFIX = b"\x19\x01" + DOMAIN_SEPARATOR
# Keeps the key order of a dict and writes the smallest integer forms, as the venue hashes them.
_pack = msgspec.msgpack.Encoder().encode


def action_hash(
    action: Mapping[str, Any], nonce: int, vault: bytes | None = None, expiry_ms: int | None = None
) -> bytes:
    """The connection id: the hash of an action with its envelope.

    Args:
        action: Keys in the order of the protocol.
        nonce: Milliseconds since the epoch.
        vault: The 20 address bytes of the vault or sub-account that is traded, if any.
        expiry_ms: When the venue shall refuse the action, if any.
    """
    preimage = _pack(action) + nonce.to_bytes(8, "big")
    preimage += b"\x00" if vault is None else b"\x01" + vault
    if expiry_ms is not None:
        preimage += b"\x00" + expiry_ms.to_bytes(8, "big")
    digest: bytes = _keccak(preimage).digest()
    return digest


def signing_digest(connection_id: bytes, is_mainnet: bool) -> bytes:
    """The 32 bytes that are signed for a connection id on one of the networks."""
    struct = _keccak(_STRUCT_PREFIX[b"a" if is_mainnet else b"b"] + connection_id).digest()
    digest: bytes = _keccak(_DIGEST_PREFIX + struct).digest()
    return digest


class L1Signer:
    """Signs actions with one key for one network."""

    __slots__ = ("_is_mainnet", "_key", "_sign", "address")

    def __init__(self, key: SigningKey, is_mainnet: bool, pool: SignaturePool | None = None) -> None:
        """Signs with `key`, or with the prepared signatures of its `pool`."""
        self._key = key
        self._sign = key.sign_digest if pool is None else pool.sign_digest
        self._is_mainnet = is_mainnet
        self.address = key.address
        """The address that the venue recovers, lower case."""

    def __repr__(self) -> str:
        return f"L1Signer({self.address})"

    def sign(
        self, action: Mapping[str, Any], nonce: int, vault: bytes | None = None, expiry_ms: int | None = None
    ) -> dict[str, str | int]:
        """The signature member of the request: r and s as hex of 64 digits, v as 27 or 28."""
        signature = self._sign(signing_digest(action_hash(action, nonce, vault, expiry_ms), self._is_mainnet))
        digits = signature.hex()
        return {"r": "0x" + digits[:64], "s": "0x" + digits[64:128], "v": 27 + signature[64]}

    def request(
        self, action: Mapping[str, Any], nonce: int, vault: bytes | None = None, expiry_ms: int | None = None
    ) -> dict[str, Any]:
        """The whole signed request, ready to be written as JSON."""
        request: dict[str, Any] = {
            "action": action,
            "nonce": nonce,
            "signature": self.sign(action, nonce, vault, expiry_ms),
        }
        if vault is not None:
            request["vaultAddress"] = "0x" + vault.hex()
        if expiry_ms is not None:
            request["expiresAfter"] = expiry_ms
        return request
