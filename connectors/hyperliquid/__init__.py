"""Hyperliquid: wire forms, signing, REST, streams and the connector."""
