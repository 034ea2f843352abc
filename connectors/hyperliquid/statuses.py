"""What the venue's status names and error texts mean for an order.

New statuses appear several times a year, so a name that is not in the table is judged by its ending, and one that
matches nothing changes no order: it is reported, and the order is asked about again.

An IOC order that found nothing ends EXPIRED (its time in force lapsed), the same in replies, streams and queries.
"""

from __future__ import annotations

from typing import NamedTuple

from latentspeed.connectors.types import OrderState

_CANCELLED = (
    "canceled",
    "marginCanceled",
    "vaultWithdrawalCanceled",
    "openInterestCapCanceled",
    "selfTradeCanceled",
    "reduceOnlyCanceled",
    "siblingFilledCanceled",
    "delistedCanceled",
    "liquidatedCanceled",
    "outcomeSettledCanceled",
    "scheduledCancel",
    "internalCancel",
)

_FAILED = (
    "rejected",
    "tickRejected",
    "minTradeNtlRejected",
    "minTradeSpotNtlRejected",
    "perpMarginRejected",
    "reduceOnlyRejected",
    "badAloPxRejected",
    "badTriggerPxRejected",
    "marketOrderNoLiquidityRejected",
    "positionIncreaseAtOpenInterestCapRejected",
    "positionFlipAtOpenInterestCapRejected",
    "tooAggressiveAtOpenInterestCapRejected",
    "openInterestIncreaseRejected",
    "insufficientSpotBalanceRejected",
    "oracleRejected",
    "perpMaxPositionRejected",
    "tooManyOpenOrdersRejected",
)

ORDER_STATUSES: dict[str, OrderState] = {
    "open": OrderState.OPEN,
    "triggered": OrderState.OPEN,
    "filled": OrderState.FILLED,
    "iocCancelRejected": OrderState.EXPIRED,
    **dict.fromkeys(_CANCELLED, OrderState.CANCELLED),
    **dict.fromkeys(_FAILED, OrderState.FAILED),
}
"""Every status of an order that the venue documents or was seen to send."""


def order_state(status: str) -> OrderState:
    """The state for a status; UNKNOWN for one that says nothing."""
    state = ORDER_STATUSES.get(status)
    if state is not None:
        return state
    if status.endswith("Rejected"):
        return OrderState.FAILED
    if status.endswith(("Canceled", "Cancel")):
        return OrderState.CANCELLED
    return OrderState.UNKNOWN


class Refusal(NamedTuple):
    """What an error text means for the order that it answers.

    Attributes:
        state: FAILED or EXPIRED; UNKNOWN when the order may exist all the same.
        status: The venue's name for the same outcome in its streams, or a name of ours.
    """

    state: OrderState
    status: str


_FAILURES = (
    ("Price must be divisible by tick size", "tickRejected"),
    ("Order must have minimum value of $", "minTradeNtlRejected"),
    ("Order must have minimum value of ", "minTradeSpotNtlRejected"),
    ("Insufficient margin to place order", "perpMarginRejected"),
    ("Reduce only order would increase position", "reduceOnlyRejected"),
    ("Post only order would have immediately matched", "badAloPxRejected"),
    ("Invalid TP/SL price", "badTriggerPxRejected"),
    ("No liquidity available for market order", "marketOrderNoLiquidityRejected"),
    ("Order would increase open interest while open interest is capped", "positionIncreaseAtOpenInterestCapRejected"),
    ("Cannot increase position when open interest is at cap", "positionIncreaseAtOpenInterestCapRejected"),
    ("Cannot flip position when open interest is at cap", "positionFlipAtOpenInterestCapRejected"),
    ("Open interest is increasing too quickly", "openInterestIncreaseRejected"),
    ("Order would increase open interest too quickly", "openInterestIncreaseRejected"),
    ("Order rejected due to price more aggressive than oracle", "tooAggressiveAtOpenInterestCapRejected"),
    ("Order has insufficient spot balance to trade", "insufficientSpotBalanceRejected"),
    ("Insufficient spot balance", "insufficientSpotBalanceRejected"),
    ("Order price too far from oracle", "oracleRejected"),
    ("Price too far from oracle", "oracleRejected"),
    ("Order price cannot be more than", "oracleRejected"),
    ("Order would cause position to exceed margin tier limit", "perpMaxPositionRejected"),
    ("Cannot modify canceled or filled order", "modifyTooLate"),
    ("Attempted to modify to invalid new order", "modifyInvalid"),
    ("Order value too large", "orderValueTooLarge"),
    ("Only post-only orders allowed", "postOnlyModeRejected"),
    ("User or API Wallet ", "signerUnknown"),
    ("L1 error: User or API Wallet ", "signerUnknown"),
    ("Must deposit before performing actions", "accountNotFunded"),
    ("Unable to recover signer", "signatureMalformed"),
    ("Vault not registered", "vaultUnknown"),
    ("Builder fee has not been approved", "builderFeeUnapproved"),
    ("Invalid nonce: nonce too low", "nonceTooLow"),
    ("Invalid nonce", "nonceRefused"),
    ("Too many cumulative requests sent", "addressLimit"),
    ("Signed action over weight limit", "batchTooLarge"),
)


def classify_refusal(text: str) -> Refusal:
    """What an error text means, matched by its beginning: live texts carry suffixes that documented ones lack."""
    if text.startswith("Order could not immediately match"):
        return Refusal(OrderState.EXPIRED, "iocCancelRejected")
    if text.startswith("Action already expired"):
        return Refusal(OrderState.EXPIRED, "actionExpired")
    if text.startswith("Invalid nonce: duplicate nonce"):
        # The same bytes may have been taken before: only the venue can tell.
        return Refusal(OrderState.UNKNOWN, "duplicateNonce")
    for prefix, status in _FAILURES:
        if text.startswith(prefix):
            return Refusal(OrderState.FAILED, status)
    return Refusal(OrderState.FAILED, "rejected")
