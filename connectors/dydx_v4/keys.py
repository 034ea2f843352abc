"""The keys that sign for dYdX: a mnemonic or a raw key, and the `dydx1...` address of either.

mnemonic --PBKDF2--> seed --BIP 32, m/44'/118'/0'/0/0--> key --> ripemd160(sha256(public key)) --bech32--> address
"""

from __future__ import annotations

import hashlib
import unicodedata

import coincurve

from latentspeed.connectors.dydx_v4.bech32 import bech32_decode, bech32_encode
from latentspeed.connectors.signing_key import InvalidKey, Secp256k1Key, parse_hex_key

__all__ = ["ADDRESS_PREFIX", "DERIVATION_PATH", "DydxKey", "InvalidKey", "is_address"]

ADDRESS_PREFIX = "dydx"
DERIVATION_PATH = "m/44'/118'/0'/0/0"


class DydxKey(Secp256k1Key):
    """A key whose address is bech32 with the prefix `dydx`. Its text is a mnemonic or 64 hexadecimal digits."""

    __slots__ = ()

    @classmethod
    def from_mnemonic(cls, mnemonic: str, *, passphrase: str = "", path: str = DERIVATION_PATH) -> DydxKey:
        """The key of a BIP 39 mnemonic of 12 to 24 English words; white space between them does not matter.

        Raises:
            InvalidKey: A word or the checksum is wrong.
        """
        secret, problem = _derive(mnemonic, passphrase, path)
        del mnemonic, passphrase
        if problem:
            raise InvalidKey(f"the mnemonic {problem}")
        return cls(secret)

    @classmethod
    def _parse(cls, text: str) -> tuple[bytes, str]:
        return _derive(text, "", DERIVATION_PATH) if len(text.split()) > 1 else parse_hex_key(text)

    @staticmethod
    def _address_of(public_key: coincurve.PublicKey) -> str:
        return bech32_encode(ADDRESS_PREFIX, ripemd160(hashlib.sha256(public_key.format()).digest()))


def is_address(text: str) -> bool:
    """Whether the text is the address of an account."""
    try:
        prefix, data = bech32_decode(text)
    except ValueError:
        return False
    return prefix == ADDRESS_PREFIX and len(data) == 20 and text == text.lower()


def ripemd160(data: bytes) -> bytes:
    """The 20-byte digest; OpenSSL may be built without it, so another library stands by."""
    try:
        return hashlib.new("ripemd160", data, usedforsecurity=False).digest()
    except ValueError:
        from Crypto.Hash import RIPEMD160

        return RIPEMD160.new(data).digest()


def _derive(mnemonic: str, passphrase: str, path: str) -> tuple[bytes, str]:
    """The 32 bytes, or what is wrong with the mnemonic."""
    # Imported here: it takes a third of a second, and most programs use a raw key.
    from eth_account.hdaccount.deterministic import HDPath
    from eth_account.hdaccount.mnemonic import Mnemonic
    from eth_account.types import Language

    # A stray newline would silently make another wallet of it.
    words = " ".join(unicodedata.normalize("NFKD", mnemonic).lower().split())
    if not Mnemonic(Language.ENGLISH).is_mnemonic_valid(words):
        return b"", f"of {len(words.split())} words is not valid: a word or the checksum is wrong"
    return bytes(HDPath(path).derive(Mnemonic.to_seed(words, passphrase))), ""
