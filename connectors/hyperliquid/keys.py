"""The keys that sign for Hyperliquid: addresses as on Ethereum."""

from __future__ import annotations

import coincurve
import sha3

from latentspeed.connectors.signing_key import InvalidKey, Secp256k1Key

__all__ = ["InvalidKey", "SigningKey"]


class SigningKey(Secp256k1Key):
    """A key whose address is 0x and 40 lower-case hexadecimal digits."""

    __slots__ = ()

    @staticmethod
    def _address_of(public_key: coincurve.PublicKey) -> str:
        public = public_key.format(compressed=False)[1:]
        digits: str = sha3.keccak_256(public).hexdigest()
        return "0x" + digits[24:]
