"""How an engine makes a Hyperliquid connector from its configuration file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from latentspeed.connectors.hyperliquid.config import HyperliquidConfig, InvalidOption
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.perpetual import HyperliquidPerpetualConnector
from latentspeed.connectors.hyperliquid.spot import HyperliquidSpotConnector

# What the engine's own settings say, and what no configuration file can express.
NOT_OPTIONS = frozenset({"domain", "account_address", "engine_instance", "socket_timing"})
OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "account_kind": (str,),
    "base_url": (str,),
    "ws_url": (str,),
    "slippage": (float, int),
    "order_transport": (str,),
    "place_expiry_ms": (int,),
    "expiry_margin_ms": (int,),
    "request_timeout_s": (float, int),
    "connect_timeout_s": (float, int),
    "max_batch": (int,),
    "fast_cancels": (bool,),
    "max_requests_in_flight": (int,),
    "prepared_signatures": (int,),
    "quote_max_age_s": (float, int),
    "stale_after_s": (float, int),
    "reconcile_every_s": (float, int),
    "builder_address": (str,),
    "builder_fee_tenths_bp": (int,),
    "dead_man_switch_s": (float, int),
    "rules_every_s": (float, int),
    "limit_requests": (bool,),
    "check_agent": (bool,),
    "agent_check_every_s": (float, int),
    "dexs": (list, tuple),
    "market_channels": (list, tuple),
    "candle_intervals": (list, tuple),
    "fast_books": (bool,),
}


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
    checked = _checked(name, options)
    return HyperliquidConfig(domain=domain, account_address=account_address, engine_instance=engine_instance, **checked)


def _checked(name: str, options: Mapping[str, object]) -> dict[str, Any]:
    known = {option.name for option in fields(HyperliquidConfig)} - NOT_OPTIONS
    checked: dict[str, Any] = {}
    for key, value in options.items():
        where = f"connectors.{name}.options.{key}"
        if key not in known:
            close = get_close_matches(key, known, 1)
            raise InvalidOption(where, value, f"no such option{f'; did you mean {close[0]}?' if close else ''}")
        types = OPTION_TYPES[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise InvalidOption(where, value, f"must be {types[0].__name__}")
        checked[key] = tuple(value) if isinstance(value, list) else value
    return checked
