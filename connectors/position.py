"""What the account holds: positions and balances. Objects are slotted, mutable and reused by their connector."""

from __future__ import annotations

import copy
import math
from typing import Self

from latentspeed.connectors.types import MarginMode


class Position:
    """A position in one market; `amount` is signed, 0.0 when flat. Prices are NaN where the venue gives none."""

    __slots__ = (
        "amount",
        "entry_price",
        "leverage",
        "liquidation_price",
        "margin_mode",
        "margin_used",
        "received_mono_ns",
        "trading_pair",
        "unrealized_pnl",
        "venue_utc_ns",
    )

    def __init__(
        self,
        trading_pair: str,
        amount: float = 0.0,
        entry_price: float = math.nan,
        leverage: int = 0,
        margin_mode: MarginMode = MarginMode.CROSS,
        unrealized_pnl: float = 0.0,
        liquidation_price: float = math.nan,
        margin_used: float = 0.0,
        venue_utc_ns: int = 0,
        received_mono_ns: int = 0,
    ) -> None:
        self.trading_pair = trading_pair
        self.amount = amount
        self.entry_price = entry_price
        self.leverage = leverage
        self.margin_mode = margin_mode
        self.unrealized_pnl = unrealized_pnl
        self.liquidation_price = liquidation_price
        self.margin_used = margin_used
        self.venue_utc_ns = venue_utc_ns
        self.received_mono_ns = received_mono_ns

    def copy(self) -> Self:
        """A copy that the connector does not change."""
        return copy.copy(self)

    def __repr__(self) -> str:
        return (
            f"Position({self.trading_pair} {self.amount} @ {self.entry_price}, "
            f"{self.leverage}x {self.margin_mode.name}, pnl {self.unrealized_pnl:.10g})"
        )


class Balance:
    """An asset of the account; `available` is what a new order may use."""

    __slots__ = ("asset", "available", "received_mono_ns", "total", "venue_utc_ns")

    def __init__(
        self,
        asset: str,
        total: float = 0.0,
        available: float = 0.0,
        venue_utc_ns: int = 0,
        received_mono_ns: int = 0,
    ) -> None:
        self.asset = asset
        self.total = total
        self.available = available
        self.venue_utc_ns = venue_utc_ns
        self.received_mono_ns = received_mono_ns

    def copy(self) -> Self:
        """A copy that the connector does not change."""
        return copy.copy(self)

    def __repr__(self) -> str:
        return f"Balance({self.asset} {self.total:.15g}, available {self.available:.15g})"
