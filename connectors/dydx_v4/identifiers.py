"""The indexer's names of things, which follow from their contents: an order's is known before it is sent."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import Final
from uuid import UUID

NAMESPACE: Final = UUID("0f9da948-a6fb-4c45-9edc-4685c3f3317d")
_NAMESPACE_BYTES: Final = NAMESPACE.bytes
PARENT_SUBACCOUNTS: Final = 128
"""Subaccounts below are parents; a higher number is a child of the parent with the remainder as its number."""
MAX_SUBACCOUNT: Final = 128_000


@lru_cache(maxsize=256)
def subaccount_uuid(address: str, number: int) -> str:
    """The indexer's id of a subaccount."""
    return _uuid5(f"{address}-{number}")


def order_uuid(address: str, number: int, client_id: int, clob_pair_id: int, flags: int) -> str:
    """The indexer's id of an order; the same for whatever reuses the client id."""
    return _uuid5(f"{subaccount_uuid(address, number)}-{client_id}-{clob_pair_id}-{int(flags)}")


def _uuid5(name: str) -> str:
    """A version 5 UUID in the indexer's namespace, without the object that the library makes of it."""
    digest = bytearray(sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    digits = digest.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
