"""Every status and every error text has a meaning, also those that were invented yesterday."""

from __future__ import annotations

import re

import pytest

from latentspeed.connectors.hyperliquid.statuses import ORDER_STATUSES, classify_refusal, order_state
from latentspeed.connectors.types import OrderState

CANCELLED = """canceled marginCanceled vaultWithdrawalCanceled openInterestCapCanceled selfTradeCanceled
reduceOnlyCanceled siblingFilledCanceled delistedCanceled liquidatedCanceled outcomeSettledCanceled scheduledCancel
internalCancel"""
FAILED = """rejected tickRejected minTradeNtlRejected minTradeSpotNtlRejected perpMarginRejected reduceOnlyRejected
badAloPxRejected badTriggerPxRejected marketOrderNoLiquidityRejected positionIncreaseAtOpenInterestCapRejected
positionFlipAtOpenInterestCapRejected tooAggressiveAtOpenInterestCapRejected openInterestIncreaseRejected
insufficientSpotBalanceRejected oracleRejected perpMaxPositionRejected tooManyOpenOrdersRejected"""
EXPECTED = {
    "open": OrderState.OPEN,
    "triggered": OrderState.OPEN,
    "filled": OrderState.FILLED,
    "iocCancelRejected": OrderState.EXPIRED,
    **dict.fromkeys(CANCELLED.split(), OrderState.CANCELLED),
    **dict.fromkeys(FAILED.split(), OrderState.FAILED),
    "brandNewRejected": OrderState.FAILED,
    "brandNewCanceled": OrderState.CANCELLED,
    "brandNewCancel": OrderState.CANCELLED,
    "somethingElse": OrderState.UNKNOWN,
    "": OrderState.UNKNOWN,
}


@pytest.mark.parametrize(("status", "state"), EXPECTED.items())
def test_a_status_has_its_state(status, state):
    assert order_state(status) is state


def test_the_table_has_every_documented_status(reference):
    text = (reference / "hyperliquid.md").read_text()
    section = text[text.index("### 9.1") : text.index("### 9.2")]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented
    assert documented <= set(ORDER_STATUSES)


@pytest.mark.parametrize(
    ("text", "state", "status"),
    [
        ("Price must be divisible by tick size. asset=3", OrderState.FAILED, "tickRejected"),
        ("Order must have minimum value of $10. asset=5", OrderState.FAILED, "minTradeNtlRejected"),
        ("Order must have minimum value of 10 USDC. asset=10107", OrderState.FAILED, "minTradeSpotNtlRejected"),
        ("Insufficient margin to place order. asset=4", OrderState.FAILED, "perpMarginRejected"),
        ("Reduce only order would increase position. asset=3", OrderState.FAILED, "reduceOnlyRejected"),
        (
            "Post only order would have immediately matched, bbo was 1@2. asset=0",
            OrderState.FAILED,
            "badAloPxRejected",
        ),
        (
            "Order could not immediately match against any resting orders. asset=5",
            OrderState.EXPIRED,
            "iocCancelRejected",
        ),
        ("Order price cannot be more than 95% away from the reference price", OrderState.FAILED, "oracleRejected"),
        ("Action already expired", OrderState.EXPIRED, "actionExpired"),
        ("Invalid nonce: duplicate nonce 1700000000000", OrderState.UNKNOWN, "duplicateNonce"),
        ("Invalid nonce: nonce too low 1 < 2", OrderState.FAILED, "nonceTooLow"),
        ("Invalid nonce: nonce too high 3 > 2", OrderState.FAILED, "nonceRefused"),
        ("User or API Wallet 0x12 does not exist.", OrderState.FAILED, "signerUnknown"),
        ("Too many cumulative requests sent (10001 > 10000) for", OrderState.FAILED, "addressLimit"),
        ("A text that nobody has seen", OrderState.FAILED, "rejected"),
    ],
)
def test_an_error_text_is_understood_by_its_beginning(text, state, status):
    assert classify_refusal(text) == (state, status)


def test_refusals_and_statuses_agree_on_the_state():
    for text, status in [
        ("Order could not immediately match against any resting orders.", "iocCancelRejected"),
        ("Insufficient margin to place order.", "perpMarginRejected"),
    ]:
        assert classify_refusal(text).state is order_state(status)
