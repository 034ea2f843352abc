"""What the account's money must be by the gateway's own fills: the one figure that no reading of the venue can copy.

    cash = deposited - bought + sold - fees + funding

A gateway's balance is what the venue says of it, and so agrees with the venue however many fills were lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from latentspeed.connectors import TradingRule
from latentspeed.connectors.trading_rule import FEE_DECIMALS
from latentspeed.tools.proving.books import BookFill


@dataclass(frozen=True, slots=True)
class Cash:
    """What a venue says of an account's money: put in, funding received (below zero: paid), and there now."""

    deposited: Decimal
    funding: Decimal
    now: Decimal


def fees_of(fills: Iterable[BookFill]) -> Decimal:
    """The fees of fills, exactly."""
    return Decimal(sum(fill.fee_units for fill in fills)).scaleb(-FEE_DECIMALS)


def compare_cash(cash: Cash, fills: list[BookFill], rule: TradingRule) -> list[str]:
    """The gateway's fills must explain the venue's money to the last decimal; a difference is one line."""
    notional = sum((1 if fill.side == 1 else -1) * fill.price_units * fill.amount_lots for fill in fills)
    spent = Decimal(notional) * rule.lot_size * Decimal(1).scaleb(-rule.price_decimals)
    expected = cash.deposited - spent - fees_of(fills) + cash.funding
    if expected == cash.now:
        return []
    return [f"cash: the venue says {cash.now}, the gateway's {len(fills)} fills make it {expected}"]
