"""Whose key signed: what a venue finds out about a request."""

from __future__ import annotations

import sha3
from coincurve import PublicKey


def recover_address(digest: bytes, r: str, s: str, v: int) -> str:
    """The address, lower case, whose key signed the digest. Raises ValueError for a malformed signature."""
    compact = int(r, 16).to_bytes(32, "big") + int(s, 16).to_bytes(32, "big") + bytes([v - 27])
    public = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    return "0x" + sha3.keccak_256(public.format(compressed=False)[1:]).digest()[12:].hex()
