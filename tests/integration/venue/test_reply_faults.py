"""What a client sees on the wire when requests are refused and replies are late, cut or lost."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest


async def raw(client, path: str, body: object) -> tuple[int, str, bytes]:
    """Status, content type and body of a request."""
    async with client.session.post(client.venue.base_url + path, data=orjson.dumps(body)) as reply:
        return reply.status, reply.content_type, await reply.read()


BURSTS = {
    "http_422_burst": (422, "text/plain", b"Failed to deserialize the JSON body into the target type"),
    "http_429_burst": (429, "application/json", b"null"),
    "http_500_burst": (500, "text/plain", b"Internal Server Error"),
    "http_502_burst": (502, "text/html", b"<html><body><h1>502 Bad Gateway</h1></body></html>"),
}


@pytest.mark.parametrize("fault", BURSTS)
@pytest.mark.parametrize("path", ["/exchange", "/info"])
def test_a_burst_answers_as_the_edge_does_and_applies_nothing(with_venue, wallet, fault, path):
    async def scenario(client):
        await client.control(fault, count=2)
        request = wallet.order("60000") if path == "/exchange" else {"type": "meta"}
        assert [await raw(client, path, request) for _ in range(2)] == [BURSTS[fault]] * 2
        assert (await client.info("openOrders", user=wallet.address)) == []
        assert (await raw(client, path, request))[0] == 200
        assert (await client.control("status"))["happened"] == {fault: 2}

    with_venue(scenario)


@pytest.mark.parametrize("fault", [*BURSTS, "reset_mid_body"])
def test_a_fault_can_be_narrowed_to_one_path(with_venue, wallet, fault):
    async def scenario(client):
        assert (await client.control(fault, path="/exchange"))["ok"]
        for _ in range(3):
            await client.info("meta")
        assert (await client.control("status"))["armed"] == {fault: 1}
        wrong = await client.control(fault, path="/nowhere")
        assert wrong == {"ok": False, "error": f"{fault}: path='/nowhere' is not possible"}

    with_venue(scenario)


@pytest.mark.parametrize(("fault", "text"), [("http_429_burst", "429 Too Many"), ("http_422_burst", "Failed to des")])
def test_a_refused_post_is_an_error_payload(with_venue, wallet, fault, text):
    async def scenario(client):
        async with client.stream() as stream:
            await client.control(fault)
            refused = await stream.post("action", wallet.order("60000"), 4)
            assert refused["type"] == "error"
            assert refused["payload"].startswith(text)
            assert (await stream.post("action", wallet.order("60000"), 5))["type"] == "action"
        assert len(await client.info("openOrders", user=wallet.address)) == 1

    with_venue(scenario)


def test_a_connection_reset_in_the_middle_of_the_body_leaves_half_of_it(with_venue, wallet):
    async def scenario(client):
        await client.control("reset_mid_body", path="/exchange")
        body = orjson.dumps(wallet.order("60000"))
        reader, writer = await asyncio.open_connection("127.0.0.1", client.venue.port)
        head = f"POST /exchange HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        received, was_reset = b"", False
        try:
            while part := await reader.read(4096):
                received += part
        except ConnectionResetError:
            was_reset = True
        assert was_reset
        head, _, half = received.partition(b"\r\n\r\n")
        announced = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        assert 0 < len(half) < announced
        assert half.startswith(b'{"status":"ok"')
        writer.close()
        assert len(await client.info("openOrders", user=wallet.address)) == 1

    with_venue(scenario)


def test_a_post_cut_in_the_middle_leaves_half_a_frame(with_venue, wallet):
    async def scenario(client):
        async with client.stream() as stream:
            await client.control("reset_mid_body")
            request = {"type": "action", "payload": wallet.order("60000")}
            await stream.send({"method": "post", "id": 1, "request": request})
            message = await asyncio.wait_for(stream.socket.receive(), 60)
            assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE)
        assert len(await client.info("openOrders", user=wallet.address)) == 1

    with_venue(scenario)


def test_a_reply_delayed_beyond_the_clients_timeout_never_reaches_it_and_the_order_lives(with_venue, wallet):
    async def scenario(client):
        await client.control("delay_reply_ms", value=2000, for_ms=100)
        timeout = aiohttp.ClientTimeout(total=0.2)
        with pytest.raises(TimeoutError):
            await client.session.post(
                client.venue.base_url + "/exchange", data=orjson.dumps(wallet.order("60000")), timeout=timeout
            )
        assert len(await client.info("openOrders", user=wallet.address)) == 1
        assert (await client.control("status"))["armed"] == {}

    with_venue(scenario)


def test_the_same_request_is_never_applied_twice_however_often_its_reply_is_lost(with_venue, wallet):
    async def scenario(client):
        await client.control("drop_next_reply", count=3)
        request = wallet.order("60000")
        for _ in range(3):
            with pytest.raises(aiohttp.ClientError):
                await client.exchange(request)
        assert (await client.exchange(request))["response"].startswith("Invalid nonce: duplicate nonce")
        assert len(await client.info("openOrders", user=wallet.address)) == 1

    with_venue(scenario)


def test_unknown_keys_stand_in_every_object_of_every_reply_and_message(with_venue, wallet):
    def objects(value):
        if isinstance(value, list):
            for item in value:
                yield from objects(item)
        elif isinstance(value, dict) and "BTC" not in value:
            yield value
            for key, item in value.items():
                if key != "notDocumented":
                    yield from objects(item)

    async def scenario(client):
        await client.control("extra_keys")
        replies = [
            await client.info("meta"),
            await client.info("clearinghouseState", user=wallet.address),
            await client.exchange(wallet.order("60000")),
            await client.info("allMids"),
        ]
        assert "notDocumented" not in replies[-1]
        async with client.stream() as stream:
            await stream.subscribe(type="userFills", user=wallet.address)
            await stream.subscribe(type="l2Book", coin="BTC")
            await stream.subscribe(type="orderUpdates", user=wallet.address)
            await stream.send({"method": "ping"})
            await stream.until(lambda m: m["channel"] == "pong")
            await stream.post("action", wallet.order("60001"))
            assert len(stream.seen) >= 7
            replies += stream.seen
        for reply in replies:
            assert all("notDocumented" in found for found in objects(reply)), reply
        await client.control("extra_keys", on=False)
        assert "notDocumented" not in await client.info("meta")

    with_venue(scenario)
