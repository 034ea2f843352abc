"""The HTTP side: status codes, concurrency, blocks, limits, and the faults that a test can order."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest

UNPROCESSABLE = "Failed to deserialize the JSON body into the target type"


@pytest.mark.parametrize("path", ["/info", "/exchange"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"type":"unheardOf"}', b"null"])
def test_a_body_that_means_nothing_is_a_422_with_the_venues_text(with_venue, path, body):
    async def scenario(client):
        async with client.session.post(client.venue.base_url + path, data=body) as reply:
            assert (reply.status, await reply.text()) == (422, UNPROCESSABLE)

    with_venue(scenario)


def test_anything_else_is_not_found(with_venue):
    async def scenario(client):
        async with client.session.get(client.venue.base_url + "/info") as reply:
            assert reply.status == 404
        async with client.session.post(client.venue.base_url + "/other", data=b"{}") as reply:
            assert reply.status == 404
        async with client.session.get(client.venue.base_url + "/ws") as reply:
            assert reply.status == 400

    with_venue(scenario)


@pytest.mark.parametrize("block_interval_ms", [0, 20])
def test_two_hundred_orders_at_once_are_each_placed_once(with_venue, wallet, block_interval_ms):
    async def scenario(client):
        requests = [wallet.order(str(50_000 + index), c=f"0x{index:032x}") for index in range(200)]
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def place(request):
                async with session.post(client.venue.base_url + "/exchange", data=orjson.dumps(request)) as reply:
                    return orjson.loads(await reply.read())

            replies = await asyncio.gather(*map(place, requests))
        placed = [reply["response"]["data"]["statuses"][0]["resting"] for reply in replies]
        assert [row["cloid"] for row in placed] == [f"0x{index:032x}" for index in range(200)]
        listed = await client.info("openOrders", user=wallet.address)
        assert {row["oid"] for row in listed} == {row["oid"] for row in placed}
        assert len(listed) == 200

    with_venue(scenario, block_interval_ms=block_interval_ms)


def test_a_read_after_a_reply_sees_what_the_reply_told(with_venue, wallet):
    async def scenario(client):
        for index in range(20):
            reply = await client.exchange(wallet.order(str(60_000 + index)))
            oid = reply["response"]["data"]["statuses"][0]["resting"]["oid"]
            status = await client.info("orderStatus", user=wallet.address, oid=oid)
            assert status["order"]["status"] == "open"

    with_venue(scenario, block_interval_ms=5, push_order="after")


def test_a_dropped_reply_leaves_the_action_applied(with_venue, wallet):
    async def scenario(client):
        assert (await client.control("drop_next_reply", count=1))["armed"] == {"drop_next_reply": 1}
        request = wallet.order("60000")
        with pytest.raises(aiohttp.ClientError):
            await client.exchange(request)
        assert len(await client.info("openOrders", user=wallet.address)) == 1
        again = await client.exchange(request)
        assert again["response"].startswith("Invalid nonce: duplicate nonce")

    with_venue(scenario)


def test_a_dropped_reply_to_a_post_cuts_the_socket(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await client.control("drop_next_reply")
            request = {"type": "action", "payload": wallet.order("60000")}
            await stream.send({"method": "post", "id": 1, "request": request})
            message = await asyncio.wait_for(stream.socket.receive(), 60)
            assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
        assert len(await client.info("openOrders", user=wallet.address)) == 1

    with_venue(scenario)


def test_a_delayed_reply_comes_late_but_the_action_is_applied_at_once(with_venue, wallet):
    async def scenario(client):
        await client.control("delay_reply_ms", value=300)
        pending = asyncio.create_task(client.exchange(wallet.order("60000")))
        while not client.venue.account(wallet.address).open_orders:
            await asyncio.sleep(0.005)
        assert not pending.done()
        await client.control("reset_faults")
        assert (await pending)["status"] == "ok"

    with_venue(scenario)


@pytest.mark.parametrize(
    ("fault", "status"), [("http_429_burst", 429), ("http_500_burst", 500), ("http_502_burst", 502)]
)
def test_a_burst_of_refusals_applies_nothing_and_ends(with_venue, wallet, fault, status):
    async def scenario(client):
        await client.control(fault, count=2)
        request = orjson.dumps(wallet.order("60000"))
        for expected in (status, status, 200):
            async with client.session.post(client.venue.base_url + "/exchange", data=request) as reply:
                assert reply.status == expected
        assert len(await client.info("openOrders", user=wallet.address)) == 1

    with_venue(scenario)


@pytest.mark.parametrize("with_close_frame", [True, False])
def test_sockets_can_be_dropped_with_and_without_a_close_frame(with_venue, with_close_frame):
    async def scenario(client):
        async with client.stream() as stream:
            assert (await client.control("drop_sockets", with_close_frame=with_close_frame))["dropped"] == 1
            message = await asyncio.wait_for(stream.socket.receive(), 60)
            assert message.type is (aiohttp.WSMsgType.CLOSE if with_close_frame else aiohttp.WSMsgType.CLOSED)
        while client.venue.streams.sockets:
            await asyncio.sleep(0.005)

    with_venue(scenario)


def test_prices_clocks_and_money_obey_the_control_port(with_venue, wallet):
    async def scenario(client):
        assert (await client.control("set_price", coin="BTC", price="70000"))["mark"] == "70000.0"
        before = (await client.info("exchangeStatus"))["time"]
        assert (await client.control("advance_clock", ms=3_600_000))["ok"]
        assert (await client.info("exchangeStatus"))["time"] >= before + 3_600_000
        await client.control("fund", user=wallet.address, usd="12.5")
        state = await client.info("clearinghouseState", user=wallet.address)
        assert state["marginSummary"]["accountValue"] == "12.5"
        status = await client.control("status")
        assert (status["accounts"], status["open_orders"]) == (1, 0)

    with_venue(scenario)


@pytest.mark.parametrize(
    "command",
    [
        {"do": "unheard_of"},
        {"do": "set_price", "coin": "NOPE", "price": "1"},
        {"do": "set_price", "coin": "BTC", "price": "x"},
        {"do": "fund", "user": "0x1", "usd": "1"},
        {"do": "drop_next_reply", "count": -1},
        {"do": "advance_clock"},
        {"nothing": 1},
    ],
    ids=str,
)
def test_a_wrong_control_command_is_refused_with_the_reason(with_venue, command):
    async def scenario(client):
        async with client.session.post(client.venue.control_url, json=command) as reply:
            assert reply.status == 400
            body = await reply.json()
            assert body["ok"] is False
            assert body["error"]

    with_venue(scenario)


def test_the_weight_of_an_ip_runs_out(with_venue):
    async def scenario(client):
        for _ in range(20):
            await client.info("userRole", user="0x" + "11" * 20)
        async with client.session.post(client.venue.base_url + "/info", data=b'{"type":"meta"}') as reply:
            assert (reply.status, await reply.read()) == (429, b"null")
        await client.control("advance_clock", ms=60_000)
        await client.info("meta")

    with_venue(scenario, ip_limits=True)


def test_a_venue_can_listen_again_on_its_port(with_venue):
    async def scenario(client):
        port = client.venue.port
        await client.venue.stop()
        await client.venue.start(port=port)
        assert client.venue.port == port
        await client.info("meta")

    with_venue(scenario)
