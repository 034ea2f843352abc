"""TWAP orders: the venue trades an amount in slices over minutes, and each slice is a fill of the one order.

To everybody here a TWAP is an order like others: it has a client order id, is OPEN while the venue slices it, is filled
bit by bit, is cancelled like any other, and ends FILLED, or CANCELLED with what it has traded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.order_params import OrderParams
from latentspeed.connectors.types import OrderType, PositionAction, TradeType


class TwapOrders(ABC):
    """What a connector does to have the venue work an order over time."""

    @abstractmethod
    def buy(self, params: OrderParams) -> str: ...

    @abstractmethod
    def sell(self, params: OrderParams) -> str: ...

    def place_twap(
        self,
        trade_type: TradeType,
        trading_pair: str,
        amount: float,
        minutes: int,
        *,
        position_action: PositionAction = PositionAction.NIL,
        randomize: bool = False,
    ) -> str:
        """Has the venue trade `amount` (base units) in slices over `minutes`; returns the order's client id at once.

        `randomize` lets the venue vary the moments of its slices. The same as an order of type TWAP with these
        `extra_params`. Raises as `buy` does; what the venue refuses ends the order FAILED.
        """
        if trade_type is not TradeType.BUY and trade_type is not TradeType.SELL:
            raise OrderRefused("trade_type", trade_type, "TradeType.BUY or TradeType.SELL is required")
        params = OrderParams(
            trading_pair,
            amount,
            order_type=OrderType.TWAP,
            position_action=position_action,
            extra_params={"minutes": minutes, "randomize": randomize},
        )
        return self.buy(params) if trade_type is TradeType.BUY else self.sell(params)
