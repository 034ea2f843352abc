"""A local Hyperliquid: matching, accounts and the real protocol, on loopback."""
