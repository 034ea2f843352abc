"""Funding of perpetual futures: what the account has paid and received, and what is expected."""

from __future__ import annotations

import msgspec


class FundingPayment(msgspec.Struct, frozen=True):
    """One funding payment of the account.

    Attributes:
        trading_pair: The market whose position it was for.
        asset: What was paid in.
        amount: Positive was received, negative was paid.
        amount_units: The same, exactly, in units of 10^-8.
        rate: The rate of this payment, as a fraction.
        position_amount: The signed position that it was for.
        venue_utc_ns: When it was settled.
    """

    trading_pair: str
    asset: str
    amount: float
    amount_units: int
    rate: float
    position_amount: float
    venue_utc_ns: int


class PredictedFunding(msgspec.Struct, frozen=True):
    """The next funding of a market as a venue expects it; other venues' expectations are given for comparison.

    Attributes:
        trading_pair: The market here.
        venue: Whose funding it is, by the name that this venue gives it.
        rate: The expected rate of one interval, as a fraction.
        interval_hours: Hours between two payments.
        next_utc_ns: When the next payment is settled.
    """

    trading_pair: str
    venue: str
    rate: float
    interval_hours: float
    next_utc_ns: int
