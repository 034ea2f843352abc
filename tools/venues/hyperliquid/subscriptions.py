"""What a socket can subscribe to: the keys of each type, its normalised echo, and the key that finds it again."""

from __future__ import annotations

from typing import Any

import orjson

from latentspeed.tools.venues.hyperliquid.candles import INTERVALS_MS
from latentspeed.tools.venues.hyperliquid.info_request import book_shape, coin_of, dex_of, flag, user_of
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.wire import WireError

Key = tuple[Any, ...]

COIN_TYPES = frozenset(("bbo", "trades", "activeAssetCtx"))
USER_TYPES = frozenset(
    (
        "orderUpdates",
        "userEvents",
        "userFundings",
        "userNonFundingLedgerUpdates",
        "userHistoricalOrders",
        "notification",
        "webData2",
        "allDexsClearinghouseState",
        "userTwapHistory",
        "userTwapSliceFills",
    )
)
DEX_TYPES = frozenset(("allMids", "assetCtxs"))
PLAIN_TYPES = frozenset(("allDexsAssetCtxs", "spotAssetCtxs"))
USER_DEX_TYPES = frozenset(("clearinghouseState", "openOrders", "spotState", "twapStates"))


class Subscription:
    """One parsed subscription.

    Attributes:
        kind: its type.
        name: the coin, the lower-case user address, or nothing.
        key: equal for equal subscriptions; begins with the kind and the name.
        echo: what the venue sends back: defaults added, unknown keys dropped.
    """

    __slots__ = ("echo", "key", "kind", "name")

    def __init__(self, kind: str, name: str, echo: dict[str, Any]) -> None:
        self.kind = kind
        self.name = name
        self.echo = {"type": kind, **echo}
        self.key: Key = (kind, name, *(value for key, value in echo.items() if key not in ("coin", "user")))

    @property
    def user(self) -> str | None:
        """The address of a user subscription."""
        return self.echo.get("user")

    @property
    def text(self) -> str:
        """The echo as JSON text, as error messages quote it."""
        return orjson.dumps(self.echo).decode()


def _dex_echo(raw: dict[str, Any], state: VenueState) -> dict[str, str]:
    """The `dex` key as it is echoed, when there is one; no dex of that name is an invalid subscription."""
    if raw.get("dex") is None:
        return {}
    dex = dex_of(raw)
    if state.catalogue.universe(dex) is None:
        raise WireError(f"unknown dex {dex}")
    return {"dex": dex}


def parse_subscription(raw: object, state: VenueState) -> Subscription:
    """Read a subscription object.

    Raises:
        WireError: an unknown type or coin, or a key that is missing or of the wrong type.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise WireError("a subscription has a type")
    kind: str = raw["type"]
    if kind in DEX_TYPES:
        return Subscription(kind, "", _dex_echo(raw, state))
    if kind in PLAIN_TYPES:
        return Subscription(kind, "", {})
    if kind in USER_TYPES:
        user = user_of(raw)
        return Subscription(kind, user, {"user": user})
    if kind in USER_DEX_TYPES:
        user = user_of(raw)
        return Subscription(kind, user, {"user": user, **_dex_echo(raw, state)})
    if kind == "userFills":
        user = user_of(raw)
        return Subscription(kind, user, {"user": user, "aggregateByTime": flag(raw, "aggregateByTime")})
    if kind not in COIN_TYPES and kind not in ("l2Book", "candle", "activeAssetData"):
        raise WireError(f"unknown type {kind}")
    coin = coin_of(raw)
    if coin not in state.by_coin:
        raise WireError(f"unknown coin {coin}")
    if kind in COIN_TYPES:
        return Subscription(kind, coin, {"coin": coin})
    if kind == "l2Book":
        figures, mantissa = book_shape(raw)
        fast = {"fast": flag(raw, "fast")} if raw.get("fast") is not None else {}
        return Subscription(kind, coin, {"coin": coin, "nSigFigs": figures, "mantissa": mantissa, **fast})
    if kind == "candle":
        if raw.get("interval") not in INTERVALS_MS:
            raise WireError("unknown interval")
        return Subscription(kind, coin, {"coin": coin, "interval": raw["interval"]})
    user = user_of(raw)
    subscription = Subscription(kind, user, {"user": user, "coin": coin})
    subscription.key = (kind, user, coin)
    return subscription
