"""What a subscriber sees when messages are lost, late, repeated, out of order, or say what nobody has documented."""

from __future__ import annotations

import asyncio
import time

import pytest


async def user_channels(stream, wallet):
    """Subscribe to everything that tells of an account, past the snapshot."""
    for kind in ("orderUpdates", "userEvents", "userFills"):
        await stream.subscribe(type=kind, user=wallet.address)
    await stream.channel("userFills")


async def told(stream, wanted: int) -> list[tuple[str, str]]:
    """(channel, status) of the next order updates and fills, a row each."""
    rows = []
    while len(rows) < wanted:
        message = await stream.next()
        if message["channel"] == "orderUpdates":
            rows += [("order", row["status"]) for row in message["data"]]
        elif message["channel"] == "userFills":
            rows += [("fill", fill["sz"]) for fill in message["data"]["fills"]]
    return rows


async def trade(client, wallet, other, size="0.01"):
    """The other account's resting order, taken by the wallet's."""
    await client.exchange(other.order("64000", size, buy=False))
    return await client.exchange(wallet.order("64000", size, tif="Ioc"))


def test_a_silent_socket_answers_pings_and_tells_nothing_else(with_venue, wallet, other_wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await stream.subscribe(type="bbo", coin="BTC")
            await stream.channel("bbo")
            await client.control("silent_sockets")
            await trade(client, wallet, other_wallet)
            await stream.send({"method": "ping"})
            assert await stream.next() == {"channel": "pong"}
            await client.control("silent_sockets", on=False)
            await client.exchange(wallet.order("60000"))
            assert await told(stream, 1) == [("order", "open")]

    with_venue(scenario)


def test_silence_can_be_of_the_books_alone(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await stream.subscribe(type="bbo", coin="BTC")
            await stream.channel("bbo")
            await client.control("silent_sockets", channels=["bbo", "l2Book"])
            await client.exchange(wallet.order("60000"))
            assert (await stream.next())["channel"] == "orderUpdates"
            assert (await client.control("status"))["happened"] == {"silent_sockets": 1}

    with_venue(scenario)


def test_pongs_can_stop_while_data_flows(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await client.control("silent_pongs")
            await stream.send({"method": "ping"})
            await client.exchange(wallet.order("60000"))
            assert (await stream.next())["channel"] == "orderUpdates"
            await client.control("reset_faults")
            await stream.send({"method": "ping"})
            assert await stream.next() == {"channel": "pong"}

    with_venue(scenario)


def test_messages_come_as_often_as_it_is_ordered(with_venue, wallet, other_wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await client.control("duplicate_messages", value=2)
            await trade(client, wallet, other_wallet)
            rows = await told(stream, 9)
            assert rows.count(("fill", "0.01")) == 3
            assert rows.count(("order", "filled")) == 3

    with_venue(scenario)


def test_channels_overtake_each_other_and_none_overtakes_itself(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await stream.subscribe(type="bbo", coin="BTC")
            await stream.channel("bbo")
            await client.control("shuffle_channels", value=40)
            placed = [str(60_000 + index) for index in range(20)]
            for price in placed:
                await client.exchange(wallet.order(price))
            prices, touches, order = [], [], []
            while len(prices) < 20 or len(touches) < 20:
                message = await stream.next()
                if message["channel"] == "orderUpdates":
                    prices += [row["order"]["limitPx"].removesuffix(".0") for row in message["data"]]
                elif message["channel"] == "bbo":
                    touches.append(message["data"]["bbo"][0]["px"].removesuffix(".0"))
                order.append(message["channel"])
            assert prices == touches == placed
            assert order != ["bbo", "orderUpdates"] * 20

    with_venue(scenario)


def test_open_can_come_after_filled(with_venue, wallet, other_wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await client.control("late_open", count=1)
            await trade(client, wallet, other_wallet)
            rows = [row for row in await told(stream, 3) if row[0] == "order"]
            assert rows == [("order", "filled"), ("order", "open")]

    with_venue(scenario)


def test_an_open_kept_back_for_an_order_that_lives_on_comes_when_faults_are_reset(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await client.control("late_open", count=1)
            await client.exchange(wallet.order("60000"))
            await stream.send({"method": "ping"})
            assert await stream.next() == {"channel": "pong"}
            await client.control("reset_faults")
            assert await told(stream, 1) == [("order", "open")]

    with_venue(scenario)


@pytest.mark.parametrize("transport", ["http", "ws"])
def test_a_fill_can_come_before_any_sign_of_its_order(with_venue, wallet, other_wallet, transport):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await client.exchange(other_wallet.order("64000", "0.01", buy=False))
            await client.control("fill_before_ack", value=250)
            request = wallet.order("64000", "0.01", tif="Ioc")
            if transport == "ws":
                action = {"method": "post", "id": 1, "request": {"type": "action", "payload": request}}
                await stream.send(action)
                pending = None
            else:
                pending = asyncio.create_task(client.exchange(request))
            assert await told(stream, 1) == [("fill", "0.01")]
            assert not any(message["channel"] == "post" for message in stream.seen)
            assert pending is None or not pending.done()
            assert [row[1] for row in await told(stream, 2)] == ["open", "filled"]
            if pending is not None:
                assert "filled" in (await pending)["response"]["data"]["statuses"][0]

    with_venue(scenario)


def test_a_fill_can_come_after_the_cancel_of_its_order_is_acknowledged(with_venue, wallet, other_wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            reply = await client.exchange(wallet.order("64000", "0.02"))
            oid = reply["response"]["data"]["statuses"][0]["resting"]["oid"]
            await client.control("fill_after_cancel_ack", value=250)
            await client.exchange(other_wallet.order("64000", "0.01", buy=False, tif="Ioc"))
            await client.exchange(wallet.sign({"type": "cancel", "cancels": [{"a": 0, "o": oid}]}))
            acknowledged = time.monotonic()
            rows = await told(stream, 4)
            assert rows == [("order", "open"), ("order", "open"), ("order", "canceled"), ("fill", "0.01")]
            assert time.monotonic() > acknowledged

    with_venue(scenario)


def test_a_new_subscriber_can_be_given_the_past(with_venue, wallet, other_wallet):
    async def scenario(client):
        await client.exchange(wallet.order("60000"))
        await trade(client, wallet, other_wallet, "0.01")
        await client.control("stale_snapshot")
        await trade(client, wallet, other_wallet, "0.02")
        await client.exchange(wallet.order("61000"))
        async with client.stream() as stream:
            await stream.subscribe(type="userFills", user=wallet.address)
            assert [fill["sz"] for fill in (await stream.channel("userFills"))["fills"]] == ["0.01"]
            await stream.subscribe(type="l2Book", coin="BTC")
            assert [level["px"] for level in (await stream.channel("l2Book"))["levels"][0]] == ["60000.0"]
            await stream.subscribe(type="openOrders", user=wallet.address)
            assert len((await stream.channel("openOrders"))["orders"]) == 1
        assert len(await client.info("openOrders", user=wallet.address)) == 2
        await client.control("reset_faults")
        async with client.stream() as stream:
            await stream.subscribe(type="userFills", user=wallet.address)
            assert len((await stream.channel("userFills"))["fills"]) == 2

    with_venue(scenario)


@pytest.mark.parametrize("kind", ["l2Book", "bbo"])
def test_a_book_can_be_crossed(with_venue, wallet, other_wallet, kind):
    async def scenario(client):
        await client.exchange(other_wallet.order("64010", "0.01", buy=False))
        await client.exchange(wallet.order("63990", "0.01"))
        await client.control("cross_book", count=1)
        crossed = []
        for _ in range(2):
            async with client.stream() as stream:
                await stream.subscribe(type=kind, coin="BTC")
                data = await stream.channel(kind)
                bid, ask = data["bbo"] if kind == "bbo" else [side[0] for side in data["levels"]]
                crossed.append((bid["px"], ask["px"]))
        assert crossed == [("64010.0", "63990.0"), ("63990.0", "64010.0")]

    with_venue(scenario)


@pytest.mark.parametrize(("given", "expected"), [({}, "solarFlareHold"), ({"text": "newCanceled"}, "newCanceled")])
def test_an_order_can_take_a_status_that_nobody_knows(with_venue, wallet, given, expected):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await client.control("unknown_status", **given)
            for price in ("60000", "60001"):
                await client.exchange(wallet.order(price))
            assert [row[1] for row in await told(stream, 2)] == [expected, "open"]

    with_venue(scenario)


def test_a_fill_can_have_a_direction_that_nobody_knows(with_venue, wallet, other_wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await user_channels(stream, wallet)
            await client.control("unknown_dir", text="Net Moon Base")
            await trade(client, wallet, other_wallet)
            assert [fill["dir"] for fill in (await stream.channel("user"))["fills"]] == ["Net Moon Base"]
            assert [fill["dir"] for fill in (await stream.channel("userFills"))["fills"]] == ["Net Moon Base"]

    with_venue(scenario)
