"""Signed transactions: what never changes between the orders of one wallet is encoded once.

    TxRaw    1 body  2 auth info  3 signature (r and s, 64 bytes)
    SignDoc  1 body  2 auth info  3 chain id  4 account number      what is signed: its SHA-256
    body     1 messages, each {1 type url, 2 value}  2 memo  2047 extensions (authenticators)
    auth     1 signer {1 public key  2 mode  3 sequence}  2 fee {1 amounts  2 gas limit}

A short-term order needs no sequence: any that is signed is taken, so its auth info is a constant.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.protobuf import data, packed, text, uint
from latentspeed.connectors.dydx_v4.wire import Message
from latentspeed.connectors.signature_pool import SignaturePool

GAS_LIMIT: Final = 1_000_000
"""Orders are free, yet a fee without amounts has to name a limit."""
TIMESTAMP_NONCE_FROM: Final = 1 << 40
"""A sequence from here on is a time in milliseconds, which the account's counter does not bind."""

_PUBLIC_KEY_URL = "/cosmos.crypto.secp256k1.PubKey"
_EXTENSION_URL = "/dydxprotocol.accountplus.TxExtension"
_SIGN_MODE_DIRECT = 1


class Fee(NamedTuple):
    """What a transaction offers: amounts as (denomination, digits), and the limit of gas."""

    amounts: tuple[tuple[str, str], ...] = ()
    gas_limit: int = GAS_LIMIT


FREE: Final = Fee()


class TransactionSigner:
    """Makes the signed transactions of one key on one chain."""

    __slots__ = (
        "_auth_infos",
        "_chain_id",
        "_document_tail",
        "_extension",
        "_public_key",
        "_sign",
        "_usual_auth_info",
        "account_number",
        "address",
    )

    def __init__(
        self,
        key: DydxKey,
        chain_id: str,
        account_number: int,
        *,
        authenticators: Sequence[int] = (),
        pool: SignaturePool | None = None,
    ) -> None:
        """Encodes what does not change.

        Args:
            key: Signs: the owner's own key, or a trading key that `authenticators` permit.
            chain_id: What separates the networks: the same key has the same address on all of them.
            account_number: The owner's, also when a permitted key signs.
            authenticators: Ids of the owner's authenticators that permit the key, one for each message.
            pool: The key's prepared signatures, if any.
        """
        self.address = key.address
        """The address of the key that signs."""
        self._sign: Callable[[bytes], bytes] = key.sign_digest if pool is None else pool.sign_digest
        self._public_key = data(1, text(1, _PUBLIC_KEY_URL) + data(2, data(1, key.public_key)))
        self.account_number = account_number
        """The owner's number, which is signed."""
        self._chain_id = chain_id
        self._document_tail = text(3, chain_id) + uint(4, account_number)
        self._extension = b""
        if authenticators:
            self._extension = data(2047, text(1, _EXTENSION_URL) + data(2, packed(1, tuple(authenticators))))
        self._auth_infos: dict[tuple[int, Fee], bytes] = {}
        self._usual_auth_info = self._auth_info(0, FREE)

    def with_account_number(self, account_number: int) -> TransactionSigner:
        """The same signer for another number of the account, as it has on a chain that was begun anew."""
        twin = copy.copy(self)
        twin.account_number = account_number
        twin._document_tail = text(3, self._chain_id) + uint(4, account_number)
        return twin

    def transaction(self, messages: Sequence[Message], *, sequence: int = 0, memo: str = "", fee: Fee = FREE) -> bytes:
        """The signed bytes.

        Args:
            messages: What to do; one only for short-term orders.
            sequence: The account's, or a time in milliseconds; short-term orders take any.
            memo: A remark, which is signed too.
            fee: What is offered; orders are free.
        """
        body = data(1, _any(messages[0]))
        for message in messages[1:]:
            body += data(1, _any(message))
        if memo:
            body += text(2, memo)
        is_usual = not sequence and fee is FREE
        auth_info = self._usual_auth_info if is_usual else self._auth_info(sequence, fee)
        head = data(1, body + self._extension) + auth_info
        digest = hashlib.sha256(head + self._document_tail).digest()
        return head + b"\x1a\x40" + self._sign(digest)[:64]

    def _auth_info(self, sequence: int, fee: Fee) -> bytes:
        """Field 2 of both TxRaw and SignDoc, kept for the sequence that comes again and again."""
        known = self._auth_infos.get((sequence, fee))
        if known is not None:
            return known
        mode = data(2, data(1, uint(1, _SIGN_MODE_DIRECT)))
        amounts = b"".join(data(1, text(1, denomination) + text(2, digits)) for denomination, digits in fee.amounts)
        encoded = data(
            2, data(1, self._public_key + mode + uint(3, sequence)) + data(2, amounts + uint(2, fee.gas_limit))
        )
        if len(self._auth_infos) > 16:
            self._auth_infos.clear()
        self._auth_infos[sequence, fee] = encoded
        return encoded


def transaction_hash(transaction: bytes) -> str:
    """What nodes and the indexer call the transaction: 64 upper-case hexadecimal digits."""
    return hashlib.sha256(transaction).hexdigest().upper()


def _any(message: Message) -> bytes:
    type_url, value = message
    known = _TYPE_URLS.get(type_url)
    if known is None:
        known = _TYPE_URLS[type_url] = text(1, type_url)
    return known + data(2, value)


_TYPE_URLS: dict[str, bytes] = {}
