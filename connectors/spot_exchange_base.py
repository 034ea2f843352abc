"""What spot exchanges narrow in a connector: no positions, no leverage."""

from __future__ import annotations

from latentspeed.connectors.connector_base import ConnectorBase
from latentspeed.connectors.order_params import OrderLimits
from latentspeed.connectors.position import Balance
from latentspeed.connectors.types import ConnectorType, PositionAction


class SpotExchangeBase(ConnectorBase):
    """A connector of spot markets. Combine it with NetworkConnector: `class X(NetworkConnector, SpotExchangeBase)`."""

    order_limits: OrderLimits = OrderLimits(position_actions=frozenset({PositionAction.NIL}), has_leverage=False)

    @property
    def connector_type(self) -> ConnectorType:
        """SPOT."""
        return ConnectorType.SPOT

    def get_all_balances(self) -> list[Balance]:
        """The balances that are not zero."""
        return [balance for balance in self._market.balances.values() if balance.total]

    def get_available_balance(self, asset: str) -> float:
        """What a new order may use of an asset; 0.0 for one that the account does not hold."""
        balance = self._market.balances.get(asset)
        return 0.0 if balance is None else balance.available
