"""Why a transaction is refused: codespace, code and text, as the chain says them."""

from __future__ import annotations

from typing import Final

SDK: Final = "sdk"
CLOB: Final = "clob"
SUBACCOUNTS: Final = "subaccounts"
ACCOUNTPLUS: Final = "dydxaccountplus"

_DESCRIPTIONS: Final[dict[tuple[str, int], str]] = {
    (SDK, 2): "tx parse error",
    (SDK, 4): "unauthorized",
    (SDK, 5): "insufficient funds",
    (SDK, 8): "invalid pubkey",
    (SDK, 9): "unknown address",
    (SDK, 10): "invalid coins",
    (SDK, 11): "out of gas",
    (SDK, 13): "insufficient fee",
    (SDK, 18): "invalid request",
    (SDK, 19): "tx already in mempool",
    (SDK, 20): "mempool is full",
    (SDK, 30): "tx timeout height",
    (SDK, 32): "incorrect account sequence",
    (CLOB, 3): "Invalid order side",
    (CLOB, 4): "Invalid order quantums",
    (CLOB, 5): "Invalid order goodTilBlock",
    (CLOB, 6): "Invalid order subticks",
    (CLOB, 7): "Attempt to place an order that is already canceled",
    (CLOB, 8): "ClobPair ID does not reference a valid CLOB",
    (CLOB, 9): "A cancel already exists in the memclob for this order with a greater than or equal GoodTilBlock",
    (CLOB, 10): "The next block height is greater than the GoodTilBlock of the message",
    (CLOB, 11): "The GoodTilBlock of the message is further than ShortBlockWindow blocks into the future",
    (CLOB, 12): "MsgPlaceOrder is invalid",
    (CLOB, 20): "Replacing an existing order failed",
    (CLOB, 24): "Order is fully filled",
    (CLOB, 29): "Invalid stateful order cancellation",
    (CLOB, 32): "An existing stateful order cancellation has higher-or-equal priority than the new one",
    (CLOB, 34): "Order conflicts with ClobPair status",
    (CLOB, 42): "Unexpected time in force",
    (CLOB, 44): "Invalid time in force",
    (CLOB, 45): "Invalid batch cancel message",
    (CLOB, 48): "This field has been deprecated",
    (CLOB, 49): "Invalid TWAP order placement",
    (CLOB, 50): "Invalid builder code",
    (CLOB, 2001): "Reduce-only orders cannot increase the position size",
    (CLOB, 2003): "Post-only order would cross one or more maker orders",
    (CLOB, 2004): "IOC order is already filled, remaining size is cancelled.",
    (CLOB, 2005): "Order would violate isolated subaccount constraints.",
    (CLOB, 3000): "Invalid order flags",
    (CLOB, 3001): "Invalid order goodTilBlockTime",
    (CLOB, 3002): "Stateful orders cannot require immediate execution",
    (CLOB, 3003): "The block time is greater than the GoodTilBlockTime of the message",
    (CLOB, 3004): "The GoodTilBlockTime of the message is further than StatefulOrderTimeWindow into the future",
    (CLOB, 3005): "Existing stateful order has higher-or-equal priority than the new one",
    (CLOB, 3006): "Stateful order does not exist",
    (CLOB, 3007): "Stateful order collateralization check failed",
    (CLOB, 3008): "Stateful order was previously cancelled and therefore cannot be placed",
    (CLOB, 3010): "Stateful order cancellation failed because the order was already removed from state",
    (CLOB, 5001): "Block rate limit exceeded",
    (CLOB, 6000): "Condition type is invalid",
    (CLOB, 6001): "Trigger subticks are invalid",
    (CLOB, 9003): "Reduce-only is currently disabled for non-IOC orders",
    (CLOB, 10001): "Subaccount cannot open more orders due to equity tier limit.",
    (CLOB, 11000): "Invalid order router address",
    (CLOB, 11001): "Invalid address",
    (CLOB, 11002): "Invalid update leverage",
    (SUBACCOUNTS, 701): "leverage exceeds maximum allowed",
    (SUBACCOUNTS, 703): "leverage violates margin requirements",
    (SUBACCOUNTS, 200): "subaccount id number exceeds the maximum",
    (SUBACCOUNTS, 201): "subaccount owner is an invalid address",
    (ACCOUNTPLUS, 1): "authenticator not found",
    (ACCOUNTPLUS, 2): "invalid address",
    (ACCOUNTPLUS, 5): "authenticator initialization failed",
    (ACCOUNTPLUS, 100): "signature verification failed",
    (ACCOUNTPLUS, 101): "message type verification failed",
    (ACCOUNTPLUS, 102): "clob pair id verification failed",
    (ACCOUNTPLUS, 103): "subaccount verification failed",
    (ACCOUNTPLUS, 104): "AllOf verification failed",
    (ACCOUNTPLUS, 105): "AnyOf verification failed",
}


class TxRefused(Exception):
    """A transaction that the chain does not take.

    Attributes:
        codespace: Which module refuses: codes of different modules are different things.
        code: The module's number for the reason.
        log: The raw log: the detail, then the registered description.
    """

    def __init__(self, codespace: str, code: int, detail: str = "") -> None:
        description = _DESCRIPTIONS.get((codespace, code), f"error {code}")
        self.codespace = codespace
        self.code = code
        self.log = f"{detail}: {description}" if detail else description
        super().__init__(f"{codespace} {code}: {self.log}")
