"""Hyperliquid: wire forms, signing, REST, streams and the connector."""

from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.connectors.hyperliquid.keys import InvalidKey, SigningKey
from latentspeed.connectors.hyperliquid.perpetual import HyperliquidPerpetualConnector
from latentspeed.connectors.hyperliquid.spot import HyperliquidSpotConnector

__all__ = [
    "HyperliquidConfig",
    "HyperliquidPerpetualConnector",
    "HyperliquidSpotConnector",
    "InvalidKey",
    "SigningKey",
]
