"""How an engine makes a dYdX connector from its configuration file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from latentspeed.connectors.dydx_v4.config import DydxConfig, InvalidOption
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.perpetual import DydxV4PerpetualConnector

# What the engine's own settings say, and what no configuration file can express.
NOT_OPTIONS = frozenset({"domain", "account_address", "engine_instance", "socket_timing"})
OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "subaccount": (int,),
    "node_urls": (list, tuple),
    "indexer_url": (str,),
    "ws_url": (str,),
    "authenticators": (list, tuple),
    "good_til_blocks": (int,),
    "ioc_good_til_blocks": (int,),
    "limit_orders": (str,),
    "long_term_s": (float, int),
    "sequences": (str,),
    "candle_intervals": (list, tuple),
    "slippage": (float, int),
    "prepared_signatures": (int,),
    "quote_max_age_s": (float, int),
    "request_timeout_s": (float, int),
    "connect_timeout_s": (float, int),
    "stale_after_s": (float, int),
    "reconcile_every_s": (float, int),
    "book_check_every_s": (float, int),
    "settle_margin_blocks": (int,),
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
) -> DydxV4PerpetualConnector:
    """The connector that an engine's configuration describes; `secret` is a mnemonic or a key in hexadecimal.

    Stateful orders have nonces: `last_nonce` is the highest used before, `store_nonce` is called before each use.

    Raises InvalidOption for an option that is unknown or has the wrong type or value, InvalidKey for a bad secret.
    """
    config = DydxConfig(
        domain=domain, account_address=account_address, engine_instance=engine_instance, **_checked(name, options)
    )
    return DydxV4PerpetualConnector(config, DydxKey.from_text(secret), last_nonce=last_nonce, store_nonce=store_nonce)


def _checked(name: str, options: Mapping[str, object]) -> dict[str, Any]:
    known = {option.name for option in fields(DydxConfig)} - NOT_OPTIONS
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
