"""How an engine makes a dYdX connector from its configuration file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from latentspeed.connectors.dydx_v4.config import DydxConfig
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.perpetual import DydxV4PerpetualConnector
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
) -> DydxV4PerpetualConnector:
    """The connector that an engine's configuration describes; `secret` is a mnemonic or a key in hexadecimal.

    Stateful orders have nonces: `last_nonce` is the highest used before, `store_nonce` is called before each use.

    Raises InvalidOption for an option that is unknown or has the wrong type or value, InvalidKey for a bad secret.
    """
    config = DydxConfig(
        domain=domain,
        account_address=account_address,
        engine_instance=engine_instance,
        **checked_options(name, options, DydxConfig),
    )
    return DydxV4PerpetualConnector(config, DydxKey.from_text(secret), last_nonce=last_nonce, store_nonce=store_nonce)
