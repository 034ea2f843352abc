"""Signing keys: where they come from, how they reach the one process that may have them, and how they stay there.

The supervisor reads each configured secret variable, takes it out of every child's environment and writes it into a
pipe that only the connector's own gateway inherits:

    supervisor environment --> Secret --> pipe --> gateway: receive_secret() --> private key
                                                            (decrypts the keystore, where one is configured)

A `Secret` shows its content to `reveal()` alone: not to repr, str, format, pickle, copy, a traceback or a debugger's
list of attributes.
"""

from __future__ import annotations

import ctypes
import hmac
import json
import os
import resource
from collections.abc import Mapping
from typing import Final, NoReturn

from latentspeed.engine.config import ConnectorSettings

SECRET_FD_VARIABLE: Final = "LATENTSPEED_SECRET_FD"
MNEMONIC_WORDS: Final = (12, 15, 18, 21, 24)
MAX_SECRET_BYTES: Final = 4096  # A pipe takes this much without a reader.
_HIDDEN: Final = "Secret(hidden)"
_PR_SET_DUMPABLE: Final = 4


class SecretError(Exception):
    """A secret that is missing or cannot be used; the message names where it was looked for, never its content."""


class Secret:
    """A text that must not be shown."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Returns the content: for the code that signs or decrypts, and for nobody else."""
        return self._text

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, specification: str) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied")


def read_secret(variable: str, environment: Mapping[str, str]) -> Secret:
    """Returns the secret in an environment variable; raises SecretError when it is absent, empty or absurdly long."""
    text = environment.get(variable, "").strip()
    if not text:
        raise SecretError(f"the environment variable {variable} is not set: it holds the secret of a connector")
    if len(text.encode()) > MAX_SECRET_BYTES:
        raise SecretError(f"the environment variable {variable} is longer than {MAX_SECRET_BYTES} bytes")
    return Secret(text)


def hand_over(secret: Secret) -> int:
    """Writes a secret into a new pipe and returns the descriptor that the gateway inherits; the caller closes it."""
    reader, writer = os.pipe()
    try:
        os.write(writer, secret.reveal().encode())
    finally:
        os.close(writer)
    return reader


def receive_secret(settings: ConnectorSettings) -> Secret:
    """Returns a connector's private key as 0x and 64 hex digits, or its mnemonic as it came, in the gateway process.

    The secret comes from the supervisor's pipe, which is read and closed, or, in a gateway that was started by hand,
    from its own environment, which it is taken out of. Raises SecretError when it is absent or not a private key, and
    when the keystore cannot be read or decrypted.
    """
    variable = settings.secret_variable
    descriptor = os.environ.pop(SECRET_FD_VARIABLE, None)
    received = read_secret(variable, os.environ) if descriptor is None else _read_pipe(variable, descriptor)
    os.environ.pop(variable, None)
    if settings.keystore is None:
        return _private_key(received, f"the environment variable {variable}")
    return _decrypt_keystore(settings, received)


def harden_process(allow_profiling: bool) -> None:
    """Keeps this process's memory from others: no core dump, and not readable by a debugger or py-spy unless allowed.

    Source: prctl(2) PR_SET_DUMPABLE, which also gives /proc/PID/environ and /proc/PID/mem to root.
    """
    # The soft limit is the one that counts; children of this process may raise theirs again.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if allow_profiling:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SecretError(f"prctl(PR_SET_DUMPABLE) failed: {os.strerror(ctypes.get_errno())}")


def _read_pipe(variable: str, descriptor: str) -> Secret:
    try:
        number = int(descriptor)
        with open(number, "rb", closefd=True) as pipe:
            text = pipe.read(MAX_SECRET_BYTES + 1).decode()
    except (ValueError, OSError):
        raise SecretError(f"{SECRET_FD_VARIABLE}={descriptor} is not a pipe with the secret of {variable}") from None
    if not text:
        raise SecretError(f"the supervisor's pipe was empty: the secret of {variable} was read before")
    return Secret(text)


def _private_key(secret: Secret, source: str) -> Secret:
    words = secret.reveal().split()
    if len(words) in MNEMONIC_WORDS and all(word.isascii() and word.isalpha() for word in words):
        # Whether the venue has such keys, and whether the words are right, is for the connector to say.
        return Secret(" ".join(words).lower())
    digits = secret.reveal().removeprefix("0x").removeprefix("0X")
    # A library's own refusal would quote the key; `from None` and a check of our own keep it out of every traceback.
    try:
        usable = len(digits) == 64 and digits.isascii() and int(digits, 16) > 0 and digits.isalnum()
    except ValueError:
        usable = False
    if not usable:
        rule = "64 hex digits, with or without 0x, or a mnemonic of 12 to 24 words"
        raise SecretError(f"{source} does not hold a private key: {rule}")
    return Secret("0x" + digits.lower())


def _decrypt_keystore(settings: ConnectorSettings, password: Secret) -> Secret:
    # Imported here: the supervisor reads this module too and has no use for it.
    from eth_account import Account

    path = settings.keystore
    assert path is not None
    try:
        keystore = json.loads(path.read_bytes())
    except OSError as error:
        raise SecretError(f"the keystore {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SecretError(f"the keystore {path} is not JSON") from None
    try:
        key = bytes(Account.decrypt(keystore, password.reveal()))
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        wrong = isinstance(error, ValueError) and "MAC mismatch" in str(error)
        reason = (
            f"the password in {settings.keystore_password_env} is wrong" if wrong else "not an eth-account keystore"
        )
        raise SecretError(f"the keystore {path} cannot be decrypted: {reason}") from None
    return _private_key(Secret(key.hex()), f"the keystore {path}")
