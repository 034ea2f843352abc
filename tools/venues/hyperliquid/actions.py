"""The signed actions, typed. The order of fields is the protocol's key order, which decides the hash.

Decoding a request into these structs drops unknown keys and restores the order, so that encoding the struct again is
the canonical form that the venue hashes, whatever bytes the client sent.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from latentspeed.tools.venues.hyperliquid.user_signed import Natural, UserAction, UserSigned, normalise_user_signed
from latentspeed.tools.venues.hyperliquid.wire import WireError, address_text, canonical_decimal, cloid_text


class Limit(Struct, gc=False):
    """A limit order's time in force."""

    tif: Literal["Gtc", "Ioc", "Alo", "FrontendMarket"]


class Trigger(Struct, gc=False, rename="camel"):
    """A trigger: its fields in hash order."""

    is_market: bool
    trigger_px: str
    tpsl: Literal["tp", "sl"]


class OrderKind(Struct, omit_defaults=True):
    """Exactly one of the two."""

    limit: Limit | UnsetType = UNSET
    trigger: Trigger | UnsetType = UNSET


class OrderWire(Struct, omit_defaults=True):
    """One order: asset, is buy, price, size, reduce only, kind, client order id."""

    a: Natural
    b: bool
    p: str
    s: str
    r: bool
    t: OrderKind
    c: str | UnsetType = UNSET


class Builder(Struct, gc=False):
    """Who gets the builder fee, and how many tenths of a basis point."""

    b: str
    f: Natural


class Priority(Struct, gc=False):
    """Paid priority."""

    p: Natural


class PlaceOrders(Struct, tag_field="type", tag="order", omit_defaults=True):
    orders: list[OrderWire]
    grouping: Literal["na", "normalTpsl", "positionTpsl"] | Priority
    builder: Builder | UnsetType = UNSET


class CancelWire(Struct, gc=False):
    a: Natural
    o: Natural


class Cancel(Struct, tag_field="type", tag="cancel", omit_defaults=True):
    cancels: list[CancelWire]
    f: bool | UnsetType = UNSET


class CancelByCloidWire(Struct, gc=False):
    asset: Natural
    cloid: str


class CancelByCloid(Struct, tag_field="type", tag="cancelByCloid", omit_defaults=True):
    cancels: list[CancelByCloidWire]
    f: bool | UnsetType = UNSET


class Modify(Struct, tag_field="type", tag="modify", omit_defaults=True):
    oid: Natural | str
    order: OrderWire
    a: bool | UnsetType = UNSET


class ModifyWire(Struct):
    oid: Natural | str
    order: OrderWire


class BatchModify(Struct, tag_field="type", tag="batchModify", omit_defaults=True):
    modifies: list[ModifyWire]
    a: bool | UnsetType = UNSET


class ScheduleCancel(Struct, tag_field="type", tag="scheduleCancel", omit_defaults=True):
    time: Natural | UnsetType = UNSET


class UpdateLeverage(Struct, tag_field="type", tag="updateLeverage", rename="camel"):
    asset: Natural
    is_cross: bool
    leverage: Natural


class UpdateIsolatedMargin(Struct, tag_field="type", tag="updateIsolatedMargin", rename="camel"):
    asset: Natural
    is_buy: bool
    ntli: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class TopUpIsolatedOnlyMargin(Struct, tag_field="type", tag="topUpIsolatedOnlyMargin"):
    asset: Natural
    leverage: str


class TwapTerms(Struct, gc=False):
    """A TWAP: asset, is buy, size, reduce only, minutes, randomised timing."""

    a: Natural
    b: bool
    s: str
    r: bool
    m: Natural
    t: bool


class TwapTrigger(Struct, gc=False):
    """The price at which a TWAP starts, and whether from below."""

    p: str
    a: bool


class TwapDetails(Struct):
    """Conditions of a TWAP: both keys are there, null when there is no such condition."""

    t: TwapTrigger | None
    s: str | None


class TwapOrder(Struct, tag_field="type", tag="twapOrder", omit_defaults=True):
    twap: TwapTerms
    details: TwapDetails | UnsetType = UNSET

    @property
    def has_conditions(self) -> bool:
        """Whether it is to start or stop at some price."""
        return self.details is not UNSET and (self.details.t is not None or self.details.s is not None)


class TwapCancel(Struct, tag_field="type", tag="twapCancel"):
    a: Natural
    t: Natural


class Noop(Struct, tag_field="type", tag="noop"):
    pass


class EvmUserModify(Struct, tag_field="type", tag="evmUserModify", rename="camel"):
    using_big_blocks: bool


class SetReferrer(Struct, tag_field="type", tag="setReferrer"):
    code: str


class ReserveRequestWeight(Struct, tag_field="type", tag="reserveRequestWeight", omit_defaults=True):
    weight: Natural
    destination: str | UnsetType = UNSET


class CreateSubAccount(Struct, tag_field="type", tag="createSubAccount"):
    name: str


class SubAccountModify(Struct, tag_field="type", tag="subAccountModify", rename="camel"):
    sub_account_user: str
    name: str


class SubAccountTransfer(Struct, tag_field="type", tag="subAccountTransfer", rename="camel"):
    sub_account_user: str
    is_deposit: bool
    usd: Natural


class SubAccountSpotTransfer(Struct, tag_field="type", tag="subAccountSpotTransfer", rename="camel"):
    sub_account_user: str
    is_deposit: bool
    token: str
    amount: str


class AgentSendAsset(Struct, tag_field="type", tag="agentSendAsset", rename="camel"):
    destination: str
    source_dex: str
    destination_dex: str
    token: str
    amount: str
    from_sub_account: str
    nonce: Natural


class AgentSetAbstraction(Struct, tag_field="type", tag="agentSetAbstraction"):
    abstraction: Literal["i", "u", "p"]


class AgentEnableDexAbstraction(Struct, tag_field="type", tag="agentEnableDexAbstraction"):
    pass


class CreateVault(Struct, tag_field="type", tag="createVault", rename="camel"):
    name: str
    description: str
    initial_usd: Natural
    nonce: Natural


class VaultTransfer(Struct, tag_field="type", tag="vaultTransfer", rename="camel"):
    vault_address: str
    is_deposit: bool
    usd: Natural


L1Action = (
    PlaceOrders
    | Cancel
    | CancelByCloid
    | Modify
    | BatchModify
    | ScheduleCancel
    | UpdateLeverage
    | UpdateIsolatedMargin
    | TopUpIsolatedOnlyMargin
    | TwapOrder
    | TwapCancel
    | Noop
    | EvmUserModify
    | SetReferrer
    | ReserveRequestWeight
    | CreateSubAccount
    | SubAccountModify
    | SubAccountTransfer
    | SubAccountSpotTransfer
    | AgentSendAsset
    | AgentSetAbstraction
    | AgentEnableDexAbstraction
    | CreateVault
    | VaultTransfer
)
Action = L1Action | UserAction


class Signature(Struct, gc=False):
    """Hex numbers, leading zeros kept or dropped, and the recovery byte."""

    r: str
    s: str
    v: int


class Envelope(Struct, rename="camel"):
    """What is posted to `/exchange`. Unknown keys are ignored; an absent and a null optional are the same."""

    action: Action
    nonce: Natural
    signature: Signature
    vault_address: str | None = None
    expires_after: Natural | None = None


_decode = msgspec.json.Decoder(Envelope).decode


def decode_envelope(body: bytes | msgspec.Raw) -> Envelope:
    """Return the request with every value in canonical form.

    Raises:
        WireError: anything that the venue would answer with 422.
    """
    try:
        envelope = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WireError(str(error)) from None
    _normalise(envelope.action)
    if envelope.vault_address is not None:
        envelope.vault_address = address_text(envelope.vault_address)
    return envelope


def _normalise(action: Action) -> None:
    if isinstance(action, UserSigned):
        normalise_user_signed(action)
    elif isinstance(action, PlaceOrders):
        for order in action.orders:
            _normalise_order(order)
        if action.builder is not UNSET:
            action.builder.b = address_text(action.builder.b)
    elif isinstance(action, TwapOrder):
        _normalise_twap(action)
    elif isinstance(action, CancelByCloid):
        for cancel in action.cancels:
            cancel.cloid = cloid_text(cancel.cloid)
    elif isinstance(action, SubAccountTransfer | SubAccountSpotTransfer | SubAccountModify):
        action.sub_account_user = address_text(action.sub_account_user)
    elif isinstance(action, VaultTransfer):
        action.vault_address = address_text(action.vault_address)
    elif isinstance(action, Modify):
        action.oid = action.oid if isinstance(action.oid, int) else cloid_text(action.oid)
        _normalise_order(action.order)
    elif isinstance(action, BatchModify):
        for modify in action.modifies:
            modify.oid = modify.oid if isinstance(modify.oid, int) else cloid_text(modify.oid)
            _normalise_order(modify.order)


def _normalise_twap(action: TwapOrder) -> None:
    action.twap.s = canonical_decimal(action.twap.s)
    if action.details is not UNSET:
        if action.details.t is not None:
            action.details.t.p = canonical_decimal(action.details.t.p)
        if action.details.s is not None:
            action.details.s = canonical_decimal(action.details.s)


def _normalise_order(order: OrderWire) -> None:
    order.p = canonical_decimal(order.p)
    order.s = canonical_decimal(order.s)
    kind = order.t
    if (kind.limit is UNSET) == (kind.trigger is UNSET):
        raise WireError("an order is either limit or trigger")
    if kind.trigger is not UNSET:
        kind.trigger.trigger_px = canonical_decimal(kind.trigger.trigger_px)
    if order.c is not UNSET:
        order.c = cloid_text(order.c)
