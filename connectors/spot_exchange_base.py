"""What spot exchanges narrow in a connector: no positions, no leverage."""

from __future__ import annotations

from latentspeed.connectors.connector_base import ConnectorBase
from latentspeed.connectors.order_params import OrderLimits
from latentspeed.connectors.types import ConnectorType, PositionAction


class SpotExchangeBase(ConnectorBase):
    """A connector of spot markets. Combine it with NetworkConnector: `class X(NetworkConnector, SpotExchangeBase)`."""

    order_limits: OrderLimits = OrderLimits(position_actions=frozenset({PositionAction.NIL}), has_leverage=False)

    @property
    def connector_type(self) -> ConnectorType:
        """SPOT."""
        return ConnectorType.SPOT
