"""Transactions as a node takes them apart: strict decoding, whose they are, and whether the signature is right."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Final

import coincurve
from Crypto.Hash import RIPEMD160

from latentspeed.tools.venues.dydx_v4 import schemas
from latentspeed.tools.venues.dydx_v4.protobuf import DecodeError, decode, encode
from latentspeed.tools.venues.dydx_v4.refusals import SDK, TxRefused

ADDRESS_PREFIX: Final = "dydx"
_SIGN_MODE_DIRECT = 1
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its type, its fields, the account that has to sign it, and the authenticator that lets another.

    `authenticator` is 0 where the account's own key signs.
    """

    type_url: str
    fields: dict[str, Any]
    signer: str
    authenticator: int = 0

    @property
    def name(self) -> str:
        """The last part of the type URL."""
        return self.type_url.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction.

    Attributes:
        hash: What nodes call it, upper-case hexadecimal.
        messages: What it does.
        public_key: Of who signed it, 33 bytes.
        authenticators: Ids of authenticators that it names, one for each message; empty without.
    """

    raw: bytes
    hash: str
    messages: tuple[Message, ...]
    public_key: bytes
    sequence: int
    memo: str
    timeout_height: int
    gas_limit: int
    fee: tuple[tuple[str, str], ...]
    authenticators: tuple[int, ...]
    body: bytes
    auth_info: bytes
    signature: bytes

    @property
    def signer(self) -> str:
        """The account that it acts for."""
        return self.messages[0].signer

    def is_signed_for(self, chain_id: str, account_number: int) -> bool:
        """Whether the signature covers this transaction on this chain for this account."""
        document = encode(
            {
                "body": self.body,
                "auth_info": self.auth_info,
                "chain_id": chain_id,
                "account_number": account_number,
            },
            schemas.SIGN_DOC,
        )
        if len(self.signature) != 64 or int.from_bytes(self.signature[32:], "big") > _HALF_ORDER:
            return False
        try:
            der = coincurve.ecdsa.cdata_to_der(coincurve.ecdsa.deserialize_compact(self.signature))
            return bool(coincurve.PublicKey(self.public_key).verify(der, document))
        except ValueError:
            return False


def decode_transaction(raw: bytes) -> Transaction:
    """Takes a transaction apart. Raises TxRefused with the node's code for one that cannot be read."""
    try:
        envelope = decode(raw, schemas.TX_RAW)
        body = decode(envelope["body"], schemas.TX_BODY)
        auth_info = decode(envelope["auth_info"], schemas.AUTH_INFO)
        messages = tuple(_message(any_message) for any_message in body["messages"])
        authenticators: tuple[int, ...] = ()
        for extension in body["non_critical_extension_options"]:
            if extension["type_url"] == schemas.TX_EXTENSION_URL:
                chosen = decode(extension["value"], schemas.TX_EXTENSION)["selected_authenticators"]
                authenticators = tuple(chosen)
        if len(authenticators) == len(messages):
            messages = tuple(
                replace(one, authenticator=rule) for one, rule in zip(messages, authenticators, strict=True)
            )
        if not messages:
            raise TxRefused(SDK, 18, "must contain at least one message")
        if len(auth_info["signer_infos"]) != 1 or len(envelope["signatures"]) != 1:
            raise TxRefused(SDK, 4, "wrong number of signers")
        signer = auth_info["signer_infos"][0]
        mode = ((signer["mode_info"] or {}).get("single") or {}).get("mode", 0)
        if mode != _SIGN_MODE_DIRECT:
            raise TxRefused(SDK, 4, f"sign mode {mode} is not supported")
        key = signer["public_key"] or {"type_url": "", "value": b""}
        if key["type_url"] != schemas.PUBLIC_KEY_URL:
            raise DecodeError(f"unable to resolve type URL {key['type_url']}")
        public_key = decode(key["value"], schemas.PUBLIC_KEY)["key"]
    except DecodeError as error:
        raise TxRefused(SDK, 2, str(error)) from None
    fee = auth_info["fee"] or {"amount": [], "gas_limit": 0}
    return Transaction(
        raw=raw,
        hash=hashlib.sha256(raw).hexdigest().upper(),
        messages=messages,
        public_key=public_key,
        sequence=signer["sequence"],
        memo=body["memo"],
        timeout_height=body["timeout_height"],
        gas_limit=fee["gas_limit"],
        fee=tuple((coin["denom"], coin["amount"]) for coin in fee["amount"]),
        authenticators=authenticators,
        body=envelope["body"],
        auth_info=envelope["auth_info"],
        signature=envelope["signatures"][0],
    )


def _message(any_message: dict[str, Any]) -> Message:
    type_url = any_message["type_url"]
    schema = schemas.MESSAGES.get(type_url)
    if schema is None:
        raise DecodeError(f"unable to resolve type URL {type_url}")
    fields = decode(any_message["value"], schema)
    return Message(type_url, fields, _signer_of(type_url, fields))


def _signer_of(type_url: str, fields: dict[str, Any]) -> str:
    """The account that a message speaks for."""
    holder = fields.get("order") or fields.get("transfer") or fields
    if "order_id" in holder:
        holder = holder["order_id"] or {}
    subaccount = holder.get("subaccount_id") or holder.get("sender")
    if type_url.endswith("MsgSend"):
        return str(fields["from_address"])
    if isinstance(subaccount, str):
        return subaccount
    return str((subaccount or {}).get("owner", ""))


def address_of(public_key: bytes) -> str:
    """The `dydx1...` address of a compressed public key."""
    digest = RIPEMD160.new(hashlib.sha256(public_key).digest()).digest()
    bits = int.from_bytes(digest, "big")
    values = [bits >> 155 - 5 * place & 31 for place in range(32)]
    expanded = [ord(letter) >> 5 for letter in ADDRESS_PREFIX] + [0] + [ord(letter) & 31 for letter in ADDRESS_PREFIX]
    checksum = 1
    for value in (*expanded, *values, 0, 0, 0, 0, 0, 0):
        top, checksum = checksum >> 25, (checksum & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> place & 1 else 0
    checksum ^= 1
    tail = [checksum >> 5 * (5 - place) & 31 for place in range(6)]
    return f"{ADDRESS_PREFIX}1" + "".join(_CHARSET[value] for value in (*values, *tail))
