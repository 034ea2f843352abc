"""A fingerprint of one fill, so that many of them can be compared by one number."""

from __future__ import annotations

from hashlib import blake2b

DIGESTS = 1 << 64


def fill_digest(trade_id: str, side: int, price_units: int, amount_lots: int, fee_units: int) -> int:
    """A 64-bit fingerprint of one fill; a sum of them, modulo 2^64, does not depend on their order."""
    text = f"{trade_id}|{int(side)}|{price_units}|{amount_lots}|{fee_units}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
