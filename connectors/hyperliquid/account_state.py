"""What every session needs of that which keeps an account's holdings, whatever they are."""

from __future__ import annotations

from typing import Protocol

from latentspeed.connectors.hyperliquid.messages import FillRow
from latentspeed.connectors.hyperliquid.streams import Handler
from latentspeed.connectors.trading_rule import TradingRule


class AccountState(Protocol):
    """Positions and balances, or balances alone, of one account."""

    state_ms: int
    """The venue's time of the latest state, every fill before which is in it; 0 where the venue tells none."""

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel; each is subscribed for the account."""

    async def refresh(self) -> None:
        """Reads the state. Raises TransportError: the venue did not answer."""

    def apply_fill(self, row: FillRow, rule: TradingRule) -> None:
        """A new fill was counted."""

    def apply_mark(self, trading_pair: str, mark: float) -> None:
        """A market has a new mark price."""
