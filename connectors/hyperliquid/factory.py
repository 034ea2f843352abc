"""How an engine makes a Hyperliquid connector from its configuration file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from latentspeed.connectors.hyperliquid.config import HyperliquidConfig
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.perpetual import HyperliquidPerpetualConnector
from latentspeed.connectors.hyperliquid.spot import HyperliquidSpotConnector
from latentspeed.connectors.options import checked_options


def create_connector(
    *,
    name: str,
    domain: str,
    account_address: str | None,
    secret: str,
    options: Mapping[str, object],
    engine_instance: int,
    last_nonce: int,
    store_nonce: Callable[[int], None],
) -> HyperliquidPerpetualConnector:
    """The perpetual connector that an engine's configuration describes; `secret` is the signing key in hexadecimal.

    Raises InvalidOption for an option that is unknown or has the wrong type or value, InvalidKey for a bad key.
    """
    config = _config(name, domain, account_address, options, engine_instance)
    return HyperliquidPerpetualConnector(config, SigningKey.from_hex(secret), nonce_store=(last_nonce, store_nonce))


def create_spot_connector(
    *,
    name: str,
    domain: str,
    account_address: str | None,
    secret: str,
    options: Mapping[str, object],
    engine_instance: int,
    last_nonce: int,
    store_nonce: Callable[[int], None],
) -> HyperliquidSpotConnector:
    """The spot connector that an engine's configuration describes; otherwise as `create_connector`."""
    config = _config(name, domain, account_address, options, engine_instance)
    return HyperliquidSpotConnector(config, SigningKey.from_hex(secret), nonce_store=(last_nonce, store_nonce))


def _config(
    name: str, domain: str, account_address: str | None, options: Mapping[str, object], engine_instance: int
) -> HyperliquidConfig:
    checked = checked_options(name, options, HyperliquidConfig)
    return HyperliquidConfig(domain=domain, account_address=account_address, engine_instance=engine_instance, **checked)
