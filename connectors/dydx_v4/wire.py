"""What dYdX is sent: orders, cancels and transfers as protobuf messages. Field numbers are facts of the protocol.

SubaccountId  1 owner  2 number
OrderId       1 subaccount  2 client id (FIXED32)  3 flags  4 clob pair
Order         1 id  2 side  3 quantums  4 subticks  5 good-til block | 6 good-til time (FIXED32)  7 time in force
              8 reduce only  9 client metadata  10 condition  11 trigger subticks  12 TWAP  13 builder  14 router
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from latentspeed.connectors.dydx_v4.protobuf import data, fixed32, packed, text, uint

PLACE_ORDER: Final = "/dydxprotocol.clob.MsgPlaceOrder"
CANCEL_ORDER: Final = "/dydxprotocol.clob.MsgCancelOrder"
BATCH_CANCEL: Final = "/dydxprotocol.clob.MsgBatchCancel"
UPDATE_LEVERAGE: Final = "/dydxprotocol.clob.MsgUpdateLeverage"
CREATE_TRANSFER: Final = "/dydxprotocol.sending.MsgCreateTransfer"
DEPOSIT: Final = "/dydxprotocol.sending.MsgDepositToSubaccount"
WITHDRAW: Final = "/dydxprotocol.sending.MsgWithdrawFromSubaccount"

MAX_BATCH_CANCELS: Final = 100
USDC_ASSET_ID: Final = 0


class Side(IntEnum):
    """Which way an order trades."""

    BUY = 1
    SELL = 2


class OrderFlags(IntEnum):
    """Which kind of order an id names."""

    SHORT_TERM = 0
    CONDITIONAL = 32
    LONG_TERM = 64
    TWAP = 128


class WireTimeInForce(IntEnum):
    """How long an order may rest; UNSPECIFIED is good-til."""

    UNSPECIFIED = 0
    IOC = 1
    POST_ONLY = 2


class Condition(IntEnum):
    """What triggers a conditional order."""

    NONE = 0
    STOP_LOSS = 1
    TAKE_PROFIT = 2


class Message(NamedTuple):
    """A message of a transaction."""

    type_url: str
    value: bytes


@dataclass(frozen=True, slots=True)
class OrderId:
    """What names an order on the chain: nobody else may use it while the order lives."""

    owner: str
    subaccount: int
    client_id: int
    flags: OrderFlags
    clob_pair_id: int

    def encode(self) -> bytes:
        """The message."""
        return (
            data(1, subaccount_id(self.owner, self.subaccount))
            + fixed32(2, self.client_id)
            + uint(3, self.flags)
            + uint(4, self.clob_pair_id)
        )


@dataclass(frozen=True, slots=True)
class Twap:
    """How a TWAP order is cut: seconds, seconds, and parts per million."""

    duration_s: int
    interval_s: int
    price_tolerance_ppm: int


@dataclass(frozen=True, slots=True)
class WireOrder:
    """An order as the chain takes it. Exactly one of the good-til fields is not 0; the block is the short-term one.

    Quantums and subticks are the venue's integers; `good_til_time` is in seconds since the epoch.
    """

    id: OrderId
    side: Side
    quantums: int
    subticks: int
    good_til_block: int = 0
    good_til_time: int = 0
    time_in_force: WireTimeInForce = WireTimeInForce.UNSPECIFIED
    reduce_only: bool = False
    client_metadata: int = 0
    condition: Condition = Condition.NONE
    trigger_subticks: int = 0
    twap: Twap | None = None
    builder: tuple[str, int] | None = None
    router: str = ""

    def encode(self) -> bytes:
        """The message."""
        encoded = (
            data(1, self.id.encode())
            + uint(2, self.side)
            + uint(3, self.quantums)
            + uint(4, self.subticks)
            + uint(5, self.good_til_block)
            + fixed32(6, self.good_til_time)
            + uint(7, self.time_in_force)
            + uint(8, self.reduce_only)
            + uint(9, self.client_metadata)
            + uint(10, self.condition)
            + uint(11, self.trigger_subticks)
        )
        if self.twap is not None:
            twap = self.twap
            encoded += data(12, uint(1, twap.duration_s) + uint(2, twap.interval_s) + uint(3, twap.price_tolerance_ppm))
        if self.builder is not None:
            address, fee_ppm = self.builder
            encoded += data(13, text(1, address) + uint(2, fee_ppm))
        return encoded + text(14, self.router)


@lru_cache(maxsize=256)
def subaccount_id(owner: str, number: int) -> bytes:
    """The message that names a subaccount."""
    return text(1, owner) + uint(2, number)


def place_order(order: WireOrder) -> Message:
    """Places an order."""
    return Message(PLACE_ORDER, data(1, order.encode()))


def cancel_order(order_id: OrderId, *, good_til_block: int = 0, good_til_time: int = 0) -> Message:
    """Cancels an order; the good-til value must not be below the order's own, of the same kind."""
    return Message(CANCEL_ORDER, data(1, order_id.encode()) + uint(2, good_til_block) + fixed32(3, good_til_time))


def batch_cancel(owner: str, subaccount: int, client_ids: Mapping[int, Sequence[int]], good_til_block: int) -> Message:
    """Cancels short-term orders of one subaccount: their client ids by clob pair.

    Raises:
        ValueError: None, more than MAX_BATCH_CANCELS, or one twice.
    """
    count = sum(len(ids) for ids in client_ids.values())
    if not 0 < count <= MAX_BATCH_CANCELS or count != sum(len(set(ids)) for ids in client_ids.values()):
        raise ValueError(f"{count} cancels in one batch: 1 to {MAX_BATCH_CANCELS}, each once, are allowed")
    batches = b"".join(data(2, uint(1, pair) + packed(2, tuple(ids))) for pair, ids in client_ids.items() if ids)
    return Message(BATCH_CANCEL, data(1, subaccount_id(owner, subaccount)) + batches + uint(3, good_til_block))


def update_leverage(owner: str, subaccount: int, initial_margin_ppm: Mapping[int, int]) -> Message:
    """Sets a subaccount's own initial margin by clob pair, in parts per million."""
    pairs = b"".join(data(2, uint(1, pair) + uint(2, ppm)) for pair, ppm in initial_margin_ppm.items())
    return Message(UPDATE_LEVERAGE, data(1, subaccount_id(owner, subaccount)) + pairs)


def create_transfer(owner: str, subaccount: int, recipient: str, recipient_subaccount: int, quantums: int) -> Message:
    """Moves USDC, in millionths, from one subaccount to another."""
    transfer = (
        data(1, subaccount_id(owner, subaccount))
        + data(2, subaccount_id(recipient, recipient_subaccount))
        + uint(3, USDC_ASSET_ID)
        + uint(4, quantums)
    )
    return Message(CREATE_TRANSFER, data(1, transfer))


def deposit(owner: str, subaccount: int, quantums: int) -> Message:
    """Moves USDC, in millionths, from the wallet to a subaccount of the same owner."""
    return Message(DEPOSIT, text(1, owner) + data(2, subaccount_id(owner, subaccount)) + uint(4, quantums))


def withdraw(owner: str, subaccount: int, quantums: int) -> Message:
    """Moves USDC, in millionths, from a subaccount to the wallet of the same owner."""
    return Message(WITHDRAW, data(2, subaccount_id(owner, subaccount)) + text(1, owner) + uint(4, quantums))
