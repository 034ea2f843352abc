"""A local Hyperliquid: matching, accounts and the real protocol, on loopback."""

from latentspeed.tools.venues.hyperliquid.config import VenueConfig
from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue

__all__ = ["HyperliquidVenue", "VenueConfig"]
