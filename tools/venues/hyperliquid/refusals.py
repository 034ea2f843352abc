"""Refusals: of one order, which becomes an item of the reply, and of a whole action, which becomes the reply."""

from __future__ import annotations


class ActionRefused(Exception):
    """The whole action is refused; the message is the venue's."""


class OrderRefused(Exception):
    """An order that is not accepted: the venue's text, the status name, and whether the text gets the asset suffix."""

    def __init__(self, text: str, status: str = "rejected", has_suffix: bool = True) -> None:
        super().__init__(text)
        self.status = status
        self.has_suffix = has_suffix


ORDER_REFUSALS = {
    "tickRejected": "Price must be divisible by tick size.",
    "minTradeNtlRejected": "Order must have minimum value of $10.",
    "minTradeSpotNtlRejected": "Order must have minimum value of 10 USDC.",
    "perpMarginRejected": "Insufficient margin to place order.",
    "reduceOnlyRejected": "Reduce only order would increase position.",
    "badAloPxRejected": "Post only order would have immediately matched, bbo was 0@0.",
    "iocCancelRejected": "Order could not immediately match against any resting orders.",
    "badTriggerPxRejected": "Invalid TP/SL price.",
    "marketOrderNoLiquidityRejected": "No liquidity available for market order.",
    "positionIncreaseAtOpenInterestCapRejected": "Order would increase open interest while open interest is capped",
    "positionFlipAtOpenInterestCapRejected": "Cannot flip position when open interest is at cap.",
    "tooAggressiveAtOpenInterestCapRejected": (
        "Order rejected due to price more aggressive than oracle while at open interest cap"
    ),
    "openInterestIncreaseRejected": "Order would increase open interest too quickly",
    "insufficientSpotBalanceRejected": "Insufficient spot balance",
    "oracleRejected": "Price too far from oracle",
    "perpMaxPositionRejected": "Order would cause position to exceed margin tier limit at current leverage",
    "tooManyOpenOrdersRejected": "Too many open orders.",
    "rejected": "Order was rejected.",
}
"""Every status of a refused order and its text."""

CANCELLATIONS = (
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
"""Every status of an order that ended before it was filled."""
