"""The official client on a venue process: a funded trader, its streams, and the venue's controls."""

from __future__ import annotations

import time
from typing import Any

import requests
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

DEADLINE_S = 60


def eventually(condition):
    """Wait until the condition holds and return what it found."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come true in time")


class SdkTrader:
    """One new account that trades through the unmodified client and listens to its own streams."""

    def __init__(self, venue, *more_streams: str) -> None:
        self.venue = venue
        self.wallet = Account.create()
        self.user = self.wallet.address
        self.exchange = Exchange(self.wallet, venue.url, timeout=DEADLINE_S)
        self.info = Info(venue.url, timeout=DEADLINE_S)
        self.messages: list[dict[str, Any]] = []
        for kind in ("orderUpdates", "userFills", "userEvents", *more_streams):
            self.info.subscribe({"type": kind, "user": self.user}, self.messages.append)
        eventually(lambda: self.of("userFills"))

    def close(self) -> None:
        """Hang up."""
        self.info.disconnect_websocket()

    def of(self, channel: str) -> list[Any]:
        """Everything that a channel has said."""
        return [message["data"] for message in list(self.messages) if message["channel"] == channel]

    def updates(self, cloid: str) -> list[str]:
        """Every status that `orderUpdates` told of an order."""
        rows = [row for rows in self.of("orderUpdates") for row in rows]
        return [row["status"] for row in rows if row["order"].get("cloid") == cloid]

    def told(self, cloid: str, *expected: str) -> None:
        """Wait until `orderUpdates` has told exactly these statuses of an order."""
        try:
            eventually(lambda: self.updates(cloid) == list(expected))
        except AssertionError:
            raise AssertionError(f"told {self.updates(cloid)}, expected {list(expected)}") from None

    def cancelled_by_venue(self) -> set[int]:
        """Orders that the `user` channel said the venue ended."""
        return {row["oid"] for data in self.of("user") for row in data.get("nonUserCancel", [])}

    def status(self, cloid: str) -> str:
        """The present status of an order."""
        return self.order(cloid)["status"]

    def order(self, cloid: str) -> dict[str, Any]:
        """What `orderStatus` knows of an order."""
        return self.info.query_order_by_cloid(self.user, Cloid.from_str(cloid))["order"]

    def position(self, coin: str) -> str | None:
        """The signed size of a position, None when flat."""
        rows = self.info.user_state(self.user)["assetPositions"]
        return next((row["position"]["szi"] for row in rows if row["position"]["coin"] == coin), None)

    def place(self, requests_: list[dict[str, Any]], grouping: str = "na") -> list[Any]:
        """Place a batch and return its statuses."""
        reply = self.exchange.bulk_orders(requests_, grouping=grouping)
        assert reply["status"] == "ok", reply
        return reply["response"]["data"]["statuses"]


def order_request(
    coin: str, is_buy: bool, size: float, price: float, kind: Any = "Gtc", *, cloid: str | None = None, reduce=False
) -> dict[str, Any]:
    """One order as the client takes it; `kind` is a time in force or (tpsl, trigger price, is market)."""
    if isinstance(kind, str):
        order_type: Any = {"limit": {"tif": kind}}
    else:
        tpsl, trigger_price, is_market = kind
        order_type = {"trigger": {"isMarket": is_market, "triggerPx": trigger_price, "tpsl": tpsl}}
    return {
        "coin": coin,
        "is_buy": is_buy,
        "sz": size,
        "limit_px": price,
        "order_type": order_type,
        "reduce_only": reduce,
        "cloid": None if cloid is None else Cloid.from_str(cloid),
    }


def control(venue, name: str, **more: Any) -> dict[str, Any]:
    """One control command, which must succeed."""
    reply = requests.post(venue.control_url, json={"do": name, **more}, timeout=DEADLINE_S)
    assert reply.status_code == 200, reply.text
    return reply.json()
