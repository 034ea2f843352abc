"""ccxt, unmodified, pointed at a local venue; synchronous, asynchronous and with sockets."""

from __future__ import annotations

from typing import Any

from eth_account import Account


def ccxt_client(kind: Any, url: str, ws_url: str, key: str | None = None, **more: Any) -> Any:
    """A `hyperliquid` of ccxt, `ccxt.async_support` or `ccxt.pro` that talks to a venue.

    Args:
        kind: the class.
        url, ws_url: the venue's.
        key: a private key; a new account without one.
        more: further settings of ccxt.
    """
    wallet = Account.create() if key is None else Account.from_key(key)
    options = {"sandboxMode": True, **more.pop("options", {})}
    settings = {"walletAddress": wallet.address, "privateKey": wallet.key.hex(), "enableRateLimit": False}
    client = kind({**settings, **more, "options": options})
    client.urls["api"]["public"] = client.urls["api"]["private"] = url
    if "ws" in client.urls["api"]:
        client.urls["api"]["ws"]["public"] = ws_url
    return client
