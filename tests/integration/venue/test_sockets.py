"""The WebSocket side: greeting, echoes, snapshots, pushes, posts, errors, and the close of an idle socket."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest


def test_control_frames_answer_as_the_real_ones_do(with_venue):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.send({"method": "ping"})
            assert await stream.next() == {"channel": "pong"}
            bad = {"method": "subscribe", "xsubscription": {"type": "bbo", "coin": "SOL"}}
            await stream.send(bad)
            assert await stream.next() == {
                "channel": "error",
                "data": f"Error parsing JSON into valid websocket request: {orjson.dumps(bad).decode()}",
            }
            await stream.socket.send_str("{")
            assert (await stream.channel("error")).startswith("Error parsing JSON into valid websocket request: {")

    with_venue(scenario)


def test_the_greeting_can_be_switched_off(with_venue):
    async def scenario(client):
        async with client.stream(greeting=False) as stream:
            await stream.send({"method": "ping"})
            assert await stream.next() == {"channel": "pong"}

    with_venue(scenario, greeting=False)


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_a_client_that_has_gone_before_its_handshake_makes_no_fuss(with_venue, caplog):
    async def scenario(client):
        for _ in range(30):
            _, writer = await asyncio.open_connection("127.0.0.1", client.venue.port)
            writer.write(HANDSHAKE)
            writer.transport.abort()
            await asyncio.sleep(0)
        async with client.stream() as stream:
            await stream.send({"method": "ping"})
            assert await stream.next() == {"channel": "pong"}

    with_venue(scenario)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


USER = "0x" + "Ab" * 20
ECHOES = [
    ({"type": "l2Book", "coin": "BTC"}, {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None}),
    ({"type": "userFills", "user": USER}, {"type": "userFills", "user": USER.lower(), "aggregateByTime": False}),
    ({"type": "bbo", "coin": "kPEPE", "extra": 1}, {"type": "bbo", "coin": "kPEPE"}),
    ({"type": "candle", "coin": "BTC", "interval": "1m"}, {"type": "candle", "coin": "BTC", "interval": "1m"}),
    ({"type": "allMids"}, {"type": "allMids"}),
]


@pytest.mark.parametrize(("sent", "echoed"), ECHOES, ids=[sent["type"] for sent, _ in ECHOES])
def test_the_echo_is_normalised(with_venue, sent, echoed):
    async def scenario(client):
        async with client.stream() as stream:
            assert await stream.subscribe(**sent) == echoed

    with_venue(scenario)


SNAPSHOTS = [
    {"type": "allMids"},
    {"type": "l2Book", "coin": "BTC"},
    {"type": "bbo", "coin": "BTC"},
    {"type": "activeAssetCtx", "coin": "BTC"},
    {"type": "activeAssetData", "coin": "BTC", "user": USER},
    {"type": "assetCtxs"},
    {"type": "userFills", "user": USER},
    {"type": "userFundings", "user": USER},
    {"type": "userNonFundingLedgerUpdates", "user": USER},
    {"type": "userHistoricalOrders", "user": USER},
    {"type": "clearinghouseState", "user": USER},
    {"type": "allDexsClearinghouseState", "user": USER},
    {"type": "spotState", "user": USER},
    {"type": "openOrders", "user": USER},
    {"type": "webData2", "user": USER},
]


@pytest.mark.parametrize("subscription", SNAPSHOTS, ids=[row["type"] for row in SNAPSHOTS])
def test_a_state_channel_begins_with_its_state(with_venue, subscription):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(**subscription)
            data = await stream.channel(subscription["type"])
            if "coin" in subscription:
                assert data["coin"] == "BTC"
            if "user" in subscription:
                assert data["user"] == USER.lower()
            if subscription["type"].startswith("user"):
                assert data["isSnapshot"] is True

    with_venue(scenario, market="synthetic")


@pytest.mark.parametrize("kind", ["orderUpdates", "userEvents", "notification", "trades"])
def test_an_event_channel_begins_with_nothing(with_venue, kind):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type=kind, **({"coin": "BTC"} if kind == "trades" else {"user": USER}))
            await stream.send({"method": "ping"})
            assert await stream.next() == {"channel": "pong"}

    with_venue(scenario)


def test_subscribing_twice_and_unsubscribing_twice_are_errors_that_quote_the_subscription(with_venue):
    async def scenario(client):
        subscription = {"type": "trades", "coin": "BTC"}
        async with client.stream() as stream:
            await stream.subscribe(**subscription)
            await stream.send({"method": "subscribe", "subscription": subscription})
            assert await stream.channel("error") == 'Already subscribed: {"type":"trades","coin":"BTC"}'
            await stream.send({"method": "unsubscribe", "id": "17", "subscription": subscription})
            assert (await stream.channel("subscriptionResponse"))["method"] == "unsubscribe"
            await stream.send({"method": "unsubscribe", "subscription": subscription})
            assert (await stream.channel("error")).startswith("Already unsubscribed: ")

    with_venue(scenario)


@pytest.mark.parametrize(
    "bad", [{"type": "bbo", "coin": "btc"}, {"type": "nothing"}, {"type": "userFills", "user": "0x1"}, {"coin": "BTC"}]
)
def test_a_subscription_to_nothing_is_invalid(with_venue, bad):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.send({"method": "subscribe", "subscription": bad})
            assert (await stream.channel("error")).startswith("Invalid subscription {")

    with_venue(scenario)


def test_a_socket_follows_fifteen_users_at_most(with_venue):
    async def scenario(client):
        async with client.stream() as stream:
            for index in range(15):
                await stream.subscribe(type="orderUpdates", user=f"0x{index:040x}")
            await stream.send({"method": "subscribe", "subscription": {"type": "userEvents", "user": "0x" + "ff" * 20}})
            assert await stream.channel("error") == "Cannot track more than 15 total users."

    with_venue(scenario)


def test_one_trade_is_told_on_every_channel_that_it_concerns(with_venue, wallet, other_wallet):
    async def scenario(client):
        async with client.stream() as stream:
            for kind in ("bbo", "trades", "l2Book"):
                await stream.subscribe(type=kind, coin="BTC")
            for kind in ("orderUpdates", "userEvents", "userFills"):
                await stream.subscribe(type=kind, user=wallet.address)
            await client.exchange(other_wallet.order("64000", "0.01", buy=False))
            reply = await client.exchange(wallet.order("64000", "0.01", tif="Ioc", c="0x" + "0c" * 16))
            filled = reply["response"]["data"]["statuses"][0]["filled"]
            assert filled == {"totalSz": "0.01", "avgPx": "64000.0", "oid": filled["oid"], "cloid": "0x" + "0c" * 16}

            (trade,) = await stream.channel("trades")
            assert (trade["side"], trade["users"]) == ("B", [wallet.address, other_wallet.address])
            opened, done = await stream.channel("orderUpdates")
            assert [opened["status"], done["status"]] == ["open", "filled"]
            assert [opened["order"]["sz"], done["order"]["sz"]] == ["0.01", "0.0"]
            assert opened["statusTimestamp"] == done["statusTimestamp"] == trade["time"]
            events = await stream.channel("user")
            live = await stream.channel("userFills")
            assert "isSnapshot" not in live
            assert live["fills"] == events["fills"]
            assert live["fills"][0]["tid"] == trade["tid"]
            touches = [m["data"]["bbo"] for m in stream.seen if m["channel"] == "bbo"]
            assert [touch[1] and touch[1]["sz"] for touch in touches] == [None, "0.01", None]

    with_venue(scenario, book_interval_ms=0)


def test_a_venue_cancel_is_an_event_and_a_user_cancel_is_not(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type="userEvents", user=wallet.address)
            reply = await client.exchange(wallet.order("60000", buy=False))
            oid = reply["response"]["data"]["statuses"][0]["resting"]["oid"]
            await client.exchange(wallet.order("60000"))
            assert await stream.channel("user") == {"nonUserCancel": [{"coin": "BTC", "oid": oid}]}

    with_venue(scenario)


def test_the_best_quotes_are_pushed_only_when_they_changed(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type="bbo", coin="BTC")
            for price in ("60000", "59999", "59998", "60001"):
                await client.exchange(wallet.order(price))
            await stream.until(lambda m: m["channel"] == "bbo" and (m["data"]["bbo"][0] or {}).get("px") == "60001.0")
            pushed = [(m["data"]["bbo"][0] or {}).get("px") for m in stream.seen if m["channel"] == "bbo"]
            assert pushed == [None, "60000.0", "60001.0"]

    with_venue(scenario)


def test_a_new_subscriber_never_misses_a_return_to_an_old_quote(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as first:
            await first.subscribe(type="bbo", coin="BTC")
            await first.channel("bbo")
            await client.exchange(wallet.order("60000"))
            await first.channel("bbo")
        reply = await client.exchange(wallet.order("60001"))
        oid = reply["response"]["data"]["statuses"][0]["resting"]["oid"]
        async with client.stream() as second:
            await second.subscribe(type="bbo", coin="BTC")
            assert (await second.channel("bbo"))["bbo"][0]["px"] == "60001.0"
            await client.exchange(wallet.sign({"type": "cancel", "cancels": [{"a": 0, "o": oid}]}))
            assert (await second.channel("bbo"))["bbo"][0]["px"] == "60000.0"

    with_venue(scenario)


def test_books_are_held_back_and_the_last_state_still_comes(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type="l2Book", coin="BTC")
            for index in range(10):
                await client.exchange(wallet.order(str(60_000 + index)))
            last = await stream.until(lambda m: m["channel"] == "l2Book" and len(m["data"]["levels"][0]) == 10)
            assert last["data"]["levels"][0][0]["px"] == "60009.0"
            assert sum(m["channel"] == "l2Book" for m in stream.seen) <= 4

    with_venue(scenario, book_interval_ms=150, market_interval_ms=20)


def test_posts_carry_info_actions_and_errors(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            book = await stream.post("info", {"type": "l2Book", "coin": "ETH"}, 7)
            assert (book["type"], book["payload"]["type"]) == ("info", "l2Book")
            assert set(book["payload"]["data"]) == {"coin", "time", "levels"}
            placed = await stream.post("action", wallet.order("60000"), 8)
            assert placed["type"] == "action"
            assert "resting" in placed["payload"]["response"]["data"]["statuses"][0]
            for post_id, (kind, payload) in enumerate(
                [("info", {"type": "nothing"}), ("action", {"action": {}}), ("explorer", {})], start=9
            ):
                assert (await stream.post(kind, payload, post_id))["type"] == "error"

    with_venue(scenario)


def test_more_than_a_hundred_waiting_posts_are_refused_by_id(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            for index in range(101):
                request = {"type": "action", "payload": wallet.sign({"type": "noop"})}
                await stream.send({"method": "post", "id": index, "request": request})
            assert await stream.channel("error") == "too many pending post requests id=100"

    with_venue(scenario, block_interval_ms=5_000)


def test_a_silent_socket_is_closed_and_a_ping_keeps_it(with_venue):
    async def scenario(client):
        async with client.stream() as quiet, client.stream() as pinged:

            async def ping():
                while True:
                    await pinged.send({"method": "ping"})
                    await asyncio.sleep(0.05)

            pinging = asyncio.create_task(ping())
            closed = await asyncio.wait_for(quiet.socket.receive(), 60)
            assert closed.type is aiohttp.WSMsgType.CLOSE
            assert (closed.data, closed.extra) == (1000, "Inactive")
            pinging.cancel()
            assert await pinged.next() == {"channel": "pong"}

    with_venue(scenario, idle_close_s=0.5)


@pytest.mark.parametrize("order", ["before", "after", "random"])
def test_pushes_keep_the_order_of_blocks_whenever_they_leave(with_venue, wallet, order):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type="orderUpdates", user=wallet.address)
            oids = []
            for index in range(30):
                reply = await stream.post("action", wallet.order(str(60_000 + index)), index)
                oids.append(reply["payload"]["response"]["data"]["statuses"][0]["resting"]["oid"])

            def updates():
                return [r["order"]["oid"] for m in stream.seen if m["channel"] == "orderUpdates" for r in m["data"]]

            while len(updates()) < 30:
                await stream.next()
            assert updates() == oids
            first_of = {}
            for message in stream.seen:
                first_of.setdefault(message["channel"], len(first_of))
            if order == "before":
                assert first_of["orderUpdates"] < first_of["post"]
            if order == "after":
                assert first_of["orderUpdates"] > first_of["post"]

    with_venue(scenario, push_order=order)


def test_all_users_of_the_market_see_it_move(with_venue):
    async def scenario(client):
        async with client.stream() as stream:
            await stream.subscribe(type="allMids")
            await stream.subscribe(type="trades", coin="BTC")
            await stream.subscribe(type="candle", coin="BTC", interval="1m")
            await stream.subscribe(type="activeAssetCtx", coin="BTC")
            trades = await stream.channel("trades")
            candle = await stream.until(lambda m: m["channel"] == "candle")
            assert candle["data"]["s"] == trades[0]["coin"] == "BTC"
            mids = {(await stream.channel("allMids"))["mids"]["BTC"] for _ in range(4)}
            assert len(mids) > 1

    with_venue(scenario, market="synthetic", market_interval_ms=5, context_interval_ms=20)
