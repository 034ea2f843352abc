"""The connector for dYdX v4 perpetuals."""

from latentspeed.connectors.dydx_v4.config import DydxConfig
from latentspeed.connectors.dydx_v4.keys import DydxKey, InvalidKey
from latentspeed.connectors.dydx_v4.perpetual import DydxV4PerpetualConnector

__all__ = ["DydxConfig", "DydxKey", "DydxV4PerpetualConnector", "InvalidKey"]
