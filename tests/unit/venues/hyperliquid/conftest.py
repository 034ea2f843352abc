"""A venue without sockets, and traders whose every action is really signed and really verified."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import orjson
import pytest
from coincurve import PrivateKey

from latentspeed.tools.venues.hyperliquid import HyperliquidVenue, VenueConfig
from latentspeed.tools.venues.hyperliquid.actions import Envelope, decode_envelope
from latentspeed.tools.venues.hyperliquid.clock import VenueClock
from latentspeed.tools.venues.hyperliquid.signing import connection_id, keccak, l1_digest, user_signed_digest
from latentspeed.tools.venues.hyperliquid.user_signed import UserSigned

START_MS = 1_790_000_000_000
ASSETS = {"BTC": 0, "ETH": 1, "SOL": 2, "kPEPE": 3, "HYPE": 4, "DOGE": 5, "LINK": 6, "OLDX": 7, "THIN": 8}
_keys = itertools.count(1)


class Trader:
    """One key, and the actions that it signs."""

    def __init__(self, desk: Desk, account: Trader | None = None) -> None:
        self.desk = desk
        self.key = PrivateKey(next(_keys).to_bytes(32, "big"))
        self.address = "0x" + keccak(self.key.public_key.format(compressed=False)[1:])[-20:].hex()
        self.master = account.address if account is not None else self.address

    def body(self, action: dict[str, Any], **envelope: Any) -> dict[str, Any]:
        """The signed request of an action."""
        nonce = envelope.pop("nonce", None)
        nonce = self.desk.next_nonce() if nonce is None else nonce
        network = envelope.pop("network", "testnet")
        request = {"action": action, "nonce": nonce, "signature": {"r": "0x1", "s": "0x1", "v": 27}, **envelope}
        parsed = decode_envelope(json.dumps(request).encode())
        if isinstance(parsed.action, UserSigned):
            digest = user_signed_digest(msgspec.to_builtins(parsed.action))
        else:
            packed = msgspec.msgpack.encode(parsed.action)
            connection = connection_id(packed, nonce, parsed.vault_address, parsed.expires_after)
            digest = l1_digest(connection, network)
        signature = self.key.sign_recoverable(digest, hasher=None)
        r, s = (hex(int.from_bytes(part, "big")) for part in (signature[:32], signature[32:64]))
        request["signature"] = {"r": r, "s": s, "v": signature[64] + 27}
        return request

    def act(self, action: dict[str, Any], **envelope: Any) -> dict[str, Any]:
        """Send an action and return the venue's reply."""
        return self.desk.send(self.body(action, **envelope))

    def order(
        self,
        coin: str,
        side: str,
        size: str,
        price: str,
        tif: str = "Gtc",
        *,
        reduce_only: bool = False,
        cloid: str | None = None,
    ) -> Any:
        """Place one order and return its status."""
        return self.orders([order_wire(coin, side, size, price, tif, reduce_only, cloid)])[0]

    def orders(self, wires: list[dict[str, Any]]) -> list[Any]:
        """Place a batch and return its statuses."""
        return statuses(self.act({"type": "order", "orders": wires, "grouping": "na"}))

    def cancel(self, coin: str, oid: int) -> Any:
        """Cancel by order id and return the status."""
        return statuses(self.act({"type": "cancel", "cancels": [{"a": ASSETS[coin], "o": oid}]}))[0]

    def info(self, kind: str, **more: Any) -> Any:
        """Ask about this trader's account."""
        return self.desk.venue.info.answer({"type": kind, "user": self.master, **more})

    @property
    def account(self) -> Any:
        """The live account."""
        return self.desk.venue.state.accounts[self.master]

    def status_of(self, oid: int) -> str:
        """The newest status of an order."""
        return self.info("orderStatus", oid=oid)["order"]["status"]


class Desk:
    """A silent venue with a stopped clock."""

    def __init__(self, config: VenueConfig) -> None:
        clock = VenueClock()
        clock.freeze(START_MS)
        self.venue = HyperliquidVenue(config, clock)
        self._nonces = itertools.count(START_MS)

    def next_nonce(self) -> int:
        """A fresh nonce."""
        return next(self._nonces)

    def trader(self) -> Trader:
        """A new funded account."""
        trader = Trader(self)
        self.venue.account(trader.address)
        return trader

    def agent(self, master: Trader) -> Trader:
        """A key that is not an account; the master has yet to approve it."""
        return Trader(self, master)

    def envelope(self, request: dict[str, Any]) -> Envelope:
        """Decode a request as the server does."""
        return decode_envelope(json.dumps(request).encode())

    def send(self, request: dict[str, Any]) -> dict[str, Any]:
        """Execute a request; the reply is what the socket would carry."""
        return orjson.loads(orjson.dumps(self.venue.execute_now(self.envelope(request))))

    def rest_both_sides(self, trader: Trader, coin: str = "BTC", bid: str = "63990", ask: str = "64010") -> None:
        """Make a two-sided market of a user's orders."""
        for side, price in (("buy", bid), ("sell", ask)):
            assert "resting" in trader.order(coin, side, "1", price)


def order_wire(
    coin: str, side: str, size: str, price: str, tif: str = "Gtc", reduce_only: bool = False, cloid: str | None = None
) -> dict[str, Any]:
    """One order as it travels."""
    wire: dict[str, Any] = {"a": ASSETS[coin], "b": side == "buy", "p": price, "s": size, "r": reduce_only}
    wire["t"] = {"limit": {"tif": tif}}
    if cloid is not None:
        wire["c"] = cloid
    return wire


def statuses(reply: dict[str, Any]) -> list[Any]:
    """The statuses of an accepted action."""
    assert reply["status"] == "ok", reply
    return reply["response"]["data"]["statuses"]


@pytest.fixture
def make_desk():
    """Makes a venue with some settings; by default there is no outside market."""

    def make(**settings: Any) -> Desk:
        return Desk(VenueConfig(**{"market": "none", **settings}))

    return make


@pytest.fixture
def desk(make_desk):
    """A silent venue."""
    return make_desk()


@pytest.fixture
def wire():
    """Builds one order as it travels."""
    return order_wire
