"""Signs what only an account's own key may ask for: approvals and transfers, as typed data that a wallet can show.

The scheme (EIP-712), from the inside out::

    struct  = keccak256(typehash HyperliquidTransaction:NAME(type name,...) | one 32-byte word for each field)
    domain  = HyperliquidSignTransaction, version 1, the chain id that the action names, zero contract
    digest  = keccak256(19 01 | domain separator | struct)

A text is hashed into its word, a number or an address stands in it right-aligned. `hyperliquidChain` says which
network is meant, so that what was signed for one is worth nothing on the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.signing import keccak256

CHAIN_ID = 421614
"""Any chain that a wallet likes; the one that the venue's own client names."""

STRUCTS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "approveAgent": (
        "ApproveAgent",
        (("hyperliquidChain", "string"), ("agentAddress", "address"), ("agentName", "string"), ("nonce", "uint64")),
    ),
    "approveBuilderFee": (
        "ApproveBuilderFee",
        (("hyperliquidChain", "string"), ("maxFeeRate", "string"), ("builder", "address"), ("nonce", "uint64")),
    ),
}
"""By action type: the name of its struct, and its fields in the order in which they are hashed."""


class UserSigner:
    """Signs an account's own actions for one network."""

    __slots__ = ("_chain", "_key", "address")

    def __init__(self, key: SigningKey, is_mainnet: bool) -> None:
        self._key = key
        self._chain = "Mainnet" if is_mainnet else "Testnet"
        self.address = key.address
        """The address that the venue recovers, lower case."""

    def __repr__(self) -> str:
        return f"UserSigner({self.address})"

    def request(self, kind: str, fields: Mapping[str, str | int], nonce: int) -> dict[str, Any]:
        """The whole signed request, ready to be written as JSON.

        Args:
            kind: The action's type, a key of STRUCTS.
            fields: The fields of its struct but for `hyperliquidChain` and `nonce`; addresses in lower case.
            nonce: Milliseconds since the epoch.
        """
        action = {
            "type": kind,
            "signatureChainId": hex(CHAIN_ID),
            "hyperliquidChain": self._chain,
            **fields,
            "nonce": nonce,
        }
        signature = self._key.sign_digest(typed_digest(kind, action))
        digits = signature.hex()
        return {
            "action": action,
            "nonce": nonce,
            "signature": {"r": "0x" + digits[:64], "s": "0x" + digits[64:128], "v": 27 + signature[64]},
        }


def typed_digest(kind: str, action: Mapping[str, Any]) -> bytes:
    """The 32 bytes that are signed for an action of a type in STRUCTS."""
    name, fields = STRUCTS[kind]
    declaration = ",".join(f"{type_name} {field}" for field, type_name in fields)
    struct = keccak256(f"HyperliquidTransaction:{name}({declaration})".encode())
    for field, type_name in fields:
        struct += _word(action[field], type_name)
    return keccak256(b"\x19\x01" + _domain_separator(int(action["signatureChainId"], 16)) + keccak256(struct))


def _word(value: Any, type_name: str) -> bytes:
    if type_name == "string":
        return keccak256(value.encode())
    number = int(value, 16) if type_name == "address" else value
    word: bytes = number.to_bytes(32, "big")
    return word


def _domain_separator(chain_id: int) -> bytes:
    typehash = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    name = keccak256(b"HyperliquidSignTransaction")
    return keccak256(typehash + name + keccak256(b"1") + chain_id.to_bytes(32, "big") + bytes(32))
