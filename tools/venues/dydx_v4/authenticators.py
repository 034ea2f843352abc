"""Permissioned keys: what an owner has allowed another key to sign."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from latentspeed.tools.venues.dydx_v4.orders import OrderKey
from latentspeed.tools.venues.dydx_v4.refusals import ACCOUNTPLUS, TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import Message, Transaction


@dataclass(frozen=True, slots=True)
class Authenticator:
    """One registered rule."""

    id: int
    owner: str
    type: str
    data: bytes


class Authenticators:
    """All rules; their ids come from one counter."""

    def __init__(self) -> None:
        self._rules: dict[int, Authenticator] = {}
        self._last_id = 0

    def add(self, owner: str, kind: str, data: bytes) -> int:
        """Registers a rule and returns its id. Raises TxRefused for one that cannot be read."""
        try:
            _holds(kind, data, None)
        except (ValueError, KeyError, TypeError):
            raise TxRefused(ACCOUNTPLUS, 5, kind) from None
        self._last_id += 1
        self._rules[self._last_id] = Authenticator(self._last_id, owner, kind, data)
        return self._last_id

    def remove(self, owner: str, number: int) -> None:
        """Removes a rule of an owner. Raises TxRefused when there is none."""
        rule = self._rules.get(number)
        if rule is None or rule.owner != owner:
            raise TxRefused(ACCOUNTPLUS, 1, f"{number}")
        del self._rules[number]

    def permits(self, owner: str, number: int) -> bool:
        """Whether an order that was placed through a rule may still trade; 0 is the owner's own key."""
        rule = self._rules.get(number)
        return not number or (rule is not None and rule.owner == owner)

    def of(self, owner: str) -> list[Authenticator]:
        """The rules of an owner."""
        return [rule for rule in self._rules.values() if rule.owner == owner]

    def check(self, transaction: Transaction, *, is_signed: bool) -> None:
        """Refuses a transaction that the rules that it names do not permit. Raises TxRefused."""
        if len(transaction.authenticators) != len(transaction.messages):
            raise TxRefused(ACCOUNTPLUS, 5, "one selected authenticator for each message is required")
        for number, message in zip(transaction.authenticators, transaction.messages, strict=True):
            rule = self._rules.get(number)
            if rule is None or rule.owner != message.signer:
                raise TxRefused(ACCOUNTPLUS, 1, f"{number}")
            if not is_signed or not _holds(rule.type, rule.data, (transaction, message)):
                code = _CODES.get(rule.type, 5)
                raise TxRefused(ACCOUNTPLUS, code, f"authenticator {number}")


_CODES = {
    "SignatureVerification": 100,
    "MessageFilter": 101,
    "ClobPairIdFilter": 102,
    "SubaccountFilter": 103,
    "AllOf": 104,
    "AnyOf": 105,
}


def _holds(kind: str, data: bytes, asked: tuple[Transaction, Message] | None) -> bool:
    """Whether a rule permits a message; with nothing asked only whether it can be read."""
    if kind in ("AllOf", "AnyOf"):
        parts = json.loads(data)
        if not isinstance(parts, list) or not parts:
            raise ValueError(kind)
        answers = [_holds(part["type"], _config(part["config"]), asked) for part in parts]
        return all(answers) if kind == "AllOf" else any(answers)
    if kind == "SignatureVerification":
        if len(data) != 33:
            raise ValueError(kind)
        return asked is None or asked[0].public_key == data
    if kind not in _CODES:
        raise ValueError(kind)
    allowed = data.decode().split(",")
    if kind != "MessageFilter":
        allowed = [str(int(number)) for number in allowed]
    if asked is None:
        return True
    message = asked[1]
    if kind == "MessageFilter":
        return message.type_url in allowed
    numbers = _subaccounts(message.fields) if kind == "SubaccountFilter" else _pairs(message.fields)
    return bool(numbers) and {str(number) for number in numbers} <= set(allowed)


def _config(written: str | list[int]) -> bytes:
    """The data of a part: base64, or the numbers of its bytes, as the official client writes it."""
    return bytes(written) if isinstance(written, list) else base64.b64decode(written, validate=True)


def _order_id(fields: dict[str, Any]) -> OrderKey | None:
    order_id = (fields.get("order") or fields).get("order_id")
    return OrderKey.of(order_id) if order_id is not None else None


def _subaccounts(fields: dict[str, Any]) -> set[int]:
    key = _order_id(fields)
    if key is not None:
        return {key.number}
    holder = fields.get("subaccount_id") or (fields.get("transfer") or {}).get("sender")
    return {holder["number"]} if isinstance(holder, dict) else set()


def _pairs(fields: dict[str, Any]) -> set[int]:
    key = _order_id(fields)
    if key is not None:
        return {key.clob_pair_id}
    return {batch["clob_pair_id"] for batch in fields.get("short_term_cancels", ())}
