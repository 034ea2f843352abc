"""Signing keys: where a secret comes from, and how it stays out of logs, tracebacks and reprs.

The secret enters as an environment variable or an encrypted keystore, becomes a key object at once and is never handed
on as text. An error says which source was wrong, never what it held, and does not chain to an exception that might.
A venue's own class says what address its kind of key has.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Self

import coincurve

from latentspeed.connectors.errors import ConnectorError
from latentspeed.connectors.signature_pool import CURVE_ORDER, SignaturePool


class InvalidKey(ConnectorError):
    """A secret that cannot be used; names the source and the rule, never the value."""


class Secp256k1Key(ABC):
    """One secp256k1 key. Shows its address and nothing else, and refuses to be pickled or copied into text."""

    __slots__ = ("_private", "address")

    def __init__(self, secret: bytes) -> None:
        """Takes 32 bytes.

        Raises:
            InvalidKey: Not 32 bytes, or not a key of the curve.
        """
        if not _is_key(secret):
            del secret
            raise InvalidKey("a signing key is 32 bytes, above zero and below the order of secp256k1")
        self._private = coincurve.PrivateKey(secret)
        self.address: str = self._address_of(self._private.public_key)
        """The address of the key, as the venue writes it."""

    @staticmethod
    @abstractmethod
    def _address_of(public_key: coincurve.PublicKey) -> str:
        """The address that the venue gives a public key."""

    @property
    def public_key(self) -> bytes:
        """The compressed public key, 33 bytes."""
        compressed: bytes = self._private.public_key.format()
        return compressed

    def sign_digest(self, digest: bytes) -> bytes:
        """A recoverable signature over 32 bytes: r, s, and the recovery number 0 or 1, in 65 bytes."""
        signature: bytes = self._private.sign_recoverable(digest, hasher=None)
        return signature

    def signature_pool(self, size: int) -> SignaturePool:
        """Signs with this key too, from up to `size` signatures that are prepared ahead."""
        return SignaturePool(self._private, size)

    @classmethod
    def from_environment(cls, variable: str, environment: Mapping[str, str] | None = None) -> Self:
        """The key that an environment variable holds, in a form that `from_text` takes.

        Raises:
            InvalidKey: The variable is not set or is not a key.
        """
        text = (os.environ if environment is None else environment).get(variable, "")
        # Frames of a raised exception keep their locals, which some tracebacks print: none may hold the secret.
        del environment
        secret, problem = cls._parse(text) if text else (b"", "is not set: it holds the signing key")
        del text
        if problem:
            raise InvalidKey(f"environment variable {variable} {problem}")
        return cls(secret)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The key that a text says: 64 hexadecimal digits with or without 0x, or what else the venue's keys come as.

        Raises:
            InvalidKey: It is not a key.
        """
        secret, problem = cls._parse(text)
        del text
        if problem:
            raise InvalidKey(f"the signing key {problem}")
        return cls(secret)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """The key that 64 hexadecimal digits say, with or without 0x.

        Raises:
            InvalidKey: It is not a key.
        """
        secret, problem = parse_hex_key(text)
        del text
        if problem:
            raise InvalidKey(f"the signing key {problem}")
        return cls(secret)

    @classmethod
    def from_keystore(cls, path: str | Path, password: str) -> Self:
        """The key in an encrypted eth-account keystore (version 3).

        Raises:
            InvalidKey: The file cannot be read, is not a keystore, or the password is wrong.
        """
        secret, problem = _decrypt_keystore(Path(path), password)
        del password
        if problem:
            raise InvalidKey(f"keystore {path} {problem}")
        return cls(secret)

    @classmethod
    def _parse(cls, text: str) -> tuple[bytes, str]:
        """The 32 bytes, or what is wrong with the text."""
        return parse_hex_key(text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is not pickled: it stays in the process that holds it")


def parse_hex_key(text: str) -> tuple[bytes, str]:
    """The 32 bytes of 64 hexadecimal digits, or what is wrong with them."""
    try:
        secret = bytes.fromhex(text.strip().removeprefix("0x").removeprefix("0X"))
    except ValueError:
        return b"", "is not hexadecimal"
    if len(secret) != 32:
        return b"", f"has {len(secret)} bytes instead of 32"
    if not _is_key(secret):
        return b"", "is not a key of secp256k1"
    return secret, ""


def _decrypt_keystore(path: Path, password: str) -> tuple[bytes, str]:
    """The 32 bytes, or what is wrong with the file or the password."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return b"", f"cannot be read: {type(error).__name__}"
    # Imported here: it takes a third of a second, and most programs use an environment variable.
    from eth_account import Account

    try:
        return bytes(Account.decrypt(content, password)), ""
    except ValueError as error:
        if "MAC" in str(error):
            return b"", "cannot be opened: the password does not fit"
        return b"", "is not a keystore of version 3"
    except (KeyError, TypeError, AttributeError, NotImplementedError):
        return b"", "is not a keystore of version 3"


def _is_key(secret: bytes) -> bool:
    return len(secret) == 32 and 0 < int.from_bytes(secret, "big") < CURVE_ORDER
