"""Messages of which a part cannot be understood: the rest counts, and the part is told of; see `row_decoder`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from latentspeed.connectors.dydx_v4 import messages
from latentspeed.connectors.dydx_v4.messages import (
    AccountChanges,
    FillRow,
    FundingPaymentRow,
    MarketChanges,
    MarketRow,
    OraclePrice,
    OrderRow,
    PositionRow,
    SubaccountRow,
)
from latentspeed.connectors.row_decoder import MalformedMessage, sound_rows

T = TypeVar("T")
Tell = Callable[[str, str], None]
"""Takes a code and a text."""
HIGHEST_BLOCK = (1 << 32) - 1
"""Heights go onto the chain as 32 bits."""


class _LooseAccount(msgspec.Struct, rename="camel"):
    subaccount: msgspec.Raw = msgspec.Raw(b"null")
    orders: list[msgspec.Raw] = []
    fills: list[msgspec.Raw] = []
    perpetual_positions: list[msgspec.Raw] = []
    block_height: Any = ""


class _LooseMarkets(msgspec.Struct, rename="camel"):
    markets: dict[str, msgspec.Raw] = {}
    trading: dict[str, msgspec.Raw] = {}
    oracle_prices: dict[str, msgspec.Raw] = {}


class _LooseFills(msgspec.Struct, rename="camel"):
    fills: list[msgspec.Raw] = []
    total_results: Any = 0


class _LooseFundings(msgspec.Struct, rename="camel"):
    funding_payments: list[msgspec.Raw] = []


_LOOSE_FUNDINGS = msgspec.json.Decoder(_LooseFundings)
_FUNDING = msgspec.json.Decoder(FundingPaymentRow)
_LOOSE_ACCOUNT = msgspec.json.Decoder(_LooseAccount)
_LOOSE_MARKETS = msgspec.json.Decoder(_LooseMarkets)
_LOOSE_FILLS = msgspec.json.Decoder(_LooseFills)
_LOOSE_ORDERS = msgspec.json.Decoder(list[msgspec.Raw])
_SUBACCOUNT_ROW = msgspec.json.Decoder(SubaccountRow | None)
_FILL = msgspec.json.Decoder(FillRow)
_POSITION = msgspec.json.Decoder(PositionRow)
_MARKET = msgspec.json.Decoder(MarketRow)
_ORACLE_PRICE = msgspec.json.Decoder(OraclePrice)


def account_changes(contents: msgspec.Raw, tell: Tell) -> AccountChanges:
    """What a subaccount's channel says. Raises MalformedMessage when not even its frame can be understood."""
    try:
        return messages.ACCOUNT_CHANGES.decode(contents)
    except MalformedMessage:
        loose = _LOOSE_ACCOUNT.decode(contents)
    subaccounts = _sound([loose.subaccount], _SUBACCOUNT_ROW, "subaccount", tell)
    return AccountChanges(
        subaccounts[0] if subaccounts else None,
        _sound(loose.orders, messages.ORDER, "order", tell),
        _sound(loose.fills, _FILL, "fill", tell),
        _sound(loose.perpetual_positions, _POSITION, "position", tell),
        str(loose.block_height or ""),
    )


def market_changes(contents: msgspec.Raw, tell: Tell) -> MarketChanges:
    """What the markets' channel says. Raises MalformedMessage when not even its frame can be understood."""
    try:
        return messages.MARKET_CHANGES.decode(contents)
    except MalformedMessage:
        loose = _LOOSE_MARKETS.decode(contents)
    return MarketChanges(
        _sound_by_name(loose.markets, _MARKET, "market", tell),
        _sound_by_name(loose.trading, _MARKET, "market", tell),
        _sound_by_name(loose.oracle_prices, _ORACLE_PRICE, "oracle price", tell),
    )


def market_rows(body: bytes, tell: Tell) -> dict[str, MarketRow]:
    """The markets of an answer."""
    try:
        return messages.MARKETS.decode(body).markets
    except MalformedMessage:
        return _sound_by_name(_LOOSE_MARKETS.decode(body).markets, _MARKET, "market", tell)


def fill_rows(body: bytes, tell: Tell) -> tuple[list[FillRow], int]:
    """The fills of an answer, and how many there are on all pages, 0 where the answer does not say it."""
    try:
        answer = messages.FILLS.decode(body)
        return answer.fills, answer.total_results
    except MalformedMessage:
        loose = _LOOSE_FILLS.decode(body)
        total = loose.total_results if isinstance(loose.total_results, int) else 0
        return _sound(loose.fills, _FILL, "fill", tell), total


def funding_rows(body: bytes, tell: Tell) -> tuple[list[FundingPaymentRow], int]:
    """The funding payments of an answer, and how many rows it has."""
    try:
        rows = messages.FUNDING_PAYMENTS.decode(body).funding_payments
        return rows, len(rows)
    except MalformedMessage:
        raws = _LOOSE_FUNDINGS.decode(body).funding_payments
        return _sound(raws, _FUNDING, "funding payment", tell), len(raws)


def order_rows(body: bytes, tell: Tell) -> list[OrderRow]:
    """The orders of an answer."""
    try:
        return messages.ORDERS.decode(body)
    except MalformedMessage:
        return _sound(_LOOSE_ORDERS.decode(body), messages.ORDER, "order", tell)


def block_number(text: str) -> int:
    """A height. Raises ValueError for what no block can have."""
    height = int(text)
    if not 0 < height <= HIGHEST_BLOCK:
        raise ValueError(f"{text!r:.60} is no height")
    return height


def finite(text: str) -> float:
    """A number. Raises ValueError for any other text, and for what is not finite."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r:.60} is no number")
    return number


def _sound(raws: Iterable[msgspec.Raw], decoder: msgspec.json.Decoder[T], what: str, tell: Tell) -> list[T]:
    return sound_rows(raws, decoder, lambda text: tell("malformed_message", f"{what}: {text}"))


def _sound_by_name(
    raws: dict[str, msgspec.Raw], decoder: msgspec.json.Decoder[T], what: str, tell: Tell
) -> dict[str, T]:
    found = {}
    for name, raw in raws.items():
        for row in _sound([raw], decoder, f"{what} {name}", tell):
            found[name] = row
    return found
