"""What transactions pay: nothing for trading, gas at a minimum price for everything else."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Final

from latentspeed.tools.venues.dydx_v4.accounts import Account
from latentspeed.tools.venues.dydx_v4.refusals import SDK, TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import Message, Transaction

USDC_DENOM: Final = "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5"
USDC_PRICE: Final = Fraction(25, 1000)
NATIVE_PRICE: Final = Fraction(25_000_000_000)
GAS_OF_A_TRANSACTION: Final = 50_000
GAS_OF_A_MESSAGE: Final = 20_000
GAS_OF_A_BYTE: Final = 10
_FREE: Final = frozenset({"MsgPlaceOrder", "MsgCancelOrder", "MsgBatchCancel", "MsgUpdateLeverage"})


def is_free(messages: tuple[Message, ...]) -> bool:
    """Whether a transaction trades only, with at most one transfer that funds a subaccount for it."""
    others = [message.name for message in messages if message.name not in _FREE]
    return len(others) < len(messages) and others in ([], ["MsgCreateTransfer"])


def gas_used(transaction: Transaction) -> int:
    """The gas that a transaction needs here; deterministic, and not what the real chain would meter."""
    return GAS_OF_A_TRANSACTION + GAS_OF_A_MESSAGE * len(transaction.messages) + GAS_OF_A_BYTE * len(transaction.raw)


def fee_of(transaction: Transaction, account: Account, native_denom: str) -> dict[str, int]:
    """What a transaction pays, by denomination.

    Raises:
        TxRefused: It offers too little (sdk 13), too little gas (sdk 11), or what its account does not have (sdk 5).
    """
    if is_free(transaction.messages):
        return {}
    offered = {denom: int(amount) for denom, amount in transaction.fee if amount.isdecimal()}
    prices = {USDC_DENOM: USDC_PRICE, native_denom: NATIVE_PRICE}
    required = {denom: ceil(price * transaction.gas_limit) for denom, price in prices.items()}
    if not transaction.gas_limit or not any(offered.get(denom, -1) >= least for denom, least in required.items()):
        raise TxRefused(SDK, 13, f"insufficient fees; got: {_coins(offered)} required: {_coins(required)}")
    used = gas_used(transaction)
    if used > transaction.gas_limit:
        detail = f"out of gas in location: txSize; gasWanted: {transaction.gas_limit}, gasUsed: {used}"
        raise TxRefused(SDK, 11, detail)
    held = {USDC_DENOM: account.usdc, native_denom: account.native}
    for denom, amount in offered.items():
        if held.get(denom, 0) < amount:
            detail = f"spendable balance {held.get(denom, 0)}{denom} is smaller than {amount}{denom}"
            raise TxRefused(SDK, 5, detail)
    return offered


def pay(account: Account, fee: dict[str, int]) -> None:
    """Takes a fee from an account."""
    for denom, amount in fee.items():
        if denom == USDC_DENOM:
            account.usdc -= amount
        else:
            account.native -= amount


def _coins(amounts: dict[str, int]) -> str:
    return ",".join(f"{amount}{denom}" for denom, amount in sorted(amounts.items()))
