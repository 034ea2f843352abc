"""The rows of the local indexer have the fields, and the kinds of values, that recorded ones have.

Recordings are of 2022 to 2025, so what has changed since is named here: a field may be new, and the fills of sockets
call their market `ticker` now.
"""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp
import pytest

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.dydx_v4.wire import OrderFlags, OrderId, Side, WireOrder, WireTimeInForce
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.venue import DydxVenue

KEY = DydxKey(bytes(range(3, 35)))
FORMS = {
    "decimal": re.compile(r"-?\d+(\.\d+)?"),
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}


def form(value):
    """What kind of value it is: strings by how they are written."""
    if isinstance(value, str):
        return next((name for name, pattern in FORMS.items() if pattern.fullmatch(value)), "text")
    return {bool: "switch", int: "number", float: "number", type(None): "null"}.get(type(value), "more")


def held_to(ours, recorded, new=(), gone=()):
    """Fields of a recorded row are there, in the same form; only `new` ones are there besides."""
    recorded = {name: value for name, value in recorded.items() if name not in gone}
    assert set(recorded) <= set(ours), f"missing {set(recorded) - set(ours)}"
    assert set(ours) - set(recorded) <= set(new), f"unexpected {set(ours) - set(recorded) - set(new)}"
    for name, value in recorded.items():
        forms = {form(ours[name]), form(value)}
        assert len(forms - {"null"}) < 2, (name, ours[name], value)


@pytest.fixture(scope="module")
def seen():
    """What a session of trades, cancels and transfers makes the indexer say: REST answers, messages by channel."""

    async def main():
        settings = VenueConfig(block_interval_ms=0, market="none", batch_ms=20)
        async with DydxVenue(settings) as venue, aiohttp.ClientSession() as session:
            return await asyncio.wait_for(trade(venue, session), 60)

    return asyncio.run(main())


async def trade(venue, session):
    rest, messages = {}, []
    account = venue.chain.enrol(KEY.address)
    signer = TransactionSigner(KEY, "localdydxprotocol", account.number)

    def order(client_id, side, subticks, quantums=10_000_000, **more):
        name = OrderId(KEY.address, 0, client_id, OrderFlags.SHORT_TERM, 0)
        return WireOrder(name, side, quantums, subticks, good_til_block=venue.chain.height + 2, **more)

    def send(message):
        venue.chain.broadcast(signer.transaction([message]))

    async with session.ws_connect(venue.ws_url) as socket:
        names = {
            "v4_subaccounts": f"{KEY.address}/0",
            "v4_parent_subaccounts": f"{KEY.address}/0",
            "v4_orderbook": "BTC-USD",
            "v4_trades": "BTC-USD",
            "v4_candles": "BTC-USD/1HOUR",
            "v4_markets": None,
        }
        for channel, name in names.items():
            named = {"id": name} if name else {}
            await socket.send_json({"type": "subscribe", "channel": channel, "batched": True, **named})
        while sum(message["type"] == "subscribed" for message in messages) < len(names):
            messages.append(await socket.receive_json(timeout=60))
        send(wire.place_order(order(1, Side.BUY, 6_400_000_000)))
        send(wire.place_order(order(2, Side.BUY, 6_300_000_000)))
        send(wire.place_order(order(3, Side.BUY, 6_200_000_000)))
        standing = order(2, Side.BUY, 6_300_000_000)
        send(wire.cancel_order(standing.id, good_til_block=standing.good_til_block))
        venue.outside.take("BTC", False, 10**8, 64_000 * 10**8)
        send(wire.place_order(order(4, Side.SELL, 7_000_000_000, time_in_force=WireTimeInForce.IOC)))
        await venue.control("set_price", ticker="BTC-USD", price="64001")
        for _ in range(4):
            venue.chain.make_block()
        while not is_complete(messages):
            messages.append(await socket.receive_json(timeout=60))
    who = f"address={KEY.address}&subaccountNumber=0"
    for name, path in {
        "orders": f"/v4/orders?{who}",
        "fills": f"/v4/fills?{who}",
        "trades": "/v4/trades/perpetualMarket/BTC-USD",
        "markets": "/v4/perpetualMarkets",
        "time": "/v4/time",
        "height": "/v4/height",
        "candles": "/v4/candles/perpetualMarkets/BTC-USD?resolution=1HOUR",
        "address": f"/v4/addresses/{KEY.address}",
        "nobody": "/v4/addresses/dydx1nobody/subaccountNumber/7",
    }.items():
        async with session.get(venue.rest_url + path) as answer:
            rest[name] = await answer.json()
    return rest, messages


def is_complete(messages):
    """Whether every channel has told something, and the channel of the subaccount of the expired order."""
    updates = [message for message in messages if message["type"] == "channel_batch_data"]
    rows = [
        row for m in updates if m["channel"] == "v4_subaccounts" for c in m["contents"] for row in c.get("orders", ())
    ]
    channels = {message["channel"] for message in updates}
    return len(channels) == 6 and any(row["clientId"] == "3" and row["status"] == "CANCELED" for row in rows)


@pytest.fixture
def payloads(reference):
    def load(name):
        return json.loads((reference / "payloads" / "dydx_v4" / name).read_text())

    return load


def told(seen, channel, kind):
    """Rows of one kind in the updates of a channel."""
    updates = [m for m in seen[1] if m.get("channel") == channel and m["type"] == "channel_batch_data"]
    return [row for message in updates for contents in message["contents"] for row in contents.get(kind, ())]


@pytest.mark.parametrize(
    ("name", "file", "of"),
    [
        ("orders", "http_get_orders", lambda found: found),
        ("fills", "http_get_fills", lambda found: found["fills"]),
        ("trades", "http_get_trades", lambda found: found["trades"]),
        ("markets", "http_get_perpetual_markets", lambda found: [found["markets"]["BTC-USD"]]),
        ("time", "http_get_time", lambda found: [found]),
        ("height", "http_get_block_height", lambda found: [found]),
    ],
)
def test_rest_rows_are_those_of_december_2025(seen, payloads, name, file, of):
    ours, recorded = of(seen[0][name]), of(payloads(f"nautilus/{file}.json")["result"])
    assert ours
    assert recorded
    for row in ours:
        held_to(row, recorded[0])


@pytest.mark.parametrize("status", ["BEST_EFFORT_OPENED", "BEST_EFFORT_CANCELED", "FILLED", "CANCELED"])
def test_order_updates_are_those_of_the_recorded_market_maker(seen, payloads, status):
    recorded = [
        row
        for contents in payloads("abacus/ws_subaccounts_batch_fills.json")["contents"]
        for row in contents.get("orders", ())
        if row["status"] == status
    ]
    ours = [row for row in told(seen, "v4_subaccounts", "orders") if row["status"] == status]
    assert ours
    # An order that expires is told with less when no block has known it.
    optional = ("createdAtHeight", "updatedAt", "updatedAtHeight")
    new = ("orderRouterAddress", "subaccountNumber")
    for row in ours:
        held_to(row, recorded[0], new, gone=optional if status == "CANCELED" else ())
    reasons = {row.get("removalReason") for row in [*ours, *recorded]} - {None}
    assert all(reason.startswith("ORDER_REMOVAL_REASON_") for reason in reasons)


def test_fills_positions_and_money_are_told_as_recorded(seen, payloads):
    contents = payloads("abacus/ws_subaccounts_batch_fills.json")["contents"]
    for kind, new, gone in (
        ("fills", ("ticker",), ("market",)),
        ("perpetualPositions", ("createdAt", "createdAtHeight", "closedAt"), ()),
        ("assetPositions", (), ()),
    ):
        recorded = next(row for one in contents for row in one.get(kind, ()))
        ours = told(seen, "v4_subaccounts", kind)
        assert ours
        for row in ours:
            held_to(row, recorded, new, gone)


def test_the_envelopes_of_messages_are_as_recorded(seen, payloads):
    by_type = {(m["type"], m.get("channel")): m for m in seen[1]}
    held_to(by_type["channel_batch_data", "v4_subaccounts"], payloads("abacus/ws_subaccounts_batch_fills.json"))
    held_to(by_type["channel_batch_data", "v4_candles"], payloads("abacus/ws_candles_batch.json"))
    parent = by_type["channel_batch_data", "v4_parent_subaccounts"]
    held_to(parent, payloads("abacus/ws_parent_batch.json"))
    snapshot = by_type["subscribed", "v4_subaccounts"]
    held_to(snapshot, payloads("abacus/ws_subaccounts_subscribed_mainnet_maker.json"))
    oracle = by_type["channel_batch_data", "v4_markets"]["contents"][0]["oraclePrices"]["BTC-USD"]
    recorded = payloads("abacus/ws_markets_batch_oracle.json")["contents"][0]["oraclePrices"]["BTC-USD"]
    held_to(oracle, recorded)
    candle = by_type["channel_batch_data", "v4_candles"]["contents"][0]
    held_to(candle, payloads("abacus/ws_candles_batch.json")["contents"][0], new=("id", "resolution"))


def test_subaccounts_are_shown_as_recorded(seen, payloads):
    recorded = payloads("abacus/ws_parent_subscribed_may2024.json")["contents"]["subaccount"]
    snapshot = next(m for m in seen[1] if m["type"] == "subscribed" and m["channel"] == "v4_parent_subaccounts")
    parent = snapshot["contents"]["subaccount"]
    held_to(parent, recorded)
    assert isinstance(parent["childSubaccounts"], list)
    new = ("latestProcessedBlockHeight",)
    held_to(parent["childSubaccounts"][0], recorded["childSubaccounts"][0], new)
    asset = recorded["childSubaccounts"][0]["assetPositions"]["USDC"]
    held_to(parent["childSubaccounts"][0]["assetPositions"]["USDC"], asset)
    maker = payloads("abacus/ws_subaccounts_subscribed_mainnet_maker.json")["contents"]["subaccount"]
    position = next(iter(maker["openPerpetualPositions"].values()))
    ours = seen[0]["address"]["subaccounts"][0]["openPerpetualPositions"]["BTC-USD"]
    held_to(ours, position, new=("subaccountNumber",))
    held_to(seen[0]["nobody"], payloads("abacus/rest_404_no_subaccounts.json"))
    assert [set(error) for error in seen[0]["nobody"]["errors"]] == [{"msg"}]
